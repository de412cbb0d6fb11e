"""Probability maps in, as ``segment`` writes them or as another program's whole numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.decoding import decode


def read_probability(path: Path, shape: tuple[int, int], plane: int | None = None) -> NDArray[np.float32]:
    """Read a vessel probability.

    Parameters
    ----------
    path : Path
        A file of floats from 0 to 1, or of unsigned whole numbers, whose largest possible value means 1.
    shape : tuple of int
        Height and width of the image it belongs to.
    plane : int, optional
        Page of a multi-page file, from 0. Ignored when the file has one page.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        Values in [0, 1].

    Raises
    ------
    InputError
        If the file cannot be read, has another shape, or holds no probabilities.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the probability file.")
    values = np.asarray(decode(path, plane, single_page_for_any=True).array)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.shape != shape:
        raise InputError(f"{path} has shape {values.shape} and the image {shape}; give the probability of this image.")
    if values.dtype.kind == "u":
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    if values.dtype.kind != "f" or not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise InputError(f"{path} is no probability map: its values must be numbers from 0 to 1.")
    return values.astype(np.float32)
