"""The course of a completion: along the faint vessel where there is one, else on as the vessel was running."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float]

# Cost of a pixel with full support, where one without any costs 1: how long a detour a visible vessel is worth.
_CHEAPEST = 0.12
# A routed path has to be this much cheaper than the plain one, or it only follows noise.
_WORTH = 0.8


def curve(
    start: NDArray[np.float64], out: Vector | None, goal: NDArray[np.float64], back: Vector | None
) -> NDArray[np.float64]:
    """Return a smooth curve (cubic Hermite) between two points, shape (N, 2), about one point a pixel.

    Parameters
    ----------
    start, goal : ndarray, shape (2,)
        (y, x).
    out, back : tuple of float or None
        Unit vectors pointing out of the vessels at either end; None where there is no direction to keep.
    """
    chord = goal - start
    length = float(np.hypot(*chord))
    if length == 0.0:
        return start[None]
    straight = chord / length
    first = straight if out is None else _forward(np.asarray(out), straight)
    last = straight if back is None else _forward(-np.asarray(back), straight)
    t = np.linspace(0.0, 1.0, max(2, round(length * 1.1) + 1))[:, None]
    course: NDArray[np.float64] = (
        (2 * t**3 - 3 * t**2 + 1) * start
        + (t**3 - 2 * t**2 + t) * first * length
        + (-2 * t**3 + 3 * t**2) * goal
        + (t**3 - t**2) * last * length
    )
    return course


def _forward(tangent: NDArray[np.float64], straight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bend a tangent towards the straight line, the more the further it points away, so that no curve loops back."""
    agreement = max(float(tangent @ straight), 0.0)
    blended = agreement * tangent + (1.0 - agreement) * straight
    return np.asarray(blended, np.float64)


class Router:
    """Minimal-cost paths from one start, over support for vessel in a window around it.

    Parameters
    ----------
    support : ndarray of float32, shape (Y, X)
        0 to 1.
    mask : ndarray of bool, shape (Y, X)
        Vessels; walking along them is no shorter than beside them.
    start : tuple of int
        (y, x).
    tangent : tuple of float or None
        Direction out of the vessel; turning back costs more.
    goals : list of tuple of int
        All places the paths may lead to.
    margin : float
        How far beyond start and goals a path may swing, px.
    """

    def __init__(
        self,
        support: NDArray[np.float32],
        mask: NDArray[np.bool_],
        start: tuple[int, int],
        tangent: Vector | None,
        goals: list[tuple[int, int]],
        margin: float,
    ) -> None:
        from skimage.graph import MCP_Geometric

        spots = np.asarray([start, *goals])
        low = np.maximum(spots.min(axis=0) - int(margin) - 1, 0)
        high = np.minimum(spots.max(axis=0) + int(margin) + 2, np.asarray(mask.shape))
        box = (slice(low[0], high[0]), slice(low[1], high[1]))
        cost = 1.0 - (1.0 - _CHEAPEST) * support[box].astype(np.float64)
        cost[mask[box]] = 0.6
        if tangent is not None:
            y = np.arange(low[0], high[0])[:, None] - start[0]
            x = np.arange(low[1], high[1])[None, :] - start[1]
            cosine = (y * tangent[0] + x * tangent[1]) / np.maximum(np.hypot(y, x), 1.0)
            cost *= 1.0 + np.clip(0.3 - cosine, 0.0, 1.0)
        self._origin = low
        self._graph = MCP_Geometric(cost)
        local = [tuple(int(v) for v in np.asarray(goal) - low) for goal in goals]
        self._graph.find_costs([tuple(int(v) for v in np.asarray(start) - low)], local)

    def path(self, goal: tuple[int, int]) -> NDArray[np.float64]:
        """Return the path to one of the goals, smoothed, shape (N, 2), (y, x)."""
        steps = self._graph.traceback(tuple(int(v) for v in np.asarray(goal) - self._origin))
        return smooth(np.asarray(steps, np.float64) + self._origin)


