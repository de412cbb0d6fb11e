"""Parts of an image made unreadable: by noise on top of what is there, or by background in its place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def add_noise(
    pixels: NDArray[np.float32], where: NDArray[np.bool_], sigma: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add Gaussian noise in whole steps of an 8-bit image; what is there stays under it.

    Parameters
    ----------
    pixels : ndarray of float32, shape (Y, X, C)
        Intensities in [0, 1]; not changed.
    where : ndarray of bool, shape (Y, X)
        Pixels that get noise.
    sigma : float
        Its standard deviation, as a share of the intensity range.
    rng : numpy.random.Generator
        Source of the noise.
    """
    out = pixels.copy()
    found = np.rint(pixels[where] * 255)
    noise = np.asarray(rng.normal(0.0, sigma * 255, found.shape), np.float32)
    out[where] = np.clip(np.rint(found + noise), 0, 255) / np.float32(255)
    return out


def fill_in(
    pixels: NDArray[np.float32],
    where: NDArray[np.bool_],
    background: NDArray[np.bool_],
    calibre: float,
    sigma: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Put the local background with its own grain, and noise, in place of what is there.

    Parameters
    ----------
    pixels : ndarray of float32, shape (Y, X, C)
        Intensities in [0, 1]; not changed.
    where : ndarray of bool, shape (Y, X)
        Pixels to replace.
    background : ndarray of bool, shape (Y, X)
        Pixels to learn the background from; none of them is replaced.
    calibre : float
        Typical width of the vessels, px: what is local is measured in it.
    sigma : float
        Largest standard deviation of the noise, as a share of the intensity range.
    rng : numpy.random.Generator
        Source of every random choice.
    """
    level = _local_mean(pixels, background, max(1.5 * calibre, 3.0))
    y, x = np.nonzero(where)
    grain = _borrow_grain(pixels, level, background, y, x, calibre, rng)
    noise = np.asarray(rng.normal(0.0, 1.0, grain.shape), np.float32) * np.float32(sigma * rng.random())
    out = pixels.copy()
    out[y, x] = np.clip(level[y, x] + grain + noise, 0.0, 1.0)
    return out


def _local_mean(pixels: NDArray[np.float32], weight: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    """Blur an image with the pixels outside `weight` left out; (Y, X, C) in and out."""
    import cv2

    height, width, channels = pixels.shape
    stack = np.empty((height, width, channels + 1), np.float32)
    stack[..., -1] = weight
    np.multiply(pixels, stack[..., -1:], out=stack[..., :-1])
    total = np.full(stack.shape, 1e-12, np.float32)
    # Where there is hardly any background near, in the middle of the widest vessels, a wider look decides.
    for spread, share in ((1, 1.0), (3, 1e-2), (9, 1e-4)):
        # A wide Gaussian is slow, and its result is smooth: it is taken on a smaller picture.
        shrink = max(sigma * spread / 2, 1.0)
        small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        stack = cv2.resize(stack, small, interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(stack, (0, 0), sigma * spread / shrink, borderType=cv2.BORDER_REFLECT)
        total += np.float32(share) * cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(total[..., :-1] / total[..., -1:], np.float32)


def _borrow_grain(
    pixels: NDArray[np.float32],
    level: NDArray[np.float32],
    background: NDArray[np.bool_],
    y: NDArray[np.intp],
    x: NDArray[np.intp],
    calibre: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return how background pixels near (y, x) differ from their local mean, float32, shape (N, C)."""
    height, width = background.shape
    # A border that is no background takes what lies outside the picture.
    usable = np.pad(background, 1)
    grain = np.zeros((len(y), pixels.shape[2]), np.float32)
    missing = np.arange(len(y))
    # Whole patches from one place, so that the grain keeps its size; the next place for what was no background there.
    for attempt in range(10):
        if not len(missing):
            break
        angle, reach = rng.uniform(0, 2 * np.pi), (3 + attempt) * max(calibre, 3.0)
        from_y = np.clip(y[missing] + round(reach * np.sin(angle)), -1, height)
        from_x = np.clip(x[missing] + round(reach * np.cos(angle)), -1, width)
        good = usable[from_y + 1, from_x + 1]
        from_y, from_x = from_y[good], from_x[good]
        grain[missing[good]] = pixels[from_y, from_x] - level[from_y, from_x]
        missing = missing[~good]
    return grain
