"""From a probability to a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.components import remove_small


def binarise(
    probability: NDArray[np.float32], threshold: float, min_size: int = 0, fov: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Cut a probability and leave out small pieces.

    Parameters
    ----------
    probability : ndarray of float32, shape (Y, X)
        Vessel probability in [0, 1].
    threshold : float
        Lowest probability that is vessel.
    min_size : int
        Smallest 8-connected piece kept, px.
    fov : ndarray of bool, shape (Y, X), optional
        Nothing outside it is vessel.

    Returns
    -------
    ndarray of bool, shape (Y, X)
    """
    mask = np.asarray(probability >= threshold, np.bool_)
    if fov is not None:
        mask &= fov
    return remove_small(mask, min_size)
