"""Everything that is measured on one image, as plain records; the tables are made from those of all images."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from contenders import closing
from gap_completion import CUT as DRAWN
from gap_judging import TOLERANCE, Connection, Judge, NaturalGap, bridges_of, dice_in_gap, planted_closed
from gap_methods import (
    Candidate,
    Probability,
    candidates,
    describe_pieces,
    drawn,
    geodesic,
    hysteresis,
    looked,
    lower_threshold,
    of_gap,
    piece_facts_of,
)
from gap_planting import (
    Mask,
    Planted,
    Planter,
    erase_from_image,
    grown,
    plant_false_bridges,
    without,
)
from scipy import ndimage

from napari_vessel.completion import Gap, GapKind, cut_gap, draw_gap, propose_cuts
from napari_vessel.completion.paths import pixels_of
from napari_vessel.completion.ranking import ranked
from napari_vessel.completion.search import LookedAt, look_at
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.preparation import field_diameter
from napari_vessel.topology import centreline, label_components
from napari_vessel.training.cases import Case

CUT = 0.5
"""Score from which a proposal is accepted without being looked at: chosen beforehand."""

CUTS = (0.3, 0.5, 0.7, 0.9)
DISCS = (2, 4, 6)
DRIVE_DIAMETER = 540
OURS = "napari-vessel"
WITH = "napari-vessel with completion model"
ALONE = f"completion model alone, {DRAWN}"

Reconnecters = Mapping[str, Callable[[Mask], Mask]]
"""Peers that are given a mask and nothing else, by the names of their rows."""


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """One image with two observers' vessels and a segmenter's probability, cut into a mask, and its completion."""

    name: str
    image: VesselImage
    first: Mask
    second: Mask
    probability: Probability
    mask: Mask
    completion: Probability | None = None

    @property
    def scale(self) -> float:
        """Pixels for each pixel of DRIVE: the ratio of the diameters of the fields of view; 1 where there is none."""
        if self.image.modality is not Modality.FUNDUS:
            return 1.0
        return field_diameter(self.first.shape, self.image.fov) / DRIVE_DIAMETER

    def rng(self, number: int = 0) -> np.random.Generator:
        """Return random numbers that depend on the image's name and the round alone."""
        return np.random.default_rng([zlib.crc32(self.name.encode()), number])


def sample_of(case: Case, probability: Probability, threshold: float, completion: Probability | None = None) -> Sample:
    """Cut a probability at a threshold; both observers are read inside the field of view only."""
    fov = case.image.fov if case.image.fov is not None else np.ones(case.vessels.shape, np.bool_)
    second = case.vessels if case.second is None else case.second
    shown = np.where(fov, probability, np.float32(0))
    return Sample(case.name, case.image, case.vessels & fov, second & fov, shown, shown >= threshold, completion)


