"""Centrelines, their end points, and the way a vessel runs where it ends.

Written on plain arrays rather than on skan's graph: gaps need only the last few calibres before each end point, and
walking those takes milliseconds, where building the whole graph costs a second of compilation on first use.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixel = tuple[int, int]

# Ring of neighbours, clockwise from the north, as (dy, dx).
_RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))

TANGENT_CALIBRES = 5.0
"""Length of centreline a tangent is fitted to, in local calibres."""

TANGENT_LEAST_PX = 10.0
"""Shortest such length, px: under it, pixel steps and not the vessel decide the direction."""


@dataclass(frozen=True, eq=False, slots=True)
class EndPoint:
    """Where a centreline ends.

    Attributes
    ----------
    point : tuple of int
        (y, x) of the last centreline pixel.
    tangent : tuple of float
        Unit vector (dy, dx) in which the vessel was running, pointing out of it.
    radius : float
        Radius of the vessel before its end, px; not that of its tip, which may taper.
    component : int
        Label of the component.
    branch : ndarray of int, shape (N, 2)
        Centreline pixels from the end inwards, a few calibres long.
    """

    point: tuple[int, int]
    tangent: tuple[float, float]
    radius: float
    component: int
    branch: NDArray[np.intp]

    @property
    def root(self) -> tuple[int, int]:
        """(y, x) of the centreline a radius behind the end: the last place sure to be in the vessel's middle.

        The centreline of a blunt end runs on into one of its corners.
        """
        y, x = self.branch[min(int(self.radius), len(self.branch) - 1)]
        return (int(y), int(x))


def centreline(mask: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return the one-pixel-wide centrelines of a mask, bool, shape (Y, X)."""
    from skimage.morphology import skeletonize

    vessel = mask != 0
    if min(vessel.shape, default=0) < 1 or not vessel.any():
        return np.zeros(vessel.shape, np.bool_)
    return np.asarray(skeletonize(vessel), np.bool_)  # type: ignore[no-untyped-call]


