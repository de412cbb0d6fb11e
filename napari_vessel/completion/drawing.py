"""Drawing a completion so that it looks like the vessel it joins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap

_STUMP = 3.0
_SHORTEST_STUMP = 3.0
# How much of a vessel, from its end, tells its width and its middle, in radii and in px.

_UNTOLD = 1.2
# How much wider than twice the distance to its wall a vessel may be, px: one of two pixels has half a pixel.

_SETTLED = 8.0
# Over how many radii from its end a bridge comes back to its own course.


def draw_gap(gap: Gap, shape: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """Return the pixels that a completion covers.

    Parameters
    ----------
    gap : Gap
        A proposal.
    shape : tuple of int
        Height and width of the image; the drawing is clipped to it.

    Returns
    -------
    origin : tuple of int
        (y, x) of the patch's first pixel.
    patch : ndarray of bool, shape (h, w)
        The path widened to the interpolated calibre. It always holds the 8-connected line from the path's first
        pixel to its last, so it connects whatever lies under the two.
    """
    return draw_path(gap.path, gap.widths, shape)


def draw_path(
    path: NDArray[np.floating], widths: NDArray[np.floating], shape: tuple[int, int]
) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """Draw a centreline, shape (N, 2), with the widths given at its points; returns as :func:`draw_gap` does."""
    import cv2

    points = np.asarray(path, np.float64)
    radii = np.maximum(np.asarray(widths, np.float64) / 2.0, 0.5)
    limit = np.asarray(shape, np.intp)
    around = int(np.ceil(radii.max())) + 1
    low = np.clip(np.floor(points.min(axis=0)).astype(np.intp) - around, 0, limit - 1)
    high = np.clip(np.ceil(points.max(axis=0)).astype(np.intp) + around + 1, low + 1, limit)
    height, width = (int(v) for v in high - low)
    patch = np.zeros((height, width), np.uint8)
    line = np.clip(np.rint(points).astype(np.intp), 0, limit - 1) - low
    cv2.polylines(patch, [line[:, ::-1].astype(np.int32).reshape(-1, 1, 2)], False, 1, 1, cv2.LINE_8)
    drawn = patch.view(np.bool_)
    for (y, x), radius in zip(points - low, radii, strict=True):
        y0, y1 = np.clip([int(y - radius) - 1, int(y + radius) + 2], 0, height)
        x0, x1 = np.clip([int(x - radius) - 1, int(x + radius) + 2], 0, width)
        near = (np.arange(y0, y1)[:, None] - y) ** 2 + (np.arange(x0, x1)[None, :] - x) ** 2
        drawn[y0:y1, x0:x1] |= near < radius * radius
    return (int(low[0]), int(low[1])), drawn


def stump_reach(radius: float) -> int:
    """How far from the end of a bridge :func:`settle` looks at the vessel it joins, px."""
    return int(np.ceil(max(_STUMP * radius, _SHORTEST_STUMP) + radius)) + 3


def settle(
    path: NDArray[np.floating],
    radii: tuple[float, float],
    mask: NDArray[np.bool_],
    to_end: tuple[bool, bool],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lay a bridge in the middle of the two vessels that it joins, and as wide as they are.

    A centreline and a distance to the wall are known to a pixel. Of a vessel two pixels wide that is half of it. What
    its last few calibres cover tells both more finely.

    Parameters
    ----------
    path : ndarray, shape (N, 2)
        (y, x) from one vessel to the other; its first and last point lie on them.
    radii : tuple of float
        Of the two vessels, as the distance to their walls tells them, px.
    mask : ndarray of bool, shape (Y, X)
        Vessels.
    to_end : tuple of bool
        For each of the two, whether it ends there; the side of a vessel stays where it is.

    Returns
    -------
    path : ndarray of float64, shape (N, 2)
        Moved by less than a pixel or two.
    widths : ndarray of float64, shape (N,)
        Diameter at each of its points, px.
    """
    points = np.asarray(path, np.float64)
    known = [
        _stump(points[::side], radius, mask) if ends and len(points) > 1 else None
        for side, radius, ends in zip((1, -1), radii, to_end, strict=True)
    ]
    first, last = known
    near, far = (2.0 * radius if one is None else one[1] for radius, one in zip(radii, known, strict=True))
    if last is None:
        # Into the side of a vessel it goes as wide as it comes.
        far = min(near, far + _UNTOLD)
    elif first is None:
        near = min(near + _UNTOLD, far)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    moved = points.copy()
    for gone, radius, one in zip((along, along[-1] - along), radii, known, strict=True):
        if one is not None:
            # Farther on a long one follows what is seen.
            left = np.clip(1.0 - gone / min(max(along[-1], 1.0), _SETTLED * radius + 4.0), 0.0, 1.0)
            moved += left[:, None] * one[0]
    share = along / max(along[-1], 1e-9)
    return moved, (1.0 - share) * near + share * far


