"""The Measurements widget in a real viewer: measured by a button, read by keys, found by a click on the canvas."""

import csv

import numpy as np
import pytest
from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import QApplication

from napari_vessel.gui.measurement_tables import SEGMENT_COLUMNS
from napari_vessel.gui.measurements import MeasurementsWidget
from napari_vessel.review.edits import Verdict

pytestmark = pytest.mark.gui

LEFT = Qt.MouseButton.LeftButton


def docked(workspace):
    _, widget = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Measurements")
    assert isinstance(widget, MeasurementsWidget)
    return widget


def cell(widget, name, column):
    rows = [widget.figures.item(row, 0).text() for row in range(widget.figures.rowCount())]
    return widget.figures.item(rows.index(name), column).text()


def numbers(widget, column=0):
    order = widget.order
    return [order.data(order.index(row, column)) for row in range(order.rowCount())]


def current(widget):
    return int(widget.order.data(widget.order.index(widget.segments.currentIndex().row(), 0)))


def marked(workspace):
    layer = workspace.viewer.layers["Measured segment"]
    return np.argwhere(np.asarray(layer.data) > 0)


def test_without_an_image_nothing_can_be_measured(workspace):
    widget = docked(workspace)
    for button in (widget.measure_button, widget.save_button, widget.project_button):
        assert not button.isEnabled()
    assert widget.state.text() == "No image is open."


def test_figures_before_and_after_with_what_unsure_gaps_leave(review, qtbot, spin):
    widget = docked(review)
    first, second = review.session.open_gaps[:2]
    review.session.decide(first.id, Verdict.ACCEPTED)
    qtbot.mouseClick(widget.measure_button, LEFT)
    spin()
    assert [cell(widget, "components", column) for column in (1, 2)] == ["8", "7"]
    assert widget.figures.isColumnHidden(3)
    assert widget.state.text() == "✔ Up to date."
    assert widget.order.rowCount() == 7

    review.session.decide(second.id, Verdict.UNSURE)
    QApplication.processEvents()
    assert "measure again" in widget.state.text()
    qtbot.mouseClick(widget.measure_button, LEFT)
    spin()
    assert not widget.figures.isColumnHidden(3)
    assert [cell(widget, "components", column) for column in (1, 2, 3)] == ["8", "7", "6–7"]
    assert "1 unsure proposal." in widget.state.text()


def test_a_stroke_makes_the_figures_old(review, qtbot, spin):
    widget = docked(review)
    qtbot.mouseClick(widget.measure_button, LEFT)
    spin()
    review.session.stroke(np.zeros((3, 40), np.uint8), (19, 60))
    QApplication.processEvents()
    assert "measure again" in widget.state.text()
    assert widget.measure_button.isEnabled()


def test_keys_in_the_table_lead_the_canvas_from_segment_to_segment(review, qtbot, spin):
    widget = docked(review)
    qtbot.mouseClick(widget.measure_button, LEFT)
    spin()
    header = widget.segments.horizontalHeader()
    length = SEGMENT_COLUMNS.index("length")
    place = header.sectionViewportPosition(length) + header.sectionSize(length) // 2
    for _ in range(2):
        qtbot.mouseClick(header.viewport(), LEFT, pos=header.viewport().rect().topLeft() + _point(place, 5))
    lengths = [float(text) for text in numbers(widget, length)]
    assert sorted(lengths) in (lengths, lengths[::-1])
    widget.segments.setFocus()
    seen = set()
    for _ in range(3):
        qtbot.keyClick(widget.segments, Qt.Key.Key_Down)
        segment = widget.model.segment(current(widget))
        seen.add(segment.number)
        centre = np.asarray(review.scene.camera.of_napari.center[-2:])
        np.testing.assert_allclose(centre, segment.centre, atol=1)
        pixels = marked(review)
        rows = {round(float(y)) for y, _ in segment.points}
        assert pixels[:, 0].min() >= min(rows) - 5
        assert pixels[:, 0].max() <= max(rows) + 5
        assert np.ptp(pixels[:, 1]) == pytest.approx(np.ptp(segment.points[:, 1]), abs=8)
    assert len(seen) == 3
    mark = review.viewer.layers["Measured segment"]
    assert not (np.asarray(mark.data) > 0)[90:95].all()
    # It is no mask that could be taken over.
    assert review.scene.owns(mark)


