"""Random training crops: geometry on image and target alike, colour and blur on the image alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import VesselImage
from napari_vessel.segmentation.preparation import field_diameter, normalise, resample, resample_fov
from napari_vessel.topology.calibre import median_calibre
from napari_vessel.training.recipe import AugmentationRecipe
from napari_vessel.training.topomask import Masking, hide

LEVELS = (0.72, 1.0, 1.4)
"""Sizes, relative to the working scale, at which every image is kept, so that a crop is never far from one of them."""

ONE_LEVEL = (1.0,)
"""Of images that were made at the working scale."""

TARGETS = ("vessel", "centreline", "field of view", "hidden", "weight", "rehearsed")
"""Channels of a crop's target: ``hidden`` tells where :mod:`napari_vessel.training.topomask` destroyed the image,
``weight`` is there where a source of the run has weights, ``rehearsed``, 1 in crops of what the network knew before the
run, where the loss asks for its former answers."""

MOST_WEIGHT = 4.0
"""What the weights of a crop are multiplied by, at most, so that one of which little counts is not lost beside others
that count whole: as a mean over all pixels of a batch, cross-entropy is theirs alone. Without a bound a stroke of a few
pixels would say as much as a whole image."""


LEAST_RANGE = 0.25
"""Share of 8 bits that an image must fill to be kept in them: 64 grey levels between its 1st and 99th percentile."""


@dataclass(frozen=True, eq=False, slots=True)
class Level:
    """One image at one size, as whole numbers to save memory.

    Attributes
    ----------
    pixels : ndarray of uint8 or uint16, shape (Y, X, C)
        Red, green, blue; or grey. What :func:`whole_numbers` returns.
    target : ndarray of uint8, shape (Y, X, 3)
        What :func:`draw_target` returns, times 255.
    on_vessel : ndarray of int32, shape (N, 2)
        Centreline pixels (y, x) inside the field of view.
    diameter : float
        Width of the field of view in these pixels.
    calibre : float
        Median width of the vessels in these pixels.
    weights : ndarray of float32, shape (Y, X, 2), or None
        What :func:`draw_weights` returns; None where every pixel counts the same.
    on_correction : ndarray of int32, shape (N, 2), or None
        Pixels (y, x) that weigh more than 1.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    target: NDArray[np.uint8]
    on_vessel: NDArray[np.int32]
    diameter: float
    calibre: float
    weights: NDArray[np.float32] | None = None
    on_correction: NDArray[np.int32] | None = None


