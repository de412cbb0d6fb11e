"""Components and Betti numbers that follow a mask from edit to edit, without labelling the image again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]
Pixel = tuple[int, int]

TILE_PX = 256
"""Side of the tiles in which edits are taken and parts are followed, px."""

LARGE_TILES = 6
"""Whole tiles from which on an edit is large."""

_MARGIN_PX = 8
"""How far around erased pixels parts are looked for that stay connected, before anything further away is, px."""


class Labelling:
    """The 8-connected components of a mask, and its Betti numbers.

    After an edit the result is that of labelling the new mask from scratch, but for the numbers of the components. The
    cost grows with the edit and with the smaller parts of what it splits or joins, not with the image: what it may have
    split is followed from all sides in step, tile by tile, until all but one are known whole; of what it joins, all but
    the largest take another number.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel.
    """

    def __init__(self, mask: NDArray[np.generic]) -> None:
        self._labels = np.zeros((mask.shape[0], mask.shape[1]), np.int32)
        self._view = self._labels.view()
        self._view.flags.writeable = False
        self._areas = np.zeros(1, np.int64)
        self._free: list[int] = []
        self._quarters: int | None = None
        self.b0 = 0
        """Number of components."""
        self.renumbered: list[tuple[Box, int]] = []
        """Where the last change gave other numbers, beside where pixels were changed: boxes (y0, x0, y1, x1) around
        what may have taken a number, with that number; 0 for any."""
        self.start_over(mask)

    @property
    def labels(self) -> NDArray[np.int32]:
        """Components, int32, shape (Y, X): a read-only view, never replaced, that follows every edit.

        0 is background. Not every number up to the largest need be in use.
        """
        return self._view

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each component, indexed by label; 0 for numbers that are not in use, and for the background."""
        return self._areas.copy()

    @property
    def b1(self) -> int:
        """Number of loops: 4-connected holes in the vessel; beyond the image lies background."""
        if self._quarters is None:
            # Counted in the whole image when somebody asks, and followed from then on.
            self._quarters = euler_quarters(np.pad(self._labels > 0, 1))
        return self.b0 - self._quarters // 4

    def change(self, origin: Pixel, patch: NDArray[np.bool_]) -> None:
        """Put a patch of the new mask in place.

        Parameters
        ----------
        origin : tuple of int
            (y, x) of its first pixel.
        patch : ndarray of bool, shape (h, w)
            The mask there now; it lies inside the image.
        """
        self.renumbered = []
        (top, left), (height, width) = origin, patch.shape
        differs = (self._labels[top : top + height, left : left + width] > 0) != patch
        if is_better_anew(differs, self._labels.size):
            mask = self._labels > 0
            mask[top : top + height, left : left + width] = patch
            self.start_over(mask)
            return
        for (y, x), part in changed_parts(differs):
            self._change_part((top + y, left + x), part)

    def start_over(self, mask: NDArray[np.generic]) -> None:
        """Take a whole new mask, of the same shape."""
        import cv2

        if mask.size == 0:
            return
        vessel = np.ascontiguousarray(mask != 0)
        count, _ = cv2.connectedComponents(vessel.view(np.uint8), self._labels, connectivity=8, ltype=cv2.CV_32S)
        self._areas = np.bincount(self._labels[vessel], minlength=count).astype(np.int64)
        self._free = []
        self.b0 = int(count) - 1
        self._quarters = None
        self.renumbered = [((0, 0, mask.shape[0], mask.shape[1]), 0)]

    def _change_part(self, origin: Pixel, differs: NDArray[np.bool_]) -> None:
        y, x = origin
        here = self._labels[y : y + differs.shape[0], x : x + differs.shape[1]] > 0
        if self._quarters is not None:
            self._quarters -= euler_quarters(self._surroundings(y, x, differs.shape))
        added, removed = differs & ~here, differs & here
        if added.any():
            self._add((y, x), added)
        if removed.any():
            self._remove((y, x), removed)
        if self._quarters is not None:
            self._quarters += euler_quarters(self._surroundings(y, x, differs.shape))

    def _surroundings(self, y: int, x: int, shape: Sequence[int]) -> NDArray[np.bool_]:
        """Return the mask of a box and one pixel around it, background beyond the image."""
        around = np.zeros((shape[0] + 2, shape[1] + 2), np.bool_)
        (y0, x0, y1, x1) = self._window(y, x, shape, 1)
        around[y0 - y + 1 : y1 - y + 1, x0 - x + 1 : x1 - x + 1] = self._labels[y0:y1, x0:x1] > 0
        return around

    def _window(self, y: int, x: int, shape: Sequence[int], margin: int) -> Box:
        height, width = self._labels.shape
        return (
            max(y - margin, 0),
            max(x - margin, 0),
            min(y + shape[0] + margin, height),
            min(x + shape[1] + margin, width),
        )

    def _add(self, origin: Pixel, added: NDArray[np.bool_]) -> None:
        """Make pixels vessel, and one component of what they touch."""
        import cv2

        y, x = origin
        y0, x0, y1, x1 = self._window(y, x, added.shape, 1)
        near = self._labels[y0:y1, x0:x1]
        fresh = np.zeros(near.shape, np.bool_)
        fresh[y - y0 : y - y0 + added.shape[0], x - x0 : x - x0 + added.shape[1]] = added
        pieces_there, pieces = cv2.connectedComponents((fresh | (near > 0)).view(np.uint8), connectivity=8)
        drawn = np.bincount(pieces[fresh], minlength=pieces_there)
        # What is old in the pieces that were drawn in: each label of each piece once, with a pixel of it.
        old, numbers = np.flatnonzero((near > 0) & (drawn[pieces] > 0)), len(self._areas)
        known = pieces.ravel()[old].astype(np.int64) * numbers + near.ravel()[old]
        pairs, firsts = np.unique(known, return_index=True)
        touched: dict[int, list[tuple[int, Pixel]]] = {}
        for pair, flat in zip(pairs.tolist(), old[firsts].tolist(), strict=True):
            row, column = divmod(flat, near.shape[1])
            touched.setdefault(pair // numbers, []).append((pair % numbers, (y0 + row, x0 + column)))
        final = np.zeros(pieces_there, np.int32)
        # New numbers first: none of them has been another's a moment before.
        for piece in np.flatnonzero(drawn).tolist():
            if piece not in touched:
                final[piece] = self._number(int(drawn[piece]))
        became: dict[int, int] = {}
        for piece, labels in touched.items():
            # A label may have become another with what was drawn in a piece before.
            there = {_by_now(became, label): pixel for label, pixel in labels}
            kept = max(there, key=lambda label: self._areas[label])
            for label, pixel in there.items():
                if label != kept:
                    self._fill(pixel, kept)
                    self._areas[kept] += self._areas[label]
                    self._retire(label)
                    became[label] = kept
            final[piece] = kept
            self._areas[kept] += drawn[piece]
        final = np.asarray([_by_now(became, label) for label in final.tolist()], np.int32)
        near[fresh] = final[pieces[fresh]]

    def _remove(self, origin: Pixel, removed: NDArray[np.bool_]) -> None:
        """Make pixels background, and several components of what falls apart."""
        import cv2

        y, x = origin
        y0, x0, y1, x1 = self._window(y, x, removed.shape, _MARGIN_PX)
        near = self._labels[y0:y1, x0:x1]
        gone = np.zeros(near.shape, np.uint8)
        gone[y - y0 : y - y0 + removed.shape[0], x - x0 : x - x0 + removed.shape[1]] = removed
        lost, pixels = np.unique(near[gone > 0], return_counts=True)
        near[gone > 0] = 0
        self._areas[lost] -= pixels
        _, pieces = cv2.connectedComponents((near > 0).view(np.uint8), connectivity=8)
        # Every part of what was one component touches what was erased.
        beside = np.flatnonzero((cv2.dilate(gone, np.ones((3, 3), np.uint8)) > 0) & (near > 0))
        _, firsts = np.unique(pieces.ravel()[beside], return_index=True)
        seeds: dict[int, list[Pixel]] = {int(label): [] for label in lost}
        for flat in beside[firsts].tolist():
            row, column = divmod(flat, near.shape[1])
            seeds[int(near[row, column])].append((y0 + row, x0 + column))
        for label, places in seeds.items():
            if not places:
                self._retire(label)
            elif len(places) > 1:
                self._part(label, places)

    def _part(self, label: int, seeds: list[Pixel]) -> None:
        """Find out which of some pixels of a component are still connected, and give the smaller parts own numbers."""
        sides = [_Side(self._number(0), seed) for seed in seeds]
        by_number = {side.numbers[0]: side for side in sides}
        tickets = count()
        # The smallest goes on first; of those that have met, only the one that took the others is still in the race.
        race = [(0, next(tickets), side) for side in sides]
        whole: list[_Side] = []
        left = len(sides)
        while left > 1:
            side = heappop(race)[2]
            if side.taken_over:
                continue
            if not side.queue:
                whole.append(side)
                left -= 1
                continue
            for number in self._advance(side, label):
                other = by_number[number]
                if other is not side:
                    side.take(other)
                    left -= 1
                    by_number.update(dict.fromkeys(other.numbers, side))
            heappush(race, (side.area, next(tickets), side))
        # The last one is the largest, or nothing has fallen apart: it stays what it was.
        last = next(side for _, _, side in race if not side.taken_over)
        for side in [*whole, last]:
            final = label if side is last else side.numbers.pop()
            for pixel in side.taken:
                if int(self._labels[pixel]) != final:
                    self._fill(pixel, final)
            for number in side.numbers:
                self._retire(number)
            if final != label:
                self._areas[final] = side.area
                self._areas[label] -= side.area

    def _advance(self, side: _Side, label: int) -> set[int]:
        """Let a side take what it reaches inside one more tile; return the numbers of the sides it has met."""
        y, x = side.queue.pop()
        found = int(self._labels[y, x])
        if found != label:
            return {found}
        y0, x0 = y - y % TILE_PX, x - x % TILE_PX
        tile = self._labels[y0 : y0 + TILE_PX, x0 : x0 + TILE_PX]
        area, (left, top, width, height) = self._fill((y, x), side.numbers[0], (y0, x0))
        side.taken.append((y, x))
        side.area += area
        met: set[int] = set()
        bottom, right = top + height, left + width
        rows, columns = self._labels.shape
        if top == 0 and y0 > 0:
            met |= self._cross(side, label, (y0, x0 + left, x0 + right), -1, along_rows=True)
        if bottom == tile.shape[0] and y0 + bottom < rows:
            met |= self._cross(side, label, (y0 + bottom - 1, x0 + left, x0 + right), 1, along_rows=True)
        if left == 0 and x0 > 0:
            met |= self._cross(side, label, (x0, y0 + top, y0 + bottom), -1, along_rows=False)
        if right == tile.shape[1] and x0 + right < columns:
            met |= self._cross(side, label, (x0 + right - 1, y0 + top, y0 + bottom), 1, along_rows=False)
        return met

    def _cross(self, side: _Side, label: int, line: tuple[int, int, int], step: int, *, along_rows: bool) -> set[int]:
        """Look across the border of a tile: queue what is reached there, and return the sides that are there."""
        labels = self._labels if along_rows else self._labels.T
        at, first, last = line
        first, last = max(first - 1, 0), min(last + 1, labels.shape[1])
        own = labels[at, first:last] == side.numbers[0]
        reach = own.copy()
        reach[1:] |= own[:-1]
        reach[:-1] |= own[1:]
        beyond = np.where(reach, labels[at + step, first:last], 0)
        open_ones = beyond == label
        starts = np.flatnonzero(open_ones & ~np.concatenate([[False], open_ones[:-1]])) + first
        across = at + step
        side.queue.extend((across, int(s)) if along_rows else (int(s), across) for s in starts)
        return set(np.unique(beyond[~open_ones]).tolist()) - {0}

    def _fill(self, seed: Pixel, number: int, tile: Pixel | None = None) -> tuple[int, Box]:
        """Give a number to what has one label and is connected to a pixel, all of it or inside one tile.

        Returns its area and its box (x, y, w, h), in the tile if one is given.
        """
        import cv2

        y0, x0 = tile or (0, 0)
        labels = self._labels if tile is None else self._labels[y0 : y0 + TILE_PX, x0 : x0 + TILE_PX]
        area, _, _, box = cv2.floodFill(labels, None, (seed[1] - x0, seed[0] - y0), number, flags=8)
        x, y, width, height = (int(v) for v in box)
        self.renumbered.append(((y0 + y, x0 + x, y0 + y + height, x0 + x + width), number))
        return int(area), (x, y, width, height)

    def _number(self, area: int) -> int:
        """Return a number that no component has, for one of so many pixels."""
        if not self._free:
            known = len(self._areas)
            self._areas = np.concatenate([self._areas, np.zeros(known, np.int64)])
            self._free = list(range(2 * known - 1, known - 1, -1))
        number = self._free.pop()
        self._areas[number] = area
        self.b0 += 1
        return number

    def _retire(self, number: int) -> None:
        self._areas[number] = 0
        self._free.append(number)
        self.b0 -= 1


class _Side:
    """What is known of one side of a component that may have fallen apart."""

    def __init__(self, number: int, seed: Pixel) -> None:
        self.numbers = [number]
        """What its pixels are labelled with so far: the first from now on, the others from before sides met."""
        self.taken: list[Pixel] = []
        """One pixel of each stretch that was labelled."""
        self.queue = [seed]
        self.area = 0
        self.taken_over = False

    def take(self, other: _Side) -> None:
        """Become one with another side."""
        other.taken_over = True
        self.numbers += other.numbers
        self.taken += other.taken
        self.queue += other.queue
        self.area += other.area


def _by_now(became: Mapping[int, int], label: int) -> int:
    """Follow a label to what it is by now."""
    while label in became:
        label = became[label]
    return label


def changed_parts(differs: NDArray[np.bool_]) -> Iterator[tuple[Pixel, NDArray[np.bool_]]]:
    """Cut what has changed into boxes of at most `TILE_PX`: (y, x) of the first pixel and a view of `differs`."""
    for top in range(0, differs.shape[0], TILE_PX):
        for left in range(0, differs.shape[1], TILE_PX):
            tile = differs[top : top + TILE_PX, left : left + TILE_PX]
            rows, columns = np.flatnonzero(tile.any(axis=1)), np.flatnonzero(tile.any(axis=0))
            if rows.size:
                (y0, y1), (x0, x1) = (rows[[0, -1]] + (0, 1)).tolist(), (columns[[0, -1]] + (0, 1)).tolist()
                yield (top + y0, left + x0), tile[y0:y1, x0:x1]


def effort_of(differs: NDArray[np.bool_]) -> int:
    """Return what an edit costs, as about so many pixels looked at: of :func:`changed_parts`, and some for each."""
    return sum(part.size + TILE_PX**2 // 4 for _, part in changed_parts(differs))


def is_large(differs: NDArray[np.bool_]) -> bool:
    """Tell whether an edit costs as much as one of several whole tiles."""
    return effort_of(differs) > LARGE_TILES * TILE_PX**2


def is_better_anew(differs: NDArray[np.bool_], size: int) -> bool:
    """Tell whether an edit touches so much of an image of `size` pixels that starting over costs no more."""
    return effort_of(differs) > max(size // 4, 2**18)


def euler_quarters(mask: NDArray[np.bool_]) -> int:
    """Return four times the Euler number of the 8-connected vessel, from all blocks of 2 x 2 pixels (Gray, 1971)."""
    a, b, c, d = mask[:-1, :-1], mask[:-1, 1:], mask[1:, :-1], mask[1:, 1:]
    odd = a ^ b ^ c ^ d
    three = odd & ((a & b) | (c & d))
    diagonal = ~odd & (a ^ b) & (a == d)
    return int(np.count_nonzero(odd)) - 2 * int(np.count_nonzero(three)) - 2 * int(np.count_nonzero(diagonal))
