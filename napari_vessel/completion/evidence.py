"""What image, probability and completion map say about a place being vessel, on one scale from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import Modality, VesselImage

# Scales of the ridge filter, as multiples of the mask's median calibre; .35 of the width is the best match for a bar.
_SCALES = (0.25, 0.45, 0.9)
_LEAST_SIGMA = 0.8


@dataclass(frozen=True, eq=False, slots=True)
class Evidence:
    """Support for vessel at every pixel.

    Attributes
    ----------
    support : ndarray of float32, shape (Y, X)
        Blend of `ridge` and `probability`, or `completion` where that is higher; 0 to 1.
    ridge : ndarray of float32, shape (Y, X), or None
        Ridge strength: 0 is the background's usual, 1 that of this mask's own vessels.
    probability : ndarray of float32, shape (Y, X), or None
        A model's probability of vessel, 0 to 1.
    completion : ndarray of float32, shape (Y, X), or None
        A completion network's, 0 to 1: where it sees a vessel even across breaks.
    brightness : ndarray of float32, shape (Y, X), or None
        The vessel channel, lightly smoothed, turned so that vessels are bright.
    contrast : float
        How far vessels of this mask stand out of their two sides in `brightness`.
    """

    support: NDArray[np.float32]
    ridge: NDArray[np.float32] | None = None
    probability: NDArray[np.float32] | None = None
    brightness: NDArray[np.float32] | None = None
    contrast: float = 1.0
    completion: NDArray[np.float32] | None = None


def vessel_channel(image: VesselImage | NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the channel in which vessels show best, float32, shape (Y, X): green for a plain colour array."""
    if isinstance(image, VesselImage):
        return image.vessel_channel()
    channel = image[..., 1] if image.ndim == 3 else image
    return np.nan_to_num(np.asarray(channel, np.float32))


def vessels_are_dark(
    image: VesselImage | NDArray[np.generic],
    channel: NDArray[np.float32],
    mask: NDArray[np.bool_],
    inside: NDArray[np.bool_] | None,
) -> bool:
    """Tell the polarity: from the modality where it is known, else by comparing the mask with its surroundings."""
    import cv2

    if isinstance(image, VesselImage) and image.modality is not Modality.OTHER:
        return image.modality.dark_vessels
    around = cv2.dilate(mask.view(np.uint8), np.ones((9, 9), np.uint8)).view(np.bool_) & ~mask
    if inside is not None:
        around &= inside
    if not mask.any() or not around.any():
        return False
    return float(channel[mask].mean()) < float(channel[around].mean())


