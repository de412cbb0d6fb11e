"""Files from strangers: JSON of a bearable size, and paths that stay inside the folder that was chosen."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from napari_vessel.errors import InputError
from napari_vessel.images.inputs import is_image_file, natural_order, same_letters
from napari_vessel.untrusted import read_json, shortened

MAX_JSON = 256 * 1024 * 1024
"""Bytes; the run lengths of some thousand large images."""
_LONGEST_PART = 255
"""Bytes of a name in a path."""


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    InputError
        If it is none, or too large.
    """
    try:
        if path.is_file() and (size := path.stat().st_size) > MAX_JSON:
            raise InputError(f"{path} has {size / 1e6:.0f} MB, more than {MAX_JSON / 1e6:.0f}; split the data set.")
        data = read_json(path, MAX_JSON)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the name and the disk.") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged or no JSON file; export the data set again.") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} does not describe a data set; export it again.")
    return data


def inside(folder: Path, text: object, origin: str) -> Path:
    """Return a path that a data set names, which must be in its folder; its accents may be written as a disk does.

    Parameters
    ----------
    folder : Path
        Of the data set.
    text : object
        What is written there: a relative path.
    origin : str
        The file that says so, for the message.

    Raises
    ------
    InputError
        If it is no text, absolute, or leads out of the folder, by ``..`` or by a link.
    """
    plain = text.replace("\\", "/") if isinstance(text, str) else ""
    parts = PurePosixPath(plain).parts
    wrong = not parts or "\0" in plain or plain.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", plain)
    if not wrong and any(len(part.encode(errors="replace")) > _LONGEST_PART for part in parts):
        raise InputError(f"{origin} names a file that no disk can hold ({shortened(plain)}); correct the name.")
    path = folder
    for part in () if wrong else parts:
        path = _named(path, part)
    if wrong or not _stays(path, folder):
        shown = repr(text)[:80]
        raise InputError(f"{origin} names a file outside its folder ({shown}); only files inside it are read.")
    return path


def _named(folder: Path, name: str) -> Path:
    """Return what has a name in a folder, or else the only one whose name differs in how its accents are written."""
    path = folder / name
    if name.isascii() or path.exists() or not folder.is_dir():
        return path
    same = [one for one in folder.iterdir() if same_letters(one.name) == same_letters(name)]
    return same[0] if len(same) == 1 else path


def files_in(folder: Path, root: Path) -> list[Path]:
    """Return the image files directly in a folder, in natural order; those that are links out of `root` are refused.

    Raises
    ------
    InputError
        If one leads out of `root`, or the folder cannot be read.
    """
    if not folder.is_dir():
        return []
    try:
        found = natural_order(path for path in folder.iterdir() if is_image_file(path))
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); check its permissions.") from error
    for path in found:
        if not _stays(path, root):
            raise InputError(f"{path} is a link to a file outside {root}; put the file itself there.")
    return found


def _stays(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        # A link that goes round in circles.
        return False