def _stump(points: NDArray[np.float64], radius: float, mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Return how far the middle of a vessel lies beside the first point of a path that leaves it, and its width, px."""
    here = points[0]
    away = points[min(len(points) - 1, max(3, round(2.0 * radius) + 1))] - here
    away = away / max(float(np.hypot(*away)), 1e-9)
    across = np.asarray([-away[1], away[0]])
    behind = max(_STUMP * radius, _SHORTEST_STUMP)
    low = np.maximum(np.floor(here).astype(np.intp) - stump_reach(radius), 0)
    high = np.floor(here).astype(np.intp) + stump_reach(radius) + 1
    pixels = np.argwhere(mask[low[0] : high[0], low[1] : high[1]]) + low - here
    along, aside = -(pixels @ away), pixels @ across
    own = (along >= 0.0) & (along <= behind) & (np.abs(aside) <= radius + 1.6)
    along, aside = along[own], aside[own]
    if len(along) < 2:
        return np.zeros(2), 2.0 * radius
    width = len(along) / len(np.unique(np.floor(along)))
    moved = aside.mean() * across
    y, x = np.clip(np.rint(here + moved).astype(np.intp), 0, np.subtract(mask.shape, 1))
    # A vessel that bends has its middle off itself.
    moved = moved if mask[y, x] else np.zeros(2)
    return moved, float(np.clip(width, max(1.2 * radius, 1.0), 2.0 * radius + _UNTOLD))


def cut_gap(gap: Gap, shape: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """Return the pixels that a cut takes away.

    Parameters
    ----------
    gap : Gap
        A cut: its path runs from the wall of one vessel to that of the other.
    shape : tuple of int
        Height and width of the image; the cut is clipped to it.

    Returns
    -------
    origin : tuple of int
        (y, x) of the patch's first pixel.
    patch : ndarray of bool, shape (h, w)
        The path as wide as `widths`, and straight off at its two ends: a round one would bite into the two vessels.
    """
    from scipy.spatial import cKDTree

    limit = np.asarray(shape, np.intp)
    points, widths = _dense(np.asarray(gap.path, np.float64), np.asarray(gap.widths, np.float64))
    along = np.gradient(points, axis=0) if len(points) > 1 else np.zeros_like(points)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    around = int(np.ceil(widths.max() / 2.0)) + 1
    low = np.clip(np.floor(points.min(axis=0)).astype(np.intp) - around, 0, limit - 1)
    high = np.clip(np.ceil(points.max(axis=0)).astype(np.intp) + around + 1, low + 1, limit)
    grid = np.moveaxis(np.mgrid[low[0] : high[0], low[1] : high[1]], 0, -1)
    away, nearest = cKDTree(points).query(grid)
    ahead = ((grid - points[nearest]) * along[nearest]).sum(axis=-1)
    inside = away <= widths[nearest] / 2.0
    inside &= ~((nearest == 0) & (ahead < -0.5)) & ~((nearest == len(points) - 1) & (ahead > 0.5))
    return (int(low[0]), int(low[1])), np.asarray(inside)


def _dense(path: NDArray[np.float64], widths: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Put points half a pixel apart."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    places = np.linspace(0.0, along[-1], max(round(2.0 * along[-1]), 1) + 1)
    if along[-1] == 0.0:
        return path[:1], widths[:1]
    points = np.stack([np.interp(places, along, path[:, axis]) for axis in (0, 1)], axis=1)
    return points, np.interp(places, along, widths)


def draw_gap_labels(gap: Gap, labels: NDArray[np.integer]) -> tuple[tuple[int, int], NDArray[np.integer]]:
    """Return a completion as a patch of class labels, ready to be written over a label image.

    Parameters
    ----------
    gap : Gap
        A proposal.
    labels : ndarray of int, shape (Y, X)
        Classes, 0 for background.

    Returns
    -------
    origin : tuple of int
        (y, x) of the patch's first pixel.
    patch : ndarray of the labels' dtype, shape (h, w)
        The labels there, with new pixels in the class that most vessel pixels around the two ends have.
    """
    (y0, x0), drawn = draw_gap(gap, (labels.shape[0], labels.shape[1]))
    patch = labels[y0 : y0 + drawn.shape[0], x0 : x0 + drawn.shape[1]].copy()
    patch[drawn & (patch == 0)] = completion_class(gap, labels)
    return (y0, x0), patch


def completion_class(gap: Gap, labels: NDArray[np.integer]) -> int:
    """Return the class of most vessel pixels within a calibre of the two ends (the smallest of equals; 1 if none)."""
    votes: dict[int, float] = {}
    for end in gap.ends:
        reach = max(2, round(2 * end.radius))
        y, x = (round(v) for v in end.point)
        around = labels[max(y - reach, 0) : max(y + reach + 1, 0), max(x - reach, 0) : max(x + reach + 1, 0)]
        values, counts = np.unique(around[around > 0], return_counts=True)
        for value, number in zip(values.tolist(), counts.tolist(), strict=True):
            # Each end has one vote in all, or the thicker vessel would always decide.
            votes[value] = votes.get(value, 0.0) + number / counts.sum()
    return max(sorted(votes), key=lambda value: votes[value]) if votes else 1
