"""Whether a new model takes the old one's place: a pure function of how both did on the guards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from napari_vessel.training.recipe import FORGOTTEN

FEWEST_GUARDS = 5
"""Of fewer, one odd image decides; then only the annotator does."""

DICE_TOLERANCE = 0.005
CL_DICE_TOLERANCE = 0.005
"""How much worse the mean may be: about what two trainings of one recipe with other seeds differ by."""

B0_TOLERANCE = 1.0
B0_TOLERANCE_SHARE = 0.1
"""How many more components may be wrong per image: one, or a tenth of those that were, whichever is more."""

LEAST_GAIN = 0.002
"""Of Dice and clDice; a smaller one is nothing an annotator would see."""

LEAST_B0_GAIN = 0.5
"""Components per image."""

HARDLY_ANYTHING = 0.5
"""Share of the new model's clDice below which the old one's pieces are not counted: what finds hardly a vessel has
hardly a piece too many, and to find the network is to find pieces of it."""

MIXED_UP = 0.5
"""Share of the Dice on the guards below which the new model does not fit what it learnt from: masks of other images."""

ERRORS = 2.0
"""How many standard errors of its mean over the guards a gain has to exceed, so that it is more than luck with them."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How a model did on one image, at its own threshold and the image's own resolution.

    Attributes
    ----------
    dice, cl_dice : float
        In [0, 1].
    b0_error : float
        Components too many or too few (8-connected).
    """

    dice: float
    cl_dice: float
    b0_error: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate says.

    Attributes
    ----------
    promote : bool or None
        Whether the new model takes the old one's place; None where only the annotator can say.
    sentence : str
        Why, with the figures.
    figures : mapping
        ``guards`` and ``base``: ``images``, and of each figure ``old`` and ``new``, the means.
    """

    promote: bool | None
    sentence: str
    figures: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one figure is judged; `sign` is 1 where more is better."""

    name: str
    key: str
    sign: float
    tolerance: float
    tolerance_share: float
    least: float
    digits: int


_RULES = (
    _Rule("Dice", "dice", 1.0, DICE_TOLERANCE, 0.0, LEAST_GAIN, 3),
    _Rule("clDice", "cl_dice", 1.0, CL_DICE_TOLERANCE, 0.0, LEAST_GAIN, 3),
    _Rule("wrong components", "b0_error", -1.0, B0_TOLERANCE, B0_TOLERANCE_SHARE, LEAST_B0_GAIN, 1),
)


def judge(
    old: Sequence[Figures],
    new: Sequence[Figures],
    base_old: Sequence[Figures],
    base_new: Sequence[Figures],
    learnt: Sequence[Figures] = (),
) -> Decision:
    """Decide whether a new model takes the old one's place.

    It does when no figure on the guards is worse beyond its tolerance, one is better by more than noise, and Dice on
    the base domain's guards has not fallen by more than `FORGOTTEN`. With fewer than five guards it never does by
    itself; what is worse in one figure and better in none, or does not fit what it learnt from, is refused all the
    same. Components are not judged where the old model found hardly anything.

    Parameters
    ----------
    old, new : sequence of Figures
        Of both models on the annotator's guards, in the same order; empty where there are none.
    base_old, base_new : sequence of Figures
        The same on the base domain's guards.
    learnt : sequence of Figures
        Of the new model on images that it learnt from, as far as they are done. What it fits far worse than the guards
        are no corrections of these images, and whatever became better did not come of them.
    """
    figures = {"guards": _means(old, new), "base": _means(base_old, base_new)}
    count = len(old)
    on = f"On {count} guard image{'s' * (count != 1)}"
    lost = _change(base_old, base_new, _RULES[0])[0] if base_old else 0.0
    if lost < -FORGOTTEN:
        return Decision(
            False,
            f"The old model stays: the new one has forgotten {-lost:.3f} of Dice on images of the kind it knew, more "
            f"than {FORGOTTEN:g}.",
            figures,
        )
    if learnt and new:
        fits, finds = (float(np.mean([one.dice for one in some])) for some in (learnt, new))
        if fits < MIXED_UP * finds:
            return Decision(
                False,
                f"The old model stays: with the images that it learnt from the new one agrees by a Dice of {fits:.3f} "
                f"only, with the guards by {finds:.3f}; look whether the masks belong to their images.",
                figures,
            )
    changes = [(rule, *_change(old, new, rule)) for rule in _RULES] if old else []
    told = ", ".join(_words(rule, old, new) for rule in _RULES) if old else ""
    better = [rule for rule, change, error in changes if change > max(rule.least, ERRORS * error)]
    worse = [rule for rule, change, _ in changes if _is_worse(rule, change, old, new)]
    if worse and (count >= FEWEST_GUARDS or not better):
        return Decision(False, f"The old model stays: {on.lower()} {_words(worse[0], old, new)}, worse.", figures)
    if count == 0:
        sentence = "There is no guard image to judge by; promote the new model yourself if it serves you better."
        return Decision(None, sentence, figures)
    if count < FEWEST_GUARDS:
        return Decision(
            None,
            f"{on}, too few to decide by ({FEWEST_GUARDS} are needed), {told}; promote the new model yourself if it "
            "serves you better.",
            figures,
        )
    if not better:
        return Decision(
            False, f"The old model stays: {on.lower()} nothing is better by more than noise: {told}.", figures
        )
    return Decision(True, f"The new model takes over: {on.lower()} {told}.", figures)


def without_learning(decision: Decision) -> Decision:
    """Return the decision on the weights that a run began with: only where they are cut can be new.

    It is for nobody to decide about what has learnt nothing; a new cut alone takes over when the gate says so.
    """
    if decision.promote is True:
        return replace(decision, sentence=f"Only the cut changed, the weights did not. {decision.sentence}")
    sentence = "Nothing was learnt: no weights did better than those of the old model, which stays."
    return replace(decision, promote=False, sentence=sentence)


def _change(old: Sequence[Figures], new: Sequence[Figures], rule: _Rule) -> tuple[float, float]:
    """Return how much better the mean became, and the standard error of that over the images."""
    gains = rule.sign * np.array([getattr(n, rule.key) - getattr(o, rule.key) for o, n in zip(old, new, strict=True)])
    error = float(np.std(gains, ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
    return float(np.mean(gains)), error


def _is_worse(rule: _Rule, change: float, old: Sequence[Figures], new: Sequence[Figures]) -> bool:
    if rule.key == "b0_error":
        found, finds = (float(np.mean([one.cl_dice for one in some])) for some in (old, new))
        if found < HARDLY_ANYTHING * finds:
            return False
    before = abs(float(np.mean([getattr(one, rule.key) for one in old])))
    return change < -max(rule.tolerance, rule.tolerance_share * before)


def _words(rule: _Rule, old: Sequence[Figures], new: Sequence[Figures]) -> str:
    before, after = (float(np.mean([getattr(one, rule.key) for one in some])) for some in (old, new))
    return f"{rule.name} went from {before:.{rule.digits}f} to {after:.{rule.digits}f}"


def _means(old: Sequence[Figures], new: Sequence[Figures]) -> dict[str, Any]:
    """Return the means of both, by figure."""
    means: dict[str, Any] = {"images": len(old)}
    for rule in _RULES:
        if old:
            before, after = (float(np.mean([getattr(one, rule.key) for one in some])) for some in (old, new))
            means[rule.key] = {"old": round(before, 5), "new": round(after, 5)}
    return means
