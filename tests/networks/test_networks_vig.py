"""The completion network draws at pixel level, at any size, and its graph is one grid over the whole image."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_vessel.errors import ModelError
from napari_vessel.networks import build_network
from napari_vessel.networks.vig import WINDOW, GraphConvolution, _source_of_maximum
from napari_vessel.networks.windows import cut_windows, join_windows


@pytest.fixture
def network():
    """A small ViG whose head has learnt something, so that its graph shows in what it returns."""
    torch.manual_seed(0)
    network = build_network("vig", in_channels=3, channels=(8, 8, 16), blocks=2).eval()
    nn.init.normal_(network.head[-1].weight, std=1.0)
    return network


@pytest.mark.parametrize("name", ["vig", "vig_published"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (160, 161), (330, 48)])
def test_any_size_goes_in_and_comes_out(name, shape):
    network = build_network(name, in_channels=1, channels=(8, 8, 8), blocks=1).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, 2, *shape)).shape == (2, 1, *shape)


def test_before_training_it_changes_nothing():
    image = torch.rand(1, 4, 40, 56)
    network = build_network("vig").eval()
    with torch.inference_mode():
        torch.testing.assert_close(network(image).sigmoid(), image[:, -1:].clamp(1e-3, 1 - 1e-3), atol=1e-5, rtol=0)


def test_windows_are_put_back_where_they_were():
    x = torch.randn(2, 5, 33, 47)
    for shift in (0, WINDOW // 2):
        nodes, here = cut_windows(x, WINDOW, shift)
        assert nodes.shape[1:] == (WINDOW * WINDOW, 5)
        assert int(here.sum()) == 2 * 33 * 47
        torch.testing.assert_close(join_windows(nodes, (2, 33, 47), WINDOW, shift), x)


def test_the_source_of_the_maximum_is_the_neighbour_that_has_it():
    torch.manual_seed(0)
    nodes, neighbours = torch.randn(50, 6), torch.randint(0, 50, (50, 7))
    expected = nodes[neighbours].amax(dim=1)
    torch.testing.assert_close(nodes.gather(0, _source_of_maximum(nodes, neighbours)), expected)


def test_the_graph_convolution_is_max_relative():
    """Against the formula written out: cat(x_i, max_j (x_j - x_i)), then the grouped layer."""
    torch.manual_seed(0)
    graph = GraphConvolution(8, neighbours=5, dilation=2, shift=0).eval()
    x = torch.randn(1, 8, WINDOW, WINDOW)
    nodes = x.flatten(2).transpose(1, 2)[0]
    unit = functional.normalize(nodes, dim=-1)
    y, x_place = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
    place = torch.stack([y.flatten(), x_place.flatten()], dim=-1).float()
    likeness = unit @ unit.T - torch.cdist(place, place) ** 2 / 128
    chosen = likeness.topk(10, dim=-1).indices[:, ::2]
    relative = (nodes[chosen] - nodes[:, None]).amax(dim=1)
    both = torch.stack([nodes, relative], dim=-1).flatten(1).T.reshape(1, 16, WINDOW, WINDOW)
    with torch.inference_mode():
        torch.testing.assert_close(graph(x), graph.mix(both), atol=1e-4, rtol=1e-4)


def test_places_outside_the_image_are_nobodys_neighbours(network):
    """An image that fills a corner of a window gives the same with any rest of the window."""
    image = torch.rand(1, 4, 24, 24)
    graph = network.blocks[0].graph
    features = torch.randn(1, 16, 3, 3) - 5.0
    with torch.inference_mode():
        # Padding is 0, far above these features, and would win every maximum.
        nodes, here = cut_windows(features, WINDOW, 0)
        neighbours = graph._choose(nodes, here)
        used = here[0][neighbours[0][here[0]]]
        assert bool(used.all())
        assert torch.isfinite(network(image)).all()


def test_moving_by_the_stride_moves_the_result(network):
    torch.manual_seed(1)
    stride = network.stride
    image = torch.rand(1, 4, 2 * stride, 5 * stride)
    with torch.inference_mode():
        whole, part = network(image), network(image[..., stride:])
    inner = slice(2 * stride, 3 * stride)
    torch.testing.assert_close(part[..., inner], whole[..., stride:][..., inner], rtol=1e-3, atol=1e-3)
    assert part[..., inner].std() > 0.1


def test_every_weight_is_learnt(network):
    image = torch.rand(1, 4, 64, 80)
    network.train()(image).sigmoid().sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def fill_a_break(network, steps=60):
    """Train on one broken line; return the least probability in its break, and the largest away from it."""
    torch.manual_seed(0)
    known, target = torch.full((1, 1, 64, 64), 0.02), torch.zeros(1, 1, 64, 64)
    target[..., 30:33, 4:60] = 1
    known[..., 30:33, 4:26] = 0.98
    known[..., 30:33, 38:60] = 0.98
    image = torch.cat([torch.rand(1, 1, 64, 64), known], dim=1)
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(steps):
        loss = functional.binary_cross_entropy_with_logits(network.train()(image), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    result = network(image).sigmoid()[0, 0]
    return float(result[31, 27:37].min().detach()), float(result[:25, :].max().detach())


def test_it_can_draw_what_is_missing():
    torch.manual_seed(0)
    inside, outside = fill_a_break(build_network("vig", in_channels=1, channels=(16, 16, 16), blocks=2))
    assert inside > 0.5
    assert outside < 0.5


def test_the_published_form_only_shifts_the_threshold_smoothly():
    """All it adds to the logits of 320 x 320 pixels is a map of 16 x 16 values."""
    torch.manual_seed(0)
    network = build_network("vig_published", in_channels=1, blocks=1, size=320).eval()
    image = torch.rand(1, 2, 320, 320)
    with torch.inference_mode():
        added = network(image) - torch.logit(image[:, -1:].clamp(1e-3, 1 - 1e-3))
    assert added.std() > 1e-3
    # Between the middles of its values it runs straight.
    bends = added[..., :, 2:] - 2 * added[..., :, 1:-1] + added[..., :, :-2]
    assert (bends[0, 0].abs().amax(dim=0) > 1e-4).sum() <= 2 * 16


def test_wrong_settings_are_said_in_one_sentence():
    with pytest.raises(ModelError, match="three numbers of channels"):
        build_network("vig", channels=(8, 8))
    with pytest.raises(ModelError, match="multiple of 16"):
        build_network("vig_published", size=100)
    with pytest.raises(ModelError, match="no more neighbours"):
        build_network("vig_published", size=32)


def test_a_block_cannot_look_for_more_nodes_than_a_window_has():
    channels = (4, 4, 8)
    with pytest.raises(ModelError, match="more than the 400 nodes"):
        build_network("vig", channels=channels, blocks=16, neighbours=32)
    # As many as fit are taken.
    network = build_network("vig", channels=channels, blocks=16, neighbours=25).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 4, 64, 64)).shape == (1, 1, 64, 64)
