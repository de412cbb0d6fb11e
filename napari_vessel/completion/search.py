"""Looking for courses between vessels, as a job: the mask taken apart, the evidence gathered, every course drawn."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network, analyse, starts
from napari_vessel.completion.drafts import Draft, drafts_from
from napari_vessel.completion.drawn import drafts_of_pieces
from napari_vessel.completion.evidence import Evidence, gather_evidence
from napari_vessel.completion.paths import field_of
from napari_vessel.completion.tips import drafts_of_tips
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import Job, Progress

_YIELD_SECONDS = 0.1


@dataclass(frozen=True, eq=False, slots=True)
class LookedAt:
    """A mask taken apart, what there is to look at, every course between vessels, and every one beyond their tips."""

    network: Network
    evidence: Evidence | None
    drafts: list[Draft]
    tips: list[Draft]


def look_at(
    vessel: NDArray[np.bool_],
    image: VesselImage | NDArray[np.generic] | None,
    probability: NDArray[np.floating] | None,
    completion: NDArray[np.floating] | None,
    fov: NDArray[np.bool_] | None,
    *,
    tips: bool = False,
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
    """
    network = yield from take_apart(vessel)
    if network is None:
        return None
    inside = None if fov is None else without_border(fov, network.calibre)
    evidence = yield from gather(network, image, probability, completion, inside)
    field = None if evidence is None else field_of(evidence.support, network.branches, network.calibre)
    begun = starts(network, inside)
    drafts: list[Draft] = []
    last = perf_counter()
    for number, start in enumerate(begun):
        drafts.extend(drafts_from(start, network, evidence, field, fov))
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
    return LookedAt(network, evidence, drafts, beyond)


def take_apart(vessel: NDArray[np.bool_]) -> Job[Network | None]:
    """Take a mask apart; None for one without vessels."""
    yield Progress(0.0, None, "Looking at the mask")
    network: Network | None = None
    for state in analyse(vessel):
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
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    eroded = cv2.erode(np.ascontiguousarray(fov).view(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(eroded > 0)
