"""Stretches of vessel between two others, and what tells a mistaken one from a vessel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network
from napari_vessel.completion.evidence import Evidence
from napari_vessel.completion.paths import length_of, pixels_of, smooth
from napari_vessel.topology.graph import Graph, Points

LONGEST = 12.0
"""Longest connection that is doubted, wall to wall, in median calibres."""

_ARM_CALIBRES = 3.0
_WAY_ROUND = 64.0


@dataclass(frozen=True, eq=False, slots=True)
class Host:
    """The vessel at one end of a connection.

    Attributes
    ----------
    place : tuple of int
        (y, x) of the centreline pixel where the two meet.
    radius : float
        Its radius, px.
    line : ndarray of float64, shape (N, 2)
        Its centreline, a few calibres to either side.
    along : tuple of float or None
        Unit vector along it; None where it does not run on to both sides.
    bend : float
        1 + cosine between its two sides: 0 where it runs straight on without the connection.
    arms : int
        Ways out of the place, the connection left out.
    onward : float
        Cosine between the connection and the arm that runs on from it most nearly.
    """

    place: tuple[int, int]
    radius: float
    line: Points
    along: NDArray[np.float64] | None
    bend: float
    arms: int
    onward: float


@dataclass(frozen=True, eq=False, slots=True)
class Connection:
    """A stretch of vessel between two others.

    Attributes
    ----------
    body : ndarray of float64, shape (N, 2)
        Its centreline, (y, x), from wall to wall.
    radii : ndarray of float64, shape (N,)
        Its radius there, px.
    cut : ndarray of float64, shape (M, 2)
        The same way at finer steps, and nowhere inside the two vessels' walls: what is erased lies along it.
    hosts : tuple of Host
        The two vessels it joins.
    component : int
        Label of the component.
    loop : bool
        Whether the two are joined elsewhere too.
    smaller_px : float
        Centreline length of the smaller of the two parts, px; 0 in a loop.
    way_round : float
        The shortest other way between the two, px.
    calibre : float
        Median calibre of the mask, px.
    """

    body: Points
    radii: NDArray[np.float64]
    cut: Points
    hosts: tuple[Host, Host]
    component: int
    loop: bool
    smaller_px: float
    way_round: float
    calibre: float

    @property
    def width(self) -> float:
        """Its width, px."""
        return max(2.0 * float(np.median(self.radii)), 1.0)

    @property
    def length(self) -> float:
        """From wall to wall, px."""
        return length_of(self.body) + 1.0


def connections(network: Network) -> Iterator[Connection | None]:
    """List the connections of a mask that are short enough to be doubted; None between them, while at work."""
    graph = Graph(network.skeleton)
    yield None
    alone, smaller = graph.sides()
    for number, branch in enumerate(graph.branches):
        first, second = branch.places
        if not first or not second or first == second or branch.length > (LONGEST + 4.0) * network.calibre:
            continue
        hosts = tuple(_host(graph, network, number, place) for place in branch.places)
        if hosts[0] is None or hosts[1] is None:
            continue
        body = _body(branch.points, (hosts[0], hosts[1]))
        if length_of(body) > LONGEST * network.calibre:
            continue
        y, x = pixels_of(body, network.mask.shape).T
        limit = _WAY_ROUND * network.calibre
        yield Connection(
            body=body,
            radii=np.maximum(network.radius[y, x], 0.5).astype(np.float64),
            cut=_between_walls(branch.points, (hosts[0], hosts[1])),
            hosts=(hosts[0], hosts[1]),
            component=int(network.labels[hosts[0].place]),
            loop=not alone[number],
            smaller_px=float(smaller[number]),
            way_round=limit if alone[number] else graph.way_round(number, limit),
            calibre=network.calibre,
        )


def _host(graph: Graph, network: Network, number: int, place: int) -> Host | None:
    """Describe the vessel at one end of a branch; None where there is none."""
    core = graph.cores[place]
    at = (int(core[0]), int(core[1]))
    inner = max(float(network.radius[at]), 0.5)
    depth = max(_ARM_CALIBRES * network.calibre, 5.0 * inner, 6.0)
    arms = graph.arms(place, number, depth, 1.5 * inner)
    if not arms:
        return None
    ways = [_direction(arm, inner) for arm in arms]
    pairs = sorted((float(ways[a] @ ways[b]), a, b) for a, b in combinations(range(len(arms)), 2))
    out = _direction(graph.branches[number].from_place(place), inner, depth)
    onward = max(-float(out @ way) for way in ways)
    if pairs:
        cosine, a, b = pairs[0]
        line = np.concatenate([arms[a][::-1], arms[b][1:]])
        along = ways[a] - ways[b]
        norm = float(np.hypot(*along))
        unit = along / norm if norm > 0.3 else None
        bend = 1.0 + cosine
    else:
        line, unit, bend = arms[0], None, 2.0
    beyond = np.hypot(*(line - core).T) > 1.5 * inner
    y, x = pixels_of(line[beyond] if beyond.any() else line, network.mask.shape).T
    radius = min(max(float(np.median(network.radius[y, x])), 0.5), inner + 0.5)
    return Host(at, radius, line, unit, bend, len(arms), onward)


def _direction(points: Points, inner: float, depth: float = np.inf) -> NDArray[np.float64]:
    """Return the direction in which a centreline leaves a place, its way through the vessel there left out."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    last = int(np.searchsorted(along, depth, "right")) - 1
    first = int(np.searchsorted(along, min(inner, along[last] / 3.0)))
    way = points[last] - points[min(first, last - 1)]
    return np.asarray(way / max(float(np.hypot(*way)), 1e-9), np.float64)


