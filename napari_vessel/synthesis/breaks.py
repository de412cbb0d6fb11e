"""Breaks planted in a true mask: short stretches of vessel taken out, nothing else touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.synthesis.colonisation import Points, VesselTree

_SAMPLE = 0.25
_MARGIN = 8.0
"""Vessel that stays on both sides of a break, px."""


@dataclass(frozen=True, slots=True)
class Break:
    """One planted break.

    Attributes
    ----------
    centre : tuple of float
        (y, x) in px.
    length : float
        Along the centreline, px.
    radius : float
        Of the vessel there, px.
    ends : tuple of tuple of float
        (y, x) where it begins and where it stops, px.
    """

    centre: tuple[float, float]
    length: float
    radius: float
    ends: tuple[tuple[float, float], tuple[float, float]]


def plant_breaks(
    rng: np.random.Generator,
    tree: VesselTree,
    truth: NDArray[np.bool_],
    *,
    count: tuple[int, int] = (12, 25),
    length: tuple[float, float] = (2.0, 30.0),
) -> tuple[NDArray[np.bool_], list[Break]]:
    """Take stretches out of a mask.

    Lengths are uniform in their logarithm; half of the breaks are in vessels wider than the median. Stretches near
    branch points, crossings or other breaks are not used, so each break has the length it says and takes nothing
    from another vessel.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    tree : VesselTree
        What was drawn.
    truth : ndarray of bool, shape (Y, X)
        Its mask.
    count : tuple of int, optional
        Fewest and most breaks.
    length : tuple of float, optional
        Shortest and longest, px.

    Returns
    -------
    broken : ndarray of bool, shape (Y, X)
        The mask with the stretches missing.
    breaks : list of Break
        What was taken out. Shorter than asked for only when the tree has no more room.
    """
    from scipy.spatial import cKDTree

    wanted = int(rng.integers(count[0], count[1] + 1))
    nodes = cKDTree(tree.points)
    branches = _branches(tree, truth.shape)
    typical = float(np.median([np.median(tree.radii[b]) for b in branches])) if branches else 0.0
    wide = [k for k, b in enumerate(branches) if np.median(tree.radii[b]) > typical]
    thin = [k for k in range(len(branches)) if k not in set(wide)]
    broken = truth.copy()
    breaks: list[Break] = []
    for trial in range(60 * wanted):
        if len(breaks) == wanted:
            break
        pool = wide if trial % 2 and wide else thin or wide
        if not pool:
            break
        branch = branches[pool[int(rng.integers(len(pool)))]]
        planned = float(np.exp(rng.uniform(np.log(length[0]), np.log(length[1]))))
        points, at = _resample(tree.points[branch])
        total = float(at[-1])
        if total < planned + 2 * _MARGIN:
            continue
        start = float(rng.uniform(_MARGIN, total - planned - _MARGIN))
        radius = float(np.median(tree.radii[branch]))
        stretch = points[(at >= start) & (at <= start + planned)]
        middle = stretch[len(stretch) // 2]
        reach = planned / 2 + radius + _MARGIN
        if any(np.hypot(middle[0] - b.centre[0], middle[1] - b.centre[1]) < reach + b.length / 2 for b in breaks):
            continue
        if not _alone(tree, nodes, branch, stretch, radius):
            continue
        _erase(broken, points, at, start, start + planned, radius)
        y, x = stretch.T.tolist()
        breaks.append(Break((float(middle[0]), float(middle[1])), planned, radius, ((y[0], x[0]), (y[-1], x[-1]))))
    return broken, breaks


def _branches(tree: VesselTree, shape: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Return runs of nodes from just after one branch point to just before the next, inside the picture."""
    children = tree.children()
    inside = (tree.points > 4).all(axis=1) & (tree.points[:, 0] < shape[0] - 5) & (tree.points[:, 1] < shape[1] - 5)
    runs: list[NDArray[np.int64]] = []
    for end in np.flatnonzero(children != 1).tolist():
        run: list[int] = []
        node = end if children[end] == 0 else int(tree.parents[end])
        while node >= 0 and children[node] <= 1 and tree.parents[node] >= 0:
            if not inside[node]:
                run.clear()
            else:
                run.append(node)
            node = int(tree.parents[node])
        if len(run) > 4:
            runs.append(np.array(run, np.int64))
    return runs


def _resample(points: Points) -> tuple[Points, NDArray[np.float64]]:
    """Return points a quarter of a pixel apart along a line, and how far along each is."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.arange(0.0, along[-1], _SAMPLE)
    dense = np.stack([np.interp(at, along, points[:, k]) for k in (0, 1)], axis=1)
    return dense, at


def _alone(tree: VesselTree, nodes: Any, branch: NDArray[np.int64], stretch: Points, radius: float) -> bool:
    """Whether no other vessel comes near the stretch."""
    from scipy.spatial import cKDTree

    widest = float(tree.radii.max())
    found = nodes.query_ball_point(stretch[:: max(1, int(1 / _SAMPLE))], radius + widest + 6.0)
    near = np.setdiff1d(np.unique(np.concatenate([np.array(f, np.int64) for f in found])), branch)
    if near.size == 0:
        return True
    distance, _ = cKDTree(stretch).query(tree.points[near])
    # 3 px beyond touching: half a segment, and a pixel of background between.
    return bool((distance > radius + tree.radii[near] + 3.0).all())


def _erase(
    mask: NDArray[np.bool_], points: Points, at: NDArray[np.float64], start: float, stop: float, radius: float
) -> None:
    """Clear the pixels whose nearest point of the centreline lies between `start` and `stop`: square ends."""
    from scipy.spatial import cKDTree

    taken = points[(at >= start) & (at <= stop)]
    reach = radius + 2.0
    low = np.maximum(np.floor(taken.min(axis=0) - reach).astype(int), 0)
    high = np.minimum(np.ceil(taken.max(axis=0) + reach).astype(int) + 1, mask.shape)
    y, x = np.nonzero(mask[low[0] : high[0], low[1] : high[1]])
    pixels = np.stack([y + low[0], x + low[1]], axis=1)
    distance, nearest = cKDTree(points).query(pixels)
    cut = (distance <= reach) & (at[nearest] >= start) & (at[nearest] <= stop)
    mask[pixels[cut, 0], pixels[cut, 1]] = False
