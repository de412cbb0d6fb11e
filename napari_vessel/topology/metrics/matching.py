"""Betti matching error: components and loops of two masks that do not lie where the other has one too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.components import label_components, label_holes
from napari_vessel.topology.metrics.comparison import Comparison, Mask, betti_numbers


@dataclass(frozen=True)
class BettiMatchingError:
    """Number of components (dimension 0) or loops (dimension 1) without a partner, of both masks together.

    After Stucki et al., ICML 2023, "Topologically faithful image segmentation via induced matching of persistence
    barcodes": what the prediction P and the truth G have is compared in their union U. A component of P and one of G
    may be partners where one component of U holds both; a loop of P and one of G where one hole of U lies in both.
    Everything, of U too, belongs to one pair at most, and as many pairs as possible are made:
    b_d(P) + b_d(G) - 2 pairs. See :func:`matched_features` for what that has to do with persistence.
    """

    dimension: Literal[0, 1]
    best: float = 0.0

    @property
    def name(self) -> str:
        """``betti_matching0`` or ``betti_matching1``."""
        return f"betti_matching{self.dimension}"

    def compute(self, comparison: Comparison) -> float:
        """Return the figure, a whole number from 0, never below that of :class:`BettiError`."""
        ours, theirs = comparison.betti
        match = _matched_loops if self.dimension else _matched_components
        pairs = match(comparison.mask, comparison.truth)
        return float(ours[self.dimension] + theirs[self.dimension] - 2 * pairs)


def betti_matching_error(mask: Mask, truth: Mask) -> tuple[int, int]:
    """Return the Betti matching errors of dimension 0 and 1, see :class:`BettiMatchingError`.

    Parameters
    ----------
    mask, truth : ndarray of bool, shape (Y, X)
        Prediction and truth; beyond their edges lies background.
    """
    ours, theirs, pairs = betti_numbers(mask), betti_numbers(truth), matched_features(mask, truth)
    return ours[0] + theirs[0] - 2 * pairs[0], ours[1] + theirs[1] - 2 * pairs[1]


def matched_features(mask: Mask, truth: Mask) -> tuple[int, int]:
    """Return how many pairs of components, and of loops, two masks have in common.

    The published matching goes through persistence barcodes. In two masks all pixels of a kind are equal, so it hangs
    on the order in which equal pixels are taken, commonly from left to right and top to bottom, and an image and its
    mirror image may have different errors. This one does not:

    - Loops: the most pairs that any order of equal pixels gives. One hole of U takes part if it comes last in its hole
      of P and in its hole of G, and every choice of holes that share none of either is last in some order: a maximum
      bipartite matching.
    - Components: the pairs that every order gives. Persistence goes on until the image is filled, and so also pairs a
      component of P with one of G that lie apart, if background joins them before either meets a common one; it always
      pairs one of each. Such pairs say nothing about the masks and are left out.

    Parameters
    ----------
    mask, truth : ndarray of bool, shape (Y, X)
        Prediction and truth; beyond their edges lies background.
    """
    return _matched_components(mask, truth), _matched_loops(mask, truth)


def _matched_components(mask: Mask, truth: Mask) -> int:
    """Count the components of the union that hold something of both."""
    labels, count = label_components(mask | truth)
    held = np.zeros((2, count + 1), np.bool_)
    held[0, labels[mask]] = True
    held[1, labels[truth]] = True
    return int(np.count_nonzero(held.all(axis=0)))


def _matched_loops(mask: Mask, truth: Mask) -> int:
    """Count the most pairs of a hole of each with a hole of the union in both, no hole twice."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    ours, theirs = label_holes(mask), label_holes(truth)
    pairs = holes_in_both(ours, theirs, label_holes(mask | truth))
    pairs = pairs[:, (pairs > 0).all(axis=0)]
    if not pairs.size:
        return 0
    edges = coo_array((np.ones(pairs.shape[1], np.int32), (pairs[0], pairs[1]))).tocsr()
    return int(np.count_nonzero(maximum_bipartite_matching(edges, perm_type="column") >= 0))


def holes_in_both(ours: NDArray[np.int32], theirs: NDArray[np.int32], common: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return in which hole of either mask each hole of their union lies, 0 outside of every hole, shape (2, N)."""
    # A hole of the union lies in one region of either background: any of its pixels tells which.
    pixels = np.flatnonzero(common)
    labels = common.ravel()[pixels]
    one = np.full(int(common.max(initial=0)) + 1, -1, np.intp)
    one[labels] = pixels
    one = one[one >= 0]
    return np.stack([ours.ravel()[one], theirs.ravel()[one]])
