"""Finding gaps, and closing the good ones."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from math import hypot
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network, Start, analyse, end_reach, starts, targets
from napari_vessel.completion.drawing import draw_gap, draw_path
from napari_vessel.completion.evidence import Evidence, gather_evidence
from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind
from napari_vessel.completion.paths import Router, cheaper, curve, length_of, pixels_of, trim
from napari_vessel.completion.scoring import Bridge, judge, observe
from napari_vessel.errors import InputError
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import Job, Progress, run_job

LEAST_SCORE = 0.1
"""Proposals below this score are not shown: an annotator would only press the same key again and again."""

# Score by shape alone under which no picture makes a bridge likely.
_HOPELESS = 0.08

# Candidates of one end that get a course through the image; the others keep the one their shape suggests.
_ROUTED = 2

_YIELD_SECONDS = 0.1


def propose_gaps(
    mask: NDArray[np.generic],
    image: VesselImage | NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    *,
    completion: NDArray[np.floating] | None = None,
    fov: NDArray[np.bool_] | None = None,
) -> list[Gap]:
    """Find the breaks of a vessel mask and propose a completion for each.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel.
    image : VesselImage or ndarray, shape (Y, X) or (Y, X, 3), optional
        The picture; of a plain colour array the green channel is used.
    probability : ndarray, shape (Y, X), optional
        Probability of vessel, 0 to 1.
    completion : ndarray, shape (Y, X), optional
        A completion network's probability of vessel, 0 to 1: where it sees one even across breaks.
    fov : ndarray of bool, shape (Y, X), optional
        Field of view; the image's own when not given.

    Returns
    -------
    list of Gap
        Best first. No two use one end of a vessel.

    Raises
    ------
    InputError
        If the arrays do not have one shape.
    """
    return run_job(find_gaps(mask, image, probability, completion=completion, fov=fov))


def find_gaps(
    mask: NDArray[np.generic],
    image: VesselImage | NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    *,
    completion: NDArray[np.floating] | None = None,
    fov: NDArray[np.bool_] | None = None,
    rejected: Collection[Gap] = (),
) -> Job[list[Gap]]:
    """Do as :func:`propose_gaps`, as a job that shows its progress and can be stopped.

    Parameters
    ----------
    mask, image, probability, completion, fov
        As for :func:`propose_gaps`.
    rejected : collection of Gap
        Gaps an annotator has refused: proposals between the same two places are left out.
    """
    if mask.dtype.kind == "f" and not bool(np.isfinite(mask).all()):
        raise InputError("The mask has values that are not numbers; replace them with 0.")
    vessel = np.ascontiguousarray(mask != 0)
    if vessel.ndim != 2:
        raise InputError(f"A mask has two axes, this one has {vessel.ndim}; give one plane at a time.")
    if fov is None and isinstance(image, VesselImage):
        fov = image.fov
    _check_inputs(vessel, image, probability, completion, fov)
    yield Progress(0.0, None, "Looking at the mask")
    network: Network | None = None
    for state in analyse(vessel):
        network = state
        yield Progress(0.0, None, "Following centrelines")
    if network is None:
        return []
    inside = None if fov is None else _shrunk(fov, network.calibre)
    evidence: Evidence | None = None
    for found in gather_evidence(image, probability, vessel, network.skeleton, network.calibre, inside):
        evidence = found
        yield Progress(0.0, None, "Looking at the image")
    begun = starts(network, inside)
    drafts: list[_Draft] = []
    last = perf_counter()
    for number, start in enumerate(begun):
        drafts.extend(_drafts(network, start, evidence, fov))
        if perf_counter() - last > _YIELD_SECONDS:
            yield Progress(number + 1, len(begun), "Looking for gaps", {"candidates": float(len(drafts))})
            last = perf_counter()
    gaps: list[Gap] = []
    for draft in _exclusive(drafts, network, rejected):
        gap = _finished(draft, network)
        if gap is not None:
            gaps.append(gap)
        if perf_counter() - last > _YIELD_SECONDS:
            yield Progress(len(begun), len(begun), "Ranking gaps", {"gaps": float(len(gaps))})
            last = perf_counter()
    return gaps


def complete(
    mask: NDArray[np.generic],
    image: VesselImage | NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    *,
    min_score: float,
    completion: NDArray[np.floating] | None = None,
    fov: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Close every gap that scores at least `min_score`; returns the mask, bool, shape (Y, X), with nothing taken away.

    Parameters
    ----------
    mask, image, probability, completion, fov
        As for :func:`propose_gaps`.
    min_score : float
        0 to 1.
    """
    return complete_with_gaps(mask, image, probability, min_score=min_score, completion=completion, fov=fov)[0]


