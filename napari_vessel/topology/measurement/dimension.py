"""Fractal dimension by counting boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST_PARTS, MOST_PARTS = 4, 128
"""Into how many boxes the longer side is divided: fewer tell nothing of the shape, and smaller ones than a 128th show
how wide vessels are and not how they branch."""

SMALLEST_BOX_PX = 4.0
FEWEST_SIZES = 4
"""No line is laid through fewer sizes of boxes."""


def box_parts(extent: int) -> list[int]:
    """Return into how many boxes a side, px, is divided: 4, 8, 16, ... 128, as long as none is smaller than 4 px."""
    parts = []
    count = FEWEST_PARTS
    while count <= min(MOST_PARTS, extent / SMALLEST_BOX_PX):
        parts.append(count)
        count *= 2
    return parts


def box_counts(mask: NDArray[np.bool_], parts: list[int]) -> list[int]:
    """Count the boxes that a mask meets: the fewest of four grids half a box apart.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        What is counted.
    parts : list of int
        Boxes along its longer side; each number is twice the one before.
    """
    extent = max(mask.shape)
    y, x = np.nonzero(mask)
    # Cells of half a box, of which the boxes of all four grids are made.
    cells = np.zeros((2 * parts[-1], 2 * parts[-1]), np.bool_)
    cells[2 * parts[-1] * y // extent, 2 * parts[-1] * x // extent] = True
    counts = []
    for _ in parts:
        grids = (((down, down), (across, across)) for down in (0, 1) for across in (0, 1))
        counts.append(min(int(_boxes(np.pad(cells, grid)).sum()) for grid in grids))
        cells = _boxes(cells)
    return counts[::-1]


def _boxes(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which blocks of four cells are met."""
    height, width = cells.shape
    return np.asarray(cells.reshape(height // 2, 2, width // 2, 2).any(axis=(1, 3)))


def box_dimension(mask: NDArray[np.bool_], field: NDArray[np.bool_] | None = None) -> float | None:
    """Return the box-counting (Minkowski-Bouligand) dimension D0 of a mask.

    The slope, by least squares, of the logarithm of the number of boxes over that of how many go into the longer side
    of the field. As boxes are parts of the field, the dimension depends neither on how many pixels a picture has nor on
    what lies around the field. Each number is the least of four positions of the grid, so that it hardly depends on
    where the mask lies.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        Vessels, or their centrelines; nothing outside the field.
    field : ndarray of bool, shape (Y, X), optional
        What was looked at: field of view, or a region of it. Everything when left out.

    Returns
    -------
    float or None
        None for an empty mask, and for a field too small for four sizes of boxes (under 128 px).
    """
    if field is not None and field.any():
        rows, columns = (np.flatnonzero(field.any(axis=axis)) for axis in (1, 0))
        mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    parts = box_parts(max(mask.shape, default=0))
    if len(parts) < FEWEST_SIZES or not mask.any():
        return None
    slope = np.polyfit(np.log(parts), np.log(box_counts(mask, parts)), 1)[0]
    # A single box at every size has a slope of -0.
    return max(float(slope), 0.0)
