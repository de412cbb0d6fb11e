"""What two annotators both gave a verdict on: gaps, cuts and fragments, paired, and whether the two verdicts agree."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.review.edits import Verdict, VerdictRecord
from napari_vessel.review.fragments import Fragment, FragmentRecord, FragmentVerdict

TOLERANCE = 1.0
"""How far the ends of one gap may lie apart in two projects, in calibres (widths of the vessel there)."""

OVERLAP = 0.5
"""Least share that the boxes of one fragment have in common in two projects, of both together."""

_LEAST_TOLERANCE_PX = 3.0
_YES = {Verdict.ACCEPTED: True, Verdict.REPAINTED: True, Verdict.REJECTED: False}
_KEEPS = {FragmentVerdict.KEPT: True, FragmentVerdict.DELETED: False}

Decided = tuple[Gap, VerdictRecord]
DecidedFragment = tuple[Fragment, FragmentRecord]


class _Answers(ABC):
    """Two verdicts on one thing, as the question whether there is a vessel."""

    __slots__ = ()

    @property
    @abstractmethod
    def vessel(self) -> tuple[bool | None, bool | None]:
        """Whether the first and the second see a vessel there; None for one who was unsure or skipped it."""

    @property
    def decided(self) -> tuple[bool, bool] | None:
        """The same when both decided; None otherwise."""
        first, second = self.vessel
        return None if first is None or second is None else (first, second)

    @property
    def contradicts(self) -> bool:
        """Whether one sees a vessel there and the other does not."""
        return self.decided is not None and self.decided[0] != self.decided[1]

    @property
    def is_disagreement(self) -> bool:
        """Whether somebody should look at it again: a contradiction, or one decided and the other did not."""
        first, second = self.vessel
        return first != second


@dataclass(frozen=True, eq=False, slots=True)
class Pair(_Answers):
    """One gap, or one cut, on which both annotators gave a verdict.

    Attributes
    ----------
    gap : Gap
        As the first annotator saw it.
    first, second : VerdictRecord
        What they said.
    """

    gap: Gap
    first: VerdictRecord
    second: VerdictRecord

    @property
    def vessel(self) -> tuple[bool | None, bool | None]:
        """Whether the first and the second want a vessel there; None for one who was unsure or skipped it."""
        first, second = (_YES.get(said.verdict) for said in (self.first, self.second))
        if not self.is_cut:
            return first, second
        return None if first is None else not first, None if second is None else not second

    @property
    def is_cut(self) -> bool:
        """Whether it is a connection to cut, where accepting takes vessel away."""
        return self.gap.kind is GapKind.CUT

    @property
    def what(self) -> str:
        """A word for it: ``gap`` or ``cut``."""
        return "cut" if self.is_cut else "gap"

    @property
    def id(self) -> str:
        """The gap's."""
        return self.gap.id

    @property
    def centre(self) -> tuple[float, float]:
        """Where it is, (y, x) in pixels."""
        return self.gap.centre

    @property
    def stake_px(self) -> float:
        """How much centreline hangs on it, in pixels."""
        return self.gap.effect.connected_px


@dataclass(frozen=True, eq=False, slots=True)
class FragmentPair(_Answers):
    """One fragment on which both annotators gave a verdict.

    Attributes
    ----------
    fragment : Fragment
        As the first annotator saw it.
    first, second : FragmentRecord
        What they said.
    """

    fragment: Fragment
    first: FragmentRecord
    second: FragmentRecord

    @property
    def vessel(self) -> tuple[bool | None, bool | None]:
        """Whether the first and the second kept it; None for one who was unsure or skipped it."""
        return _KEEPS.get(self.first.verdict), _KEEPS.get(self.second.verdict)

    @property
    def what(self) -> str:
        """A word for it."""
        return "fragment"

    @property
    def id(self) -> str:
        """The fragment's."""
        return self.fragment.id

    @property
    def centre(self) -> tuple[float, float]:
        """Where it is, (y, x) in pixels."""
        return self.fragment.centre

    @property
    def stake_px(self) -> float:
        """How much centreline hangs on it, in pixels."""
        return float(self.fragment.length_px)


def match_gaps(first: Sequence[Decided], second: Sequence[Decided], tolerance: float = TOLERANCE) -> list[Pair]:
    """Find the gaps that two annotators both gave a verdict on, by name, then the nearest first; each is used once.

    Parameters
    ----------
    first, second : sequence of (Gap, VerdictRecord)
        The verdicts on one image.
    tolerance : float
        How far both ends may lie apart, in calibres.
    """
    by_name = {gap.id: number for number, (gap, _) in enumerate(second)}
    partner = {number: by_name[gap.id] for number, (gap, _) in enumerate(first) if gap.id in by_name}
    taken = set(partner.values())
    near: list[tuple[float, int, int]] = []
    for number, (gap, _) in enumerate(first):
        if number in partner:
            continue
        for other, (candidate, _) in enumerate(second):
            if other in taken:
                continue
            apart = _apart(gap, candidate)
            width = 2.0 * max(end.radius for end in (*gap.ends, *candidate.ends))
            if apart <= max(tolerance * width, _LEAST_TOLERANCE_PX):
                near.append((apart, number, other))
    for _, number, other in sorted(near):
        if number not in partner and other not in taken:
            partner[number] = other
            taken.add(other)
    return [Pair(first[n][0], first[n][1], second[partner[n]][1]) for n in sorted(partner)]


def match_fragments(first: Sequence[DecidedFragment], second: Sequence[DecidedFragment]) -> list[FragmentPair]:
    """Find the fragments that two annotators both gave a verdict on: the same, then those that overlap most.

    Parameters
    ----------
    first, second : sequence of (Fragment, FragmentRecord)
        The verdicts on one image that hold; each fragment is used once.
    """
    near = sorted(
        (-share, number, other)
        for number, (fragment, _) in enumerate(first)
        for other, (candidate, _) in enumerate(second)
        if (share := 2.0 if fragment.id == candidate.id else _in_common(fragment, candidate)) >= OVERLAP
    )
    partner: dict[int, int] = {}
    for _, number, other in near:
        if number not in partner and other not in partner.values():
            partner[number] = other
    return [FragmentPair(first[n][0], first[n][1], second[partner[n]][1]) for n in sorted(partner)]


def _apart(one: Gap, other: Gap) -> float:
    """Return how far the ends of two gaps lie apart, px: the farther of the two; infinite when they cannot be one."""
    if len(one.ends) != len(other.ends) or (one.kind is GapKind.CUT) != (other.kind is GapKind.CUT):
        return float("inf")
    a = np.asarray([end.point for end in one.ends])
    b = np.asarray([end.point for end in other.ends])
    return float(min(np.hypot(*(a - turned).T).max() for turned in (b, b[::-1])))


def _in_common(one: Fragment, other: Fragment) -> float:
    """Return the area of two boxes' overlap over that of both together."""
    a, b = one.box, other.box
    sides = [min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1)]
    common = max(sides[0], 0) * max(sides[1], 0)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - common
    return common / both
