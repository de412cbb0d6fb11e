"""A transformer's encoder sees the same whether it is given all patches or some, and large images in windows."""

import pytest
import torch

from napari_vessel.errors import ModelError
from napari_vessel.networks import build_network
from napari_vessel.networks.vit import WINDOW, ViTEncoder, sine_positions
from napari_vessel.training.recipe import NetworkRecipe


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return ViTEncoder(1, 4, 64, 2).eval()


def test_all_patches_given_are_seen_as_the_whole_image_is(encoder):
    image = torch.rand(2, 1, 32, 24)
    every = torch.arange(48).expand(2, -1)
    with torch.no_grad():
        whole = encoder(image).flatten(2).transpose(1, 2)
        torch.testing.assert_close(encoder.encode(image, every), whole, rtol=1e-4, atol=1e-5)


def test_what_is_not_given_is_not_seen(encoder):
    image = torch.rand(1, 1, 32, 32)
    other = image.clone()
    other[..., :4, 4:8] = 9.0  # the second patch
    seen = torch.tensor([[0, 5, 6, 20]])
    with torch.no_grad():
        assert torch.equal(encoder.encode(image, seen), encoder.encode(other, seen))
        assert not torch.equal(encoder.encode(image, seen + 1), encoder.encode(other, seen + 1))


def test_a_large_image_is_seen_in_equal_windows(encoder):
    # 17 patches are two windows of 9, of which one place is outside the image.
    image = torch.rand(1, 1, 4 * (WINDOW + 1), 20)
    with torch.no_grad():
        whole = encoder(image)
        parts = [encoder(image[:, :, :36]), encoder(image[:, :, 36:])]
    torch.testing.assert_close(whole, torch.cat(parts, dim=2), rtol=1e-4, atol=1e-5)


def test_no_two_places_have_one_code():
    codes = sine_positions(WINDOW, WINDOW, 64, torch.device("cpu"))
    distances = torch.cdist(codes, codes) + 9 * torch.eye(len(codes))
    assert distances.min() > 0.1


def test_the_published_size_is_that_of_vit_small():
    network = build_network("vit_unet", in_channels=3, channels=(32, 64, 96, 128, 384), blocks=12)
    assert network.stride == 16
    assert 21e6 < sum(one.numel() for one in network.encoder.parameters()) < 22e6
    small = build_network(**NetworkRecipe("vit_unet").settings)
    assert small.stride == 16
    assert sum(one.numel() for one in small.parameters()) < 1.6e6


def test_settings_that_do_not_fit_are_said_in_one_sentence():
    with pytest.raises(ModelError, match="no multiple of 64"):
        build_network("vit_unet", channels=(4, 8, 8, 60), blocks=3)
    with pytest.raises(ModelError, match="no fewer blocks than one less"):
        build_network("vit_unet", channels=(4, 8, 8, 64), blocks=2)