def _outside(points: Points, hosts: tuple[Host, Host]) -> NDArray[np.float64]:
    """Return how far points are from the walls of the two vessels, px; negative inside."""
    outside = np.full(len(points), np.inf)
    for host in hosts:
        apart = np.hypot(*(points[:, None] - host.line[None]).transpose(2, 0, 1)).min(axis=1)
        outside = np.minimum(outside, apart - host.radius)
    return outside


def _body(points: Points, hosts: tuple[Host, Host]) -> Points:
    """Take away what lies inside the two vessels; at least two points are left."""
    outside = _outside(points, hosts)
    free = np.flatnonzero(outside >= 0.5)
    if len(free) < 2:
        middle = int(np.clip(outside.argmax(), 1, len(points) - 1))
        return smooth(points)[middle - 1 : middle + 1]
    return smooth(points)[free[0] : free[-1] + 1]


def _between_walls(points: Points, hosts: tuple[Host, Host]) -> Points:
    """Return the way from wall to wall at steps of half a pixel; one of a pixel where the walls touch."""
    steady = smooth(points)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(steady, axis=0).T))])
    places = np.linspace(0.0, along[-1], max(round(2.0 * along[-1]), 2) + 1)
    fine = np.stack([np.interp(places, along, steady[:, axis]) for axis in (0, 1)], axis=1)
    outside = _outside(fine, hosts)
    free = np.flatnonzero(outside >= 1.0)
    # Where a centreline is a pixel off the middle of its vessel, one wall seems nearer than it is.
    middle = int(np.clip(np.flatnonzero(outside >= outside.max() - 1e-6).mean(), 1, len(fine) - 2))
    first, last = (middle - 1, middle + 1) if len(free) < 3 else (free[0], free[-1])
    return np.asarray(fine[first : last + 1], np.float64)


def observe_connection(one: Connection, network: Network, evidence: Evidence | None) -> dict[str, float]:
    """Measure what tells a mistaken connection from a vessel.

    Returns
    -------
    dict of str to float
        By name; where there are two ends, the plain name is that of the end that looks more like a vessel's, and
        ``_other`` that of the other one. What is not known is NaN.
    """
    wide = sorted(2.0 * host.radius + 1.0 for host in one.hosts)
    width, length = one.width, one.length
    usual = max(one.calibre, 1.0)
    chord = one.body[-1] - one.body[0]
    whole = one.hosts[1].place[0] - one.hosts[0].place[0], one.hosts[1].place[1] - one.hosts[0].place[1]
    way = chord if np.hypot(*chord) > 2.0 else np.asarray(whole, np.float64)
    unit = way / max(float(np.hypot(*way)), 1e-9)
    slants = [1.0 if h.along is None else abs(float(h.along @ unit)) for h in one.hosts]
    bends = [host.bend for host in one.hosts]
    onward = [host.onward for host in one.hosts]
    first, second = (host.along for host in one.hosts)
    span = max(float(np.hypot(*chord)), 1.0)
    seen = {
        "length": float(np.log2(length / (0.5 * sum(wide)))),
        "reach": float(np.log2(length / usual)),
        "slender": float(np.log2(length / (width + 1.0))),
        "width": float(np.log2((width + 1.0) / wide[0])),
        "width_other": float(np.log2((width + 1.0) / wide[1])),
        "neck": float(np.log2((2.0 * one.radii.min() + 1.0) / wide[0])),
        "hosts": float(np.log2(wide[1] / wide[0])),
        "thin": float(np.log2(wide[0] / (usual + 1.0))),
        "slant": max(slants),
        "slant_other": min(slants),
        "bend": max(bends),
        "bend_other": min(bends),
        "onward": max(onward),
        "onward_other": min(onward),
        "parallel": np.nan if first is None or second is None else abs(float(first @ second)),
        "arms": float(sum(host.arms for host in one.hosts)),
        "winding": max(length_of(one.body) / span - 1.0, 0.0),
        "loop": float(one.loop),
        "size": np.nan if one.loop else float(np.log2((one.smaller_px + 1.0) / usual)),
        "way_round": float(np.log2(one.way_round / usual)) if one.loop else np.nan,
    }
    if evidence is not None:
        _look(seen, one, network, evidence)
    if "ridge" in seen and "contrast" in seen:
        # Either alone is common, a faint vessel or an odd angle; both at once are not.
        seen["dark"] = _left(seen["ridge"], 1.0) * _left(seen["contrast"], 1.5) * _left(seen["level"], 1.5)
        seen["dark_tee"] = seen["dark"] * _left(seen["bend"], 1.0) * _left(seen["onward"], 1.0)
    return {name: float(value) for name, value in seen.items()}


