"""Shows the pieces that hang together with nothing else in a colour of their own, over a main tree that stays quiet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.layers import Cover, cover_layer
from napari_vessel.gui.theme import FRAGMENT
from napari_vessel.jobs import Job, Progress
from napari_vessel.topology.components import main_component

NAME = "Fragments"
Change = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]


class Fragments(Cover):
    """The pieces apart from the main tree, in a colour of their own; they are seen only together with the mask.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to draw.
    mask_layer : napari.layers.Labels
        The mask: the layer goes right above it, and is seen as it is seen.
    """

    def __init__(self, viewer: Any, mask_layer: Any) -> None:
        self._mask, layers = mask_layer, viewer.layers
        data = np.zeros(mask_layer.data.shape, np.uint8)
        layer = cover_layer(data, NAME, {None: FRAGMENT}, mask_layer.affine, opacity=mask_layer.opacity)
        layers.insert(layers.index(mask_layer) + 1, layer)
        super().__init__(layers, layer, shown=True)
        for event in (mask_layer.events.visible, mask_layer.events.opacity):
            event.connect(self._follow)

    def enter(self, shown: bool) -> None:
        """Begin with the image that the mask is of now."""
        self._take_over(self._mask.data.shape, self._mask.affine.affine_matrix)
        self.shown = shown

    def close(self) -> None:
        """Remove the layer."""
        for event in (self._mask.events.visible, self._mask.events.opacity):
            event.disconnect(self._follow)
        super().close()

    @property
    def _seen(self) -> bool:
        return bool(self._mask.visible)

    def _follow(self, event: Any = None) -> None:
        self.layer.opacity = self._mask.opacity
        super()._follow(event)

    def update_job(self, components: NDArray[np.int32], outline: int) -> Job[Change]:
        """Find the pixels whose colour changes, on any thread: only :meth:`take` writes the layer's data."""
        yield Progress(0, None, "")
        wanted = fragments_of(components, outline)
        rows, columns = np.nonzero(wanted != self.layer.data)
        return rows, columns, wanted[rows, columns]

    def take(self, change: Change) -> None:
        """Show what :meth:`update_job` found."""
        self._put(*change)


def fragments_of(components: NDArray[np.int32], outline: int = 0) -> NDArray[np.uint8]:
    """Return 1 where a component other than the main one is, as an area or as an outline so many pixels wide."""
    import cv2

    fragments = ((components != 0) & (components != main_component(components))).view(np.uint8)
    if outline and fragments.any():
        fragments -= cv2.erode(fragments, np.ones((3, 3), np.uint8), iterations=outline)
    return fragments
