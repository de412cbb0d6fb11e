"""Small pictures for a report: an image, a mask over it, and what a review changed in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import VesselImage

SIDE = 900
"""Longest side of a picture, px."""
CLOSE_SIDE = 300
"""Side of a close-up, px."""
QUALITY = 82

KEPT, ADDED, REMOVED = "#56b4e9", "#f0e442", "#d55e00"
"""After Okabe and Ito, and unlike in brightness: told apart by colour-blind eyes and on a grey print."""

_OPACITY = 0.75
_SMALLEST_CLOSE = 60

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False, slots=True)
class Pictures:
    """The pictures of one image, JPEG.

    Attributes
    ----------
    image, before, after : bytes
        The image; the mask before the review over it; and after, with what was added and removed.
    close : tuple of bytes
        The largest changes, each with image, before and after side by side.
    added, removed : int
        Changed pixels.
    """

    image: bytes
    before: bytes
    after: bytes
    close: tuple[bytes, ...]
    added: int
    removed: int


def draw(image: VesselImage, before: NDArray[np.bool_], after: NDArray[np.bool_], close_ups: int = 4) -> Pictures:
    """Draw the pictures of one image.

    Parameters
    ----------
    image : VesselImage
        The image.
    before, after : ndarray of bool, shape (Y, X)
        Vessels before the review and after it.
    close_ups : int
        How many of the largest changes to show close up.
    """
    added, removed = after & ~before, before & ~after
    light = _stretched(image)
    # Darker than it is, so that colours stand out.
    ground = np.asarray(light * 190.0, np.uint8)
    if image.pixels.ndim == 3:
        colour = np.rint(image.pixels * 255).astype(np.uint8)
    else:
        # A grey image of 16 bits may fill next to nothing of its range.
        colour = np.repeat(np.rint(light * 255).astype(np.uint8)[..., None], 3, axis=2)
    shown = ((KEPT, before & after), (REMOVED, removed), (ADDED, added))

    def three(window: tuple[slice, slice], side: int) -> list[Pixels]:
        parts = [(name, where[window]) for name, where in shown]
        plain, under = _fitted(colour[window], side), ground[window]
        if side == CLOSE_SIDE:
            plain, under = _brightened(plain, 200.0), _brightened(under, 150.0)
        return [plain, _over(under, [(KEPT, before[window])], side), _over(under, parts, side)]

    whole = (slice(None), slice(None))
    pictures = [_jpeg(picture) for picture in three(whole, SIDE)]
    close = []
    for window in _largest(added | removed, close_ups):
        rule = np.full((CLOSE_SIDE, 6, 3), 255, np.uint8)
        one, two, last = (_squared(picture) for picture in three(window, CLOSE_SIDE))
        close.append(_jpeg(np.hstack([one, rule, two, rule, last])))
    counts = int(np.count_nonzero(added)), int(np.count_nonzero(removed))
    return Pictures(pictures[0], pictures[1], pictures[2], tuple(close), *counts)


def _stretched(image: VesselImage) -> NDArray[np.float32]:
    """Return the channel that shows vessels best, 0 to 1 over what lies in the field of view."""
    channel = image.vessel_channel()
    seen = channel if image.fov is None or not image.fov.any() else channel[image.fov]
    low, high = (float(v) for v in np.percentile(seen[:: max(1, seen.size // 200_000)], (0.5, 99.5)))
    return np.asarray(((channel - low) / max(high - low, 1e-6)).clip(0.0, 1.0), np.float32)


def _fitted(pixels: Pixels, side: int) -> Pixels:
    import cv2

    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1 and side > CLOSE_SIDE:
        return pixels
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)


def _over(ground: Pixels, parts: Iterable[tuple[str, NDArray[np.bool_]]], side: int) -> Pixels:
    """Lay coloured masks over a grey picture; where it is reduced, changes stay thick enough to be seen."""
    import cv2

    small = _fitted(ground, side)
    picture = np.repeat(small.astype(np.float32)[..., None], 3, axis=2)
    reduced = max(ground.shape[0] / small.shape[0], 1.0)
    for name, where in parts:
        cover = where.astype(np.uint8) * np.uint8(255)
        if name != KEPT and side > CLOSE_SIDE:
            reach = 2 * round(reduced) + 1
            cover = np.asarray(
                cv2.dilate(cover, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))), np.uint8
            )
        share = _fitted(cover, side).astype(np.float32)[..., None] / 255 * (1.0 if name != KEPT else _OPACITY)
        colour = np.array([int(name[k : k + 2], 16) for k in (1, 3, 5)], np.float32)
        picture += (colour - picture) * share
    return np.rint(picture).clip(0, 255).astype(np.uint8)


def _brightened(picture: Pixels, light: float) -> Pixels:
    """Return a close-up with more light: at the rim of a field of view there is little."""
    top = float(np.percentile(picture, 99))
    return np.asarray((picture * (light / max(top, light / 5))).clip(0, 255), np.uint8)


def _squared(picture: Pixels) -> Pixels:
    square = np.zeros((CLOSE_SIDE, CLOSE_SIDE, 3), np.uint8)
    square[: picture.shape[0], : picture.shape[1]] = picture
    return square


def _largest(changed: NDArray[np.bool_], count: int) -> list[tuple[slice, slice]]:
    """Return square windows around the largest changes, which are none in another's window."""
    import cv2

    if count == 0 or not changed.any():
        return []
    number, _, stats, _ = cv2.connectedComponentsWithStats(changed.astype(np.uint8), connectivity=8)
    height, width = changed.shape
    windows: list[tuple[slice, slice]] = []
    for k in sorted(range(1, number), key=lambda k: -int(stats[k, cv2.CC_STAT_AREA])):
        x, y, w, h = (int(v) for v in stats[k, :4])
        side = min(max(2 * max(w, h), _SMALLEST_CLOSE), height, width)
        top = min(max(y + h // 2 - side // 2, 0), height - side)
        left = min(max(x + w // 2 - side // 2, 0), width - side)
        middle = (y + h // 2, x + w // 2)
        if any(r.start <= middle[0] < r.stop and c.start <= middle[1] < c.stop for r, c in windows):
            continue
        windows.append((slice(top, top + side), slice(left, left + side)))
        if len(windows) == count:
            break
    return windows


def _jpeg(picture: Pixels) -> bytes:
    import cv2

    # Colours at full resolution: they are what is to be seen, and thin.
    full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)[1].tobytes())
