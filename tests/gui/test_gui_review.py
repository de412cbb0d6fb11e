"""The review itself: fly-to, verdicts, repaint, bulk, delete, resume, layers from elsewhere, stale results."""

import dask.array
import numpy as np
import pytest
from qtpy.QtCore import QEvent
from qtpy.QtGui import QOpenGLContext
from qtpy.QtWidgets import QApplication

from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.versions import canvas_size
from napari_vessel.gui.workspace import Workspace
from napari_vessel.images.image import VesselImage
from napari_vessel.review.edits import Verdict
from napari_vessel.review.records import ImageState

pytestmark = pytest.mark.gui


def turn():
    QApplication.processEvents()
    QApplication.processEvents()


def drawn_gap(workspace):
    return int(np.count_nonzero(workspace.scene.overlay.layer.data == 1))


def test_opening_shows_image_mask_and_first_gap(review):
    ws = review
    names = [layer.name for layer in ws.viewer.layers]
    assert names == [ws.record.name, "Vessels", "Fragments", "Proposals", "Proposal ends", "Changes"]
    assert ws.viewer.layers.selection.active is ws.scene.mask_layer
    assert ws.review.selected == ws.session.gaps[0].id
    assert np.allclose(ws.scene._camera.center[-2:], ws.session.gaps[0].centre, atol=1e-3)
    assert drawn_gap(ws) > 0


def test_the_first_break_is_shown_close_up(review):
    ws = review
    gap, zoom = ws.review.gap, ws.scene._camera.zoom
    assert min(canvas_size(ws.viewer)) / zoom <= max(30 * np.mean(gap.widths), 6 * gap.length, 160) + 1


def test_fly_to_keeps_the_annotators_zoom(review):
    ws = review
    ws.scene._camera.zoom = 7.5
    ws.next_gap()
    assert ws.scene._camera.zoom == 7.5
    assert np.allclose(ws.scene._camera.center[-2:], ws.review.gap.centre, atol=1e-3)
    assert ws.viewer.layers.selection.active is ws.scene.mask_layer


def test_verdict_is_in_the_project_before_it_is_drawn(review):
    ws = review
    gap_id, record_id, project = ws.review.selected, ws.record.id, ws.project
    at_redraw = []
    ws.scene.mask_layer.events.labels_update.connect(
        lambda _: at_redraw.append([gap.id for gap, _ in project.verdicts(record_id)])
    )
    ws.decide(Verdict.ACCEPTED)
    assert at_redraw
    assert at_redraw[0] == [gap_id]
    assert ws.review.selected != gap_id
    assert ws.session.state_of(ws.review.selected) == "open"
    assert ws.record.state is ImageState.IN_REVIEW


def test_every_verdict_and_back(review):
    ws = review
    first = ws.review.selected
    ids = []
    for verdict in (Verdict.ACCEPTED, Verdict.REJECTED, Verdict.UNSURE, Verdict.SKIPPED):
        ids.append(ws.review.selected)
        ws.decide(verdict)
    assert [str(ws.session.state_of(i)) for i in ids] == ["accepted", "rejected", "unsure", "skipped"]
    ws.select_gap(ids[1])
    ws.next_gap(-1)
    assert ws.review.selected == first
    ws.decide(Verdict.REJECTED)
    assert ws.session.state_of(first) == "rejected"
    ws.undo()
    assert ws.session.state_of(first) == "accepted"
    assert ws.review.selected == first


def test_repaint_is_one_step_and_escape_takes_it_back(review):
    ws = review
    gap, before, position = ws.review.gap, ws.session.labels.copy(), ws.session.history_position
    layer = ws.scene.mask_layer
    ws.start_repaint()
    assert ws.review.repainting
    assert str(layer.mode) == "paint"
    assert layer.brush_size == max(1, round(float(gap.widths.mean())))
    for point in gap.path[::2]:
        layer.paint(tuple(point), layer.selected_label)
        turn()
    ws.cancel_repaint()
    assert np.array_equal(ws.session.labels, before)
    assert str(layer.mode) == "pan_zoom"

    ws.start_repaint()
    for point in gap.path[::2]:
        layer.paint(tuple(point), layer.selected_label)
        turn()
    ws.decide(Verdict.ACCEPTED)
    assert ws.session.state_of(gap.id) == "open", "a verdict key does nothing in a repaint"
    said = []
    ws.message.connect(lambda text, level: said.append(text))
    ws.end_repaint()
    assert ws.session.state_of(gap.id) == "repainted"
    assert said[-1] == f"Repainted; {len(ws.session.open_gaps)} open."
    assert not ws.review.repainting
    assert ws.session.history_position > position + 1
    ws.undo()
    assert np.array_equal(ws.session.labels, before)
    assert ws.session.history_position == position
    ws.redo()
    assert ws.session.state_of(gap.id) == "repainted"


