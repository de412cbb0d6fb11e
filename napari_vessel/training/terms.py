"""The terms of the loss as a recipe names them."""

from __future__ import annotations

from dataclasses import dataclass

LOSSES: dict[str, tuple[str, ...]] = {
    "cross-entropy": (),
    "dice": (),
    "focal": ("alpha", "gamma"),
    "focal-dice": ("alpha", "gamma", "balance"),
    "soft-cldice": ("iterations",),
    "skeleton-recall": (),
    "connectivity": (),
    "betti-matching": (),
    "hidden-dice": (),
    "former-answers": (),
}
"""The terms of :mod:`napari_vessel.training.losses` by name, and the parameters each reads."""

FORMER = "former-answers"
"""The term that holds a run, on images that are rehearsed, to what the network answered before it."""

OVERLAP_LOSSES = ("cross-entropy", "dice", "focal", "focal-dice")
"""Terms that see every pixel: the others have too little to say about a blank prediction to train with alone."""


@dataclass(frozen=True, slots=True)
class LossTerm:
    """One term of the loss.

    Attributes
    ----------
    name : str
        A key of `LOSSES`.
    weight : float
        What its value is multiplied with.
    after : float
        Share of the steps before it counts: a blank prediction has no centreline to improve.
    ramp : float
        Share of the steps over which its weight then grows from 0; 0 lets it set in at once.
    alpha : float
        For ``focal`` and ``focal-dice``: weight of vessel pixels, the others get one minus it.
    gamma : float
        For ``focal`` and ``focal-dice``: how strongly pixels that are right already are faded out; 0 not at all.
    balance : float
        For ``focal-dice``: share of Dice, the rest is focal (lambda).
    iterations : int
        For ``soft-cldice``: thinning steps, at least half the largest calibre at the working scale in pixels.
    """

    name: str
    weight: float = 1.0
    after: float = 0.0
    ramp: float = 0.0
    alpha: float = 0.25
    gamma: float = 2.0
    balance: float = 0.5
    iterations: int = 6

    def weight_at(self, fraction: float) -> float:
        """Return the weight after this share of the steps."""
        if fraction < self.after:
            return 0.0
        return self.weight * min((fraction - self.after) / self.ramp, 1.0) if self.ramp > 0 else self.weight


DEFAULT_LOSS = (
    LossTerm("cross-entropy"),
    LossTerm("dice"),
    LossTerm("soft-cldice", weight=0.5, after=0.2),
)


def check_loss(terms: tuple[LossTerm, ...]) -> None:
    """Raise ValueError for a sum of terms that cannot be trained, in words that say what to change."""
    names = [term.name for term in terms]
    if unknown := [name for name in names if name not in LOSSES]:
        raise ValueError(f"there is no loss '{unknown[0]}'; known are {', '.join(LOSSES)}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"it names the loss '{twice[0]}' twice; join the two")
    for term in terms:
        in_range("loss.weight", term.weight, 0.0, 1000)
        in_range("loss.gamma", term.gamma, 0.0, 10)
        in_range("loss.iterations", term.iterations, 1, 100)
        for key in ("after", "ramp", "alpha", "balance"):
            in_range(f"loss.{key}", getattr(term, key), 0.0, 1.0)
        unread = {"alpha", "gamma", "balance", "iterations"} - set(LOSSES[term.name])
        for key in sorted(unread):
            if getattr(term, key) != getattr(LossTerm(term.name), key):
                raise ValueError(f"the loss '{term.name}' does not read 'loss.{key}'; leave it out")
    if not any(term.weight > 0 and term.after == 0 for term in terms if term.name in OVERLAP_LOSSES):
        raise ValueError(
            f"no [[loss]] of {', '.join(OVERLAP_LOSSES)} counts from the start, and the other losses alone cannot be "
            "trained"
        )


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError when an entry lies outside its range."""
    if not low <= value <= high:
        raise ValueError(f"'{name}' is {value} and not from {low} to {high}")
