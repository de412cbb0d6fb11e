"""Terms that compare pixel with pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from napari_vessel.training.losses.sample import Sample
from napari_vessel.training.terms import LossTerm

HIDDEN_MARGIN = 2
"""How far the hidden region is grown, px: the ends that a filled piece has to meet lie just outside it."""


def dice(probability: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One minus the Dice coefficient over the whole batch, where `weight` is 1."""
    overlap = (probability * target * weight).sum()
    return 1 - (2 * overlap + 1) / (((probability + target) * weight).sum() + 1)


def cross_entropy_term(sample: Sample, term: LossTerm) -> Tensor:
    """Binary cross-entropy, the mean over the field of view by weight."""
    every = functional.binary_cross_entropy_with_logits(
        sample.logits, sample.vessel, weight=sample.weight, reduction="sum"
    )
    return every / sample.weight.sum().clamp(min=1)


def former_answers_term(sample: Sample, term: LossTerm) -> Tensor:
    """How far the answers on what is rehearsed are from those before the run, times its share of the crops.

    The mean over the field of view of rehearsed crops. By their share the parts of a batch that is taken in parts, for
    lack of memory, add up to the whole.

    The Kullback-Leibler divergence of a pixel's two probabilities (learning without forgetting, Li & Hoiem, ECCV 2016,
    on rehearsed images instead of the new ones: those are of another kind here, and the former answers wrong).
    """
    weight = sample.fov * sample.rehearsed
    if not bool(weight.any()):
        return sample.logits.sum() * 0
    cross = functional.binary_cross_entropy_with_logits(sample.logits, sample.former, weight=weight, reduction="sum")
    own = functional.binary_cross_entropy(sample.former, sample.former, weight=weight, reduction="sum")
    return (cross - own) / weight.sum() * sample.rehearsed.mean()


def dice_term(sample: Sample, term: LossTerm) -> Tensor:
    """Soft Dice over the whole batch (Milletari et al., 3DV 2016)."""
    return dice(sample.probability, sample.vessel, sample.fov)


def focal_term(sample: Sample, term: LossTerm) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017), the mean over the field of view.

    A pixel's cross-entropy times ``|target - probability| ** gamma`` and `alpha` on vessels, ``1 - alpha`` elsewhere;
    for targets of 0 and 1 the published form, and 0 for a pixel whose share is predicted exactly.
    """
    every = functional.binary_cross_entropy_with_logits(sample.logits, sample.vessel, reduction="none")
    # Below any error that matters: the root of a difference of 0 would have no gradient.
    missed = (sample.vessel - sample.probability).abs().clamp(min=1e-6) ** term.gamma
    side = term.alpha * sample.vessel + (1 - term.alpha) * (1 - sample.vessel)
    return (every * missed * side * sample.fov).sum() / sample.fov.sum().clamp(min=1)


def focal_dice_term(sample: Sample, term: LossTerm) -> Tensor:
    """`balance` times soft Dice and the rest focal."""
    return term.balance * dice_term(sample, term) + (1 - term.balance) * focal_term(sample, term)


def hidden_dice_term(sample: Sample, term: LossTerm) -> Tensor:
    """Soft Dice inside the slightly grown hidden region alone; 0 where nothing is hidden."""
    side = 2 * HIDDEN_MARGIN + 1
    near = functional.max_pool2d(sample.hidden, side, 1, HIDDEN_MARGIN) * sample.fov
    # With nothing near, both sums are 0 and Dice is 1.
    return dice(sample.probability, sample.vessel, near)
