"""Courses between vessels, with what can be observed of each, before they are judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network, Start, end_reach, targets, trust_of
from napari_vessel.completion.evidence import Evidence
from napari_vessel.completion.measures import Bridge, observe
from napari_vessel.completion.paths import Field, across, cheapest_ways, curve, length_of, pixels_of, trim
from napari_vessel.topology import EndPoint

LOOP_DETOUR = 3.0
"""How many times longer the way through the mask must be for a course to join two places of one component."""

# Branches that the evidence leads to, for each start.
_LED = 3


@dataclass(frozen=True, eq=False, slots=True)
class Draft:
    """A course, not yet judged nor checked against its rivals.

    Attributes
    ----------
    start : Start
        Where it begins.
    goal : tuple of int
        (y, x) of the pixel it leads to.
    goal_end : int
        Index into ``Network.ends`` of the end it leads to; -1 for the middle of a branch.
    goal_component : int
        Label of the component it leads to; 0 for a tip, which leads to none.
    bridge : Bridge
        Its course.
    seen : dict of str to float
        What it is judged by.
    piece : int
        Number, from 1, of the piece of a map that it runs along; 0 for a bridge between paired ends.
    widths : ndarray of float32, shape (N,), or None
        Diameter of that piece at each path point, px; None for a bridge.
    crossed : int
        Label of the component that it leads across; 0 for none.
    """

    start: Start
    goal: tuple[int, int]
    goal_end: int
    goal_component: int
    bridge: Bridge
    seen: dict[str, float]
    piece: int = 0
    widths: NDArray[np.float32] | None = None
    crossed: int = 0

    @property
    def tip(self) -> bool:
        """Whether it goes on from one vessel without joining another."""
        return self.goal_component == 0

    @property
    def own_ends(self) -> set[int]:
        """Indices into ``Network.ends`` of the ends that it uses up."""
        return {self.start.end, self.goal_end} - {-1}


def drafts_from(
    start: Start, network: Network, evidence: Evidence | None, field: Field | None, fov: NDArray[np.bool_] | None
) -> Iterator[Draft]:
    """Draw courses from one start: those its shape suggests, and those the evidence leads to.

    Parameters
    ----------
    start : Start
        An end of a vessel, or a spot.
    network : Network
        The mask.
    evidence : Evidence or None
        What there is to look at.
    field : Field or None
        What ways through the evidence cost; None when there is none.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view.
    """
    tangent = start.tangent if start.trust > 0.5 else None
    at_home = partial(_on_own_branch, network, start)
    courses = []
    for goal in targets(network, start):
        far = end_near(network, goal, start.end)
        landing = network.ends[far].root if far >= 0 else goal
        back = network.ends[far].tangent if far >= 0 else None
        course = curve(np.asarray(start.point, np.float64), tangent, np.asarray(landing, np.float64), back)
        courses.append(course)
        crossed = None
        if far >= 0 and start.end >= 0:
            crossed = across(course, network.labels, 4.0 * network.calibre)
        if crossed is not None and (fov is None or fov[tuple(pixels_of(crossed[0], fov.shape).T)].all()):
            component = network.ends[far].component
            yield drafted(network, start, (crossed[0], component), evidence, crossed=crossed[1])
    if field is not None:
        courses += cheapest_ways(field, start.point, tangent, network.calibre, _LED)
    met: set[tuple[int, ...]] = set()
    for path in courses:
        found = trim(path, network.labels, start.component, at_home)
        if found is None or (fov is not None and not fov[tuple(pixels_of(found[0], fov.shape).T)].all()):
            continue
        ends = pixels_of(found[0][[0, len(found[0]) // 2, -1]], network.mask.shape)
        # The same way but for a pixel or two.
        key = tuple((ends // 3).ravel().tolist())
        if key in met:
            continue
        met.add(key)
        if found[1] != start.component or is_detour(network, ends[0], ends[-1], length_of(found[0])):
            yield drafted(network, start, found, evidence)


def _on_own_branch(network: Network, start: Start, point: NDArray[np.intp]) -> bool:
    """Tell whether a path has only come back to the vessel it left."""
    if start.end < 0:
        return True
    _, nearest = network.tree.query(point)
    return bool((network.ends[start.end].branch == network.pixels[nearest]).all(axis=1).any())


def end_near(network: Network, point: tuple[int, int], but: int = -1) -> int:
    """Return the index of the vessel end that a point belongs to, other than `but`; -1 for the middle of a branch."""
    if network.end_tree is None:
        return -1
    best, nearest = -1, np.inf
    for index in network.end_tree.query_ball_point(point, network.end_reach):
        end = network.ends[index]
        away = float(np.hypot(end.point[0] - point[0], end.point[1] - point[1]))
        if index != but and away <= end_reach(end.radius) and away < nearest and network.labels[point] == end.component:
            best, nearest = int(index), away
    return best


def drafted(
    network: Network,
    start: Start,
    course: tuple[NDArray[np.float64], int],
    evidence: Evidence | None,
    *,
    piece: int = 0,
    widths: NDArray[np.float32] | None = None,
    crossed: int = 0,
) -> Draft:
    """Observe a course, a path and the component it leads to (0: a tip); the others as in :class:`Draft`."""
    path, component = course
    far = end_near(network, (int(path[-1][0]), int(path[-1][1])), start.end)
    stumps = [] if start.end < 0 else [_stump(network.ends[start.end])]
    if far >= 0:
        end = network.ends[far]
        back, radius, trust = end.tangent, end.radius, trust_of(end)
        stumps.append(_stump(end))
    else:
        back, trust = None, 0.0
        radius = radius_at(network, path[-1]) if component or widths is None else float(widths.mean()) / 2.0
    bridge = Bridge(
        path=path,
        out=start.tangent,
        back=back,
        trust=(start.trust, trust),
        radii=(start.radius, radius),
        to_end=far >= 0,
        loop=component == start.component,
        smaller_px=float(min(network.lengths[label] for label in {start.component, component} - {0})),
        calibre=network.calibre,
        from_side=widths is not None and start.end < 0,
        drawn=None if widths is None else float(widths.mean()),
        crosses=crossed > 0,
        stumps=tuple(stumps),
    )
    goal = (int(path[-1][0]), int(path[-1][1]))
    return Draft(start, goal, far, component, bridge, observe(bridge, evidence), piece, widths, crossed)


def _stump(end: EndPoint) -> NDArray[np.intp]:
    """Return the last calibre and a half of a vessel, without its very tip."""
    tip = min(int(end.radius), len(end.branch) - 1)
    return end.branch[tip : tip + max(round(3.0 * end.radius), 3)]


def is_detour(network: Network, first: NDArray[np.intp], second: NDArray[np.intp], length: float) -> bool:
    """Tell whether two places of one component are far apart along it, compared with a way of `length` px."""
    import cv2
    from skimage.graph import MCP_Geometric

    farthest = LOOP_DETOUR * length + 2.0 * network.calibre
    # No way that is short enough leaves this window.
    margin = int(np.ceil(farthest / 2.0)) + 1
    low = np.maximum(np.minimum(first, second) - margin, 0)
    high = np.minimum(np.maximum(first, second) + margin + 1, network.mask.shape)
    window = network.mask[low[0] : high[0], low[1] : high[1]]
    a, b = tuple((first - low).tolist()), tuple((second - low).tolist())
    _, parts = cv2.connectedComponents(np.ascontiguousarray(window).view(np.uint8), connectivity=8)
    if parts[a] != parts[b]:
        return True
    costs, _ = MCP_Geometric(np.where(parts == parts[a], 1.0, -1.0)).find_costs([a], [b])
    return float(costs[b]) > farthest


def radius_at(network: Network, point: NDArray[np.floating] | tuple[int, int]) -> float:
    """Return the radius of the branch that a point belongs to, px: that of its centreline, not of its wall."""
    _, nearest = network.tree.query(point)
    y, x = network.pixels[nearest]
    return max(float(network.radius[y, x]), 0.5)
