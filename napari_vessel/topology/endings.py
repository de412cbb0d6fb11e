"""Ends of centrelines that follow a mask from edit to edit: spurs removed, and which way each vessel was running."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.skeleton import (
    EndPoint,
    Junctions,
    Pixel,
    describe_end,
    ends_and_junctions,
    find_spur,
    spur_limit,
)

Box = tuple[int, int, int, int]
Value = TypeVar("Value")

_NEVER = np.iinfo(np.int64).max

_ROUNDS = 2
"""Of looking for spurs, as :func:`~napari_vessel.topology.skeleton.prune_spurs` does by default."""


class Endings:
    """The centrelines of a mask without spurs, and their ends.

    They are the same as :func:`~napari_vessel.topology.skeleton.prune_spurs` and
    :func:`~napari_vessel.topology.skeleton.find_end_points` give. It is remembered what each result was read from: of a
    spur its pixels and those around it, of an end the last calibres of its vessel. After an edit only what was read
    from changed pixels is found out again.

    Parameters
    ----------
    skeleton : ndarray of bool, shape (Y, X)
        Centrelines. This array and the next two are kept, and looked at again after each edit.
    radius : ndarray of float32, shape (Y, X)
        Local radius, px.
    labels : ndarray of int32, shape (Y, X)
        Components.
    """

    def __init__(self, skeleton: NDArray[np.bool_], radius: NDArray[np.float32], labels: NDArray[np.int32]) -> None:
        self._skeleton, self._radius, self._labels = skeleton, radius, labels
        height, width = skeleton.shape
        self._layers = [np.zeros((height + 2, width + 2), np.uint8) for _ in range(_ROUNDS + 1)]
        self.start_over(float(radius.max(initial=0.0)))

    @property
    def centrelines(self) -> NDArray[np.bool_]:
        """Centrelines without spurs, bool, shape (Y, X): a read-only view that follows every edit."""
        view = self._layers[-1][1:-1, 1:-1].view(np.bool_)
        view.flags.writeable = False
        return view

    def ends(self) -> list[EndPoint]:
        """Return all ends, row by row from the top, with the components they have now."""
        found = sorted((end for end in self._ends.values() if end is not None), key=lambda end: end.point)
        labels = [int(self._labels[end.point]) for end in found]
        return [
            end if end.component == label else replace(end, component=label)
            for end, label in zip(found, labels, strict=True)
        ]

    def change(self, box: Box, largest_radius: float) -> Box:
        """Take note of an edit.

        Parameters
        ----------
        box : tuple of int
            (y0, x0, y1, x1), half open: where mask, radius or centrelines have changed.
        largest_radius : float
            At least that of every vessel, px.

        Returns
        -------
        tuple of int
            Where centrelines without spurs may have changed; at least `box`.
        """
        y0, x0, y1, x1 = box
        self._layers[0][y0 + 1 : y1 + 1, x0 + 1 : x1 + 1] = self._skeleton[y0:y1, x0:x1]
        for number in range(_ROUNDS):
            box = self._prune(number, box, self._limit_near(box, largest_radius))
        self._describe(box)
        return box

    def start_over(self, largest_radius: float) -> None:
        """Look at the whole image again."""
        height, width = self._skeleton.shape
        self._spurs: list[_Followed[NDArray[np.intp] | None]] = [_Followed() for _ in range(_ROUNDS)]
        self._ends: _Followed[EndPoint | None] = _Followed()
        self.change((0, 0, height, width), largest_radius)

    def _limit_near(self, box: Box, largest_radius: float) -> int:
        """Return how far to follow what may have become a spur, or is none any more, because of a box.

        Such a spur runs into the box or begins there, and is shorter than twice the radius where it ends: so where it
        ends is no further from the box than that.
        """
        y0, x0, y1, x1 = box
        reach = spur_limit(largest_radius)
        top, left = max(y0 - reach, 0), max(x0 - reach, 0)
        window = self._radius[top : y1 + reach, left : x1 + reach]
        rows, columns = (np.arange(n) + first for n, first in zip(window.shape, (top, left), strict=True))
        away = np.maximum(
            np.maximum(y0 - rows, rows - y1 + 1)[:, None], np.maximum(x0 - columns, columns - x1 + 1)[None, :]
        )
        return spur_limit(float(window[away <= 2 * window + 2].max(initial=0.0)))

    def _prune(self, number: int, box: Box, limit: int) -> Box:
        """Bring one round of looking for spurs up to date; return the box that has changed for the next."""
        before, after, spurs = self._layers[number], self._layers[number + 1], self._spurs[number]
        old = spurs.take(box, limit)
        paths = [path for _, path in old if path is not None]
        junctions = Junctions(before)
        for end in _ends_near(before, box, [pixel for pixel, _ in old]):
            path, is_spur = find_spur(before, end, self._radius, limit, junctions)
            pixels = np.asarray(path, np.intp) - 1
            # A way given up may still prove to be one to a wider vessel.
            given_up = limit if len(path) >= limit else _NEVER
            spurs.put(end, _around(pixels, 2), pixels if is_spur else None, given_up)
            if is_spur:
                paths.append(pixels)
        y0, x0, y1, x1 = union_of([box, *(_around(path, 0) for path in paths)])
        here = np.s_[y0 + 1 : y1 + 1, x0 + 1 : x1 + 1]
        was = after[here].copy()
        after[here] = before[here]
        for spur in spurs.touched((y0, x0, y1, x1)):
            if spur is not None:
                after[spur[:, 0] + 1, spur[:, 1] + 1] = 0
        moved = np.argwhere(was != after[here]) + np.asarray([y0, x0])
        return union_of([box, _around(moved, 0)]) if len(moved) else box

    def _describe(self, box: Box) -> None:
        padded = self._layers[-1]
        old = self._ends.take(box)
        junctions = Junctions(padded)
        for start in _ends_near(padded, box, [pixel for pixel, _ in old]):
            branch, end = describe_end(padded, start, self._radius, self._labels, junctions)
            self._ends.put(start, _around(branch, 4), end)


class _Followed(Generic[Value]):
    """Results by the pixel they begin at, each with the box it was read from."""

    def __init__(self) -> None:
        self._boxes = np.zeros((64, 4), np.int64)
        self._pixels = np.zeros((64, 2), np.int64)
        self._given_up = np.full(64, _NEVER, np.int64)
        self._free = list(range(64))
        self._values: dict[int, Value] = {}

    def put(self, pixel: Pixel, box: Box, value: Value, given_up: int = _NEVER) -> None:
        """Keep a result, and after how many pixels it was looked no further for."""
        if not self._free:
            known = len(self._boxes)
            self._boxes = np.concatenate([self._boxes, np.zeros_like(self._boxes)])
            self._pixels = np.concatenate([self._pixels, np.zeros_like(self._pixels)])
            self._given_up = np.concatenate([self._given_up, np.full(known, _NEVER, np.int64)])
            self._free = list(range(known, 2 * known))
        slot = self._free.pop()
        self._boxes[slot], self._pixels[slot], self._given_up[slot] = box, pixel, given_up
        self._values[slot] = value

    def take(self, box: Box, limit: int = 0) -> list[tuple[Pixel, Value]]:
        """Return what was read from a box, with its pixels, and forget it.

        With a limit also what was given up before that, and begins no further from the box.
        """
        slots = self._slots(box)
        if limit:
            y0, x0, y1, x1 = box
            near = (self._pixels >= (y0 - limit, x0 - limit)) & (self._pixels < (y1 + limit + 2, x1 + limit + 2))
            slots = sorted({*slots, *np.flatnonzero(near.all(axis=1) & (self._given_up < limit)).tolist()})
        taken = [((int(self._pixels[slot, 0]), int(self._pixels[slot, 1])), self._values.pop(slot)) for slot in slots]
        self._boxes[slots], self._given_up[slots] = 0, _NEVER
        self._free += slots
        return taken

    def touched(self, box: Box) -> Iterator[Value]:
        """Return what was read from a box."""
        return (self._values[slot] for slot in self._slots(box))

    def values(self) -> Iterator[Value]:
        """Return everything, in no order."""
        return iter(self._values.values())

    def _slots(self, box: Box) -> list[int]:
        y0, x0, y1, x1 = box
        b = self._boxes
        hit = (b[:, 0] < y1) & (b[:, 2] > y0) & (b[:, 1] < x1) & (b[:, 3] > x0)
        found: list[int] = np.flatnonzero(hit).tolist()
        return found


def _ends_near(padded: NDArray[np.uint8], box: Box, others: list[Pixel]) -> list[Pixel]:
    """Return which pixels in and right beside a box, and which of some others, are ends, in padded coordinates."""
    y0, x0, y1, x1 = (max(box[0] - 1, 0), max(box[1] - 1, 0), box[2] + 1, box[3] + 1)
    pixels = np.argwhere(padded[1:-1, 1:-1][y0:y1, x0:x1]) + np.asarray([y0, x0])
    if others:
        beyond = np.asarray([p for p in others if padded[p]], np.intp).reshape(-1, 2) - 1
        pixels = np.unique(np.concatenate([pixels, beyond]), axis=0)
    return ends_and_junctions(padded, pixels)[0]


def _around(pixels: NDArray[np.intp], margin: int) -> Box:
    (y0, x0), (y1, x1) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return (y0 - margin, x0 - margin, y1 + margin + 1, x1 + margin + 1)


def union_of(boxes: list[Box]) -> Box:
    """Return the smallest box (y0, x0, y1, x1) around some."""
    y0, x0, y1, x1 = zip(*boxes, strict=True)
    return (min(y0), min(x0), max(y1), max(x1))
