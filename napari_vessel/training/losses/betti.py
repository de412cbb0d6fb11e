"""A term that finds where the topology is wrong, and pulls at those pixels alone."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_vessel.training.losses.sample import Sample
from napari_vessel.training.terms import LossTerm

LEVELS = (0.25, 0.5, 0.75)
"""Where the prediction is cut: what is wrong at all of them is wrong for good and costs most."""

RIM = 1.5
"""What is nearer to a true vessel than this, px, is a question of its width and not of its connections."""

Bools = NDArray[np.bool_]


def betti_matching_term(sample: Sample, term: LossTerm) -> Tensor:
    """Cost of the components and loops of prediction and target that have no partner in the other.

    In the spirit of Betti matching (Stucki et al., ICML 2023) and of the persistence loss of Hu et al. (NeurIPS 2019):
    features of the two are matched by where they lie, the unmatched ones cost, and only critical pixels get a gradient.
    It is *not* their loss. The prediction is cut at three levels instead of followed through all; matching is by
    overlap and contact of components, as in the critical components of Grim et al. (AAAI 2025), instead of by
    barcodes; and all pixels of the bridge that is missing are pulled instead of one saddle, so that a long break costs
    more than a short one and closes in fewer steps.

    A missed region is critical when filling it joins two pieces of the prediction, closes a loop (it separates two
    faces of the target), fills a hole or adds a vessel of which nothing was found: its centreline is pushed up. A false
    region is critical when removing it leaves a component less, parts two true vessels or opens a loop: it is pushed
    down, but for the rim along true vessels. Ends that are too short and vessels that are too wide cost nothing.

    A pixel below level t costs log(t / p) up to where p = t, one above it log((1 - t) / (1 - p)): the gradient does not
    fade where the prediction is far off. The sum over pixels, the mean over the levels, over the target's centreline
    pixels (at least a hundredth of the field of view).
    """
    vessel, lines, fov = (part.detach().cpu().numpy() for part in (sample.vessel, sample.lines, sample.fov))
    probability = sample.probability.detach().cpu().numpy()
    inside = fov[:, 0] >= 0.5
    # A line thinner than a pixel covers too little of it to count as a vessel, and is one.
    truth = (np.maximum(vessel, lines)[:, 0] >= 0.5) & inside
    low, high = (np.zeros((len(LEVELS), *vessel.shape), np.float32) for _ in range(2))
    for number in range(len(truth)):
        rim, seams = _surroundings(truth[number])
        for place, level in enumerate(LEVELS):
            predicted = (probability[number, 0] >= level) & inside[number]
            missed, false = critical_regions(truth[number], predicted)
            low[place, number, 0] = missed * lines[number, 0]
            high[place, number, 0] = false & (seams | ~rim)
    loss = sample.logits.new_zeros(())
    for place, level in enumerate(LEVELS):
        up, down = (torch.from_numpy(part[place]).to(sample.logits.device) for part in (low, high))
        loss = loss + (up * (functional.softplus(-sample.logits) + math.log(level)).clamp(min=0)).sum()
        loss = loss + (down * (functional.softplus(sample.logits) + math.log(1 - level)).clamp(min=0)).sum()
    length = torch.maximum((sample.lines * sample.fov).sum(), 0.01 * sample.fov.sum()).clamp(min=1)
    return loss / (len(LEVELS) * length)


def critical_regions(truth: Bools, predicted: Bools) -> tuple[Bools, Bools]:
    """Find the missed and the false regions that change the topology.

    Vessels are connected over corners, what lies between them is not.

    Parameters
    ----------
    truth, predicted : ndarray of bool, shape (Y, X)
        The two masks.

    Returns
    -------
    missed, false : ndarray of bool, shape (Y, X)
        Parts of ``truth & ~predicted`` and of ``predicted & ~truth``.
    """
    # A prediction that leaves the true vessel by a pixel and comes back has no break.
    near = cv2.dilate(truth.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    missed, false = truth & ~predicted, predicted & ~truth
    return (
        _odd(missed, predicted & near, corners=True) | _odd(missed, ~truth, ~predicted, corners=False),
        _odd(false, truth, corners=True) | _odd(false, ~(truth | predicted), corners=False),
    )


def _odd(regions: Bools, others: Bools, seen: Bools | None = None, *, corners: bool) -> Bools:
    """Return those connected regions that touch no component of `others`, or more than one, where it is `seen`."""
    if not regions.any():
        return regions
    connectivity = 8 if corners else 4
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT if corners else cv2.MORPH_CROSS, (3, 3))
    count, labels = cv2.connectedComponents(regions.astype(np.uint8), connectivity=connectivity)
    found = cv2.connectedComponents(others.astype(np.uint8), connectivity=connectivity)[1].astype(np.float32)
    if seen is not None:
        found *= seen
    largest = cv2.dilate(found, kernel)
    smallest = cv2.erode(np.where(found > 0, found, np.float32(np.inf)), kernel)
    places = np.flatnonzero(regions)
    own = labels.ravel()[places].astype(np.int64)
    highest, lowest = np.zeros(count, np.float32), np.full(count, np.inf, np.float32)
    np.maximum.at(highest, own, largest.ravel()[places])
    np.minimum.at(lowest, own, smallest.ravel()[places])
    # Touching one, its smallest and largest label are the same.
    odd = highest != lowest
    odd[0] = False
    return np.asarray(odd[labels], np.bool_)


def _surroundings(truth: Bools) -> tuple[Bools, Bools]:
    """Return the rim along true vessels, and the seams halfway between two of them."""
    if not truth.any():
        return np.zeros_like(truth), np.zeros_like(truth)
    distance, nearest = cv2.distanceTransformWithLabels((~truth).astype(np.uint8), cv2.DIST_L2, 3)
    cell = nearest.astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    return distance <= RIM, np.asarray(cv2.dilate(cell, kernel) != cv2.erode(cell, kernel), np.bool_)