def measure_planted(
    sample: Sample,
    planted: list[Planted],
    pixels: np.ndarray,
    probability: Probability | None,
    completion: Probability | None = None,
    reconnecters: Reconnecters | None = None,
) -> dict[str, Any]:
    """Close planted gaps with every method.

    Parameters
    ----------
    sample : Sample
        The image.
    planted : list of Planted
        Gaps in its first observer's vessels.
    pixels : ndarray of float32, shape (Y, X, 3)
        The image with the same stretches erased.
    probability : ndarray of float32, shape (Y, X), or None
        What the segmenter makes of that image; without it the methods that need it are left out.
    completion : ndarray of float32, shape (Y, X), or None
        What the completion model makes of that image; the same.
    reconnecters : mapping
        Peers that are given the broken mask.
    """
    truth, scale, fov = sample.first, sample.scale, sample.image.fov
    broken = without(truth, planted)
    labels, _ = label_components(broken)
    image = VesselImage(pixels, fov, sample.image.modality)
    completed = {
        **_completed(f"{OURS}, mask only", broken, None, None, None, fov),
        **_completed(f"{OURS}, mask and image", broken, image, None, None, fov),
        **{f"closing, disc {r}": closing(broken, r * scale) for r in DISCS},
        **_reconnected(broken, reconnecters),
    }
    if probability is not None:
        completed |= _completed(f"{OURS}, mask, image and probability", broken, image, probability, None, fov)
        completed["threshold .3"] = lower_threshold(broken, probability)
        completed["hysteresis .2"] = hysteresis(broken, probability)
        completed["nearest component, geodesic"] = drawn(broken, geodesic(labels, probability, fov, scale))
    if completion is not None:
        completed |= _completed(WITH, broken, image, probability, completion, fov)
        completed[ALONE] = lower_threshold(broken, completion, DRAWN)
    numbers = np.zeros(broken.shape, np.int32)
    for number, gap in enumerate(planted, start=1):
        numbers[gap.erased] = number
    far, nearest = ndimage.distance_transform_edt(numbers == 0, return_indices=True)
    owner = numbers[tuple(nearest)]
    reach = np.asarray([0.0, *(max(5.0, gap.length / 2.0) * scale for gap in planted)])
    beside = np.where(far <= reach[owner], owner, 0)
    beyond = {margin: ~grown(truth, margin * scale) for margin in (1, 2)}
    results = {}
    for name, mask in completed.items():
        results[name] = {
            "closed": [planted_closed(gap, broken, mask, scale) for gap in planted],
            "dice": [round(dice_in_gap(gap, broken, mask, scale), 4) for gap in planted],
        }
        for margin, outside in beyond.items():
            false = mask & ~broken & outside
            counts = np.bincount(beside[false], minlength=len(planted) + 1)
            results[name][f"false_{margin}"] = int(counts.sum())
            results[name][f"false_near_{margin}"] = counts[1:].tolist()
    return {
        "gaps": [
            {
                "length": gap.length,
                "calibre": round(gap.calibre, 2),
                "calibres_long": round(gap.length / max(gap.calibre, 1.0), 2),
                "place": gap.place.value,
                "loop": gap.loop,
                "pixels": int(gap.erased.sum()),
            }
            for gap in planted
        ],
        "methods": results,
    }


def _completed(
    name: str,
    broken: Mask,
    image: VesselImage | None,
    probability: Probability | None,
    completion: Probability | None,
    fov: Mask | None,
) -> dict[str, Mask]:
    """Close what the finder proposes from `CUT` on; where it looks at more than the mask, told of the pieces and not.

    A planted gap lies in an observer's own vessels, so every piece is one; a model's mask has others.
    """
    found = run_job(look_at(broken, image, probability, completion, fov))
    ways = {name: False} if image is None else {name: False, f"{name}, all vessels": True}
    return {
        way: broken if found is None else accepted(broken, list(ranked(found, all_vessels=told)), CUT)
        for way, told in ways.items()
    }


def plant_in(sample: Sample, each: int, number: int = 0) -> tuple[list[Planted], np.ndarray]:
    """Plant gaps in the first observer's vessels and erase them from the image."""
    rng = sample.rng(number)
    planted = Planter(sample.first, sample.scale).plant(rng, each)
    return planted, erase_from_image(sample.image.pixels, sample.first, planted, sample.scale, rng)


def _reconnected(mask: Mask, reconnecters: Reconnecters | None) -> dict[str, Mask]:
    """Return a mask with what each peer adds: nothing is taken away by any method."""
    return {name: mask | reconnect(mask) for name, reconnect in (reconnecters or {}).items()}


def measure_natural(sample: Sample, reconnecters: Reconnecters | None = None) -> dict[str, Any]:
    """Judge every method's bridges on a real prediction by both observers, and every candidate."""
    labels, count = label_components(sample.mask)
    judges = {"first": Judge(sample.first, labels, sample.scale), "second": Judge(sample.second, labels, sample.scale)}
    gaps = {name: judge.natural_gaps(sample.image.fov) for name, judge in judges.items()}
    both = [gap for gap in gaps["first"] if _consensus(gap, sample, labels, judges)]
    completions = {OURS: None} if sample.completion is None else {OURS: None, WITH: sample.completion}
    looks = {
        name: looked(sample.mask, sample.image, sample.probability, completion)
        for name, completion in completions.items()
    }
    ours: dict[str, Mask] = {}
    offered: dict[str, dict[str, Any]] = {}
    for name, look in looks.items():
        shown = [] if look is None else list(ranked(look))
        bridges = [gap for gap in shown if gap.kind is not GapKind.TIP]
        ours |= {f"{name}, score {cut}": accepted(sample.mask, bridges, cut) for cut in CUTS}
        offered[name] = _offered(sample, judges, gaps["first"], both, look, bridges)
        offered[name]["tips"] = _tips(sample, judges, [gap for gap in shown if gap.kind is GapKind.TIP])
    if sample.completion is not None:
        ours[ALONE] = lower_threshold(sample.mask, sample.completion, DRAWN)
    return {
        "components": count,
        "components_under_20_px": int((np.bincount(labels.ravel())[1:] < 20 * sample.scale**2).sum()),
        "gaps": {name: [gap.length / sample.scale for gap in found] for name, found in gaps.items()},
        "methods": _end_to_end(sample, labels, judges, gaps, ours | _reconnected(sample.mask, reconnecters)),
        "offered": offered,
        "consensus_gaps": [gap.length / sample.scale for gap in both],
        "fragments": _fragments(sample, labels, looks),
    }


