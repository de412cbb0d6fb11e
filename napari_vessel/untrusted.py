"""Reading files that anybody may have written: no pipe, no device, never too much, and one kind of error."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What comes of values that are not what they should be: of another kind, missing, out of range, nested too deep."""

LARGEST_TEXT = 200_000_000
"""Bytes of a text that is read as a whole, where nothing less is said."""


def read_bytes(path: Path, most: int) -> bytes:
    """Return what a file holds.

    Parameters
    ----------
    path : Path
        The file; a link to one is followed.
    most : int
        Bytes it may have.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is a pipe or a device, which may have no end, or is larger.
    """
    # Asked before it is opened: to open a pipe is to wait for whoever writes to it.
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most / 1e6:g} MB")
    return data


def read_text(path: Path, most: int = LARGEST_TEXT) -> str:
    """Return the text of a UTF-8 file, without a byte order mark; raises as :func:`read_bytes`, and for no UTF-8."""
    return read_bytes(path, most).decode("utf-8-sig")


def read_json(path: Path, most: int = LARGEST_TEXT) -> Any:
    """Return what a JSON file holds; raises as :func:`read_text` does, and ValueError for what is no JSON."""
    try:
        return json.loads(read_text(path, most))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def finite(value: Any) -> float:
    """Return a number; raises ValueError or TypeError for what is none, or infinite: it has no place in any order."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a number that is none")
    return number


def shortened(value: object, most: int = 120) -> str:
    """Return a value as Python writes it, or what an error says, cut where it is too long for a sentence."""
    if isinstance(value, Exception):
        # What it says was mostly written to be read.
        text, most = str(value), max(most, 600)
    else:
        text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
