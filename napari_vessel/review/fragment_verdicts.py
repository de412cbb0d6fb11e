"""The verdicts on the fragments of one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from napari_vessel.review.edits import Edit, merged
from napari_vessel.review.fragments import Fragment, FragmentChange, FragmentRecord, FragmentVerdict, is_there


class FragmentVerdicts:
    """The decided fragments of an image with their verdicts. Nothing changes one: an edit leads to another.

    Parameters
    ----------
    decided : iterable of (Fragment, FragmentRecord)
        The verdicts that stand.
    """

    def __init__(self, decided: Iterable[tuple[Fragment, FragmentRecord]] = ()) -> None:
        self._known: dict[str, Fragment] = {}
        self._verdicts: dict[str, FragmentRecord] = {}
        for fragment, record in decided:
            self._known[fragment.id] = fragment
            self._verdicts[fragment.id] = record

    @property
    def records(self) -> Mapping[str, FragmentRecord]:
        """The verdict on each, by its id (read-only)."""
        return MappingProxyType(self._verdicts)

    @property
    def deleted(self) -> tuple[Fragment, ...]:
        """Those that were deleted by a verdict."""
        said = self._verdicts.items()
        return tuple(self._known[name] for name, record in said if record.verdict is FragmentVerdict.DELETED)

    def still_there(self, components: NDArray[np.int32], main: int) -> int:
        """Return how many are in a mask as they were when they were decided.

        Parameters
        ----------
        components : ndarray of int32, shape (Y, X)
            Components of the mask.
        main : int
            Label of the main one.
        """
        return sum(is_there(self._known[name], components, main) for name in self._verdicts)

    def void_in(self, labels: NDArray[np.uint8]) -> tuple[FragmentChange, ...]:
        """Return the verdicts that a mask, uint8, shape (Y, X), makes void: what was deleted and is there again."""
        return tuple(FragmentChange(one, self._verdicts[one.id], None) for one in self.deleted if labels[one.point])

    def after(self, edit: Edit) -> FragmentVerdicts:
        """Return what they are after an edit. Raises VesselError when it does not begin with those there are."""
        then = FragmentVerdicts()
        then._known = {**self._known, **{change.fragment.id: change.fragment for change in edit.fragments}}
        changes = ((change.fragment.id, change.before, change.after) for change in edit.fragments)
        then._verdicts = merged(self._verdicts, changes, "fragment")
        return then