def ridge_strength(brightness: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return how ridge-like each pixel is at one scale, shape (Y, X).

    For eigenvalues l1 <= l2 of the Hessian this is sigma^2 max(0, -l1 - |l2|): the curvature across, less that along,
    so that a spot counts less than a line. It follows from trace and difference alone, without the eigenvalues.
    """
    import cv2

    # Large scales change slowly: half the resolution gives the same answer in a quarter of the time.
    if sigma >= 4.0 and min(brightness.shape) > 64:
        small = cv2.resize(brightness, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        half = ridge_strength(np.asarray(small, np.float32), sigma / 2)
        height, width = brightness.shape
        return np.asarray(cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    smooth = cv2.GaussianBlur(brightness, (0, 0), sigma)
    yy = cv2.Sobel(smooth, cv2.CV_32F, 0, 2, ksize=3, scale=0.25)
    xx = cv2.Sobel(smooth, cv2.CV_32F, 2, 0, ksize=3, scale=0.25)
    xy = cv2.Sobel(smooth, cv2.CV_32F, 1, 1, ksize=3, scale=0.25)
    difference = cv2.magnitude(xx - yy, 2.0 * xy)
    strength = cv2.min(difference, -(xx + yy))
    return np.asarray(np.maximum(strength, 0.0) * np.float32(sigma * sigma), np.float32)


def gather_evidence(
    image: VesselImage | NDArray[np.generic] | None,
    probability: NDArray[np.floating] | None,
    mask: NDArray[np.bool_],
    skeleton: NDArray[np.bool_],
    calibre: float,
    inside: NDArray[np.bool_] | None,
    completion: NDArray[np.floating] | None = None,
) -> Iterator[Evidence | None]:
    """Weigh image, probability and completion map against the vessels already in the mask.

    A generator, so that a caller can report progress between scales: it yields None while at work and the
    :class:`Evidence` last (or nothing but None when there is none of the three).

    Parameters
    ----------
    image : VesselImage or ndarray, shape (Y, X) or (Y, X, 3), or None
        The picture.
    probability : ndarray, shape (Y, X), or None
        Probability of vessel, 0 to 1.
    mask, skeleton : ndarray of bool, shape (Y, X)
        Vessels and their centrelines.
    calibre : float
        Median calibre, px.
    inside : ndarray of bool, shape (Y, X), or None
        Field of view, its border left out.
    completion : ndarray, shape (Y, X), or None
        A completion network's probability of vessel, 0 to 1.
    """
    import cv2

    ridge: NDArray[np.float32] | None = None
    brightness: NDArray[np.float32] | None = None
    contrast = 1.0
    if image is not None:
        channel = vessel_channel(image)
        bright = -channel if vessels_are_dark(image, channel, mask, inside) else channel
        yield None
        for sigma in sorted({max(_LEAST_SIGMA, scale * calibre) for scale in _SCALES}):
            response = ridge_strength(bright, sigma)
            ridge = response if ridge is None else np.asarray(cv2.max(ridge, response), np.float32)
            yield None
        assert ridge is not None
        ridge = _normalised(ridge, mask, skeleton, inside)
        yield None
        brightness = np.asarray(cv2.GaussianBlur(bright, (0, 0), max(0.6, 0.2 * calibre)), np.float32)
        contrast = _vessel_contrast(brightness, mask, skeleton, calibre, inside)
        yield None
    chance = _clean(probability)
    drawn = _clean(completion)
    support = ridge
    if chance is not None:
        # Half is as good as certain: what the threshold let through is already in the mask.
        likely = np.minimum(2.0 * chance, 1.0)
        support = likely if ridge is None else 0.5 * (likely + ridge)
    if drawn is not None:
        # The higher of the two, not a blend: a completion network is there for places where image and probability show
        # nothing, and a mean would halve what it says just there. Where it is silent the way costs what it did.
        support = drawn if support is None else np.maximum(support, drawn)
    if support is not None:
        yield Evidence(np.asarray(support, np.float32), ridge, chance, brightness, contrast, drawn)


def _clean(probability: NDArray[np.floating] | None) -> NDArray[np.float32] | None:
    if probability is None:
        return None
    return np.asarray(np.clip(np.nan_to_num(np.asarray(probability, np.float32)), 0.0, 1.0), np.float32)


def _normalised(
    ridge: NDArray[np.float32],
    mask: NDArray[np.bool_],
    skeleton: NDArray[np.bool_],
    inside: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """Scale ridge strength so that usual background is 0 and a usual vessel of this mask is 1.

    Where the mask's vessels are no more ridge-like than the background, as in an image that shows none of them, there
    is nothing to scale by: the ridge says nothing then, instead of taking noise for vessels.
    """
    sparse = np.zeros_like(mask)
    sparse[::3, ::3] = True
    background = sparse & ~mask if inside is None else sparse & ~mask & inside
    floor = float(np.percentile(ridge[background], 60)) if background.any() else 0.0
    # Thin vessels, where masks break, are fainter than the median one.
    usual = float(np.percentile(ridge[skeleton], 35)) if skeleton.any() else float(ridge.max())
    if usual <= floor:
        return np.zeros_like(ridge)
    scaled = np.clip((ridge - floor) / (usual - floor), 0.0, 1.0)
    if inside is not None:
        scaled = scaled * inside
    return np.asarray(scaled, np.float32)


def _vessel_contrast(
    brightness: NDArray[np.float32],
    mask: NDArray[np.bool_],
    skeleton: NDArray[np.bool_],
    calibre: float,
    inside: NDArray[np.bool_] | None,
) -> float:
    """How much brighter the mask's centrelines are than the background near them (median).

    At least half of what the background itself differs by from place to place, which no vessel that is seen falls
    below: else noise would stand out as vessels do.
    """
    import cv2

    size = 2 * round(1.5 * calibre) + 3
    pixels = np.argwhere(skeleton)
    if not len(pixels):
        return 1.0
    outside = (~mask if inside is None else ~mask & inside).astype(np.float32)
    weight = cv2.blur(outside, (size, size))
    # About one level: squares of small differences from a large one would lose them in single precision.
    level = float(np.median(brightness))
    local = cv2.blur((brightness - level) * outside, (size, size))
    squares = cv2.blur((brightness - level) ** 2 * outside, (size, size))
    y, x = pixels.T
    usable = weight[y, x] > 0.05
    if not usable.any():
        return 1.0
    y, x = y[usable], x[usable]
    mean = local[y, x] / weight[y, x]
    spread = np.sqrt(np.maximum(squares[y, x] / weight[y, x] - mean * mean, 0.0))
    difference = brightness[y, x] - level - mean
    return max(float(np.median(difference)), 0.5 * float(np.median(spread)), 1e-6)
