"""The U-Net fits any image size, and its stated reach is true."""

import pytest
import torch

from napari_vessel.errors import ModelError
from napari_vessel.networks import build_network


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network("unet", in_channels=3, channels=(8, 8, 16)).eval()


@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (32, 33), (64, 48)])
def test_any_size_goes_in_and_comes_out(network, shape):
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, *shape)).shape == (2, 1, *shape)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_takes_one_to_three_channels(channels):
    network = build_network("unet", in_channels=channels, channels=(4, 8))
    assert network(torch.zeros(1, channels, 16, 16)).shape == (1, 1, 16, 16)


def test_nothing_beyond_its_reach_changes_a_pixel(network):
    image = torch.zeros(1, 3, 16, 160)
    changed = image.clone()
    column = 40
    changed[..., column + network.reach + 1 :] = 5.0
    with torch.inference_mode():
        difference = (network(image) - network(changed)).abs()[0, 0]
    assert difference[:, : column + 1].max() == 0
    assert difference[:, -1].max() > 0


def test_shifting_by_the_stride_shifts_the_result(network):
    torch.manual_seed(1)
    image = torch.rand(1, 3, 64, 192)
    shift, reach = network.stride, network.reach
    with torch.inference_mode():
        whole = network(image)
        part = network(image[..., shift:])
    inner = slice(reach, -reach)
    torch.testing.assert_close(part[..., inner], whole[..., shift:][..., inner], rtol=1e-4, atol=1e-5)


def test_the_shipped_size_is_half_a_million_weights():
    network = build_network("unet", in_channels=3, channels=[32, 32, 64, 64, 64])
    assert 4e5 < sum(p.numel() for p in network.parameters()) < 6e5


def test_unknown_network_and_wrong_settings_are_said_in_one_sentence():
    with pytest.raises(ModelError, match="choose one of: unet"):
        build_network("transformer")
    with pytest.raises(ModelError, match="do not fit"):
        build_network("unet", depth=3)
    with pytest.raises(ModelError, match="two levels"):
        build_network("unet", channels=(8,))
