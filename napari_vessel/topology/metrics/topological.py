"""Metrics that ask whether vessels are connected as they should be: clDice, Betti numbers, CAL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_vessel.topology.metrics.comparison import Comparison, Mask, share


@dataclass(frozen=True)
class CentrelineDice:
    """Harmonic mean of how much of each centreline lies in the other mask (clDice; Shit et al., CVPR 2021).

    2 Tp Ts / (Tp + Ts), Tp = |S_P & G| / |S_P|, Ts = |S_G & P| / |S_G|; 1 when both masks are empty, 0 when one is.
    """

    name: str = "cldice"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        c = comparison.counts
        if not c.found:
            return 1.0 if not c.missed and not c.false else 0.0
        ours, theirs = comparison.mask_skeleton, comparison.truth_skeleton
        precision = share(int(np.count_nonzero(ours & comparison.truth)), int(np.count_nonzero(ours)))
        sensitivity = share(int(np.count_nonzero(theirs & comparison.mask)), int(np.count_nonzero(theirs)))
        total = precision + sensitivity
        return 2 * precision * sensitivity / total if total else 0.0


@dataclass(frozen=True)
class BettiError:
    """Difference in the number of components (dimension 0) or loops (dimension 1) of the whole image.

    Vessel is 8-connected and background 4-connected. Beyond the field of view and the image's edges lies background.
    It compares numbers only: a missing loop and a false one cancel out.
    """

    dimension: Literal[0, 1]
    best: float = 0.0

    @property
    def name(self) -> str:
        """``betti0_error`` or ``betti1_error``."""
        return f"betti{self.dimension}_error"

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, a whole number from 0."""
        ours, theirs = comparison.betti
        return float(abs(ours[self.dimension] - theirs[self.dimension]))


@dataclass(frozen=True)
class TiledBettiError:
    """Mean Betti number error over tiles of 64 x 64 pixels.

    Tiles start at the image's first row and column, whatever the field of view, and do not overlap. Those cut off by
    the right and lower edge are kept as they are, as in the evaluation code of MaskVSC and of TopoLoss (Hu et al.,
    NeurIPS 2019). Tiles without a pixel of the field of view are left out; in the others, what is outside of it is
    background. 0 when there is no tile.
    """

    dimension: Literal[0, 1]
    best: float = 0.0

    @property
    def name(self) -> str:
        """``betti0_error_64`` or ``betti1_error_64``."""
        return f"betti{self.dimension}_error_64"

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, from 0."""
        errors = comparison.tile_errors[:, self.dimension]
        return float(errors.mean()) if errors.size else 0.0


@dataclass(frozen=True)
class CalConnectivity:
    """C of CAL: 1 - min(1, |components of P - components of G| / vessel pixels of G).

    It hardly moves: 54 components too many still give .998. When the truth is empty, 1 if the prediction is too,
    else 0.
    """

    name: str = "cal_c"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        c = comparison.counts
        difference = BettiError(0).compute(comparison)
        vessel = c.found + c.missed
        if not vessel:
            return 0.0 if difference else 1.0
        return 1.0 - min(1.0, difference / vessel)


@dataclass(frozen=True)
class CalArea:
    """A of CAL: overlap of areas with a tolerance, #((dP & G) | (P & dG)) / #(P | G), d a 5 x 5 diamond.

    1 when both are empty.
    """

    name: str = "cal_a"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        return comparison.area_overlap


@dataclass(frozen=True)
class CalLength:
    """L of CAL: the same overlap of the centrelines, which are dilated themselves, as MaskVSC does.

    The classic L (Gegundez-Arias et al., IEEE TMI 2012) dilates the masks instead, and is higher. 1 when both masks are
    empty.
    """

    name: str = "cal_l"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        return comparison.length_overlap


@dataclass(frozen=True)
class Cal:
    """Connectivity, area and length in one figure, C * A * L, in MaskVSC's variant (:class:`CalLength`)."""

    name: str = "cal"
    best: float = 1.0

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, 0 to 1."""
        return CalConnectivity().compute(comparison) * comparison.area_overlap * comparison.length_overlap


def cl_dice(mask: Mask, truth: Mask, truth_skeleton: Mask | None = None) -> float:
    """Return clDice, see :class:`CentrelineDice`.

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
    return CentrelineDice().compute(Comparison(mask, truth, truth_skeleton=truth_skeleton))
