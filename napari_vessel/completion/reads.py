"""What of an image a result was read from: after an edit elsewhere it is still true."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]


class Reads:
    """Takes note of what is looked at, as the smallest box around it."""

    def __init__(self) -> None:
        self._box: Box | None = None

    def note(self, low: tuple[int, int], high: tuple[int, int]) -> None:
        """Take note of a box, from its first to its last pixel (y, x); it may lie partly beyond the image."""
        if self._box is None:
            self._box = (low[0], low[1], high[0] + 1, high[1] + 1)
            return
        y0, x0, y1, x1 = self._box
        self._box = (min(y0, low[0]), min(x0, low[1]), max(y1, high[0] + 1), max(x1, high[1] + 1))

    def note_path(self, path: NDArray[np.floating] | NDArray[np.intp], margin: int = 1) -> None:
        """Take note of what lies at most `margin` px from points (y, x), shape (N, 2)."""
        if len(path):
            (y0, x0), (y1, x1) = np.floor(path.min(axis=0)).tolist(), np.ceil(path.max(axis=0)).tolist()
            self.note((int(y0) - margin, int(x0) - margin), (int(y1) + margin, int(x1) + margin))

    def take(self) -> Box:
        """Return the box (y0, x0, y1, x1), half open, around all that was noted since this was called last."""
        box, self._box = self._box, None
        return (0, 0, 0, 0) if box is None else box