def _offered(
    sample: Sample,
    judges: dict[str, Judge],
    gaps: list[NaturalGap],
    both: list[NaturalGap],
    look: LookedAt | None,
    shown: list[Gap],
) -> dict[str, Any]:
    """Return as records the proposals, every candidate, and which gaps a candidate reaches."""
    listed = [] if look is None else candidates(look, sample.probability)
    return {
        "shown": [
            {**_verdict(of_gap(gap, sample.mask.shape), judges, sample.scale), "link": gap.link} for gap in shown
        ],
        "candidates": _judged(listed, judges, gaps, both, sample.scale),
        "gaps_reached": {
            name: [any(judges["first"].reached(gap, c.connection) for c in listed) for gap in part]
            for name, part in (("first", gaps), ("consensus", both))
        },
    }


def _tips(sample: Sample, judges: dict[str, Judge], shown: list[Gap]) -> dict[str, Any]:
    """Return which tips run along an observer's vessel, and how much of what that observer drew they reach."""
    missing = {
        name: centreline(judge.vessels) & ~grown(sample.mask, TOLERANCE * sample.scale)
        for name, judge in judges.items()
    }
    reached = np.zeros_like(sample.mask)
    records = []
    for gap in shown:
        y, x = pixels_of(gap.path, sample.mask.shape).T
        along = {name: round(float(judge.near[y, x].mean()), 4) for name, judge in judges.items()}
        records.append({"score": round(gap.score, 5), "length": round(gap.length / sample.scale, 2), **along})
        reached[y, x] = True
    near = grown(reached, TOLERANCE * sample.scale + 0.5)
    return {
        "shown": records,
        "missing": {name: int(lines.sum()) for name, lines in missing.items()},
        "reached": {name: int((lines & near).sum()) for name, lines in missing.items()},
    }


def _end_to_end(
    sample: Sample,
    labels: np.ndarray,
    judges: dict[str, Judge],
    gaps: dict[str, list[NaturalGap]],
    made: dict[str, Mask],
) -> dict[str, Any]:
    mask, probability, scale = sample.mask, sample.probability, sample.scale
    completed = {
        **made,
        **{f"closing, disc {r}": closing(mask, r * scale) for r in DISCS},
        "threshold .3": lower_threshold(mask, probability),
        "hysteresis .2": hysteresis(mask, probability),
        "nearest component, geodesic": drawn(mask, geodesic(labels, probability, sample.image.fov, scale)),
    }
    results = {}
    for name, larger in completed.items():
        bridges = bridges_of(labels, larger)
        results[name] = {
            observer: {
                "closed": [judge.closed(gap, larger) for gap in gaps[observer]],
                "right": [judge.right(bridge) for bridge in bridges],
                "lengths": [round(bridge.length / scale, 2) for bridge in bridges],
            }
            for observer, judge in judges.items()
        }
    return results


