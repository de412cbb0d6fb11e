"""A folded network predicts what it did before."""

import copy

import pytest
import torch
from torch import nn

from napari_vessel.networks import build_network
from napari_vessel.networks.folding import fold


@pytest.fixture
def network():
    """A U-Net whose normalisations have all learnt something."""
    torch.manual_seed(0)
    network = build_network("unet", in_channels=3, channels=(8, 12, 16, 20))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, -1.0, 1.0)
            nn.init.uniform_(module.running_mean, -1.0, 1.0)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.eval()


def test_it_predicts_the_same(network):
    image = torch.randn(2, 3, 37, 50)
    with torch.inference_mode():
        before, after = network(image), fold(network)(image)
    assert before.std() > 0.01
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_it_has_no_normalisation_left_and_keeps_what_the_tiles_need(network):
    folded = fold(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert (folded.stride, folded.reach) == (network.stride, network.reach)
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_the_network_itself_is_left_as_it_was(network):
    before = copy.deepcopy(network.state_dict())
    fold(network)
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
