"""The centreline term sees breaks."""

import pytest
import torch

from napari_vessel.training.losses import centreline_loss, soft_skeleton, vessel_loss
from napari_vessel.training.recipe import LossRecipe


def bar(width, gap=0):
    image = torch.zeros(1, 1, 64, 128)
    top = 32 - width // 2
    image[..., top : top + width, :] = 1
    if gap:
        image[..., 64 - gap // 2 : 64 - gap // 2 + gap] = 0
    return image


def centre(width):
    line = torch.zeros(1, 1, 64, 128)
    line[..., 32, :] = 1
    return line


@pytest.mark.parametrize("width", [3, 5, 9, 13])
def test_a_longer_break_costs_more(width):
    everywhere = torch.ones(1, 1, 64, 128)
    costs = [float(centreline_loss(bar(width, g), bar(width), centre(width), everywhere, 8)) for g in (0, 2, 8, 32)]
    assert costs == sorted(costs)
    assert costs[0] < 0.02
    assert costs[3] > costs[0] + 0.05


def test_filling_the_break_helps_more_than_the_same_area_elsewhere():
    everywhere = torch.ones(1, 1, 64, 128)
    broken = bar(5, 8)
    beside = broken.clone()
    beside[..., 5:10, 60:68] = 1
    arguments = (bar(5), centre(5), everywhere, 8)
    filled, elsewhere = centreline_loss(bar(5), *arguments), centreline_loss(beside, *arguments)
    assert filled < centreline_loss(broken, *arguments) < elsewhere


def test_the_soft_skeleton_of_a_bar_is_its_centreline():
    skeleton = soft_skeleton(bar(7), 8)[0, 0]
    assert skeleton[32, 20:108].min() == 1
    assert skeleton[28, 20:108].max() == 0


def test_nothing_outside_the_field_of_view_counts():
    torch.manual_seed(0)
    target = torch.zeros(1, 3, 32, 32)
    target[:, 0, 10:14] = 1
    target[:, 1, 12] = 1
    target[:, 2, :, :16] = 1
    logits = torch.randn(1, 1, 32, 32)
    other = logits.clone()
    # Thinning reaches a few pixels, so the change stays that far from the border.
    other[..., 24:] = 7
    losses = [vessel_loss(one, target, LossRecipe(iterations=2), with_centreline=True)[0] for one in (logits, other)]
    assert losses[0] == pytest.approx(float(losses[1]), abs=1e-6)


def test_the_right_answer_costs_next_to_nothing_and_its_opposite_much():
    target = torch.cat([bar(5), centre(5), torch.ones(1, 1, 64, 128)], dim=1)
    logits = (bar(5) - 0.5) * 40
    recipe = LossRecipe(iterations=8)
    assert vessel_loss(logits, target, recipe, with_centreline=True)[0] < 0.02
    assert vessel_loss(-logits, target, recipe, with_centreline=True)[0] > 2


@pytest.mark.parametrize("term", ["cross_entropy", "dice", "centreline"])
def test_every_term_counts_by_its_weight(term):
    target = torch.cat([bar(5), centre(5), torch.ones(1, 1, 64, 128)], dim=1)
    logits = (bar(5, 16) - 0.4) * 4
    weights = {"cross_entropy": 0.0, "dice": 1.0, "centreline": 0.0}

    def loss(**changes):
        return vessel_loss(logits, target, LossRecipe(**{**weights, **changes}), with_centreline=True)[0]

    extra = [float(loss(**{term: weights[term] + more}) - loss()) for more in (1.0, 2.0)]
    assert extra[0] > 0.01
    assert extra[1] == pytest.approx(2 * extra[0], rel=1e-4)


def test_before_its_time_the_centreline_term_does_not_count():
    target = torch.cat([bar(5), centre(5), torch.ones(1, 1, 64, 128)], dim=1)
    logits = (bar(5, 16) - 0.4) * 4
    early, without = (
        vessel_loss(logits, target, recipe, with_centreline=False)[0]
        for recipe in (LossRecipe(centreline=5.0), LossRecipe(centreline=0.0))
    )
    assert early == without
