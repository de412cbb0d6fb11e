"""Which ends of vessels might be joined to what: candidates by distance and direction alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.reads import Reads
from napari_vessel.topology import EndPoint, centreline, label_components, local_radius, prune_spurs
from napari_vessel.topology.calibre import typical_calibre
from napari_vessel.topology.skeleton import centreline_lengths, iterate_end_points, label_branches

REACH_LOCAL = 17.0
"""Longest jump from an end, in calibres of the vessel that ends."""

REACH_MEDIAN = (8.0, 17.0)
"""Bounds of that jump, in median calibres of the mask."""

REACH_FACING = 30.0
"""Longest jump between two ends that point at each other, in median calibres of the mask."""

REACH_AHEAD = 24.0
"""Longest jump from an end to what it points at, in median calibres of the mask."""

FACING_CONE = np.cos(np.radians(35.0))
FACING_PER_END = 2
CANDIDATES_PER_END = 4
CONE = np.cos(np.radians(75.0))
LOOP_CONE = np.cos(np.radians(40.0))


@dataclass(frozen=True, eq=False, slots=True)
class Network:
    """A mask taken apart.

    Nothing that is worked out from it depends on how components and branches are numbered.

    Attributes
    ----------
    mask : ndarray of bool, shape (Y, X)
        Vessels.
    labels : ndarray of int32, shape (Y, X)
        8-connected components, `count` of them.
    count : int
        Number of components.
    skeleton : ndarray of bool, shape (Y, X)
        Centrelines without spurs.
    radius : ndarray of float32, shape (Y, X)
        Local radius, px.
    lengths : ndarray of float, shape (L + 1,)
        Centreline length of each component, px, by its label; L is at least the largest label.
    calibre : float
        Median calibre, px.
    ends : tuple of EndPoint
        Where centrelines end, row by row from the top.
    branches : ndarray of int32, shape (Y, X)
        Which branch each vessel pixel belongs to, as :func:`divide` tells; 0 off the vessels.
    reads : Reads
        Takes note of what is looked at.
    """

    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    count: int
    skeleton: NDArray[np.bool_]
    radius: NDArray[np.float32]
    lengths: NDArray[np.float64]
    calibre: float
    ends: tuple[EndPoint, ...]
    branches: NDArray[np.int32]
    reads: Reads = field(default_factory=Reads)
    _points: NDArray[np.intp] = field(init=False)
    _reaches: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """Put the ends in arrays to look them up in."""
        points = np.asarray([end.point for end in self.ends], np.intp).reshape(-1, 2)
        object.__setattr__(self, "_points", points)
        object.__setattr__(self, "_reaches", np.asarray([end_reach(end.radius) for end in self.ends], np.float64))

    def around(self, point: tuple[int, int], reach: float) -> NDArray[np.intp]:
        """Return the centreline pixels (y, x) at most `reach` px away, shape (N, 2), row by row from the top."""
        (y, x), margin = point, int(reach)
        top, left = max(y - margin, 0), max(x - margin, 0)
        self.reads.note((y - margin, x - margin), (y + margin, x + margin))
        near = np.argwhere(self.skeleton[top : y + margin + 1, left : x + margin + 1]) + np.asarray([top, left])
        away = near - (y, x)
        return np.asarray(near[(away * away).sum(axis=1) <= reach * reach], np.intp)

    def nearest(self, point: NDArray[np.floating] | NDArray[np.intp] | tuple[int, int]) -> tuple[int, int]:
        """Return the nearest centreline pixel (y, x), of several the first row by row from the top."""
        y, x = float(point[0]), float(point[1])
        margin = 8
        while True:
            top, left = max(int(y) - margin, 0), max(int(x) - margin, 0)
            window = self.skeleton[top : int(y) + margin + 2, left : int(x) + margin + 2]
            near = np.argwhere(window) + np.asarray([top, left])
            if len(near):
                away = np.square(near - (y, x)).sum(axis=1)
                first = int(away.argmin())
                if away[first] <= margin * margin or window.size == self.skeleton.size:
                    found, reach = near[first], int(np.ceil(np.sqrt(away[first])))
                    self.reads.note((int(y) - reach, int(x) - reach), (int(y) + reach + 1, int(x) + reach + 1))
                    return (int(found[0]), int(found[1]))
            margin *= 2

    def ends_around(self, point: tuple[int, int], reach: float) -> list[EndPoint]:
        """Return the ends at most `reach` px away; of this no note is taken."""
        away = self._points - point
        return [self.ends[n] for n in np.flatnonzero((away * away).sum(axis=1) <= reach * reach).tolist()]

    def end_at(self, point: tuple[int, int], but: EndPoint | None = None) -> EndPoint | None:
        """Return the vessel end that a point belongs to, other than `but`; None for the middle of a branch."""
        self.reads.note(point, point)
        away = np.hypot(*(self._points - point).T)
        near = np.flatnonzero(away <= self._reaches)
        for n in near[np.argsort(away[near], kind="stable")].tolist():
            end: EndPoint = self.ends[n]
            if (but is None or end.point != but.point) and self.labels[point] == end.component:
                return end
        return None


@dataclass(frozen=True, eq=False, slots=True)
class Start:
    """Where a proposal begins: the end of a vessel, or a spot that has no end.

    Attributes
    ----------
    point : tuple of int
        (y, x) of the centreline pixel that paths start from.
    tangent : tuple of float or None
        Direction out of the vessel; None for a spot.
    trust : float
        How well the tangent is known, 0 to 1.
    radius : float
        Vessel radius, px.
    component : int
        Label.
    end : EndPoint or None
        The end; None for a spot.
    """

    point: tuple[int, int]
    tangent: tuple[float, float] | None
    trust: float
    radius: float
    component: int
    end: EndPoint | None


def end_reach(radius: float) -> float:
    """How far from an end of the centreline a spot still belongs to that end of the vessel, px."""
    return 2.5 * radius + 1.5


def trust_of(end: EndPoint) -> float:
    """How well the direction of an end is known, 0 to 1: a stub two pixels long points nowhere."""
    length = float(np.hypot(*(end.branch[0] - end.branch[-1])))
    return min(1.0, length / (3.0 * end.radius + 3.0))


def analyse(mask: NDArray[np.bool_], calibre: float | None = None) -> Iterator[Network | None]:
    """Take a mask apart; yields None between steps and the :class:`Network` last (nothing more for an empty mask).

    The calibre, px, is that of the mask unless it is given.
    """
    labels, count = label_components(mask)
    yield None
    if count == 0:
        return
    skeleton = centreline(mask)
    yield None
    radius = local_radius(mask)
    yield None
    skeleton = prune_spurs(skeleton, radius)
    yield None
    pixels = np.argwhere(skeleton)
    if not len(pixels):
        return
    ends: list[EndPoint] = []
    for end in iterate_end_points(skeleton, radius, labels):
        ends.append(end)
        if len(ends) % 32 == 0:
            yield None
    yield None
    y, x = pixels.T
    lengths = centreline_lengths(skeleton, labels, count)
    if calibre is None:
        calibre = max(typical_calibre(radius[y, x], int(np.count_nonzero(mask)), float(lengths.sum())), 1.0)
    yield None
    branches = divide(label_branches(skeleton)[0], labels, belongs_within(calibre))
    yield None
    yield Network(
        mask=mask,
        labels=labels,
        count=count,
        skeleton=skeleton,
        radius=radius,
        lengths=lengths,
        calibre=calibre,
        ends=tuple(ends),
        branches=branches,
    )


def belongs_within(calibre: float) -> float:
    """Return how far a vessel pixel may be from a branch and belong to it, px, by the median calibre."""
    return 4.0 * calibre + 4.0


def divide(lines: NDArray[np.int32], labels: NDArray[np.int32], within: float) -> NDArray[np.int32]:
    """Give every vessel pixel the branch that is nearest.

    Parameters
    ----------
    lines : ndarray of int32, shape (Y, X)
        Branches of the centrelines, numbered from 1; 0 elsewhere.
    labels : ndarray of int32, shape (Y, X)
        Components.
    within : float
        How far from a branch its pixels may be, px.

    Returns
    -------
    ndarray of int32, shape (Y, X)
        Numbers of branches; less the number of the component where no branch is near; 0 off the vessels. What lies
        further than `within` px from a pixel, and two more, makes no difference to it.
    """
    import cv2

    found = -labels
    y, x = np.nonzero(lines)
    if len(y):
        apart = (lines == 0).view(np.uint8)
        away, nearest = cv2.distanceTransformWithLabels(apart, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        of = np.zeros(int(nearest.max()) + 1, np.int32)
        of[nearest[y, x]] = lines[y, x]
        near = (away <= within) & (labels > 0)
        found[near] = of[nearest[near]]
    return found


def starts(network: Network, inside: NDArray[np.bool_] | None, firsts: NDArray[np.int64] | None = None) -> list[Start]:
    """List every end of a vessel, and one spot for every component without an end.

    Ends at the frame or at the border of the field of view are no breaks: the vessel leaves the picture there.

    Parameters
    ----------
    network : Network
        The mask.
    inside : ndarray of bool, shape (Y, X), or None
        Field of view, its border left out.
    firsts : ndarray of int, shape (L + 1,), optional
        What :func:`first_pixels` tells, if it is known.
    """
    height, width = network.mask.shape
    found = []
    with_end = np.zeros(len(network.lengths), np.bool_)
    for end in network.ends:
        with_end[end.component] = True
        y, x = end.point
        margin = end.radius + 1.5
        if min(y, x, height - 1 - y, width - 1 - x) < margin or (inside is not None and not inside[y, x]):
            continue
        found.append(Start(end.root, end.tangent, trust_of(end), end.radius, end.component, end))
    firsts = first_pixels(network) if firsts is None else firsts
    for flat in np.sort(firsts[~with_end & (firsts >= 0)]).tolist():
        y, x = divmod(flat, width)
        if inside is None or inside[y, x]:
            radius = max(float(network.radius[y, x]), 0.5)
            found.append(Start((y, x), None, 0.0, radius, int(network.labels[y, x]), None))
    return found


def first_pixels(network: Network) -> NDArray[np.int64]:
    """Return the first centreline pixel of each component, row by row from the top, as an index; -1 for none."""
    flat = np.flatnonzero(network.skeleton)
    owners, firsts = np.unique(network.labels.ravel()[flat], return_index=True)
    found = np.full(len(network.lengths), -1, np.int64)
    found[owners] = flat[firsts]
    return found


def targets(network: Network, start: Start) -> list[tuple[int, int]]:
    """Return up to a handful of centreline pixels (y, x) that a start may be joined to, likeliest first."""
    low, high = (m * network.calibre for m in REACH_MEDIAN)
    reach = min(max(REACH_LOCAL * 2.0 * start.radius, low), high)
    near = network.around(start.point, reach)
    if not near.size:
        return []
    owners = network.labels[near[:, 0], near[:, 1]]
    offset = near - np.asarray(start.point)
    distance = np.hypot(offset[:, 0], offset[:, 1])
    foreign = owners != start.component
    if start.tangent is None:
        allowed = foreign
        effort = distance
    else:
        cosine = (offset @ np.asarray(start.tangent)) / np.maximum(distance, 1e-9)
        close = distance < 3.0 * start.radius + 2.0
        # A stub's direction is a guess: the less it is trusted, the wider it may look.
        cone = CONE * start.trust - (1.0 - start.trust)
        allowed = foreign & ((cosine > cone) | (close & (cosine > -0.3)))
        own = ~foreign & (cosine > LOOP_CONE) & (start.trust > 0.9)
        if own.any() and start.end is not None:
            width = network.mask.shape[1]
            own &= ~np.isin(near @ (width, 1), start.end.branch @ (width, 1))
        allowed |= own
        effort = distance * (1.0 + 2.0 * start.trust * (1.0 - cosine))
    chosen: list[tuple[int, int]] = []
    taken: list[tuple[int, int, int]] = []
    order = np.flatnonzero(allowed)
    order = order[np.argsort(effort[order], kind="stable")]
    apart = 3.0 * network.calibre
    while order.size and len(chosen) < CANDIDATES_PER_END:
        y, x = (int(v) for v in near[order[0]])
        owner = int(owners[order[0]])
        # At most two places on one component.
        chosen.append((y, x))
        taken.append((owner, y, x))
        gone = (owners[order] == owner) & (
            (np.hypot(*(near[order] - (y, x)).T) < apart) | (sum(1 for other, _, _ in taken if other == owner) >= 2)
        )
        order = order[~gone]
    return chosen + _facing(network, start, chosen) + _ahead(network, start, reach)


def _ahead(network: Network, start: Start, reach: float) -> list[tuple[int, int]]:
    """Return the vessel, farther away than others are looked for, that a start points at; one pixel of it, or none."""
    if start.tangent is None or start.trust <= 0.5:
        return []
    away = np.arange(reach, REACH_AHEAD * network.calibre)[:, None]
    ray = np.rint(np.asarray(start.point) + away * np.asarray(start.tangent)).astype(np.intp)
    ray = ray[((ray >= 0) & (ray < network.mask.shape)).all(axis=1)]
    met = np.flatnonzero(network.labels[ray[:, 0], ray[:, 1]])
    network.reads.note_path(ray[: met[0] + 1] if met.size else ray)
    return [network.nearest(ray[met[0]])] if met.size else []


def _facing(network: Network, start: Start, known: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ends, farther away than others are looked for, that a start points at and that point back at it."""
    found = []
    for end in network.ends_around(start.point, REACH_FACING * network.calibre):
        effort = facing(start, end)
        near = any(np.hypot(*np.subtract(end.point, point)) <= end_reach(end.radius) for point in known)
        if effort is not None and not near:
            found.append((effort, end.point))
    return [point for _, point in sorted(found)[:FACING_PER_END]]


def facing(start: Start, end: EndPoint) -> float | None:
    """Return how far a way it is from a start to an end that points back at it; None where the two do not face."""
    if start.end is None or start.tangent is None or start.trust <= 0.5 or end.point == start.end.point:
        return None
    chord = np.subtract(end.point, start.point)
    distance = float(np.hypot(*chord))
    if distance < 1.0 or trust_of(end) <= 0.5:
        return None
    there, back = float(np.dot(start.tangent, chord)) / distance, -float(np.dot(end.tangent, chord)) / distance
    return distance * (1.0 + 2.0 * (2.0 - there - back)) if min(there, back) > FACING_CONE else None
