"""One mask beside the truth, with everything that several metrics need computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.topology.components import label_components
from napari_vessel.topology.skeleton import centreline

Mask = NDArray[np.bool_]

CONNECTIVITY = "vessel 8-connected, background 4-connected"
TILE_PX = 64


class Metric(Protocol):
    """A figure of agreement.

    Attributes
    ----------
    name : str
        Its column in tables.
    best : float
        Its value for a perfect mask.
    """

    @property
    def name(self) -> str: ...

    @property
    def best(self) -> float: ...

    def compute(self, comparison: Comparison) -> float | None:
        """Return the figure, never NaN; None when it is not defined for this comparison."""
        ...


@dataclass(frozen=True)
class Counts:
    """Pixels inside the field of view by what they are and what they were called.

    Attributes
    ----------
    found, missed : int
        Vessel called vessel, and called background.
    false, right_background : int
        Background called vessel, and called background.
    """

    found: int
    missed: int
    false: int
    right_background: int


class Comparison:
    """A prediction and the truth, both cut to the field of view.

    Skeletons, counts and Betti numbers are computed when a metric first asks for them, and kept.

    Parameters
    ----------
    mask, truth : array_like, shape (Y, X)
        Prediction and truth at the image's own resolution; anything but 0 is vessel.
    fov : array_like, shape (Y, X), optional
        Field of view; everywhere when None.
    probability : array_like, shape (Y, X), optional
        Values in [0, 1]; used as float32.
    truth_skeleton : ndarray of bool, shape (Y, X), optional
        Centrelines of the truth inside the field of view, when they are known already.

    Raises
    ------
    InputError
        If the shapes differ, or a probability is not a number from 0 to 1.
    """

    def __init__(
        self,
        mask: NDArray[Any],
        truth: NDArray[Any],
        fov: NDArray[Any] | None = None,
        probability: NDArray[Any] | None = None,
        truth_skeleton: Mask | None = None,
    ) -> None:
        parts = {"truth": truth, "field of view": fov, "probability": probability, "skeleton": truth_skeleton}
        for name, array in parts.items():
            if array is not None and array.shape != mask.shape:
                raise InputError(
                    f"The {name} has the shape {array.shape} and the mask {mask.shape}; give two of one image."
                )
        self.inside: Mask = np.ones(mask.shape, np.bool_) if fov is None else np.asarray(fov, np.bool_)
        self.mask: Mask = np.asarray(mask, np.bool_) & self.inside
        self.truth: Mask = np.asarray(truth, np.bool_) & self.inside
        self.probability: NDArray[np.float32] | None = None
        if probability is not None:
            self.probability = np.asarray(probability, np.float32)
            # Written so that NaN fails too.
            if probability.size and not (self.probability.min() >= 0 and self.probability.max() <= 1):
                raise InputError("A probability has values that are not numbers from 0 to 1; give a probability map.")
        if truth_skeleton is not None:
            self.__dict__["truth_skeleton"] = truth_skeleton

    @cached_property
    def counts(self) -> Counts:
        """Pixels by what they are and what they were called."""
        found = int(np.count_nonzero(self.mask & self.truth))
        missed = int(np.count_nonzero(self.truth)) - found
        false = int(np.count_nonzero(self.mask)) - found
        return Counts(found, missed, false, int(np.count_nonzero(self.inside)) - found - missed - false)

    @cached_property
    def mask_skeleton(self) -> Mask:
        """Centrelines of the prediction."""
        return centreline(self.mask)

    @cached_property
    def truth_skeleton(self) -> Mask:
        """Centrelines of the truth."""
        return centreline(self.truth)

    @cached_property
    def betti(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Betti numbers (components, loops) of the prediction and of the truth."""
        return betti_numbers(self.mask), betti_numbers(self.truth)

    @cached_property
    def area_overlap(self) -> float:
        """Overlap of the areas with a tolerance of a 5 x 5 diamond, 0 to 1."""
        return _tolerant_overlap(self.mask, self.truth)

    @cached_property
    def length_overlap(self) -> float:
        """Overlap of the centrelines with a tolerance of a 5 x 5 diamond, 0 to 1."""
        return _tolerant_overlap(self.mask_skeleton, self.truth_skeleton)

    @cached_property
    def tile_errors(self) -> NDArray[np.int64]:
        """Betti number errors of every 64 x 64 tile, shape (N, 2); see :class:`TiledBettiError`."""
        rows = []
        for y in range(0, self.mask.shape[0], TILE_PX):
            for x in range(0, self.mask.shape[1], TILE_PX):
                tile = np.s_[y : y + TILE_PX, x : x + TILE_PX]
                if self.inside[tile].any():
                    ours, theirs = betti_numbers(self.mask[tile]), betti_numbers(self.truth[tile])
                    rows.append((abs(ours[0] - theirs[0]), abs(ours[1] - theirs[1])))
        return np.asarray(rows, np.int64).reshape(-1, 2)


def betti_numbers(mask: Mask) -> tuple[int, int]:
    """Return the number of 8-connected components, and of loops: 4-connected holes in the vessel.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        Beyond its edges lies background.
    """
    import cv2

    if not mask.any():
        return 0, 0
    _, components = label_components(mask)
    background = np.pad(~mask, 1, constant_values=True).view(np.uint8)
    # One label is the vessel itself, and one region of background lies outside every loop.
    holes = int(cv2.connectedComponents(background, connectivity=4)[0]) - 2
    return components, holes


def share(part: float, whole: float) -> float:
    """Return part / whole; 1 for a share of nothing, where no mistake can have been made."""
    return part / whole if whole else 1.0


def _tolerant_overlap(first: Mask, second: Mask) -> float:
    """Return the share of both that is at most a 5 x 5 diamond away from the other; 1 when both are empty."""
    near = (_dilate(first) & second) | (first & _dilate(second))
    return share(int(np.count_nonzero(near)), int(np.count_nonzero(first | second)))


def _dilate(mask: Mask) -> Mask:
    """Grow by every pixel at most two steps away along rows and columns: a 5 x 5 diamond."""
    import cv2

    # Two steps of a 3 x 3 cross make the diamond.
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(cv2.dilate(mask.view(np.uint8), cross, iterations=2), np.uint8).view(np.bool_)
