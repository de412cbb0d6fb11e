"""Drawn completions join, keep what is there, and stay up to date."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_vessel.completion import (
    complete,
    complete_with_gaps,
    draw_gap,
    draw_gap_labels,
    effect_now,
    propose_gaps,
    refresh_effects,
)
from napari_vessel.completion.drawing import draw_path
from napari_vessel.topology import label_components


def test_a_path_that_runs_far_out_of_the_frame_is_drawn_where_it_is_inside():
    path = np.asarray([[30.0, 10.0], [30.0, 60.0], [500.0, 60.0]])
    (y, x), patch = draw_path(path, np.full(3, 4.0), (60, 160))
    assert (y + patch.shape[0], x + patch.shape[1]) == (60, 64)
    assert patch[30 - y, 10 - x : 61 - x].all()


def two_bars(width: int = 5, gap: int = 10) -> np.ndarray:
    mask = np.zeros((60, 160), bool)
    mask[28 : 28 + width, 20:70] = True
    mask[28 : 28 + width, 70 + gap : 140] = True
    return mask


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 15])
def test_a_drawn_gap_is_as_wide_as_its_vessel(width):
    mask = two_bars(width)
    closed = complete(mask, min_score=0.5)
    assert label_components(closed)[1] == 1
    across = closed[:, 72:78].sum(axis=0)
    assert abs(across - width).max() <= 1
    # No bulge: nothing beyond a pixel outside the bar.
    assert not closed[: 28 - 1].any()
    assert not closed[28 + width + 1 :].any()


@pytest.mark.parametrize("width", range(1, 10))
@pytest.mark.parametrize("gap", [3, 10])
def test_a_straight_vessel_is_drawn_to_the_pixel_whatever_its_width(width, gap):
    whole = np.zeros((60, 160), bool)
    whole[28 : 28 + width, 20:140] = True
    assert np.array_equal(complete(two_bars(width, gap), min_score=0.5), whole)


@pytest.mark.parametrize("width", [2, 3, 4, 5, 7])
def test_a_slanting_vessel_is_drawn_without_a_bulge(width):
    y, x = np.mgrid[:160, :160]
    inside = (np.abs(y - 80) < 60) & (np.abs(x - 80) < 60)
    whole = (np.abs(0.94 * (y - 80) - 0.34 * (x - 80)) < width / 2) & inside
    broken = whole & ((x < 75) | (x >= 85))
    drawn, missing = complete(broken, min_score=0.5) & ~broken, whole & ~broken
    assert 2 * (drawn & missing).sum() / (drawn.sum() + missing.sum()) > 0.85


def test_widths_are_interpolated():
    path = np.stack([np.full(41, 20.0), np.arange(10.0, 51.0)], axis=1)
    (y, x), patch = draw_path(path, np.linspace(3, 9, 41), (60, 60))
    assert (y, x) == (14, 4)
    across = patch[:, 10 - x : 51 - x].sum(axis=0)
    assert across[0] == pytest.approx(3, abs=1)
    assert across[-1] == pytest.approx(9, abs=1)
    assert (np.diff(across) >= 0).all()


def test_a_drawing_is_clipped_to_the_picture():
    path = np.array([[1.0, 1.0], [1.0, 8.0]])
    origin, patch = draw_path(path, np.array([6.0, 6.0]), (5, 9))
    assert origin == (0, 0)
    assert patch.shape == (5, 9)
    assert patch[1, 1:9].all()


@given(
    st.lists(st.tuples(st.floats(0, 39), st.floats(0, 49)), min_size=1, max_size=8),
    st.floats(0, 8),
)
@settings(max_examples=60, deadline=None)
def test_any_path_is_drawn_in_one_piece_from_end_to_end(points, width):
    path = np.rint(np.asarray(points))
    (y, x), patch = draw_path(path, np.full(len(path), width), (40, 50))
    assert label_components(patch)[1] == 1
    for py, px in path.astype(int):
        assert patch[py - y, px - x]


def test_new_pixels_take_the_class_of_both_ends():
    mask = two_bars()
    labels = mask.astype(np.uint8) * 3
    (gap,) = propose_gaps(labels)
    (y, x), patch = draw_gap_labels(gap, labels)
    assert patch.dtype == np.uint8
    assert set(np.unique(patch)) == {0, 3}
    assert patch[30 - y, 75 - x] == 3


def test_between_two_classes_nothing_old_changes():
    mask = two_bars()
    labels = mask.astype(np.uint8)
    labels[:, 75:] *= 2
    (gap,) = propose_gaps(labels)
    (y, x), patch = draw_gap_labels(gap, labels)
    before = labels[y : y + patch.shape[0], x : x + patch.shape[1]]
    assert (patch[before > 0] == before[before > 0]).all()
    assert patch[30 - y, 75 - x] in (1, 2)


def test_only_good_gaps_are_closed():
    mask = two_bars()
    (gap,) = propose_gaps(mask)
    closed, accepted = complete_with_gaps(mask, min_score=gap.score + 0.001)
    assert accepted == []
    assert (closed == mask).all()
    closed, accepted = complete_with_gaps(mask, min_score=gap.score)
    assert [done.id for done in accepted] == [gap.id]
    assert closed.sum() > mask.sum()


@given(hnp.arrays(bool, (24, 32), elements=st.booleans(), fill=st.just(False)))
@settings(max_examples=60, deadline=None)
def test_completing_takes_nothing_away_and_effects_are_exact(mask):
    assert (complete(mask, min_score=0.0) >= mask).all()
    for gap in propose_gaps(mask):
        closed = mask.copy()
        (y, x), patch = draw_gap(gap, mask.shape)
        closed[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
        assert label_components(closed)[1] == gap.effect.components_after
        assert label_components(mask)[1] == gap.effect.components_before


def blocks(rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    mask = np.zeros((70, 90), bool)
    for y, x, height, width in rows:
        mask[y : y + height, x : x + width] = True
    return mask


@given(
    st.lists(
        st.tuples(st.integers(4, 60), st.integers(4, 80), st.integers(1, 30), st.integers(1, 30)),
        min_size=2,
        max_size=10,
    ).map(blocks)
)
@settings(max_examples=80, deadline=None)
def test_effects_are_exact_between_blocks(mask):
    for gap in propose_gaps(mask):
        closed = mask.copy()
        (y, x), patch = draw_gap(gap, mask.shape)
        closed[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
        assert label_components(closed)[1] == gap.effect.components_after


class TestRefresh:
    def test_without_an_edit_nothing_changes(self):
        mask = two_bars()
        gaps = propose_gaps(mask)
        assert refresh_effects(gaps, *label_components(mask)) == gaps

    def test_a_gap_painted_over_is_dropped(self):
        mask = two_bars()
        gaps = propose_gaps(mask)
        mask[28:33, 68:82] = True
        assert refresh_effects(gaps, *label_components(mask)) == []

    def test_a_gap_that_lost_a_vessel_is_dropped(self):
        mask = two_bars()
        gaps = propose_gaps(mask)
        mask[:, 80:] = False
        labels, count = label_components(mask)
        assert refresh_effects(gaps, labels, count) == []
        assert effect_now(gaps[0], labels, count) is None

    def test_ends_joined_elsewhere_make_a_loop(self):
        mask = two_bars()
        (gap,) = propose_gaps(mask)
        mask[40:43, 25:135] = True
        mask[30:43, 25:28] = True
        mask[30:43, 132:135] = True
        (now,) = refresh_effects([gap], *label_components(mask))
        assert (now.effect.cycles, now.effect.components_before, now.effect.components_after) == (1, 1, 1)
        assert now.effect.connected_px == 0
        assert now.id == gap.id

    def test_counts_and_labels_follow(self):
        mask = two_bars()
        (gap,) = propose_gaps(mask)
        mask[2:4, 2:4] = True
        labels, count = label_components(mask)
        now = effect_now(gap, labels, count)
        assert now is not None
        assert (now.effect.components_before, now.effect.components_after) == (3, 2)
        assert sorted(now.joins) == [2, 3]
        assert now.effect.connected_px == gap.effect.connected_px

    def test_nothing_to_refresh(self):
        assert refresh_effects([], np.zeros((3, 3), np.int32), 0) == []


def test_a_gap_of_one_end_takes_its_class():
    labels = two_bars().astype(np.uint8) * 2
    (gap,) = propose_gaps(labels)
    tip = replace(gap, ends=gap.ends[:1])
    _, patch = draw_gap_labels(tip, labels)
    assert set(np.unique(patch)) == {0, 2}