def draw_target(
    vessels: NDArray[np.bool_], fov: NDArray[np.bool_] | None, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Draw vessels at another size as an annotator would at that size.

    A pixel is vessel by the share of it that is covered. A vessel thinner than a pixel is drawn one pixel wide: by
    coverage alone it would be faint and full of breaks, and its network would learn to leave thin vessels out.

    Parameters
    ----------
    vessels, fov : ndarray of bool, shape (Y, X)
        Vessels, and field of view or None, at the image's own size.
    shape : tuple of int
        Height and width wanted.

    Returns
    -------
    ndarray of float32, shape (*shape, 3)
        Vessel, centreline (three pixels wide) and field of view, in [0, 1].
    """
    import cv2

    from napari_vessel.topology.skeleton import centreline

    cover = resample(vessels.astype(np.float32), shape)
    inside = np.ones(shape, np.bool_) if fov is None else resample_fov(fov, shape)
    assert inside is not None
    # Cutting at one half breaks every vessel thinner than a pixel; a quarter keeps it whole.
    line = centreline(cover >= 0.25).astype(np.uint8)
    wide = np.asarray(cv2.dilate(line, np.ones((3, 3), np.uint8)), np.float32)
    return np.stack([np.maximum(cover, line.astype(np.float32)), wide, inside.astype(np.float32)], axis=-1)


def draw_weights(weights: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Draw weights at another size.

    Parameters
    ----------
    weights : ndarray of uint8, shape (Y, X)
        0 where a pixel does not count, otherwise its weight.
    shape : tuple of int
        Height and width wanted.

    Returns
    -------
    ndarray of float32, shape (*shape, 2)
        Whether a pixel counts, 0 or 1: not where a quarter of it does not, on a correction half; and its weight, 1 or
        more, where a correction of one pixel's width is not lost.
    """
    ignored = resample((weights == 0).astype(np.float32), shape)
    heavy = np.ones(shape, np.float32)
    for weight in np.unique(weights[weights > 1]):
        heavy[resample((weights == weight).astype(np.float32), shape) >= 0.1] = weight
    # What counts around a correction in an image of thin vessels may be narrower than two of these pixels.
    counts = ignored < np.where(heavy > 1, np.float32(0.5), np.float32(0.25))
    return np.stack([counts.astype(np.float32), heavy], axis=-1)


def build_levels(
    image: VesselImage,
    vessels: NDArray[np.bool_],
    working_diameter: float,
    colour: bool = True,
    levels: tuple[float, ...] = LEVELS,
    weights: NDArray[np.uint8] | None = None,
) -> list[Level]:
    """Resample one image and its vessels to every level.

    Parameters
    ----------
    image : VesselImage
        Any size.
    vessels : ndarray of bool, shape (Y, X)
        Its vessels.
    working_diameter : float
        Width of the field of view at level 1, px.
    colour : bool
        Whether the network sees three channels; otherwise the one that shows vessels best.
    levels : tuple of float
        Sizes relative to the working scale.
    weights : ndarray of uint8, shape (Y, X), optional
        How much each pixel counts; by default all count the same.
    """
    diameter = field_diameter(image.shape, image.fov)
    pixels = as_channels(image, colour)
    built = []
    for level in levels:
        factor = working_diameter * level / diameter
        size = (max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor)))
        target = draw_target(vessels, image.fov, size)
        small = resample(pixels, size)
        on_vessel = (target[..., 1] > 0) & (target[..., 0] >= 0.5) & (target[..., 2] > 0)
        drawn = on_correction = None
        if weights is not None:
            drawn = draw_weights(weights, size)
            on_vessel &= drawn[..., 0] > 0
            corrected = (drawn[..., 0] > 0) & (drawn[..., 1] > 1) & (target[..., 2] > 0)
            on_correction = np.argwhere(corrected).astype(np.int32)
        built.append(
            Level(
                whole_numbers(small[..., None] if small.ndim == 2 else small),
                np.asarray(np.rint(np.clip(target, 0, 1) * 255), np.uint8),
                np.argwhere(on_vessel).astype(np.int32),
                working_diameter * level,
                median_calibre(target[..., 0] >= 0.5),
                drawn,
                on_correction,
            )
        )
    return built


def as_channels(image: VesselImage, colour: bool) -> NDArray[np.float32]:
    """Return an image's pixels as a network reads them: (Y, X, 3), or (Y, X) without colour."""
    if not colour:
        return image.vessel_channel()
    return image.pixels if image.pixels.ndim == 3 else np.repeat(image.pixels[..., None], 3, axis=2)


