"""What there is to learn from about false bridges: every connection of a mask, and whether it was planted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from contenders import own_model
from gap_image import Sample, sample_of
from gap_planting import FalseBridge, Mask, grown, plant_false_bridges
from numpy.typing import NDArray

from napari_vessel.completion.connections import Connection, connections, observe_connection
from napari_vessel.completion.paths import pixels_of
from napari_vessel.completion.search import gather, take_apart, without_border
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.training.cases import CaseFiles, read_case

Rows = list[dict[str, Any]]

ROUNDS = (300, 301)
"""Of planting, in a true mask."""

COVERED = 0.5
BARE = 0.2
"""Shares of a connection within 2 px of an observer's vessels from which it is one, and up to which it is none."""


@dataclass(frozen=True, eq=False, slots=True)
class Joined:
    """A mask with planted false bridges, px of DRIVE to a pixel, and the bridges."""

    mask: Mask
    bridges: Sequence[FalseBridge]
    scale: float

    def planted(self) -> NDArray[np.int32]:
        """Return the number, from 1, of the bridge within 2 px of DRIVE of each pixel; 0 for none."""
        found = np.zeros(self.mask.shape, np.int32)
        for number, bridge in enumerate(self.bridges, start=1):
            found[grown(bridge.pixels, 2.0 * self.scale)] = number
        return found


def joined(mask: Mask, sample: Sample, number: int, scale: float | None = None) -> Joined:
    """Plant false bridges between the vessels of a mask."""
    scale = sample.scale if scale is None else scale
    bridges = plant_false_bridges(mask, scale, sample.rng(number))
    whole = mask.copy()
    for bridge in bridges:
        whole |= bridge.pixels
    return Joined(whole, bridges, scale)


def taken_apart(
    work: Joined, image: VesselImage | None, probability: NDArray[np.float32] | None, fov: Mask | None
) -> Iterator[tuple[Connection, dict[str, float], int]]:
    """Yield every connection of a mask, what is observed of it, and the number of the bridge that it is, or 0."""
    network = run_job(take_apart(work.mask))
    if network is None:
        return
    inside = None if fov is None else without_border(fov, network.calibre)
    evidence = run_job(gather(network, image, probability, None, inside))
    planted = work.planted()
    for one in connections(network):
        if one is not None:
            at = pixels_of(one.body, planted.shape)
            number = int(planted[tuple(at[len(at) // 2])])
            seen = observe_connection(one, network, evidence)
            yield one, {name: round(value, 5) for name, value in seen.items() if not np.isnan(value)}, number


def rows_in_truth(
    work: Joined, image: VesselImage | None, probability: NDArray[np.float32] | None, fov: Mask | None
) -> Rows:
    """Return every connection of a true mask with planted bridges: all others are vessels."""
    return [
        {"seen": seen, "false": number > 0, "bridge": number}
        for _, seen, number in taken_apart(work, image, probability, fov)
    ]


def rows_in_prediction(work: Joined, sample: Sample) -> Rows:
    """Return every connection of a predicted mask with planted bridges about which observers leave no doubt.

    The segmenter did not draw what was planted. Had it, it would have been about as sure of it as of the less certain
    connections that it drew: a planted bridge is given the probabilities of one of these. One that it drew between two
    vessels, and that neither of two observers did, is a natural false bridge.
    """
    first, second = (grown(truth, 2.0 * work.scale) for truth in (sample.first, sample.second))
    two = bool((sample.first != sample.second).any())
    rows = []
    for one, seen, number in taken_apart(work, sample.image, sample.probability, sample.image.fov):
        y, x = pixels_of(one.body, first.shape).T
        covered = max(float(first[y, x].mean()), float(second[y, x].mean()))
        hosted = all(bool(first[host.place] and second[host.place]) for host in one.hosts)
        if number:
            rows.append({"seen": seen, "false": True, "bridge": number})
        elif covered >= COVERED:
            rows.append({"seen": seen, "false": False, "bridge": 0})
        elif two and covered <= BARE and hosted:
            rows.append({"seen": seen, "false": True, "bridge": -1})
    drawn = sorted((row["seen"] for row in rows if not row["false"]), key=lambda seen: seen["likely"])
    unsure = drawn[: max(len(drawn) // 2, 1)]
    rng = sample.rng(len(rows))
    for row in rows:
        if row["bridge"] > 0 and unsure:
            other = unsure[int(rng.integers(len(unsure)))]
            row["seen"].update({name: value for name, value in other.items() if name.startswith("likely")})
    return rows


def halved(sample: Sample) -> Sample:
    """Return a sample at half its resolution: vessels of a few pixels look different."""
    height, width = (side // 2 for side in sample.first.shape)

    def small(field: NDArray[np.generic]) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(field.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA))

    first, second, mask = (small(m) > 0.5 for m in (sample.first, sample.second, sample.mask))
    fov = None if sample.image.fov is None else small(sample.image.fov) > 0.5
    image = VesselImage(small(sample.image.pixels), fov, sample.image.modality, name=f"{sample.image.name}, halved")
    return Sample(f"{sample.name}, halved", image, first, second, small(sample.probability), mask)


def collect(files: CaseFiles, predictor: Path) -> dict[str, Rows]:
    """Return the connections of one image: of its true mask and of a predicted one, each with bridges planted."""
    case = read_case(files)
    model = own_model(str(predictor))
    probability, _ = model.predict(case)
    assert probability is not None
    whole = sample_of(case, probability, model.info.threshold)
    rows: dict[str, Rows] = {"truth": [], "predicted": []}
    # The largest pictures are no use at full size: their vessels are as wide as DRIVE's at half of it.
    samples = [halved(whole)] if max(whole.first.shape) > 2000 else [whole, halved(whole)]
    for sample in samples:
        for number in ROUNDS[: 3 - len(samples)]:
            work = _joined(sample.first, sample, number)
            rows["truth"] += rows_in_truth(work, sample.image, sample.probability, sample.image.fov)
        rows["predicted"] += rows_in_prediction(_joined(sample.mask, sample, ROUNDS[-1] + 1), sample)
    return rows


def _joined(mask: NDArray[np.bool_], sample: Sample, number: int) -> Any:
    # Few calibres long, as in DRIVE, also where a picture is large for its vessels.
    return joined(mask, sample, number, min(sample.scale, 2.0))


def check_rows(files: CaseFiles) -> dict[str, Rows]:
    """Return the connections of the true mask of an image that nothing is learnt from."""
    case = read_case(files)
    sample = sample_of(case, np.zeros(case.vessels.shape, np.float32), 0.5)
    return {"truth": rows_in_truth(joined(sample.first, sample, 0), sample.image, None, sample.image.fov)}
