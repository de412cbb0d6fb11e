"""Vesselness from second derivatives: no weights, every modality, always there.

A vessel is a ridge (or a valley) of the intensity. Its cross-section has a large second derivative, which the larger
eigenvalue of the Hessian at a matching scale measures (Sato et al., 1998; Frangi et al., 1998). The image is first
brought to a size at which its vessels are a few pixels wide, so a few fixed scales suffice for any image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.jobs import Job, Progress
from napari_vessel.segmentation.preparation import field_diameter, normalise, resample, resample_fov
from napari_vessel.topology.calibre import median_calibre
from napari_vessel.topology.components import remove_small

FIRST_SIZE = 600.0
"""Width of the field in pixels at which calibre is estimated."""

WORKING_CALIBRE = 3.4
"""Median calibre in pixels to which the image is then brought."""

SIZES = (480.0, 1000.0)
"""Least and largest width of the field at the working size: a wrong estimate of calibre must not do much harm."""

SCALES = (1.0, 1.5, 2.2, 3.2)
"""Standard deviations of the Gaussians in pixels: .3 to .95 working calibres."""

EVEN_OUT = 0.6
"""Share of the local, rather than the whole image's, contrast by which a fundus photograph is scaled: it is lit
unevenly, and its vessels are fainter towards the rim. Other images are lit evenly, and there this raises the noise."""

LEVEL = (2.43, 0.75, 0.25)
"""The response that means one half: factor, exponent of the responses' spread, exponent of their median."""


def vesselness(image: VesselImage) -> Job[tuple[NDArray[np.float32], dict[str, Any]]]:
    """Compute a vessel map that can be cut at one half.

    Parameters
    ----------
    image : VesselImage
        Any modality. Vessels are dark in fundus and X-ray images, bright in OCTA and two-photon images; for
        other images, the polarity that stands out more.

    Returns
    -------
    probability : ndarray of float32, shape (Y, X)
        In [0, 1]; a squashed filter response, not a calibrated probability.
    settings : dict
        Scale, calibre and polarity that were used.
    """
    channel = image.vessel_channel()
    diameter = field_diameter(image.shape, image.fov)
    even_out = EVEN_OUT if image.modality is Modality.FUNDUS else 0.0
    yield Progress(0, 4, "Estimating how wide vessels are")
    first, inside = _at_size(channel, image.fov, FIRST_SIZE / diameter, even_out)
    dark = image.modality.dark_vessels
    if image.modality is Modality.OTHER:
        dark = _contrast(_response(first, inside, dark=True), inside) >= _contrast(
            _response(first, inside, dark=False), inside
        )
    calibre = _estimate_calibre(_response(first, inside, dark), inside)
    yield Progress(1, 4, "Looking for ridges")
    size = float(np.clip(FIRST_SIZE * WORKING_CALIBRE / calibre, *SIZES))
    second, inside = _at_size(channel, image.fov, size / diameter, even_out)
    response = _response(second, inside, dark)
    yield Progress(3, 4, "Looking for ridges")
    squashed = _squash(response, inside)
    probability = np.clip(resample(squashed, image.shape), 0.0, 1.0)
    settings = {
        "working_scale": {"kind": "own"},
        "working_shape": list(second.shape),
        "scale": size / diameter,
        "calibre_px": calibre * diameter / FIRST_SIZE,
        "dark_vessels": bool(dark),
    }
    return np.asarray(probability, np.float32), settings


def _at_size(
    channel: NDArray[np.float32], fov: NDArray[np.bool_] | None, factor: float, even_out: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Resample and flatten; return the image and where its responses count."""
    import cv2

    shape = (max(8, round(channel.shape[0] * factor)), max(8, round(channel.shape[1] * factor)))
    small_fov = resample_fov(fov, shape)
    # Bright lesions and reflexes would otherwise outshine every vessel.
    flat = np.clip(normalise(resample(channel, shape), small_fov)[..., 0], -1.5, 1.5)
    inside = np.ones(shape, np.bool_) if small_fov is None else small_fov
    if even_out > 0 and inside.any():
        flat = _even_out(flat, inside, even_out)
    # The rim of the field of view is an edge, and looks like a vessel.
    rim = np.ones((9, 9), np.uint8)
    kept = cv2.erode(inside.astype(np.uint8), rim, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    return flat, np.asarray(kept > 0, np.bool_)


def _even_out(flat: NDArray[np.float32], inside: NDArray[np.bool_], share: float) -> NDArray[np.float32]:
    """Divide by a blend of local contrast (one twelfth of the image around) and contrast of the whole image."""
    import cv2

    sigma = max(flat.shape) / 12
    weight = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), sigma)
    square = cv2.GaussianBlur(flat * flat * inside, (0, 0), sigma)
    local = np.sqrt(square / np.maximum(weight, 1e-3))
    whole = float(flat[inside].std())
    return np.asarray(flat * whole / (share * local + (1 - share) * whole + 1e-6), np.float32)


def _response(flat: NDArray[np.float32], inside: NDArray[np.bool_], dark: bool) -> NDArray[np.float32]:
    """Return the largest scale-normalised ridge response over all scales."""
    import cv2

    second = np.array([[1, -2, 1]], np.float32)
    mixed = np.array([[1, 0, -1], [0, 0, 0], [-1, 0, 1]], np.float32) / 4
    signed = flat if dark else -flat
    best = np.zeros(flat.shape, np.float32)
    for sigma in SCALES:
        smooth = cv2.GaussianBlur(signed, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        xx = cv2.filter2D(smooth, -1, second, borderType=cv2.BORDER_REFLECT)
        yy = cv2.filter2D(smooth, -1, second.T, borderType=cv2.BORDER_REFLECT)
        xy = cv2.filter2D(smooth, -1, mixed, borderType=cv2.BORDER_REFLECT)
        mean, spread = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
        # Blobs are curved along both axes; half of the second curvature is held against them, because
        # bifurcations have some of it too.
        across, along = mean + spread, mean - spread
        np.maximum(best, sigma * sigma * (across - 0.5 * np.abs(along)), out=best)
    best[~inside] = 0
    return best


def _contrast(response: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """Return how far the strongest responses stand out from the typical one."""
    values = response[inside]
    if values.size == 0:
        return 0.0
    # Coronary vessels may cover less than 3 % of an X-ray angiogram.
    return float(np.percentile(values, 99))


def _estimate_calibre(response: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """Return the median width of the strongest ridges, px."""
    if not inside.any():
        return WORKING_CALIBRE
    strong = (response > np.percentile(response[inside], 92)) & inside
    # Specks of noise are narrow, and would make every vessel look so.
    calibre = median_calibre(remove_small(strong, 60))
    return calibre if calibre > 0 else WORKING_CALIBRE


def _squash(response: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Map responses to [0, 1] so that one threshold fits images of any contrast."""
    values = response[inside]
    spread = float(values.std()) if values.size else 0.0
    if spread < 1e-6:
        return np.zeros(response.shape, np.float32)
    factor, by_spread, by_median = LEVEL
    half = factor * spread**by_spread * max(float(np.median(values)), 1e-6) ** by_median
    squared = response * response
    return np.asarray(squared / (squared + np.float32(half * half)), np.float32)
