"""Which terms know a break: bars 3 to 21 px wide with breaks of 2, 8 and 32 px."""

import itertools

import pytest
import torch

from napari_vessel.training.losses import total_loss
from napari_vessel.training.terms import DEFAULT_LOSS, LossTerm

WIDTHS = (3, 5, 9, 13, 21)
BREAKS = (2, 8, 32)
HEIGHT, LENGTH, MIDDLE = 80, 160, 50

# Thinning steps: half the largest calibre.
CONNECTED = {
    "soft-cldice": (LossTerm("soft-cldice", iterations=11),),
    "skeleton-recall": (LossTerm("skeleton-recall"),),
    "betti-matching": (LossTerm("betti-matching"),),
    "default": DEFAULT_LOSS,
}
OVERLAP = {name: (LossTerm(name),) for name in ("cross-entropy", "dice", "focal", "focal-dice")}
PUBLISHED = (LossTerm("connectivity"),)


def bar(width, gap=0):
    """A horizontal bar, broken in the middle."""
    image = torch.zeros(1, 1, HEIGHT, LENGTH)
    top = MIDDLE - width // 2
    image[..., top : top + width, :] = 1
    first = (LENGTH - gap) // 2
    image[..., first : first + gap] = 0
    return image


def target(width):
    line = torch.zeros(1, 1, HEIGHT, LENGTH)
    line[..., MIDDLE - 1 : MIDDLE + 2, :] = 1
    return torch.cat([bar(width), line, torch.ones_like(line)], dim=1)


def loss(terms, image, width, height=4.0):
    return float(total_loss((image - 0.5) * 2 * height, target(width), terms, 1.0)[0])


def added(width, gap, top):
    """A broken bar, and the area of the break added in a block from row `top` on."""
    image = bar(width, gap)
    assert not image[..., top : top + width, 4 : 4 + gap].any()
    image[..., top : top + width, 4 : 4 + gap] = 1
    return image


def nibbled(width, gap):
    """A whole bar with as much taken off its side as a break takes."""
    image = bar(width)
    top, area = MIDDLE - width // 2, width * gap
    while area > 0:
        here = min(area, LENGTH - 20)
        image[..., top, 10 : 10 + here] = 0
        top, area = top + 1, area - here
    return image


@pytest.mark.parametrize("height", [1.5, 6.0])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("terms", [*CONNECTED.values(), *OVERLAP.values()], ids=[*CONNECTED, *OVERLAP])
def test_the_loss_rises_with_the_break(terms, width, height):
    costs = [loss(terms, bar(width, gap), width, height) for gap in (0, *BREAKS)]
    steps = [after - before for before, after in itertools.pairwise(costs)]
    assert min(steps) > 1e-4
    assert steps == sorted(steps)


@pytest.mark.parametrize("gap", BREAKS)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("terms", [*CONNECTED.values(), *OVERLAP.values()], ids=[*CONNECTED, *OVERLAP])
def test_filling_the_break_helps_more_than_the_same_area_elsewhere(terms, width, gap):
    broken, filled = loss(terms, bar(width, gap), width), loss(terms, bar(width), width)
    apart, attached = added(width, gap, top=2), added(width, gap, top=MIDDLE - width // 2 - width)
    for elsewhere in (apart, attached):
        assert broken - filled > max(broken - loss(terms, elsewhere, width), 0) + 1e-4


@pytest.mark.parametrize("gap", BREAKS)
@pytest.mark.parametrize("width", [5, 9, 13, 21])
def test_only_terms_that_know_connections_mind_where_the_same_area_is_missing(width, gap):
    for name, terms in OVERLAP.items():
        costs = [loss(terms, image, width) for image in (bar(width, gap), nibbled(width, gap))]
        assert costs[0] == pytest.approx(costs[1], rel=1e-3), name
    if nibbled(width, gap)[..., MIDDLE - 1 : MIDDLE + 2, :].all():
        for name, terms in CONNECTED.items():
            costs = [loss(terms, image, width) for image in (bar(width, gap), nibbled(width, gap))]
            assert costs[0] > costs[1] + 1e-4, name


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("terms", CONNECTED.values(), ids=CONNECTED)
def test_closing_a_break_is_downhill_however_sure_it_is(terms, width):
    for height in (0.5, 3.0, 8.0):
        logits = ((bar(width, 8) - 0.5) * 2 * height).requires_grad_()
        before, _ = total_loss(logits, target(width), terms, 1.0)
        before.backward()
        hole = bar(width) - bar(width, 8)
        assert (logits.grad * hole).sum() < 0
        assert logits.grad[..., MIDDLE, LENGTH // 2] < 0
        assert total_loss((logits + 0.2 * hole).detach(), target(width), terms, 1.0)[0] < before


@pytest.mark.parametrize("width", [9, 13])
def test_the_published_connectivity_loss_falls_while_a_break_grows(width):
    costs = [loss(PUBLISHED, bar(width, gap), width, 20) for gap in (0, *BREAKS)]
    assert costs[0] < costs[2] < costs[1]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_published_connectivity_loss_does_not_see_a_break_as_long_as_it_is_wide(width):
    small, square = (loss(PUBLISHED, bar(width, gap), width, 20) for gap in (1, width))
    assert square < 0.02 * small


def test_the_published_connectivity_loss_gains_as_much_from_the_same_area_elsewhere():
    elsewhere = bar(3, 32)
    # 96 pixels like the break, with an outline of 56 px where the break took 58.
    elsewhere[..., 4:8, 4:28] = 1
    broken, filled, added_there = (loss(PUBLISHED, image, 3, 20) for image in (bar(3, 32), bar(3), elsewhere))
    assert broken - added_there > 0.95 * (broken - filled) > 0


def test_no_weight_makes_the_published_connectivity_loss_count():
    for width in WIDTHS:
        for gap in BREAKS:
            most = 1000 * loss(PUBLISHED, bar(width, gap), width)
            assert most < 0.1 * loss((LossTerm("cross-entropy"),), bar(width, gap), width)
