"""Parts of an image that are measured apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError

Regions = Mapping[str, NDArray[np.bool_]]
"""Parts of an image by name, bool, shape (Y, X) each; they may overlap."""

QUADRANTS = ("upper left", "upper right", "lower left", "lower right")

ZONE_EDGES = {"zone A": (1.0, 2.0), "zone B": (2.0, 3.0), "zone C": (2.0, 5.0)}
"""Zones of a fundus photograph: from so many to so many radii of the optic disc from its middle. A reaches from the
disc's margin to half its diameter away, B from there to a whole one, C from there to two."""

MOST_REGIONS = 100


def quadrants(shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
    """Return the four quarters of an image, by their place in the picture."""
    lower, right = (np.arange(side) >= side / 2 for side in shape)
    return {
        name: np.asarray((lower == bool(n // 2))[:, None] & (right == bool(n % 2))[None, :])
        for n, name in enumerate(QUADRANTS)
    }


def zones(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> dict[str, NDArray[np.bool_]]:
    """Return the zones A, B and C of a fundus photograph.

    Parameters
    ----------
    shape : tuple of int
        Height and width, px.
    centre : tuple of float
        (y, x) of the optic disc's middle, px.
    radius : float
        That of the optic disc, px.

    Raises
    ------
    InputError
        If the radius is not above 0.
    """
    if not radius > 0:
        raise InputError(f"The optic disc's radius is {radius}; give one above 0.")
    y, x = np.ogrid[: shape[0], : shape[1]]
    away = np.hypot(y - centre[0], x - centre[1]) / radius
    return {name: np.asarray((away >= inner) & (away < outer)) for name, (inner, outer) in ZONE_EDGES.items()}


def read_regions(path: Path, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
    """Read a label image of regions: each value but 0 is one, named ``region VALUE``.

    Raises
    ------
    InputError
        If the file cannot be read, is not as large as the image, or holds no region or more than a hundred.
    """
    from napari_vessel.images.decoding import decode

    labels = decode(path).array
    if labels.shape != shape or labels.dtype.kind not in "bui":
        raise InputError(
            f"The regions {path} must be one grey image of whole numbers, {shape[0]} x {shape[1]} px (height x width)."
        )
    values = [int(value) for value in np.unique(labels) if value]
    if not 0 < len(values) <= MOST_REGIONS:
        raise InputError(f"The regions {path} hold {len(values)} values beside 0; give 1 to {MOST_REGIONS}.")
    return {f"region {value}": labels == value for value in values}
