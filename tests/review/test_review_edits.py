from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from napari_vessel.review import Edit, EditKind, MaskEdit
from napari_vessel.review.history import History, join

SMALL = arrays(np.uint8, (5, 7), elements=st.integers(0, 3))


@given(SMALL, SMALL, st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_a_change_is_the_smallest_rectangle_and_can_be_taken_back(before, after, origin):
    change = MaskEdit.between(before, after, origin)
    different = np.argwhere(before != after)
    if not len(different):
        assert change is None
        return
    (y0, x0), (y1, x1) = different.min(axis=0), different.max(axis=0) + 1
    assert change.box == (y0 + origin[0], x0 + origin[1], y1 + origin[0], x1 + origin[1])
    work = before.copy()
    work[y0:y1, x0:x1] = change.labels_after()
    assert np.array_equal(work, after)
    back = change.inverse()
    assert back.box == change.box
    work[y0:y1, x0:x1] = back.labels_after()
    assert np.array_equal(work, before)
    assert back.inverse() == change


def test_a_window_into_a_larger_array_is_described_rightly():
    whole = np.zeros((20, 20), np.uint8)
    after = np.zeros((6, 6), np.uint8)
    after[2, 3:5] = 1
    assert MaskEdit.between(whole[4:10, 5:11], after, (4, 5)).box == (6, 8, 7, 10)


def test_empty_arrays_do_not_differ():
    assert MaskEdit.between(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8)) is None


def stroke(n, group=""):
    change = MaskEdit((n, 0, n + 1, 1), b"", b"")
    return Edit(EditKind.STROKE, f"stroke {n}", (change,), group=group)


def test_a_verdict_makes_one_step_of_its_group():
    verdict = Edit(EditKind.VERDICT, "repainted", group="a")
    edits = [stroke(0), stroke(1, "a"), stroke(2, "a"), verdict, stroke(4, "b"), stroke(5, "b")]
    history = History(edits, 4)
    assert history.step_back() == tuple(edits[1:4])
    assert history.step_forward() == (edits[4],)
    history.move_to(1)
    assert history.step_back() == (edits[0],)
    assert history.step_forward() == tuple(edits[1:4])
    history.push(stroke(9))
    assert history.position == 2
    assert history.step_forward() == ()
    assert [e.text for e in history.back()] == ["stroke 9", "stroke 0"]


def test_until_the_verdict_each_stroke_is_a_step():
    edits = [stroke(0), stroke(1, "a"), stroke(2, "a")]
    history = History(edits, 3)
    assert history.step_back() == (edits[2],)
    history.move_to(2)
    assert history.step_back() == (edits[1],)
    assert history.step_forward() == (edits[2],)


@pytest.mark.parametrize("position", [-1, 2])
def test_a_position_outside_the_history_is_an_error(position):
    with pytest.raises(ValueError, match="outside"):
        History([stroke(0)], position)


def test_joined_edits_keep_their_order_and_the_last_name():
    joined = join((stroke(1, "a"), stroke(2, "a")))
    assert [mask.box[0] for mask in joined.masks] == [1, 2]
    assert joined.text == "stroke 2"
    assert [mask.box[0] for mask in joined.inverse().masks] == [2, 1]
