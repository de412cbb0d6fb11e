"""Losses that see overlap and connectedness."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_vessel.training.recipe import LossRecipe


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
        At least half the largest calibre in pixels: a wider vessel has no skeleton, so a break in it costs nothing.
    """
    skeleton = functional.relu(image - functional.max_pool2d(soft_erode(image), 3, 1, 1))
    for _ in range(iterations):
        image = soft_erode(image)
        rest = functional.relu(image - functional.max_pool2d(soft_erode(image), 3, 1, 1))
        skeleton = skeleton + functional.relu(rest - skeleton * rest)
    return skeleton


def dice_loss(probability: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One minus the Dice coefficient over the whole batch, where `weight` is 1."""
    overlap = (probability * target * weight).sum()
    return 1 - (2 * overlap + 1) / (((probability + target) * weight).sum() + 1)


def centreline_loss(probability: Tensor, target: Tensor, lines: Tensor, weight: Tensor, iterations: int) -> Tensor:
    """One minus soft clDice, with the target's centreline taken from its true skeleton.

    Parameters
    ----------
    probability : Tensor, shape (N, 1, Y, X)
        Predicted vessel probability.
    target : Tensor
        Share of each pixel covered by vessels, in [0, 1].
    lines : Tensor
        The target's centreline, in [0, 1].
    weight : Tensor
        1 inside the field of view, 0 outside.
    iterations : int
        See :func:`soft_skeleton`.
    """
    skeleton = soft_skeleton(probability, iterations) * weight
    # A vessel thinner than a pixel covers it in part only, and lies on the centreline all the same.
    precision = ((skeleton * (2 * target).clamp(max=1)).sum() + 1) / (skeleton.sum() + 1)
    lines = lines * weight
    sensitivity = ((lines * probability).sum() + 1) / (lines.sum() + 1)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


def vessel_loss(logits: Tensor, target: Tensor, recipe: LossRecipe, *, with_centreline: bool) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy, Dice and soft clDice together.

    Parameters
    ----------
    logits : Tensor, shape (N, 1, Y, X)
        The network's output.
    target : Tensor, shape (N, 3, Y, X)
        Vessel, centreline, field of view, in [0, 1].
    recipe : LossRecipe
        Weight of each term.
    with_centreline : bool
        Whether the soft clDice term counts yet.

    Returns
    -------
    loss : Tensor
        The sum, to be minimised.
    dice : Tensor
        The Dice term alone, for the log.
    """
    logits = logits.float()
    vessel, lines, fov = target[:, 0:1], target[:, 1:2], target[:, 2:3]
    probability = logits.sigmoid()
    dice = dice_loss(probability, vessel, fov)
    loss = recipe.dice * dice
    if recipe.cross_entropy > 0:
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, vessel, weight=fov, reduction="sum")
        loss = loss + recipe.cross_entropy * cross_entropy / fov.sum().clamp(min=1)
    if with_centreline and recipe.centreline > 0:
        loss = loss + recipe.centreline * centreline_loss(probability, vessel, lines, fov, recipe.iterations)
    return loss, dice.detach()
