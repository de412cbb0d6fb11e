"""Run lengths as COCO has them: column by column, beginning with the background; as numbers or packed into text.

The text is that of COCO's ``maskApi``: every count but the first three is written as its difference from the one two
before it, in groups of five bits, the lowest first, each as a character from ``0`` on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError

_DAMAGED = "The run lengths of an annotation do not fit its image; export the data set again."


def component_runs(components: NDArray[np.integer]) -> Iterator[tuple[int, list[int]]]:
    """Yield the number and the run lengths of each component of an image.

    Parameters
    ----------
    components : ndarray of int, shape (Y, X)
        0 is background.

    Yields
    ------
    number : int
        In ascending order.
    counts : list of int
        Background, component, background..., column by column; their sum is the number of pixels.
    """
    flat = np.ascontiguousarray(components.T).ravel()
    where = np.flatnonzero(flat)
    order = np.argsort(flat[where], kind="stable")
    where, numbers = where[order], flat[where[order]]
    starts = np.flatnonzero(np.diff(numbers, prepend=0))
    for start, end in zip(starts, np.append(starts, where.size)[1:], strict=True):
        yield int(numbers[start]), _counts(where[start:end], flat.size)


def mask_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Return the run lengths of a mask, shape (Y, X), column by column."""
    return _counts(np.flatnonzero(mask.T), mask.size)


def _counts(where: NDArray[np.intp], size: int) -> list[int]:
    """Return the run lengths of ascending positions in a row of pixels."""
    if not where.size:
        return [size]
    breaks = np.flatnonzero(np.diff(where) > 1)
    first = where[np.r_[0, breaks + 1]]
    last = where[np.r_[breaks, where.size - 1]] + 1
    edges = np.stack([first, last], axis=1).ravel()
    counts = np.diff(edges, prepend=0).tolist()
    left = size - int(edges[-1])
    return [*counts, left] if left else counts


def pack(counts: Sequence[int]) -> str:
    """Return run lengths as COCO's text."""
    text = []
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text.append(chr(48 + (bits | 32 if more else bits)))
    return "".join(text)


def unpack(text: str) -> list[int]:
    """Return the run lengths that COCO's text means.

    Raises
    ------
    InputError
        If it means none.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise InputError(_DAMAGED)
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise InputError(_DAMAGED)
    return counts


def runs_mask(counts: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of run lengths.

    Parameters
    ----------
    counts : str or list of int
        Packed or not.
    shape : tuple of int
        Height and width.

    Returns
    -------
    ndarray of bool, shape (Y, X)

    Raises
    ------
    InputError
        If they do not fill exactly such an image.
    """
    numbers = unpack(counts) if isinstance(counts, str) else counts
    size = shape[0] * shape[1]
    if not isinstance(numbers, list) or not all(type(one) is int and 0 <= one <= size for one in numbers):
        raise InputError(_DAMAGED)
    if sum(numbers) != size:
        raise InputError(_DAMAGED)
    values = np.arange(len(numbers)) % 2 == 1
    flat: NDArray[np.bool_] = np.repeat(values, np.asarray(numbers, np.int64))
    return np.ascontiguousarray(flat.reshape(shape[1], shape[0]).T)
