"""Missing tips in the window's list: said as what they are, and drawn by the key that closes gaps."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_vessel.completion.gap import GapKind
from napari_vessel.gui.gap_words import effect_lines, kind_words
from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.workspace import Workspace
from napari_vessel.images import Modality, VesselImage
from napari_vessel.images.masks import VESSEL, VesselMask
from napari_vessel.topology import label_components

pytestmark = pytest.mark.gui


@pytest.fixture
def shortened(shown_workspace, spin) -> Workspace:
    """Three vessels that run through the image, and a mask that leaves the middle one half-way."""
    pixels = np.full((110, 160, 3), 0.7, np.float32)
    labels = np.zeros((110, 160), np.uint8)
    for row in (20, 50, 80):
        pixels[row - 1 : row + 2, 8:152] = 0.3
        labels[row - 1 : row + 2, 8:152] = 1
    labels[49:52, 100:] = 0
    image = VesselImage(pixels, modality=Modality.FUNDUS, content_hash="7" * 64)
    shown_workspace.add_image(image, VesselMask(labels, (VESSEL,)))
    spin()
    return shown_workspace


def test_a_tip_is_reviewed_with_the_keys_of_gaps(shortened, qtbot):
    widget = GapsWidget(shortened.viewer)
    shortened.viewer.window.add_dock_widget(widget, name="Vessel gaps", area="right")
    widget.window().activateWindow()
    QApplication.processEvents()
    gap = shortened.review.gap
    assert gap.kind is GapKind.TIP
    assert kind_words(gap) == "tip"
    assert "goes on" in effect_lines(gap)[0]
    assert "joins nothing" in effect_lines(gap)[0]
    canvas = shortened.viewer.window._qt_viewer.canvas.native
    qtbot.keyClick(canvas, Qt.Key.Key_A)
    QApplication.processEvents()
    labels = shortened.session.labels
    assert labels[50, 101:145].all()
    assert label_components(labels > 0)[1] == 3
    qtbot.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    QApplication.processEvents()
    assert not shortened.session.labels[50, 105:].any()
    assert shortened.review.gap.id == gap.id
