"""Metrics that count pixels, whatever vessel they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.metrics.comparison import Comparison, Mask, share


@dataclass(frozen=True)
class Dice:
    """Overlap 2 |P & G| / (|P| + |G|); 1 when both are empty, 0 when one is."""

    name: str = "dice"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        c = comparison.counts
        return share(2 * c.found, 2 * c.found + c.missed + c.false)


@dataclass(frozen=True)
class Jaccard:
    """Overlap |P & G| / |P | G|; 1 when both are empty, 0 when one is."""

    name: str = "jaccard"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        c = comparison.counts
        return share(c.found, c.found + c.missed + c.false)


@dataclass(frozen=True)
class Sensitivity:
    """Share of the vessel that was found; 1 when there is none."""

    name: str = "sensitivity"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        c = comparison.counts
        return share(c.found, c.found + c.missed)


@dataclass(frozen=True)
class Specificity:
    """Share of the background that was left background; 1 when there is none."""

    name: str = "specificity"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        c = comparison.counts
        return share(c.right_background, c.right_background + c.false)


@dataclass(frozen=True)
class Precision:
    """Share of what was called vessel that is vessel; 1 when nothing was called vessel."""

    name: str = "precision"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        c = comparison.counts
        return share(c.found, c.found + c.false)


@dataclass(frozen=True)
class Accuracy:
    """Share of all pixels that are right; 1 when there is none."""

    name: str = "accuracy"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        c = comparison.counts
        right = c.found + c.right_background
        return share(right, right + c.missed + c.false)


@dataclass(frozen=True)
class MatthewsCorrelation:
    """Correlation of prediction and truth, -1 to 1.

    Where it is 0 / 0, because one of them is all vessel or all background: 1 when every pixel is right, -1 when every
    pixel is wrong, else 0 (Chicco and Jurman, BMC Genomics 2020).
    """

    name: str = "mcc"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, -1 to 1."""
        c = comparison.counts
        right, wrong = c.found + c.right_background, c.missed + c.false
        if not right or not wrong:
            return 1.0 if not wrong else -1.0
        # Roots one by one: the product of four pixel counts is beyond a float's whole numbers.
        below = sqrt(c.found + c.false) * sqrt(c.found + c.missed)
        below *= sqrt(c.right_background + c.false) * sqrt(c.right_background + c.missed)
        return (c.found * c.right_background - c.false * c.missed) / below if below else 0.0


@dataclass(frozen=True)
class AreaUnderCurve:
    """Area under the receiver operating characteristic of the probability; see :func:`area_under_curve`."""

    name: str = "auc"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float | None:
        """Return the figure, 0 to 1; None without a probability, and without both vessel and background."""
        if comparison.probability is None:
            return None
        inside = comparison.inside
        return area_under_curve(comparison.probability[inside], comparison.truth[inside])


def dice_coefficient(mask: Mask, truth: Mask) -> float:
    """Return 2 |P & G| / (|P| + |G|); 1 when both are empty."""
    return Dice().compute(Comparison(mask, truth))


def area_under_curve(probability: NDArray[np.float32], truth: Mask) -> float | None:
    """Return the exact area under the receiver operating characteristic; None without both classes.

    Equal to the chance that a vessel pixel has a higher probability than a background pixel, equal ones counting half.

    Parameters
    ----------
    probability : ndarray of float32, any shape
        Values in [0, 1].
    truth : ndarray of bool, same shape
        Vessel pixels.
    """
    vessel = int(np.count_nonzero(truth))
    background = truth.size - vessel
    if not vessel or not background:
        return None
    # The bits of numbers from 0 to 1 are ordered as the numbers are, and leave the last place of a shifted word to
    # the truth: sorting whole numbers takes a tenth of the time of sorting indices. The shift drops the sign of -0.
    bits = np.ascontiguousarray(probability, np.float32).ravel().view(np.uint32)
    keys = np.sort((bits << np.uint32(1)) | truth.ravel())
    positive = (keys & 1).astype(np.bool_)
    # Where a run of equal probabilities begins; inside a run, order does not matter.
    starts = np.flatnonzero(np.concatenate([[True], np.diff(keys >> np.uint32(1)) > 0]))
    positives = np.add.reduceat(positive, starts, dtype=np.int64)
    negatives = np.diff(np.append(starts, keys.size)) - positives
    below = np.cumsum(negatives) - negatives
    wins = float((positives * (below + negatives / 2)).sum())
    return wins / (vessel * background)
