"""After any edits a table of a mask holds what working everything out from the whole mask gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vessel.topology import (
    centreline,
    find_end_points,
    label_components,
    labelling,
    local_radius,
    prune_spurs,
    thinning,
)
from napari_vessel.topology.labelling import Labelling
from napari_vessel.topology.metrics import betti_numbers
from napari_vessel.topology.skeleton import label_branches
from napari_vessel.topology.table import MaskTable
from napari_vessel.topology.thinning import Thinning

KINDS = ("erase", "fill", "flip", "line", "cut", "disc", "hole")


@pytest.fixture(autouse=True, scope="module")
def _small():
    """Make tiles and margins so small that the small masks of these tests reach beyond them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelling, "TILE_PX", 16)
        patch.setattr(labelling, "_MARGIN_PX", 2)
        patch.setattr(thinning, "_MARGIN_PX", 2)
        yield


@st.composite
def masks(draw):
    """Draw a mask of a few thousand pixels: lines, or anything from single pixels to blobs that are many wide."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    if draw(st.booleans()):
        lines = np.zeros((70, 90), np.uint8)
        for ends in rng.integers(0, (90, 70), (draw(st.integers(1, 6)), 2, 2)).tolist():
            cv2.line(lines, *ends, 1, int(rng.integers(1, 5)))
        return lines > 0
    scale = draw(st.sampled_from([1, 2, 4, 6]))
    shape = draw(st.tuples(*[st.integers(1, 60 // scale)] * 2))
    # From a seed: drawing every pixel would take most of the time.
    coarse = rng.random(shape) < draw(st.sampled_from([0.3, 0.5, 0.8]))
    mask = np.kron(coarse.astype(np.uint8), np.ones((scale, scale), np.uint8))
    return (cv2.GaussianBlur(mask.astype(np.float32), (0, 0), scale) > 0.5) if draw(st.booleans()) else mask > 0


EDITS = st.lists(
    st.tuples(
        st.sampled_from(KINDS), *[st.floats(0, 1)] * 2, *[st.integers(1, 40)] * 2, st.integers(1, 5), st.integers(0, 99)
    ),
    min_size=1,
    max_size=3,
)


def edited(mask, kind, down, across, height, width, thickness, seed):
    """Return the origin (y, x) and the patch that an edit puts there."""
    rows, columns = mask.shape
    y, x = int(down * (rows - 1)), int(across * (columns - 1))
    patch = mask[y : y + height, x : x + width].astype(np.uint8)
    if kind in ("erase", "fill"):
        patch[...] = kind == "fill"
    elif kind == "flip":
        patch ^= np.random.default_rng(seed).random(patch.shape) < 0.1
    elif kind in ("disc", "hole"):
        middle = (patch.shape[1] // 2, patch.shape[0] // 2)
        cv2.circle(patch, middle, max(min(middle), 1), int(kind == "disc"), -1)
    else:
        far = (patch.shape[1] - 1, patch.shape[0] - 1)
        corners = ((0, 0), far) if seed % 2 else ((far[0], 0), (0, far[1]))
        cv2.line(patch, *corners, int(kind == "line"), thickness)
    return (y, x), patch > 0


def same_pieces(labels, expected):
    """Tell whether two label images part pixels in the same way."""
    pairs = np.unique(np.stack([labels.ravel(), expected.ravel()]), axis=1)
    return all(len(np.unique(side)) == pairs.shape[1] for side in pairs) and np.array_equal(labels > 0, expected > 0)


def check_components(found, mask):
    expected, count = label_components(mask)
    assert same_pieces(found.labels, expected)
    assert (found.b0, found.b1) == betti_numbers(mask)
    assert np.array_equal(np.bincount(found.labels[mask], minlength=len(found.areas)), found.areas)
    assert np.count_nonzero(found.areas) == count


def check(found, mask):
    labels, _ = label_components(mask)
    skeleton, radius = centreline(mask), local_radius(mask)
    lines = prune_spurs(skeleton, radius)
    assert same_pieces(found.labels, labels)
    assert found.betti == betti_numbers(mask)
    assert np.array_equal(found.radius, radius)
    assert np.array_equal(found.skeleton, skeleton)
    assert np.array_equal(found.centrelines, lines)
    assert same_pieces(found.branches, label_branches(lines)[0])
    assert np.array_equal(np.bincount(found.branches[found.branches > 0]), np.trim_zeros(found.branch_lengths, "b"))
    ends, expected = found.ends(), find_end_points(lines, radius, found.labels)
    assert [(e.point, e.tangent, e.radius, e.component) for e in ends] == [
        (e.point, e.tangent, e.radius, e.component) for e in expected
    ]
    assert [e.branch.tolist() for e in ends] == [e.branch.tolist() for e in expected]


@given(masks(), EDITS)
@settings(max_examples=60, deadline=None)
def test_components_and_loops_are_those_of_the_mask_after_every_edit(mask, edits):
    found = Labelling(mask)
    check_components(found, mask)
    for edit in edits:
        (y, x), patch = edited(mask, *edit)
        mask[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        found.change((y, x), patch)
        check_components(found, mask)


@given(masks(), EDITS)
@settings(max_examples=40, deadline=None)
def test_everything_is_as_from_scratch_after_every_edit(mask, edits):
    found = MaskTable(mask)
    check(found, mask)
    for edit in edits:
        (y, x), patch = edited(mask, *edit)
        mask[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        before = [found.radius.copy(), found.centrelines.copy(), found.labels > 0]
        boxes = found.change((y, x), patch)
        check(found, mask)
        for old, new in zip(before, (found.radius, found.centrelines, found.labels > 0), strict=True):
            elsewhere = old != new
            for y0, x0, y1, x1 in boxes:
                elsewhere[y0:y1, x0:x1] = False
            assert not elsewhere.any()


def test_the_larger_part_of_a_split_keeps_its_number_and_the_larger_of_two_gives_it_to_both():
    mask = np.zeros((9, 300), bool)
    mask[3:6, 5:295] = True
    found = Labelling(mask)
    found.change((3, 80), np.zeros((3, 2), bool))
    assert found.labels[4, 200] == 1
    assert found.labels[4, 10] not in (0, 1)
    assert found.areas[[1, found.labels[4, 10]]].tolist() == [3 * 213, 3 * 75]
    found.change((3, 80), np.ones((3, 2), bool))
    assert found.b0 == 1
    assert found.labels[4, 10] == 1


def test_a_ring_that_is_cut_stays_one_and_has_no_loop_any_more():
    mask = np.zeros((120, 120), np.uint8)
    cv2.circle(mask, (60, 60), 50, 1, 3)
    found = Labelling(mask)
    assert (found.b0, found.b1) == (1, 1)
    found.change((0, 55), np.zeros((30, 6), bool))
    assert (found.b0, found.b1) == (1, 0)
    found.change((95, 55), np.zeros((25, 6), bool))
    assert (found.b0, found.b1) == (2, 0)


def test_many_parts_of_a_comb_that_loses_its_back():
    mask = np.zeros((64, 200), bool)
    mask[2:4] = True
    mask[4:60, ::4] = True
    mask[50:52, 80:] = True
    found = Labelling(mask)
    mask[2:4] = False
    found.change((2, 0), mask[2:4])
    assert found.b0 == 21
    check_components(found, mask)


@pytest.mark.parametrize("seed", range(3))
def test_many_specks_that_come_and_go_at_once(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((90, 120)) < 0.3
    found = Labelling(mask)
    for share in (0.02, 0.4, 0.1, 0.35, 0.9, 0.15):
        (y, x), (height, width) = rng.integers(0, 20, 2), rng.integers(40, 70, 2)
        patch = rng.random((height, width)) < share
        mask[y : y + height, x : x + width] = patch
        # In one part, however much it is.
        found._change_part((int(y), int(x)), (found.labels[y : y + height, x : x + width] > 0) != patch)
        check_components(found, mask)


def test_specks_are_followed_one_by_one(monkeypatch):
    mask = np.zeros((280, 280), bool)
    mask[20:240, 20:240] = True
    found, fills = Labelling(mask), []
    fill = Labelling._fill
    monkeypatch.setattr(Labelling, "_fill", lambda self, *args: fills.append(1) or fill(self, *args))
    specks = np.zeros_like(mask)
    specks[20:240:4, 20:240:4] = True
    found._change_part((0, 0), mask & ~specks)
    assert found.b0 == 55 * 55
    found._change_part((0, 0), mask & ~specks)
    assert found.b0 == 1
    assert len(fills) <= 3 * 55 * 55


def test_thinning_looks_as_far_as_an_edit_reaches():
    # A wide bar that is opened at one end loses its centreline's tip far behind the opening.
    mask = np.zeros((80, 200), bool)
    mask[10:70, 10:190] = True
    found = Thinning(mask)
    mask[10:70, 10:14] = False
    box = found.change((10, 10), mask[10:70, 10:14])
    assert np.array_equal(found.skeleton, centreline(mask))
    assert box is not None
    assert box[3] > 14 + 2 * thinning._MARGIN_PX


def test_thinning_looks_no_further_than_an_edit_reaches(monkeypatch):
    drawn = np.zeros((300, 300), np.uint8)
    for x in range(0, 600, 60):
        cv2.line(drawn, (x, 0), (x - 300, 250), 1, 9)
    mask = drawn > 0
    found, looked_at, thin = Thinning(mask), [], thinning._removed_in

    def noted(window, border):
        looked_at.append(window.shape)
        return thin(window, border)

    monkeypatch.setattr(thinning, "_removed_in", noted)
    for y, x in np.argwhere(centreline(mask))[200:1000:200].tolist():
        mask[y - 3 : y + 4, x - 2 : x + 2] = False
        found.change((y - 3, x - 2), mask[y - 3 : y + 4, x - 2 : x + 2])
    monkeypatch.undo()
    assert np.array_equal(found.skeleton, centreline(mask))
    assert max(max(shape) for shape in looked_at) < 50


def test_an_edit_that_thinning_does_not_see_has_no_box():
    mask = np.zeros((40, 60), bool)
    mask[15:25, 5:55] = True
    found = Thinning(mask)
    mask[24, 12] = False
    assert found.change((24, 12), mask[24:25, 12:13]) is None
    assert np.array_equal(found.skeleton, centreline(mask))


def test_a_wider_vessel_than_any_before_has_longer_spurs():
    mask = np.zeros((200, 200), bool)
    mask[98:101, 20:180] = True
    mask[60:98, 100] = True
    found = MaskTable(mask)
    check(found, mask)
    yy, xx = np.mgrid[:200, :200]
    mask |= np.hypot(yy - 100, xx - 100) < 60
    found.change((0, 0), mask)
    check(found, mask)
    assert not found.centrelines[70, 100]


def test_a_mask_of_nothing_but_vessel():
    mask = np.ones((30, 20), bool)
    found = MaskTable(mask)
    check(found, mask)
    mask[10, 10] = False
    found.change((10, 10), mask[10:11, 10:11])
    check(found, mask)
    mask[10, 10] = True
    found.change((10, 10), mask[10:11, 10:11])
    check(found, mask)


def test_an_edit_of_most_of_an_image_is_large():
    found = MaskTable(np.zeros((600, 600), bool))
    mask = np.zeros((600, 600), bool)
    mask[np.arange(600) % 9 < 4, 20:580] = True
    mask[20:580, 50:60] = True
    assert not found.is_large((0, 0), mask[:25, :30])
    assert found.is_large((0, 0), mask)
    assert found.change((0, 0), mask) == [(0, 0, 600, 600)]
    check(found, mask)


def test_what_a_table_shows_follows_and_cannot_be_written_to():
    found = MaskTable(np.zeros((40, 40), bool))
    shown = [found.labels, found.skeleton, found.centrelines, found.radius, found.branches]
    found.change((20, 5), np.ones((3, 30), bool))
    for array in shown:
        assert array[21, 20] > 0
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
