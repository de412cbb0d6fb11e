"""Edges that nobody drew: where an annotator left a vessel as the model had it, its edge judges no other model; and
synthetic vessels are rehearsed with the edges that the model gives them.

A guard that was corrected from a model's own mask keeps that model's edges to the pixel, wherever nobody drew. Counted
like the rest they are right for that model alone, and another one's, as good, are wrong along every vessel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.skeleton import centreline


@dataclass(frozen=True, eq=False, slots=True)
class GivenEdges:
    """Where an image's edges are a model's, and which stretch of vessel each of their pixels belongs to.

    Attributes
    ----------
    truth : ndarray of bool, shape (Y, X)
        Vessels as the annotator left them.
    band : ndarray of bool, shape (Y, X)
        Pixels on both sides of an edge that nobody drew.
    line : ndarray of bool, shape (Y, X)
        Centrelines of `truth`.
    nearest : ndarray of int32, shape (Y, X)
        A number for every pixel of `line`, and everywhere else that of the nearest one.
    reach : int
        Width of the band on either side, px.
    """

    truth: NDArray[np.bool_]
    band: NDArray[np.bool_]
    line: NDArray[np.bool_]
    nearest: NDArray[np.int32]
    reach: int

    @classmethod
    def of(cls, truth: NDArray[np.bool_], weights: NDArray[Any], reach: int = 1) -> GivenEdges:
        """Find them.

        Parameters
        ----------
        truth : ndarray of bool, shape (Y, X)
            Vessels as the annotator left them.
        weights : ndarray, shape (Y, X)
            0 where a pixel does not count, 1 where it is as the model had it, more where somebody decided it.
        reach : int
            How far from the edge a pixel still belongs to it, px.
        """
        left, decided = weights == 1, weights > 1
        given, ground = truth & left, ~truth & left
        # Where somebody drew one side of an edge, that edge is theirs.
        outer = ground & _grown(given, reach) & ~_grown(truth & decided, reach)
        inner = given & _grown(ground, reach) & ~_grown(~truth & decided, reach)
        line = centreline(truth)
        return cls(truth, inner | outer, line, _nearest(line), reach)

    def settle(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask with the annotator's edges where it found the vessel, so that no difference is left there.

        The band of a stretch of vessel whose centreline the mask does not touch, or only farther away than the band is
        wide, stays as it is: a vessel that is missing is missing, however thin.

        Parameters
        ----------
        mask : ndarray of bool, shape (Y, X)
            What a model found.
        """
        known = np.zeros(int(self.nearest.max()) + 1, np.bool_)
        known[self.nearest[self.line & _grown(mask, self.reach)]] = True
        return np.where(self.band & known[self.nearest], self.truth, mask)


def with_edges_of(truth: NDArray[np.bool_], mask: NDArray[np.bool_], reach: int = 2) -> NDArray[np.bool_]:
    """Return the vessels of a truth with the edges of a mask where it has them: neither breaks nor false pieces of it.

    Rehearsed as it is, a drawn truth teaches its own idea of where a vessel ends beside what the model knows; its
    former answers alone would teach its mistakes once more.

    Parameters
    ----------
    truth : ndarray of bool, shape (Y, X)
        Every vessel, and nothing else.
    mask : ndarray of bool, shape (Y, X)
        What a model found.
    reach : int
        How far the mask's edges may be from the truth's, px.
    """
    line = centreline(truth)
    nearest = _nearest(line)
    near = mask & _grown(truth, reach)
    # Across each pixel of a centreline: as the mask has it, or where it has nothing, as it was drawn.
    found = np.zeros(int(nearest.max()) + 1, np.bool_)
    found[nearest[near]] = True
    return np.asarray(np.where(found[nearest], near, truth) | line)


def _nearest(line: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return a number for every pixel of a line, and everywhere else that of the nearest one; 0 where there is none."""
    if not line.any():
        return np.zeros(line.shape, np.int32)
    _, nearest = cv2.distanceTransformWithLabels((~line).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return np.asarray(nearest, np.int32)


def _grown(where: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    return np.asarray(cv2.dilate(where.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=reach) > 0)
