"""The segment that is chosen in *Measurements*, marked over the mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.layers import Cover, cover_layer
from napari_vessel.gui.theme import MARK

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace

NAME = "Measured segment"
_WIDER = 2


class SegmentMark(Cover):
    """One segment, a little wider than its vessel.

    Parameters
    ----------
    workspace : Workspace
        Over whose mask it lies.
    """

    def __init__(self, workspace: Workspace) -> None:
        scene, layers = workspace.scene, workspace.viewer.layers
        data = np.zeros(scene.mask_layer.data.shape, np.uint8)
        layer = cover_layer(data, NAME, {None: MARK}, scene.camera.transform, opacity=0.9)
        # Over the fragments, one of which it may be, and under the proposals.
        below = scene.mask_layer if scene.fragments is None else scene.fragments.layer
        layers.insert(layers.index(below) + 1, layer)
        super().__init__(layers, layer, shown=True)
        self._drawn: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
        scene.activate_mask()

    def is_there(self) -> bool:
        """Whether the layer has not been deleted by hand."""
        return self.layer in self._layers

    def enter(self, shape: tuple[int, int], transform: Any) -> None:
        """Mark nothing, over another image of this height and width."""
        self._drawn = None
        self._take_over(shape, transform)

    def mark(self, points: NDArray[np.float64] | None, width: float = 1.0) -> None:
        """Mark a course, shape (N, 2), px, so many px wide, in place of the one before; None marks none."""
        if self._drawn is not None:
            rows, columns = self._drawn
            self._put(rows, columns, np.zeros(len(rows), np.uint8))
            self._drawn = None
        if points is not None:
            rows, columns = _pixels(points, width, self.layer.data.shape)
            self._put(rows, columns, np.ones(len(rows), np.uint8))
            self._drawn = rows, columns


def _pixels(
    points: NDArray[np.float64], width: float, shape: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    import cv2

    margin = int(width) + _WIDER + 2
    low = np.maximum(np.floor(points.min(axis=0)).astype(np.intp) - margin, 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(np.intp) + margin + 1, shape)
    window = np.zeros(high - low, np.uint8)
    line = np.rint(points - low)[:, ::-1].astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(window, [line], False, 1, max(round(width) + _WIDER, 1))
    rows, columns = np.nonzero(window)
    return rows + low[0], columns + low[1]
