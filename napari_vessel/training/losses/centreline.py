"""Terms that follow centrelines."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_vessel.topology.calibre import local_radius
from napari_vessel.topology.skeleton import centreline
from napari_vessel.training.losses.sample import Sample
from napari_vessel.training.terms import LossTerm

log = logging.getLogger(__name__)


def soft_erode(image: Tensor) -> Tensor:
    """Erode with a 3 x 3 cross."""
    return torch.minimum(
        -functional.max_pool2d(-image, (3, 1), 1, (1, 0)), -functional.max_pool2d(-image, (1, 3), 1, (0, 1))
    )


def soft_skeleton(image: Tensor, iterations: int) -> Tensor:
    """Thin a probability map to its centreline, differentiably (Shit et al., CVPR 2021).

    Parameters
    ----------
    image : Tensor, shape (N, 1, Y, X)
        Probabilities.
    iterations : int
        At least half the largest calibre in pixels: what is wider than twice as many plus 2 has no skeleton.
    """
    eroded = soft_erode(image)
    skeleton = functional.relu(image - functional.max_pool2d(eroded, 3, 1, 1))
    for _ in range(iterations):
        image, eroded = eroded, soft_erode(eroded)
        rest = functional.relu(image - functional.max_pool2d(eroded, 3, 1, 1))
        skeleton = skeleton + functional.relu(rest - skeleton * rest)
    return skeleton


def cl_dice_term(sample: Sample, term: LossTerm) -> Tensor:
    """One minus soft clDice (Shit et al., CVPR 2021) over the whole batch.

    The target's centreline is its true skeleton rather than a soft one, so a break costs something whatever
    `iterations` is. The prediction's is soft: with fewer `iterations` than half its calibre a wide false vessel has no
    skeleton and costs nothing (:func:`check_thinning`).
    """
    skeleton = soft_skeleton(sample.probability, term.iterations) * sample.fov
    # A vessel thinner than a pixel covers it in part only, and lies on the centreline all the same.
    precision = ((skeleton * (2 * sample.vessel).clamp(max=1)).sum() + 1) / (skeleton.sum() + 1)
    lines = sample.lines * sample.fov
    sensitivity = ((lines * sample.probability).sum() + 1) / (lines.sum() + 1)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


def check_thinning(terms: Iterable[LossTerm], masks: Iterable[NDArray[np.bool_]]) -> None:
    """Warn when soft clDice thins too little for the widest vessels.

    Parameters
    ----------
    terms : iterable of LossTerm
        The recipe's.
    masks : iterable of ndarray of bool, shape (Y, X)
        Vessels at the working scale. What counts is the calibre that 99 % of each one's centreline stay below: where
        two vessels cross, the largest disc inside is wider than either.
    """
    steps = [term.iterations for term in terms if term.name == "soft-cldice" and term.weight > 0]
    if not steps:
        return
    widest = 0.0
    for mask in masks:
        radii = local_radius(mask)[centreline(mask)]
        widest = max(widest, 2 * float(np.percentile(radii, 99)) if radii.size else 0.0)
    needed = math.ceil(widest / 2 - 1)
    if needed > steps[0]:
        log.warning(
            "Vessels are up to %.1f px wide at the working scale: set soft-cldice's iterations to %d, or false vessels "
            "wider than %d px go unseen.",
            widest,
            needed,
            2 * steps[0] + 2,
        )


def skeleton_recall_term(sample: Sample, term: LossTerm) -> Tensor:
    """Share of the target's centreline that is missed (Kirchhoff et al., ECCV 2024), over the whole batch.

    The centreline is as wide as the target's, three pixels, the tube of the paper. Blind to false vessels.
    """
    lines = sample.lines * sample.fov
    return 1 - ((lines * sample.probability).sum() + 1) / (lines.sum() + 1)
