"""A sensible first guess at how an image was taken; the annotator may always choose otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import Modality

_SIDE = 256
_OCTA_SIDE = 1536


def guess_modality(pixels: NDArray[Any]) -> Modality:
    """Guess how an image was taken.

    The rules, in order:

    1. colour: fundus when the tissue is redder than it is blue (median over what is lit); other otherwise;
    2. grey and flat: other;
    3. grey with dark lines in a lit disc with a dark surround: fundus (a red-free photograph, or one channel of one);
    4. grey with thin bright lines that stand out more than thin dark ones: OCT angiography when the picture is
       near square and no larger than OCT angiograms are, other otherwise;
    5. grey with dark lines that stand out more: X-ray angiogram.

    Parameters
    ----------
    pixels : ndarray of float, shape (Y, X) or (Y, X, 3)
        Intensities in [0, 1].

    Returns
    -------
    Modality
        ``OTHER`` when no rule fits. Two-photon projections are never guessed.
    """
    height, width = int(pixels.shape[0]), int(pixels.shape[1])
    step = max(1, min(height, width) // _SIDE)
    small = np.asarray(pixels[::step, ::step], np.float32)
    if small.ndim == 3:
        colour = small[..., :3]
        if float(np.abs(colour - colour.mean(axis=2, keepdims=True)).mean()) > 0.01:
            return _guess_colour(colour)
        small = colour[..., 1]
    return _guess_grey(small, height, width)


def _guess_colour(colour: NDArray[np.float32]) -> Modality:
    light = colour.max(axis=2)
    lit = colour[light > 0.25 * float(np.percentile(light, 95))]
    if lit.size == 0:
        return Modality.OTHER
    red, green, blue = (float(v) for v in np.median(lit, axis=0))
    return Modality.FUNDUS if red > 1.2 * blue and red > green else Modality.OTHER


def _guess_grey(small: NDArray[np.float32], height: int, width: int) -> Modality:
    import cv2

    low, high = (float(v) for v in np.percentile(small, (1, 99)))
    if high - low < 0.02:
        return Modality.OTHER
    level = cv2.GaussianBlur((small - low) / (high - low), (0, 0), 1.0)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    bright = float(np.percentile(cv2.morphologyEx(level, cv2.MORPH_TOPHAT, disk), 97))
    dark = float(np.percentile(cv2.morphologyEx(level, cv2.MORPH_BLACKHAT, disk), 97))
    if max(bright, dark) < 0.04:
        return Modality.OTHER
    if dark > bright and _is_round(small):
        return Modality.FUNDUS
    if bright > dark:
        near_square = max(height, width) <= 1.25 * min(height, width)
        return Modality.OCTA if near_square and max(height, width) <= _OCTA_SIDE else Modality.OTHER
    return Modality.XRAY


def _is_round(small: NDArray[np.float32]) -> bool:
    """Whether what is lit is a disc, perhaps clipped above and below, and not a square that leaves a dark margin."""
    from napari_vessel.images.fov import find_fov

    field = find_fov(small)
    if field is None:
        return False
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    box = field[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    corner = max(2, min(box.shape) // 12)
    ends = [box[:corner, :corner], box[:corner, -corner:], box[-corner:, :corner], box[-corner:, -corner:]]
    return not any(bool(end.all()) for end in ends) and float(box.mean()) > 0.7
