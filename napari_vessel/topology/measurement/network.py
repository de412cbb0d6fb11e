"""A mask as segments between the places where vessels meet, with their courses and calibres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from napari_vessel.jobs import Job, Progress
from napari_vessel.topology.calibre import local_radius
from napari_vessel.topology.components import fill_holes, label_components
from napari_vessel.topology.graph import Branch, Graph
from napari_vessel.topology.measurement.calibres import areas_along, calibres_along
from napari_vessel.topology.measurement.curves import Points, Tortuosity, smooth, smoothing_period, tortuosity
from napari_vessel.topology.skeleton import centreline, prune_spurs

ARM_FROM_RADII = 2.5
"""How far from a meeting place a vessel runs its own way, in radii there."""

NEAR_POINTS = 12
"""How many pixels of each vessel say how wide it is at a meeting place."""

ARM_LEAST_PX = 10.0
"""Length of a vessel that says which way it leaves a meeting place, px; at least two calibres."""

ARM_SHORTEST_PX = 5.0
"""Under this, pixel steps and not the vessel decide that direction, px."""

CROSSING_CALIBRES = 2.0
CROSSING_LEAST_PX = 4.0
"""How far apart the two places may lie at which the centrelines of two crossing vessels meet, in calibres and px."""

CROSSING_STRAIGHT = np.radians(140.0)
"""What goes on straight across a crossing turns by less than 40 degrees."""

BORDER_PX = 6.0
"""An end so near to the frame or the edge of the field of view leaves the picture, px; or a calibre near: who draws
vessels stops a few pixels before the edge."""

PINHOLE_PX = 4
"""Holes so small are filled before centrelines are drawn, px."""

SHORTEST_CHORD = 0.5
"""Shortest chord of a segment whose tortuosity is told, in smoothing periods."""


@dataclass(frozen=True, eq=False, slots=True)
class Segment:
    """A stretch of vessel between two meeting places, or from one to a free end.

    Lengths are in the unit of the measurement, px or um; places in the picture are always in px.

    Attributes
    ----------
    number : int
        1 and up.
    points : ndarray of float64, shape (N, 2)
        (y, x) along its smooth centreline, px.
    steps : ndarray of float64, shape (N - 1,)
        Lengths between these.
    calibres : ndarray of float64, shape (N,)
        Local calibre at these; NaN where it is not told, next to ends and meeting places.
    places : tuple of int
        Numbers of the meeting places at its ends; 0 for a free end.
    ends : tuple of (float, float)
        (y, x) of its free ends, px, without those where it leaves the picture.
    component : int
        Label of its component.
    calibre : float
        Mean calibre.
    chord : float
        Straight distance between its ends.
    tortuosity : Tortuosity or None
        None where its ends are nearer to each other than half a smoothing period: it is all but closed, or too short.
    """

    number: int
    points: Points
    steps: NDArray[np.float64]
    calibres: NDArray[np.float64]
    places: tuple[int, int]
    ends: tuple[tuple[float, float], ...]
    component: int
    calibre: float
    chord: float
    tortuosity: Tortuosity | None

    @property
    def length(self) -> float:
        """Along its smooth centreline."""
        return float(self.steps.sum())

    @property
    def centre(self) -> tuple[float, float]:
        """(y, x) of the middle of its course, px."""
        y, x = self.points[len(self.points) // 2]
        return (float(y), float(x))


class NodeKind(StrEnum):
    """What happens where vessels meet."""

    BIFURCATION = "bifurcation"
    CROSSING = "crossing"


@dataclass(frozen=True, slots=True)
class Node:
    """A place where vessels meet.

    Attributes
    ----------
    kind : NodeKind
        Where two vessels go straight on, one over the other, they cross.
    point : tuple of float
        (y, x), px.
    angle : float or None
        Of a bifurcation of three: the smallest angle between two of them, which are taken for the daughters, degrees;
        None where one is too short to say, and of everything else.
    """

    kind: NodeKind
    point: tuple[float, float]
    angle: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Network:
    """What is measured of a mask.

    Attributes
    ----------
    mask, skeleton : ndarray of bool, shape (Y, X)
        Vessels inside the field of view, and their centrelines without spurs.
    labels : ndarray of int32, shape (Y, X)
        Components.
    segments : tuple of Segment
        All of them.
    nodes : tuple of Node
        All of them.
    """

    mask: NDArray[np.bool_]
    skeleton: NDArray[np.bool_]
    labels: NDArray[np.int32]
    segments: tuple[Segment, ...]
    nodes: tuple[Node, ...]


def read_network(mask: NDArray[np.bool_], fov: NDArray[np.bool_] | None, spacing: tuple[float, float]) -> Job[Network]:
    """Find segments, bifurcations, crossings and ends.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        Vessels; what is outside the field of view does not count.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view; None means everywhere.
    spacing : tuple of float
        Size of a pixel (y, x).
    """
    vessel = mask if fov is None else mask & fov
    yield Progress(0, 3, "Drawing centrelines")
    # A slip of the pencil between two vessels is no mesh with two bifurcations.
    filled = fill_holes(vessel, PINHOLE_PX)
    radius = local_radius(filled)
    lines = prune_spurs(centreline(filled), radius)
    labels, _ = label_components(filled)
    yield Progress(1, 3, "Following vessels")
    graph = Graph(lines)
    areas = areas_along(vessel, lines, radius)
    inside = _inside(vessel.shape, fov)
    measured = _Measuring(np.asarray(spacing, np.float64), radius, areas, labels, inside)
    segments = []
    for number, branch in enumerate(graph.branches, start=1):
        segments.append(measured.segment(number, branch))
        if number % 100 == 0:
            yield Progress(1 + number / len(graph.branches), 3, "Following vessels")
    yield Progress(2, 3, "Looking where vessels meet")
    nodes = _nodes(graph, segments, radius, np.asarray(spacing, np.float64))
    return Network(vessel, lines, labels, tuple(segments), nodes)


def _inside(shape: tuple[int, ...], fov: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Return how far each pixel is from what is outside the picture, px."""
    import cv2

    seen = np.pad(np.ones(shape, np.uint8) if fov is None else fov.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(seen, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1], np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class _Measuring:
    """What is looked up for every segment."""

    spacing: NDArray[np.float64]
    radius: NDArray[np.float32]
    areas: NDArray[np.float64]
    labels: NDArray[np.int32]
    inside: NDArray[np.float32]

    def segment(self, number: int, branch: Branch) -> Segment:
        own = branch.own
        pixels = own.astype(np.intp)
        radii = np.asarray(self.radius[pixels[:, 0], pixels[:, 1]], np.float64)
        wide = 2.0 * float(np.median(radii))
        loop = branch.places == (0, 0) and len(own) >= 4 and float(np.abs(own[0] - own[-1]).max()) <= 1.0
        # A ring is read from one of its pixels to the one before it.
        whole = np.concatenate([branch.points, branch.points[:1]]) if loop else branch.points
        period = smoothing_period(wide)
        curve, along = smooth(whole, period)
        real = curve * self.spacing
        steps = np.hypot(*np.diff(real, axis=0).T) if len(curve) > 1 else np.zeros(0)
        calibre, calibres = calibres_along(branch, self.areas, self.radius, self.spacing, along, steps)
        told = float(np.hypot(*(curve[-1] - curve[0]))) >= SHORTEST_CHORD * period
        ends = () if loop or (len(own) < 2 and branch.places == (0, 0)) else self._ends(branch, pixels, wide)
        return Segment(
            number=number,
            points=curve,
            steps=steps,
            calibres=calibres,
            places=branch.places,
            ends=ends,
            component=int(self.labels[pixels[0, 0], pixels[0, 1]]),
            calibre=calibre,
            chord=float(np.hypot(*(real[-1] - real[0]))),
            tortuosity=tortuosity(real) if told else None,
        )

    def _ends(self, branch: Branch, pixels: NDArray[np.intp], wide: float) -> tuple[tuple[float, float], ...]:
        free = [pixels[at] for at, place in zip((0, -1), branch.places, strict=True) if not place]
        margin = max(BORDER_PX, wide)
        return tuple((float(y), float(x)) for y, x in free if self.inside[y, x] > margin)


def _nodes(
    graph: Graph, segments: Sequence[Segment], radius: NDArray[np.float32], spacing: NDArray[np.float64]
) -> tuple[Node, ...]:
    """Tell crossings from bifurcations, and measure how vessels branch."""
    arms = _arms(graph, radius, spacing)
    meeting = {place: found for place, found in arms.items() if len(found) >= 3}
    crossed: set[int] = set()
    nodes = []
    for number in sorted(range(len(segments)), key=lambda n: segments[n].length):
        first, second = segments[number].places
        pair = (first, second)
        if not first or first == second or crossed & {first, second}:
            continue
        if any(len(meeting.get(place, ())) != 3 for place in pair):
            continue
        wide = max(2.0 * _radius_at(graph, radius, place) for place in pair)
        if graph.branches[number].length > CROSSING_CALIBRES * wide + CROSSING_LEAST_PX:
            continue
        outer = [[arm for arm in meeting[place] if arm.segment != number] for place in pair]
        if all(len(two) == 2 for two in outer) and _goes_across(*outer):
            crossed |= {first, second}
            middle = (graph.cores[first] + graph.cores[second]) / 2.0
            nodes.append(Node(NodeKind.CROSSING, (float(middle[0]), float(middle[1]))))
    for place, found in meeting.items():
        if place in crossed:
            continue
        point = (float(graph.cores[place][0]), float(graph.cores[place][1]))
        four = len(found) == 4 and any(
            _goes_across([found[0], found[other]], [arm for n, arm in enumerate(found) if n not in (0, other)])
            for other in (1, 2, 3)
        )
        if four:
            nodes.append(Node(NodeKind.CROSSING, point))
        else:
            nodes.append(Node(NodeKind.BIFURCATION, point, _branching_angle(found)))
    return tuple(nodes)


@dataclass(frozen=True, eq=False, slots=True)
class _Arm:
    """A segment as it leaves a meeting place: unit vector (dy, dx) in real lengths, and whether it can be trusted."""

    segment: int
    direction: NDArray[np.float64]
    long_enough: bool


def _arms(graph: Graph, radius: NDArray[np.float32], spacing: NDArray[np.float64]) -> dict[int, list[_Arm]]:
    found: dict[int, list[_Arm]] = {}
    for number, branch in enumerate(graph.branches):
        for place, points in zip(branch.places, (branch.points, branch.points[::-1]), strict=True):
            if place:
                arm = _arm(number, points, _radius_at(graph, radius, place), spacing)
                found.setdefault(place, []).append(arm)
    return found


def _arm(number: int, points: Points, near: float, spacing: NDArray[np.float64]) -> _Arm:
    behind = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    # Inside the meeting place the centrelines bend towards each other. A line through the pixels beyond and no smooth
    # curve, which the bend would pull along.
    start = min(ARM_FROM_RADII * near, float(behind[-1]) / 2.0)
    stop = min(start + max(ARM_LEAST_PX, 4.0 * near), float(behind[-1]))
    chosen = (behind >= start) & (behind <= stop)
    if np.count_nonzero(chosen) < 2:
        chosen = np.ones(len(points), np.bool_)
    along = behind[chosen] - behind[chosen].mean()
    direction = along @ (points[chosen] * spacing)
    length = float(np.hypot(*direction))
    return _Arm(number, direction / length if length > 0 else direction, stop - start >= ARM_SHORTEST_PX)


def _radius_at(graph: Graph, radius: NDArray[np.float32], place: int) -> float:
    """Return the radius, px, of the widest vessel at a meeting place; its middle pixel may lie in a corner."""
    widest = 0.5
    for number in graph.meeting[place]:
        y, x = graph.branches[number].from_place(place)[1:NEAR_POINTS].astype(np.intp).T
        if len(y):
            widest = max(widest, float(np.median(radius[y, x])))
    return widest


def _angle(first: _Arm, second: _Arm) -> float:
    return float(np.arccos(np.clip(first.direction @ second.direction, -1.0, 1.0)))


def _goes_across(first: Sequence[_Arm], second: Sequence[_Arm]) -> bool:
    """Tell whether each of two vessels that come from one side goes on straight on the other."""
    straight = [[_angle(one, other) >= CROSSING_STRAIGHT for other in second] for one in first]
    return bool((straight[0][0] and straight[1][1]) or (straight[0][1] and straight[1][0]))


def _branching_angle(arms: Sequence[_Arm]) -> float | None:
    if len(arms) != 3 or not all(arm.long_enough for arm in arms):
        return None
    return float(np.degrees(min(_angle(arms[one], arms[other]) for one, other in ((0, 1), (0, 2), (1, 2)))))
