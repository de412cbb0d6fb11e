"""A dock that was closed with the x of its title bar: it hears nothing any more, and leaves nothing over the image."""

import numpy as np
import pytest
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication

from napari_vessel.gui.comparing import NEW_NAME, OLD_NAME, Compared
from napari_vessel.gui.preferences import prefer

pytestmark = pytest.mark.gui

LEFT = Qt.MouseButton.LeftButton


def opened(workspace, name):
    dock, widget = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", name)
    return dock, widget


def close(dock):
    """Press the x; Qt deletes in its next turn."""
    dock.destroyOnClose()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()


def test_a_closed_dock_is_gone_and_hears_nothing(review, qtbot, spin, monkeypatch):
    for name in ("Fine-tune", "Segment vessels"):
        dock, widget = opened(review, name)
        spin()
        close(dock)
        assert not isalive(widget)
    started = []
    monkeypatch.setattr(review.tasks, "start", lambda lane, *_, **__: started.append(lane))
    review.gaps_changed.emit()
    prefer("device", "cpu")
    prefer("complete", True)
    qtbot.wait(400)
    assert "standing" not in started


def test_what_a_closed_dock_showed_over_the_image_goes_with_it(review, qtbot, spin):
    dock, widget = opened(review, "Fine-tune")
    mask = (review.session.labels > 0).astype(np.uint8)
    widget.panel.comparison.found = Compared(mask, mask, (1, 1), (1, 2))
    widget.panel.comparison.show("both")
    measured, widget = opened(review, "Measurements")
    qtbot.mouseClick(widget.measure_button, LEFT)
    spin()
    widget.select(1)
    names = {OLD_NAME, NEW_NAME, "Measured segment"}
    assert names <= {layer.name for layer in review.viewer.layers}
    close(dock)
    close(measured)
    assert not names & {layer.name for layer in review.viewer.layers}


def test_the_mask_is_shown_when_the_dock_of_its_threshold_is_closed(review, spin):
    map_of_it = np.where(review.session.labels > 0, 0.4, 0.1).astype(np.float32)
    review.project.store_probability(review.record.id, map_of_it, {"model": "ridge", "threshold": 0.5, "min_size": 0})
    review.refresh_record()
    dock, widget = opened(review, "Segment vessels")
    widget.threshold.setValue(0.3)
    widget._debounce.timeout.emit()
    spin()
    assert not review.scene.mask_layer.visible
    widget.threshold.setValue(0.2)
    widget._debounce.timeout.emit()
    close(dock)
    spin()
    assert review.scene.mask_layer.visible
    assert not any("preview" in layer.name.lower() for layer in review.viewer.layers)


def test_what_waits_for_a_yes_is_left_with_its_dock(review, spin):
    dock, _ = opened(review, "Vessel gaps")
    review.bulk.preview_gaps(0.0)
    assert review.queues.undecided
    close(dock)
    assert not review.queues.undecided
    assert len(review.session.open_gaps) >= 4


def test_a_job_that_ends_after_its_dock_was_closed_tells_nobody(review, qtbot, spin):
    for name, press in (("Export vessels", "check_button"), ("Measurements", "measure_button")):
        dock, widget = opened(review, name)
        qtbot.mouseClick(getattr(widget, press), LEFT)
        assert review.tasks.is_running({"check_button": "check"}.get(press, "measure"))
        close(dock)
        spin()