def test_undo_and_redo_of_something_earlier_are_no_part_of_a_repaint(review):
    ws = review
    first = ws.review.selected
    ws.decide(Verdict.REJECTED)
    gap_id = ws.review.selected
    ws.start_repaint()
    ws.undo()
    assert ws.session.state_of(first) == "open"
    ws.redo()
    ws.end_repaint()
    assert ws.session.state_of(gap_id) == "open", "nothing was painted"
    ws.review.select(gap_id)
    ws.start_repaint()
    ws.undo()
    ws.redo()
    ws.cancel_repaint()
    assert ws.session.state_of(first) == "rejected", "the earlier verdict is not the repaint's to take back"


def test_a_search_that_ends_in_a_repaint_waits_for_its_end(review, spin):
    ws, said = review, []
    ws.message.connect(lambda text, level: said.append(text) if level == "error" else None)
    gap, layer = ws.review.gap, ws.scene.mask_layer
    layer.brush_size = 5
    for point in gap.path:
        layer.paint(tuple(point), 1)
    turn()
    ws.find_gaps()
    ws.start_repaint()
    spin()
    assert gap.id in {one.id for one in ws.session.gaps}, "the search found that nothing is missing here any more"
    layer.paint((gap.path[0][0] - 4, gap.path[0][1]), 1)
    turn()
    ws.end_repaint()
    assert not said
    assert ws.session.state_of(gap.id) == "repainted"
    assert not ws.review.repainting


def test_repaint_without_a_stroke_decides_nothing(review):
    ws = review
    gap_id = ws.review.selected
    ws.start_repaint()
    ws.end_repaint()
    assert ws.session.state_of(gap_id) == "open"
    assert ws.review.selected == gap_id


def test_repaint_of_a_decided_gap_without_a_stroke_decides_nothing(review):
    ws = review
    gap_id = ws.review.selected
    ws.decide(Verdict.ACCEPTED)
    drawn = ws.session.labels.copy()
    ws.select_gap(gap_id)
    ws.start_repaint()
    ws.end_repaint()
    assert ws.session.state_of(gap_id) == Verdict.ACCEPTED
    assert np.array_equal(ws.session.labels, drawn)
    # With a stroke it counts, also after the opening again was taken back.
    ws.start_repaint()
    ws.undo()
    ws.session.stroke(np.ones((2, 2), np.uint8), (5, 60), "brush stroke", ws.scene.binding.group)
    ws.end_repaint()
    assert ws.session.state_of(gap_id) == Verdict.REPAINTED


def test_a_mask_that_comes_in_a_repaint_ends_it_and_stays(review, spin):
    ws = review
    ws.start_repaint()
    ws.session.stroke(np.ones((2, 2), np.uint8), (5, 60), "brush stroke", ws.scene.binding.group)
    mask = np.zeros(ws.session.shape, bool)
    mask[40:43] = True
    ws.set_mask(mask, "segmentation by another")
    spin()
    assert not ws.review.repainting
    ws.cancel_repaint()
    assert np.array_equal(ws.session.labels > 0, mask)


def test_delete_beside_a_component_deletes_nothing(review):
    ws = review
    ws.scene._clicked = (20, 100)
    ws.viewer.cursor.position = (30.0, 60.0)
    before = ws.session.labels.copy()
    assert before[20, 100]
    ws.delete_component()
    assert np.array_equal(ws.session.labels, before)


