"""Masks beside the one under review, each shown as a line around it: another annotator's, an old and a new model's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.layers import cover_layer, hand_over

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace


class Outlines:
    """One layer for each mask that is shown, over the mask under review and under the proposals.

    Parameters
    ----------
    workspace : Workspace
        Over whose mask they lie.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._shown: dict[str, Any] = {}

    @property
    def layers(self) -> list[Any]:
        """The layers of all of them."""
        return list(self._shown.values())

    def names(self) -> list[str]:
        """Return the names of those that are shown."""
        return list(self._shown)

    def show(self, name: str, mask: NDArray[np.uint8] | None, colour: str = "") -> None:
        """Show a mask, 0 and 1, uint8, shape (Y, X), as a line around it; None takes it away."""
        import cv2

        scene, layers = self._workspace.scene, self._workspace.viewer.layers
        layer, below, transform = self._shown.pop(name, None), scene.mask_layer, scene.camera.transform
        if mask is None or below is None or mask.shape != below.data.shape:
            if layer is not None and layer in layers:
                layers.remove(layer)
            return
        # Outside of it: within, the line would hide thin vessels of either mask.
        around = np.asarray(cv2.dilate(mask, np.ones((3, 3), np.uint8)) - mask, np.uint8)
        if layer is not None:
            hand_over(layer, around, transform)
        else:
            layer = cover_layer(around, name, {None: colour}, transform, opacity=0.9)
            layers.insert(layers.index(below) + 1 + len(self._shown), layer)
        layer.editable = False
        self._shown[name] = layer
        scene.activate_mask()

    def hide(self, on: bool) -> None:
        """Hide them for as long as the raw image is looked at, or show them again."""
        for layer in self._shown.values():
            layer.visible = not on

    def forget(self, layer: Any) -> None:
        """Follow the removal of a layer by whomever."""
        self._shown = {name: one for name, one in self._shown.items() if one is not layer}

    def close(self) -> None:
        """Remove all of them."""
        for name in self.names():
            self.show(name, None)