def whole_numbers(pixels: NDArray[np.float32]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return pixels in [0, 1] times 255; or times 65535 where that leaves few grey levels.

    A 16-bit image may lie in a small part of its range, and a network, which sees contrast, would see steps.
    """
    pixels = np.clip(pixels, 0, 1)
    low, high = np.percentile(pixels.ravel()[:: max(1, pixels.size // 200_000)], (1, 99))
    few = np.asarray(np.rint(pixels * 255), np.uint8)
    if high - low >= LEAST_RANGE or np.array_equal(np.divide(few, np.float32(255), dtype=np.float32), pixels):
        return few
    return np.asarray(np.rint(pixels * 65535), np.uint16)


def random_crop(
    levels: list[Level],
    size: int,
    rng: np.random.Generator,
    recipe: AugmentationRecipe,
    on_vessel: bool = False,
    level_sizes: tuple[float, ...] = LEVELS,
    masking: Masking | None = None,
    on_correction: bool = False,
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
    recipe : AugmentationRecipe
        What may change, and how much.
    on_vessel : bool
        Whether the middle lies near a centreline; otherwise anywhere in the field of view.
    level_sizes : tuple of float
        Sizes of `levels` relative to the working scale.
    masking : Masking, optional
        Which vessels are destroyed in the image; none by default. Nothing else about a crop depends on it.
    on_correction : bool
        Whether the middle lies near a pixel that weighs more than 1, where there is one; it goes before `on_vessel`.

    Returns
    -------
    image : ndarray of float32, shape (C, size, size)
        Normalised, 0 outside the field of view.
    target : ndarray of float32, shape (4, size, size) or, of an image with weights, (5, size, size)
        Vessel, centreline, field of view, and where vessels or decoys were destroyed, in [0, 1]; and the weight, larger
        by up to :data:`MOST_WEIGHT` where little of the crop counts. What does not count is as if it lay outside the
        field of view, for the target alone.
    """
    import cv2

    scale = float(np.exp(rng.uniform(-1.0, 1.0) * np.log(recipe.scale)))
    # The smallest level that is at least as large, so that a crop loses detail rather than invents it.
    index = next((i for i, s in enumerate(level_sizes) if s >= scale * 0.97), len(level_sizes) - 1)
    level = levels[index]
    zoom = level_sizes[index] / scale
    # The background is estimated from more than the crop, as it is over the whole image when predicting.
    margin = size // 6
    places = level.on_vessel if on_vessel else None
    if on_correction and level.on_correction is not None and len(level.on_correction):
        places = level.on_correction
    middle = _choose_middle(level, places, size / 4, rng)
    maps = _random_geometry(middle, size + 2 * margin, zoom, rng, recipe)
    pixels = cv2.remap(level.pixels, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    target = cv2.remap(level.target, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    target = np.dstack([target, np.zeros(target.shape[:2], np.uint8)]).astype(np.float32) / 255.0
    fov = target[..., 2] >= 0.5
    image = pixels.astype(np.float32).reshape(*fov.shape, -1) / float(np.iinfo(level.pixels.dtype).max)
    if masking is not None:
        # From random numbers of its own: a run with and one without it see the same crops.
        image, target[..., 3] = hide(image, target[..., 0] >= 0.5, fov, masking, level.calibre / zoom, rng.spawn(1)[0])
    image = _random_colour(image, rng, recipe)
    image = normalise(image, fov, diameter=level.diameter / zoom)
    image *= np.exp(rng.normal(0.0, recipe.colour, (1, 1, image.shape[2]))).astype(np.float32)
    inner = slice(margin, margin + size)
    target[..., 2] = fov
    if level.weights is not None:
        weights = cv2.remap(level.weights, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # What is mixed from a pixel that does not count does not count; a thin correction would have nothing left.
        target[..., 2] *= (weights[..., 0] > 0.999) | ((weights[..., 0] >= 0.5) & (weights[..., 1] >= 2))
        target = np.dstack([target, np.maximum(weights[..., 1], 1)])
    image, target = image[inner, inner], target[inner, inner]
    if level.weights is not None:
        told = float((target[..., 2] * target[..., 4]).sum())
        lift = min(max(np.count_nonzero(fov[inner, inner]) / max(told, 1.0), 1.0), MOST_WEIGHT)
        target[..., 4] = target[..., 4] * lift
    return np.ascontiguousarray(image.transpose(2, 0, 1)), np.ascontiguousarray(target.transpose(2, 0, 1))


def _choose_middle(
    level: Level, places: NDArray[np.int32] | None, jitter: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Return where a crop lies, (y, x): near one of `places`, or anywhere."""
    if places is None or not len(places):
        height, width = level.target.shape[:2]
        y = x = 0.0
        for _ in range(8):
            y, x = rng.uniform(0, height), rng.uniform(0, width)
            if level.target[int(y), int(x), 2] and (level.weights is None or level.weights[int(y), int(x), 0]):
                return y, x
        if level.on_correction is None or not len(level.on_correction):
            return y, x
        # Of an image of which little counts, a crop anywhere would show nothing that does.
        places = level.on_correction
    y, x = places[int(rng.integers(len(places)))]
    # Always in the very middle, vessels would be learnt by their place.
    return float(y + rng.uniform(-jitter, jitter)), float(x + rng.uniform(-jitter, jitter))


def _random_geometry(
    middle: tuple[float, float], side: int, zoom: float, rng: np.random.Generator, recipe: AugmentationRecipe
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the maps (x, y) of a random flip, rotation and, half the time, mild bending."""
    import cv2

    angle = rng.uniform(0, 2 * np.pi) if recipe.rotate else 0.0
    flip = -1.0 if recipe.flip and rng.random() < 0.5 else 1.0
    offsets = np.arange(side, dtype=np.float32) - (side - 1) / 2
    x, y = np.meshgrid(offsets, offsets)
    if recipe.elastic and rng.random() < 0.5:
        # Displacements of a few pixels that vary over a few vessel widths: vessels bend, they do not tear.
        strength = rng.uniform(0.2, 1.0) * recipe.elastic
        coarse = rng.normal(0.0, strength, (2, side // 48 + 3, side // 48 + 3)).astype(np.float32)
        x = x + cv2.resize(coarse[0], (side, side), interpolation=cv2.INTER_CUBIC)
        y = y + cv2.resize(coarse[1], (side, side), interpolation=cv2.INTER_CUBIC)
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    map_x = middle[1] + flip * (cos * x - sin * y)
    map_y = middle[0] + sin * x + cos * y
    return map_x.astype(np.float32), map_y.astype(np.float32)


def _random_colour(
    image: NDArray[np.float32], rng: np.random.Generator, recipe: AugmentationRecipe
) -> NDArray[np.float32]:
    """Change gamma, brightness, contrast and colour, blur or sharpen, and add noise; (Y, X, C) in and out."""
    import cv2

    channels = image.shape[2]
    if channels == 3 and rng.random() < recipe.grey:
        image = np.repeat(image[..., 1:2], 3, axis=2)
    if recipe.gamma > 1 and rng.random() < 0.7:
        exponent = np.exp(rng.uniform(-1.0, 1.0) * np.log(recipe.gamma))
        image = np.power(np.clip(image, 1e-4, 1.0), np.float32(exponent))
    if recipe.colour and rng.random() < 0.5:
        gain = np.asarray(np.exp(rng.normal(0.0, recipe.colour, channels)), np.float32)
        image = image * gain + np.asarray(rng.normal(0.0, recipe.colour / 5, channels), np.float32)

    def blurred(picture: NDArray[Any], sigma: float) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32).reshape(picture.shape)

    if recipe.resolution > 1 and rng.random() < 0.5:
        side = max(1, round(image.shape[0] / rng.uniform(1.0, recipe.resolution)))
        coarse = resample(np.ascontiguousarray(image), (side, side))
        image = resample(coarse, image.shape[:2]).reshape(image.shape)
    if recipe.blur and rng.random() < 0.3:
        image = blurred(image, float(rng.uniform(0.3, 1.0)) * recipe.blur)
    elif recipe.blur and rng.random() < 0.2:
        image = image + np.float32(rng.uniform(0.3, 1.0)) * (image - blurred(image, 1.5))
    if recipe.noise and rng.random() < 0.5:
        noise = np.asarray(rng.normal(0.0, rng.uniform(0.1, 1.0) * recipe.noise, image.shape), np.float32)
        if rng.random() < 0.5:
            noise = blurred(noise, 0.8) * np.float32(1.5)
        image = image + noise
    return np.asarray(np.clip(image, 0.0, 1.0), np.float32)
