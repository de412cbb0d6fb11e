"""Layers that stay in the viewer from one image to the next, and Labels layers over the mask that nobody edits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cover(data: NDArray[np.uint8], name: str, colours: dict[int | None, str], affine: Any, **looks: Any) -> Any:
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
    return Labels(data, name=name, colormap=colormap, affine=affine, **looks)


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
