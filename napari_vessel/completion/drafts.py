"""Courses between vessels, with what can be observed of each, before they are judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network, Start, targets, trust_of
from napari_vessel.completion.drawing import stump_reach
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
    goal_end : EndPoint or None
        The end it leads to; None for the middle of a branch.
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
    goal_end: EndPoint | None
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
    def own_ends(self) -> set[tuple[int, int]]:
        """(y, x) of the ends of vessels that it uses up."""
        return {end.point for end in (self.start.end, self.goal_end) if end is not None}


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
        far = network.end_at(goal, start.end)
        landing = goal if far is None else far.root
        back = None if far is None else far.tangent
        course = curve(np.asarray(start.point, np.float64), tangent, np.asarray(landing, np.float64), back)
        courses.append(course)
        crossed = None
        if far is not None and start.end is not None:
            network.reads.note_path(course)
            crossed = across(course, network.labels, 4.0 * network.calibre)
        inside = crossed is not None and (fov is None or fov[tuple(pixels_of(crossed[0], fov.shape).T)].all())
        if far is not None and crossed is not None and inside:
            yield drafted(network, start, (crossed[0], far.component), evidence, crossed=crossed[1])
    if field is not None:
        courses += cheapest_ways(field, start.point, tangent, network.calibre, _LED, network.reads)
    met: set[tuple[int, ...]] = set()
    for path in courses:
        network.reads.note_path(path)
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
    if start.end is None:
        return True
    return bool((start.end.branch == network.nearest(point)).all(axis=1).any())


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
    goal = (int(path[-1][0]), int(path[-1][1]))
    far = network.end_at(goal, start.end)
    stumps = [(_stump(end), end.radius) for end in (start.end, far) if end is not None]
    if far is not None:
        back, radius, trust = far.tangent, far.radius, trust_of(far)
    else:
        back, trust = None, 0.0
        radius = radius_at(network, path[-1]) if component or widths is None else float(widths.mean()) / 2.0
    bridge = Bridge(
        path=path,
        out=start.tangent,
        back=back,
        trust=(start.trust, trust),
        radii=(start.radius, radius),
        to_end=far is not None,
        loop=component == start.component,
        smaller_px=smaller_of(network, start.component, component),
        calibre=network.calibre,
        from_side=widths is not None and start.end is None,
        drawn=None if widths is None else float(widths.mean()),
        crosses=crossed > 0,
        stumps=tuple(stumps),
    )
    # What closing it would touch, and what it leads on from, is looked at when it becomes a proposal.
    margin = stump_reach(max(bridge.radii)) if widths is None else int(np.ceil(float(widths.max()) / 2.0))
    network.reads.note_path(path, margin + 4)
    return Draft(start, goal, far, component, bridge, observe(bridge, evidence), piece, widths, crossed)


def smaller_of(network: Network, first: int, second: int) -> float:
    """Return the centreline length of the smaller of two components, px; one of them may be 0 for none."""
    return float(min(network.lengths[label] for label in {first, second} - {0}))


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
    network.reads.note((int(low[0]), int(low[1])), (int(high[0]) - 1, int(high[1]) - 1))
    window = network.mask[low[0] : high[0], low[1] : high[1]]
    a, b = tuple((first - low).tolist()), tuple((second - low).tolist())
    _, parts = cv2.connectedComponents(np.ascontiguousarray(window).view(np.uint8), connectivity=8)
    if parts[a] != parts[b]:
        return True
    costs, _ = MCP_Geometric(np.where(parts == parts[a], 1.0, -1.0)).find_costs([a], [b])
    return float(costs[b]) > farthest


def radius_at(network: Network, point: NDArray[np.floating] | tuple[int, int]) -> float:
    """Return the radius of the branch that a point belongs to, px: that of its centreline, not of its wall."""
    return max(float(network.radius[network.nearest(point)]), 0.5)
