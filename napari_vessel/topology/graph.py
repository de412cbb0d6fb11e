"""Centrelines as branches between the places where they meet."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.components import label_components
from napari_vessel.topology.skeleton import label_branches

Points = NDArray[np.float64]

_AROUND = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)


@dataclass(frozen=True, eq=False, slots=True)
class Branch:
    """A stretch of centreline between two meeting places, or from one to a free end.

    Attributes
    ----------
    points : ndarray of float64, shape (N, 2)
        (y, x) along it, from its first place to its second; the places' own cores come first and last.
    places : tuple of int
        Numbers of the places at its two ends; 0 for a free end.
    length : float
        Along it, px.
    """

    points: Points
    places: tuple[int, int]
    length: float

    @property
    def own(self) -> Points:
        """Its points without the meeting places at its ends."""
        first, last = (1 if place else 0 for place in self.places)
        return self.points[first : len(self.points) - last]

    def from_place(self, place: int) -> Points:
        """Return its points, the given place first."""
        return self.points if self.places[0] == place else self.points[::-1]

    def other(self, place: int) -> int:
        """Return the place at its other end."""
        return self.places[1] if self.places[0] == place else self.places[0]


class Graph:
    """The branches of centrelines, and which of them meet where.

    Parameters
    ----------
    skeleton : ndarray of bool, shape (Y, X)
        Centrelines, one pixel wide.
    """

    def __init__(self, skeleton: NDArray[np.bool_]) -> None:
        lines, count = label_branches(skeleton)
        zones, places = label_components(skeleton & (lines == 0))
        y, x = np.nonzero(zones)
        owners = zones[y, x]
        size = np.maximum(np.bincount(owners, minlength=places + 1), 1)
        middles = np.stack([np.bincount(owners, weights=v, minlength=places + 1) / size for v in (y, x)], axis=1)
        pixels = np.argwhere(zones > 0)
        self.cores = middles
        # The pixel of a meeting place that is nearest to its middle: its mean may lie off the vessel.
        apart = np.hypot(*(pixels - middles[owners]).T)
        order = np.lexsort((apart, owners))
        firsts = np.searchsorted(owners[order], np.arange(1, places + 1))
        self.cores[1:] = pixels[order[firsts]] if places else self.cores[1:]
        self.branches: list[Branch] = []
        self.meeting: dict[int, list[int]] = defaultdict(list)
        self._read(lines, count, zones)

    def _read(self, lines: NDArray[np.int32], count: int, zones: NDArray[np.int32]) -> None:
        pixels = np.argwhere(lines > 0)
        order = np.argsort(lines[pixels[:, 0], pixels[:, 1]], kind="stable")
        bounds = np.searchsorted(lines[pixels[order, 0], pixels[order, 1]], np.arange(1, count + 2))
        padded = np.pad(zones, 1)
        for number in range(count):
            path = _ordered(pixels[order[bounds[number] : bounds[number + 1]]], padded)
            ends = [_places_at(padded, path[at]) for at in (0, -1)]
            if len(path) == 1:
                both = sorted(ends[0])
                # A place that bends round a hole may be at both sides of it.
                both = both * 2 if len(both) == 1 and _sides_at(padded, path[0]) > 1 else both
                ends = [set(both[:1]), set(both[1:2])]
            elif len(ends[0]) > 1 or len(ends[1]) > 1:
                # A short branch of two or three pixels: each end touches both places.
                shared = ends[0] & ends[1]
                ends = [e - shared if e - shared else e for e in ends]
            first, second = (min(e) if e else 0 for e in ends)
            if len(path) > 1 and first == second and len(ends[0] | ends[1]) > 1:
                second = max(ends[0] | ends[1])
            points = path.astype(np.float64)
            if first:
                points = np.concatenate([self.cores[first][None], points])
            if second:
                points = np.concatenate([points, self.cores[second][None]])
            length = float(np.hypot(*np.diff(points, axis=0).T).sum())
            self.branches.append(Branch(points, (first, second), length))
            for place in {first, second} - {0}:
                self.meeting[place].append(number)

    def arms(self, place: int, without: int, depth: float, shortest: float) -> list[Points]:
        """Follow the centrelines out of a meeting place.

        Parameters
        ----------
        place : int
            Its number.
        without : int
            Branch that is not followed.
        depth : float
            How far, px.
        shortest : float
            A free end nearer than this is none of them, px.

        Returns
        -------
        list of ndarray of float64, shape (N, 2)
            The way to each place that far away, or to a free end on the way.
        """
        found: list[Points] = []
        blocked = set(self.branches[without].places)
        waiting: list[tuple[int, Points, float, frozenset[int]]] = [
            (place, self.cores[place][None], 0.0, frozenset({without}))
        ]
        while waiting and len(found) < 8:
            here, way, gone, used = waiting.pop()
            onward = [n for n in self.meeting[here] if n not in used]
            if not onward and gone >= shortest:
                found.append(way)
            for number in onward:
                branch = self.branches[number]
                points = branch.from_place(here)
                longer = np.concatenate([way, points[1:]])
                total = gone + branch.length
                beyond = branch.other(here)
                if total >= depth or beyond == 0 or beyond in blocked or beyond == here:
                    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(longer, axis=0).T))])
                    if total >= shortest:
                        found.append(longer[: max(int(np.searchsorted(along, depth)) + 1, 2)])
                else:
                    waiting.append((beyond, longer, total, used | {number}))
        return found

    def sides(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Tell which branches hold two parts together.

        Returns
        -------
        alone : ndarray of bool, shape (branches,)
            Whether a component falls in two without the branch; where not, there is a way round it.
        smaller : ndarray of float64, shape (branches,)
            Centreline length of the smaller of the two parts, px; 0 where there is a way round.
        """
        alone = np.zeros(len(self.branches), np.bool_)
        smaller = np.zeros(len(self.branches))
        first: dict[int, int] = {}
        low: dict[int, int] = {}
        under: dict[int, float] = defaultdict(float)
        clock = 0
        for root in list(self.meeting):
            if root in first:
                continue
            clock += 1
            first[root] = low[root] = clock
            crossed: list[tuple[int, int, int]] = []
            stack = [(root, -1, iter(self.meeting[root]))]
            while stack:
                here, via, ways = stack[-1]
                for number in ways:
                    branch = self.branches[number]
                    beyond = branch.other(here)
                    if number == via:
                        continue
                    if beyond in (0, here):
                        under[here] += branch.length
                    elif beyond in first:
                        low[here] = min(low[here], first[beyond])
                        if first[beyond] < first[here]:
                            under[here] += branch.length
                    else:
                        clock += 1
                        first[beyond] = low[beyond] = clock
                        stack.append((beyond, number, iter(self.meeting[beyond])))
                        break
                else:
                    stack.pop()
                    if stack:
                        above = stack[-1][0]
                        low[above] = min(low[above], low[here])
                        if low[here] > first[above]:
                            crossed.append((via, here, above))
                        under[above] += under[here] + self.branches[via].length
            for number, below, _ in crossed:
                alone[number] = True
                other = under[root] - under[below] - self.branches[number].length
                smaller[number] = min(under[below], other)
        return alone, smaller

    def way_round(self, number: int, limit: float) -> float:
        """Return the length of the shortest other way between the ends of a branch, px; `limit` if it is longer."""
        from heapq import heappop, heappush

        start, goal = self.branches[number].places
        best = {start: 0.0}
        waiting = [(0.0, start)]
        while waiting:
            gone, here = heappop(waiting)
            if here == goal:
                return gone
            if gone > best[here]:
                continue
            for other in self.meeting[here]:
                branch = self.branches[other]
                beyond, total = branch.other(here), gone + branch.length
                if other != number and beyond and total < min(best.get(beyond, np.inf), limit):
                    best[beyond] = total
                    heappush(waiting, (total, beyond))
        return limit