def _degrees(padded: NDArray[np.uint8], pixels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Count the separate ways out of each centreline pixel: 1 at an end, 2 along a branch, more where branches meet."""
    y, x = pixels[:, 0] + 1, pixels[:, 1] + 1
    ring = np.stack([padded[y + dy, x + dx] for dy, dx in _RING])
    ways: NDArray[np.intp] = ((ring == 0) & (np.roll(ring, -1, axis=0) == 1)).sum(axis=0)
    return ways


def label_branches(skeleton: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Split centrelines where they meet and number the pieces.

    Parameters
    ----------
    skeleton : ndarray of bool, shape (Y, X)
        Centrelines, one pixel wide.

    Returns
    -------
    labels : ndarray of int32, shape (Y, X)
        1 to `count` along the branches; 0 off the centrelines and where branches meet.
    count : int
        Branches.
    """
    import cv2

    found, labels = cv2.connectedComponents(branch_pixels(skeleton).view(np.uint8), connectivity=8)
    return np.asarray(labels, np.int32), int(found) - 1


BRANCH_REACH_PX = 2
"""How far from a pixel :func:`branch_pixels` looks, px."""


def branch_pixels(skeleton: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return centrelines, bool, shape (Y, X), less the places where they meet: 8-connected pieces are branches."""
    import cv2

    padded = np.pad(skeleton, 1).astype(np.uint8)
    pixels = np.argwhere(skeleton)
    # Four branches may meet in a block of four pixels none of which has more than two ways out.
    around = cv2.boxFilter(padded, cv2.CV_8U, (3, 3), normalize=False)[1:-1, 1:-1]
    meets = (_degrees(padded, pixels) >= 3) | (around[pixels[:, 0], pixels[:, 1]] >= 5)
    meeting = np.zeros(padded.shape, np.uint8)
    meeting[pixels[meets, 0] + 1, pixels[meets, 1] + 1] = 1
    # The diagonal neighbours of a meeting point may touch one another past it.
    padded[np.asarray(cv2.dilate(meeting, np.ones((3, 3), np.uint8))) > 0] = 0
    return np.ascontiguousarray(padded[1:-1, 1:-1] > 0)


class Junctions:
    """Where centrelines meet, found out when asked for: ``pixel in junctions``.

    Parameters
    ----------
    padded : ndarray of uint8, shape (Y + 2, X + 2)
        Centrelines, and one more pixel all around; pixels (y, x) are in its coordinates.
    """

    def __init__(self, padded: NDArray[np.uint8]) -> None:
        self._padded = padded
        self._known: dict[Pixel, bool] = {}

    def __contains__(self, pixel: object) -> bool:
        """Tell whether centrelines meet at a pixel."""
        assert isinstance(pixel, tuple)
        meets = self._known.get(pixel)
        if meets is None:
            y, x = pixel
            ring = [int(self._padded[y + dy, x + dx]) for dy, dx in _RING]
            meets = sum(not here and there for here, there in zip(ring, [*ring[1:], ring[0]], strict=True)) >= 3
            self._known[pixel] = meets
        return meets


def _walk(
    padded: NDArray[np.uint8], start: Pixel, limit: int, junctions: Container[Pixel]
) -> tuple[list[Pixel], Pixel | None]:
    """Follow a centreline (padded coordinates) from an end until a junction, another end or `limit` pixels."""
    path = [start]
    seen = {start}
    y, x = start
    while len(path) < limit:
        ways = [(y + dy, x + dx) for dy, dx in _RING if padded[y + dy, x + dx] and (y + dy, x + dx) not in seen]
        for way in ways:
            if way in junctions:
                return path, way
        if not ways:
            return path, None
        # Straight steps before diagonal ones: a diagonal would leave a corner pixel behind as a side way.
        ways.sort(key=lambda p: abs(p[0] - y) + abs(p[1] - x))
        seen.update(ways)
        y, x = ways[0]
        path.append((y, x))
    return path, None


def ends_and_junctions(padded: NDArray[np.uint8], pixels: NDArray[np.intp]) -> tuple[list[Pixel], set[Pixel]]:
    """Return which centreline pixels, shape (N, 2), are ends and junctions, in coordinates of `padded`."""
    degrees = _degrees(padded, pixels)
    ends, junctions = ((pixels[chosen] + 1).tolist() for chosen in (degrees == 1, degrees >= 3))
    return [(y, x) for y, x in ends], {(y, x) for y, x in junctions}


def spur_limit(largest_radius: float) -> int:
    """Return after how many pixels a side branch of a vessel at most so wide is no spur for sure."""
    return int(2 * largest_radius) + 2


def find_spur(
    padded: NDArray[np.uint8], end: Pixel, radius: NDArray[np.float32], limit: int, junctions: Container[Pixel]
) -> tuple[list[Pixel], bool]:
    """Follow a centreline from its end to where it meets others.

    Parameters
    ----------
    padded : ndarray of uint8, shape (Y + 2, X + 2)
        Centrelines, and one more pixel all around.
    end : tuple of int
        (y, x) of an end, in coordinates of `padded`.
    radius : ndarray of float32, shape (Y, X)
        Local radius, px.
    limit : int
        Where to stop (:func:`spur_limit`).
    junctions : container of tuple of int
        Where centrelines meet, in coordinates of `padded`.

    Returns
    -------
    path : list of tuple of int
        Its pixels, in coordinates of `padded`; where they meet others is none of them.
    is_spur : bool
        Whether it is shorter than the vessel it stands on is wide.
    """
    path, junction = _walk(padded, end, limit, junctions)
    return path, junction is not None and len(path) < 2.0 * float(radius[junction[0] - 1, junction[1] - 1])


def prune_spurs(skeleton: NDArray[np.bool_], radius: NDArray[np.float32], rounds: int = 2) -> NDArray[np.bool_]:
    """Remove side branches shorter than the calibre of the vessel they stand on.

    Parameters
    ----------
    skeleton : ndarray of bool, shape (Y, X)
        Centrelines; the corners of a thick vessel's end or a bump on its wall make short spurs.
    radius : ndarray of float32, shape (Y, X)
        Local radius, px.
    rounds : int
        How often to look again: the second round finds spurs that had spurs.

    Returns
    -------
    ndarray of bool, shape (Y, X)
    """
    padded = np.pad(skeleton, 1).astype(np.uint8)
    pixels = np.argwhere(skeleton)
    limit = spur_limit(float(radius.max(initial=0.0)))
    for _ in range(rounds):
        # All of a round are told from what there is before it: so each depends on its surroundings alone.
        ends, junctions = ends_and_junctions(padded, pixels)
        found = [find_spur(padded, end, radius, limit, junctions) for end in ends if junctions]
        removed = [pixel for path, is_spur in found if is_spur for pixel in path]
        if not removed:
            break
        y, x = np.asarray(removed).T
        padded[y, x] = 0
        pixels = pixels[padded[pixels[:, 0] + 1, pixels[:, 1] + 1] > 0]
    return np.asarray(padded[1:-1, 1:-1] > 0)


def find_end_points(
    skeleton: NDArray[np.bool_], radius: NDArray[np.float32], labels: NDArray[np.int32]
) -> list[EndPoint]:
    """Find where centrelines end and which way they were running.

    Parameters
    ----------
    skeleton : ndarray of bool, shape (Y, X)
        Centrelines, spurs removed (:func:`prune_spurs`).
    radius : ndarray of float32, shape (Y, X)
        Local radius, px.
    labels : ndarray of int32, shape (Y, X)
        Components.

    Returns
    -------
    list of EndPoint
        A centreline of a single pixel has no direction and is left out.
    """
    return list(iterate_end_points(skeleton, radius, labels))


def iterate_end_points(
    skeleton: NDArray[np.bool_], radius: NDArray[np.float32], labels: NDArray[np.int32]
) -> Iterator[EndPoint]:
    """Do as :func:`find_end_points`, one end at a time."""
    padded = np.pad(skeleton, 1).astype(np.uint8)
    ends, junctions = ends_and_junctions(padded, np.argwhere(skeleton))
    for start in ends:
        end = describe_end(padded, start, radius, labels, junctions)[1]
        if end is not None:
            yield end


def describe_end(
    padded: NDArray[np.uint8],
    start: Pixel,
    radius: NDArray[np.float32],
    labels: NDArray[np.int32],
    junctions: Container[Pixel],
) -> tuple[NDArray[np.intp], EndPoint | None]:
    """Follow a centreline back from its end, and say which way it was running.

    Parameters
    ----------
    padded : ndarray of uint8, shape (Y + 2, X + 2)
        Centrelines without spurs, and one more pixel all around.
    start : tuple of int
        (y, x) of an end, in coordinates of `padded`.
    radius, labels : ndarray, shape (Y, X)
        Local radius and components, as for :func:`find_end_points`.
    junctions : container of tuple of int
        Where centrelines meet, in coordinates of `padded`.

    Returns
    -------
    branch : ndarray of int, shape (N, 2)
        Centreline pixels from the end inwards; nothing further than 4 px from these decides the result.
    end : EndPoint or None
        None for a centreline of a single pixel.
    """
    path, junction = _walk(padded, start, int(TANGENT_LEAST_PX) + 2, junctions)
    branch = np.asarray(path, np.intp) - 1
    calibre = 2.0 * _radius_before_end(radius[branch[:, 0], branch[:, 1]])
    limit = int(TANGENT_CALIBRES * calibre) + 2
    if junction is None and limit > len(path):
        path, _ = _walk(padded, start, limit, junctions)
        branch = np.asarray(path, np.intp) - 1
    if len(branch) < 2:
        return branch, None
    width = _radius_before_end(radius[branch[:, 0], branch[:, 1]])
    if width < 2.0:
        width = _thin_radius(labels, branch, width)
    point = (start[0] - 1, start[1] - 1)
    return branch, EndPoint(point, _tangent(branch, 2.0 * width), width, int(labels[point]), branch)


def _radius_before_end(radii: NDArray[np.float32]) -> float:
    """Median radius of a branch behind its tip, where the distance to the end itself no longer counts."""
    behind = min(int(np.ceil(float(radii.max()))), len(radii) - 1)
    return max(float(np.median(radii[behind:])), 0.5)


def _thin_radius(labels: NDArray[np.int32], branch: NDArray[np.intp], radius: float) -> float:
    """Radius of a thin branch from its area: the distance to the background cannot tell one pixel wide from two."""
    import cv2

    inner = branch[1:-1] if len(branch) > 3 else branch
    length = float(np.hypot(*np.diff(inner, axis=0).T).sum()) + 1.0
    low = np.maximum(branch.min(axis=0) - 3, 0)
    window = labels[low[0] : branch[:, 0].max() + 4, low[1] : branch[:, 1].max() + 4]
    # What is one with it by a way round far from here is another vessel here.
    _, pieces = cv2.connectedComponents((window > 0).view(np.uint8), connectivity=8)
    vessel = np.argwhere(pieces == pieces[branch[0, 0] - low[0], branch[0, 1] - low[1]]) + low
    apart = ((vessel[:, None, :] - branch[None, :, :]) ** 2).sum(axis=2)
    nearest = apart.argmin(axis=1)
    beside = apart.min(axis=1) <= (radius + 1.5) ** 2
    first = 1 if len(branch) > 3 else 0
    area = int((beside & (nearest >= first) & (nearest < first + len(inner))).sum())
    return float(np.clip(area / length / 2.0, 0.5, radius + 0.75))


def _tangent(branch: NDArray[np.intp], calibre: float) -> tuple[float, float]:
    """Fit a line to the last calibres of a branch, the nearest weighing most, and point it outwards."""
    steps = np.hypot(*np.diff(branch, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    reach = max(TANGENT_LEAST_PX, TANGENT_CALIBRES * calibre)
    weights = np.exp(-3.0 * along / reach)
    # The centreline of a blunt end bends towards a corner in its last radius.
    if along[-1] > calibre + TANGENT_LEAST_PX / 2:
        weights[along < 0.5 * calibre] *= 0.1
    centre = np.average(branch, axis=0, weights=weights)
    middle = float(np.average(along, weights=weights))
    spread = along - middle
    slope = (spread * weights) @ (branch - centre) / max(float(weights @ spread**2), 1e-9)
    if along[-1] > 1.5 * calibre + TANGENT_LEAST_PX / 2:
        # A line through a curved branch gives the direction some way back from its end, a parabola the one at the end
        # but with more noise; half way between has the smaller error.
        basis = np.stack([np.ones_like(along), along, along**2], axis=1) * np.sqrt(weights)[:, None]
        fit = np.linalg.lstsq(basis, branch * np.sqrt(weights)[:, None], rcond=None)[0]
        slope = 0.5 * (slope + fit[1])
    norm = float(np.hypot(*slope))
    if norm == 0.0:
        slope = (branch[-1] - branch[0]).astype(np.float64)
        norm = float(np.hypot(*slope)) or 1.0
    return (-float(slope[0]) / norm, -float(slope[1]) / norm)


def centreline_lengths(skeleton: NDArray[np.bool_], labels: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """Return the centreline length of every component, px.

    Parameters
    ----------
    skeleton : ndarray of bool, shape (Y, X)
        Centrelines.
    labels : ndarray of int32, shape (Y, X)
        Components.
    count : int
        Number of components.

    Returns
    -------
    ndarray of float64, shape (count + 1,)
        Indexed by label; steps count 1 or sqrt(2), a single pixel 1.
    """
    pixels = np.argwhere(skeleton)
    of = labels[pixels[:, 0], pixels[:, 1]]
    # Whole numbers of steps, so that the sum does not depend on their order.
    straight, diagonal = (
        np.bincount(of, weights=steps, minlength=count + 1) for steps in centreline_steps(skeleton, pixels)
    )
    length: NDArray[np.float64] = straight + np.sqrt(2.0) * diagonal
    return np.asarray(np.maximum(length, np.bincount(of, minlength=count + 1) > 0), np.float64)


def centreline_steps(
    skeleton: NDArray[np.bool_], pixels: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the steps from centreline pixels to those right of and below them.

    Parameters
    ----------
    skeleton : ndarray of bool, shape (Y, X)
        Centrelines.
    pixels : ndarray of int, shape (N, 2)
        (y, x) of some of their pixels.

    Returns
    -------
    straight, diagonal : ndarray of int, shape (N,)
        Steps of 1 px and of sqrt(2) px.
    """
    if not len(pixels):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    (top, left), (bottom, right) = pixels.min(axis=0), pixels.max(axis=0)
    # One pixel to the left, to the right and below is looked at.
    window = np.zeros((bottom - top + 2, right - left + 3), np.bool_)
    part = skeleton[top : bottom + 2, max(left - 1, 0) : right + 2]
    begin = 1 if left == 0 else 0
    window[: part.shape[0], begin : begin + part.shape[1]] = part
    y, x = pixels[:, 0] - top, pixels[:, 1] - left + 1
    east, south = window[y, x + 1], window[y + 1, x]
    straight = east.astype(np.int64) + south
    # A diagonal step counts only where no corner pixel already leads there in two straight ones.
    diagonal = (window[y + 1, x + 1] & ~east & ~south).astype(np.int64)
    diagonal += window[y + 1, x - 1] & ~window[y, x - 1] & ~south
    return straight, diagonal
