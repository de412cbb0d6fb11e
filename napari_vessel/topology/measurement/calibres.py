"""How wide vessels are along their centrelines: area over length, which no orientation favours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.graph import Branch

CALIBRE_WINDOW_PX = 5.0
"""How far to either side along a vessel its calibre is averaged, px; at least half a calibre."""

LEAST_MIDDLE_PX = 4.0
"""So much of the middle of a segment is measured, px, however near its ends are."""

BEYOND_WALL_PX = 1.5
"""A pixel farther than this beyond the radius of the nearest centreline may be of another vessel, px."""


def areas_along(
    vessel: NDArray[np.bool_], lines: NDArray[np.bool_], radius: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return how many vessel pixels belong to each centreline pixel.

    Each belongs to the nearest. Where that is farther than its vessel is wide, it may be that of a thin vessel beside
    a wide one, across the background between; then it belongs where its neighbours inside the vessel do.

    Parameters
    ----------
    vessel, lines : ndarray of bool, shape (Y, X)
        Vessels and their centrelines.
    radius : ndarray of float32, shape (Y, X)
        Local radius, px.
    """
    import cv2

    found = np.zeros(vessel.shape, np.float64)
    if not lines.any():
        return found
    away, owners = cv2.distanceTransformWithLabels(
        (~lines).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    reach = np.zeros(int(owners.max()) + 1, np.float32)
    reach[owners[lines]] = radius[lines] + BEYOND_WALL_PX
    doubtful = vessel & (away > reach[owners])
    if doubtful.any():
        from skimage.segmentation import watershed

        owners = watershed(  # type: ignore[no-untyped-call]
            np.zeros(vessel.shape, np.uint8), np.where(vessel & ~doubtful, owners, 0), connectivity=2, mask=vessel
        )
    counts = np.bincount(owners[vessel], minlength=len(reach))
    found[lines] = counts[owners[lines]]
    return found


def calibres_along(
    branch: Branch,
    areas: NDArray[np.float64],
    radius: NDArray[np.float32],
    spacing: NDArray[np.float64],
    along: NDArray[np.float64],
    steps: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Return the mean calibre of a segment, and the local one along it: area over length, which no orientation favours.

    The distance to the background alone is up to a pixel short of half the width where that is even.

    Parameters
    ----------
    branch : Branch
        Its pixels.
    areas : ndarray of float64, shape (Y, X)
        From :func:`areas_along`.
    radius : ndarray of float32, shape (Y, X)
        Local radius, px.
    spacing : ndarray of float64, shape (2,)
        Size of a pixel (y, x).
    along : ndarray of float64, shape (N,)
        Where along `branch.points` the points of its smooth course lie, px.
    steps : ndarray of float64, shape (N - 1,)
        Lengths between these.

    Returns
    -------
    mean : float
    local : ndarray of float64, shape (N,)
        NaN next to ends and meeting places.
    """
    y, x = branch.own.astype(np.intp).T
    radii = np.asarray(radius[y, x], np.float64)
    pixel = float(spacing.prod())
    local = np.full(len(along), np.nan)
    if len(y) < 4:
        simple, most = (size * float(np.sqrt(pixel)) for size in (2.0 * radii.mean(), 2.0 * radii.mean() + 1.0))
        # So few pixels hold too much of what they end in to be believed beyond what the distance leaves open.
        return float(np.clip(areas[y, x].sum() * pixel / _way(branch, spacing), simple, most)), local
    behind = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(branch.points, axis=0).T))])
    first = 1 if branch.places[0] else 0
    behind = behind[first : first + len(y)]
    # Up to the border half way between two pixels, so much of the area lies behind.
    borders = (behind[1:] + behind[:-1]) / 2.0
    area = np.cumsum(areas[y[:-1], x[:-1]]) * pixel
    usual = float(np.median(radii))
    low, high = _middle(branch, radius, usual, float(borders[0]), float(borders[-1]))
    length = np.concatenate([[0.0], np.cumsum(steps)])

    def between(start: NDArray[np.float64], stop: NDArray[np.float64]) -> NDArray[np.float64]:
        over = np.interp(stop, along, length) - np.interp(start, along, length)
        covered = np.interp(stop, borders, area) - np.interp(start, borders, area)
        return np.asarray(covered / np.maximum(over, 1e-9))

    reach = max(CALIBRE_WINDOW_PX, usual)
    known = (along >= low) & (along <= high)
    local[known] = between(np.maximum(along[known] - reach, low), np.minimum(along[known] + reach, high))
    return float(between(np.asarray([low]), np.asarray([high]))[0]), local


def _way(branch: Branch, spacing: NDArray[np.float64]) -> float:
    """Return the length that a branch's pixels stand for: to half way to a meeting place, half a pixel at an end."""
    steps = np.hypot(*(np.diff(branch.points, axis=0) * spacing).T)
    pixel = float(np.sqrt(spacing.prod()))
    # Half a step to a meeting place belongs to it.
    first, last = (-float(steps[at]) if place else pixel for at, place in zip((0, -1), branch.places, strict=True))
    return float(steps.sum()) + (first + last) / 2.0


def _middle(branch: Branch, radius: NDArray[np.float32], usual: float, low: float, high: float) -> tuple[float, float]:
    """Leave out what lies inside a wider vessel, and near ends and meeting places if there is more than that.

    A thin vessel that leaves a wide one runs inside it for the radius of the wide one, and not its own.
    """
    cores = branch.points[[0, -1]].astype(np.intp)
    inside = [
        max(float(radius[y, x]) - usual, 0.0) if place else 0.0
        for place, (y, x) in zip(branch.places, cores, strict=True)
    ]
    share = min(max(high - low - LEAST_MIDDLE_PX, 0.0) / max(sum(inside), 1e-9), 1.0)
    low, high = low + share * inside[0], high - share * inside[1]
    if high - low > 2.0 * usual + LEAST_MIDDLE_PX:
        # The end of a vessel is not as wide as the vessel, and a meeting place is wider.
        low, high = low + usual, high - usual
    return low, high
