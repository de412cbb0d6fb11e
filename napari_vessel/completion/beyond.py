"""The pieces that a map adds to a mask, following the mask from edit to edit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.drafts import Draft
from napari_vessel.completion.reads import Box
from napari_vessel.topology.endings import union_of
from napari_vessel.topology.table import Radii
from napari_vessel.topology.thinning import Thinning

if TYPE_CHECKING:
    from napari_vessel.completion.following import Touched


class Beyond:
    """The centrelines that a map adds to a mask, piece by piece, with the courses along each.

    The pieces are those of :func:`~napari_vessel.completion.drawn.pieces_beyond`, and those that do not touch the mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        Vessels.
    drawn : ndarray of bool, shape (Y, X)
        What the map draws, on the mask and off it.
    """

    def __init__(self, mask: NDArray[np.bool_], drawn: NDArray[np.bool_]) -> None:
        self._drawn = drawn
        self._both = mask | drawn
        self._thinning, self._radii = Thinning(self._both), Radii(self._both)
        self._lines = self._thinning.skeleton & drawn & ~mask
        self._pixels: dict[int, NDArray[np.intp]] = {}
        self._boxes: dict[int, Box] = {}
        self._found: dict[int, tuple[list[Draft], Box]] = {}
        self._number = 0
        self._part(np.argwhere(self._lines))

    @property
    def radius(self) -> NDArray[np.float32]:
        """Local radius of mask and map together, px, float32, shape (Y, X)."""
        return self._radii.radius

    def pixels(self, piece: int) -> NDArray[np.intp]:
        """Return the centreline of a piece, (y, x), shape (N, 2), row by row from the top."""
        return self._pixels[piece]

    def unread(self) -> list[int]:
        """Return the numbers of the pieces along which courses are yet to be looked for."""
        return [piece for piece in self._pixels if piece not in self._found]

    def keep(self, piece: int, drafts: list[Draft], box: Box) -> None:
        """Keep the courses along a piece, and the box they were read from."""
        self._found[piece] = (drafts, box)

    def drafts(self) -> Iterator[list[Draft]]:
        """Yield the courses along each piece, in order of the pieces' first pixels."""
        order = sorted(self._found, key=lambda piece: tuple(self._pixels[piece][0].tolist()))
        return (self._found[piece][0] for piece in order if self._found[piece][0])

    def change(self, box: Box, mask: NDArray[np.bool_], touched: Touched) -> None:
        """Take note of an edit, and forget what was read from what has changed.

        Parameters
        ----------
        box : tuple of int
            (y0, x0, y1, x1), half open: where pixels of the mask have changed.
        mask : ndarray of bool, shape (Y, X)
            The mask now.
        touched : Touched
            What else has changed with it.
        """
        y0, x0, y1, x1 = box
        now = mask[y0:y1, x0:x1] | self._drawn[y0:y1, x0:x1]
        boxes = [box]
        if not np.array_equal(now, self._both[y0:y1, x0:x1]):
            self._both[y0:y1, x0:x1] = now
            thinned = self._thinning.change((y0, x0), now)
            boxes += [self._radii.change(box, self._both), *([] if thinned is None else [thinned])]
        y0, x0, y1, x1 = box = union_of(boxes)
        here = np.s_[y0:y1, x0:x1]
        lines = self._thinning.skeleton[here] & self._drawn[here] & ~mask[here]
        moved = np.argwhere(lines != self._lines[here])
        self._lines[here] = lines
        if len(moved):
            self._part_again(around(moved + np.asarray([y0, x0]), 1))
        known = list(self._found)
        read = np.asarray([self._found[piece][1] for piece in known]).reshape(-1, 4)
        for piece, hit in zip(known, touched.hit(read) | meets(read, box), strict=True):
            if hit:
                del self._found[piece]

    def _part_again(self, box: Box) -> None:
        """Find the pieces anew where lines have changed in a box."""
        known = list(self._pixels)
        inside = np.asarray([self._boxes[piece] for piece in known]).reshape(-1, 4)
        y0, x0, y1, x1 = (max(v, 0) for v in box)
        pixels = [np.argwhere(self._lines[y0:y1, x0:x1]) + np.asarray([y0, x0])]
        for piece in (one for one, hit in zip(known, meets(inside, box), strict=True) if hit):
            pixels.append(self._pixels.pop(piece))
            del self._boxes[piece]
            self._found.pop(piece, None)
        together = np.concatenate(pixels)
        self._part(np.unique(together[self._lines[together[:, 0], together[:, 1]]], axis=0))

    def _part(self, pixels: NDArray[np.intp]) -> None:
        """Part centreline pixels, shape (N, 2), each once and row by row from the top, into pieces."""
        import cv2

        if not len(pixels):
            return
        low = pixels.min(axis=0)
        y, x = (pixels - low).T
        field = np.zeros(pixels.max(axis=0) - low + 1, np.uint8)
        field[y, x] = 1
        owners = cv2.connectedComponents(field, connectivity=8)[1][y, x]
        order = np.argsort(owners, kind="stable")
        for own in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
            self._number += 1
            self._pixels[self._number] = pixels[own]
            self._boxes[self._number] = around(pixels[own], 0)


def around(pixels: NDArray[np.intp], margin: int) -> Box:
    """Return the box (y0, x0, y1, x1), half open, around pixels (y, x) and `margin` px more."""
    (y0, x0), (y1, x1) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return (y0 - margin, x0 - margin, y1 + margin + 1, x1 + margin + 1)


def meets(boxes: NDArray[np.int64], box: Box) -> NDArray[np.bool_]:
    """Tell which of some boxes, shape (N, 4), have a pixel in common with another."""
    y0, x0, y1, x1 = boxes.T
    return np.asarray((y0 < box[2]) & (y1 > box[0]) & (x0 < box[3]) & (x1 > box[1]))
