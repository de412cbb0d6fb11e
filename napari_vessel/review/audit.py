"""The audit of what was accepted in bulk: a random share is looked at again, and the share of wrong ones measured.

What was accepted in bulk has not been on the screen. A part of it is shown again, still accepted, and decided like any
other gap::

    done = [one for image in project.images() for one in project.bulk_accepted(image.id)]
    queue = [one for one in audit_sample(done) if one.waiting]
    session.apply(confirmation(one.gap, session.verdicts[one.gap.id], annotator, seconds))    # it was right
    session.decide(one.gap.id, Verdict.REJECTED, seconds)                                     # it was wrong
    measured_error(audit_sample(done)).text     # of `done` read again: 1 of 20 wrong: 5.0 % (0.1 to 24.9)

The audit is of a project's bulk accepts: its least number is meant for all images together. A gap's place in the
random order depends on its name alone, so the sample is the same after a restart, and stopping half-way leaves a random
sample too. *Wrong* are rejected and repainted ones, as in :mod:`napari_vessel.review.calibration`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from napari_vessel.completion.gap import Gap
from napari_vessel.review.calibration import CONFIDENCE, upper_bound
from napari_vessel.review.edits import Edit, EditKind, Verdict, VerdictChange, VerdictRecord

SHARE = 0.05
AT_LEAST = 10

_LOOKED = 0.001


@dataclass(frozen=True, eq=False, slots=True)
class BulkAccepted:
    """A gap that was accepted in bulk.

    Attributes
    ----------
    image : str
        The image's id.
    gap : Gap
        As it was when accepted.
    later : Verdict or None
        What the annotator said when looking at it; None when nobody has.
    """

    image: str
    gap: Gap
    later: Verdict | None = None

    @property
    def waiting(self) -> bool:
        """Whether nobody has looked at it."""
        return self.later is None


@dataclass(frozen=True, slots=True)
class MeasuredError:
    """What an audit has found so far.

    Attributes
    ----------
    audited, wrong : int
        Decided ones, and how many of them should not have been accepted.
    waiting, unsure : int
        Not looked at yet, and looked at without a decision.
    low, high : float
        95 % interval of the wrong share, two-sided; 0 and 1 before the first.
    """

    audited: int
    wrong: int
    waiting: int
    unsure: int
    low: float
    high: float

    @property
    def share(self) -> float | None:
        """The wrong share; None before the first."""
        return self.wrong / self.audited if self.audited else None

    @property
    def text(self) -> str:
        """The result for a person: ``1 of 20 wrong: 5.0 % (0.1 to 24.9), 3 to go``."""
        rest = f", {self.waiting} to go" if self.waiting else ""
        if not self.audited:
            return f"nothing audited{rest}"
        share = 100.0 * self.wrong / self.audited
        return (
            f"{self.wrong} of {self.audited} wrong: {share:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f}){rest}"
        )


def bulk_accepted(edits: Iterable[Edit], image: str = "") -> list[BulkAccepted]:
    """List what was accepted in bulk in an image and has not been made open again, in that order.

    Parameters
    ----------
    edits : iterable of Edit
        Those that are applied, oldest first.
    image : str
        The image's id.
    """
    found: dict[str, BulkAccepted] = {}
    for edit in edits:
        for change in edit.verdicts:
            name = change.gap.id
            if change.after is None:
                found.pop(name, None)
            elif edit.kind is EditKind.BULK:
                found[name] = BulkAccepted(image, change.gap)
            elif name in found:
                found[name] = replace(found[name], later=change.after.verdict)
    return list(found.values())


def audit_sample(
    accepted: Sequence[BulkAccepted], share: float = SHARE, at_least: int = AT_LEAST, seed: int = 0
) -> list[BulkAccepted]:
    """Draw the gaps that are to be looked at again, in the order in which to show them.

    Parameters
    ----------
    accepted : sequence of BulkAccepted
        Of one image or of a project.
    share : float
        Each is drawn with this chance, 0 to 1.
    at_least : int
        When that gives fewer, more are drawn; never more than there are.
    seed : int
        Of the drawing. The same gap has the same luck every time, whatever else was accepted.
    """
    drawn = sorted((_luck(one, seed), number) for number, one in enumerate(accepted))
    wanted = max(at_least, sum(luck < share for luck, _ in drawn))
    return [accepted[number] for _, number in drawn[:wanted]]


def measured_error(sample: Iterable[BulkAccepted], confidence: float = CONFIDENCE) -> MeasuredError:
    """Return what an audit says, with an exact two-sided interval.

    Parameters
    ----------
    sample : iterable of BulkAccepted
        From :func:`audit_sample`: gaps that were looked at for another reason would not be a random choice.
    confidence : float
        Of the interval.
    """
    later = [one.later for one in sample]
    wrong = sum(verdict in (Verdict.REJECTED, Verdict.REPAINTED) for verdict in later)
    audited = wrong + sum(verdict is Verdict.ACCEPTED for verdict in later)
    waiting = sum(verdict is None for verdict in later)
    side = 1.0 - (1.0 - confidence) / 2.0
    low = 1.0 - upper_bound(audited - wrong, audited, side) if audited else 0.0
    return MeasuredError(
        audited, wrong, waiting, len(later) - audited - waiting, low, upper_bound(wrong, audited, side)
    )


def confirmation(gap: Gap, before: VerdictRecord, annotator: str, seconds: float) -> Edit:
    """Build the edit that says an accepted gap was looked at and is right; the mask stays as it is.

    Parameters
    ----------
    gap : Gap
        The gap.
    before : VerdictRecord
        Its verdict so far.
    annotator : str
        Who looked.
    seconds : float
        How long it was on the screen; 0 would say that nobody looked.
    """
    from napari_vessel.review.journal import now

    record = VerdictRecord(Verdict.ACCEPTED, annotator, now(), max(seconds, _LOOKED), before.score)
    return Edit(EditKind.VERDICT, "confirmed gap", (), (VerdictChange(gap, before, record),))


def _luck(one: BulkAccepted, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}/{one.image}/{one.gap.id}".encode()).digest()
    return float(int.from_bytes(digest[:8], "big")) / 2.0**64
