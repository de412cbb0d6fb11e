"""Shows what a review has changed: the mask as it was when the image was opened against the mask now."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.layers import Cover, cover_layer
from napari_vessel.gui.theme import ADDED, REMOVED

NAME = "Changes"
Box = tuple[int, int, int, int]


class Changes(Cover):
    """What has changed since the image was opened, hidden until it is asked for.

    It follows every edit even so: to show it is to show a layer, and nothing has to be compared or made for that.

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
        self._before, self._now = before, now
        self._hidden = False
        colours = {1: ADDED, 2: REMOVED, None: ADDED}
        layer = cover_layer(_difference(before, now), NAME, colours, mask_layer.affine, opacity=0.9, visible=False)
        viewer.add_layer(layer)
        super().__init__(viewer.layers, layer, shown=False)

    def enter(self, mask_layer: Any, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> None:
        """Begin with another image, in which nothing has changed yet, unseen."""
        self._before, self._now = before, now
        self.shown = False
        self._take_over(before.shape, mask_layer.affine.affine_matrix)

    def hide(self, on: bool) -> None:
        """Hide it for as long as the raw image is looked at, or show it again."""
        self._hidden = on
        self._follow()

    @property
    def _seen(self) -> bool:
        return not self._hidden

    def update(self, box: Box) -> None:
        """Follow an edit inside a box."""
        y0, x0, y1, x1 = box
        window = np.s_[y0:y1, x0:x1]
        wanted = _difference(self._before[window], self._now[window])
        rows, columns = np.nonzero(self.layer.data[window] != wanted)
        self._put(rows + y0, columns + x0, wanted[rows, columns])

    @property
    def text(self) -> str:
        """How much has changed: ``+812 px in green, −40 px in white``."""
        added, removed = (np.count_nonzero(self.layer.data == value) for value in (1, 2))
        if not added and not removed:
            return "Nothing has changed since the image was opened."
        return f"Since the image was opened: +{added} px in green, −{removed} px in white."


def _difference(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 1 where a vessel is new, or has another class, and 2 where one is gone."""
    found = (before != now).astype(np.uint8)
    found[(before > 0) & (now == 0)] = 2
    return found