def test_what_is_accepted_in_bulk_is_what_was_shown(review):
    ws = review
    gaps = list(ws.session.open_gaps)
    ws.session.set_gaps(gaps[:2])
    ws.bulk.preview_gaps(0.0)
    before = ws.session.labels.copy()
    ws.session.set_gaps(gaps)
    ws.bulk.confirm()
    assert np.array_equal(ws.session.labels, before)
    # It is shown anew, and the second yes is to that.
    assert ws.bulk.pending
    ws.bulk.confirm()
    assert not ws.session.open_gaps


@pytest.mark.parametrize("specks", [False, True])
def test_looking_at_a_bulk_action_keeps_the_annotators_zoom(review, spin, specks):
    ws = review
    widget = GapsWidget(ws.viewer)
    camera, row = ws.scene._camera, widget.fragments.bulk if specks else widget.bulk
    if specks:
        ws.session.stroke(np.ones((2, 2), np.uint8), (5, 60))
        ws.queues.show("fragments")
        spin()
    widget.bulk_score.setValue(0.0)
    camera.zoom, place = 7.5, np.array(camera.center)
    row.button.click()
    assert camera.zoom < 7.5
    row.leave_button.click()
    assert camera.zoom == 7.5
    assert np.allclose(camera.center, place, atol=1e-3)
    row.button.click()
    camera.zoom = 5.0
    row.leave_button.click()
    assert camera.zoom == 5.0, "chosen while it was shown"
    row.button.click()
    row.confirm_button.click()
    assert camera.zoom == 5.0
    widget.deleteLater()


def test_a_search_that_ends_while_gaps_are_shown_in_bulk_waits(review, spin):
    ws = review
    gaps = list(ws.session.open_gaps)
    ws.session.set_gaps(gaps[:2])
    ws.find_gaps()
    ws.bulk.preview_gaps(0.0)
    spin()
    assert ws.bulk.pending
    assert [gap.id for gap in ws.session.open_gaps] == [gap.id for gap in gaps[:2]]
    ws.bulk.leave()


def test_keys_go_on_when_the_dock_is_gone(review):
    ws = review
    widget = GapsWidget(ws.viewer)
    ws.viewer.window.add_dock_widget(widget, name="Vessel gaps")
    widget.state_filter.setCurrentIndex(widget.state_filter.findText("rejected"))
    ws.viewer.window.remove_dock_widget(widget)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    ws.review.select_first()
    assert ws.review.selected
    ws.decide(Verdict.ACCEPTED)
    assert ws.session.verdicts
    ws.queues.show("fragments")


def test_delete_component_under_the_cursor(review):
    ws = review
    ws.viewer.cursor.position = (20.0, 100.0)
    ws.delete_component()
    assert ws.session.labels[20, 100] == 0
    assert ws.session.labels[20, 15] == 1, "the other half stays"
    ws.undo()
    assert ws.session.labels[20, 100] == 1


def test_gaps_are_proposed_again_after_an_edit_and_the_selection_stays(qtbot, review, spin):
    ws = review
    ws.next_gap()
    selected, centre, count = ws.review.selected, ws.scene._camera.center, len(ws.session.open_gaps)
    ws.scene.mask_layer.data_setitem(tuple(a.ravel() for a in np.mgrid[91:94, 70:76]), 0)
    turn()
    qtbot.waitUntil(lambda: len(ws.session.open_gaps) > count, timeout=20_000)
    spin()
    assert ws.review.selected == selected
    assert ws.scene._camera.center == centre


def test_resume_after_closing(review, make_napari_viewer, spin):
    ws = review
    folder, gap_id = ws.project.folder, ws.review.selected
    ws.decide(Verdict.REJECTED)
    labels = ws.session.labels.copy()
    ws.close()
    again = Workspace.of(make_napari_viewer())
    assert again.open_project(folder)
    spin()
    assert again.session.state_of(gap_id) == "rejected"
    assert np.array_equal(again.session.labels, labels)
    assert again.session.state_of(again.review.selected) == "open"
    assert again.session.undo_text.startswith("rejected gap")
    again.close()


