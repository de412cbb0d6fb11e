"""Bulk actions, shown before they are done: every gap above a score, every fragment up to a size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QStackedWidget, QWidget

from napari_vessel.gui.opening import verdicts_job
from napari_vessel.gui.overlay import Patch
from napari_vessel.gui.parts import TIGHT, FittingLabel, TightButton, connect_while_alive

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.calibration import Calibration, Judged


_LANE = "calibration"


class _Shown(NamedTuple):
    """What is shown, to be done as it is shown or not at all."""

    ids: list[str]
    now: Callable[[], list[str]]
    """The ids as they would be by now."""
    look: Callable[[], None]
    do: Callable[[], None]


class Bulk:
    """The bulk action that is shown in the canvas and waits for a yes or a no.

    Parameters
    ----------
    workspace : Workspace
        Whose session and scene are used.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._shown: _Shown | None = None
        self._elsewhere: list[Judged] = []
        self._calibration: tuple[tuple[int, int], Calibration] | None = None
        self.text = ""
        """What would be done: ``7 gaps would be drawn``."""
        self.what = ""
        """The same where there is little room: ``7 gaps``."""
        self.verb = ""
        """For the button: ``Accept 7``."""

    @property
    def pending(self) -> bool:
        """Whether an action is shown and waits."""
        return self._shown is not None

    def enter(self) -> None:
        """Read, on a thread, what this annotator decided in the project's other images."""
        workspace = self._workspace
        self._elsewhere, self._calibration = [], None
        if workspace.project is None or workspace.record is None:
            return
        others = [record.id for record in workspace.images() if record.id != workspace.record.id]

        def done(found: list[Judged]) -> None:
            self._elsewhere, self._calibration = found, None
            workspace.bulk_changed.emit()

        workspace.tasks.start(_LANE, verdicts_job(workspace.project, others, workspace.annotator), done)

    def calibration(self) -> Calibration | None:
        """Return what this annotator's verdicts say about scores; None before the first that says anything."""
        from napari_vessel.review.calibration import Calibration, judged

        session = self._workspace.session
        if session is None:
            return None
        pairs = [*self._elsewhere, *judged(session.decided, self._workspace.annotator)]
        if not pairs:
            return None
        # It takes a few milliseconds: once for every verdict, not for every look.
        known = (session.history_position, len(pairs))
        if self._calibration is None or self._calibration[0] != known:
            self._calibration = (known, Calibration.from_verdicts(pairs))
        return self._calibration[1]

    def preview_gaps(self, score: float) -> None:
        """Show every gap that accepting from a score on would draw."""
        from napari_vessel.completion import draw_gap

        workspace = self._workspace
        session = workspace.session
        if session is None or not workspace.review.settle():
            return
        gaps = session.bulk_gaps(score)
        if not gaps:
            workspace.say(f"No open gap has a score of {score:.2f} or more.")
            return
        patches = [draw_gap(gap, session.shape) for gap in gaps]
        plural = "s" * (len(gaps) != 1)
        self._show(patches, True, f"{len(gaps)} gap{plural}", "would be drawn", f"Accept {len(gaps)}")
        self._shown = _Shown(
            [gap.id for gap in gaps],
            lambda: [gap.id for gap in session.bulk_gaps(score)],
            partial(self.preview_gaps, score),
            partial(workspace.accept_above, score),
        )
        self._tell()

    def preview_fragments(self, pixels: int) -> None:
        """Show every open fragment of at most so many pixels."""
        workspace = self._workspace
        session = workspace.session
        if session is None or not workspace.review.settle():
            return
        chosen = workspace.fragments.up_to(pixels)
        if not chosen:
            workspace.say(f"No open fragment has {pixels} px or fewer.")
            return
        labels = session.components.labels
        patches = []
        for fragment in chosen:
            y0, x0, y1, x1 = fragment.box
            patches.append(((y0, x0), labels[y0:y1, x0:x1] == labels[fragment.point]))
        plural = "s" * (len(chosen) != 1)
        self._show(patches, False, f"{len(chosen)} fragment{plural}", "would go", f"Delete {len(chosen)}")
        fragments = workspace.fragments
        self._shown = _Shown(
            [fragment.id for fragment in chosen],
            lambda: [fragment.id for fragment in fragments.up_to(pixels)],
            partial(self.preview_fragments, pixels),
            partial(fragments.delete_up_to, pixels),
        )
        self._tell()

    def confirm(self) -> None:
        """Do what is shown; where that is no longer what would be done, show it anew and do nothing."""
        shown = self._shown
        if shown is None:
            return
        self.leave(fly=False)
        if sorted(shown.now()) == sorted(shown.ids):
            shown.do()
        else:
            shown.look()

    def leave(self, fly: bool = True) -> None:
        """Show it no longer, and do nothing; with `fly` go back to what was under review."""
        if self._shown is None:
            return
        self._shown = None
        workspace = self._workspace
        workspace.scene.camera.look_back()
        workspace.review.draw()
        if fly:
            workspace.queues.show_selected()
            workspace.say("Nothing was changed.")
        workspace.bulk_changed.emit()

    def _show(self, patches: Sequence[Patch], drawn: bool, what: str, done: str, verb: str) -> None:
        scene = self._workspace.scene
        scene.proposals_visible = True
        scene.camera.overlook()
        if scene.overlay is not None:
            scene.overlay.show_many(patches, drawn)
        self.text, self.what, self.verb = f"{what} {done}", what, verb

    def _tell(self) -> None:
        self._workspace.bulk_changed.emit()
        self._workspace.say(f"{self.text}: look at them. Enter does it, Esc leaves everything as it is.")


