"""How well a mask agrees with the truth: overlap, centrelines and Betti numbers.

Vessel is 8-connected and background 4-connected throughout: the other way round, a thin diagonal vessel falls
into pieces.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.components import label_components

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Score:
    """Agreement of one mask with the truth, inside the field of view.

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


def dice_coefficient(mask: Mask, truth: Mask) -> float:
    """Return 2 |P & G| / (|P| + |G|); 1 when both are empty."""
    total = int(np.count_nonzero(mask)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(mask & truth)) / total if total else 1.0


def cl_dice(mask: Mask, truth: Mask, truth_skeleton: Mask | None = None) -> float:
    """Return clDice: the harmonic mean of how much of each centreline lies in the other mask.

    Parameters
    ----------
    mask, truth : ndarray of bool, shape (Y, X)
        Prediction and truth.
    truth_skeleton : ndarray of bool, optional
        The truth's centreline, when it is known already.

    Returns
    -------
    float
        1 when both masks are empty, 0 when one is.
    """
    from napari_vessel.topology.skeleton import centreline

    if not mask.any() or not truth.any():
        return 1.0 if mask.any() == truth.any() else 0.0
    mask_skeleton = centreline(mask)
    if truth_skeleton is None:
        truth_skeleton = centreline(truth)
    precision = int(np.count_nonzero(mask_skeleton & truth)) / max(int(np.count_nonzero(mask_skeleton)), 1)
    sensitivity = int(np.count_nonzero(truth_skeleton & mask)) / max(int(np.count_nonzero(truth_skeleton)), 1)
    total = precision + sensitivity
    return 2 * precision * sensitivity / total if total else 0.0


def betti_numbers(mask: Mask) -> tuple[int, int]:
    """Return the number of 8-connected components, and of loops: 4-connected holes in the vessel."""
    import cv2

    _, components = label_components(mask)
    background = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    # One label is the vessel itself, and one region of background lies outside every loop.
    holes = int(cv2.connectedComponents(background, connectivity=4)[0]) - 2
    return components, holes


def area_under_curve(probability: NDArray[np.float32], truth: Mask) -> float | None:
    """Return the area under the receiver operating characteristic, to about five digits; None without both classes."""
    bins = np.linspace(0.0, 1.0, 1 << 14)
    positive = np.histogram(probability[truth], bins)[0].astype(np.float64)
    negative = np.histogram(probability[~truth], bins)[0].astype(np.float64)
    if not positive.sum() or not negative.sum():
        return None
    # Every negative counts the positives above it, and half of those in its own bin.
    above = positive.sum() - np.cumsum(positive)
    return float((negative * (above + positive / 2)).sum() / (positive.sum() * negative.sum()))


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
    inside = np.ones(mask.shape, np.bool_) if fov is None else fov
    mask, truth = mask & inside, truth & inside
    vessel, background = int(np.count_nonzero(truth)), int(np.count_nonzero(inside & ~truth))
    found, false = int(np.count_nonzero(mask & truth)), int(np.count_nonzero(mask & ~truth))
    predicted, expected = betti_numbers(mask), betti_numbers(truth)
    return Score(
        dice=dice_coefficient(mask, truth),
        cl_dice=cl_dice(mask, truth),
        sensitivity=found / vessel if vessel else 1.0,
        specificity=1 - false / background if background else 1.0,
        b0_error=abs(predicted[0] - expected[0]),
        b1_error=abs(predicted[1] - expected[1]),
        auc=None if probability is None else area_under_curve(probability[inside], truth[inside]),
    )
