"""Finding gaps, and closing the good ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.belief import Opinion
from napari_vessel.completion.drawing import draw_gap
from napari_vessel.completion.gap import Gap
from napari_vessel.completion.ranking import ranked
from napari_vessel.completion.search import LookedAt, look_at
from napari_vessel.errors import InputError
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import Job, Progress, run_job

_YIELD_SECONDS = 0.1


def propose_gaps(
    mask: NDArray[np.generic],
    image: VesselImage | NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    *,
    completion: NDArray[np.floating] | None = None,
    fov: NDArray[np.bool_] | None = None,
    tips: bool = False,
    all_vessels: bool = False,
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
    tips : bool
        Whether to propose, beside what joins two vessels, where one should go on; needs an image, a probability or a
        completion.
    all_vessels : bool
        Whether every piece of the mask is a vessel, as in one that a person has drawn or cleaned: then the score is the
        chance of the link alone. A model's mask has pieces that are none.

    Returns
    -------
    list of Gap
        Best first. No two use one end of a vessel.

    Raises
    ------
    InputError
        If the arrays do not have one shape.
    """
    job = find_gaps(mask, image, probability, completion=completion, fov=fov, tips=tips, all_vessels=all_vessels)
    return run_job(job)


def find_gaps(
    mask: NDArray[np.generic],
    image: VesselImage | NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    *,
    completion: NDArray[np.floating] | None = None,
    fov: NDArray[np.bool_] | None = None,
    tips: bool = False,
    all_vessels: bool = False,
    rejected: Collection[Gap] = (),
    opinions: Sequence[Opinion] = (),
) -> Job[list[Gap]]:
    """Do as :func:`propose_gaps`, as a job that shows its progress and can be stopped.

    Parameters
    ----------
    mask, image, probability, completion, fov
        As for :func:`propose_gaps`.
    tips, all_vessels : bool
        As for :func:`propose_gaps`.
    rejected : collection of Gap
        Gaps an annotator has refused: proposals between the same two places are left out.
    opinions : sequence of Opinion
        What this annotator has decided on pieces of this or other masks.
    """
    vessel, fov = checked(mask, image, probability, completion, fov)
    found = yield from look_at(vessel, image, probability, completion, fov, tips=tips)
    return [] if found is None else (yield from proposals(found, rejected, opinions, all_vessels))


def proposals(
    found: LookedAt, rejected: Collection[Gap], opinions: Sequence[Opinion], all_vessels: bool
) -> Job[list[Gap]]:
    """List what becomes of the courses that were found, best first; the others as for :func:`find_gaps`."""
    gaps: list[Gap] = []
    last = perf_counter()
    for gap in ranked(found, rejected, opinions, all_vessels):
        gaps.append(gap)
        if perf_counter() - last > _YIELD_SECONDS:
            yield Progress(1, 1, "Ranking gaps", {"gaps": float(len(gaps))})
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
    all_vessels: bool = False,
) -> NDArray[np.bool_]:
    """Close every gap that scores at least `min_score`; returns the mask, bool, shape (Y, X), with nothing taken away.

    Parameters
    ----------
    mask, image, probability, completion, fov, all_vessels
        As for :func:`propose_gaps`.
    min_score : float
        0 to 1.
    """
    return complete_with_gaps(
        mask, image, probability, min_score=min_score, completion=completion, fov=fov, all_vessels=all_vessels
    )[0]


def complete_with_gaps(
    mask: NDArray[np.generic],
    image: VesselImage | NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    *,
    min_score: float,
    completion: NDArray[np.floating] | None = None,
    fov: NDArray[np.bool_] | None = None,
    all_vessels: bool = False,
) -> tuple[NDArray[np.bool_], list[Gap]]:
    """Do as :func:`complete`, and return the gaps that were closed, best first, beside the mask."""
    if not 0.0 <= min_score <= 1.0:
        raise InputError(f"The least score is {min_score}; give a number from 0 to 1.")
    found = propose_gaps(mask, image, probability, completion=completion, fov=fov, all_vessels=all_vessels)
    accepted = [gap for gap in found if gap.score >= min_score]
    closed: NDArray[np.bool_] = np.array(mask != 0)
    for gap in accepted:
        (y, x), patch = draw_gap(gap, (closed.shape[0], closed.shape[1]))
        closed[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
    return closed, accepted


def checked(
    mask: NDArray[np.generic],
    image: VesselImage | NDArray[np.generic] | None,
    probability: NDArray[np.floating] | None,
    completion: NDArray[np.floating] | None,
    fov: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Return a mask's vessels and the field of view, the image's own when none is given.

    Raises
    ------
    InputError
        If the arrays do not have one shape, or hold what they cannot.
    """
    if mask.dtype.kind == "f" and not bool(np.isfinite(mask).all()):
        raise InputError("The mask has values that are not numbers; replace them with 0.")
    vessel = np.ascontiguousarray(mask != 0)
    if vessel.ndim != 2:
        raise InputError(f"A mask has two axes, this one has {vessel.ndim}; give one plane at a time.")
    if fov is None and isinstance(image, VesselImage):
        fov = image.fov
    _check_inputs(vessel, image, probability, completion, fov)
    return vessel, fov


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
