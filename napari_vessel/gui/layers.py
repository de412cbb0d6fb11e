"""Layers that stay in the viewer from one image to the next, and Labels layers over the mask that nobody edits."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.pixels import put_pixels

_covers: WeakSet[Any] = WeakSet()


def cover_layer(data: NDArray[np.uint8], name: str, colours: dict[int | None, str], affine: Any, **looks: Any) -> Any:
    """Return a Labels layer to lie over the mask, with a colour for each label.

    Parameters
    ----------
    data : ndarray of uint8, shape (Y, X)
        The labels.
    name : str
        What the list of layers calls it.
    colours : dict
        By label; None is every other label. Label 0 is seen through.
    affine : ndarray, shape (3, 3), or napari's Affine
        From (y, x, 1) in pixels to the world.
    **looks
        As napari's Labels takes them.
    """
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap

    colormap = DirectLabelColormap(color_dict={0: "transparent", **colours})
    layer = Labels(data, name=name, colormap=colormap, affine=affine, **looks)
    _covers.add(layer)
    return layer


def is_cover(layer: Any) -> bool:
    """Whether a layer was made by :func:`cover_layer`: it lies over a mask and is none."""
    return layer in _covers


def hand_over(layer: Any, data: NDArray[Any], transform: NDArray[np.float64]) -> None:
    """Give a layer another image's data and place; what the annotator tuned or hid of it stays as it is.

    napari takes a few milliseconds for that. It takes 150 to make what draws a new layer, and as many to collect
    garbage when one goes.

    Parameters
    ----------
    layer : napari.layers.Layer
        In two dimensions, as the data.
    data : ndarray
        Of the kind that the layer has; of any height and width.
    transform : ndarray, shape (3, 3)
        From (y, x, 1) in pixels to the world.
    """
    layer.metadata = {}
    layer.data = data
    # A hidden layer does not notice that its data reach elsewhere now, but by its place.
    if not layer.visible or not np.array_equal(layer.affine.affine_matrix, transform):
        layer.affine = transform


class Cover:
    """A Labels layer over the mask, never part of it, that cannot be edited and is shown when it is asked for.

    Parameters
    ----------
    layers : napari.components.LayerList
        The viewer's; the layer is in it.
    layer : napari.layers.Labels
        From :func:`cover_layer`.
    shown : bool
        Whether it is asked for.
    """

    def __init__(self, layers: Any, layer: Any, shown: bool) -> None:
        self.layer = layer
        self._layers, self._shown = layers, shown
        self._follow()

    def close(self) -> None:
        """Remove the layer."""
        if self.layer in self._layers:
            self._layers.remove(self.layer)

    @property
    def shown(self) -> bool:
        """Whether it is asked for; it may be hidden all the same, with what it lies over."""
        return self._shown

    @shown.setter
    def shown(self, on: bool) -> None:
        self._shown = on
        self._follow()

    @property
    def _seen(self) -> bool:
        """Whether what it lies over is seen."""
        return True

    def _follow(self, event: Any = None) -> None:
        wanted = self._shown and self._seen
        # napari draws all of a layer anew even when it is told what it knows.
        if self.layer.visible != wanted:
            self.layer.visible = wanted
        self.layer.editable = False

    def _take_over(self, shape: tuple[int, ...], transform: NDArray[np.float64]) -> None:
        """Lie, empty, over another image of this height and width."""
        hand_over(self.layer, np.zeros(shape, np.uint8), transform)
        self.layer.editable = False

    def _put(self, rows: NDArray[np.intp], columns: NDArray[np.intp], values: NDArray[np.uint8]) -> None:
        if rows.size:
            put_pixels(self.layer, rows, columns, values)
            self.layer.editable = False
