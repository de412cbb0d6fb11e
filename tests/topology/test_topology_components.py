"""Components, calibre and centrelines on arrays small enough to read."""

import cv2
import numpy as np
import pytest

from napari_vessel.topology import (
    centreline,
    find_components,
    find_end_points,
    label_components,
    local_radius,
    median_calibre,
    prune_spurs,
    remove_small,
)
from napari_vessel.topology.components import main_component
from napari_vessel.topology.skeleton import centreline_lengths, label_branches


def drawn(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


def bar(width: int, length: int = 60, pad: int = 10) -> np.ndarray:
    mask = np.zeros((width + 2 * pad, length + 2 * pad), bool)
    mask[pad : pad + width, pad : pad + length] = True
    return mask


def ends_of(mask):
    radius = local_radius(mask)
    return find_end_points(prune_spurs(centreline(mask), radius), radius, label_components(mask)[0])


def test_vessels_touching_at_a_corner_are_one():
    mask = drawn("##...", "..#..", "....#")
    labels, count = label_components(mask)
    assert count == 2
    assert labels.dtype == np.int32
    assert labels[0, 0] == labels[1, 2] != labels[2, 4]


@pytest.mark.parametrize("mask", [np.zeros((4, 5), bool), np.zeros((0, 0), bool)])
def test_nothing_has_no_components(mask):
    assert label_components(mask)[1] == 0
    assert find_components(mask) == []
    assert median_calibre(mask) == 0
    assert not remove_small(mask, 3).any()


def test_components_are_described():
    small, large = find_components(drawn("#.....", "......", "..####"))
    assert (small.area_px, small.bbox, small.is_main) == (1, (0, 0, 1, 1), False)
    assert (large.area_px, large.bbox, large.is_main) == (4, (2, 2, 3, 6), True)
    assert large.centre == (2.0, 3.5)


def test_remove_small_keeps_the_stated_size():
    mask = drawn("#..##.", "....##")
    assert remove_small(mask, 4).sum() == 4
    assert remove_small(mask, 5).sum() == 0
    assert remove_small(mask, 0).sum() == 5


@pytest.mark.parametrize("width", [1, 2, 3, 5, 9, 15])
def test_the_calibre_of_a_bar_is_its_width(width):
    assert median_calibre(bar(width)) == pytest.approx(width, abs=0.25)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 12])
def test_a_bar_ends_twice_pointing_outwards(width):
    ends = sorted(ends_of(bar(width)), key=lambda end: end.point[1])
    assert len(ends) == 2
    for end, outwards in zip(ends, (-1, 1), strict=True):
        assert end.tangent[1] * outwards > 0.99
        assert 2 * end.radius == pytest.approx(width, abs=1)


def test_a_bump_is_no_end():
    mask = bar(7)
    mask[8:10, 39:42] = True
    assert len(ends_of(mask)) == 2


def test_a_side_branch_is_one():
    mask = bar(5, pad=40)
    mask[10:40, 70:73] = True
    ends = ends_of(mask)
    assert len(ends) == 3
    top = min(ends, key=lambda end: end.point[0])
    assert top.tangent[0] < -0.99


def test_a_ring_and_a_spot_have_no_end():
    yy, xx = np.mgrid[:40, :40]
    away = np.hypot(yy - 20, xx - 20)
    assert ends_of((away > 12) & (away < 16)) == []
    assert ends_of(away < 0.5) == []


def test_centrelines_are_as_long_as_they_look():
    mask = drawn("#....", ".#...", "..###", ".....", "#....")
    labels, count = label_components(mask)
    assert centreline_lengths(mask, labels, count).tolist() == pytest.approx([0, 2 * 2**0.5 + 2, 1])


def test_a_full_mask_has_a_radius_within_the_frame():
    assert local_radius(np.ones((8, 6), bool)).max() <= 4.5


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ([], 0),
        ([((10, 40), (70, 40))], 1),
        ([((10, 40), (70, 40)), ((40, 40), (40, 75))], 3),
        ([((10, 40), (70, 40)), ((40, 8), (40, 75))], 4),
        # Four diagonals may meet in a block of four pixels.
        ([((10, 10), (70, 70)), ((10, 71), (71, 10))], 4),
        ([((10, 20), (70, 20)), ((10, 60), (70, 60)), ((40, 20), (40, 60))], 5),
    ],
)
def test_branches_run_from_meeting_to_meeting(lines, count):
    drawing = np.zeros((80, 80), np.uint8)
    for start, end in lines:
        cv2.line(drawing, start, end, 1, 3)
    skeleton = centreline(drawing)
    labels, found = label_branches(skeleton)
    assert found == count == labels.max()
    assert not labels[~skeleton].any()
    # Little is lost where branches meet, and no branch touches another.
    assert skeleton.sum() - (labels > 0).sum() <= 14 * max(len(lines) - 1, 0)
    for i in range(1, found + 1):
        near = cv2.dilate((labels == i).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert set(np.unique(labels[near])) <= {0, i}


def test_the_main_component_of_a_large_image_is_the_largest_however_thin():
    mask = np.zeros((1100, 1100), bool)
    mask[501:504, 50:1050] = True
    mask[700:750, 200:250] = True
    labels, _ = label_components(mask)
    assert main_component(labels) == labels[502, 500]
    speck = np.zeros_like(mask)
    speck[501:504, 501:504] = True
    assert main_component(label_components(speck)[0]) == 1
    assert main_component(np.zeros((9, 9), np.int32)) == 0
