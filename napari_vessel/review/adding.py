"""Adding images to a project: everything is read and checked first, then written at once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError, ProjectError
from napari_vessel.images.image import VESSEL, Modality, VesselImage, VesselMask
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.journal import now
from napari_vessel.review.records import ImageState, classes_to_json, inside, stored_path
from napari_vessel.review.schema import Database

if TYPE_CHECKING:
    from napari_vessel.images.inputs import ImageInput

Fov = Literal["auto", "none"] | Path

_LONGEST_NAME = 200
"""Bytes; most disks take 255 with all endings."""
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Incoming:
    """An image from a data set, with what is known of it there. Its pixels are read when its turn comes.

    Attributes
    ----------
    name : str
        What it is called.
    read : callable
        Returns the image and its mask, or None without one.
    state : ImageState
        How far the work on it is; without a mask it is new, whatever this says.
    flags : frozenset of str
        As those of :class:`ImageRecord`.
    comment : str
        The annotator's.
    """

    name: str
    read: Callable[[], tuple[VesselImage, VesselMask | None]]
    state: ImageState = ImageState.SEGMENTED
    flags: frozenset[str] = field(default_factory=frozenset)
    comment: str = ""


@dataclass
class _Pending:
    """An image that was read and is fit to be written."""

    id: str
    stem: str
    path: Path | None
    plane: int | None
    content_hash: str
    shape: tuple[int, int]
    modality: Modality
    spacing: tuple[float, float] | None
    notes: tuple[str, ...]
    fov: str
    pixels: NDArray[np.float32] | None
    fov_pixels: NDArray[np.bool_] | None
    mask: VesselMask | None
    state: ImageState = ImageState.SEGMENTED
    flags: frozenset[str] = frozenset()
    comment: str = ""
    stored: str = ""


def add_images(
    database: Database,
    folder: Path,
    inputs: Sequence[ImageInput | VesselImage | Incoming],
    masks: Path | VesselMask | None,
    fov: Fov,
    modality: Modality | None,
) -> Job[list[str]]:
    """Read, check and add images; returns their ids, in the order of `inputs`.

    A generator that is closed, or an image that cannot be read, leaves the project as it was. An image whose content
    is there already is not added again: its path is brought up to date when its file has moved, and a mask is taken
    over when it has neither a mask nor a history, not even one that was taken back.

    Raises
    ------
    InputError
        If an image or mask cannot be used.
    ProjectError
        If the project cannot be written.
    """
    from napari_vessel.images.inputs import check_mask_file

    if isinstance(masks, VesselMask) and len(inputs) > 1:
        raise InputError(f"One mask was given for {len(inputs)} images; give a folder of masks with the images' names.")
    if isinstance(masks, Path):
        check_mask_file(masks, [_own_file(item) for item in inputs])
    pending: list[_Pending] = []
    owners: dict[Path, Path | None] = {}
    known = {row[0] for row in database.rows("SELECT content_hash FROM images")}
    written: list[Path] = []
    try:
        for number, item in enumerate(inputs):
            yield Progress(number, len(inputs), f"Reading {_name_of(item)}")
            new = _supplied(item, modality) if isinstance(item, Incoming) else _read(item, masks, fov, modality, owners)
            if new.content_hash not in known:
                known.add(new.content_hash)
                _save_pixels(folder, new, written)
            new.pixels = new.fov_pixels = None
            pending.append(new)
        yield Progress(len(inputs), len(inputs), "Writing the project")
        return _write(database, folder, pending, written)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _name_of(item: ImageInput | VesselImage | Incoming) -> str:
    if isinstance(item, Incoming):
        return item.name
    return item.stem if isinstance(item, VesselImage) else item.path.name


def _own_file(item: ImageInput | VesselImage | Incoming) -> Path | None:
    if isinstance(item, Incoming):
        return None
    return _file_of(item) if isinstance(item, VesselImage) else item.path


def _supplied(item: Incoming, modality: Modality | None) -> _Pending:
    image, mask = item.read()
    new = _read(image, mask, "none", modality, {})
    new.stem, new.state, new.flags, new.comment = item.name, item.state, item.flags, item.comment
    return new


def _read(
    item: ImageInput | VesselImage,
    masks: Path | VesselMask | None,
    fov: Fov,
    modality: Modality | None,
    owners: dict[Path, Path | None],
) -> _Pending:
    from napari_vessel.images.inputs import match_file
    from napari_vessel.images.masks import read_mask
    from napari_vessel.images.reading import read_image

    if isinstance(item, VesselImage):
        image, stem, path, plane = item, item.stem, _file_of(item), item.plane
        if path is None and not (float(image.pixels.min()) >= 0.0 and float(image.pixels.max()) <= 1.0):
            # They are saved in the project, and would be taken for damaged when they are read again.
            raise InputError(f"The values of {stem} are not all from 0 to 1; scale them first.")
        how = "none" if image.fov is None else "saved"
        modality = image.modality if modality is None else modality
    else:
        stem, path, plane = item.stem, item.path, item.plane
        if isinstance(fov, Path):
            found = match_file(stem, fov, prefer=("fov", "mask"), exclude=path)
            if found is None:
                raise InputError(f"{fov} has no field-of-view file for {item.path.name}; add one or use --fov auto.")
            fov = found
        image = read_image(path, plane=plane, fov=fov, modality=modality)
        how = str(fov.resolve()) if isinstance(fov, Path) else fov
        modality = image.modality
    mask: VesselMask | None = None
    if isinstance(masks, VesselMask):
        mask = masks
    elif masks is not None:
        file = match_file(stem, masks, exclude=path)
        if file is not None and owners.setdefault(file, path) != path:
            raise InputError(f"{file.name} could be the mask of {stem} and of another image; name it after its image.")
        mask = None if file is None else read_mask(file, image.shape, plane)
    if mask is not None and mask.labels.shape != image.shape:
        raise InputError(
            f"The mask has shape {mask.labels.shape} and the image {stem} {image.shape}; give a mask of the same size."
        )
    return _Pending(
        id=uuid.uuid4().hex[:12],
        stem=stem,
        path=path,
        plane=plane,
        content_hash=image.content_hash or _array_hash(image.pixels),
        shape=image.shape,
        modality=modality,
        spacing=image.spacing,
        notes=image.notes,
        fov=how,
        pixels=image.pixels if path is None else None,
        fov_pixels=image.fov if how == "saved" else None,
        mask=mask,
    )


def _file_of(image: VesselImage) -> Path | None:
    """Return the file an image can be read from again: only when that still has the very content of the image."""
    if image.source is None or not image.source.is_file():
        return None
    digest = hashlib.sha256(image.source.read_bytes()).hexdigest()
    same = image.content_hash.split("#")[0] == digest
    return image.source if same else None


def _array_hash(pixels: NDArray[np.float32]) -> str:
    head = f"{pixels.dtype.str}{pixels.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _write(database: Database, folder: Path, pending: Sequence[_Pending], written: list[Path]) -> list[str]:
    ids: list[str] = []
    with database.transaction() as connection:
        query = (
            "SELECT id, content_hash, name, path, base, EXISTS (SELECT 1 FROM edits WHERE image = images.id), number "
            "FROM images"
        )
        rows = connection.execute(query).fetchall()
        known = {row[1]: row for row in rows}
        names = {unicodedata.normalize("NFC", str(row[2])).casefold() for row in rows}
        # What is no number was written by somebody else, and its row is refused when it is read.
        number = max((row[6] for row in rows if isinstance(row[6], int)), default=0)
        for new in pending:
            if new.content_hash in known:
                image_id, _, _, path, base, edited, _ = known[new.content_hash]
                ids.append(image_id)
                if new.path is not None and not (folder / path).is_file():
                    connection.execute(
                        "UPDATE images SET path = ? WHERE id = ?", (stored_path(folder, new.path), image_id)
                    )
                # Edits that were taken back can be done again, on what they were made on.
                if new.mask is not None and base is None and not edited:
                    stored = _save_mask(folder, image_id, new.mask, written)
                    connection.execute(
                        "UPDATE images SET base = ?, classes = ?, rule = ?, state = 'segmented' WHERE id = ?",
                        (stored, classes_to_json(new.mask.classes), new.mask.rule, image_id),
                    )
                continue
            number += 1
            name = _unique(_clean(new.stem), names)
            base = None if new.mask is None else _save_mask(folder, new.id, new.mask, written)
            connection.execute(
                "INSERT INTO images (id, number, name, path, plane, saved, content_hash, height, width, modality, "
                "spacing, notes, fov, base, classes, rule, state, flags, comment, changed) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    new.id,
                    number,
                    name,
                    new.stored,
                    new.plane,
                    int(new.path is None),
                    new.content_hash,
                    *new.shape,
                    new.modality.value,
                    json.dumps(new.spacing),
                    json.dumps(new.notes),
                    new.fov,
                    base,
                    classes_to_json((VESSEL,) if new.mask is None else new.mask.classes or (VESSEL,)),
                    "" if new.mask is None else new.mask.rule,
                    (ImageState.NEW if new.mask is None else new.state).value,
                    json.dumps(sorted(new.flags)),
                    new.comment,
                    now(),
                ),
            )
            known[new.content_hash] = (new.id, new.content_hash, name, new.stored, base, 0, number)
            ids.append(new.id)
    return ids


def _save_mask(folder: Path, image_id: str, mask: VesselMask, written: list[Path]) -> str:
    stored = f"masks/{image_id}.png"
    write_png(inside(folder, stored), np.ascontiguousarray(mask.labels, np.uint8))
    written.append(folder / stored)
    return stored


def _save_pixels(folder: Path, new: _Pending, written: list[Path]) -> None:
    """Write what has no file of its own, and note what to remember as field of view and as path."""
    if new.fov_pixels is not None:
        new.fov = f"images/{new.id}_fov.png"
        write_png(inside(folder, new.fov), new.fov_pixels.astype(np.uint8) * np.uint8(255))
        written.append(folder / new.fov)
    elif new.fov not in ("auto", "none"):
        new.fov = stored_path(folder, Path(new.fov))
    if new.path is not None:
        new.stored = stored_path(folder, new.path)
        return
    assert new.pixels is not None
    new.stored = f"images/{new.id}.tif"
    write_array(inside(folder, new.stored), new.pixels)
    written.append(folder / new.stored)


def write_png(path: Path, values: NDArray[np.uint8]) -> None:
    """Write a uint8 array losslessly; it is on the disk, under its name, when this returns.

    Raises
    ------
    ProjectError
        If it cannot be written.
    """
    import cv2

    _, data = cv2.imencode(".png", values)
    _write_file(path, data.tobytes())


def write_array(path: Path, pixels: NDArray[np.float32]) -> None:
    """Write a float32 image, shape (Y, X) or (Y, X, 3), as a zlib-compressed TIFF.

    Raises
    ------
    ProjectError
        If it cannot be written.
    """
    import io

    import tifffile

    buffer = io.BytesIO()
    photometric = "minisblack" if pixels.ndim == 2 else "rgb"
    tifffile.imwrite(buffer, np.asarray(pixels, np.float32), compression="zlib", photometric=photometric)
    _write_file(path, buffer.getvalue())


def _write_file(path: Path, data: bytes) -> None:
    from napari_vessel.images.writing import replacing

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ProjectError(f"{path} cannot be written ({error.strerror}); check the folder's permissions.") from error


def _clean(stem: str) -> str:
    """Return a name that is a plain file name on every system, with room for endings."""
    # One and the same letter may be written in two ways, which some disks tell apart and others do not.
    plain = re.sub(r"[^\w.+-]+", "_", unicodedata.normalize("NFC", stem)).strip("._")[:100]
    plain = plain.encode()[:_LONGEST_NAME].decode(errors="ignore").strip("._") or "image"
    # Windows takes these for devices, whatever comes behind a dot.
    return f"image_{plain}" if _DEVICE.match(plain) else plain


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate.casefold())
    return candidate
