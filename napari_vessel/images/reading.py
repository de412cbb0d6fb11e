"""Reading an image: pixels in [0, 1], field of view, modality, pixel size, and what was done to get them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.decoding import check_array_shape, count_planes, decode
from napari_vessel.images.fov import find_fov, read_fov
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.images.inputs import match_file
from napari_vessel.images.modality import guess_modality

__all__ = ["count_planes", "image_from_array", "read_image"]


def read_image(
    path: Path | str,
    *,
    plane: int | None = None,
    fov: str | Path = "auto",
    modality: Modality | None = None,
) -> VesselImage:
    """Read one image.

    Parameters
    ----------
    path : Path or str
        PNG, JPEG, TIFF, OME-TIFF, GIF, BMP or PPM/PGM; grey, RGB, RGBA or palette; 8 or 16 bits or floats.
    plane : int, optional
        Page of a multi-page file, from 0; by default the first.
    fov : {"auto", "none"}, Path or str, optional
        Field of view: found in fundus pictures, everywhere, or a mask file (or a folder that holds it).
    modality : Modality, optional
        Guessed by default.

    Returns
    -------
    VesselImage
        `notes` says what reading did.

    Raises
    ------
    InputError
        If the file, its field of view, or their sizes cannot be used.
    """
    path = Path(path)
    decoded = decode(path, plane)
    many = decoded.planes > 1
    notes = list(decoded.notes)
    if many:
        notes.insert(0, f"page {decoded.plane + 1} of {decoded.planes}")
    try:
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} could not be read to its end ({error.strerror}); copy it again.") from error
    return _finish(
        decoded.array,
        name=str(path),
        spacing=decoded.spacing,
        modality=modality,
        fov=fov,
        source=path,
        plane=decoded.plane if many else None,
        content_hash=f"{content}#{decoded.plane}" if many else content,
        notes=notes,
    )


def image_from_array(
    array: Any,
    *,
    rgb: bool | None = None,
    name: str = "",
    spacing: tuple[float, float] | None = None,
    modality: Modality | None = None,
    fov: str | Path | NDArray[np.bool_] = "auto",
    source: Path | None = None,
    plane: int | None = None,
) -> VesselImage:
    """Make an image from an array in memory, or a lazy one (dask, zarr).

    Parameters
    ----------
    array : array_like, shape (Y, X), (Y, X, 3) or (Y, X, 4)
        Whole numbers, booleans or floats.
    rgb : bool, optional
        Whether the last axis is colour; by default by the shape.
    name : str, optional
        What to call the array, in messages and in the names of files.
    spacing : tuple of float, optional
        Pixel size (y, x) in micrometres.
    modality : Modality, optional
        Guessed by default.
    fov : {"auto", "none"}, Path, str or ndarray of bool, optional
        As for :func:`read_image`, or the field of view itself.
    source : Path, optional
        File the array came from.
    plane : int, optional
        Page of that file.

    Raises
    ------
    InputError
        If the array is not a 2-D image.
    """
    called, name = name, name or "The array"
    shape = tuple(getattr(array, "shape", None) or np.shape(array))
    if rgb is True and (len(shape) != 3 or shape[-1] not in (3, 4)):
        raise InputError(f"{name} is called colour but has the shape {shape}; colour is (Y, X, 3) or (Y, X, 4).")
    if rgb is False and len(shape) != 2:
        raise InputError(f"{name} has {len(shape)} dimensions {shape}; show one 2-D plane of it and use that.")
    # Checked before a lazy array is computed.
    check_array_shape(shape, name)
    values = np.asarray(array)
    digest = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode())
    digest.update(np.ascontiguousarray(values).data)
    image = _finish(
        values,
        name=name,
        spacing=spacing,
        modality=modality,
        fov=fov,
        source=source,
        plane=plane,
        content_hash=digest.hexdigest(),
        notes=[],
    )
    return replace(image, name=called)


def _finish(
    array: NDArray[Any],
    *,
    name: str,
    spacing: tuple[float, float] | None,
    modality: Modality | None,
    fov: str | Path | NDArray[np.bool_],
    source: Path | None,
    plane: int | None,
    content_hash: str,
    notes: list[str],
) -> VesselImage:
    if array.ndim == 3 and array.shape[2] == 4:
        array = array[..., :3]
        notes.append("alpha channel ignored")
    pixels, valid = _scale(array, name, notes)
    if modality is None:
        modality = guess_modality(pixels)
        notes.append(f"modality guessed: {modality.value}")
    field = _field_of_view(fov, pixels, modality, source, plane, notes)
    if valid is not None:
        field = valid if field is None else field & valid
    return VesselImage(
        pixels=pixels,
        fov=field,
        modality=modality,
        spacing=spacing,
        source=source,
        plane=plane,
        content_hash=content_hash,
        notes=tuple(notes),
    )


def _scale(array: NDArray[Any], name: str, notes: list[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Scale to [0, 1]; also return where every value was finite, or None when all were."""
    kind = array.dtype.kind
    if kind not in "buif":
        raise InputError(f"{name} does not hold real numbers ({array.dtype}); export it as 8-bit, 16-bit or float.")
    if kind == "b":
        return array.astype(np.float32), None
    # Arrays of FITS files and of some zarr stores keep the byte order of another machine, and so another dtype.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if kind == "f":
        return _scale_floats(array, name, notes)
    if array.dtype in (np.uint8, np.uint16):
        bits = 8 * array.dtype.itemsize
        largest = 255
        if bits == 16:
            top = int(array.max())
            largest = 255 if top <= 255 else 4095 if top <= 4095 else 65535
        fits = {255: " (they fit in 8 bits)", 4095: " (they fit in 12 bits)"}.get(largest, "") if bits == 16 else ""
        notes.append(f"{bits}-bit values divided by {largest}{fits}")
        return np.divide(array, np.float32(largest), dtype=np.float32), None
    notes.append(f"{array.dtype} values from {array.min()} to {array.max()} stretched to 0-1")
    return _stretch(array.astype(np.float64)), None


