"""The queue of disagreements with another annotator: both versions shown, mine kept or theirs taken with one key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import VesselError
from napari_vessel.review.edits import Edit, Verdict, VerdictRecord
from napari_vessel.review.fragments import FragmentRecord, FragmentVerdict, is_there
from napari_vessel.review.pairs import FragmentPair, Pair
from napari_vessel.review.session import OPEN

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.agreement import ImageAgreement
    from napari_vessel.review.settling import Comparison

_LANE = "compare"
_SEEN = 0.1
"""Least time on the screen that is written down, s: 0 would say that nobody looked."""


class Difference(NamedTuple):
    """One disagreement, in the image of the open project that it is in."""

    image: ImageAgreement
    pair: Pair | FragmentPair


class Differences:
    """The comparison with another annotator's project, and what is decided about it.

    Parameters
    ----------
    workspace : Workspace
        Whose project, session, scene and signals are used.

    Attributes
    ----------
    comparison : Comparison or None
        The last one of the open project.
    entries : tuple of Difference
        The disagreements, image by image; in each the contradictions with most vessel at stake first.
    selected : int
        Which of them is under review; -1 for none.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.comparison: Comparison | None = None
        self.entries: tuple[Difference, ...] = ()
        self.selected = -1
        self._now: list[VerdictRecord | FragmentRecord | None] = []
        self._meanwhile: set[str] = set()
        self._active = False
        self._shown_at = 0.0
        workspace.project_changed.connect(self._forget)
        workspace.image_opened.connect(self._on_opened)
        workspace.history_changed.connect(self._refresh)

    # The comparison comes and goes

    def compare(self, folder: Path) -> None:
        """Compare the open project with another annotator's, on a thread, and begin the queue."""
        from napari_vessel.review.settling import compare_with

        workspace = self._workspace
        if workspace.project is None:
            workspace.say("No project is open; open yours first.", "warning")
            return
        workspace.flush()
        self._meanwhile = set() if workspace.session is None else {workspace.session.image_id}
        workspace.tasks.start(_LANE, compare_with(workspace.project, folder), self._compared, "Comparing")

    def _compared(self, found: Comparison) -> None:
        self.comparison = found
        images = found.agreement.images
        self.entries = tuple(Difference(image, pair) for image in images for pair in image.disagreements)
        self._now = [entry.pair.first for entry in self.entries]
        self.selected = -1
        # These may have been worked on while the job ran.
        for image_id in self._meanwhile & {image.first_id for image, _ in self.entries}:
            self._read_again(image_id)
        self._refresh()
        if not self.entries:
            self._workspace.say(f"{self.summary[0]}. There is nothing to look at again.")
            return
        many = f"{len(self.entries)} place{'s' * (len(self.entries) != 1)}"
        self._workspace.say(f"{many} to look at again with {self._who()}: Vessel gaps, tab Differences.")
        if self._active:
            self.activate(True)
        else:
            self._workspace.queues.show("differences")

    def _forget(self) -> None:
        self._workspace.tasks.drop(_LANE)
        if self.comparison is None:
            return
        self.comparison, self.entries, self._now, self.selected = None, (), [], -1
        if self._active:
            self._workspace.queues.show("gaps")
        self._workspace.differences_changed.emit()

    @property
    def summary(self) -> list[str]:
        """The figures of the comparison, in full first, then in fewer words: ``With bob: Dice 0.91, clDice 0.93``."""
        if self.comparison is None:
            return [""]
        values = {name: estimate.value for name, estimate in self.comparison.agreement.figures.items()}
        full = {"kappa": "kappa of gaps", "fragment_kappa": "kappa of fragments", "dice": "Dice", "cldice": "clDice"}
        short = {"kappa": "kappa", "dice": "Dice", "cldice": "clDice"}
        wordings = []
        for words in (full, short, {"kappa": "kappa", "cldice": "clDice"}):
            parts = [f"{word} {values[name]:.2f}" for name, word in words.items() if values[name] is not None]
            wordings.append(f"With {self._who()}: {', '.join(parts) or 'no figure is defined'}")
        return wordings

    @property
    def image_summary(self) -> str:
        """The figures of the open image; empty when it is not in both projects."""
        record = self._workspace.record
        images = () if self.comparison is None else self.comparison.agreement.images
        image = next((one for one in images if record is not None and one.first_id == record.id), None)
        if image is None:
            return ""
        values = (("kappa", image.kappa), ("Dice", image.dice), ("clDice", image.cldice))
        known = [f"{name} {value:.2f}" for name, value in values if value is not None]
        return f"This image: {', '.join(known) or 'no figure is defined'}"

    # The queue

    @property
    def active(self) -> bool:
        """Whether this is the queue that the keys act on."""
        return self._active

    def activate(self, on: bool) -> None:
        """Make this the queue that the keys act on, or leave it."""
        self._active = on
        self._show_theirs()
        if on:
            self.select(self.selected if self.selected >= 0 else self._first())

    def state(self, number: int) -> str:
        """Return ``open``, ``mine``, ``theirs`` or, when it was decided in a third way, that verdict."""
        now, pair = self._now[number], self.entries[number].pair
        if now is None or now == pair.first:
            return OPEN
        words = {pair.first.verdict: "mine", pair.second.verdict: "theirs"}
        return words.get(now.verdict, str(now.verdict))

    @property
    def left(self) -> int:
        """How many are open."""
        return sum(self.state(number) == OPEN for number in range(len(self.entries)))

    @property
    def entry(self) -> Difference | None:
        """The one under review."""
        return self.entries[self.selected] if 0 <= self.selected < len(self.entries) else None

    def select(self, number: int) -> None:
        """Put a disagreement under review, in its image, which is opened if need be; -1 puts none."""
        workspace = self._workspace
        self.selected = number if 0 <= number < len(self.entries) else -1
        entry = self.entry
        if entry is None:
            workspace.review.draw()
            workspace.differences_changed.emit()
        elif workspace.record is None or workspace.record.id != entry.image.first_id:
            workspace.open_image(entry.image.first_id)
        else:
            self._show(entry)

    def step(self, step: int = 1) -> None:
        """Go to the next open disagreement, or with a negative step to the one before, open or not."""
        workspace, count = self._workspace, len(self.entries)
        if not count or not workspace.review.settle():
            return
        if step < 0:
            if self.selected > 0:
                self.select(self.selected - 1)
            else:
                workspace.say("This is the first disagreement.")
            return
        ahead = [*range(self.selected + 1, count), *range(max(self.selected, 0))]
        found = next((number for number in ahead if self.state(number) == OPEN), None)
        if found is not None:
            self.select(found)
        elif self.selected >= 0 and self.state(self.selected) == OPEN:
            workspace.say("This is the only open disagreement left.")
        else:
            workspace.say("No open disagreement left.")

    def answer(self, verdict: Verdict) -> None:
        """Keep mine (accept), take theirs (reject), be unsure, or skip; then go to the next open one."""
        workspace, entry, session = self._workspace, self.entry, self._workspace.session
        if session is None or not workspace.review.settle():
            return
        if entry is None:
            workspace.say("No disagreement is under review; N goes to the next one.", "warning")
            return
        if entry.image.first_id != session.image_id:
            workspace.say("Its image is being opened; decide when it is there.")
            return
        if verdict is not Verdict.SKIPPED:
            try:
                self._settle(entry, verdict)
            except VesselError as error:
                workspace.report(error)
                return
            workspace.say(f"{self.state(self.selected).capitalize()}; {self.left} left.")
        self.step()

    def _settle(self, entry: Difference, verdict: Verdict) -> None:
        from napari_vessel.review.settling import keep_mine, take_theirs

        session, comparison = self._workspace.session, self.comparison
        assert session is not None
        assert comparison is not None
        seconds = max(time.monotonic() - self._shown_at, _SEEN)
        if verdict is Verdict.ACCEPTED:
            keep_mine(session, entry.pair, seconds)
        elif verdict is Verdict.REJECTED:
            theirs = comparison.theirs(session.image_id)
            assert theirs is not None
            take_theirs(session, entry.pair, theirs, seconds)
        else:
            if isinstance(entry.pair, Pair):
                edit = session.decide(entry.pair.id, Verdict.UNSURE, seconds)
            else:
                edit = session.decide_fragment(entry.pair.fragment, FragmentVerdict.UNSURE, seconds)
            if edit is None:
                # So I was before, and stay so, having seen theirs.
                keep_mine(session, entry.pair, seconds)
        self._workspace.fragments_changed.emit()

    def show_change(self, edit: Edit) -> bool:
        """Put the disagreement that an undo or redo was about under review; return whether there is one."""
        record = self._workspace.record
        names = {change.gap.id for change in edit.verdicts} | {change.fragment.id for change in edit.fragments}
        for number, (image, pair) in enumerate(self.entries):
            if record is not None and image.first_id == record.id and pair.id in names:
                self.select(number)
                return True
        return False

    # Inside

    def _who(self) -> str:
        assert self.comparison is not None
        agreement = self.comparison.agreement
        return ", ".join(agreement.annotators[1]) or agreement.names[1]

    def _first(self) -> int:
        """Return the first open one, in the open image if there is one in it."""
        waiting = [number for number in range(len(self.entries)) if self.state(number) == OPEN]
        record = self._workspace.record
        here = [n for n in waiting if record is not None and self.entries[n].image.first_id == record.id]
        return next(iter([*here, *waiting]), -1)

    def _show(self, entry: Difference) -> None:
        workspace, pair = self._workspace, entry.pair
        self._shown_at = time.monotonic()
        workspace.review.select(pair.id if isinstance(pair, Pair) else "")
        if isinstance(pair, FragmentPair):
            y0, x0, y1, x1 = pair.fragment.box
            width = pair.fragment.area_px / pair.fragment.length_px
            workspace.scene.camera.fly_to(pair.centre, float(max(y1 - y0, x1 - x0)), width)
        elif workspace.review.selected != pair.id:
            # The gap is not proposed any more; the place is still there.
            workspace.scene.camera.fly_to(pair.centre, pair.gap.length, float(np.mean(pair.gap.widths)))
        workspace.differences_changed.emit()

    def _on_opened(self) -> None:
        if self._workspace.record is not None:
            self._meanwhile.add(self._workspace.record.id)
        self._refresh()
        if self._active:
            self._show_theirs()
            entry, record = self.entry, self._workspace.record
            if record is not None and (entry is None or entry.image.first_id != record.id):
                here = [n for n, other in enumerate(self.entries) if other.image.first_id == record.id]
                self.selected = next((n for n in here if self.state(n) == OPEN), -1)
        self._workspace.differences_changed.emit()

    def _refresh(self) -> None:
        """Read what I say now about the open image's."""
        session = self._workspace.session
        if session is not None and self.entries:
            self._note(session.image_id, session.verdicts, session.fragment_verdicts)
            self._workspace.differences_changed.emit()

    def _read_again(self, image_id: str) -> None:
        """Read what I say now about those of an image that may have been closed since."""
        project = self._workspace.project
        if project is not None:
            gaps = {gap.id: record for gap, record in project.verdicts(image_id)}
            fragments = {fragment.id: record for fragment, record in project.fragment_verdicts(image_id)}
            self._note(image_id, gaps, fragments)

    def _note(self, image_id: str, gaps: Mapping[str, VerdictRecord], fragments: Mapping[str, FragmentRecord]) -> None:
        for number, (image, pair) in enumerate(self.entries):
            if image.first_id == image_id:
                self._now[number] = gaps.get(pair.id) if isinstance(pair, Pair) else fragments.get(pair.id)

    def _show_theirs(self) -> None:
        record, scene = self._workspace.record, self._workspace.scene
        theirs = None
        if self._active and self.comparison is not None and record is not None:
            theirs = self.comparison.theirs(record.id)
        scene.show_theirs(theirs)

    def pixels(self) -> tuple[tuple[int, int], NDArray[np.bool_]] | None:
        """Return where my fragment under review is, as origin (y, x) and patch; None without one that is there."""
        entry, session = self.entry, self._workspace.session
        if not self._active or entry is None or session is None or entry.image.first_id != session.image_id:
            return None
        if not isinstance(entry.pair, FragmentPair):
            return None
        fragment, labels = entry.pair.fragment, session.components.labels
        if not is_there(fragment, labels, session.main):
            return None
        y0, x0, y1, x1 = fragment.box
        return (y0, x0), labels[y0:y1, x0:x1] == labels[fragment.point]
