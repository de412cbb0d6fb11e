"""Where vessels probably are, from the image alone: pseudo-labels for what is hidden and for the light segmenter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import Modality

SIGMAS = (1.0, 2.0, 3.0, 4.0)
"""Standard deviations of the Gaussians, px at the working scale."""

BORDER = 12
"""Width of the rim of image and field of view that is left out, px: the widest Gaussian reaches three deviations."""

SHARE = 0.08
"""Share of the pixels, those of the strongest response, among which vessels are grown."""

SMALLEST_TREE = 0.1
"""Least size of a further tree, as a share of the one with the strongest response. On training images of ROSSA and
OCTA-500 the map then holds nearly three times as much of the true vessels (``benchmarks/results/pretrain.md``)."""


def vessel_map(
    pixels: NDArray[np.float32],
    fov: NDArray[np.bool_] | None,
    modality: Modality,
    smallest_tree: float = SMALLEST_TREE,
) -> NDArray[np.bool_]:
    """Find the vessel trees that stand out most, without any label.

    As in VasoMIM (Huang et al., 2025, arXiv 2508.10794): Sato's filter (Sato et al., 1998), its border removed, the
    strongest responses kept, and of these what is connected to the maximum (8-connected). That is one tree, as a
    coronary angiogram shows; retinas show several, so further ones that are not much smaller are kept too.

    Parameters
    ----------
    pixels : ndarray of float32, shape (Y, X)
        The channel that shows vessels best, background subtracted, at the working scale.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view; None means everywhere.
    modality : Modality
        Says whether vessels are dark or bright.
    smallest_tree : float
        Least size of a further tree, as a share of the first one's; infinity for that one alone, as published.

    Returns
    -------
    ndarray of bool, shape (Y, X)
        Empty where nothing responds.
    """
    import cv2
    from skimage.filters import sato

    field = np.ones(pixels.shape, np.uint8) if fov is None else fov.astype(np.uint8)
    inside = np.asarray(cv2.erode(field, np.ones((3, 3), np.uint8), iterations=BORDER, borderValue=0) > 0, np.bool_)
    empty = np.zeros(pixels.shape, np.bool_)
    if not inside.any():
        return empty
    found = sato(pixels, sigmas=SIGMAS, black_ridges=modality.dark_vessels, mode="reflect")  # type: ignore[no-untyped-call]
    response = np.where(inside, found, 0).astype(np.float32)
    if not response.any():
        return empty
    strong = response >= max(float(np.quantile(response[inside], 1 - SHARE)), 1e-6)
    _, labels, table, _ = cv2.connectedComponentsWithStats(strong.astype(np.uint8), connectivity=8)
    first, sizes = labels.ravel()[int(response.argmax())], table[:, cv2.CC_STAT_AREA]
    large = sizes >= smallest_tree * sizes[first]
    large[first], large[0] = True, False
    return np.asarray(large[labels], np.bool_)
