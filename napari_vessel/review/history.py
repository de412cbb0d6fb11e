"""The one history of an image: what was done, how far back the annotator has gone, and what belongs together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from napari_vessel.review.edits import Edit, EditKind


class History:
    """Edits in order, and how many of them are applied; the others can be redone.

    Parameters
    ----------
    edits : iterable of Edit
        Oldest first.
    position : int
        How many of them are applied.
    """

    def __init__(self, edits: Iterable[Edit] = (), position: int = 0) -> None:
        self._edits = list(edits)
        if not 0 <= position <= len(self._edits):
            raise ValueError(f"position {position} is outside 0..{len(self._edits)}")
        self._position = position

    @property
    def position(self) -> int:
        """How many edits are applied."""
        return self._position

    @property
    def applied(self) -> tuple[Edit, ...]:
        """Edits that are applied, oldest first."""
        return tuple(self._edits[: self._position])

    def push(self, edit: Edit) -> None:
        """Add an applied edit; whatever could be redone is forgotten."""
        del self._edits[self._position :]
        self._edits.append(edit)
        self._position += 1

    def step_back(self) -> tuple[Edit, ...]:
        """Edits that one undo takes back, oldest first; empty at the beginning."""
        start = self._position - 1
        if start < 0:
            return ()
        last = self._edits[start]
        # A verdict closes its group; until then, in the middle of a repaint, each stroke is a step of its own.
        while last.group and last.kind is EditKind.VERDICT and start > 0 and self._edits[start - 1].group == last.group:
            start -= 1
        return tuple(self._edits[start : self._position])

    def step_forward(self) -> tuple[Edit, ...]:
        """Edits that one redo brings back, oldest first; empty at the end."""
        if self._position == len(self._edits):
            return ()
        stop = self._position + 1
        group = self._edits[stop - 1].group
        while group and stop < len(self._edits) and self._edits[stop].group == group:
            stop += 1
        if self._edits[stop - 1].kind is not EditKind.VERDICT:
            stop = self._position + 1
        return tuple(self._edits[self._position : stop])

    def move_to(self, position: int) -> None:
        """Say that `position` edits are applied now."""
        if not 0 <= position <= len(self._edits):
            raise ValueError(f"position {position} is outside 0..{len(self._edits)}")
        self._position = position


def join(edits: tuple[Edit, ...]) -> Edit:
    """Return one edit that does what `edits` do one after another; it is named after the last.

    Parameters
    ----------
    edits : tuple of Edit
        At least one, oldest first.
    """
    if len(edits) == 1:
        return edits[0]
    return replace(
        edits[-1],
        masks=tuple(mask for edit in edits for mask in edit.masks),
        verdicts=tuple(verdict for edit in edits for verdict in edit.verdicts),
    )
