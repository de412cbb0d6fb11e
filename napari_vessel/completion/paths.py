"""The course of a completion: along the faint vessel where there is one, else on as the vessel was running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.reads import Reads

Vector = tuple[float, float]

# Cost of a pixel with full support, where one without any costs 1: how long a detour a visible vessel is worth.
CHEAPEST = 0.12
# Width of a usual vessel in the field that ways are looked for in, px.
_FIELD_CALIBRE = 3.0
# How far a way may lead from its start as the crow flies, and how much it may cost, in median calibres.
_FARTHEST = 24.0
_PATIENCE = 12.0


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


@dataclass(frozen=True, eq=False, slots=True)
class Field:
    """Cost of a way through the evidence, coarse enough that every mask's vessels are about three pixels wide.

    Attributes
    ----------
    cost : ndarray of float64, shape (y, x)
        Of a pixel: 1 without support.
    branches : ndarray of int32, shape (y, x)
        Branch of the first vessel pixel of each block; 0 off the vessels.
    fine : ndarray of int32, shape (Y, X)
        The same at full resolution.
    factor : int
        Pixels of the mask for each pixel of the field.
    """

    cost: NDArray[np.float64]
    branches: NDArray[np.int32]
    fine: NDArray[np.int32]
    factor: int


def field_of(support: NDArray[np.float32], branches: NDArray[np.int32], calibre: float) -> Field:
    """Make the field that :func:`cheapest_ways` looks in.

    Parameters
    ----------
    support : ndarray of float32, shape (Y, X)
        0 to 1.
    branches : ndarray of int32, shape (Y, X)
        Branch of each vessel pixel; 0 off the vessels.
    calibre : float
        Median calibre, px.
    """
    factor = max(1, round(calibre / _FIELD_CALIBRE))
    coarse = support
    if factor > 1:
        height, width = (-(-size // factor) for size in support.shape)
        room = ((0, height * factor - support.shape[0]), (0, width * factor - support.shape[1]))
        coarse = np.pad(support, room).reshape(height, factor, width, factor).mean(axis=(1, 3))
    return Field(1.0 - (1.0 - CHEAPEST) * coarse.astype(np.float64), in_blocks(branches, factor), branches, factor)


def in_blocks(branches: NDArray[np.int32], factor: int) -> NDArray[np.int32]:
    """Return the first number of each square block of pixels that is not 0, row by row from the top; 0 for none."""
    if factor == 1:
        return branches
    height, width = (-(-size // factor) for size in branches.shape)
    found = np.zeros((height, width), np.int32)
    # From the last pixel of the blocks to the first, which overwrites the others.
    for place in range(factor * factor - 1, -1, -1):
        part = branches[place // factor :: factor, place % factor :: factor]
        np.copyto(found[: part.shape[0], : part.shape[1]], part, where=part != 0)
    return found


def cheapest_ways(
    field: Field, start: tuple[int, int], tangent: Vector | None, calibre: float, most: int, reads: Reads | None = None
) -> Iterator[NDArray[np.float64]]:
    """Yield the cheapest ways from one start to the branches around it, cheapest first, smoothed.

    Parameters
    ----------
    field : Field
        What ways cost.
    start : tuple of int
        (y, x), on a vessel.
    tangent : tuple of float or None
        Direction out of the vessel; turning back costs more.
    calibre : float
        Median calibre, px.
    most : int
        How many branches to find at most.
    reads : Reads, optional
        Takes note of where was looked.

    Yields
    ------
    ndarray of float64, shape (N, 2)
        (y, x), from the start to a pixel of another branch; none leads through a third.
    """
    factor = field.factor
    home = np.asarray(start) // factor
    reach = int(np.ceil(_FARTHEST * calibre / factor))
    low = np.maximum(home - reach, 0)
    high = np.minimum(home + reach + 1, np.asarray(field.cost.shape))
    box = (slice(low[0], high[0]), slice(low[1], high[1]))
    cost, near = field.cost[box].copy(), field.branches[box]
    own = near == int(field.fine[start])
    # A block may hold pixels of two branches and be counted to the other: no way would leave it.
    own[tuple(home - low)] = True
    if tangent is not None:
        y = np.arange(low[0], high[0])[:, None] - home[0]
        x = np.arange(low[1], high[1])[None, :] - home[1]
        cosine = (y * tangent[0] + x * tangent[1]) / np.maximum(np.hypot(y, x), 1.0)
        cost *= 1.0 + np.clip(0.3 - cosine, 0.0, 1.0)
    cost[own] = 0.6
    other = (near != 0) & ~own
    graph = _limited()(cost)
    graph.limit = _PATIENCE * calibre / factor
    # The graph numbers its pixels column by column.
    graph.stops = other.tobytes(order="F")
    costs, _ = graph.find_costs([tuple((home - low).tolist())])
    reached = np.isfinite(costs)
    if reads is not None:
        rows, columns = np.flatnonzero(reached.any(axis=1)), np.flatnonzero(reached.any(axis=0))
        (top, left), (bottom, right) = (low + np.asarray([rows[at], columns[at]]) for at in (0, -1))
        reads.note((int(top) * factor, int(left) * factor), (int(bottom + 1) * factor - 1, int(right + 1) * factor - 1))
    y, x = np.nonzero(other & reached)
    paid, of = costs[y, x], near[y, x]
    order = np.lexsort((paid, of))
    # Of equals the first, row by row from the top: whatever numbers the branches have.
    cheapest = np.sort(order[np.flatnonzero(np.diff(of[order], prepend=0))])
    for n in cheapest[np.argsort(paid[cheapest], kind="stable")][:most]:
        steps = smooth(np.asarray(graph.traceback((int(y[n]), int(x[n]))), np.float64) + low)
        if factor == 1:
            yield steps
            continue
        # From the middles of blocks back to pixels: from the start itself to a pixel of the branch that was met.
        steps = steps * factor + (factor - 1) / 2.0
        corner = (np.asarray([y[n], x[n]]) + low) * factor
        block = field.fine[corner[0] : corner[0] + factor, corner[1] : corner[1] + factor]
        met = np.argwhere(block == of[n]) + corner
        steps[0], steps[-1] = start, met[np.hypot(*(met - steps[-1]).T).argmin()]
        yield steps


@cache
def _limited() -> Any:
    """Return the class of graphs whose paths end where they meet a vessel and give up beyond a limit."""
    from skimage.graph import MCP_Geometric

    class Limited(MCP_Geometric):  # type: ignore[misc]
        limit = np.inf
        stops = b""

        def goal_reached(self, index: int, cumulative: float) -> int:
            return 2 if cumulative > self.limit else self.stops[index]

    return Limited


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
        # Where it comes in, the tip of the branch it left may be nearer than the middle of a wide vessel.
        stays = [i + int(np.flatnonzero(np.append(met[i:] != own, True))[0]) - 1 for i in back]
        returns = zip(back, stays, strict=True)
        stop = next((i for i, last in returns if not (at_home(pixels[i]) and at_home(pixels[last]))), -1)
        if stop < 0:
            return None
        leave = int(np.flatnonzero(met[:stop] == own)[-1])
    stretch = fine[leave : stop + 1].copy()
    stretch[0], stretch[-1] = pixels[leave], pixels[stop]
    return _thinned(stretch), int(met[stop])


def across(
    path: NDArray[np.float64], labels: NDArray[np.int32], widest: float
) -> tuple[NDArray[np.float64], int] | None:
    """Cut a path down to the stretch between two vessels that lie on both sides of a third.

    Parameters
    ----------
    path : ndarray, shape (N, 2)
        From inside one vessel to inside the other.
    labels : ndarray of int32, shape (Y, X)
        Components; all three may be one, joined elsewhere.
    widest : float
        How far the third may be followed, px: it is crossed, not run along.

    Returns
    -------
    tuple or None
        The stretch as :func:`trim` gives it, but for the pixels of the third vessel, and that vessel's component. None
        when the path crosses none, or more than one.
    """
    fine = np.clip(_densified(path), 0.0, np.asarray(labels.shape) - 1.0)
    pixels = pixels_of(fine, labels.shape)
    met = labels[pixels[:, 0], pixels[:, 1]]
    changes = np.flatnonzero(np.diff(met)) + 1
    # The first vessel, nothing, the one between, nothing, the second vessel.
    if len(changes) != 4 or (met[changes] == 0).tolist() != [True, False, True, False]:
        return None
    leave, enter, out, stop = (int(n) for n in changes)
    if length_of(fine[enter:out]) > widest:
        return None
    stretch = fine[leave - 1 : stop + 1].copy()
    stretch[0], stretch[-1] = pixels[leave - 1], pixels[stop]
    return _thinned(stretch), int(met[enter])


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
