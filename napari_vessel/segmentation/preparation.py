"""From an image at its own resolution to what a network reads, and back.

A network knows vessels of one size only. So the image is resampled until its field of view has the width in
pixels that the network was trained at (its *working scale*), or one near it that a model sees as well, and the
probability is resampled back.
Intensities are normalised over the whole image before it is cut into tiles, never tile by tile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import VesselImage

BACKGROUND_SHARE = 1 / 24
"""Standard deviation of the local background's Gaussian, in field-of-view diameters."""

SPREAD = 3.0
"""Standard deviations of the local contrast that become 1 in the network's input."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How an image was brought to the working scale.

    Attributes
    ----------
    shape : tuple of int
        Height and width in the file.
    working_shape : tuple of int
        Height and width for the network.
    """

    shape: tuple[int, int]
    working_shape: tuple[int, int]

    @property
    def factor(self) -> float:
        """Working size divided by the image's own."""
        return max(self.working_shape) / max(self.shape)


def field_diameter(shape: tuple[int, int], fov: NDArray[np.bool_] | None) -> int:
    """Return the width in pixels of the field of view, or of the image when there is none.

    The larger side of its bounding box, because many cameras cut the circle off above and below.
    """
    if fov is None or not fov.any():
        return int(max(shape))
    rows, columns = np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
    return int(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)


def around_field(image: VesselImage) -> tuple[VesselImage, tuple[slice, slice]]:
    """Return the part of an image that a model needs to see, and where it lies.

    That is the whole image, unless its field of view lies in less than a quarter of it: brought to the working scale, a
    large image with a small field of view would have no bounds. The background next to the field is left around it.
    """
    whole = (slice(0, image.shape[0]), slice(0, image.shape[1]))
    if image.fov is None or not image.fov.any():
        return image, whole
    bounds = [np.flatnonzero(image.fov.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    sides = [int(last - first) + 1 for first, last in bounds]
    if 4 * sides[0] * sides[1] >= image.shape[0] * image.shape[1]:
        return image, whole
    around = math.ceil(3 * BACKGROUND_SHARE * max(sides))
    window = tuple(
        slice(max(0, int(first) - around), min(side, int(last) + 1 + around))
        for (first, last), side in zip(bounds, image.shape, strict=True)
    )
    pixels, fov = np.ascontiguousarray(image.pixels[window]), np.ascontiguousarray(image.fov[window])
    return replace(image, pixels=pixels, fov=fov), (window[0], window[1])


def working_diameter(scale: Mapping[str, Any], diameter: float) -> float:
    """Return the width in pixels at which a model sees the field of view of an image.

    Parameters
    ----------
    scale : mapping
        A model's working scale by the field of view, see :class:`napari_vessel.segmentation.registry.ModelInfo`.
    diameter : float
        Width of the field of view in the image, px.
    """
    px = float(scale["px"])
    return float(np.clip(diameter, scale.get("least", px), scale.get("most", px)))


def plan_resampling(
    shape: tuple[int, int], diameter: float, working_diameter: float, tolerance: float = 0.05
) -> Resampling:
    """Choose the working shape.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image.
    diameter, working_diameter : float
        Width of the field of view (or median calibre) now, and at the working scale.
    tolerance : float
        Leave the image as it is when the two differ by less than this share: resampling blurs.
    """
    factor = working_diameter / max(diameter, 1.0)
    if abs(factor - 1.0) <= tolerance:
        return Resampling(shape, shape)
    height, width = (max(1, round(side * factor)) for side in shape)
    return Resampling(shape, (height, width))


def resample(array: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resample (Y, X) or (Y, X, C) float32 to `shape`: by area when it shrinks, linearly when it grows."""
    import cv2

    if array.shape[:2] == shape:
        return array
    shrinks = shape[0] * shape[1] < array.shape[0] * array.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(array, (shape[1], shape[0]), interpolation=method), np.float32)


def resample_fov(fov: NDArray[np.bool_] | None, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Resample a field of view to `shape`; None stays None."""
    if fov is None or fov.shape == shape:
        return fov
    return resample(fov.astype(np.float32), shape) >= 0.5


def normalise(
    pixels: NDArray[np.float32], fov: NDArray[np.bool_] | None, diameter: float | None = None
) -> NDArray[np.float32]:
    """Subtract the local background and scale by the contrast over the whole field of view.

    Parameters
    ----------
    pixels : ndarray of float32, shape (Y, X) or (Y, X, C)
        Intensities at the working scale, any range.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view; pixels outside become 0 and do not count.
    diameter : float, optional
        Width of the field of view in these pixels; measured when None.

    Returns
    -------
    ndarray of float32, shape (Y, X, C)
        Zero mean and about one third standard deviation per channel inside the field of view.
    """
    import cv2

    stack = pixels[..., None] if pixels.ndim == 2 else pixels
    shape = (int(stack.shape[0]), int(stack.shape[1]))
    width = field_diameter(shape, fov) if diameter is None else diameter
    sigma = max(width * BACKGROUND_SHARE, 1.0)
    # The blur is done at a quarter of the size: a wide Gaussian is slow, and its result is smooth anyway.
    small = (max(1, shape[0] // 4), max(1, shape[1] // 4)) if sigma >= 8 else shape
    sigma_small = sigma * small[0] / shape[0]
    inside = np.ones(shape, np.float32) if fov is None else fov.astype(np.float32)

    def blur(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        reduced = resample(plane, small)
        wide = cv2.GaussianBlur(reduced, (0, 0), sigma_small, borderType=cv2.BORDER_REFLECT)
        return np.asarray(cv2.resize(wide, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)

    weight = np.maximum(blur(inside), 1e-3)
    selected = inside > 0
    out = np.empty((*shape, stack.shape[2]), np.float32)
    for channel in range(stack.shape[2]):
        plane = np.ascontiguousarray(stack[..., channel], np.float32)
        flat = (plane - blur(plane * inside) / weight) * inside
        spread = float(flat[selected].std()) if selected.any() else 0.0
        out[..., channel] = flat / (SPREAD * max(spread, 1e-4))
    return np.clip(out, -4.0, 4.0)
