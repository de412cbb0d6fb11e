"""Random training crops: geometry on image and target alike, colour and blur on the image alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_vessel.segmentation.preparation import field_diameter, normalise, resample, resample_fov

if TYPE_CHECKING:
    from napari_vessel.training.data import FundusCase

LEVELS = (0.72, 1.0, 1.4)
"""Sizes, relative to the working scale, at which every image is kept, so that a crop is never far from one of them."""


@dataclass(frozen=True, eq=False, slots=True)
class Level:
    """One image at one size, as 8-bit arrays to save memory.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (Y, X, 3)
        Red, green, blue.
    target : ndarray of uint8, shape (Y, X, 3)
        Share of each pixel covered by vessels, its centreline (three pixels wide), field of view; times 255.
    """

    pixels: NDArray[np.uint8]
    target: NDArray[np.uint8]


def build_levels(case: FundusCase, working_diameter: float, levels: tuple[float, ...] = LEVELS) -> list[Level]:
    """Resample one image to every level.

    A vessel thinner than a pixel at that size still has a centreline: a pixel counts as vessel for it from one
    quarter coverage on, because cutting at one half breaks every thin vessel.
    """
    import cv2

    from napari_vessel.topology.skeleton import centreline

    shape = case.vessels.shape
    diameter = field_diameter((shape[0], shape[1]), case.fov)
    built = []
    for level in levels:
        factor = working_diameter * level / diameter
        size = (max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor)))
        cover = resample(case.vessels.astype(np.float32), size)
        fov = resample_fov(case.fov, size)
        assert fov is not None
        lines = centreline(cover >= 0.25).astype(np.uint8)
        lines = np.asarray(cv2.dilate(lines, np.ones((3, 3), np.uint8)), np.uint8)
        target = np.stack([cover, lines.astype(np.float32), fov.astype(np.float32)], axis=-1)
        pixels = resample(case.pixels, size)
        built.append(Level(_to_bytes(pixels), _to_bytes(target)))
    return built


def _to_bytes(array: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(array, 0, 1) * 255), np.uint8)


def random_crop(
    levels: list[Level], size: int, rng: np.random.Generator, level_sizes: tuple[float, ...] = LEVELS
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut one augmented crop.

    Parameters
    ----------
    levels : list of Level
        One image at every size of `level_sizes`.
    size : int
        Side of the crop in pixels.
    rng : numpy.random.Generator
        Source of every random choice.
    level_sizes : tuple of float
        Sizes of `levels` relative to the working scale.

    Returns
    -------
    image : ndarray of float32, shape (3, size, size)
        Normalised, 0 outside the field of view.
    target : ndarray of float32, shape (3, size, size)
        Vessel coverage, centreline and field of view, in [0, 1].
    """
    import cv2

    scale = float(np.exp(rng.uniform(np.log(0.7), np.log(1.4))))
    # The smallest level that is at least as large, so that a crop loses detail rather than invents it.
    index = next((i for i, s in enumerate(level_sizes) if s >= scale * 0.97), len(level_sizes) - 1)
    level = levels[index]
    zoom = level_sizes[index] / scale
    # The background is estimated from more than the crop, as it is over the whole image when predicting.
    margin = size // 6
    side = size + 2 * margin
    maps = _random_geometry(level.pixels.shape[:2], side, zoom, rng, level.target[..., 2])
    pixels = cv2.remap(level.pixels, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    target = cv2.remap(level.target, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    target = target.astype(np.float32) / 255.0
    fov = target[..., 2] >= 0.5
    image = _random_colour(pixels.astype(np.float32) / 255.0, rng)
    level_diameter = field_diameter(level.pixels.shape[:2], level.target[..., 2] >= 128)
    image = normalise(image, fov, diameter=level_diameter / zoom)
    image *= np.exp(rng.normal(0.0, 0.15, (1, 1, image.shape[2]))).astype(np.float32)
    inner = slice(margin, margin + size)
    target[..., 2] = fov
    return (
        np.ascontiguousarray(image[inner, inner].transpose(2, 0, 1)),
        np.ascontiguousarray(target[inner, inner].transpose(2, 0, 1)),
    )


def _random_geometry(
    shape: tuple[int, ...], side: int, zoom: float, rng: np.random.Generator, fov: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the maps (x, y) of a random flip, rotation, scale and, half the time, mild bending."""
    import cv2

    height, width = shape[:2]
    for _ in range(8):
        centre_y, centre_x = rng.uniform(0, height), rng.uniform(0, width)
        if fov[int(centre_y), int(centre_x)]:
            break
    angle = rng.uniform(0, 2 * np.pi)
    flip = 1.0 if rng.random() < 0.5 else -1.0
    offsets = np.arange(side, dtype=np.float32) - (side - 1) / 2
    x, y = np.meshgrid(offsets, offsets)
    if rng.random() < 0.5:
        # Displacements of a few pixels that vary over a few vessel widths: vessels bend, they do not tear.
        coarse = rng.normal(0.0, rng.uniform(1.0, 5.0), (2, side // 48 + 3, side // 48 + 3)).astype(np.float32)
        x = x + cv2.resize(coarse[0], (side, side), interpolation=cv2.INTER_CUBIC)
        y = y + cv2.resize(coarse[1], (side, side), interpolation=cv2.INTER_CUBIC)
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    map_x = centre_x + flip * (cos * x - sin * y)
    map_y = centre_y + sin * x + cos * y
    return map_x.astype(np.float32), map_y.astype(np.float32)


def _random_colour(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change gamma, brightness, contrast and colour, blur or sharpen, and add noise."""
    import cv2

    if rng.random() < 0.15:
        # Red-free photographs and scans of grey prints show about the green channel.
        image = np.repeat(image[..., 1:2], 3, axis=2)
    if rng.random() < 0.7:
        image = np.power(np.clip(image, 1e-4, 1.0), np.float32(np.exp(rng.uniform(-0.5, 0.5))))
    if rng.random() < 0.5:
        gain = np.exp(rng.normal(0.0, 0.15, 3)).astype(np.float32)
        shift = rng.normal(0.0, 0.03, 3).astype(np.float32)
        image = image * gain + shift
    if rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.3))), np.float32)
    elif rng.random() < 0.2:
        image = image + np.float32(rng.uniform(0.3, 1.0)) * (image - cv2.GaussianBlur(image, (0, 0), 1.5))
    if rng.random() < 0.5:
        noise = rng.normal(0.0, rng.uniform(0.003, 0.03), image.shape).astype(np.float32)
        if rng.random() < 0.5:
            noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.8), np.float32) * np.float32(1.5)
        image = image + noise
    return np.asarray(np.clip(image, 0.0, 1.0), np.float32)
