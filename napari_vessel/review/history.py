"""The one history of an image: what was done, how far back the annotator has gone, and what belongs together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from napari_vessel.review.edits import Edit, EditKind

PAGE = 256
"""How many edits are read at once when undo, redo or a look back reaches what is not in memory."""

Load = Callable[[int, int], Sequence[Edit]]
"""Returns the edits from the first number (inclusive, from 0) to the second (exclusive)."""


class History:
    """Edits in order, and how many of them are applied; the others can be redone.

    With `load`, only a window of the edits is in memory, around the place where the annotator is.

    Parameters
    ----------
    edits : iterable of Edit
        Oldest first; all of them when there is no `load`.
    position : int
        How many edits are applied.
    count : int, optional
        How many edits there are; the number of `edits` when left out.
    load : callable, optional
        Reads a stretch of the edits.
    """

    def __init__(
        self, edits: Iterable[Edit] = (), position: int = 0, count: int | None = None, load: Load | None = None
    ) -> None:
        self._window = list(edits)
        self._first = 0
        self._count = len(self._window) if count is None else count
        self._load = load
        self._check(position)
        self._position = position

    @property
    def position(self) -> int:
        """How many edits are applied."""
        return self._position

    def back(self) -> Iterator[Edit]:
        """Yield the applied edits, newest first; the older ones are read as the caller gets to them, and not kept."""
        stop = self._position
        while stop > 0:
            if self._first < stop <= self._first + len(self._window):
                start, page = self._first, self._window[: stop - self._first]
            else:
                start = max(stop - PAGE, 0)
                page = list(self._read(start, stop))
            yield from reversed(page)
            stop = start

    def push(self, edit: Edit) -> None:
        """Add an applied edit; whatever could be redone is forgotten."""
        if self._first <= self._position <= self._first + len(self._window):
            del self._window[self._position - self._first :]
        else:
            self._first, self._window = self._position, []
        self._window.append(edit)
        self._position += 1
        self._count = self._position
        if self._load is not None and len(self._window) > 2 * PAGE:
            del self._window[:PAGE]
            self._first += PAGE

    def step_back(self) -> tuple[Edit, ...]:
        """Edits that one undo takes back, oldest first; empty at the beginning."""
        start = self._position - 1
        if start < 0:
            return ()
        last = self._edit(start)
        # A verdict closes its group; until then, in the middle of a repaint, each stroke is a step of its own.
        if last.group and last.kind is EditKind.VERDICT:
            while start > 0 and self._edit(start - 1).group == last.group:
                start -= 1
        return tuple(self._edit(n) for n in range(start, self._position))

    def step_forward(self) -> tuple[Edit, ...]:
        """Edits that one redo brings back, oldest first; empty at the end."""
        if self._position == self._count:
            return ()
        step = [self._edit(self._position)]
        stop = self._position + 1
        while step[0].group and stop < self._count and self._edit(stop).group == step[0].group:
            step.append(self._edit(stop))
            stop += 1
        return tuple(step) if step[-1].kind is EditKind.VERDICT else (step[0],)

    def move_to(self, position: int) -> None:
        """Say that `position` edits are applied now."""
        self._check(position)
        self._position = position

    def _check(self, position: int) -> None:
        if not 0 <= position <= self._count:
            raise ValueError(f"position {position} is outside 0..{self._count}")

    def _edit(self, number: int) -> Edit:
        if not self._first <= number < self._first + len(self._window):
            # Half a page to either side, so that steps to and fro do not read again.
            first = max(number - PAGE // 2, 0)
            self._window = list(self._read(first, min(number + PAGE // 2, self._count)))
            self._first = first
        return self._window[number - self._first]

    def _read(self, start: int, stop: int) -> Sequence[Edit]:
        assert self._load is not None, "without a way to read them all edits are in memory"
        return self._load(start, stop)


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
