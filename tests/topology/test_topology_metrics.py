"""Metrics on drawings small enough to check by eye."""

import numpy as np
import pytest

from napari_vessel.topology.metrics import area_under_curve, betti_numbers, cl_dice, dice_coefficient, score_mask


def draw(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


RING = draw(".....", ".###.", ".#.#.", ".###.", ".....")
DIAGONAL = draw("#...", ".#..", "..#.", "...#")
TWO = draw("##..", "....", "..##")
CORNER_LOOP = draw(".#.", "#.#", ".#.")


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (RING, (1, 1)),
        (DIAGONAL, (1, 0)),
        (TWO, (2, 0)),
        (CORNER_LOOP, (1, 1)),
        (np.zeros((3, 3), bool), (0, 0)),
        (np.ones((3, 3), bool), (1, 0)),
    ],
)
def test_betti_numbers_of_drawings(mask, expected):
    assert betti_numbers(mask) == expected


def test_betti_numbers_agree_with_persistent_homology():
    gudhi = pytest.importorskip("gudhi")
    rng = np.random.default_rng(0)
    for density in (0.2, 0.4, 0.6):
        mask = rng.random((24, 31)) < density
        # Top-dimensional cells that share a corner touch, which is 8-connectivity.
        complex_ = gudhi.CubicalComplex(top_dimensional_cells=np.pad(1.0 - mask, 1, constant_values=1.0))
        complex_.compute_persistence()
        assert betti_numbers(mask) == tuple(complex_.persistent_betti_numbers(0.5, 0.5)[:2])


def test_dice_and_cl_dice_are_defined_on_empty_masks():
    empty = np.zeros_like(RING)
    for metric in (dice_coefficient, cl_dice):
        assert metric(empty, empty) == 1
        assert metric(RING, empty) == 0
        assert metric(empty, RING) == 0
        assert metric(RING, RING) == 1


def test_cl_dice_sees_a_break_that_dice_hardly_sees():
    bar = np.zeros((40, 200), bool)
    bar[10:20] = True
    line = np.zeros_like(bar)
    line[30] = True
    truth, broken = bar | line, bar
    assert dice_coefficient(broken, truth) > 0.93
    assert cl_dice(broken, truth) < 0.75


def test_a_score_counts_inside_the_field_of_view_only():
    truth = np.zeros((20, 20), bool)
    truth[5] = True
    mask = truth.copy()
    mask[15] = True
    fov = np.zeros_like(truth)
    fov[:10] = True
    inside, everywhere = score_mask(mask, truth, fov), score_mask(mask, truth)
    assert inside.dice == 1
    assert inside.b0_error == 0
    assert everywhere.dice < 0.7
    assert everywhere.b0_error == 1
    assert everywhere.sensitivity == 1
    assert everywhere.specificity == pytest.approx(1 - 20 / 380)


def test_area_under_the_curve_of_known_cases():
    truth = np.array([False, False, True, True])
    assert area_under_curve(np.array([0.1, 0.2, 0.8, 0.9], np.float32), truth) == pytest.approx(1)
    assert area_under_curve(np.array([0.9, 0.8, 0.2, 0.1], np.float32), truth) == pytest.approx(0)
    assert area_under_curve(np.full(4, 0.5, np.float32), truth) == pytest.approx(0.5)
    assert area_under_curve(np.full(4, 0.5, np.float32), np.zeros(4, bool)) is None
    scored = score_mask(truth[None], truth[None], probability=np.array([[0.1, 0.6, 0.4, 0.9]], np.float32))
    assert scored.auc == pytest.approx(0.75)