def _left(value: float, most: float) -> float:
    """What is left of 1 without a value, at most so much, and at least nothing."""
    return min(max(1.0 - value, 0.0), most)


def _look(seen: dict[str, float], one: Connection, network: Network, evidence: Evidence) -> None:
    """Add what image, probability and completion map show along a connection and along the two vessels."""
    lines = _beside(one)

    def look(field: NDArray[np.float32]) -> tuple[float, float, float]:
        along = _along(field, one.body)
        hosts = float(np.concatenate([_along(field, line) for line in lines]).mean())
        return float(along.mean()), float(along.min()), hosts - _weakest(along, one.width)

    if evidence.ridge is not None:
        seen["ridge"], _, seen["ridge_dip"] = look(evidence.ridge)
    if evidence.brightness is not None:
        _contrast(seen, one, network, evidence.brightness, evidence.contrast)
    maps = [field for field in (evidence.probability, evidence.completion) if field is not None]
    if maps:
        # Of two maps the surer one at each place: a connection that either sees is no mistake.
        chance = maps[0] if len(maps) == 1 else np.maximum(*maps)
        seen["likely"], seen["likely_least"], seen["likely_dip"] = look(chance)


def _contrast(
    seen: dict[str, float], one: Connection, network: Network, field: NDArray[np.float32], usual: float
) -> None:
    """Add how far a connection stands out from what lies to its left and its right, where that is no vessel.

    `field` is brightness with bright vessels, `usual` how far vessels of this mask stand out in it.
    """
    shape = network.mask.shape
    across = _across(one.body)
    middle = _along(field, one.body)
    beside, bare = np.zeros((2, len(middle))), np.zeros((2, len(middle)))
    ground = []
    for side, sign in enumerate((1.0, -1.0)):
        for aside in (1.5, 1.5 + 0.3 * one.calibre):
            v, u = pixels_of(one.body + sign * (0.5 * one.width + aside) * across, shape).T
            free = ~network.mask[v, u]
            beside[side] += np.where(free, field[v, u], 0.0)
            bare[side] += free
            ground.append(field[v, u][free])
    known = bare > 0
    usable = known.any(axis=0)
    if not usable.any():
        return
    # What lies on another vessel says nothing about this one.
    apart = np.where(known, middle - beside / np.maximum(bare, 1), np.nan)[:, usable] / usual
    stands = np.nanmean(apart, axis=0)
    around = np.concatenate(ground)
    spread = float(around.std()) / usual + 0.1
    shifted = max(float(_along(field, one.body + s * 0.3 * one.calibre * across)[usable].mean()) for s in (-1, 0, 1))
    seen["contrast"] = _bounded(float(stands.mean()))
    seen["contrast_side"] = _bounded(float(np.nanmin(apart, axis=0).mean()))
    seen["contrast_worst"] = _bounded(_weakest(stands, one.width))
    seen["contrast_best"] = _bounded((shifted - float(around.mean())) / usual)
    # A faint vessel shows by its length.
    seen["clear"] = float(np.clip(stands.mean() / spread * np.sqrt(one.length / (one.width + 1.0)), -3.0, 8.0))
    vessel = np.concatenate([_along(field, line) for line in _beside(one)])
    depth = max(float(vessel.mean()) - float(around.mean()), 0.3 * usual)
    seen["level"] = _bounded((float(middle.mean()) - float(around.mean())) / depth)
    seen["level_worst"] = _bounded((_weakest(middle, one.width) - float(around.mean())) / depth)


def _beside(one: Connection) -> list[Points]:
    """Return the centrelines of the two vessels to either side of where the connection meets them."""
    lines = [host.line[np.hypot(*(host.line - host.place).T) > 1.5 * host.radius + 1.0] for host in one.hosts]
    return [line for line in lines if len(line)] or [one.body]


def _across(path: Points) -> Points:
    """Return the unit vectors across a path, shape (N, 2)."""
    along = (
        np.gradient(smooth(path, 3), axis=0) if len(path) > 2 else np.repeat(path[-1:] - path[:1], len(path), axis=0)
    )
    norm = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    return np.asarray(np.stack([-along[:, 1], along[:, 0]], axis=1) / norm[:, None], np.float64)


def _along(field: NDArray[np.float32], path: Points) -> NDArray[np.float64]:
    y, x = pixels_of(path, field.shape).T
    return np.asarray(field[y, x], np.float64)


def _weakest(along: NDArray[np.float64], width: float) -> float:
    """Mean over the weakest stretch one width long."""
    reach = int(np.clip(round(width), 1, len(along)))
    return float(np.convolve(along, np.ones(reach) / reach, "valid").min())


def _bounded(value: float) -> float:
    return float(np.clip(value, -1.0, 2.0))
