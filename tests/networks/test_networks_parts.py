"""What sets each network apart from a plain U-Net."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_vessel.errors import ModelError
from napari_vessel.networks import build_network
from napari_vessel.networks.cs2net import ChannelAttention, SpatialAttention
from napari_vessel.networks.efficient_unet import EfficientUNet
from napari_vessel.networks.r2unet import RecurrentConv
from napari_vessel.networks.swin_unet import WINDOW, WindowAttention


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_channels_attend_to_each_other_the_same_in_a_crop_and_in_a_whole_image():
    attention, crop = ChannelAttention(), torch.randn(1, 5, 6, 6)
    whole = crop.repeat(1, 1, 3, 2)
    torch.testing.assert_close(attention(whole), attention(crop).repeat(1, 1, 3, 2), rtol=1e-4, atol=1e-5)


def test_a_place_gets_what_is_far_away():
    attention, image = SpatialAttention(8).eval(), torch.randn(1, 8, 5, 40)
    changed = image.clone()
    changed[..., -3:] += 3.0
    with torch.inference_mode():
        assert (attention(image) - attention(changed))[..., 0].abs().max() > 1e-4


def test_attention_begins_by_changing_nothing():
    network = build_network("cs2net", channels=(4, 8)).eval()
    image = torch.randn(1, 3, 16, 16)
    with torch.inference_mode():
        before = network(image)
        network.weights.fill_(1.0)
        assert (network(image) - before).abs().max() > 1e-3
        network.weights.fill_(0.0)
        network.places.value.weight.fill_(100.0)
        torch.testing.assert_close(network(image), before)


def test_one_convolution_goes_over_its_result_twice():
    layer, image = RecurrentConv(4).eval(), torch.randn(1, 4, 9, 9)
    state = functional.relu(layer.norms[0](layer.conv(image)))
    for norm in layer.norms[1:]:
        state = functional.relu(norm(layer.conv(image + state)))
    torch.testing.assert_close(layer(image), state)
    assert len(layer.norms) == 3
    assert sum(isinstance(part, nn.Conv2d) for part in layer.modules()) == 1


def test_the_encoder_is_b0_to_the_last_weight():
    with torch.device("meta"):
        network = EfficientUNet()
    # 5,288,548 as published, less the classifier and the convolution before it.
    encoder = [weight for part in (network.stem, network.stages) for weight in part.parameters()]
    assert sum(weight.numel() for weight in encoder) == 5_288_548 - 1_281_000 - (320 * 1280 + 2 * 1280)


def test_what_lies_outside_the_image_is_not_attended_to():
    attention, image = WindowAttention(32, 0), torch.randn(1, WINDOW + 3, WINDOW + 2, 32)
    # A window that reaches beyond the image sees the piece of image in it and nothing else.
    piece = image[:, WINDOW:, WINDOW:]
    torch.testing.assert_close(attention(image)[:, WINDOW:, WINDOW:], attention(piece), rtol=1e-4, atol=1e-5)


def test_position_in_a_window_is_relative():
    attention = WindowAttention(32, 0)
    index = attention.index.reshape(WINDOW, WINDOW, WINDOW, WINDOW)
    assert index[1, 2, 3, 5] == index[2, 1, 4, 4]
    assert index[1, 2, 3, 5] != index[3, 5, 1, 2]
    assert index.unique().numel() == attention.bias.shape[1]


def test_shifted_windows_see_across_the_borders_of_the_others():
    image = torch.zeros(1, 2 * WINDOW, WINDOW, 32)
    changed = image.clone()
    changed[:, WINDOW] = torch.randn(32)
    for shift, seen in ((0, False), (WINDOW // 2, True)):
        attention = WindowAttention(32, shift)
        difference = (attention(image) - attention(changed)).abs().amax(dim=-1)
        assert bool(difference[:, :WINDOW].max() > 0) is seen


@pytest.mark.parametrize(
    ("name", "channels", "message"),
    [
        ("cs2net", (8,), "two levels"),
        ("r2unet", (8,), "two levels"),
        ("efficient_unet", (16, 32), "needs 5 numbers"),
        ("swin_unet", (16, 32, 64, 128), "multiple of 32"),
        ("swin_unet", (32, 32), "three to five"),
    ],
)
def test_channels_that_do_not_fit_are_said_in_one_sentence(name, channels, message):
    with pytest.raises(ModelError, match=message):
        build_network(name, channels=channels)
