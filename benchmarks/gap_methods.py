"""What is compared: the gap finder, every candidate it looks at, and simple methods on the same predictions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from contenders import HYSTERESIS, LOWER
from gap_judging import Connection, connections
from gap_planting import Mask, grown
from numpy.typing import NDArray
from skimage.filters import apply_hysteresis_threshold

from napari_vessel.completion import Gap
from napari_vessel.completion.paths import pixels_of
from napari_vessel.completion.ranking import (  # what is shown is chosen from these; all are measured here
    judge,
    piece_facts,
)
from napari_vessel.completion.scoring import scoring, sources_of
from napari_vessel.completion.search import LookedAt, look_at
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import run_job

Probability = NDArray[np.float32]

REACH = 45.0
"""Longest bridge of the geodesic method, px of DRIVE."""


@dataclass(frozen=True, eq=False, slots=True)
class Candidate:
    """A bridge the gap finder has looked at: where it runs, its chances, and what they are made of."""

    connection: Connection
    link: float
    fragment: float | None
    features: dict[str, float]

    @property
    def loop(self) -> bool:
        """Whether both ends lie on one piece."""
        return self.connection.joins[0] == self.connection.joins[1]


def of_gap(gap: Gap, shape: tuple[int, ...]) -> Connection:
    """Return a proposal as the judge reads it."""
    return Connection(pixels_of(gap.path, shape), (gap.joins[0], gap.joins[1]), gap.score)


def looked(
    mask: Mask, image: VesselImage, probability: Probability, completion: Probability | None = None
) -> LookedAt | None:
    """Look for courses as the gap finder does, missing tips too; None for a mask without vessels."""
    return run_job(look_at(mask, image, probability, completion, image.fov, tips=True))


def candidates(found: LookedAt, probability: Probability) -> list[Candidate]:
    """List every course the gap finder judges before it chooses, each once, from whichever side."""
    mask = found.network.mask
    network = found.network
    sizes = np.bincount(network.labels.ravel(), minlength=network.count + 1)
    likely = np.bincount(network.labels.ravel(), weights=probability.ravel()) / np.maximum(sizes, 1)
    judged = judge(found.drafts, network, found.evidence)
    seen: set[tuple[tuple[int, ...], ...]] = set()
    listed = []
    for one in sorted(judged, key=lambda j: -j.score):
        draft = one.draft
        path = pixels_of(draft.bridge.path, mask.shape)
        places = [tuple(path[n].tolist()) for n in (0, len(path) // 2, -1)]
        if tuple(places) in seen:
            continue
        seen |= {tuple(places), tuple(places[::-1])}
        joins = (draft.start.component, draft.goal_component)
        smaller = min(joins, key=lambda label: sizes[label])
        features = {
            **draft.seen,
            "radius": draft.bridge.radii[0],
            "radius_far": draft.bridge.radii[1],
            "trust": draft.bridge.trust[0],
            "trust_far": draft.bridge.trust[1],
            "area": float(sizes[smaller]),
            "area_larger": float(max(sizes[label] for label in joins)),
            "piece_probability": float(likely[smaller]),
        }
        listed.append(Candidate(Connection(path, joins, one.score), one.link, one.fragment, features))
    return listed


def piece_facts_of(found: LookedAt) -> dict[str, NDArray[np.float64]]:
    """Return what the fragment score knows of every piece of a mask, by name and label."""
    link = scoring(sources_of(found.evidence)).link
    links = np.asarray([link.logit(d.seen) for d in found.drafts], np.float64)
    return piece_facts(found.drafts, links, found.network, found.evidence)


def hysteresis(mask: Mask, probability: Probability, low: float = HYSTERESIS) -> Mask:
    """Add what is above a lower threshold and connected to the mask."""
    sure = np.where(mask, 1.0, np.minimum(probability, 0.999))
    return np.asarray(apply_hysteresis_threshold(sure, low, 1.0 - 1e-6), np.bool_)


def lower_threshold(mask: Mask, probability: Probability, low: float = LOWER) -> Mask:
    """Add everything above a lower threshold."""
    return np.asarray(mask | (probability >= low))


def geodesic(labels: NDArray[np.int32], probability: Probability, fov: Mask | None, scale: float) -> list[Connection]:
    """Join every piece but the largest to the one nearest to it over 1 / (probability + .02)."""
    cost = 1.0 / (probability.astype(np.float64) + 0.02)
    cost[~grown(labels > 0, REACH * scale)] = -1.0
    if fov is not None:
        cost[~fov] = -1.0
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    nearest: dict[int, tuple[float, Connection]] = {}
    for total, found in connections(labels, cost):
        if found.length > REACH * scale:
            continue
        for label in found.joins:
            if label != areas.argmax() and (label not in nearest or total < nearest[label][0]):
                nearest[label] = (total, found)
    unique = {id(found): found for _, found in nearest.values()}
    return list(unique.values())


def drawn(mask: Mask, bridges: list[Connection], width: float = 1.0) -> Mask:
    """Draw bridges into a mask."""
    lines = np.zeros(mask.shape, np.uint8)
    for bridge in bridges:
        cv2.polylines(lines, [bridge.path[:, ::-1].astype(np.int32).reshape(-1, 1, 2)], False, 1, 1)
    return mask | grown(lines > 0, width / 2.0)


def describe_pieces(
    labels: NDArray[np.int32], image: VesselImage, probability: Probability, scale: float
) -> dict[int, dict[str, float]]:
    """Measure each piece of a mask: size, how far it stands out of its surroundings, ridge strength, probability."""
    from scipy import ndimage

    from napari_vessel.completion.evidence import ridge_strength, vessel_channel

    dark = -vessel_channel(image) if image.modality.dark_vessels else vessel_channel(image)
    ridge = np.max([ridge_strength(dark, sigma * scale) for sigma in (1.0, 1.8, 3.0)], axis=0)
    measured = {}
    margin = round(6 * scale)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        wide = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in box)
        here = labels[wide] == label
        around = grown(here, 5.0 * scale) & ~grown(labels[wide] > 0, 1)
        beside = float(dark[wide][around].mean()) if around.any() else float(dark[wide].mean())
        measured[label] = {
            "size": float(here.sum()),
            "contrast": float(dark[wide][here].mean()) - beside,
            "ridge": float(ridge[wide][here].mean()),
            "probability": float(probability[wide][here].mean()),
        }
    return measured
