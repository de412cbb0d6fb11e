"""The loss: terms by name, added up by weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from napari_vessel.training.losses.betti import betti_matching_term
from napari_vessel.training.losses.centreline import check_thinning, cl_dice_term, skeleton_recall_term
from napari_vessel.training.losses.connectivity import connectivity_term
from napari_vessel.training.losses.overlap import (
    cross_entropy_term,
    dice_term,
    focal_dice_term,
    focal_term,
    former_answers_term,
    hidden_dice_term,
)
from napari_vessel.training.losses.sample import Sample
from napari_vessel.training.terms import LossTerm

TERMS: dict[str, Callable[[Sample, LossTerm], Tensor]] = {
    "cross-entropy": cross_entropy_term,
    "dice": dice_term,
    "focal": focal_term,
    "focal-dice": focal_dice_term,
    "soft-cldice": cl_dice_term,
    "skeleton-recall": skeleton_recall_term,
    "connectivity": connectivity_term,
    "betti-matching": betti_matching_term,
    "hidden-dice": hidden_dice_term,
    "former-answers": former_answers_term,
}
"""The terms of :data:`napari_vessel.training.terms.LOSSES`, as functions of a sample and the recipe's entry."""


def total_loss(
    logits: Tensor, target: Tensor, terms: Iterable[LossTerm], fraction: float, former: Tensor | None = None
) -> tuple[Tensor, dict[str, float]]:
    """Add up the terms that count at this point of the run.

    Parameters
    ----------
    logits : Tensor, shape (N, 1, Y, X)
        The network's output.
    target : Tensor, shape (N, C, Y, X), C from 3 to 6
        Vessel, centreline, field of view, and what was hidden on purpose, in [0, 1]; the weight; and what is rehearsed.
        See :meth:`Sample.of`.
    terms : iterable of LossTerm
        Names, weights and warm-up.
    fraction : float
        Share of the run done, 0 to 1.
    former : Tensor, shape (N, 1, Y, X), optional
        The network's probability before the run, for the term ``former-answers``.

    Returns
    -------
    loss : Tensor
        The sum, to be minimised.
    parts : dict of str to float
        Each term that counted, without its weight; ``dice`` always, for the log.
    """
    sample = Sample.of(logits, target, former)
    loss = sample.logits.new_zeros(())
    parts: dict[str, Tensor] = {}
    for term in terms:
        weight = term.weight_at(fraction)
        if weight > 0:
            value = TERMS[term.name](sample, term)
            loss = loss + weight * value
            parts[term.name] = value.detach()
    if "dice" not in parts:
        parts["dice"] = dice_term(sample, LossTerm("dice")).detach()
    return loss, {name: float(value) for name, value in parts.items()}


__all__ = ["TERMS", "Sample", "check_thinning", "total_loss"]
