"""Single pixels of a labels layer, written so that only they are drawn anew."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def put_pixels(layer: Any, rows: NDArray[np.intp], columns: NDArray[np.intp], values: NDArray[np.uint8]) -> None:
    """Write some pixels of a labels layer, whether it is shown or hidden.

    Parameters
    ----------
    layer : napari.layers.Labels
        Its data is an array of shape (Y, X).
    rows, columns : ndarray of int, shape (N,)
        Where; at least one.
    values : ndarray of uint8, shape (N,)
        What.
    """
    if layer.visible:
        layer.data_setitem((rows, columns), values)
    else:
        # When another layer comes or goes napari keeps no picture of a hidden one, and data_setitem would fail for want
        # of it; the picture is made anew from the data when the layer is shown.
        layer.data[rows, columns] = values
