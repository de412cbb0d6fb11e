"""Looking for courses between vessels, as a job: the mask taken apart, the evidence gathered, every course drawn."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network, Start, analyse, starts
from napari_vessel.completion.drafts import Draft, drafts_from
from napari_vessel.completion.drawn import drafts_of_pieces
from napari_vessel.completion.evidence import Evidence, gather_evidence
from napari_vessel.completion.gap import Gap
from napari_vessel.completion.paths import Field, field_of
from napari_vessel.completion.pieces import PieceCounts
from napari_vessel.completion.reads import Box
from napari_vessel.completion.tips import drafts_of_tips
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import Job, Progress

_YIELD_SECONDS = 0.1

_WIDEST_KERNEL = 127


@dataclass(frozen=True, eq=False, slots=True)
class Kept:
    """What was found from one start.

    Attributes
    ----------
    start : Start
        Where from.
    drafts : list of Draft
        The courses.
    box : tuple of int
        (y0, x0, y1, x1), half open: while nothing changes in there, the same is found again.
    """

    start: Start
    drafts: list[Draft]
    box: Box


@dataclass(eq=False, slots=True)
class Known:
    """What has been worked out of courses and pieces, and need not be again.

    Attributes
    ----------
    counts : PieceCounts or None
        What was counted of the mask's pieces.
    links : dict of Draft to float
        Log-odds that a course links one vessel.
    gaps : dict of Draft to tuple
        For each course that became a proposal what it was judged to be, and the proposal.
    """

    counts: PieceCounts | None = None
    links: dict[Draft, float] = dataclass_field(default_factory=dict)
    gaps: dict[Draft, tuple[Any, Gap | None]] = dataclass_field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class LookedAt:
    """A mask taken apart, what there is to look at, every course between vessels, and every one beyond their tips.

    Attributes
    ----------
    network : Network
        The mask.
    evidence : Evidence or None
        What there is to look at.
    drafts, tips : list of Draft
        Courses between vessels; beyond their tips.
    field : Field or None
        What ways through the evidence cost.
    inside : ndarray of bool, shape (Y, X), or None
        Field of view, its border left out.
    kept : list of Kept
        From which start the first of the courses come.
    known : Known
        What has been worked out of them already.
    """

    network: Network
    evidence: Evidence | None
    drafts: list[Draft]
    tips: list[Draft]
    field: Field | None = None
    inside: NDArray[np.bool_] | None = None
    kept: list[Kept] = dataclass_field(default_factory=list)
    known: Known = dataclass_field(default_factory=Known)


def look_at(
    vessel: NDArray[np.bool_],
    image: VesselImage | NDArray[np.generic] | None,
    probability: NDArray[np.floating] | None,
    completion: NDArray[np.floating] | None,
    fov: NDArray[np.bool_] | None,
    *,
    tips: bool = False,
    like: LookedAt | None = None,
) -> Job[LookedAt | None]:
    """Draw every course between vessels that is worth judging; None for a mask without vessels.

    Parameters
    ----------
    vessel : ndarray of bool, shape (Y, X)
        The mask.
    image, probability, completion, fov
        As for :func:`~napari_vessel.completion.propose_gaps`, and of the mask's shape.
    tips : bool
        Whether to look for missing tips too.
    like : LookedAt, optional
        An earlier look at the same image: calibre and evidence are taken from it, not from this mask.
    """
    network = yield from take_apart(vessel, None if like is None else like.network.calibre)
    if network is None:
        return None
    if like is None:
        inside = None if fov is None else without_border(fov, network.calibre)
        evidence = yield from gather(network, image, probability, completion, inside)
    else:
        inside, evidence = like.inside, like.evidence
    field = None if evidence is None else field_of(evidence.support, network.branches, network.calibre)
    begun = starts(network, inside)
    drafts: list[Draft] = []
    kept: list[Kept] = []
    last = perf_counter()
    for number, start in enumerate(begun):
        kept.append(looked_from(start, network, evidence, field, fov))
        drafts.extend(kept[-1].drafts)
        if perf_counter() - last > _YIELD_SECONDS:
            yield Progress(number + 1, len(begun), "Looking for gaps", {"candidates": float(len(drafts))})
            last = perf_counter()
    beyond: list[Draft] = []
    sources = []
    if evidence is not None and evidence.completion is not None:
        sources.append((drafts, drafts_of_pieces(network, evidence, fov), "Following completions"))
    if evidence is not None and tips:
        sources.append((beyond, drafts_of_tips(network, evidence, fov), "Looking for missing tips"))
    for found, pieces, words in sources:
        for piece in pieces:
            if piece is not None:
                found.append(piece)
            if piece is None or perf_counter() - last > _YIELD_SECONDS:
                yield Progress(len(begun), len(begun), words, {"candidates": float(len(found))})
                last = perf_counter()
    return LookedAt(network, evidence, drafts, beyond, field, inside, kept)


def looked_from(
    start: Start, network: Network, evidence: Evidence | None, field: Field | None, fov: NDArray[np.bool_] | None
) -> Kept:
    """Draw the courses from one start, as :func:`~napari_vessel.completion.drafts.drafts_from` does."""
    network.reads.take()
    network.reads.note(start.point, start.point)
    drafts = list(drafts_from(start, network, evidence, field, fov))
    return Kept(start, drafts, network.reads.take())


def take_apart(vessel: NDArray[np.bool_], calibre: float | None = None) -> Job[Network | None]:
    """Take a mask apart, with its own median calibre or another, px; None for one without vessels."""
    yield Progress(0.0, None, "Looking at the mask")
    network: Network | None = None
    for state in analyse(vessel, calibre):
        network = state
        yield Progress(0.0, None, "Following centrelines")
    return network


def gather(
    network: Network,
    image: VesselImage | NDArray[np.generic] | None,
    probability: NDArray[np.floating] | None,
    completion: NDArray[np.floating] | None,
    inside: NDArray[np.bool_] | None,
) -> Job[Evidence | None]:
    """Gather what there is to look at; `inside` is the field of view, its border left out."""
    evidence: Evidence | None = None
    for seen in gather_evidence(
        image, probability, network.mask, network.skeleton, network.calibre, inside, completion
    ):
        evidence = seen
        yield Progress(0.0, None, "Looking at the image")
    return evidence


def without_border(fov: NDArray[np.bool_], calibre: float) -> NDArray[np.bool_]:
    """Leave a calibre out along the border of the field of view: vessels fade and end there."""
    import cv2

    size = 2 * int(np.ceil(calibre)) + 3
    if size > _WIDEST_KERNEL:
        # Of a mask that is nearly all vessel, which is as wide as the image: eroding by such a kernel takes hours.
        deep = cv2.distanceTransform(np.ascontiguousarray(fov).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(deep > size // 2)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    eroded = cv2.erode(np.ascontiguousarray(fov).view(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(eroded > 0)