def smooth(path: NDArray[np.float64], reach: int = 2) -> NDArray[np.float64]:
    """Take the pixel steps out of a path, keeping its two ends."""
    if len(path) <= 2:
        return path
    reach = min(reach, (len(path) - 1) // 2)
    before = 2 * path[0] - path[reach:0:-1]
    after = 2 * path[-1] - path[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, path, after])
    kernel = np.ones(2 * reach + 1) / (2 * reach + 1)
    return np.stack([np.convolve(padded[:, axis], kernel, "valid") for axis in (0, 1)], axis=1)


def cheaper(routed: NDArray[np.float64], plain: NDArray[np.float64], support: NDArray[np.float32]) -> bool:
    """Tell whether a routed path is worth leaving the plain course for."""
    return _cost(routed, support) < _WORTH * _cost(plain, support)


def _cost(path: NDArray[np.float64], support: NDArray[np.float32]) -> float:
    steps = np.hypot(*np.diff(path, axis=0).T)
    y, x = pixels_of(path, support.shape).T
    cost = 1.0 - (1.0 - _CHEAPEST) * support[y, x]
    return float((steps * 0.5 * (cost[1:] + cost[:-1])).sum())


def pixels_of(path: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Return the pixels nearest to the points of a path, inside the frame, shape (N, 2)."""
    nearest = np.rint(path).astype(np.intp)
    return np.asarray(np.clip(nearest, 0, np.asarray(shape) - 1), np.intp)


def length_of(path: NDArray[np.floating]) -> float:
    """Return the length of a path, px."""
    return float(np.hypot(*np.diff(path, axis=0).T).sum()) if len(path) > 1 else 0.0


def trim(
    path: NDArray[np.float64],
    labels: NDArray[np.int32],
    own: int,
    at_home: Callable[[NDArray[np.intp]], bool],
) -> tuple[NDArray[np.float64], int] | None:
    """Cut a path down to the stretch between two vessels.

    Parameters
    ----------
    path : ndarray, shape (N, 2)
        From inside component `own` towards another vessel.
    labels : ndarray of int32, shape (Y, X)
        Components.
    own : int
        Component at the start.
    at_home : callable
        Tells of a pixel (y, x) of `own` whether it belongs to the very branch the path starts from.

    Returns
    -------
    tuple or None
        The stretch, its first and last points on pixels of the two vessels and every point between them off any vessel,
        and the component it leads to; None when it leads nowhere. A path that meets another vessel on its way ends
        there.
    """
    fine = np.clip(_densified(path), 0.0, np.asarray(labels.shape) - 1.0)
    pixels = pixels_of(fine, labels.shape)
    met = labels[pixels[:, 0], pixels[:, 1]]
    if met[0] != own:
        return None
    foreign = np.flatnonzero((met != 0) & (met != own))
    stop = int(foreign[0]) if foreign.size else len(met)
    free = np.flatnonzero(met[:stop] == 0)
    if not free.size:
        # Diagonal neighbours are one component, so two that touch along the path cannot be.
        return None
    if foreign.size:
        leave = int(np.flatnonzero(met[:stop] == own)[-1])
    else:
        # Back to its own component: the first return that is not merely to the branch it left.
        back = (np.flatnonzero((met[1:] == own) & (met[:-1] == 0)) + 1).tolist()
        stop = next((i for i in back if not at_home(pixels[i])), -1)
        if stop < 0:
            return None
        leave = int(np.flatnonzero(met[:stop] == own)[-1])
    stretch = fine[leave : stop + 1].copy()
    stretch[0], stretch[-1] = pixels[leave], pixels[stop]
    return _thinned(stretch), int(met[stop])


def _densified(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put points at most half a pixel apart, so that no pixel on the way is missed."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if along[-1] == 0.0:
        return path[:1]
    places = np.linspace(0.0, along[-1], int(np.ceil(along[-1] * 2)) + 1)
    return np.stack([np.interp(places, along, path[:, axis]) for axis in (0, 1)], axis=1)


def _thinned(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep about one point a pixel, and both ends."""
    keep = np.unique(np.concatenate([np.arange(0, len(path), 2), [len(path) - 1]]))
    return np.asarray(path[keep], np.float64)