class BulkRow(QStackedWidget):
    """One line of a dock: what to do with many at once, then the same with a yes and a no.

    Parameters
    ----------
    workspace : Workspace
        Whose bulk action it shows.
    parts : sequence of QWidget
        What says how many.
    on_preview : callable
        Shows them.
    make_button : callable
        Returns the button of a key, given the key's id and the text.
    """

    def __init__(
        self,
        workspace: Workspace,
        parts: Sequence[QWidget],
        on_preview: Callable[[], None],
        make_button: Callable[[str, str], QPushButton],
    ) -> None:
        super().__init__()
        self._bulk = workspace.bulk
        self.count = FittingLabel()
        self.button = TightButton("&Preview…")
        self.button.setToolTip("Show them in the canvas, all together; nothing is changed yet.")
        self.button.clicked.connect(lambda: on_preview())
        self.words = FittingLabel()
        self.confirm_button = make_button("end_repaint", "Enter")
        self.leave_button = make_button("cancel_repaint", "Esc Leave")
        first = QHBoxLayout()
        first.setContentsMargins(0, 0, 0, 0)
        first.setSpacing(TIGHT)
        for part in parts:
            first.addWidget(part)
        first.addWidget(self.count, 1)
        first.addWidget(self.button)
        second = QHBoxLayout()
        second.setContentsMargins(0, 0, 0, 0)
        second.setSpacing(TIGHT)
        second.addWidget(self.words, 1)
        second.addWidget(self.confirm_button)
        second.addWidget(self.leave_button)
        for row in (first, second):
            page = QWidget()
            page.setLayout(row)
            self.addWidget(page)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        connect_while_alive(self, workspace.bulk_changed, self._on_bulk)
        self._on_bulk()

    def _on_bulk(self) -> None:
        self.setCurrentIndex(1 if self._bulk.pending else 0)
        if self._bulk.pending:
            self.words.set_wordings([self._bulk.text, self._bulk.what])
            self.confirm_button.setText(f"Enter {self._bulk.verb}")
            self.confirm_button.setToolTip("Do it, as one action that undo takes back whole. Key: Enter.")
            self.leave_button.setToolTip("Leave everything as it is. Key: Escape.")