def _places_at(padded: NDArray[np.int32], pixel: NDArray[np.intp]) -> set[int]:
    """Return which meeting places a pixel touches."""
    y, x = (int(v) + 1 for v in pixel)
    return set(padded[y - 1 : y + 2, x - 1 : x + 2].ravel().tolist()) - {0}


def _sides_at(padded: NDArray[np.int32], pixel: NDArray[np.intp]) -> int:
    """Count the 8-connected pieces of meeting places around a pixel."""
    y, x = (int(v) + 1 for v in pixel)
    return label_components(padded[y - 1 : y + 2, x - 1 : x + 2])[1]


def _ordered(pixels: NDArray[np.intp], padded: NDArray[np.int32]) -> NDArray[np.intp]:
    """Sort the pixels of one branch along it; `padded` are the meeting places, with one more pixel all around."""
    left = {(int(y), int(x)) for y, x in pixels}

    def near(y: int, x: int) -> list[tuple[int, int]]:
        ways = [(y + dy, x + dx) for dy, dx in _AROUND if (y + dy, x + dx) in left]
        # Straight steps before diagonal ones, so that no corner is left behind.
        return sorted(ways, key=lambda p: (abs(p[0] - y) + abs(p[1] - x), p))

    def straight(pixel: tuple[int, int]) -> int:
        return sum(abs(y - pixel[0]) + abs(x - pixel[1]) == 1 for y, x in near(*pixel))

    ends = [p for p in sorted(left) if len(near(*p)) == 1]
    if not ends:
        # Both ends are corners of three pixels each of which has two neighbours, or it is a ring.
        touching = (p for p in sorted(left) if _places_at(padded, np.asarray(p)))
        ends = sorted(touching, key=lambda p: (len(near(*p)), straight(p)))
    here = ends[0] if ends else min(left)
    path = [here]
    left.discard(here)
    while ways := near(*here):
        here = ways[0]
        left.discard(here)
        path.append(here)
    return np.asarray(path, np.intp).reshape(-1, 2)
