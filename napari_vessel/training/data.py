"""The public fundus sets, their splits, and a loader that will not open a test image.

Folders are laid out as ``images/STEM.*``, ``masks/STEM.*`` and ``fov/STEM.*``; masks hold 0 and 255.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set and its split.

    Attributes
    ----------
    name : str
        Name for messages.
    is_training : callable
        Whether a stem belongs to the training split.
    validation_by_hash : int
        How many training images with the lowest SHA-256 of their file are held out; 0 when `is_validation` decides.
    is_validation : callable
        Whether a training stem is held out for validation.
    """

    name: str
    is_training: Callable[[str], bool]
    is_validation: Callable[[str], bool]
    validation_by_hash: int = 0


def _chasedb1_child(stem: str) -> int:
    """Return the child's number in ``Image_09L``, or 99 for another name, which is in no training split."""
    digits = stem.removeprefix("Image_")[:2]
    return int(digits) if digits.isdecimal() else 99


def _hrf_number(stem: str) -> int:
    """Return the number in ``05_dr``, or 99 for another name, which is in no training split."""
    digits = stem.split("_")[0]
    return int(digits) if digits.isdecimal() else 99


CHASEDB1 = DataSet("CHASE_DB1", lambda s: 1 <= _chasedb1_child(s) <= 10, lambda s: _chasedb1_child(s) in (9, 10))
HRF = DataSet("HRF", lambda s: 1 <= _hrf_number(s) <= 5, lambda s: _hrf_number(s) == 5)
LES_AV = DataSet("LES-AV", lambda s: True, lambda s: False, validation_by_hash=3)


@dataclass(frozen=True, eq=False, slots=True)
class FundusCase:
    """One training image at its own resolution.

    Attributes
    ----------
    name : str
        Data set and stem.
    pixels : ndarray of float32, shape (Y, X, 3)
        Red, green, blue in [0, 1].
    vessels : ndarray of bool, shape (Y, X)
        First observer's vessels.
    fov : ndarray of bool, shape (Y, X)
        Field of view.
    """

    name: str
    pixels: NDArray[np.float32]
    vessels: NDArray[np.bool_]
    fov: NDArray[np.bool_]


def _decode(path: Path, colour: bool) -> NDArray[np.uint8]:
    """Read an 8-bit image file, RGB or grey."""
    import cv2

    flag = cv2.IMREAD_COLOR_RGB if colour else cv2.IMREAD_GRAYSCALE
    image: Any = cv2.imdecode(np.fromfile(path, np.uint8), flag)
    if image is None:
        raise InputError(f"Cannot read '{path}' as an image; check that the file is complete.")
    return np.asarray(image, np.uint8)


def _one_file(folder: Path, stem: str) -> Path:
    """Return the file named `stem` in `folder`, whatever its suffix."""
    for path in sorted(folder.glob(f"{stem}.*")):
        return path
    raise InputError(f"There is no file named '{stem}' in '{folder}'; lay the set out as images/, masks/ and fov/.")


def read_case(data_set: DataSet, folder: Path, stem: str) -> FundusCase:
    """Read one training image.

    Raises
    ------
    InputError
        If `stem` is in the set's test split, or a file is missing or unreadable.
    """
    if not data_set.is_training(stem):
        raise InputError(
            f"'{stem}' belongs to the test split of {data_set.name} and cannot be trained on; take it out of the list."
        )
    pixels = _decode(_one_file(folder / "images", stem), colour=True).astype(np.float32) / 255.0
    vessels = _decode(_one_file(folder / "masks", stem), colour=False) >= 128
    fov = _decode(_one_file(folder / "fov", stem), colour=False) >= 128
    if not vessels.shape == fov.shape == pixels.shape[:2]:
        raise InputError(f"Image, mask and field of view of '{stem}' in '{folder}' differ in size; use matching files.")
    return FundusCase(f"{data_set.name}/{stem}", pixels, vessels, fov)


def split_stems(data_set: DataSet, folder: Path) -> tuple[list[str], list[str]]:
    """Return the stems to train on and those held out for validation, both from the training split only.

    Raises
    ------
    InputError
        If the folder holds no training image.
    """
    images = folder / "images"
    files = sorted(p for p in images.glob("*") if p.is_file() and not p.name.startswith("."))
    inside = [p for p in files if data_set.is_training(p.stem)]
    if not inside:
        raise InputError(f"No training image of {data_set.name} in '{images}'; give the folder that holds images/.")
    if len(files) > len(inside):
        log.info("%s: %d test images are left alone", data_set.name, len(files) - len(inside))
    if data_set.validation_by_hash:
        ranked = sorted(inside, key=lambda p: hashlib.sha256(p.read_bytes()).hexdigest())
        held = {p.stem for p in ranked[: data_set.validation_by_hash]}
    else:
        held = {p.stem for p in inside if data_set.is_validation(p.stem)}
    return [p.stem for p in inside if p.stem not in held], sorted(held)