def _point(x, y):
    from qtpy.QtCore import QPoint

    return QPoint(int(x), int(y))


def test_a_click_on_a_vessel_finds_its_row(shown_review, qtbot, spin):
    widget = docked(shown_review)
    qtbot.mouseClick(widget.measure_button, LEFT)
    spin()
    shown_review.scene.camera.show_all()
    QApplication.processEvents()
    for row, column in ((44, 30), (92, 80)):
        wanted = min(widget.found.after.segments, key=lambda s: np.hypot(*(s.points - (row, column)).T).min())
        click(qtbot, shown_review, (row, column))
        assert current(widget) == wanted.number
        assert len(marked(shown_review))
        shown_review.scene.camera.show_all()
        QApplication.processEvents()


def test_a_click_of_the_live_wire_is_not_for_the_table(shown_review, qtbot, spin):
    widget = docked(shown_review)
    qtbot.mouseClick(widget.measure_button, LEFT)
    spin()
    shown_review.start_repaint()
    shown_review.review.repaint.take("wire")
    shown_review.scene.camera.show_all()
    QApplication.processEvents()
    before = shown_review.scene.camera.of_napari.center
    click(qtbot, shown_review, (44, 30))
    spin()
    assert shown_review.scene.camera.of_napari.center == before
    assert not widget.segments.currentIndex().isValid()


def click(qtbot, workspace, pixel):
    native, camera = workspace.viewer.window._qt_viewer.canvas.native, workspace.scene.camera.of_napari
    offset = (np.asarray(pixel) - camera.center[-2:]) * camera.zoom / native.devicePixelRatioF()
    qtbot.mouseClick(native, LEFT, pos=_point(native.width() / 2 + offset[1], native.height() / 2 + offset[0]))
    QApplication.processEvents()


def test_how_near_a_click_must_be_is_in_pixels_of_the_screen(review, qtbot, spin):
    """Whatever a pixel of the image measures: a hundredth, in mm, or ten, in µm."""
    widget = docked(review)
    qtbot.mouseClick(widget.measure_button, LEFT)
    spin()
    for size in (0.01, 1.0, 10.0):
        review.scene.camera.enter(review.session.shape, np.diag([size, size, 1.0]))
        widget.segments.setCurrentIndex(QModelIndex())
        widget._choose_at((32, 60))
        assert not widget.segments.currentIndex().isValid(), "that is halfway between two vessels"
        widget._choose_at((44, 30))
        assert widget.segments.currentIndex().isValid()


def test_tables_are_written(review, qtbot, spin, tmp_path, monkeypatch):
    widget = docked(review)
    qtbot.mouseClick(widget.measure_button, LEFT)
    spin()
    for name, button in (("one", widget.save_button), ("all", widget.project_button)):
        path = tmp_path / f"{name}.csv"
        monkeypatch.setattr(
            "napari_vessel.gui.measurements.QFileDialog.getSaveFileName", lambda *_, path=path: (str(path), "")
        )
        qtbot.mouseClick(button, LEFT)
        spin()
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [(row["mask"], row["components"]) for row in rows] == [("before", "8"), ("after", "8")]
        with (tmp_path / f"{name}_segments.csv").open(newline="") as stream:
            assert len(list(csv.DictReader(stream))) == 16
        assert str(tmp_path) in widget.status.text()


def test_another_image_takes_figures_and_mark_away(review, qtbot, spin):
    widget = docked(review)
    qtbot.mouseClick(widget.measure_button, LEFT)
    spin()
    widget.select(2)
    assert len(marked(review))
    review.close_project()
    spin()
    assert widget.order.rowCount() == 0
    assert "Measured segment" not in review.viewer.layers
    assert cell(widget, "components", 1) == ""


def test_a_dock_that_was_closed_hears_no_clicks(review, qtbot, spin):
    before = len(review.viewer.mouse_drag_callbacks)
    widget = docked(review)
    assert len(review.viewer.mouse_drag_callbacks) == before + 1
    review.viewer.window.remove_dock_widget(widget)
    del widget
    for _ in range(3):
        QApplication.sendPostedEvents(None, 52)
        QApplication.processEvents()
    assert len(review.viewer.mouse_drag_callbacks) == before