def test_only_the_image_asked_for_last_opens(review, spin):
    ws = review
    first = ws.record.id
    pixels = np.tile(np.linspace(0, 1, 70, dtype=np.float32), (60, 1))
    ws.add_image(VesselImage(pixels, content_hash="7" * 64))
    spin()
    second = ws.record.id
    assert second != first
    opened = []
    ws.image_opened.connect(lambda: opened.append(ws.record and ws.record.id))
    ws.open_image(first)
    ws.open_image(second)
    ws.open_image(first)
    spin()
    assert opened == [first], "the two that were overtaken never showed"
    assert len([layer for layer in ws.viewer.layers if layer.name == "Vessels"]) == 1


def test_what_is_done_while_the_open_image_is_read_again_stays(review, spin):
    ws, said = review, []
    ws.message.connect(lambda text, level: said.append(text) if level == "error" else None)
    first, second, third = (gap.id for gap in ws.session.gaps[:3])
    ws.decide(Verdict.ACCEPTED)
    ws.open_image(ws.record.id)
    assert ws.tasks._handles["open"].wait(60), "the thread has read the review"
    ws.decide(Verdict.REJECTED)
    ws.undo()
    ws.undo()
    ws.select_gap(third)
    ws.decide(Verdict.UNSURE)
    spin()
    ws.select_gap(second)
    ws.decide(Verdict.ACCEPTED)
    assert not said
    assert [ws.session.state_of(one) for one in (first, second, third)] == ["open", "accepted", "unsure"]
    assert np.array_equal(ws.scene.mask_layer.data, ws.session.labels)
    stored = ws.project.open_session(ws.record.id, ws.annotator)
    assert np.array_equal(stored.labels, ws.session.labels)
    assert stored.verdicts == ws.session.verdicts
    assert ws.record.state is ImageState.IN_REVIEW


@pytest.mark.parametrize("lazy", [False, True])
def test_layer_with_scale_and_translate(workspace, spin, lazy):
    ws = workspace
    grey = np.tile(np.linspace(0.2, 0.9, 90, dtype=np.float32), (80, 1))
    stack = np.stack([grey, 1 - grey, grey**2])
    data = dask.array.from_array(stack, chunks=(1, 80, 90)) if lazy else stack
    layer = ws.viewer.add_image(data, scale=(1, 0.5, 0.5), translate=(0, 10, 20), name="stack")
    ws.viewer.dims.set_current_step(0, 1)
    ws.add_layer(layer)
    spin()
    assert ws.image.shape == (80, 90)
    assert ws.image.pixels[0, 0] > ws.image.pixels[0, -1], "the second plane, which falls"
    assert np.allclose(ws.scene.mask_layer.data_to_world((4, 6)), layer.data_to_world((1, 4, 6))[-2:])
    assert np.allclose(ws.scene.camera.to_world((4, 6)), (12, 23))


def test_labels_layer_becomes_the_mask(review, spin):
    ws = review
    other = np.zeros(ws.session.shape, np.int32)
    other[5:9, 5:60] = 1
    layer = ws.viewer.add_labels(other, name="mine")
    ws.add_layer(layer)
    spin()
    assert np.array_equal(ws.session.labels > 0, other > 0)
    assert np.array_equal(ws.scene.mask_layer.data > 0, other > 0)
    ws.undo()
    assert ws.session.labels[20, 20] == 1


def test_what_cannot_be_used_is_refused_in_a_sentence(review):
    ws = review
    said = []
    ws.message.connect(lambda text, level: said.append((level, text)))
    ws.add_layer(ws.viewer.add_labels(np.zeros((7, 7), np.uint8), name="small"))
    ws.add_layer(ws.viewer.add_points(np.zeros((1, 2)), name="dots"))
    assert [level for level, _ in said] == ["error", "error"]
    assert "7 × 7" in said[0][1]
    assert "dots" in said[1][1]


def test_views_never_alter_data(review, spin):
    ws = review
    before = ws.scene.image_layer.data.copy()
    for kind in ("green", "contrast"):
        ws.scene.views.show(kind, True)
        spin()
        assert ws.scene.views.shown(kind)
    assert np.array_equal(ws.scene.image_layer.data, before)
    assert ws.viewer.layers.selection.active is ws.scene.mask_layer
    ws.scene.views.show("green", False)
    assert not ws.scene.views.shown("green")


