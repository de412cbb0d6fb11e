"""What is learnt of real masks, so that synthetic trees may run as theirs do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.synthesis.colonisation import Points

LONGEST = 1024
"""Larger masks are looked at as if their longer side were so many pixels: no tree is drawn larger."""


@dataclass(frozen=True, eq=False, slots=True)
class Learnt:
    """One real mask.

    Attributes
    ----------
    shape : tuple of int
        Height and width, px; at most 1024.
    points : ndarray of float64, shape (N, 2)
        Centreline pixels, (y, x).
    radii : ndarray of float64, shape (N,)
        Vessel radius at each, px.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view.
    width : float
        Mean width of the vessels, px: their area over their length.
    pieces : ndarray of int32, shape (N,)
        Which connected centreline each point is of.
    origin : tuple of float
        (y, x) where wide vessels crowd: the optic disc on a fundus photograph.
    zone : tuple of float
        (y, x) and radius, px, of the largest disc without vessels near the middle: the foveal avascular zone.
    """

    shape: tuple[int, int]
    points: Points
    radii: NDArray[np.float64]
    fov: NDArray[np.bool_] | None
    width: float
    pieces: NDArray[np.int32]
    origin: tuple[float, float]
    zone: tuple[float, float, float]


@dataclass(frozen=True, eq=False, slots=True)
class Likeness:
    """What is learnt of real masks.

    Attributes
    ----------
    masks : tuple of Learnt
        Each mask; an image is laid out like one of them.
    """

    masks: tuple[Learnt, ...]

    @classmethod
    def of(cls, masks: Sequence[NDArray[np.bool_]], fovs: Sequence[NDArray[np.bool_] | None] | None = None) -> Likeness:
        """Learn from masks.

        Parameters
        ----------
        masks : sequence of ndarray of bool, shape (Y, X)
            Vessels, each mask at its own size.
        fovs : sequence of ndarray of bool, shape (Y, X), or None, optional
            The field of view of each; None means everywhere.

        Raises
        ------
        InputError
            If there is no mask, one is not two-dimensional or has no vessel, or a field of view does not fit.
        """
        if not masks:
            raise InputError("There is no mask to learn from; give at least one.")
        given = [None] * len(masks) if fovs is None else list(fovs)
        if len(given) != len(masks):
            raise InputError(f"{len(masks)} masks were given with {len(given)} fields of view; give one for each.")
        return cls(tuple(_learn(n, *pair) for n, pair in enumerate(zip(masks, given, strict=True), start=1)))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the first mask, px."""
        return self.masks[0].shape

    @property
    def calibre(self) -> float:
        """Median width of the vessels, px."""
        return 2.0 * float(np.median(np.concatenate([learnt.radii for learnt in self.masks])))


def _learn(number: int, mask: NDArray[np.bool_], fov: NDArray[np.bool_] | None) -> Learnt:
    import cv2

    from napari_vessel.topology.calibre import local_radius, typical_calibre
    from napari_vessel.topology.skeleton import centreline, prune_spurs

    vessels = np.asarray(mask) != 0
    if vessels.ndim != 2:
        raise InputError(f"Mask {number} has {vessels.ndim} axes; give masks of height and width alone.")
    if fov is not None and fov.shape != vessels.shape:
        raise InputError(
            f"The field of view of mask {number} is {fov.shape} and the mask {vessels.shape}; give one of its size."
        )
    scale = min(1.0, LONGEST / max(vessels.shape))
    if scale < 1.0:
        size = (max(1, round(vessels.shape[1] * scale)), max(1, round(vessels.shape[0] * scale)))
        vessels = cv2.resize(vessels.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
        if fov is not None:
            fov = cv2.resize(fov.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    if fov is not None:
        vessels = vessels & fov
    radius = local_radius(vessels)
    # A bump on the wall of a wide vessel is no twig.
    lines = prune_spurs(centreline(vessels), radius)
    points = np.argwhere(lines)
    if len(points) < 10:
        raise InputError(f"Mask {number} shows no vessel; give masks in which vessels are drawn.")
    radii = np.maximum(radius[points[:, 0], points[:, 1]], 0.5).astype(np.float64)
    # The distance to the background cannot tell a vessel one pixel wide from one of two; its area can.
    typical = typical_calibre(radii, float(vessels.sum()), float(len(points)))
    radii += np.maximum(0.5 * typical - float(np.median(radii)), 0.0) * (radii < 2.0)
    _, labels = cv2.connectedComponents(lines.astype(np.uint8), connectivity=8)
    return Learnt(
        shape=(int(vessels.shape[0]), int(vessels.shape[1])),
        points=points.astype(np.float64),
        radii=radii,
        fov=fov,
        # Centreline pixels, of which ten are about eleven pixels of length.
        width=0.9 * float(vessels.sum()) / len(points),
        pieces=np.asarray(labels[points[:, 0], points[:, 1]], np.int32),
        origin=_origin(points, radii, vessels),
        zone=_zone(vessels),
    )


def _origin(points: NDArray[np.intp], radii: NDArray[np.float64], vessels: NDArray[np.bool_]) -> tuple[float, float]:
    """Return where wide vessels crowd and run in many directions: side by side they run along an arcade too."""
    import cv2

    soft = cv2.GaussianBlur(vessels.astype(np.float32), (0, 0), 1.5)
    dx, dy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    along, across, both = (
        cv2.GaussianBlur(part, (0, 0), 2.0) for part in (dx * dx - dy * dy, 2 * dx * dy, dx**2 + dy**2)
    )
    y, x = points.T
    weight = radii**2
    sums = []
    for values in (weight, *(weight * part[y, x] / (both[y, x] + 1e-6) for part in (along, across))):
        crowd = np.zeros(vessels.shape, np.float32)
        crowd[y, x] = values
        side = 2 * max(2, round(min(vessels.shape) * 0.06)) + 1
        sums.append(cv2.boxFilter(crowd, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT))
    diverse = sums[0] - 0.9 * np.hypot(sums[1], sums[2])
    top, left = np.unravel_index(
        int(np.argmax(cv2.GaussianBlur(diverse, (0, 0), 0.01 * min(vessels.shape)))), diverse.shape
    )
    return (float(top), float(left))


def _zone(vessels: NDArray[np.bool_]) -> tuple[float, float, float]:
    import cv2

    height, width = vessels.shape
    free = cv2.distanceTransform((~vessels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = height * 3 // 8, width * 3 // 8
    middle = free[y : max(y + 1, height * 5 // 8), x : max(x + 1, width * 5 // 8)]
    dy, dx = np.unravel_index(int(np.argmax(middle)), middle.shape)
    return (float(y + dy), float(x + dx), float(middle[dy, dx]))
