"""What was proposed for one image, gaps and cuts, and what was decided on it: the lists, their order, their numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import count as counting
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.errors import VesselError
from napari_vessel.review.edits import Edit, Verdict, VerdictRecord, merged

if TYPE_CHECKING:
    from napari_vessel.completion.belief import Beliefs, Opinion

_DONE = (Verdict.ACCEPTED, Verdict.REPAINTED)


class Listed(NamedTuple):
    """Proposals as they are listed: those to join, and those to cut."""

    gaps: tuple[Gap, ...]
    cuts: tuple[Gap, ...]


class Proposals:
    """The proposals for an image with their verdicts. Nothing changes one: an edit, or a search, leads to another.

    Parameters
    ----------
    gaps : iterable of Gap
        What was found, to join and to cut.
    decided : iterable of (Gap, VerdictRecord)
        The verdicts that stand.
    elsewhere : sequence of Opinion
        What the annotator has decided in other images about what is a vessel.
    """

    def __init__(
        self,
        gaps: Iterable[Gap] = (),
        decided: Iterable[tuple[Gap, VerdictRecord]] = (),
        elsewhere: Sequence[Opinion] = (),
    ) -> None:
        pool = {gap.id: gap for gap in gaps}
        self._verdicts: dict[str, VerdictRecord] = {}
        for gap, record in decided:
            pool.setdefault(gap.id, gap)
            self._verdicts[gap.id] = record
        self._pool = _ranked(pool.values())
        self._elsewhere = tuple(elsewhere)
        # Worked out when they are asked for first.
        self._beliefs: Beliefs | None = None
        self._scores: dict[str, Gap] | None = None
        self._listed: Listed | None = None
        self._numbers: dict[str, int] | None = None

    # What there is to see

    @property
    def found(self) -> Collection[Gap]:
        """All of them as the search found them."""
        return self._pool.values()

    @property
    def verdicts(self) -> Mapping[str, VerdictRecord]:
        """The verdict of each decided one, by its id (read-only)."""
        return MappingProxyType(self._verdicts)

    @property
    def decided(self) -> list[tuple[Gap, VerdictRecord]]:
        """The decided ones with their verdicts, as they were proposed, in no order."""
        return [(self._pool[name], record) for name, record in self._verdicts.items()]

    @property
    def gaps_left(self) -> int:
        """How many to join have no verdict."""
        return sum(gap.kind is not GapKind.CUT for gap in self.waiting(self.found))

    @property
    def cuts_left(self) -> int:
        """How many to cut have no verdict."""
        return sum(gap.kind is GapKind.CUT for gap in self.waiting(self.found))

    @property
    def rejected_gaps(self) -> tuple[Gap, ...]:
        """What a new search for gaps leaves out: rejected ones."""
        return self._with(gaps=(Verdict.REJECTED,))

    @property
    def refused_cuts(self) -> tuple[Gap, ...]:
        """What a new search for cuts leaves out: rejected ones, and gaps that were closed."""
        return self._with(gaps=_DONE, cuts=(Verdict.REJECTED,))

    @property
    def parted(self) -> tuple[Gap, ...]:
        """Connections that were cut."""
        return self._with(cuts=_DONE)

    def __getitem__(self, gap_id: str) -> Gap:
        """Return one as it was found; VesselError if there is none of this id."""
        try:
            return self._pool[gap_id]
        except KeyError:
            raise VesselError(f"There is no gap {gap_id}; choose one from the list.") from None

    def waiting(self, gaps: Iterable[Gap]) -> list[Gap]:
        """Return those of some of them that have no verdict."""
        return [gap for gap in gaps if gap.id not in self._verdicts]

    def number_of(self, gap_id: str) -> int:
        """Return the number that one is known by: it stays until the next search, whatever the order."""
        if self._numbers is None:
            counted = {True: counting(1), False: counting(1)}
            self._numbers = {gap.id: next(counted[gap.kind is GapKind.CUT]) for gap in self._pool.values()}
        return self._numbers[self[gap_id].id]

    def name_of(self, gap: Gap) -> str:
        """Return what one is called: ``gap 3``, ``cut 1``."""
        return f"{'cut' if gap.kind is GapKind.CUT else 'gap'} {self.number_of(gap.id)}"

    def scored(self, said: Callable[[], Sequence[Opinion]]) -> Mapping[str, Gap]:
        """Return all of them by their ids, the open ones with the score they have by the verdicts so far.

        Parameters
        ----------
        said : callable
            Returns what the annotator has decided in this image about what is a vessel; asked when it may have changed.
        """
        if self._scores is None:
            from napari_vessel.completion.belief import Beliefs
            from napari_vessel.completion.ranking import rescored

            if self._beliefs is None:
                self._beliefs = Beliefs(self._elsewhere)
            beliefs = self._beliefs.after(said())
            self._scores = self._pool | {gap.id: gap for gap in rescored(self.waiting(self.found), beliefs)}
        return self._scores

    def listed(
        self, said: Callable[[], Sequence[Opinion]], components: Callable[[], tuple[NDArray[np.int32], int]]
    ) -> Listed:
        """Return all of them, those whose decision brings most first, the open ones with the effect they have now.

        Parameters
        ----------
        said : callable
            As for :meth:`scored`.
        components : callable
            Returns the components of the mask, int32, shape (Y, X), and how many they are; asked where one is open.
        """
        if self._listed is None:
            from napari_vessel.completion import refresh_effects

            shown = dict(self.scored(said))
            waiting = self.waiting(shown.values())
            if waiting:
                labels, count = components()
                now = {gap.id: gap for gap in refresh_effects(waiting, labels, count)}
                # What has lost a vessel, or was painted over, stays until the next search, with an effect of nothing.
                shown |= {gap.id: now.get(gap.id) or _without_effect(gap, count) for gap in waiting}
            ordered = _ranked(shown.values()).values()
            self._listed = Listed(
                tuple(gap for gap in ordered if gap.kind is not GapKind.CUT),
                tuple(gap for gap in ordered if gap.kind is GapKind.CUT),
            )
        return self._listed

    # What they become

    def after(self, edit: Edit) -> Proposals:
        """Return what they are after an edit. Raises VesselError when it does not begin with the verdicts there are."""
        new = {change.gap.id: change.gap for change in edit.verdicts if change.gap.id not in self._pool}
        then = copy(self)
        changes = ((change.gap.id, change.before, change.after) for change in edit.verdicts)
        then._verdicts = merged(self._verdicts, changes, "gap")
        then._listed = None
        if new:
            then._pool = _ranked([*self._pool.values(), *new.values()])
            then._numbers = None
        if edit.verdicts or edit.fragments:
            then._scores = None
        return then

    def with_found(self, found: Iterable[Gap], cuts: bool) -> Proposals:
        """Return what they are when a search for cuts, or for gaps, has brought these: its open ones are replaced."""
        # Through JSON once, so that a reopened session has exactly these and not rounded ones.
        fresh = {gap.id: Gap.from_json(gap.to_json()) for gap in found}
        kept = {
            name: gap
            for name, gap in self._pool.items()
            if name in self._verdicts or (gap.kind is GapKind.CUT) is not cuts
        }
        then = copy(self)
        then._pool = _ranked({**fresh, **kept}.values())
        then._scores = then._listed = then._numbers = None
        return then

    def hearing(self, elsewhere: Sequence[Opinion]) -> Proposals:
        """Return what they are when something else has been decided in other images."""
        then = copy(self)
        then._elsewhere = tuple(elsewhere)
        then._beliefs = then._scores = then._listed = None
        return then

    def _with(self, gaps: Collection[Verdict] = (), cuts: Collection[Verdict] = ()) -> tuple[Gap, ...]:
        return tuple(
            gap for gap, record in self.decided if record.verdict in (cuts if gap.kind is GapKind.CUT else gaps)
        )


def _without_effect(gap: Gap, count: int) -> Gap:
    effect = replace(gap.effect, components_before=count, components_after=count, connected_px=0.0, cycles=0)
    # The numbers of the components that it joined may be those of others by now.
    return replace(gap, effect=effect, ends=tuple(replace(end, component=0) for end in gap.ends))


def _ranked(gaps: Iterable[Gap]) -> dict[str, Gap]:
    from napari_vessel.completion.ranking import expected_gain

    # By name where two bring the same, so that a reopened session has the same order.
    return {gap.id: gap for gap in sorted(gaps, key=lambda gap: (-expected_gain(gap), gap.id))}
