"""Finding gaps, and closing the good ones."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from math import hypot
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network, analyse, starts
from napari_vessel.completion.drafts import Draft, drafts_from
from napari_vessel.completion.drawing import draw_gap, draw_path
from napari_vessel.completion.drawn import drafts_of_pieces
from napari_vessel.completion.evidence import Evidence, gather_evidence
from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind
from napari_vessel.completion.paths import length_of, pixels_of
from napari_vessel.completion.scoring import judge
from napari_vessel.errors import InputError
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import Job, Progress, run_job

LEAST_SCORE = 0.1
"""Proposals below this score are not shown: an annotator would only press the same key again and again."""

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
    for found in gather_evidence(image, probability, vessel, network.skeleton, network.calibre, inside, completion):
        evidence = found
        yield Progress(0.0, None, "Looking at the image")
    begun = starts(network, inside)
    drafts: list[Draft] = []
    last = perf_counter()
    for number, start in enumerate(begun):
        drafts.extend(drafts_from(start, network, evidence, fov))
        if perf_counter() - last > _YIELD_SECONDS:
            yield Progress(number + 1, len(begun), "Looking for gaps", {"candidates": float(len(drafts))})
            last = perf_counter()
    if evidence is not None and evidence.completion is not None:
        found_ones = [draft for draft in drafts if draft.score >= LEAST_SCORE]
        for piece in drafts_of_pieces(network, evidence, fov):
            if piece is not None and not any(_same_course(piece, draft, network) for draft in found_ones):
                drafts.append(piece)
            if piece is None or perf_counter() - last > _YIELD_SECONDS:
                yield Progress(len(begun), len(begun), "Following completions", {"candidates": float(len(drafts))})
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


def _same_course(piece: Draft, bridge: Draft, network: Network) -> bool:
    """Tell whether a bridge joins what a piece of a completion map joins."""
    if len(piece.own_ends) == 2 and piece.own_ends == bridge.own_ends:
        return True
    near = max(piece.bridge.width, network.calibre, 2.0)
    return _same_places(piece.bridge.path, (bridge.bridge.path[0], bridge.bridge.path[-1]), near)


def _exclusive(drafts: list[Draft], network: Network, rejected: Collection[Gap]) -> Iterator[Draft]:
    """Best first, each end of a vessel once, and no two that cross or join the same two places."""
    used: dict[int, int] = {}
    spots: set[int] = set()
    height, width = network.mask.shape
    taken = np.zeros((height, width), np.int32)
    refused = [(gap.path[0], gap.path[-1]) for gap in rejected if len(gap.path)]
    places: list[tuple[NDArray[np.floating], NDArray[np.floating]]] = []
    for draft in sorted(drafts, key=lambda d: (-d.score, d.start.point, d.goal)):
        if draft.score < LEAST_SCORE:
            return
        # One piece of a completion map may join three vessels, by two ways that share a stretch and an end.
        owner = draft.piece or -1
        spot = draft.start.end < 0 and not draft.piece
        if any(used.get(end, draft.piece) != draft.piece for end in draft.own_ends):
            continue
        if spot and draft.start.component in spots:
            continue
        path = draft.bridge.path
        near = max(draft.bridge.width, network.calibre, 2.0)
        if any(_same_places(path, place, near) for place in [*places, *refused]):
            continue
        y, x = pixels_of(path, taken.shape).T
        owners = taken[y, x]
        if ((owners != 0) & (owners != draft.piece)).any():
            continue
        used.update(dict.fromkeys(draft.own_ends, owner))
        if spot:
            spots.add(draft.start.component)
        places.append((path[0], path[-1]))
        # Drawn 8-connected, two paths can cross without sharing a pixel; a cross at every step cannot be missed.
        for dy, dx in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
            taken[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)] = owner
        yield draft


def _same_places(
    path: NDArray[np.floating], places: tuple[NDArray[np.floating], NDArray[np.floating]], near: float
) -> bool:
    first, last = places
    return any(
        hypot(a[0] - first[0], a[1] - first[1]) <= near and hypot(b[0] - last[0], b[1] - last[1]) <= near
        for a, b in ((path[0], path[-1]), (path[-1], path[0]))
    )


def _finished(draft: Draft, network: Network) -> Gap | None:
    """Make the proposal, thin enough to touch only the two vessels it joins; None when even a line touches a third."""
    bridge = draft.bridge
    path = bridge.path.astype(np.float32)
    share = np.linspace(0.0, 1.0, len(path))
    near, far = bridge.radii if bridge.to_end else (bridge.radii[0], min(bridge.radii))
    widths = 2.0 * ((1.0 - share) * near + share * far) if draft.widths is None else draft.widths
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
    kind = GapKind.VIG if draft.piece else GapKind.BRIDGE
    return Gap(
        id=gap_id(own, anchor, kind),
        kind=kind,
        ends=ends,
        path=path,
        widths=drawn,
        score=score,
        reasons=reasons,
        effect=effect,
        completion=draft.seen.get("completion"),
    )


def gap_id(first: tuple[int, int], second: tuple[int, int], kind: GapKind = GapKind.BRIDGE) -> str:
    """Name the gap between two centreline pixels (y, x), the same from either side."""
    (a, b), (c, d) = sorted([first, second])
    return kind.value[0] + hashlib.blake2b(f"{a},{b},{c},{d}".encode(), digest_size=6).hexdigest()


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
