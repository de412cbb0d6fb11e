"""How the open image is looked at: two rows of boxes at the foot of the gaps dock, none of which changes any data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QSlider, QVBoxLayout, QWidget

from napari_vessel.gui.keys import BY_ID
from napari_vessel.gui.parts import TIGHT, connect_while_alive, in_row, set_quietly
from napari_vessel.gui.preferences import prefer

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace


class ViewPanel(QWidget):
    """Boxes for mask, outline, opacity, changes, proposals, fragments, and views of the image.

    Parameters
    ----------
    workspace : Workspace
        Whose scene they restyle.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        scene = workspace.scene
        self.outline = QCheckBox("&outline")
        self.outline.setToolTip("Show the mask as an outline instead of filled.")
        self.outline.toggled.connect(lambda on: setattr(scene, "contour", 1 if on else 0))
        self.outline.clicked.connect(lambda on: prefer("mask_outline", on))
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(5, 100)
        self.opacity.setToolTip("Opacity of the mask.")
        self.opacity.setAccessibleName("Opacity of the mask")
        self.opacity.setMinimumWidth(40)
        self.opacity.valueChanged.connect(self._set_opacity)
        self.opacity.sliderReleased.connect(self._keep_opacity)
        self.mask_box = QCheckBox("mask (T)")
        self.mask_box.setToolTip(BY_ID["mask"].tooltip)
        self.mask_box.toggled.connect(lambda on: setattr(scene, "mask_visible", on))
        self.ghost_box = QCheckBox("proposals (G)")
        self.ghost_box.setToolTip(BY_ID["proposals"].tooltip)
        self.ghost_box.toggled.connect(lambda on: setattr(scene, "proposals_visible", on))
        self.changes = QCheckBox("changes (C)")
        self.changes.setToolTip(BY_ID["changes"].tooltip)
        self.changes.toggled.connect(lambda on: setattr(scene, "changes_shown", on))
        self.fragments = QCheckBox("frag&ments")
        self.fragments.setToolTip("Show the pieces apart from the main tree in a colour of their own.")
        self.fragments.toggled.connect(lambda on: setattr(scene, "fragments_shown", on))
        self.green = QCheckBox("&green")
        self.green.setToolTip("Look at the green channel alone. Only a view: no data is altered.")
        self.green.toggled.connect(lambda on: scene.views.show("green", on))
        self.contrast = QCheckBox("&contrast")
        self.contrast.setToolTip("Look at the image with local contrast enhanced. Only a view: no data is altered.")
        self.contrast.toggled.connect(lambda on: scene.views.show("contrast", on))
        # Two rows that do not share columns: each is as narrow as its own words.
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(TIGHT)
        rows.addLayout(in_row(self.mask_box, None, self.outline, None, self.changes, self.opacity))
        # The boxes keep their own distance: no wider than a dock beside the canvas of a small screen may be.
        second = in_row(self.ghost_box, self.fragments, self.green, self.contrast)
        second.setSpacing(1)
        rows.addLayout(second)
        connect_while_alive(self, workspace.image_opened, self._on_image)
        connect_while_alive(self, workspace.view_changed, self._on_view)
        self._on_image()

    def _set_opacity(self, value: int) -> None:
        self._workspace.scene.opacity = value / 100
        if not self.opacity.isSliderDown():
            self._keep_opacity()

    def _keep_opacity(self) -> None:
        prefer("mask_opacity", self.opacity.value() / 100)

    def _on_image(self) -> None:
        for box in (self.green, self.contrast):
            set_quietly(box, False)
        image = self._workspace.image
        self.green.setEnabled(image is not None and image.pixels.ndim == 3)
        self.contrast.setEnabled(image is not None)
        self.changes.setEnabled(image is not None)
        self._on_view()

    def _on_view(self) -> None:
        scene = self._workspace.scene
        set_quietly(self.mask_box, scene.mask_visible)
        set_quietly(self.ghost_box, scene.proposals_visible)
        set_quietly(self.outline, scene.contour > 0)
        set_quietly(self.changes, scene.changes_shown)
        set_quietly(self.fragments, scene.fragments_shown)
        self.opacity.blockSignals(True)
        self.opacity.setValue(round(scene.opacity * 100))
        self.opacity.blockSignals(False)
        for kind, box in (("green", self.green), ("contrast", self.contrast)):
            if not scene.views.is_made(kind):
                set_quietly(box, scene.views.shown(kind))
