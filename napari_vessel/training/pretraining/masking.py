"""Which patches of a crop are hidden: some where vessels are, the rest at random."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HIDDEN_SHARE = 0.5
"""Share of a crop's patches that are hidden."""

LAST_GUIDED_SHARE = 0.5
"""Share of the hidden patches that are drawn where vessels are, at the end of a run; it begins with none."""


def guided_share(fraction: float) -> float:
    """Return the share of the hidden patches drawn where vessels are, after this share of the run: linear, 0 to .5."""
    return LAST_GUIDED_SHARE * min(max(fraction, 0.0), 1.0)


def patch_distribution(vessels: NDArray[np.floating | np.bool_], patch: int) -> NDArray[np.float64]:
    """Return the share of a crop's vessel that lies in each patch.

    Parameters
    ----------
    vessels : ndarray, shape (Y, X)
        How much of each pixel is vessel, 0 to 1.
    patch : int
        Side of a patch, px; Y and X are multiples of it.

    Returns
    -------
    ndarray of float64, shape (Y / patch, X / patch)
        Sums to 1; all 0 where there is no vessel.
    """
    height, width = vessels.shape
    if height % patch or width % patch:
        raise ValueError(f"{height} x {width} px are no whole number of patches of {patch} px")
    grid = vessels.astype(np.float64).reshape(height // patch, patch, width // patch, patch)
    sums = np.asarray(grid.sum(axis=(1, 3)), np.float64)
    return sums / max(float(sums.sum()), 1e-12)


def draw_hidden(distribution: NDArray[np.float64], guided: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw the patches to hide, always :data:`HIDDEN_SHARE` of them, rounded down.

    Parameters
    ----------
    distribution : ndarray of float64, shape (rows, columns)
        What :func:`patch_distribution` returns.
    guided : float
        Share of them that are drawn by `distribution`, as far as there are patches with vessel; the others are drawn at
        random from all that are left, so vessel may be among them too.
    rng : numpy.random.Generator
        Source of every random choice.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
        True where a patch is hidden.
    """
    chances = distribution.ravel()
    count = int(chances.size * HIDDEN_SHARE)
    by_vessel = min(int(count * guided), int(np.count_nonzero(chances)))
    hidden = np.zeros(chances.size, np.bool_)
    if by_vessel:
        hidden[rng.choice(chances.size, by_vessel, replace=False, p=chances)] = True
    hidden[rng.choice(np.flatnonzero(~hidden), count - by_vessel, replace=False)] = True
    return hidden.reshape(distribution.shape)