def test_layers_go_while_the_canvas_has_its_own_context(shown_review):
    ws, current = shown_review, []
    canvas = ws.viewer.window._qt_viewer.canvas.native
    canvas.doneCurrent()
    assert QOpenGLContext.currentContext() is None
    ws.viewer.layers.events.removed.connect(lambda: current.append(QOpenGLContext.currentContext()))
    ws.close_image()
    assert len(current) == 6
    assert all(context == canvas.context() for context in current), "napari frees what was drawn right here"


def test_deleting_the_mask_layer_closes_the_image_and_loses_nothing(review, spin):
    ws = review
    record, gap_id = ws.record.id, ws.review.selected
    ws.decide(Verdict.ACCEPTED)
    ws.viewer.layers.remove(ws.scene.mask_layer)
    turn()
    assert ws.session is None
    assert list(ws.viewer.layers) == []
    ws.open_image(record)
    spin()
    assert ws.session.state_of(gap_id) == "accepted"


def test_done_and_taken_up_again(review):
    ws = review
    ws.mark_done()
    assert ws.record.state is ImageState.DONE
    ws.mark_done()
    assert ws.record.state is ImageState.IN_REVIEW


def test_save_mask(review, tmp_path):
    from PIL import Image

    ws = review
    ws.scene.mask_layer.paint((55, 50), 1)
    assert ws.save_mask(tmp_path / "mask.png")
    written = np.asarray(Image.open(tmp_path / "mask.png"))
    assert sorted(np.unique(written)) == [0, 255]
    assert written[55, 50] == 255
    assert not ws.save_mask(tmp_path / "no" / "such" / "mask.png")


# The widget


@pytest.fixture
def widget(qtbot, review):
    found = GapsWidget(review.viewer)
    qtbot.addWidget(found)
    return found


def test_widget_lists_gaps_and_follows_the_selection(widget, review):
    ws = review
    assert widget.proxy.rowCount() == len(ws.session.gaps)
    assert widget.tabs.tabText(0) == f"Gaps {len(ws.session.open_gaps)}"
    assert widget.tabs.tabText(2) == f"Fragments {ws.session.components.count - 1}"
    assert widget.left.text() == f"b0 {ws.review.b0_before} → {ws.session.components.count}"
    ws.next_gap()
    assert widget.table.currentIndex().row() == 1
    widget.table.selectRow(0)
    assert ws.review.selected == ws.session.gaps[0].id
    assert "components" in widget.effect.text()


def test_nothing_jumps_when_the_row_changes(widget, review):
    widget.resize(430, 660)
    widget.show()
    turn()
    heights = set()
    for gap in review.session.gaps:
        review.select_gap(gap.id)
        turn()
        heights.add((widget.reasons.height(), widget.effect.height(), widget.buttons["accept"].y()))
    assert len(heights) == 1


def test_filtered_list_is_what_next_walks(widget, review):
    ws = review
    scores = sorted({gap.score for gap in ws.session.gaps})
    widget.score_filter.setValue(min(scores[-1], 1.0) - 0.005)
    shown = widget.proxy.ids()
    assert 0 < len(shown) <= len(ws.session.gaps)
    assert all(ws.session.gaps[widget.model.row_of(i)].score >= widget.score_filter.value() for i in shown)
    widget.score_filter.setValue(0.0)
    ws.decide(Verdict.REJECTED)
    widget.state_filter.setCurrentIndex(widget.state_filter.findText("open"))
    assert len(widget.proxy.ids()) == len(ws.session.open_gaps)
    before = ws.review.selected
    ws.decide(Verdict.SKIPPED)
    assert before not in widget.proxy.ids()
    assert ws.review.selected in widget.proxy.ids()
    widget.state_filter.setCurrentIndex(widget.state_filter.findText("rejected"))
    assert [ws.review.selected] == widget.proxy.ids(), "what the keys act on is in the list, a decided one too"


