"""Fractal dimension by counting boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SMALLEST_BOX_PX = 2
FEWEST_SIZES = 3
"""No line is laid through fewer sizes of boxes."""


def box_sizes(shape: tuple[int, ...]) -> list[int]:
    """Return the sides of the boxes that are counted in an image, px: 2, 4, 8, ... to an eighth of its shorter side."""
    sizes = []
    side = SMALLEST_BOX_PX
    while side <= min(shape, default=0) / 8:
        sizes.append(side)
        side *= 2
    return sizes


def box_counts(mask: NDArray[np.bool_], sizes: list[int]) -> list[int]:
    """Count the boxes of each side that a mask meets: the fewest of four grids half a box apart."""
    y, x = np.nonzero(mask)
    counts = []
    for side in sizes:
        height, width = (length // side + 2 for length in mask.shape)
        found = []
        for down in (0, side // 2):
            for across in (0, side // 2):
                met = np.zeros((height, width), np.bool_)
                met[(y + down) // side, (x + across) // side] = True
                found.append(int(met.sum()))
        counts.append(min(found))
    return counts


def box_dimension(mask: NDArray[np.bool_]) -> float | None:
    """Return the box-counting (Minkowski-Bouligand) dimension D0 of a mask.

    The slope, by least squares, of the logarithm of the number of boxes over that of one over their side. Each number
    is the least of four positions of the grid, so that it does not depend on where the mask lies.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        Vessels, or their centrelines.

    Returns
    -------
    float or None
        None for an empty mask, and for an image too small for three sizes of boxes (under 64 px).
    """
    sizes = box_sizes(mask.shape)
    if len(sizes) < FEWEST_SIZES or not mask.any():
        return None
    return float(-np.polyfit(np.log(sizes), np.log(box_counts(mask, sizes)), 1)[0])
