"""The field of view: the part of a picture that shows tissue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.decoding import decode
from napari_vessel.images.masks import check_same_shape, flatten_alpha

_COARSE = 64
"""What is to be a field of view is looked at so small, px: vessels are thin there, and specks and seams are gone."""

_LINES = 0.1
"""Of the short side, the widest part of what is lines and no field: vessels stay below .07, fields are above .9."""

_SIDE = 512
_RIM = 0.004  # share of the diameter
_NOTCH = (0.0005, 0.01)  # shares of the field's area
"""The search runs on a picture about this wide: fast at any size, and a pixel of it is .2 % of the diameter."""


def find_fov(pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Find the lit disc of a fundus photograph.

    The surround is what is as dark as the frame's corners. The largest lit region, smoothed and made convex, is the
    field of view.

    Parameters
    ----------
    pixels : ndarray of float, shape (Y, X) or (Y, X, 3)
        Intensities in [0, 1].

    Returns
    -------
    ndarray of bool, shape (Y, X), or None
        None when the picture fills the frame: its corners are lit, or nothing stands out from them.
    """
    import cv2

    height, width = int(pixels.shape[0]), int(pixels.shape[1])
    step = max(1, min(height, width) // _SIDE)
    small = np.asarray(pixels[::step, ::step], np.float32)
    # Tissue is red, so the brightest channel separates it best from a surround that is dark in all of them.
    light = small.max(axis=2) if small.ndim == 3 else small
    rows, columns = light.shape
    # Against noise; the blur widens the disc, so a small picture gets a small one.
    side = 3 if min(rows, columns) < 300 else 5
    light = cv2.GaussianBlur(light, (side, side), 0)
    edge = max(2, min(rows, columns) // 40)
    corners = np.stack(
        [light[:edge, :edge], light[:edge, -edge:], light[-edge:, :edge], light[-edge:, -edge:]]
    ).reshape(4, -1)
    dark = float(np.median(corners))
    bright = float(np.percentile(light, 90))
    # All four corners are surround, or the picture is a crop.
    if bright - dark < 0.08 or float(np.median(corners, axis=1).max()) > dark + 0.25 * (bright - dark):
        return None
    spread = float(np.percentile(np.abs(corners - dark), 99))
    threshold = dark + max(0.02, min(2.0 * spread, 0.2 * (bright - dark)), 0.06 * (bright - dark))
    over = (light > threshold).astype(np.uint8)
    radius = max(1, min(rows, columns) // 100)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Opening cuts off lettering and stray light before the hull would be drawn around them.
    framed = cv2.copyMakeBorder(over, radius, radius, radius, radius, cv2.BORDER_REPLICATE)
    lit = cv2.morphologyEx(framed, cv2.MORPH_OPEN, disk)[radius:-radius, radius:-radius]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lit, connectivity=8)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    contours, _ = cv2.findContours((labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outer = cv2.convexHull(max(contours, key=len))
    inside = np.zeros_like(over)
    cv2.fillConvexPoly(inside, outer, 1)
    share = float(inside.mean())
    # A field of view is lit throughout and dark around; shading or texture with dark corners is not.
    lit_inside = float(over[inside > 0].mean())
    if not (0.2 < share < 0.97 and lit_inside > 0.9) or float(over[inside == 0].mean()) > 0.1:
        return None
    hull = outer[:, 0, :].astype(np.float64)
    # A small pixel stands for a step x step block: its outer rim, not its corner, bounds the field.
    middle = hull.mean(axis=0)
    outline = hull * step + np.where(hull > middle, step - 1, 0)
    # Towards its rim the tissue fades into the surround; a segmenter would take that dark ring for a vessel.
    centre = middle * step
    outline = centre + (outline - centre) * (1.0 - 2.0 * _RIM)
    # A hull that reaches the frame of the small picture reaches the frame of the large one.
    for axis, (last, end) in enumerate(((columns - 1, width - 1), (rows - 1, height - 1))):
        outline[hull[:, axis] <= 0, axis] = 0
        outline[hull[:, axis] >= last, axis] = end
    field = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(field, np.rint(outline).astype(np.int32), 1)
    notches = _dark_notches(inside, over)
    if notches is not None:
        field[cv2.resize(notches, (width, height), interpolation=cv2.INTER_NEAREST) > 0] = 0
    return field.astype(np.bool_)


def _dark_notches(inside: NDArray[np.uint8], over: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return where the hull spans surround, beside a camera's orientation mark; None where it does not."""
    import cv2

    dark = ((inside > 0) & (over == 0)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    outside = cv2.dilate((inside == 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    touching = np.unique(labels[(outside > 0) & (dark > 0)])
    area = float(inside.sum())
    kept = [n for n in touching if n and _NOTCH[0] * area < stats[n, cv2.CC_STAT_AREA] < _NOTCH[1] * area]
    if not kept:
        return None
    return np.isin(labels, kept).astype(np.uint8)


def read_fov(path: Path | str, shape: tuple[int, int], plane: int | None = None) -> NDArray[np.bool_]:
    """Read a field of view from a mask file: what is brighter than half the maximum.

    Parameters
    ----------
    path : Path or str
        Mask file.
    shape : tuple of int
        Height and width of the image.
    plane : int, optional
        Page of a multi-page file; ignored when the file has one page.

    Returns
    -------
    ndarray of bool, shape (Y, X)
        True inside.

    Raises
    ------
    InputError
        If the file cannot be read, has another shape, is empty, or is lines throughout, as a vessel mask is.
    """
    path = Path(path)
    values = decode(path, plane, single_page_for_any=True).array
    if values.ndim == 3:
        values = flatten_alpha(values)
    if values.ndim == 3:
        values = values.max(axis=2)
    check_same_shape(f"The field of view {path}", values.shape, shape)
    high = float(values.max())
    if not np.isfinite(high) or high <= 0:
        raise InputError(f"The field of view {path} is empty; paint the part that shows tissue white.")
    field = np.asarray(values > high / 2, np.bool_)
    if _is_lines(field):
        raise InputError(
            f"The field of view {path} is thin lines throughout, as a vessel mask is; give a mask of all that shows "
            "tissue."
        )
    return field


def _is_lines(field: NDArray[np.bool_]) -> bool:
    """Whether no part of what is to be a field of view is wide: holes, lobes and a small size are no reason."""
    import cv2

    left, top, width, height = cv2.boundingRect(field.astype(np.uint8))
    box = field[top : top + height, left : left + width].astype(np.uint8) * 255
    factor = _COARSE / max(box.shape)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    coarse = (cv2.resize(box, size, interpolation=cv2.INTER_AREA) > 127).astype(np.uint8)
    radius = float(cv2.distanceTransform(np.pad(coarse, 1), cv2.DIST_L2, 5).max())
    return bool(2 * radius < _LINES * min(size))