def test_bulk_says_the_number_first_and_is_one_step(widget, review):
    ws = review
    widget.bulk_score.setValue(0.0)
    count = len(ws.session.open_gaps)
    assert widget.bulk.count.text() == f"up to {count} gaps"
    position = ws.session.history_position
    widget.bulk.button.click()
    assert ws.session.history_position == position, "first it is only shown"
    widget.bulk.confirm_button.click()
    assert ws.session.history_position == position + 1
    assert not widget.bulk.button.isEnabled()
    ws.undo()
    assert len(ws.session.open_gaps) == count


def test_the_annotators_own_verdicts_say_how_many_would_be_wrong(qtbot, widget, review, spin):
    ws = review
    widget.bulk_score.setValue(0.0)
    assert "wrong" not in widget.bulk.count.text(), "before the first verdict nobody can tell"
    ws.decide(Verdict.ACCEPTED)
    qtbot.waitUntil(lambda: "wrong" in widget.bulk.count.text(), timeout=20_000)
    assert widget.bulk.count.toolTip().startswith("By your own verdicts: ")
    forecast = ws.bulk.calibration().expected_wrong(ws.session.open_gaps, 0.0)
    assert f"{forecast.expected:.1f} wrong" in widget.bulk.count.text()
    for _ in range(2):
        ws.decide(Verdict.REJECTED)
    worse = ws.bulk.calibration().expected_wrong(ws.session.open_gaps, 0.0)
    assert worse.expected / worse.gaps > forecast.expected / forecast.gaps


def test_a_bulk_accept_is_shown_before_it_is_done(qtbot, widget, review):
    ws = review
    widget.bulk_score.setValue(0.0)
    before, chosen = ws.session.labels.copy(), ws.session.bulk_gaps(0.0)
    widget.bulk.button.click()
    ghost = ws.scene.overlay.layer.data == 1
    assert ws.bulk.text == f"{len(chosen)} gaps would be drawn"
    ws.decide(Verdict.ACCEPTED)
    assert ws.bulk.pending, "a verdict key does nothing until it is answered"
    assert np.array_equal(ws.session.labels, before)
    ws.queues.leave()
    assert not ws.bulk.pending
    assert np.array_equal(ws.session.labels, before)
    assert np.allclose(ws.scene._camera.center[-2:], ws.review.gap.centre, atol=1e-3)
    widget.bulk.button.click()
    widget.bulk.confirm_button.click()
    assert np.array_equal((ws.session.labels > 0) & (before == 0), ghost & (before == 0))
    ws.undo()
    assert np.array_equal(ws.session.labels, before)


def test_a_sample_of_what_was_accepted_in_bulk_is_looked_at_again(widget, review, spin):
    ws = review
    ws.accept_above(0.0)
    taken = [name for name, record in ws.session.verdicts.items() if record.verdict is Verdict.ACCEPTED]
    labels = ws.session.labels.copy()
    widget.state_filter.setCurrentIndex(widget.state_filter.findText("audit"))
    spin()
    assert set(widget.proxy.ids()) == ws.audit.names == set(taken), "so few are all in the sample"
    assert ws.audit.text == f"nothing audited, {len(taken)} to go"
    first = ws.review.selected
    assert first in taken
    ws.decide(Verdict.ACCEPTED)
    assert np.array_equal(ws.session.labels, labels), "a confirmed gap stays as it was drawn"
    assert ws.session.verdicts[first].seconds > 0
    second = ws.review.selected
    assert second in taken
    assert second != first
    ws.decide(Verdict.REJECTED)
    assert not np.array_equal(ws.session.labels, labels)
    assert ws.audit.text.startswith("1 of 2 wrong: 50.0 %")
    ws.undo()
    ws.undo()
    assert ws.audit.text == f"nothing audited, {len(taken)} to go"
    widget.state_filter.setCurrentIndex(0)
    assert len(widget.proxy.ids()) == len(ws.session.gaps)
    assert ws.audit.text == ""


