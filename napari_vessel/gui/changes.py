"""Shows what a review has changed: the mask as it was when the image was opened against the mask now."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.pixels import put_pixels
from napari_vessel.gui.theme import ADDED, REMOVED

NAME = "Changes"
Box = tuple[int, int, int, int]


class Changes:
    """A layer over the mask, never part of it, that cannot be edited.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to draw.
    mask_layer : napari.layers.Labels
        The mask: the layer goes above it and what is shown over it.
    before, now : ndarray of uint8, shape (Y, X)
        The mask as it was opened, and as it is, in a view that follows every edit.
    """

    def __init__(self, viewer: Any, mask_layer: Any, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> None:
        from napari.layers import Labels
        from napari.utils.colormaps import DirectLabelColormap

        self._layers, self._before, self._now = viewer.layers, before, now
        colours = {0: "transparent", 1: ADDED, 2: REMOVED, None: ADDED}
        self.layer = Labels(
            _difference(before, now),
            name=NAME,
            colormap=DirectLabelColormap(color_dict=colours),
            opacity=0.9,
            affine=mask_layer.affine,
        )
        viewer.add_layer(self.layer)
        self.layer.editable = False

    def close(self) -> None:
        """Remove the layer."""
        if self.layer in self._layers:
            self._layers.remove(self.layer)

    def update(self, box: Box) -> None:
        """Follow an edit inside a box."""
        y0, x0, y1, x1 = box
        window = np.s_[y0:y1, x0:x1]
        wanted = _difference(self._before[window], self._now[window])
        rows, columns = np.nonzero(self.layer.data[window] != wanted)
        if rows.size:
            put_pixels(self.layer, rows + y0, columns + x0, wanted[rows, columns])
            self.layer.editable = False

    @property
    def text(self) -> str:
        """How much has changed: ``+812 px in green, −40 px in white``."""
        counts = np.bincount(self.layer.data.ravel(), minlength=3)
        if not counts[1:].any():
            return "Nothing has changed since the image was opened."
        return f"Since the image was opened: +{counts[1]} px in green, −{counts[2]} px in white."


def _difference(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 1 where a vessel is new, or has another class, and 2 where one is gone."""
    found = (before != now).astype(np.uint8)
    found[(before > 0) & (now == 0)] = 2
    return found
