"""Pairs of places, to tell which courses join the same two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.drafts import Draft


class Paired:
    """The bridges between paired ends.

    Parameters
    ----------
    bridges : sequence of Draft
        Courses that use up two ends each.
    """

    def __init__(self, bridges: Sequence[Draft]) -> None:
        self._ends = {frozenset(bridge.own_ends) for bridge in bridges}
        self._places = Places(len(bridges))
        for bridge in bridges:
            self._places.add(bridge.bridge.path)

    def joins(self, piece: Draft, calibre: float) -> bool:
        """Tell whether one of them joins what a piece of a completion map joins."""
        own = piece.own_ends
        near = max(piece.bridge.width, calibre, 2.0)
        return (len(own) == 2 and frozenset(own) in self._ends) or self._places.joined(piece.bridge.path, near)


class Places:
    """Pairs of places that are joined.

    Parameters
    ----------
    most : int
        How many pairs there may be.
    """

    def __init__(self, most: int) -> None:
        self._points = np.empty((most, 4))
        self._count = 0

    def add(self, path: NDArray[np.floating]) -> None:
        """Add the two ends of a path, (y, x), shape (N, 2)."""
        self._points[self._count] = (*path[0], *path[-1])
        self._count += 1

    def joined(self, path: NDArray[np.floating], near: float) -> bool:
        """Tell whether the ends of a path are at most `near` px from those of a pair, either way round."""
        known = self._points[: self._count]
        for ends in ((*path[0], *path[-1]), (*path[-1], *path[0])):
            apart = np.square(known - np.asarray(ends, np.float64))
            if ((apart[:, 0] + apart[:, 1] <= near * near) & (apart[:, 2] + apart[:, 3] <= near * near)).any():
                return True
        return False
