"""Disagreements with another annotator in the window: found by a job, gone through by keys, settled undoably."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.project import ProjectWidget
from napari_vessel.gui.queues import QUEUES
from napari_vessel.gui.scene import THEIRS_NAME
from napari_vessel.gui.workers import running_jobs
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.review.edits import Verdict
from napari_vessel.review.fragments import FragmentVerdict, find_fragments
from napari_vessel.review.project import Project

pytestmark = pytest.mark.gui

ANN = (Verdict.ACCEPTED, Verdict.REJECTED, Verdict.ACCEPTED)
BOB = (Verdict.REJECTED, Verdict.ACCEPTED, Verdict.ACCEPTED)
TOUR = (3, 0, 1, 0, 2, 0, 3, 1, 2, 1, 3, 2, 3)
"""Through the four queues, from each to each of the others once."""


@pytest.fixture
def compared(review, drawn, spin, tmp_path, qtbot):
    """Two images, two contradictions in the first and one in the second, and the queue of them begun."""
    image, mask = drawn
    second = VesselImage(image.pixels[::-1].copy(), modality=image.modality, content_hash="6" * 64)
    turned = replace(mask, labels=mask.labels[::-1].copy())
    ws, first_id = review, review.record.id
    gaps = list(ws.session.gaps)
    with Project.create(tmp_path / "bob") as bob:
        [one] = run_job(bob.add([image], mask))
        [two] = run_job(bob.add([second], turned))
        session = bob.open_session(one.id, "bob")
        session.set_gaps(gaps)
        for gap, verdict in zip(gaps, BOB, strict=False):
            session.decide(gap.id, verdict, 1.0)
        ws.bobs = session.labels.copy()
        other = bob.open_session(two.id, "bob")
        [piece, *_] = run_job(find_fragments(other.components.labels))
        other.decide_fragment(piece, FragmentVerdict.DELETED)
    for gap, verdict in zip(gaps, ANN, strict=False):
        ws.session.decide(gap.id, verdict, 1.0)
    ws.add_image(second, turned)
    spin()
    ws.session.decide_fragment(piece, FragmentVerdict.KEPT)
    ws.piece, ws.second_id = piece, ws.record.id
    ws.open_image(first_id)
    spin()
    ws.texts = []
    ws.message.connect(lambda text, level: ws.texts.append(text))
    project, gaps_widget = ProjectWidget(ws.viewer), GapsWidget(ws.viewer)
    for widget in (project, gaps_widget):
        qtbot.addWidget(widget)
    assert not gaps_widget.tabs.isTabVisible(3)
    project.compare_with(tmp_path / "bob")
    spin()
    return ws, gaps_widget


def test_the_comparison_says_the_figures_and_begins_the_queue(compared):
    ws, widget = compared
    assert ws.queues.shown == "differences"
    assert widget.tabs.currentIndex() == 3
    assert widget.tabs.tabText(3) == "Differences 3"
    assert widget.differences.summary.text().startswith("With bob: kappa of gaps ")
    assert "Dice" in widget.differences.image_summary.text()
    rows = [[widget.differences.model.item(row, column).text() for column in (3, 4, 5, 1)] for row in range(3)]
    assert sorted(rows[:2]) == [
        ["gap", "✔ accepted", "✘ rejected", "○"],
        ["gap", "✘ rejected", "✔ accepted", "○"],
    ]
    assert rows[2] == ["fragment", "✔ kept", "✘ deleted", "○"]
    entry = ws.differences.entry
    assert ws.review.selected == entry.pair.id
    assert np.allclose(ws.scene._camera.center[-2:], entry.pair.centre, atol=1.0)
    layer = ws.viewer.layers[THEIRS_NAME]
    assert not layer.data[ws.bobs > 0].any(), "the line is outside of theirs"
    assert np.array_equal(cv2.dilate(ws.bobs, np.ones((3, 3), np.uint8)) > 0, (ws.bobs > 0) | (layer.data > 0))
    assert not layer.editable
    assert ws.viewer.layers.selection.active is ws.scene.mask_layer


def test_keys_keep_mine_or_take_theirs_and_undo_opens_it_again(compared, spin):
    ws, widget = compared
    differences, before = ws.differences, ws.session.labels.copy()
    first = differences.selected
    ws.queues.answer(Verdict.REJECTED)
    assert differences.state(first) == "theirs"
    pair = differences.entries[first].pair
    assert ws.session.state_of(pair.id) == pair.second.verdict
    assert ws.session.verdicts[pair.id].annotator == ws.annotator
    second = differences.selected
    assert second != first
    ws.queues.answer(Verdict.ACCEPTED)
    assert differences.state(second) == "mine"
    assert differences.left == 1
    spin()
    assert ws.record.id == ws.second_id, "the next one is in the other image"

    ws.queues.answer(Verdict.REJECTED)
    assert ws.session.fragment_state(ws.piece.id) == "deleted"
    assert ws.session.labels[ws.piece.point] == 0
    assert differences.left == 0
    assert widget.tabs.tabText(3) == "Differences 0"
    ws.undo()
    assert differences.left == 1
    assert ws.session.labels[ws.piece.point] == 1
    assert differences.entry.pair.id == ws.piece.id
    ws.undo()
    spin()
    assert differences.selected == second, "undo went to the image, and to the disagreement"
    ws.undo()
    ws.undo()
    assert differences.selected == first
    assert differences.left == 3
    assert np.array_equal(ws.session.labels, before)


def test_where_i_was_unsure_i_may_stay_so(compared, spin, tmp_path):
    ws, widget = compared
    ws.session.decide(ws.differences.entries[0].pair.id, Verdict.UNSURE)
    ws.open_image(ws.second_id)
    spin()
    ws.session.decide_fragment(ws.piece, FragmentVerdict.UNSURE)
    ws.differences.compare(tmp_path / "bob")
    spin()
    unsure = [n for n, entry in enumerate(ws.differences.entries) if entry.pair.first.verdict == "unsure"]
    assert len(unsure) == 2
    for number in unsure:
        ws.differences.select(number)
        spin()
        left = ws.differences.left
        widget.differences.buttons["unsure"].click()
        assert ws.differences.left == left - 1
        assert ws.differences.state(number) != "open"
        spin()


def test_next_and_back_go_through_both_images_and_skip_what_is_settled(compared, spin):
    ws, _ = compared
    order = [ws.differences.selected]
    for _ in range(2):
        ws.queues.step()
        spin()
        order.append(ws.differences.selected)
    assert order == [0, 1, 2]
    assert ws.record.id == ws.second_id
    y, x = ws.piece.point
    assert not ws.scene.outlines.layers[0].data[y - 2 : y + 3, x : x + 5].any(), "they have nothing there"
    ws.queues.step(-1)
    spin()
    assert ws.differences.selected == 1
    ws.queues.answer(Verdict.UNSURE)
    assert ws.differences.state(1) == "unsure"
    spin()
    ws.queues.step()
    spin()
    assert ws.differences.selected == 0


def test_leaving_the_queue_takes_their_outline_away_and_the_raw_image_hides_it(compared):
    ws, widget = compared
    ws.scene.raw(True)
    assert not ws.viewer.layers[THEIRS_NAME].visible
    ws.scene.raw(False)
    assert ws.viewer.layers[THEIRS_NAME].visible
    widget.tabs.setCurrentIndex(0)
    assert ws.queues.shown == "gaps"
    assert THEIRS_NAME not in ws.viewer.layers
    widget.tabs.setCurrentIndex(3)
    assert THEIRS_NAME in ws.viewer.layers
    ws.close_project()
    assert not widget.tabs.isTabVisible(3)
    assert ws.queues.shown == "gaps"


def test_closing_the_dock_leaves_the_queue(compared):
    ws, _ = compared
    dock, _ = ws.viewer.window.add_plugin_dock_widget("napari-vessel", "Vessel gaps")
    assert ws.queues.shown == "differences"
    dock.destroyOnClose()
    assert ws.queues.shown == "gaps"
    assert THEIRS_NAME not in ws.viewer.layers


def test_a_row_is_chosen_with_the_mouse_and_a_folder_that_is_no_project_refused(compared, qtbot, tmp_path):
    ws, widget = compared
    index = widget.differences.proxy.index(1, 0)
    widget.show()
    place = widget.differences.table.visualRect(index).center()
    qtbot.mouseClick(widget.differences.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert ws.differences.selected == 1
    project = ProjectWidget(ws.viewer)
    qtbot.addWidget(project)
    project.compare_with(tmp_path)
    assert "is no vessel project" in ws.texts[-1]


def test_the_other_project_is_left_as_it_was(compared, tmp_path):
    with Project.open(tmp_path / "bob") as bob:
        [one, _] = bob.images()
        assert np.array_equal(bob.read_mask(one.id).labels, compared[0].bobs)


def test_what_is_decided_while_the_comparison_runs_counts_in_an_image_that_was_left_too(compared, spin, tmp_path):
    ws, _ = compared
    here = [entry.pair.id for entry in ws.differences.entries[:2]]
    ws.differences.compare(tmp_path / "bob")
    for handle in running_jobs():
        assert handle.wait(30)
    for pair in here:
        ws.session.decide(pair, Verdict.UNSURE)
    ws.close_image()
    spin()
    assert [ws.differences.state(number) for number in range(3)] == ["unsure", "unsure", "open"]
    assert ws.record.id == ws.second_id, "the one that is open is in the other image"


def seen(ws):
    """Return where the camera is, and where the arrows point, (y, x); None for the latter without arrows."""
    arrows = ws.scene.overlay.arrows
    tips = arrows.data.sum(axis=1)
    return np.array(ws.scene._camera.center[-2:]), tips.mean(axis=0) if arrows.visible else None


def under_review(ws):
    """Return the place that the next verdict is about, (y, x)."""
    if ws.queues.shown == "differences":
        return ws.differences.entry.pair.centre
    return ws.fragments.fragment.centre if ws.queues.shown == "fragments" else ws.review.gap.centre


def check_seen(ws, way):
    camera, arrows = seen(ws)
    assert np.allclose(camera, under_review(ws), atol=1.0), way
    assert arrows is not None, way
    assert np.hypot(*(arrows - under_review(ws))) < 6, way


def test_from_every_queue_to_every_other_what_a_key_would_decide_is_in_the_middle_between_arrows(compared, spin, qtbot):
    ws, widget = compared
    # A bridge to cut, and specks: a verdict on one cannot be mistaken for one on a gap beside it.
    ws.session.stroke(np.ones((24, 3), np.uint8), (20, 94))
    ws.session.stroke(np.ones((3, 3), np.uint8), (104, 20))
    ws.find_gaps()
    spin()
    widget.show()
    places = set()

    def go(queue):
        place = widget.tabs.tabRect(QUEUES.index(queue)).center()
        qtbot.mouseClick(widget.tabs, Qt.MouseButton.LeftButton, pos=place)
        assert ws.queues.shown == queue

    for queue in QUEUES:
        go(queue)
        spin()
        places.add(tuple(np.round(under_review(ws))))
    assert len(places) == 3, "only the gap under review is the one of a difference"
    assert ws.queues.shown == QUEUES[-1]
    for before, after in pairwise(TOUR):
        go(QUEUES[after])
        check_seen(ws, f"{QUEUES[before]} to {QUEUES[after]}")
    for before in ("gaps", "cuts", "differences"):
        go(before)
        # The list of fragments is made anew by the next look at them.
        ws.session.stroke(np.full((1, 2), 1 - ws.session.labels[107, 100], np.uint8), (107, 100))
        go("fragments")
        check_seen(ws, f"{before} to fragments, while they are found")
        spin()
        check_seen(ws, f"{before} to fragments")


def test_the_difference_of_an_image_that_is_stepped_to_is_shown(compared, spin):
    ws, _ = compared
    for step in (1, -1):
        ws.next_image(step)
        spin()
        assert ws.differences.entry.image.first_id == ws.record.id
        check_seen(ws, f"image {step:+d}")
