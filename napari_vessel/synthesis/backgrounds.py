"""Real tissue without its vessels, for synthetic ones to be drawn on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import VesselImage
from napari_vessel.synthesis.appearance import Picture, blur

_LONGEST = 1024


@dataclass(frozen=True, eq=False, slots=True)
class Background:
    """A real image with its vessels inpainted away.

    Attributes
    ----------
    pixels : ndarray of float32, shape (Y, X) or (Y, X, 3)
        Intensities in [0, 1].
    fov : ndarray of bool, shape (Y, X), or None
        Field of view; None means everywhere.
    """

    pixels: Picture
    fov: NDArray[np.bool_] | None

    @classmethod
    def of(cls, image: VesselImage, vessels: NDArray[np.bool_] | None = None) -> Background:
        """Take the vessels out of an image.

        Parameters
        ----------
        image : VesselImage
            Any image; one longer than 1024 px is made smaller.
        vessels : ndarray of bool, shape (Y, X), optional
            Where they are; found by a multi-scale ridge filter when left out.

        Raises
        ------
        InputError
            If `vessels` has another shape than the image.
        """
        import cv2

        if vessels is not None and vessels.shape != image.shape:
            raise InputError(f"The mask is {vessels.shape} and the image {image.shape}; give a mask of its size.")
        scale = min(1.0, _LONGEST / max(image.shape))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        pixels = np.asarray(cv2.resize(image.pixels, size, interpolation=cv2.INTER_AREA), np.float32)
        fov = None
        if image.fov is not None:
            fov = cv2.resize(image.fov.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        if vessels is None:
            channel = cv2.resize(image.vessel_channel(), size, interpolation=cv2.INTER_AREA)
            found = _ridges(np.asarray(channel, np.float32), fov, image.modality.dark_vessels)
        else:
            found = cv2.resize(vessels.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.1
        hole = cv2.dilate(found.astype(np.uint8), np.ones((5, 5), np.uint8))
        filled = cv2.inpaint(np.rint(pixels * 255).astype(np.uint8), hole, 5, cv2.INPAINT_TELEA)
        inside = hole > 0
        pixels[inside] = filled[inside].astype(np.float32) / 255
        return cls(pixels, fov)


def _ridges(channel: Picture, fov: NDArray[np.bool_] | None, dark: bool) -> NDArray[np.bool_]:
    """Return what a multi-scale ridge filter takes for vessels: the strongest tenth."""
    import cv2

    signed = channel if dark else -channel
    best = np.zeros(channel.shape, np.float32)
    for sigma in (1.5, 3.0, 5.0):
        smooth = blur(signed, sigma)
        xx, yy = cv2.Sobel(smooth, cv2.CV_32F, 2, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 2)
        xy = cv2.Sobel(smooth, cv2.CV_32F, 1, 1)
        best = np.maximum(best, sigma**2 * ((xx + yy) / 2 + np.sqrt(((xx - yy) / 2) ** 2 + xy**2)))
    inside = np.ones(channel.shape, np.bool_)
    if fov is not None:
        inside = cv2.erode(fov.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if not inside.any():
        return inside
    return np.asarray((best > np.percentile(best[inside], 90)) & inside, np.bool_)
