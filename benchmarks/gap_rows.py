"""What there is to learn from in one image: every course, piece and tip, with what both observers say of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gap_image import Sample
from gap_judging import TOLERANCE, Connection, Judge
from gap_planting import Mask, Planter, erase_from_image, grown, without

from napari_vessel.completion.paths import pixels_of
from napari_vessel.completion.pieces import observe_pieces
from napari_vessel.completion.search import look_at
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import run_job

ALONG_TIP = 0.8
"""Share of a tip that has to run along an observer's vessel."""

Rows = dict[str, Any]


def rows_of(
    mask: Mask,
    sample: Sample,
    image: VesselImage | None,
    probability: np.ndarray | None,
    completion: np.ndarray | None,
) -> Rows | None:
    """Return every course, every piece and every tip of a mask, judged; None for a mask without vessels.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        With breaks.
    sample : Sample
        The observers' vessels.
    image, probability, completion
        What the finder may look at.
    """
    found = run_job(look_at(mask, image, probability, completion, sample.image.fov, tips=True))
    if found is None:
        return None
    labels = found.network.labels
    first, second = (Judge(truth, labels, sample.scale) for truth in (sample.first, sample.second))
    links = []
    for draft in found.drafts:
        joins = (draft.start.component, draft.goal_component)
        course = Connection(pixels_of(draft.bridge.path, mask.shape), joins)
        links.append(
            {
                "seen": {name: round(value, 5) for name, value in draft.seen.items()},
                "joins": joins,
                "first": first.right(course),
                "second": second.right(course),
                "on_vessels": first.on_vessel(course) and second.on_vessel(course),
            }
        )
    facts = observe_pieces(found.network, found.evidence)
    areas = np.maximum(np.bincount(labels.ravel(), minlength=found.network.count + 1), 1)
    shares = [
        np.bincount(labels[grown(truth, 1.0)].ravel(), minlength=found.network.count + 1) / areas
        for truth in (sample.first, sample.second)
    ]
    pieces = [
        {
            "facts": {name: round(float(column[label]), 5) for name, column in facts.items()},
            "label": label,
            "first": bool(shares[0][label] >= 0.5),
            "second": bool(shares[1][label] >= 0.5),
        }
        for label in range(1, found.network.count + 1)
    ]
    near = [grown(truth, TOLERANCE * sample.scale) for truth in (sample.first, sample.second)]
    tips = []
    for draft in found.tips:
        y, x = pixels_of(draft.bridge.path, mask.shape).T
        first, second = (bool(truth[y, x].mean() >= ALONG_TIP) for truth in near)
        seen = {name: round(value, 5) for name, value in draft.seen.items()}
        tips.append({"seen": seen, "first": first, "second": second})
    return {"links": links, "pieces": pieces, "tips": tips}


def planted_in(sample: Sample, number: int, each: int) -> tuple[Mask, VesselImage]:
    """Plant gaps in the first observer's vessels; returns the broken mask, and the image with them erased."""
    rng = sample.rng(number)
    gaps = Planter(sample.first, sample.scale).plant(rng, each)
    pixels = erase_from_image(sample.image.pixels, sample.first, gaps, sample.scale, rng)
    image = VesselImage(pixels, sample.image.fov, sample.image.modality, name=f"{sample.name}, planted {number}")
    return without(sample.first, gaps), image
