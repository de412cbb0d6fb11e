"""Who is right about a bridge: one judge for every method, whether it draws paths or only a larger mask.

A bridge between two pieces of a mask is right by an observer when the observer's own vessel joins the same two pieces
along the same way: within a tube around the bridge, one 8-connected part of the vessel meets both pieces, and nine
tenths of the bridge run within tolerance of it. Lying near vessels is not enough: a step from one vessel to its
neighbour does that too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from gap_planting import Mask, Planted, Points, grown
from numpy.typing import NDArray
from scipy import ndimage

from napari_vessel.topology import centreline, label_components

TOLERANCE = 2.0
"""How far a bridge may lie beside an observer's vessel, px of DRIVE."""

ALONG = 0.9
"""Share of a bridge that has to lie within tolerance."""

AROUND = 8.0
"""Radius in which it is asked whether a piece lies on a vessel, px of DRIVE."""

ON_VESSEL = 0.7


@dataclass(frozen=True, eq=False, slots=True)
class Connection:
    """A bridge: pixels (y, x) from one piece to the other, shape (N, 2), and the labels of the two pieces."""

    path: Points
    joins: tuple[int, int]
    score: float = 1.0

    @property
    def length(self) -> float:
        """Background pixels to cross, along the path."""
        return max(float(np.hypot(*np.diff(self.path, axis=0).T).sum()) - 1.0, 0.0) if len(self.path) > 1 else 0.0


@dataclass(frozen=True, eq=False, slots=True)
class NaturalGap:
    """A missing stretch of an observer's centreline that touches two or more pieces of a prediction.

    Attributes
    ----------
    pixels : ndarray of int, shape (N, 2)
        The missing stretch.
    touches : frozenset of int
        Labels of the pieces around it.
    """

    pixels: Points
    touches: frozenset[int]

    @property
    def length(self) -> int:
        """Pixels of centreline."""
        return len(self.pixels)


