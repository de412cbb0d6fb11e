"""Centrelines that follow a mask from edit to edit, pixel for pixel those of thinning the whole image again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]
Pixel = tuple[int, int]

_KEPT = 65535
"""In place of the pass that removed a pixel: none did."""

_PASSES = (
    0x000B008A000080CE00000003800080CC110100000000000010000100D000DCC8,
    0x130300030000008B00010001000000845101110100000000D1000100D5008480,
)
"""Neighbourhoods whose middle is removed, in odd and in even passes: bit n for the neighbourhood with number n.

The tables are those of scikit-image's ``skeletonize``, a variant of Zhang and Suen's, so that the centrelines are, too.
"""

_MARGIN_PX = 12
"""How far around an edit is thinned anew at first, px; grown until nothing changes at its border."""


class Thinning:
    """The centrelines of a mask, one pixel wide.

    They are the same as :func:`~napari_vessel.topology.skeleton.centreline` gives. Thinning removes pixels in passes;
    whether one removes a pixel depends on its eight neighbours before that pass, and on nothing else. So it is
    remembered in which pass each pixel went. After an edit a window is thinned anew, while the pixels of its border go
    when they went before. If those just inside the border then go when they went before, too, everything beyond is as
    it was: the passes of all pixels follow the rule everywhere, and only one history does. Otherwise the window grows.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel.
    """

    def __init__(self, mask: NDArray[np.generic]) -> None:
        # One pixel of background around the image.
        self._passes = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.uint16)
        self._skeleton = np.zeros(mask.shape, np.bool_)
        self.start_over(mask)
        self._view: NDArray[np.bool_] = self._skeleton.view()
        self._view.flags.writeable = False

    @property
    def skeleton(self) -> NDArray[np.bool_]:
        """Centrelines, bool, shape (Y, X): a read-only view, never replaced, that follows every edit."""
        return self._view

    def start_over(self, mask: NDArray[np.generic]) -> None:
        """Take a whole new mask, of the same shape."""
        self._passes[...] = _removed_in(np.pad(mask != 0, 1).view(np.uint8))
        np.equal(self._passes[1:-1, 1:-1], _KEPT, out=self._skeleton)

    def change(self, origin: Pixel, patch: NDArray[np.bool_]) -> Box | None:
        """Put a patch of the new mask in place.

        Parameters
        ----------
        origin : tuple of int
            (y, x) of its first pixel.
        patch : ndarray of bool, shape (h, w)
            The mask there now; it lies inside the image.

        Returns
        -------
        tuple of int or None
            The box (y0, x0, y1, x1) in which centrelines have changed; None when they have not.
        """
        (top, left), (height, width) = origin, patch.shape
        rows, columns = self._passes.shape
        margin = _MARGIN_PX
        while True:
            # Of the padded image; the border of the window is inside.
            y0, x0 = max(top + 1 - margin, 0), max(left + 1 - margin, 0)
            y1, x1 = min(top + 1 + height + margin, rows), min(left + 1 + width + margin, columns)
            before = self._passes[y0:y1, x0:x1]
            mask = (before > 0).astype(np.uint8)
            mask[top + 1 - y0 : top + 1 - y0 + height, left + 1 - x0 : left + 1 - x0 + width] = patch
            after = _removed_in(mask, before)
            changed = after != before
            # At the frame of the image there is nothing beyond that could change.
            if not (
                (y0 > 0 and changed[1].any())
                or (x0 > 0 and changed[:, 1].any())
                or (y1 < rows and changed[-2].any())
                or (x1 < columns and changed[:, -2].any())
            ):
                break
            margin *= 2
        thinned = (after == _KEPT)[1:-1, 1:-1]
        window = self._skeleton[y0 : y1 - 2, x0 : x1 - 2]
        moved = np.argwhere(thinned != window)
        self._passes[y0:y1, x0:x1] = after
        window[...] = thinned
        if not len(moved):
            return None
        (low_y, low_x), (high_y, high_x) = moved.min(axis=0).tolist(), moved.max(axis=0).tolist()
        return (y0 + low_y, x0 + low_x, y0 + high_y + 1, x0 + high_x + 1)


def _removed_in(mask: NDArray[np.uint8], border: NDArray[np.uint16] | None = None) -> NDArray[np.uint16]:
    """Thin a mask, and return in which pass each pixel was removed.

    Parameters
    ----------
    mask : ndarray of uint8, shape (Y, X)
        0 or 1.
    border : ndarray of uint16, shape (Y, X), optional
        In which pass the pixels of the outermost rows and columns are removed; these must be background otherwise.

    Returns
    -------
    ndarray of uint16, shape (Y, X)
        0 for background, `_KEPT` for centrelines.
    """
    import cv2

    width = mask.shape[1]
    # From the north-west, clockwise: the bits of a neighbourhood's number.
    ring = np.asarray([-width - 1, -width, -width + 1, 1, width + 1, width, width - 1, -1])
    removes = [np.asarray([table >> n & 1 for n in range(256)], np.bool_) for table in _PASSES]
    passes = np.where(mask > 0, np.uint16(_KEPT), np.uint16(0))
    inner = mask.copy()
    inner[0] = inner[-1] = inner[:, 0] = inner[:, -1] = 0
    forced = _by_pass(passes, border) if border is not None else {}
    # Only what has background beside it can go.
    edge = np.flatnonzero((inner > cv2.erode(mask, np.ones((3, 3), np.uint8))).ravel())
    there, free, gone_in = mask.copy().ravel(), inner.ravel(), passes.ravel()
    stamp = np.zeros(mask.size, np.int32)
    older, newer, number, last = edge, edge, 0, max(forced, default=0)
    while len(older) or len(newer) or number < last:
        number += 1
        # A neighbourhood that has been the same since the last pass of this kind gives the same answer.
        active = newer if number == 1 else _once(np.concatenate([older, newer]), stamp)
        active = active[free[active] > 0]
        code = np.zeros(len(active), np.uint8)
        for bit, step in enumerate(ring.tolist()):
            code |= there[active + step] << np.uint8(bit)
        gone = active[removes[1 - number % 2][code]]
        free[gone] = 0
        at_border = forced.get(number)
        if at_border is not None:
            gone = np.concatenate([gone, at_border])
        there[gone] = 0
        gone_in[gone] = number
        beside = (gone[:, None] + ring).ravel()
        if at_border is not None:
            beside = beside[(beside >= 0) & (beside < mask.size)]
        older, newer = newer, _once(beside[free[beside] > 0], stamp)
    return passes


def _by_pass(passes: NDArray[np.uint16], border: NDArray[np.uint16]) -> dict[int, NDArray[np.intp]]:
    """List the pixels of the border that go, by the pass in which they do."""
    outermost = np.ones(border.shape, np.bool_)
    outermost[1:-1, 1:-1] = False
    going = np.flatnonzero((outermost & (border > 0) & (border < _KEPT)).ravel())
    when = border.ravel()[going]
    return {int(number): going[when == number] for number in np.unique(when)}


def _once(pixels: NDArray[np.intp], stamp: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return each pixel once; `stamp` has a place for each."""
    order = np.arange(len(pixels), dtype=np.int32)
    stamp[pixels] = order
    kept: NDArray[np.intp] = pixels[stamp[pixels] == order]
    return kept
