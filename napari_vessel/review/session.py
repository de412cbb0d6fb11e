"""One image under review: its mask, gaps, verdicts and history, and the one door through which they change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_vessel.completion.gap import Gap
from napari_vessel.errors import VesselError
from napari_vessel.images.image import VESSEL, MaskClass
from napari_vessel.review.builders import (
    bulk,
    deletion,
    discarding,
    segmentation,
    stage,
)
from napari_vessel.review.components import Components, FollowedComponents
from napari_vessel.review.drawing import Box, begins_at, drawing, taking_back
from napari_vessel.review.edits import Edit, EditKind, MaskEdit, Verdict, VerdictChange, VerdictRecord
from napari_vessel.review.fragment_verdicts import FragmentVerdicts
from napari_vessel.review.fragments import Fragment, FragmentChange, FragmentRecord, FragmentVerdict, is_there
from napari_vessel.review.history import History, join
from napari_vessel.review.journal import ALL_VESSELS, Journal, now
from napari_vessel.review.proposals import Listed, Proposals

if TYPE_CHECKING:
    from napari_vessel.completion.belief import Opinion

OPEN = "open"


class _Staged(NamedTuple):
    box: Box | None
    patch: NDArray[np.uint8]
    proposals: Proposals
    new_gaps: Collection[Gap] | None
    fragments: FragmentVerdicts


class ReviewSession:
    """Holds one image's mask, components, gaps, verdicts and history.

    Everything goes through :meth:`apply`, :meth:`undo` and :meth:`redo`: the journal is committed first, then the
    memory changes, then the signals are emitted, on the calling thread. When the journal cannot be written
    nothing changes.

    Parameters
    ----------
    labels : ndarray of uint8, shape (Y, X)
        The mask with the first `history.position` edits applied. The session owns the array from now on.
    classes : tuple of MaskClass
        What the labels mean; at least one.
    history : History, optional
        What was done so far.
    gaps : iterable of Gap
        Proposals, ranked.
    decided : iterable of (Gap, VerdictRecord)
        The verdicts that stand.
    journal : Journal, optional
        Where changes are written; without one nothing outlives the session.
    image_id : str
        The image in its project.
    annotator : str
        Recorded with each verdict.
    opinions : sequence of Opinion
        What the annotator has decided elsewhere about what is a vessel.
    """

    edited = Signal(Edit, object)
    """The change just made (of an undo: the inverse), and the box (y0, x0, y1, x1) it touched, or None."""
    gaps_changed = Signal()
    verdict_changed = Signal(str)
    history_changed = Signal()

    def __init__(
        self,
        labels: NDArray[np.uint8],
        classes: tuple[MaskClass, ...] = (VESSEL,),
        *,
        history: History | None = None,
        gaps: Iterable[Gap] = (),
        decided: Iterable[tuple[Gap, VerdictRecord]] = (),
        journal: Journal | None = None,
        image_id: str = "",
        annotator: str = "",
        opinions: Sequence[Opinion] = (),
    ) -> None:
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise ValueError(f"labels must be a 2-D uint8 array, not {labels.dtype} {labels.shape}")
        self.image_id = image_id
        self._annotator = annotator
        self.classes = classes
        self._labels = labels
        self._view = labels.view()
        self._view.flags.writeable = False
        self._history = History() if history is None else history
        self._journal = journal
        self._flags = frozenset() if journal is None else journal.flags()
        self._comment = "" if journal is None else journal.comment()
        self._proposals = Proposals(gaps, decided, opinions)
        self._fragments = FragmentVerdicts(() if journal is None else journal.fragments())
        self._components = FollowedComponents(labels)
        self._planned: tuple[float, Proposals, Edit] | None = None

    # What there is to see

    @property
    def annotator(self) -> str:
        """Who works on the image: recorded with each verdict. :meth:`hand_to` changes it."""
        return self._annotator

    def is_current(self) -> bool:
        """Whether the project knows this very history: no edit was made or taken back by another session since."""
        return self._journal is None or self._journal.is_current()

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The mask, uint8, shape (Y, X): a read-only view, never replaced, that follows every edit."""
        return self._view

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (int(self._labels.shape[0]), int(self._labels.shape[1]))

    @property
    def components(self) -> Components:
        """8-connected components of all classes together, up to date."""
        return self._components.now

    @property
    def main(self) -> int:
        """Number of the main component, the largest; 0 in an empty mask. It is looked for once after an edit."""
        return self._components.main

    def components_copy(self) -> NDArray[np.int32]:
        """Return the components as they are now, int32, shape (Y, X), read-only, for another thread to read.

        It is the same array until the next edit of the mask.
        """
        return self._components.copy()

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """All proposals to join, open and decided, those whose decision brings most first.

        The score of the open ones is what this annotator's verdicts, here and elsewhere, make of it, and their effect
        is up to date. An open one that an edit has made pointless (painted over, its vessel deleted) is still there,
        with an effect of nothing, until :meth:`set_gaps` brings the result of a new search.
        """
        return self._listed().gaps

    @property
    def cuts(self) -> tuple[Gap, ...]:
        """All proposals to cut a connection, open and decided, in the order of :attr:`gaps`."""
        return self._listed().cuts

    @property
    def open_gaps(self) -> tuple[Gap, ...]:
        """Proposals to join without a verdict, in the order of :attr:`gaps`."""
        return tuple(self._proposals.waiting(self.gaps))

    @property
    def open_cuts(self) -> tuple[Gap, ...]:
        """Proposals to cut without a verdict, in the order of :attr:`gaps`."""
        return tuple(self._proposals.waiting(self.cuts))

    @property
    def rejected_gaps(self) -> tuple[Gap, ...]:
        """Proposals to join that were rejected: a new search leaves them out."""
        return self._proposals.rejected_gaps

    @property
    def refused_cuts(self) -> tuple[Gap, ...]:
        """What a new search for cuts leaves out: rejected ones, and gaps that were closed."""
        return self._proposals.refused_cuts

    @property
    def verdicts(self) -> Mapping[str, VerdictRecord]:
        """The verdict of each decided gap, by its id (read-only)."""
        return self._proposals.verdicts

    @property
    def decided(self) -> list[tuple[Gap, VerdictRecord]]:
        """Gaps and cuts with their verdicts, as they were proposed, in no order."""
        return self._proposals.decided

    @property
    def said(self) -> list[Opinion]:
        """What the annotator has decided in this image about what is a vessel."""
        from napari_vessel.review.opinions import opinions_of, opinions_of_fragments

        said = opinions_of(self.decided, self.annotator)
        return said + opinions_of_fragments(self.fragment_verdicts.values(), self.annotator)

    def state_of(self, gap_id: str) -> str:
        """Return ``"open"`` or the gap's verdict (a :class:`Verdict`, which is a str)."""
        record = self.verdicts.get(gap_id)
        return OPEN if record is None else record.verdict

    @property
    def fragment_verdicts(self) -> Mapping[str, FragmentRecord]:
        """The verdict on each decided fragment, by its id (read-only)."""
        return self._fragments.records

    @property
    def deleted_fragments(self) -> tuple[Fragment, ...]:
        """Fragments that were deleted by a verdict."""
        return self._fragments.deleted

    def fragment_state(self, fragment_id: str) -> str:
        """Return ``"open"`` or the fragment's verdict (a :class:`FragmentVerdict`, which is a str)."""
        record = self.fragment_verdicts.get(fragment_id)
        return OPEN if record is None else record.verdict

    def remaining(self) -> dict[str, int]:
        """Return what is left: ``open`` gaps, ``cuts``, ``fragments`` (undecided, beside the main one) and ``b0``."""
        labels, count = self.components
        # The main one is looked for only where something was decided.
        decided = self._fragments.still_there(labels, self.main) if self.fragment_verdicts else 0
        return {
            "open": self._proposals.gaps_left,
            "cuts": self._proposals.cuts_left,
            "fragments": max(count - 1 - decided, 0),
            "b0": count,
        }

    @property
    def flags(self) -> frozenset[str]:
        """Flags of the image: ``ungradable``, ``second_reader``, ``all_vessels``. Setting them commits at once."""
        return self._flags

    @flags.setter
    def flags(self, flags: Iterable[str]) -> None:
        wanted = frozenset(flags)
        if self._journal is not None:
            self._journal.set_flags(wanted)
        self._flags = wanted

    @property
    def comment(self) -> str:
        """Comment on the image. Setting it commits at once."""
        return self._comment

    @comment.setter
    def comment(self, comment: str) -> None:
        if self._journal is not None:
            self._journal.set_comment(comment)
        self._comment = comment

    # The door

    def apply(self, edit: Edit) -> None:
        """Do an edit: write it to the journal, then to the memory, then tell everyone.

        Parameters
        ----------
        edit : Edit
            Its `before` must be what is there now. An edit that changes nothing is ignored.

        Raises
        ------
        VesselError
            If the edit does not fit what is there now.
        ProjectError
            If the journal cannot be written; nothing was changed.
        """
        if not edit.masks and not edit.verdicts and not edit.fragments:
            return
        staged = self._stage(edit)
        if self._journal is not None:
            left = staged.proposals.gaps_left
            self._journal.append(
                edit, self._history.position, left, lambda: self._labels_after(staged), staged.new_gaps
            )
        self._history.push(edit)
        self._enter(edit, staged)

    def undo(self) -> Edit | None:
        """Take back the last step, and return what it was (edits of one group joined); None at the beginning."""
        step = self._history.step_back()
        done = self.next_undo
        if done is not None:
            self._travel(done.inverse(), self._history.position - len(step))
        return done

    def redo(self) -> Edit | None:
        """Do again the step that was taken back last, and return it; None when there is none."""
        step = self._history.step_forward()
        done = self.next_redo
        if done is not None:
            self._travel(done, self._history.position + len(step))
        return done

    @property
    def next_undo(self) -> Edit | None:
        """What :meth:`undo` would take back (edits of one group joined); None at the beginning."""
        step = self._history.step_back()
        return join(step) if step else None

    @property
    def next_redo(self) -> Edit | None:
        """What :meth:`redo` would do again; None when there is nothing."""
        step = self._history.step_forward()
        return join(step) if step else None

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return self.next_undo is not None

    @property
    def can_redo(self) -> bool:
        """Whether there is something to do again."""
        return self.next_redo is not None

    @property
    def undo_text(self) -> str:
        """What undo would take back; empty when there is nothing."""
        edit = self.next_undo
        return "" if edit is None else edit.text

    @property
    def redo_text(self) -> str:
        """What redo would do again; empty when there is nothing."""
        edit = self.next_redo
        return "" if edit is None else edit.text

    @property
    def history_position(self) -> int:
        """How many edits are applied."""
        return self._history.position

    # What annotators do, as edits

    def stroke(
        self,
        after_patch: NDArray[np.uint8],
        origin: tuple[int, int],
        text: str = "brush stroke",
        group: str = "",
    ) -> Edit | None:
        """Put `after_patch` (uint8, shape (Y, X)) at `origin` (y, x); None when that changes nothing.

        Raises
        ------
        VesselError
            If the patch does not lie inside the image, or has a label that is no class of the mask.
        """
        (y, x), (height, width) = origin, after_patch.shape
        if y < 0 or x < 0 or y + height > self.shape[0] or x + width > self.shape[1]:
            raise VesselError("The stroke reaches outside the image; paint inside it.")
        patch = np.ascontiguousarray(after_patch, np.uint8)
        change = MaskEdit.between(self._labels[y : y + height, x : x + width], patch, (int(y), int(x)))
        return None if change is None else self._applied(Edit(EditKind.STROKE, text, (change,), group=group))

    def decide(self, gap_id: str, verdict: Verdict, seconds: float = 0.0, group: str = "") -> Edit | None:
        """Give a gap its verdict: ACCEPTED draws it; any other takes back what accepting it had drawn.

        Parameters
        ----------
        gap_id : str
            One of :attr:`gaps`.
        verdict : Verdict
            The decision.
        seconds : float
            How long the gap was on the screen.
        group : str
            Name of the repaint whose strokes the verdict closes.

        Returns
        -------
        Edit or None
            What was done; None when the gap already has this verdict and nothing changes.

        Raises
        ------
        VesselError
            If there is no such gap.
        """
        verdict, gap, before = Verdict(verdict), self._proposals[gap_id], self.verdicts.get(gap_id)
        accepted = verdict is Verdict.ACCEPTED
        change = drawing(self._labels, gap, self.classes) if accepted else self._taking_back(gap_id)
        if change is None and not group and before is not None and before.verdict is verdict:
            return None
        record = VerdictRecord(verdict, self.annotator, now(), float(seconds), self._scored()[gap_id].score)
        text = f"{verdict.value} {self._proposals.name_of(gap)}"
        masks = () if change is None else (change,)
        return self._applied(Edit(EditKind.VERDICT, text, masks, (VerdictChange(gap, before, record),), group))

    def reopen(self, gap_id: str, group: str = "") -> Edit | None:
        """Make a decided gap open again and take back its drawing; None when it is open."""
        gap, before = self._proposals[gap_id], self.verdicts.get(gap_id)
        if before is None:
            return None
        change = self._taking_back(gap_id)
        text = f"reopened {self._proposals.name_of(gap)}"
        masks = () if change is None else (change,)
        return self._applied(Edit(EditKind.VERDICT, text, masks, (VerdictChange(gap, before, None),), group))

    def bulk_gaps(self, score: float) -> tuple[Gap, ...]:
        """Open gaps that :meth:`accept_above` would accept, best first: what to say before doing it."""
        return tuple(change.gap for change in self._bulk(score).verdicts)

    def accept_above(self, score: float) -> Edit | None:
        """Accept every open gap with at least `score`, best first, as one edit; None when there is none.

        A gap whose ends an earlier one has joined already, or whose vessel is gone, stays open.
        """
        edit, when = self._bulk(score), now()
        # A preview may have been looked at for a while.
        given = tuple(
            replace(change, after=replace(change.after, when=when)) for change in edit.verdicts if change.after
        )
        return self._applied(replace(edit, verdicts=given)) if given else None

    def delete_component(self, y: int, x: int) -> Edit | None:
        """Delete the 8-connected component, of any class, under a pixel; None when there is none."""
        change = deletion(self._labels, self.components.labels, y, x)
        return None if change is None else self._applied(Edit(EditKind.DELETE, "deleted component", (change,)))

    def decide_fragment(self, fragment: Fragment, verdict: FragmentVerdict, seconds: float = 0.0) -> Edit | None:
        """Give a fragment its verdict: DELETED erases it; any other brings back what deleting it had erased.

        Parameters
        ----------
        fragment : Fragment
            As :func:`~napari_vessel.review.fragments.find_fragments` found it.
        verdict : FragmentVerdict
            The decision.
        seconds : float
            How long it was on the screen.

        Returns
        -------
        Edit or None
            What was done; None when it has this verdict already.

        Raises
        ------
        VesselError
            If the mask has changed there, so that it is no longer the fragment that was looked at.
        """
        verdict, before = FragmentVerdict(verdict), self.fragment_verdicts.get(fragment.id)
        labels, change = self.components.labels, None
        there = is_there(fragment, labels, self.main)
        if before is not None and before.verdict is verdict:
            return None
        if before is not None and before.verdict is FragmentVerdict.DELETED:
            change = taking_back(self._labels, fragment.id, self._history.back())
        elif not there:
            raise VesselError("The mask has changed here since the fragment was listed; decide the one there is now.")
        elif verdict is FragmentVerdict.DELETED:
            change = deletion(self._labels, labels, *fragment.point)
        facts = self._facts_of(fragment) if before is None else before.facts
        record = FragmentRecord(verdict, self.annotator, now(), float(seconds), facts)
        text = f"{verdict.value} fragment of {fragment.area_px} px"
        masks = () if change is None else (change,)
        done = (FragmentChange(fragment, before, record),)
        return self._applied(Edit(EditKind.FRAGMENT, text, masks, fragments=done))

    def delete_fragments(self, fragments: Sequence[Fragment]) -> Edit | None:
        """Delete several fragments as one edit; those that are no longer there are left out, None when none is."""
        edit = discarding(self._labels, self.components.labels, fragments, self.fragment_verdicts, self.annotator)
        return self._applied(edit) if edit.fragments else None

    def segmentation_edit(self, labels: NDArray[np.generic], text: str) -> Edit | None:
        """Build the edit of :meth:`set_segmentation` without applying it; a worker thread may do so.

        Parameters
        ----------
        labels : ndarray of bool or uint8, shape (Y, X)
            The new mask. Of booleans, a vessel pixel keeps its class, and a new one gets that of the nearest.
        text : str
            For the undo label.

        Returns
        -------
        Edit or None
            None when nothing differs. Accepted and repainted gaps that the new mask leaves broken are open again.
        """
        return segmentation(self._labels, labels, self.classes, self.decided, text, self._fragments.void_in)

    def set_segmentation(self, labels: NDArray[np.generic], text: str, group: str = "") -> Edit | None:
        """Replace the whole mask, undoably; None when nothing differs. See :meth:`segmentation_edit`."""
        edit = self.segmentation_edit(labels, text)
        return None if edit is None else self._applied(replace(edit, group=group))

    def set_gaps(self, gaps: Iterable[Gap]) -> None:
        """Take new proposals to join in place of the open ones; decided ones stay. Written to the journal at once.

        One that begins where a connection was cut is left out.
        """
        parted = self._proposals.parted
        self._take_found([gap for gap in gaps if not any(begins_at(gap, cut) for cut in parted)], cuts=False)

    def set_cuts(self, cuts: Iterable[Gap]) -> None:
        """Take new proposals to cut in place of the open ones; decided ones stay. Written to the journal at once."""
        self._take_found(cuts, cuts=True)

    def hear(self, opinions: Sequence[Opinion]) -> None:
        """Take what the annotator has decided elsewhere about what is a vessel, in place of what was known of it."""
        self._proposals = self._proposals.hearing(opinions)
        self.gaps_changed.emit()

    def hand_to(self, annotator: str, opinions: Sequence[Opinion]) -> None:
        """Let another annotator go on, whose verdicts elsewhere count from now on, and here their own alone."""
        self._annotator = annotator
        if self._journal is not None:
            self._journal.annotator = annotator
        self.hear(opinions)

    def number_of(self, gap_id: str) -> int:
        """Return the number that a gap, or a cut, is known by: it stays until the next search, whatever the order."""
        return self._proposals.number_of(gap_id)

    # Inside

    def _applied(self, edit: Edit) -> Edit:
        self.apply(edit)
        return edit

    def _take_found(self, found: Iterable[Gap], cuts: bool) -> None:
        proposals = self._proposals.with_found(found, cuts)
        if self._journal is not None:
            self._journal.store_gaps(proposals.found, proposals.gaps_left)
        self._proposals = proposals
        self.gaps_changed.emit()

    def _scored(self) -> Mapping[str, Gap]:
        return self._proposals.scored(lambda: self.said)

    def _listed(self) -> Listed:
        return self._proposals.listed(lambda: self.said, lambda: (self.components.labels, self.components.count))

    def _facts_of(self, fragment: Fragment) -> Mapping[str, float]:
        """Return what open proposals tell of a fragment; they tell of their less certain side, the smaller one."""
        labels = self.components.labels
        label = int(labels[fragment.point])
        for gap in self.open_gaps:
            others = set(gap.joins) - {label}
            if gap.facts and label in gap.joins and len(others) == 1:
                other = others.pop()
                if other == self.main or np.count_nonzero(labels == other) > fragment.area_px:
                    return gap.facts
        return {}

    def _taking_back(self, gap_id: str) -> MaskEdit | None:
        record = self.verdicts.get(gap_id)
        if record is None or record.verdict is not Verdict.ACCEPTED:
            return None
        return taking_back(self._labels, gap_id, self._history.back())

    def _bulk(self, score: float) -> Edit:
        # What a preview has shown is what is done, unless something has changed since: it is not worked out again.
        if self._planned is not None and self._planned[0] == score and self._planned[1] is self._proposals:
            return self._planned[2]
        waiting = self._proposals.waiting(self._scored().values())
        # These have each proposal's own effect, not the refreshed one: whether it was meant to join two components.
        edit = bulk(self._labels, self.components.labels, waiting, self.classes, self.annotator, score)
        self._planned = (score, self._proposals, edit)
        return edit

    def _stage(self, edit: Edit) -> _Staged:
        """Work out what an edit leads to, changing nothing, and refuse it when it does not fit."""
        box, patch = stage(self._labels, edit.masks, self.classes)
        proposals, fragments = self._proposals.after(edit), self._fragments.after(edit)
        is_new = len(proposals.found) > len(self._proposals.found)
        return _Staged(box, patch, proposals, proposals.found if is_new else None, fragments)

    def _labels_after(self, staged: _Staged) -> NDArray[np.uint8]:
        labels = self._labels.copy()
        if staged.box is not None:
            y0, x0, y1, x1 = staged.box
            labels[y0:y1, x0:x1] = staged.patch
        return labels

    def _travel(self, change: Edit, position: int) -> None:
        staged = self._stage(change)
        if self._journal is not None:
            left = staged.proposals.gaps_left
            self._journal.move(
                self._history.position, position, change.verdicts, left, staged.new_gaps, change.fragments
            )
        self._history.move_to(position)
        self._enter(change, staged)

    def _enter(self, change: Edit, staged: _Staged) -> None:
        if staged.box is not None:
            y0, x0, y1, x1 = staged.box
            self._labels[y0:y1, x0:x1] = staged.patch
            self._components.follow((y0, x0), staged.patch > 0)
        self._proposals, self._fragments, self._planned = staged.proposals, staged.fragments, None
        self.edited.emit(change, staged.box)
        for gap_id in dict.fromkeys(v.gap.id for v in change.verdicts):
            self.verdict_changed.emit(gap_id)
        self.gaps_changed.emit()
        if change.kind is EditKind.SEGMENT and ALL_VESSELS in self._flags:
            # That was said of the mask before.
            self.flags = self._flags - {ALL_VESSELS}
        self.history_changed.emit()