class Judge:
    """One observer's opinion on bridges between the pieces of one mask.

    Parameters
    ----------
    vessels : ndarray of bool, shape (Y, X)
        What the observer drew.
    labels : ndarray of int32, shape (Y, X)
        8-connected pieces of the mask.
    scale : float
        Pixels for each pixel of DRIVE.
    """

    def __init__(self, vessels: Mask, labels: NDArray[np.int32], scale: float = 1.0) -> None:
        self.vessels = vessels
        self.labels = labels
        self.scale = scale
        self.near = grown(vessels, TOLERANCE * scale)

    def right(self, bridge: Connection) -> bool:
        """Tell whether the observer's vessel joins the same two pieces along the same way."""
        y, x = bridge.path.T
        if float(self.near[y, x].mean()) < ALONG:
            return False
        tolerance = TOLERANCE * self.scale
        # Over a short way the two ends must not share their surroundings.
        reach = min(5.0 * self.scale, max(2.0, bridge.length / 2 + 1.0))
        low, box = _window(bridge.path, int(np.ceil(max(reach, tolerance))) + 3, self.vessels.shape)
        line = np.zeros(self.vessels[box].shape, np.bool_)
        local = bridge.path - low
        line[tuple(local.T)] = True
        ends = [_disc(line.shape, local[0], reach), _disc(line.shape, local[-1], reach)]
        parts, _ = label_components(self.vessels[box] & (grown(line, tolerance) | ends[0] | ends[1]))
        met = []
        for label, end in zip(bridge.joins, ends, strict=True):
            anchor = grown((self.labels[box] == label) & end, 1)
            met.append(set(np.unique(parts[anchor]).tolist()) - {0})
        return bool(met[0] & met[1])

    def on_vessel(self, bridge: Connection) -> bool:
        """Tell whether both pieces lie on this observer's vessels where the bridge begins and ends."""
        for label, end in zip(bridge.joins, (bridge.path[0], bridge.path[-1]), strict=True):
            _, box = _window(end[None], int(np.ceil(AROUND * self.scale)), self.vessels.shape)
            piece = self.labels[box] == label
            if not piece.any() or float(self.near[box][piece].mean()) < ON_VESSEL:
                return False
        return True

    def pieces_on_vessel(self, gap: NaturalGap) -> set[int]:
        """Return the pieces around a gap that lie on this observer's vessels."""
        _, box = _window(gap.pixels, int(np.ceil(AROUND * self.scale)), self.vessels.shape)
        near, labels = self.near[box], self.labels[box]
        return {label for label in gap.touches if float(near[labels == label].mean()) >= ON_VESSEL}

    def natural_gaps(self, fov: Mask | None, least: int = 2) -> list[NaturalGap]:
        """List the missing stretches of the observer's centreline that have `least` or more pieces around them."""
        missing = centreline(self.vessels) & (self.labels == 0)
        if fov is not None:
            missing &= fov
        pieces, count = label_components(missing)
        gaps = []
        for number, box in enumerate(ndimage.find_objects(pieces, count), start=1):
            low = np.maximum([box[0].start - 2, box[1].start - 2], 0)
            wide = (slice(low[0], box[0].stop + 2), slice(low[1], box[1].stop + 2))
            here = pieces[wide] == number
            touched = frozenset(np.unique(self.labels[wide][grown(here, 1.5)]).tolist()) - {0}
            if len(touched) >= least:
                gaps.append(NaturalGap(np.argwhere(here) + low, touched))
        return gaps

    def closed(self, gap: NaturalGap, completed: Mask) -> bool:
        """Tell whether a completion joins two of the pieces around a gap, within tolerance of the missing stretch."""
        low, box = _window(gap.pixels, int(np.ceil(TOLERANCE * self.scale)) + 4, completed.shape)
        line = np.zeros(completed[box].shape, np.bool_)
        line[tuple((gap.pixels - low).T)] = True
        parts, _ = label_components(completed[box] & grown(line, TOLERANCE * self.scale + 1.0))
        pairs = np.unique(np.stack([parts.ravel(), self.labels[box].ravel()]), axis=1)
        joined: dict[int, int] = {}
        for part, label in pairs.T.tolist():
            if part and label in gap.touches:
                joined[part] = joined.get(part, 0) + 1
        return any(number >= 2 for number in joined.values())

    def reached(self, gap: NaturalGap, bridge: Connection) -> bool:
        """Tell whether a single bridge closes a gap."""
        if not set(bridge.joins) <= gap.touches or bridge.joins[0] == bridge.joins[1]:
            return False
        low, box = _window(gap.pixels, int(np.ceil(TOLERANCE * self.scale)) + 4, self.labels.shape)
        inside = ((bridge.path >= low) & (bridge.path < [box[0].stop, box[1].stop])).all(axis=1)
        if not inside.all():
            return False
        line = np.zeros(self.labels[box].shape, np.bool_)
        line[tuple((gap.pixels - low).T)] = True
        y, x = (bridge.path - low).T
        return bool(grown(line, TOLERANCE * self.scale + 1.5)[y, x].mean() >= ALONG)


def planted_closed(gap: Planted, broken: Mask, completed: Mask, scale: float) -> bool:
    """Tell whether the two sides of a planted gap are joined within tolerance of what was erased."""
    width = gap.calibre * scale
    margin = int(np.ceil(5.0 * scale + width)) + 3
    points = np.argwhere(gap.erased)
    low, box = _window(np.concatenate([points, gap.middle, np.asarray(gap.sides)]), margin, broken.shape)
    erased = gap.erased[box]
    stumps, _ = label_components(broken[box] & grown(erased, 5.0 * scale + width))
    labels = [int(stumps[tuple(np.asarray(side) - low)]) for side in gap.sides]
    if 0 in labels:
        return False
    # Through the other vessel of a crossing, which was not erased, the way leads along the centreline.
    course = erased.copy()
    course[tuple((gap.middle - low).T)] = True
    parts, _ = label_components(completed[box] & (grown(course, TOLERANCE * scale) | np.isin(stumps, labels)))
    met = [set(np.unique(parts[stumps == label]).tolist()) - {0} for label in labels]
    return bool(met[0] & met[1])


def dice_in_gap(gap: Planted, broken: Mask, completed: Mask, scale: float) -> float:
    """Return the Dice coefficient of what was added around a planted gap with what was erased there."""
    _, box = _window(np.argwhere(gap.erased), int(5.0 * scale) + 2, broken.shape)
    erased = gap.erased[box]
    added = completed[box] & ~broken[box] & grown(erased, 5.0 * scale)
    return 2.0 * float((added & erased).sum()) / float(added.sum() + erased.sum())