def complete_with_gaps(
    mask: NDArray[np.generic],
    image: VesselImage | NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    *,
    min_score: float,
    completion: NDArray[np.floating] | None = None,
    fov: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], list[Gap]]:
    """Do as :func:`complete`, and return the gaps that were closed, best first, beside the mask."""
    if not 0.0 <= min_score <= 1.0:
        raise InputError(f"The least score is {min_score}; give a number from 0 to 1.")
    found = propose_gaps(mask, image, probability, completion=completion, fov=fov)
    accepted = [gap for gap in found if gap.score >= min_score]
    closed: NDArray[np.bool_] = np.array(mask != 0)
    for gap in accepted:
        (y, x), patch = draw_gap(gap, (closed.shape[0], closed.shape[1]))
        closed[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
    return closed, accepted


@dataclass(frozen=True, eq=False, slots=True)
class _Draft:
    """A judged course, not yet checked against its rivals."""

    start: Start
    goal: tuple[int, int]
    goal_end: int
    goal_component: int
    bridge: Bridge
    score: float
    seen: dict[str, float]


def _check_inputs(
    vessel: NDArray[np.bool_],
    image: VesselImage | NDArray[np.generic] | None,
    probability: NDArray[np.floating] | None,
    completion: NDArray[np.floating] | None,
    fov: NDArray[np.bool_] | None,
) -> None:
    others = {
        "image": None if image is None else tuple(image.shape[:2]),
        "probability": None if probability is None else tuple(probability.shape),
        "completion": None if completion is None else tuple(completion.shape),
        "field of view": None if fov is None else tuple(fov.shape),
    }
    for name, shape in others.items():
        if shape is not None and shape != vessel.shape:
            raise InputError(
                f"The {name} is {' x '.join(map(str, shape))} pixels and the mask "
                f"{' x '.join(map(str, vessel.shape))}; give files of one size."
            )
    for name, field in (("probability", probability), ("completion", completion)):
        # A NaN fails both comparisons.
        if field is not None and not bool(((field >= 0) & (field <= 1)).all()):
            raise InputError(f"The {name} has values outside 0 to 1; divide 8-bit values by 255.")


def _shrunk(fov: NDArray[np.bool_], calibre: float) -> NDArray[np.bool_]:
    """Leave a calibre out along the border of the field of view: vessels fade and end there."""
    import cv2

    size = 2 * int(np.ceil(calibre)) + 3
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    eroded = cv2.erode(np.ascontiguousarray(fov).view(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(eroded > 0)


def _drafts(
    network: Network, start: Start, evidence: Evidence | None, fov: NDArray[np.bool_] | None
) -> Iterator[_Draft]:
    goals = targets(network, start)
    if not goals:
        return
    tangent = start.tangent if start.trust > 0.5 else None
    at_home = partial(_on_own_branch, network, start)
    courses = []
    for goal in goals:
        far = _end_near(network, goal, start)
        landing = network.ends[far].root if far >= 0 else goal
        back = network.ends[far].tangent if far >= 0 else None
        plain = curve(np.asarray(start.point, np.float64), tangent, np.asarray(landing, np.float64), back)
        course = trim(plain, network.labels, start.component, at_home)
        # A course through the image takes most of the time: spare it where direction and width forbid the bridge.
        fit = _HOPELESS if course is None else _judged(network, start, goal, course, None).score
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
        draft = _judged(network, start, goal, course, evidence)
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


def _end_near(network: Network, point: tuple[int, int], start: Start) -> int:
    """Return the index of the vessel end that a point belongs to, or -1 for the middle of a branch."""
    if network.end_tree is None:
        return -1
    best, nearest = -1, np.inf
    for index in network.end_tree.query_ball_point(point, network.end_reach):
        end = network.ends[index]
        away = float(np.hypot(end.point[0] - point[0], end.point[1] - point[1]))
        if (
            index != start.end
            and away <= end_reach(end.radius)
            and away < nearest
            and network.labels[point] == end.component
        ):
            best, nearest = int(index), away
    return best


def _judged(
    network: Network,
    start: Start,
    goal: tuple[int, int],
    course: tuple[NDArray[np.float64], int],
    evidence: Evidence | None,
) -> _Draft:
    path, component = course
    far = _end_near(network, (int(path[-1][0]), int(path[-1][1])), start)
    if far >= 0:
        end = network.ends[far]
        length = float(np.hypot(*(end.branch[0] - end.branch[-1])))
        back, radius, trust = end.tangent, end.radius, min(1.0, length / (3.0 * end.radius + 3.0))
    else:
        # The branch's radius, not that of the wall the path lands on.
        _, nearest = network.tree.query(path[-1])
        y, x = network.pixels[nearest]
        back, radius, trust = None, max(float(network.radius[y, x]), 0.5), 0.0
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
    )
    seen = observe(bridge, evidence)
    return _Draft(start, goal, far, component, bridge, judge(seen, bridge)[0], seen)


def _exclusive(drafts: list[_Draft], network: Network, rejected: Collection[Gap]) -> Iterator[_Draft]:
    """Best first, each end of a vessel once, and no two that cross or join the same two places."""
    used: set[int] = set()
    spots: set[int] = set()
    height, width = network.mask.shape
    taken = np.zeros((height, width), np.bool_)
    refused = [(gap.path[0], gap.path[-1]) for gap in rejected if len(gap.path)]
    places: list[tuple[NDArray[np.floating], NDArray[np.floating]]] = []
    for draft in sorted(drafts, key=lambda d: (-d.score, d.start.point, d.goal)):
        if draft.score < LEAST_SCORE:
            return
        own = {draft.start.end, draft.goal_end} - {-1}
        if own & used or (draft.start.end < 0 and draft.start.component in spots):
            continue
        path = draft.bridge.path
        near = max(draft.bridge.width, network.calibre, 2.0)
        if any(_same_places(path, place, near) for place in [*places, *refused]):
            continue
        y, x = pixels_of(path, taken.shape).T
        if taken[y, x].any():
            continue
        used |= own
        if draft.start.end < 0:
            spots.add(draft.start.component)
        places.append((path[0], path[-1]))
        # Drawn 8-connected, two paths can cross without sharing a pixel; a cross at every step cannot be missed.
        for dy, dx in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
            taken[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)] = True
        yield draft


def _same_places(
    path: NDArray[np.floating], places: tuple[NDArray[np.floating], NDArray[np.floating]], near: float
) -> bool:
    first, last = places
    return any(
        hypot(a[0] - first[0], a[1] - first[1]) <= near and hypot(b[0] - last[0], b[1] - last[1]) <= near
        for a, b in ((path[0], path[-1]), (path[-1], path[0]))
    )


def _finished(draft: _Draft, network: Network) -> Gap | None:
    """Make the proposal, thin enough to touch only the two vessels it joins; None when even a line touches a third."""
    bridge = draft.bridge
    path = bridge.path.astype(np.float32)
    share = np.linspace(0.0, 1.0, len(path))
    near, far = bridge.radii if bridge.to_end else (bridge.radii[0], min(bridge.radii))
    widths = 2.0 * ((1.0 - share) * near + share * far)
    joined = {draft.start.component, draft.goal_component}
    for widest in (np.inf, 3.0, 1.0):
        drawn = np.minimum(widths, widest).astype(np.float32)
        if _touched(path, drawn, network.labels) <= joined:
            break
    else:
        return None
    score, reasons = judge(draft.seen, bridge)
    ends = (
        GapEnd(draft.start.component, _point(path[0]), draft.start.tangent, near, draft.start.end >= 0),
        GapEnd(draft.goal_component, _point(path[-1]), bridge.back, far, bridge.to_end),
    )
    effect = Effect(
        components_before=network.count,
        components_after=network.count - (len(joined) - 1),
        centreline_px=length_of(path),
        connected_px=0.0 if bridge.loop else bridge.smaller_px,
        cycles=int(bridge.loop),
    )
    anchor = network.ends[draft.goal_end].point if draft.goal_end >= 0 else draft.goal
    own = network.ends[draft.start.end].point if draft.start.end >= 0 else draft.start.point
    return Gap(
        id=gap_id(own, anchor),
        kind=GapKind.BRIDGE,
        ends=ends,
        path=path,
        widths=drawn,
        score=score,
        reasons=reasons,
        effect=effect,
    )


def gap_id(first: tuple[int, int], second: tuple[int, int]) -> str:
    """Name the gap between two centreline pixels (y, x), the same from either side."""
    (a, b), (c, d) = sorted([first, second])
    return "b" + hashlib.blake2b(f"{a},{b},{c},{d}".encode(), digest_size=6).hexdigest()


def _point(point: NDArray[np.float32]) -> tuple[float, float]:
    return (float(point[0]), float(point[1]))


def _touched(path: NDArray[np.float32], widths: NDArray[np.float32], labels: NDArray[np.int32]) -> set[int]:
    """Return the components that a drawing would merge: those under it and 8-adjacent to it."""
    import cv2

    (y, x), patch = draw_path(path, widths, (labels.shape[0], labels.shape[1]))
    top, left = min(y, 1), min(x, 1)
    view = labels[y - top : y + patch.shape[0] + 1, x - left : x + patch.shape[1] + 1]
    bottom, right = view.shape[0] - patch.shape[0] - top, view.shape[1] - patch.shape[1] - left
    grown = cv2.dilate(np.pad(patch, ((top, bottom), (left, right))).view(np.uint8), np.ones((3, 3), np.uint8))
    return set(np.unique(view[grown > 0]).tolist()) - {0}
