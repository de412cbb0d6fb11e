"""A list of proposals, gaps or cuts, as it is gone through: which one is under review, and in what order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from napari_vessel.completion.gap import Gap
from napari_vessel.review.session import ReviewSession


class ProposalList:
    """The gaps, or the cuts, of a session in the order of the annotator's way through them.

    After a verdict what is below is put in order anew: the next is the best by then. Nothing above moves.

    Parameters
    ----------
    session : ReviewSession or None
        Whose proposals; without one the list is empty.
    cuts : bool
        Whether it lists cuts, and not gaps.
    """

    def __init__(self, session: ReviewSession | None, cuts: bool) -> None:
        self._session, self._cuts = session, cuts
        self._ids: list[str] = []
        self.selected = ""
        """Id of the one under review; empty for none."""

    def __contains__(self, gap_id: str) -> bool:
        """Whether one is listed."""
        return gap_id in self._ids

    @property
    def noun(self) -> str:
        """What one of them is called."""
        return "cut" if self._cuts else "gap"

    @property
    def open(self) -> tuple[Gap, ...]:
        """Those without a verdict, best first."""
        if self._session is None:
            return ()
        return self._session.open_cuts if self._cuts else self._session.open_gaps

    @property
    def listed(self) -> list[Gap]:
        """All of them, open and decided, in the order in which they are gone through."""
        by_id = {gap.id: gap for gap in self._proposals}
        return [by_id[one] for one in self._ids if one in by_id]

    def walk(self, order: Callable[[], list[str]] | None = None) -> list[str]:
        """Return the ids in the order in which they are gone through, or in that of a sorted, filtered table."""
        if order is None:
            return list(self._ids)
        there = {gap.id for gap in self._proposals}
        return [gap_id for gap_id in order() if gap_id in there]

    def renew(self, quietly: bool) -> None:
        """Make room for the result of a search; of one that was asked for all is put in order anew."""
        if not quietly:
            self._ids = []

    def follow(self) -> None:
        """Take a new order for what is below the one under review; that one, and what is above it, stay in place."""
        ranked = [gap.id for gap in self._proposals]
        there = set(ranked)
        at = self._ids.index(self.selected) + 1 if self.selected in self._ids else 0
        passed = [one for one in self._ids[:at] if one in there]
        before = set(passed)
        self._ids = passed + [one for one in ranked if one not in before]

    def near(self, before: Gap) -> str:
        """Return the open one where another was: found again, its ends have moved by a pixel or two. Empty for none."""
        centre = np.asarray(before.centre)
        near = [(float(np.hypot(*(centre - g.centre))), g.id) for g in self.open]
        best = min(near, default=(np.inf, ""))
        return best[1] if best[0] <= max(6.0, before.length) else ""

    @property
    def _proposals(self) -> tuple[Gap, ...]:
        if self._session is None:
            return ()
        return self._session.cuts if self._cuts else self._session.gaps