def bridges_of(labels: NDArray[np.int32], completed: Mask) -> list[Connection]:
    """Take a completed mask apart into its bridges.

    Every added pixel goes to the piece of the original mask nearest to it within the completed mask; where the areas of
    two pieces meet, there is a connection. Of these the shortest that join everything that was joined are the bridges
    (a spanning forest), so that k pieces that have become one count as k - 1 bridges, however they were drawn.
    """
    cost = np.where(completed, 1.0, -1.0)
    found = sorted(connections(labels, cost), key=lambda item: item[0])
    parent = list(range(int(labels.max(initial=0)) + 1))

    def root(label: int) -> int:
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    bridges = []
    for _, bridge in found:
        first, second = (root(label) for label in bridge.joins)
        if first != second:
            parent[first] = second
            bridges.append(bridge)
    return bridges


def connections(labels: NDArray[np.int32], cost: NDArray[np.float64]) -> Iterator[tuple[float, Connection]]:
    """Yield the cheapest path between every two pieces whose areas of influence meet, with its cost.

    Parameters
    ----------
    labels : ndarray of int32, shape (Y, X)
        Pieces.
    cost : ndarray of float, shape (Y, X)
        Of a pixel; negative where no path may go.
    """
    from skimage.graph import MCP_Geometric

    free = ((labels == 0) & (cost >= 0)).view(np.uint8)
    begin = np.argwhere((labels > 0) & (cv2.dilate(free, np.ones((3, 3), np.uint8)) > 0))
    if not len(begin):
        return
    graph = MCP_Geometric(np.where(labels > 0, 0.0, cost))
    costs, steps = graph.find_costs([tuple(p) for p in begin.tolist()])
    areas = _areas(labels, steps, np.asarray(graph.offsets, np.intp))
    best: dict[tuple[int, int], tuple[float, tuple[int, int], tuple[int, int]]] = {}
    height, width = labels.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = (slice(0, height - dy), slice(max(-dx, 0), width - max(dx, 0)))
        two = (slice(dy, height), slice(max(dx, 0), width - max(-dx, 0)))
        a, b = areas[one], areas[two]
        meet = np.argwhere((a > 0) & (b > 0) & (a != b))
        for y, x in meet.tolist():
            p, q = (y + one[0].start, x + one[1].start), (y + dy, x + two[1].start)
            total = _at(costs, labels, p) + _at(costs, labels, q)
            first, second = int(areas[p]), int(areas[q])
            pair = (min(first, second), max(first, second))
            if pair not in best or total < best[pair][0]:
                best[pair] = (total, p, q)
    for total, p, q in best.values():
        path = _back(graph, labels, p) + _back(graph, labels, q)[::-1]
        joins = (int(labels[path[0]]), int(labels[path[-1]]))
        if joins[0] != joins[1]:
            yield total, Connection(np.asarray(path, np.intp), joins)


def _areas(labels: NDArray[np.int32], steps: NDArray[np.integer], offsets: NDArray[np.integer]) -> NDArray[np.int32]:
    """Give every pixel the piece that its cheapest path comes from; 0 where none leads.

    Parameters
    ----------
    labels : ndarray of int32, shape (Y, X)
        Pieces.
    steps : ndarray of int, shape (Y, X)
        Index of the last step of each pixel's path, negative where a path begins or none leads.
    offsets : ndarray of int, shape (8, 2)
        The steps.
    """
    width = labels.shape[1]
    jumps = offsets[:, 0] * width + offsets[:, 1]
    came = np.arange(labels.size) - np.where(steps >= 0, jumps[np.maximum(steps, 0)], 0).ravel()
    # Each round doubles the way that is looked back.
    while not np.array_equal(further := came[came], came):
        came = further
    return np.where(labels > 0, labels, labels.ravel()[came].reshape(labels.shape))


def _at(costs: NDArray[np.float64], labels: NDArray[np.int32], place: tuple[int, int]) -> float:
    return 0.0 if labels[place] else float(costs[place])


def _back(graph: object, labels: NDArray[np.int32], place: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the path from the nearest piece to a pixel."""
    if labels[place]:
        return [place]
    return [(int(y), int(x)) for y, x in graph.traceback(place)]  # type: ignore[attr-defined]


def _window(points: Points, margin: int, shape: tuple[int, ...]) -> tuple[Points, tuple[slice, slice]]:
    low = np.maximum(points.min(axis=0) - margin, 0)
    high = np.minimum(points.max(axis=0) + margin + 1, np.asarray(shape))
    return low, (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))


def _disc(shape: tuple[int, ...], centre: Points, radius: float) -> Mask:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius * radius)
