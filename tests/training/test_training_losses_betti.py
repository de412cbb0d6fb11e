"""The Betti-matching-like term: what is critical, what is not, and where its gradient points."""

import numpy as np
import pytest
import torch

from napari_vessel.topology.metrics import betti_numbers
from napari_vessel.training.losses import total_loss
from napari_vessel.training.losses.betti import critical_regions
from napari_vessel.training.terms import LossTerm

TERM = (LossTerm("betti-matching"),)


def vessels():
    """A ring, and a straight vessel below it."""
    yy, xx = np.mgrid[:96, :96]
    radius = np.hypot(yy - 32, xx - 48)
    truth = np.abs(radius - 20) <= 2.5
    truth[70:75, 8:88] = True
    line = np.abs(radius - 20) <= 1.5
    line[71:74, 8:88] = True
    return truth, line


def block(*slices):
    mask = np.zeros((96, 96), bool)
    mask[slices] = True
    return mask


def cost(predicted, height=4.0):
    truth, line = vessels()
    target = torch.from_numpy(np.stack([truth, line, np.ones_like(truth)]).astype(np.float32))[None]
    logits = torch.from_numpy(np.where(predicted, height, -height).astype(np.float32))[None, None].requires_grad_()
    loss, _ = total_loss(logits, target, TERM, 1.0)
    if loss.requires_grad:
        loss.backward()
    return float(loss.detach()), logits.grad[0, 0].numpy()


WRONG = {
    "a break": (block(slice(66, 78), slice(40, 48)), "missed"),
    "an opened ring": (block(slice(8, 18), slice(44, 52)), "missed"),
    "a missed vessel": (block(slice(66, 80)), "missed"),
    "a vessel between two": (block(slice(52, 72), slice(46, 50)), "false"),
    "a vessel across the ring": (block(slice(14, 50), slice(46, 50)), "false"),
    "an invented vessel": (block(slice(84, 88), slice(20, 60)), "false"),
    "a filled ring": (np.hypot(*(np.mgrid[:96, :96] - np.array([32, 48])[:, None, None])) < 20, "false"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_changes_the_topology_costs_and_is_pulled_back(name):
    truth, _line = vessels()
    region, kind = WRONG[name]
    region = region & (truth if kind == "missed" else ~truth)
    predicted = truth & ~region if kind == "missed" else truth | region
    missed, false = critical_regions(truth, predicted)
    np.testing.assert_array_equal(missed if kind == "missed" else false, region)
    assert not (false if kind == "missed" else missed).any()
    value, slope = cost(predicted)
    assert value > 0.02
    touched = slope != 0
    assert touched.sum() >= 4
    assert (touched <= region).all()
    assert (slope[touched] < 0).all() if kind == "missed" else (slope[touched] > 0).all()
    assert cost(predicted, 8.0)[0] > value


def test_a_hole_in_a_vessel_is_filled():
    truth, _ = vessels()
    hole = block(slice(72, 73), slice(40, 43))
    np.testing.assert_array_equal(critical_regions(truth, truth & ~hole)[0], hole)
    assert (cost(truth & ~hole)[1] < 0).sum() == 3


@pytest.mark.parametrize(
    "predicted",
    [
        pytest.param(vessels()[0], id="the truth"),
        pytest.param(vessels()[0] & ~block(slice(66, 80), slice(70, 96)), id="an end that is too short"),
        pytest.param(vessels()[0] | block(slice(71, 74), slice(88, 94)), id="an end that is too long"),
        pytest.param(vessels()[0] | block(slice(69, 76), slice(7, 89)), id="a vessel that is too wide"),
        pytest.param(vessels()[0] & ~block(slice(70, 71)), id="a vessel that is too thin"),
    ],
)
def test_what_leaves_the_topology_alone_is_free(predicted):
    assert cost(predicted)[0] == 0


def test_a_piece_a_pixel_beside_the_true_line_is_no_break():
    truth = block(slice(40, 43), slice(10, 86))
    moved = truth & ~block(slice(40, 43), slice(40, 50)) | block(slice(39, 40), slice(38, 52))
    missed, false = critical_regions(truth, moved)
    assert not missed.any()
    assert not false.any()
    gone = truth & ~block(slice(40, 43), slice(40, 50)) | block(slice(37, 38), slice(38, 52))
    assert critical_regions(truth, gone)[0].any()


def test_the_gradient_does_not_fade_where_the_break_is_sure():
    truth, _ = vessels()
    broken = truth & ~WRONG["a break"][0]
    unsure, sure = (cost(broken, height)[1].min() for height in (1.5, 12.0))
    assert sure < unsure < 0


def test_the_gradient_is_that_of_the_loss():
    torch.manual_seed(1)
    truth, line = vessels()
    target = torch.from_numpy(np.stack([truth, line, np.ones_like(truth)]).astype(np.float32))[None]
    logits = torch.from_numpy(np.where(truth, 2.0, -2.0).astype(np.float32))[None, None]
    logits = (logits + 0.8 * torch.randn_like(logits)).requires_grad_()
    loss, _ = total_loss(logits, target, TERM, 1.0)
    loss.backward()
    direction = -logits.grad / logits.grad.abs().max()
    step = 1e-3
    ahead, behind = (float(total_loss((logits + s * direction).detach(), target, TERM, 1.0)[0]) for s in (step, -step))
    assert (ahead - behind) / (2 * step) == pytest.approx(float((logits.grad * direction).sum()), rel=0.05)


def test_following_the_gradient_repairs_the_topology():
    truth, line = vessels()
    target = torch.from_numpy(np.stack([truth, line, np.ones_like(truth)]).astype(np.float32))[None]
    wrong = (truth & ~WRONG["a break"][0] & ~WRONG["an opened ring"][0]) | WRONG["an invented vessel"][0]
    wrong |= WRONG["a vessel between two"][0]
    logits = torch.from_numpy(np.where(wrong, 3.0, -3.0).astype(np.float32))[None, None].requires_grad_()
    optimiser = torch.optim.SGD([logits], lr=200.0)
    assert betti_numbers(wrong) != betti_numbers(truth)
    for _ in range(30):
        optimiser.zero_grad()
        total_loss(logits, target, TERM, 1.0)[0].backward()
        optimiser.step()
    assert betti_numbers(logits.detach()[0, 0].numpy() > 0) == betti_numbers(truth)


def test_filling_and_removing_what_is_critical_leaves_the_true_numbers():
    truth, _ = vessels()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        predicted = truth.copy()
        for _ in range(6):
            y, x = rng.integers(4, 84, 2)
            predicted[y : y + rng.integers(3, 9), x : x + rng.integers(3, 9)] ^= True
        missed, false = critical_regions(truth, predicted)
        assert missed.any() or false.any()
        assert betti_numbers((predicted | missed) & ~false) == betti_numbers(truth), seed
