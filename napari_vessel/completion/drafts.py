"""Courses between vessels, each judged, before they are checked against their rivals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network, Start, end_reach, targets, trust_of
from napari_vessel.completion.evidence import Evidence
from napari_vessel.completion.paths import Router, cheaper, curve, pixels_of, trim
from napari_vessel.completion.scoring import Bridge, judge, observe

# Score by shape alone under which no picture makes a bridge likely.
_HOPELESS = 0.08

# Candidates of one end that get a course through the image; the others keep the one their shape suggests.
_ROUTED = 2


@dataclass(frozen=True, eq=False, slots=True)
class Draft:
    """A judged course, not yet checked against its rivals.

    Attributes
    ----------
    start : Start
        Where it begins.
    goal : tuple of int
        (y, x) of the pixel it was to lead to.
    goal_end : int
        Index into ``Network.ends`` of the end it leads to; -1 for the middle of a branch.
    goal_component : int
        Label of the component it leads to.
    bridge : Bridge
        Its course.
    score : float
        0 to 1.
    seen : dict of str to float
        What the score is made of.
    piece : int
        Number, from 1, of the piece of a completion map that it runs along; 0 for a bridge between paired ends.
    widths : ndarray of float32, shape (N,), or None
        Diameter of that piece at each path point, px; None for a bridge.
    """

    start: Start
    goal: tuple[int, int]
    goal_end: int
    goal_component: int
    bridge: Bridge
    score: float
    seen: dict[str, float]
    piece: int = 0
    widths: NDArray[np.float32] | None = None

    @property
    def own_ends(self) -> set[int]:
        """Indices into ``Network.ends`` of the ends that it uses up."""
        return {self.start.end, self.goal_end} - {-1}


def drafts_from(
    start: Start, network: Network, evidence: Evidence | None, fov: NDArray[np.bool_] | None
) -> Iterator[Draft]:
    """Draw and judge courses from one start to each of its goals that is worth a look."""
    goals = targets(network, start)
    if not goals:
        return
    tangent = start.tangent if start.trust > 0.5 else None
    at_home = partial(_on_own_branch, network, start)
    courses = []
    for goal in goals:
        far = end_near(network, goal, start.end)
        landing = network.ends[far].root if far >= 0 else goal
        back = network.ends[far].tangent if far >= 0 else None
        plain = curve(np.asarray(start.point, np.float64), tangent, np.asarray(landing, np.float64), back)
        course = trim(plain, network.labels, start.component, at_home)
        # A course through the image takes most of the time: spare it where direction and width forbid the bridge.
        fit = _HOPELESS if course is None else judged(network, start, goal, course, None).score
        if fit >= _HOPELESS:
            courses.append((fit, goal, course))
    router = None
    if evidence is not None and courses:
        margin = 2.0 * network.calibre + 2.0
        courses.sort(key=lambda item: -item[0])
        places = [goal for _, goal, _ in courses[:_ROUTED]]
        router = Router(evidence.support, network.mask, start.point, tangent, places, margin)
    met: set[tuple[int, int]] = set()
    for rank, (_, goal, course) in enumerate(courses):
        if router is not None and evidence is not None and rank < _ROUTED:
            routed = trim(router.path(goal), network.labels, start.component, at_home)
            if routed is not None and (course is None or cheaper(routed[0], course[0], evidence.support)):
                course = routed
        if course is None or (fov is not None and not fov[tuple(pixels_of(course[0], fov.shape).T)].all()):
            continue
        draft = judged(network, start, goal, course, evidence)
        y, x = (int(v) for v in draft.bridge.path[-1])
        key = (draft.goal_component, draft.goal_end) if draft.goal_end >= 0 else (y // 3, x // 3)
        if key not in met:
            met.add(key)
            yield draft


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


def judged(
    network: Network,
    start: Start,
    goal: tuple[int, int],
    course: tuple[NDArray[np.float64], int],
    evidence: Evidence | None,
    *,
    piece: int = 0,
    widths: NDArray[np.float32] | None = None,
) -> Draft:
    """Judge one course, a path and the component it leads to; `piece` and `widths` as in :class:`Draft`."""
    path, component = course
    far = end_near(network, (int(path[-1][0]), int(path[-1][1])), start.end)
    if far >= 0:
        end = network.ends[far]
        back, radius, trust = end.tangent, end.radius, trust_of(end)
    else:
        back, radius, trust = None, radius_at(network, path[-1]), 0.0
    bridge = Bridge(
        path=path,
        out=start.tangent,
        back=back,
        trust=(start.trust, trust),
        radii=(start.radius, radius),
        to_end=far >= 0,
        loop=component == start.component,
        smaller_px=float(min(network.lengths[component], network.lengths[start.component])),
        calibre=network.calibre,
        from_side=widths is not None and start.end < 0,
        drawn=None if widths is None else float(widths.mean()),
    )
    seen = observe(bridge, evidence)
    return Draft(start, goal, far, component, bridge, judge(seen, bridge)[0], seen, piece, widths)


def radius_at(network: Network, point: NDArray[np.floating] | tuple[int, int]) -> float:
    """Return the radius of the branch that a point belongs to, px: that of its centreline, not of its wall."""
    _, nearest = network.tree.query(point)
    y, x = network.pixels[nearest]
    return max(float(network.radius[y, x]), 0.5)
