"""One row of the project's table of images."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from napari_vessel.errors import InputError, ProjectError
from napari_vessel.images.decoding import MAX_PIXELS
from napari_vessel.images.image import MaskClass, Modality
from napari_vessel.review.backup import remedy
from napari_vessel.review.journal import FLAGS
from napari_vessel.untrusted import MALFORMED, shortened


class ImageState(StrEnum):
    """How far the work on an image is."""

    NEW = "new"
    SEGMENTED = "segmented"
    IN_REVIEW = "in_review"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What a project knows about an image without reading it.

    Attributes
    ----------
    id : str
        Stable name inside the project.
    name : str
        Unique in the project, ignoring case; fit for a file name.
    path : Path
        Where the pixels are.
    plane : int or None
        Page of a multi-page file, from 0.
    modality : Modality
        How it was taken.
    content_hash : str
        As :attr:`VesselImage.content_hash`.
    state : ImageState
        How far the work is.
    open_gaps : int
        Proposals without a verdict.
    annotator : str
        Who changed it last.
    changed : str
        When, UTC, ISO 8601.
    flags : frozenset of str
        ``ungradable``, ``second_reader``, ``all_vessels``.
    comment : str
        The annotator's.
    model : str
        What segmented it; empty for none.
    fov : str
        ``auto``, ``none``, or the path of a field-of-view file.
    shape : tuple of int
        Height and width, px.
    classes : tuple of MaskClass
        Classes of its mask.
    rule : str
        How the values of its mask file were mapped; empty without one.
    saved : bool
        Whether the pixels are an array kept inside the project.
    transform : tuple of 3 tuples of 3 floats, or None
        Takes (y, x, 1) in pixels to the world of the viewer it was taken from; None for one pixel, one unit.
    """

    id: str
    name: str
    path: Path
    plane: int | None
    modality: Modality
    content_hash: str
    state: ImageState
    open_gaps: int
    annotator: str
    changed: str
    flags: frozenset[str]
    comment: str
    model: str
    fov: str
    shape: tuple[int, int]
    classes: tuple[MaskClass, ...]
    rule: str
    saved: bool
    transform: tuple[tuple[float, ...], ...] | None = None

    @property
    def gaps_known(self) -> bool:
        """Whether gaps were looked for: not in an image without a mask, nor in one that came with it."""
        untouched = self.state is ImageState.SEGMENTED and not self.model and not self.annotator
        return self.state is not ImageState.NEW and not (untouched and not self.open_gaps)


_FLAT = 1e-12
_LONGEST_PATH, _LONGEST_PART = 4096, 255
_LONGEST_NAME = 250

RECORD_COLUMNS = (
    "id, name, path, plane, modality, content_hash, state, open_gaps, annotator, changed, flags, comment, model, fov, "
    "height, width, classes, rule, saved, transform"
)


def record_from_row(row: tuple[Any, ...], folder: Path) -> ImageRecord:
    """Return the record of a row of :data:`RECORD_COLUMNS`.

    Raises
    ------
    ProjectError
        If the row cannot be understood, or names a file outside the folder by a relative path.
    """
    try:
        return ImageRecord(
            id=_short(row[0]),
            name=_plain_name(row[1]),
            path=full_path(folder, row[2]),
            plane=None if row[3] is None else int(row[3]),
            modality=Modality(row[4]),
            content_hash=str(row[5]),
            state=ImageState(row[6]),
            open_gaps=int(row[7]),
            annotator=str(row[8]),
            changed=str(row[9]),
            flags=frozenset(json.loads(row[10])) & FLAGS,
            comment=str(row[11]),
            model=str(row[12]),
            fov=row[13] if row[13] in ("auto", "none") else str(full_path(folder, row[13])),
            shape=_usable_shape(row[14], row[15]),
            classes=classes_from_json(row[16]),
            rule=str(row[17]),
            saved=bool(row[18]),
            transform=transform_from_json(row[19]),
        )
    except MALFORMED as error:
        raise ProjectError(f"The project {folder} has a damaged row ({shortened(error)}); {remedy(folder)}.") from error


def _usable_shape(height: Any, width: Any) -> tuple[int, int]:
    if not (int(height) > 0 and int(width) > 0 and int(height) * int(width) <= MAX_PIXELS):
        raise ValueError(f"an image of {height} x {width} px")
    return int(height), int(width)


def _short(text: Any) -> str:
    if len(str(text)) > _LONGEST_NAME:
        raise ValueError(f"the name {shortened(text)}")
    return str(text)


def _plain_name(name: str) -> str:
    # It becomes a file name on export, so a tampered one must not lead anywhere else.
    if not _short(name) or name.startswith(".") or set(name) & set("/\\:\0"):
        raise ValueError(f"image name {name!r}")
    return name


def classes_to_json(classes: tuple[MaskClass, ...]) -> str:
    """Return classes as JSON text."""
    return json.dumps([[c.label, list(c.value) if isinstance(c.value, tuple) else c.value, c.name] for c in classes])


def classes_from_json(text: str) -> tuple[MaskClass, ...]:
    """Return the classes that :func:`classes_to_json` described."""
    found = []
    for label, value, name in json.loads(text):
        colour = (int(value[0]), int(value[1]), int(value[2])) if isinstance(value, list) else int(value)
        found.append(MaskClass(int(label), colour, str(name)))
    if not found:
        raise ValueError("a mask without classes")
    return tuple(found)


def transform_from_json(text: str) -> tuple[tuple[float, ...], ...] | None:
    """Return the matrix that was written down as three rows of three numbers, or None.

    Raises
    ------
    ValueError
        If it is no invertible map of the plane.
    """
    rows = json.loads(text)
    if rows is None:
        return None
    matrix = np.asarray(rows, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < _FLAT:
        raise ValueError("a place in the world that is no place")
    return tuple(tuple(float(value) for value in row) for row in matrix)


def stored_path(folder: Path, path: Path) -> str:
    """Return how a path is written down: relative to the project when inside it, absolute otherwise.

    Raises
    ------
    InputError
        If it is no text: on Linux a name may be any bytes.
    """
    whole = path.resolve()
    stored = whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)
    try:
        stored.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{str(path)!r} is a name that is no text; rename the file or its folder.") from error
    return stored


def full_path(folder: Path, stored: str) -> Path:
    """Return the path that was written down.

    Parameters
    ----------
    folder : Path
        The project, resolved.
    stored : str
        As from :func:`stored_path`.

    Raises
    ------
    ProjectError
        If a relative path leads out of the project.
    ValueError
        If it is too long for a path.
    """
    _check_path(stored)
    path = Path(stored)
    if path.is_absolute():
        return path
    return inside(folder, stored)


def _check_path(stored: str) -> None:
    """Raise ValueError for what is too long to be a file's path, in whole or in part."""
    if len(stored) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_PART for part in Path(stored).parts):
        raise ValueError("a path that no file has")


def inside(folder: Path, stored: str) -> Path:
    """Return a path that must lie inside the project, whatever the database says.

    Raises
    ------
    ProjectError
        If it does not.
    """
    try:
        path = (folder / stored).resolve()
        _check_path(stored)
        within = path.is_relative_to(folder)
    except (RuntimeError, *MALFORMED):
        # Links that lead in a circle, before Python 3.13, and names that cannot be.
        within = False
    if not within:
        raise ProjectError(
            f"The project {folder} names a file outside itself ({shortened(stored)}), as it was damaged or "
            f"tampered with; {remedy(folder)}."
        )
    return path
