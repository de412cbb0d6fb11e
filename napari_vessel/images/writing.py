"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import VESSEL, MaskClass
from napari_vessel.images.masks import labels_to_values

MASK_SUFFIXES = (".png", ".tif", ".tiff")

_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
# Windows knows no quota.
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on error.

    Whoever looks at `path` sees the old file or the whole new one, never half of one.

    Parameters
    ----------
    path : Path or str
        File to write. Its folder must exist.

    Yields
    ------
    Path
        Where to write; same folder, same suffix.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """
    path = Path(path)
    # The hidden name keeps the suffix, because writers choose the format by it.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        if path.is_dir():
            raise InputError(f"Cannot write {path}: it is a folder; give a file name.")
        if not path.parent.is_dir():
            raise InputError(f"Cannot write {path}: the folder {path.parent} does not exist; make it first.")
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            # After a success there is nothing left to remove.
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or "the file could not be written"
        raise InputError(f"Cannot write {path}: {reason}; {way_out(error)} or choose another folder.") from error


def way_out(error: OSError) -> str:
    """Return what to do about something that could not be written, in a few words."""
    if error.errno in _CLOSED:
        return "ask for the right to write there"
    return "free the space" if error.errno in _FULL else "check the name and the disk"


def check_folder(folder: Path) -> None:
    """Raise InputError, before the work, for a folder that nothing can be written to."""
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} cannot be written to; ask for the right to write there or choose another folder.")


def write_mask(path: Path | str, labels: NDArray[Any], classes: Sequence[MaskClass] = (VESSEL,)) -> None:
    """Write a mask with the values its classes had in the file they came from.

    Parameters
    ----------
    path : Path or str
        A ``.png``, ``.tif`` or ``.tiff`` file.
    labels : ndarray of bool or uint8, shape (Y, X)
        True is label 1.
    classes : sequence of MaskClass, optional
        What each label is written as; by default label 1 is 255.

    Raises
    ------
    InputError
        If the suffix is none of these, a label has no class, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MASK_SUFFIXES:
        raise InputError(f"Cannot write a mask as {path.name}: name it .png or .tif, which keep every value exactly.")
    values = labels_to_values(np.asarray(labels), classes)
    if suffix == ".png" and values.dtype == np.uint32:
        raise InputError(f"Cannot write {path.name}: its classes go beyond 65535, which PNG cannot hold; name it .tif.")
    with replacing(path) as temporary:
        if suffix == ".png":
            import cv2

            # Run lengths suit a mask: half the time of PNG's usual strategy, and half the size.
            options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
            # OpenCV takes colours as blue, green, red.
            pixels = values[..., ::-1] if values.ndim == 3 else values
            temporary.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels), options)[1].tobytes())
        else:
            import tifffile

            tifffile.imwrite(
                temporary,
                values,
                photometric="rgb" if values.ndim == 3 else "minisblack",
                compression="zlib",
                metadata=None,
            )


def write_probability(path: Path | str, probability: NDArray[Any]) -> None:
    """Write a probability map as a float32 TIFF with lossless compression.

    Parameters
    ----------
    path : Path or str
        A ``.tif`` or ``.tiff`` file.
    probability : ndarray, shape (Y, X)
        Values in [0, 1].
    """
    import tifffile

    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(f"Cannot write a probability map as {path.name}: name it .tif.")
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            np.asarray(probability, np.float32),
            photometric="minisblack",
            compression="zlib",
            predictor=True,
            metadata=None,
        )


def write_json(path: Path | str, data: Any) -> None:
    """Write plain values as indented UTF-8 JSON. Of a file's name that is no text the bytes are escaped, as JSON does.

    Parameters
    ----------
    path : Path or str
        File to write.
    data : object
        Dictionaries, lists, strings, finite numbers, booleans and None.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
