"""Undo and redo over the images of a project: gone to first, shown, and taken back with the next press."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.versions import canvas_size
from napari_vessel.gui.workspace import Workspace
from napari_vessel.images.image import VesselImage
from napari_vessel.review.edits import Verdict
from napari_vessel.review.records import ImageState

pytestmark = pytest.mark.gui


@pytest.fixture
def two(review, drawn, spin):
    """A workspace with two images; the first is open, each has its gaps."""
    image, mask = drawn
    other = VesselImage(image.pixels[::-1].copy(), modality=image.modality, content_hash="6" * 64)
    first = review.record.id
    review.add_image(other, replace(mask, labels=mask.labels[::-1].copy()))
    spin()
    second = review.record.id
    review.open_image(first)
    spin()
    return review, first, second


@pytest.fixture
def said(two):
    texts = []
    two[0].message.connect(lambda text, level: texts.append(text))
    return texts


def test_undo_goes_to_the_image_of_the_newest_edit_first_and_redo_mirrors_it(two, said, spin):
    ws, first, second = two
    gap = ws.review.selected
    ws.decide(Verdict.ACCEPTED)
    ws.mark_done()
    spin()
    assert ws.record.id == second
    before = ws.session.labels.copy()

    ws.undo()
    spin()
    assert ws.record.id == first, "the newest edit is there"
    assert ws.session.state_of(gap) == Verdict.ACCEPTED, "it is shown before it is taken back"
    assert ws.review.selected == gap
    assert np.allclose(ws.scene._camera.center[-2:], ws.review.gap.centre, atol=1e-3)
    assert said[-1] == f"Went to {ws.record.name} to undo: {ws.session.undo_text}. Undo again takes it back."

    ws.undo()
    assert ws.session.state_of(gap) == "open"
    assert said[-1].startswith("Undone: accepted gap")
    assert ws.record.state is ImageState.IN_REVIEW, "an image that is edited again is no longer done"

    ws.open_image(second)
    spin()
    ws.redo()
    spin()
    assert ws.record.id == first
    assert ws.session.state_of(gap) == "open"
    assert "to do again: accepted gap" in said[-1]
    ws.redo()
    assert ws.session.state_of(gap) == Verdict.ACCEPTED
    ws.open_image(second)
    spin()
    assert np.array_equal(ws.session.labels, before), "nothing happened to the other image"
    assert ws.session.history_position == 0


def test_undo_goes_on_after_a_restart(two, make_napari_viewer, spin):
    ws, first, second = two
    ws.decide(Verdict.REJECTED)
    ws.open_image(second)
    spin()
    ws.decide(Verdict.REJECTED)
    ws.decide(Verdict.UNSURE)
    folder = ws.project.folder
    ws.close()

    again = Workspace.of(make_napari_viewer())
    again.open_project(folder)
    spin()
    assert again.record.id == second
    again.undo()
    again.undo()
    assert again.session.history_position == 0
    again.undo()
    spin()
    assert again.record.id == first
    assert again.session.history_position == 1
    again.undo()
    assert again.session.history_position == 0
    again.undo()
    assert again.record.id == first
    assert again.timeline.undo_text == ""
    again.close()


def test_a_stroke_that_is_gone_to_is_in_the_middle_of_the_canvas(two, spin):
    ws, first, second = two
    ws.session.stroke(np.ones((2, 2), np.uint8), (100, 100))
    ws.open_image(second)
    spin()
    ws.undo()
    spin()
    assert ws.record.id == first
    assert ws.session.labels[100, 100] == 1
    y, x = ws.scene._camera.center[-2:]
    height, width = np.asarray(canvas_size(ws.viewer)) / (2 * ws.scene._camera.zoom)
    assert abs(y - 101) <= height
    assert abs(x - 101) <= width


def test_undo_here_takes_back_in_the_open_image_though_another_is_newer(two, spin):
    ws, first, second = two
    ws.decide(Verdict.REJECTED)
    ws.open_image(second)
    spin()
    ws.decide(Verdict.REJECTED)
    ws.open_image(first)
    spin()
    ws.review.undo()
    assert ws.record.id == first
    assert ws.session.history_position == 0
    assert ws.project.record(second).state is ImageState.IN_REVIEW


def test_a_repaint_is_ended_before_undo_leaves_its_image(two, said, spin):
    ws, _first, second = two
    ws.decide(Verdict.REJECTED)
    ws.open_image(second)
    spin()
    ws.start_repaint()
    ws.undo()
    spin()
    assert ws.record.id == second
    assert ws.review.repainting
    assert "Finish the repaint" in said[-1]
    ws.cancel_repaint()


def test_while_an_image_is_being_opened_undo_waits(two, said, spin):
    ws, first, second = two
    ws.decide(Verdict.REJECTED)
    ws.open_image(second)
    spin()
    ws.undo()
    ws.undo()
    assert said[-1] == "An image is being opened; press again when it is there."
    spin()
    assert ws.record.id == first
    assert ws.session.history_position == 1


def test_the_widget_says_what_undo_means_and_where(two, qtbot, spin):
    ws, _first, second = two
    widget = GapsWidget(ws.viewer)
    qtbot.addWidget(widget)
    assert not widget.buttons["undo"].isEnabled()
    ws.decide(Verdict.REJECTED)
    text, name = ws.session.undo_text, ws.record.name
    assert widget.history.text() == f"undo: {text}"
    ws.open_image(second)
    spin()
    assert widget.buttons["undo"].isEnabled()
    assert widget.history.text() == f"undo: {text} in {name}"


def test_a_threshold_is_taken_back_here_and_its_gaps_are_looked_for_again(two, qtbot, spin):
    ws, _first, _ = two
    before = ws.session.labels.copy()
    ids = {gap.id for gap in ws.session.open_gaps}
    whole = before.copy()
    whole[43:46, 8:112] = 1
    ws.set_mask(whole, "threshold 0.40")
    spin()
    assert {gap.id for gap in ws.session.open_gaps} != ids
    ws.undo()
    assert np.array_equal(ws.session.labels, before)
    qtbot.waitUntil(lambda: {gap.id for gap in ws.session.open_gaps} == ids, timeout=30_000)
    spin()


def test_a_first_segmentation_taken_back_leaves_a_new_image_and_done_again_a_gap_under_review(
    workspace, drawn, qtbot, spin
):
    image, mask = drawn
    workspace.add_image(image)
    spin()
    widget = GapsWidget(workspace.viewer)
    qtbot.addWidget(widget)
    workspace.set_mask(mask.labels > 0, "segmentation")
    spin()
    assert workspace.record.state is ImageState.SEGMENTED
    workspace.undo()
    spin()
    assert workspace.record.state is ImageState.NEW
    assert widget.title.text().endswith(", new")
    workspace.redo()
    spin()
    assert workspace.record.state is ImageState.SEGMENTED
    gap = workspace.review.gap
    assert gap is not None
    assert np.allclose(workspace.scene._camera.center[-2:], gap.centre, atol=1.0)
    workspace.decide(Verdict.REJECTED)
    for _ in range(2):
        workspace.undo()
    assert workspace.record.state is ImageState.NEW
