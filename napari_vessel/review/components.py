"""The components of a mask that is edited: labelled once, then followed from edit to edit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.labelling import Labelling


@dataclass(frozen=True, eq=False, slots=True)
class Components:
    """8-connected components of a mask.

    Attributes
    ----------
    labels : ndarray of int32, shape (Y, X)
        0 is background. A read-only view that follows every edit; :meth:`ReviewSession.components_copy` is for other
        threads. The larger part of a component keeps its number; not every number up to the largest need be in use.
    count : int
        How many there are: the Betti number b0.
    """

    labels: NDArray[np.int32]
    count: int

    def __iter__(self) -> Iterator[Any]:
        """Unpack as ``labels, count``."""
        return iter((self.labels, self.count))


class FollowedComponents:
    """The components of a mask, up to date as long as :meth:`follow` hears of each change; made when asked for first.

    Parameters
    ----------
    mask : ndarray of uint8, shape (Y, X)
        All classes count together.
    """

    def __init__(self, mask: NDArray[np.uint8]) -> None:
        self._mask = mask
        self._labelling: Labelling | None = None
        self._copy: NDArray[np.int32] | None = None
        self._main: int | None = None

    @property
    def now(self) -> Components:
        """As they are now."""
        followed = self._labelled()
        return Components(followed.labels, followed.b0)

    def _labelled(self) -> Labelling:
        if self._labelling is None:
            self._labelling = Labelling(self._mask)
        return self._labelling

    @property
    def main(self) -> int:
        """Number of the main one, the largest; 0 in an empty mask. It is looked for once after a change."""
        if self._main is None:
            self._main = int(self._labelled().areas.argmax())
        return self._main

    def copy(self) -> NDArray[np.int32]:
        """Return them, int32, shape (Y, X), read-only, for another thread to read; the same array until a change."""
        if self._copy is None:
            self._copy = self.now.labels.copy()
            self._copy.flags.writeable = False
        return self._copy

    def follow(self, origin: tuple[int, int], patch: NDArray[np.bool_]) -> None:
        """Take up a change of the mask: `patch`, shape (Y, X), is what is vessel from `origin` (y, x) on."""
        if self._labelling is not None:
            self._labelling.change(origin, patch)
            self._copy = self._main = None
