"""All figures of one image at once, and the mean over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.metrics.comparison import Comparison, Mask, Metric
from napari_vessel.topology.metrics.matching import BettiMatchingError
from napari_vessel.topology.metrics.overlap import (
    Accuracy,
    AreaUnderCurve,
    Dice,
    Jaccard,
    MatthewsCorrelation,
    Precision,
    Sensitivity,
    Specificity,
)
from napari_vessel.topology.metrics.topological import (
    BettiError,
    Cal,
    CalArea,
    CalConnectivity,
    CalLength,
    CentrelineDice,
    TiledBettiError,
)

METRICS: tuple[Metric, ...] = (
    Dice(),
    Jaccard(),
    Sensitivity(),
    Specificity(),
    Precision(),
    Accuracy(),
    MatthewsCorrelation(),
    AreaUnderCurve(),
    CentrelineDice(),
    BettiError(0),
    BettiError(1),
    TiledBettiError(0),
    TiledBettiError(1),
    CalConnectivity(),
    CalArea(),
    CalLength(),
    Cal(),
    BettiMatchingError(0),
    BettiMatchingError(1),
)
"""Every metric, in the order of the columns; new ones only at the end."""

DRAWS = 10_000
SEED = 0


@dataclass(frozen=True, slots=True)
class Score:
    """Agreement of one mask with the truth, inside the field of view: the figures most often asked for.

    Attributes
    ----------
    dice, cl_dice : float
        Overlap of areas, and of centrelines with areas (Shit et al., CVPR 2021).
    sensitivity, specificity : float
        Share of vessel, and of background pixels that are right.
    b0_error, b1_error : float
        Differences in the number of components, and of loops.
    auc : float or None
        Area under the receiver operating characteristic; None without a probability.
    """

    dice: float
    cl_dice: float
    sensitivity: float
    specificity: float
    b0_error: float
    b1_error: float
    auc: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """Return the figures by name."""
        return asdict(self)


def score_mask(
    mask: Mask, truth: Mask, fov: Mask | None = None, probability: NDArray[np.float32] | None = None
) -> Score:
    """Compare a mask with the truth inside the field of view.

    Parameters
    ----------
    mask, truth : ndarray of bool, shape (Y, X)
        Prediction and truth, at the image's own resolution.
    fov : ndarray of bool, optional
        Field of view; everywhere when None.
    probability : ndarray of float32, optional
        For the area under the curve.
    """
    comparison = Comparison(mask, truth, fov, probability)
    return Score(
        dice=Dice().compute(comparison),
        cl_dice=CentrelineDice().compute(comparison),
        sensitivity=Sensitivity().compute(comparison),
        specificity=Specificity().compute(comparison),
        b0_error=BettiError(0).compute(comparison),
        b1_error=BettiError(1).compute(comparison),
        auc=AreaUnderCurve().compute(comparison),
    )


def score_row(comparison: Comparison) -> dict[str, float | None]:
    """Return every metric of one image by name; None where it is not defined."""
    return {metric.name: metric.compute(comparison) for metric in METRICS}


def mean_interval(
    values: Sequence[float], seed: int = SEED, draws: int = DRAWS
) -> tuple[float, tuple[float, float] | None]:
    """Return a mean over images and its 95 % interval, by drawing images with replacement.

    Parameters
    ----------
    values : sequence of float, shape (N,)
        One figure per image, at least one.
    seed : int
        Of the draws; the same values always give the same interval.
    draws : int
        How often N images are drawn.

    Returns
    -------
    mean : float
    interval : tuple of float or None
        The 2.5th and 97.5th percentile of the drawn means; None for fewer than two images, which say nothing about
        others.
    """
    known = np.asarray(values, np.float64)
    mean = float(known.mean())
    if known.size < 2:
        return mean, None
    means = np.random.default_rng(seed).choice(known, (draws, known.size)).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return mean, (float(low), float(high))
