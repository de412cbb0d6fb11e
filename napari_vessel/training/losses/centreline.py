"""Terms that follow centrelines."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_vessel.training.losses.sample import Sample
from napari_vessel.training.terms import LossTerm


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
        At least half the largest calibre in pixels: what is wider has no skeleton.
    """
    skeleton = functional.relu(image - functional.max_pool2d(soft_erode(image), 3, 1, 1))
    for _ in range(iterations):
        image = soft_erode(image)
        rest = functional.relu(image - functional.max_pool2d(soft_erode(image), 3, 1, 1))
        skeleton = skeleton + functional.relu(rest - skeleton * rest)
    return skeleton


def cl_dice_term(sample: Sample, term: LossTerm) -> Tensor:
    """One minus soft clDice (Shit et al., CVPR 2021) over the whole batch.

    The target's centreline is its true skeleton rather than a soft one, so a break costs something whatever
    `iterations` is. The prediction's is soft: with fewer `iterations` than half its calibre a wide false vessel has no
    skeleton and costs nothing.
    """
    skeleton = soft_skeleton(sample.probability, term.iterations) * sample.fov
    # A vessel thinner than a pixel covers it in part only, and lies on the centreline all the same.
    precision = ((skeleton * (2 * sample.vessel).clamp(max=1)).sum() + 1) / (skeleton.sum() + 1)
    lines = sample.lines * sample.fov
    sensitivity = ((lines * sample.probability).sum() + 1) / (lines.sum() + 1)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


def skeleton_recall_term(sample: Sample, term: LossTerm) -> Tensor:
    """Share of the target's centreline that is missed (Kirchhoff et al., ECCV 2024), over the whole batch.

    The centreline is as wide as the target's, three pixels, the tube of the paper. Blind to false vessels.
    """
    lines = sample.lines * sample.fov
    return 1 - ((lines * sample.probability).sum() + 1) / (lines.sum() + 1)