def accepted(mask: Mask, gaps: list[Gap], cut: float) -> Mask:
    """Draw the proposals that score at least `cut`: what ``complete`` does, without finding them again."""
    larger = mask.copy()
    for gap in gaps:
        if gap.score >= cut:
            (y, x), patch = draw_gap(gap, mask.shape)
            larger[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
    return larger


def _verdict(bridge: Connection, judges: dict[str, Judge], scale: float) -> dict[str, Any]:
    ends = (bridge.path[0] - bridge.path[-1]) / scale
    return {
        "score": round(bridge.score, 5),
        "length": round(bridge.length / scale, 2),
        "distance": round(float(np.hypot(*ends)), 2),
        "loop": bridge.joins[0] == bridge.joins[1],
        "first": judges["first"].right(bridge),
        "second": judges["second"].right(bridge),
        "on_vessels": judges["first"].on_vessel(bridge) and judges["second"].on_vessel(bridge),
    }


def _judged(
    listed: list[Candidate],
    judges: dict[str, Judge],
    gaps: list[NaturalGap],
    both: list[NaturalGap],
    scale: float,
) -> list[dict[str, Any]]:
    records = []
    for candidate in listed:
        record = _verdict(candidate.connection, judges, scale)
        record["link"] = round(candidate.link, 6)
        record["joins"] = list(candidate.connection.joins)
        record["features"] = candidate.features
        record["closes"] = [n for n, gap in enumerate(gaps) if judges["first"].reached(gap, candidate.connection)]
        records.append(record)
    return records


def _consensus(gap: NaturalGap, sample: Sample, labels: np.ndarray, judges: dict[str, Judge]) -> bool:
    """Tell whether both observers drew the missing stretch, and two pieces around it lie on vessels of both."""
    y, x = gap.pixels.T
    if float(judges["second"].near[y, x].mean()) < 0.9:
        return False
    return len(judges["first"].pieces_on_vessel(gap) & judges["second"].pieces_on_vessel(gap)) >= 2


def _fragments(sample: Sample, labels: np.ndarray, looks: dict[str, LookedAt | None]) -> list[dict[str, Any]]:
    """Describe every piece but the largest, with both observers' opinion: half of it or more on a vessel, or not."""
    areas = np.bincount(labels.ravel())
    if len(areas) < 3:
        return []
    areas[0] = 0
    measured = describe_pieces(labels, sample.image, sample.probability, sample.scale)
    shares = [
        np.bincount(labels[grown(truth, 1.0)].ravel(), minlength=len(areas)) / np.maximum(areas, 1)
        for truth in (sample.first, sample.second)
    ]
    facts = {name: {} if look is None else piece_facts_of(look) for name, look in looks.items()}
    return [
        {
            **{name: round(value, 6) for name, value in simple.items()},
            "facts": {
                name: {key: round(float(column[label]), 5) for key, column in columns.items()}
                for name, columns in facts.items()
            },
            "first": bool(shares[0][label] >= 0.5),
            "second": bool(shares[1][label] >= 0.5),
        }
        for label, simple in measured.items()
        if label != areas.argmax()
    ]


def measure_cuts(sample: Sample) -> dict[str, Any]:
    """Plant false bridges in the first observer's vessels, and see which are proposed as cuts.

    A proposal is right when the middle of its path lies within 2 px of a planted bridge.
    """
    bridges = plant_false_bridges(sample.first, sample.scale, sample.rng())
    joined = sample.first.copy()
    planted = np.zeros(joined.shape, np.int32)
    for number, bridge in enumerate(bridges, start=1):
        joined |= bridge.pixels
        planted[grown(bridge.pixels, 2.0 * sample.scale)] = number
    fov = sample.image.fov
    offered = {
        f"{OURS}, mask only": propose_cuts(joined, fov=fov),
        f"{OURS}, mask and image": propose_cuts(joined, sample.image),
        f"{OURS}, mask, image and probability": propose_cuts(joined, sample.image, sample.probability),
    }
    if sample.completion is not None:
        offered[WITH] = propose_cuts(joined, sample.image, sample.probability, completion=sample.completion)
    methods = {}
    for name, cuts in offered.items():
        erased = np.zeros_like(joined)
        for gap in cuts:
            if gap.score >= CUT:
                (y, x), patch = cut_gap(gap, joined.shape)
                erased[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
        methods[name] = {
            "cuts": [(round(g.score, 5), int(planted[tuple(np.rint(g.centre).astype(int))])) for g in cuts],
            "erased": int((erased & joined).sum()),
            "vessel": int((erased & sample.first).sum()),
        }
    return {"planted": len(bridges), "methods": methods}
