"""What every network has to do: any size, one and three channels, every weight learns, a file keeps all of it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from napari_vessel.jobs import run_job
from napari_vessel.networks import NETWORKS, SEGMENTERS, build_network
from napari_vessel.segmentation.tiles import predict_tiled

TINY = {
    "unet": {"channels": (4, 8, 8)},
    "cs2net": {"channels": (4, 8, 8)},
    "swin_unet": {"channels": (32, 32, 32)},
    "r2unet": {"channels": (4, 8, 8)},
    "efficient_unet": {"channels": (4, 4, 4, 8, 16)},
    "vit_unet": {"channels": (4, 8, 8, 64), "blocks": 3},
    "vig": {"channels": (4, 8, 8), "blocks": 2},
    "vig_published": {"size": 64, "blocks": 1},
}


def make(name, in_channels=3):
    """Return a network whose zeros have learnt something, ready to predict."""
    torch.manual_seed(0)
    network = build_network(name, in_channels=in_channels, **TINY[name])
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.uniform_(-0.5, 0.5)
    return network.eval()


def images(name, *shape, in_channels=3, count=2):
    """Return random images, for a completion network with a probability as the last channel."""
    torch.manual_seed(1)
    found = torch.randn(count, in_channels, *shape)
    return torch.cat([found, torch.rand(count, 1, *shape)], dim=1) if NETWORKS[name].completes else found


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("in_channels", "shape"), [(1, (1, 1)), (3, (33, 50)), (1, (64, 47))])
def test_what_comes_out_is_as_large_as_what_went_in(name, in_channels, shape):
    network = make(name, in_channels)
    with torch.inference_mode():
        logits = network(images(name, *shape, in_channels=in_channels))
    assert logits.shape == (2, 1, *shape)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_alone_is_predicted_as_it_is_among_others(name):
    network, batch = make(name), images(name, 37, 41, count=3)
    with torch.inference_mode():
        together, alone = network(batch), network(batch[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_learns(name):
    network = make(name).train()
    logits = network(images(name, 40, 57))
    (logits * torch.randn_like(logits)).sum().backward()
    still = [key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not still


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_its_weights_is_all_of_it(name):
    network, image = make(name), images(name, 33, 35)
    again = build_network(name, in_channels=3, **TINY[name]).eval()
    again.load_state_dict(load(save({key: value.contiguous() for key, value in network.state_dict().items()})))
    with torch.inference_mode():
        torch.testing.assert_close(again(image), network(image), rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_and_the_order_of_memory_change_little(name):
    network, image = make(name), images(name, 48, 64)
    with torch.inference_mode():
        exact = network(image)
        network = network.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(image.contiguous(memory_format=torch.channels_last))
    assert half.dtype is torch.float32
    assert (half - exact).abs().mean() < 0.05 * exact.std() + 0.01


@pytest.mark.parametrize("name", SEGMENTERS)
def test_an_image_is_predicted_in_tiles(name):
    network, image = make(name, 1), np.random.default_rng(0).normal(size=(1, 130, 270)).astype(np.float32)

    def forward(stack):
        with torch.inference_mode():
            return network(torch.from_numpy(stack))[:, 0].sigmoid().numpy()

    tiled = run_job(predict_tiled(image, forward, stride=network.stride, overlap=32, largest=128, batch=2))
    assert tiled.shape == (130, 270)
    assert 0 < tiled.min() < tiled.max() < 1


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("cs2net", 8.3e6, 8.5e6), ("swin_unet", 27.1e6, 27.2e6), ("r2unet", 39.0e6, 39.2e6), ("efficient_unet", 5e6, 7e6)],
)
def test_at_full_width_it_is_as_large_as_published_and_otherwise_small(name, least, most):
    with torch.device("meta"):
        full, small = build_network(name), build_network(name, channels=NETWORKS[name].channels)
    assert least < count(full) < most
    assert 3e5 < count(small) < 1e6


def count(*parts: nn.Module) -> int:
    """Return how many weights networks have."""
    return sum(weight.numel() for part in parts for weight in part.parameters())