def test_changes_since_the_image_was_opened(qtbot, widget, review):
    ws = review
    before = ws.session.labels.copy()
    ws.decide(Verdict.ACCEPTED)
    widget.view.changes.click()
    layer = next(layer for layer in ws.viewer.layers if layer.name == "Changes")
    assert ws.viewer.layers.selection.active is ws.scene.mask_layer
    assert np.array_equal(layer.data == 1, (ws.session.labels > 0) & (before == 0))
    ws.session.delete_component(20, 100)
    assert np.array_equal(layer.data == 2, (ws.session.labels == 0) & (before > 0))
    ws.undo()
    ws.undo()
    assert not layer.data.any()
    ws.scene.changes_shown = False
    assert not layer.visible
    assert not widget.view.changes.isChecked()
    ws.decide(Verdict.ACCEPTED)
    ws.scene.changes_shown = True
    assert layer.visible
    assert np.array_equal(layer.data == 1, (ws.session.labels > 0) & (before == 0)), "it follows edits unseen"
    ws.scene.raw(True)
    assert not layer.visible
    ws.scene.raw(False)
    assert layer.visible
    ws.viewer.layers.remove("Changes")
    assert not ws.scene.changes_shown
    assert ws.session is not None
    ws.scene.changes_shown = True
    again = ws.viewer.layers["Changes"]
    assert np.array_equal(again.data == 1, (ws.session.labels > 0) & (before == 0))
    assert ws.viewer.layers.selection.active is ws.scene.mask_layer


def test_widget_without_an_image_offers_nothing(workspace, qtbot):
    widget = GapsWidget(workspace.viewer)
    qtbot.addWidget(widget)
    assert not any(widget.buttons[k].isEnabled() for k in ("accept", "reject", "undo", "redo", "next", "done"))
    for action in ("decide", "start_repaint", "undo", "redo", "find_gaps", "mark_done", "delete_component"):
        getattr(workspace, action)(*([Verdict.ACCEPTED] if action == "decide" else []))


def test_widget_fits_a_small_screen(widget):
    # 768 px less the window's frame, menu, status bar and the dock's title.
    assert widget.minimumSizeHint().height() <= 620


def test_a_viewer_that_is_gone_is_not_kept_alive(make_napari_viewer):
    import gc
    import weakref

    workspace = Workspace.of(make_napari_viewer())
    assert Workspace.of(workspace.viewer) is workspace
    viewer = weakref.ref(workspace.viewer)
    workspace.close()
    viewer().close()
    del workspace
    turn()
    gc.collect()
    assert viewer() is None


def test_a_taken_layer_lies_where_it_lay_after_a_restart(workspace, make_napari_viewer, spin):
    ws = workspace
    grey = np.tile(np.linspace(0.2, 0.9, 90, dtype=np.float32), (80, 1))
    turned = np.array([[0.8, -0.6, 3.0], [0.6, 0.8, -2.0], [0.0, 0.0, 1.0]])
    layer = ws.viewer.add_image(grey, scale=(0.5, 0.25), translate=(10, 20), affine=turned)
    expected = layer.data_to_world((30, 40))
    ws.add_layer(layer)
    spin()
    folder = ws.project.folder
    assert np.allclose(ws.scene.mask_layer.data_to_world((30, 40)), expected)
    ws.close()
    again = Workspace.of(make_napari_viewer())
    assert again.open_project(folder)
    spin()
    assert np.allclose(again.scene.mask_layer.data_to_world((30, 40)), expected)
    assert np.allclose(again.scene.image_layer.data_to_world((30, 40)), expected)
    again.close()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"napari-vessel": {"modality": "xray"}}, "xray"),
        ({"napari-vessel": {"modality": "octa"}}, "octa"),
        ({"napari-vessel": {"modality": "seismic"}}, "guessed"),
        ({"napari-vessel": "octa"}, "guessed"),
        ({}, "guessed"),
    ],
)
def test_the_modality_that_a_layer_states_is_believed(facts, expected):
    from napari.layers import Image

    from napari_vessel.gui.importing import image_job
    from napari_vessel.images.modality import guess_modality
    from napari_vessel.jobs import run_job

    grey = np.tile(np.linspace(0.2, 0.9, 90, dtype=np.float32), (80, 1))
    image = run_job(image_job(Image(grey, metadata=facts), ()))
    assert str(image.modality) == (str(guess_modality(grey)) if expected == "guessed" else expected)
