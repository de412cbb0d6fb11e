"""After a stroke the list of gaps is brought up to date by searching where the stroke was."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from napari_vessel.completion import gap_search, propose_gaps
from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.review.edits import Verdict
from napari_vessel.review.records import ImageState

pytestmark = pytest.mark.gui


@pytest.fixture
def whole(monkeypatch):
    """The searches of a whole mask, one entry for each."""
    calls = []
    look_at = gap_search.look_at

    def look(*args, **kwargs):
        calls.append(args)
        return look_at(*args, **kwargs)

    monkeypatch.setattr(gap_search, "look_at", look)
    return calls


def listed(session):
    return {gap.id for gap in session.open_gaps}


def erase(ws, rows, columns):
    ws.scene.mask_layer.data_setitem(tuple(a.ravel() for a in np.mgrid[rows, columns]), 0)


def test_a_stroke_and_its_undo_search_only_where_they_are(qtbot, review, spin, whole):
    ws = review
    before = listed(ws.session)
    erase(ws, slice(43, 46), slice(90, 94))
    qtbot.waitUntil(lambda: bool(listed(ws.session) - before), timeout=20_000)
    spin()
    assert not whole
    now = listed(ws.session)
    assert now == {gap.id for gap in propose_gaps(ws.session.labels, ws.image, tips=True)}
    ws.undo()
    qtbot.waitUntil(lambda: listed(ws.session) == before, timeout=20_000)
    spin()
    assert not whole
    ws.find_gaps()
    spin()
    assert len(whole) == 1


def test_what_was_refused_is_not_found_again_and_the_next_image_is_searched_whole(qtbot, review, drawn, spin, whole):
    ws = review
    refused = ws.review.selected
    ws.session.decide(refused, Verdict.REJECTED)
    before = listed(ws.session)
    erase(ws, slice(43, 46), slice(90, 94))
    qtbot.waitUntil(lambda: bool(listed(ws.session) - before), timeout=20_000)
    spin()
    assert not whole
    assert ws.session.state_of(refused) == "rejected"
    assert refused not in listed(ws.session)
    image, mask = drawn
    other = ws.record.id
    ws.add_image(type(image)(image.pixels[::-1].copy(), modality=image.modality, content_hash="9" * 64), mask)
    spin()
    assert ws.record.id != other
    assert len(whole) == 1


def test_before_its_gaps_are_found_an_image_is_done_by_a_second_press_only(review, spin, qtbot):
    ws, said = review, []
    widget = GapsWidget(ws.viewer)
    qtbot.addWidget(widget)
    ws.message.connect(lambda text, level: said.append((text, level)))
    ws.session.set_gaps([])
    # What the search finds comes with a turn of the event loop, and none of these takes one.
    ws.find_gaps()
    for press in (partial(ws.queues.answer, Verdict.ACCEPTED), ws.queues.step):
        press()
        assert said[-1] == ("Gaps are still being looked for.", "info")
    widget.buttons["done"].click()
    assert said[-1][0].startswith("Gaps are still being looked for; D once more")
    assert ws.record.state is not ImageState.DONE
    widget.buttons["done"].click()
    assert ws.record.state is ImageState.DONE
    spin()
    ws.set_state(ImageState.IN_REVIEW)
    widget.buttons["done"].click()
    assert ws.record.state is ImageState.DONE, "once they are known one press does it"