def _scale_floats(
    array: NDArray[Any], name: str, notes: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    finite = np.isfinite(array)
    valid: NDArray[np.bool_] | None = None
    if not finite.all():
        if not finite.any():
            raise InputError(f"{name} holds no number at all (every value is NaN or infinite); export it again.")
        valid = finite.all(axis=2) if array.ndim == 3 else finite
        array = np.where(finite, array, np.median(array[finite]))
        bad = int(valid.size - np.count_nonzero(valid))
        notes.append(f"{bad} pixels that are not numbers filled with the median and left out of the field of view")
    low, high = float(array.min()), float(array.max())
    if low >= 0.0 and high <= 1.0:
        return np.ascontiguousarray(array, np.float32), valid
    notes.append(f"values from {low:g} to {high:g} stretched to 0-1")
    return _stretch(array.astype(np.float64)), valid


def _stretch(array: NDArray[np.float64]) -> NDArray[np.float32]:
    low, high = float(array.min()), float(array.max())
    if high <= low:
        return np.zeros(array.shape, np.float32)
    # Halved first, so that the difference of two huge floats stays finite.
    return np.asarray((array / 2 - low / 2) / (high / 2 - low / 2), np.float32).clip(0.0, 1.0)


def _field_of_view(
    fov: str | Path | NDArray[np.bool_],
    pixels: NDArray[np.float32],
    modality: Modality,
    source: Path | None,
    plane: int | None,
    notes: list[str],
) -> NDArray[np.bool_] | None:
    shape = (int(pixels.shape[0]), int(pixels.shape[1]))
    if isinstance(fov, np.ndarray):
        from napari_vessel.images.masks import check_same_shape

        check_same_shape("The field of view", fov.shape, shape)
        return fov.astype(np.bool_)
    if fov == "none":
        return None
    if fov == "auto":
        if modality is not Modality.FUNDUS:
            return None
        found = find_fov(pixels)
        notes.append("field of view found in the image" if found is not None else "field of view: the whole image")
        return found
    place = Path(fov)
    if place.is_dir():
        stem = VesselImage(pixels, source=source, plane=plane).stem if source is not None else ""
        match = match_file(stem, place, prefer=("fov", "mask"), exclude=source) if stem else None
        if match is None:
            raise InputError(
                f"No field of view for {source or 'this image'} in {place}; "
                f"name it {stem or 'like the image'}.png, or use auto or none."
            )
        place = match
    field = read_fov(place, shape, plane)
    notes.append(f"field of view from {place.name}")
    return field
