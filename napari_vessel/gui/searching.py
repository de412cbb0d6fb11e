"""The searches for gaps and cuts of the open image, on threads: asked for, and by themselves after the mask changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

from napari_vessel.completion.gap import Gap
from napari_vessel.errors import VesselError
from napari_vessel.gui.opening import cuts_job, gaps_job
from napari_vessel.review.journal import ALL_VESSELS

if TYPE_CHECKING:
    from napari_vessel.completion import GapSearch
    from napari_vessel.gui.reviewing import Reviewing
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.session import ReviewSession

REPROPOSE_MS = 600
"""How long the mask is left alone before it is searched again by itself."""
FOLLOW_MS = 200
"""The same where only what was edited is searched."""
_GAPS, _CUTS = "gaps", "cuts"


class Searching(QObject):
    """Finds what is to be reviewed. Open proposals are replaced, decided ones stay.

    Parameters
    ----------
    workspace : Workspace
        Whose image is searched.
    review : Reviewing
        Whose lists are filled.
    """

    def __init__(self, workspace: Workspace, review: Reviewing) -> None:
        super().__init__()
        self._workspace, self._review = workspace, review
        self._cuts_known = self._asked = False
        # While a job works with it, nobody else has it: what that job did not finish is not gone on with.
        self._kept: GapSearch | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._look_again)

    def enter(self, session: ReviewSession) -> None:
        """Begin with a session, with what was found in it before."""
        self._cuts_known = bool(session.cuts)

    def leave(self) -> None:
        """Begin no search by itself any more, and keep none."""
        self._timer.stop()
        self._kept = None

    @property
    def cuts_known(self) -> bool:
        """Whether cuts were looked for since the image was opened, or were found before."""
        return self._cuts_known

    def looks_for(self, cuts: bool) -> bool:
        """Whether gaps, or cuts, are being looked for everywhere, so that what is listed is not all there is."""
        lanes = (_GAPS, _CUTS) if cuts else (_GAPS,)
        return self._asked and any(self._workspace.tasks.is_running(lane) for lane in lanes)

    def soon(self) -> None:
        """Look for gaps and cuts, unseen, when the mask has been left alone for a moment."""
        self._timer.start(REPROPOSE_MS if self._kept is None else FOLLOW_MS)

    def need_cuts(self) -> None:
        """Look for cuts unless they were looked for, or are about to be."""
        tasks = self._workspace.tasks
        if not (self._cuts_known or tasks.is_running(_CUTS) or tasks.is_running(_GAPS)):
            self.find_cuts()

    def find_gaps(self, quietly: bool = False) -> None:
        """Look for gaps on a thread, and then for cuts; quietly only where the mask has changed, if that is little."""
        workspace, review, session = self._workspace, self._review, self._workspace.session
        if session is None or workspace.image is None:
            workspace.say("No image is open; open one first.", "warning")
            return
        workspace.flush()
        self._timer.stop()
        self._asked = not quietly
        position = session.history_position
        # What is asked for is looked for everywhere, with the maps as they are now.
        kept, self._kept = self._kept if quietly else None, None
        job = gaps_job(
            session.labels.copy(),
            workspace.image,
            workspace.project,
            session.image_id,
            session.rejected_gaps,
            workspace.annotator,
            kept,
            ALL_VESSELS in session.flags,
        )

        def done(found: tuple[list[Gap], GapSearch]) -> None:
            if session is not workspace.session:
                return
            gaps, self._kept = found
            if self._held or (quietly and session.history_position != position):
                # What is being repainted, or shown to be accepted, may be none of these; or the mask has moved on.
                self.soon()
                return
            review.renew(cuts=False, quietly=quietly)
            try:
                session.set_gaps(gaps)
            except VesselError as error:
                workspace.report(error)
                return
            if not quietly:
                left = session.remaining()["open"]
                workspace.say(f"Found {left} open gap{'s' * (left != 1)}.")
                if review.gap is None:
                    review.select_first()
            self.find_cuts(quietly)

        workspace.tasks.drop(_CUTS)
        workspace.tasks.start(_GAPS, job, done, "" if quietly else "Looking for gaps")

    def find_cuts(self, quietly: bool = False) -> None:
        """Look for connections to cut on a thread."""
        workspace, review, session = self._workspace, self._review, self._workspace.session
        if session is None or workspace.image is None:
            return
        self._asked = not quietly
        position, labels, refused = session.history_position, session.labels.copy(), session.refused_cuts
        job = cuts_job(labels, workspace.image, workspace.project, session.image_id, refused)

        def done(cuts: list[Gap]) -> None:
            if session is not workspace.session:
                return
            if (review.repainting and review.cutting) or (quietly and session.history_position != position):
                # The cut that is being erased may be none of these; or the mask has moved on meanwhile.
                self.soon()
                return
            self._cuts_known = True
            review.renew(cuts=True, quietly=quietly)
            review.attempt(lambda: session.set_cuts(cuts))
            if review.cutting and review.gap is None:
                review.select_first()
            if not quietly:
                left = session.remaining()
                found = f"{left['open']} open gap{'s' * (left['open'] != 1)}, {left['cuts']} possible false bridge"
                workspace.say(f"Found {found}{'s' * (left['cuts'] != 1)}.")

        workspace.tasks.start(_CUTS, job, done, "" if quietly else "Looking for false bridges")

    @property
    def _held(self) -> bool:
        """Whether the list of gaps has to stay as it is for now."""
        return self._review.repainting or self._workspace.bulk.pending

    def _look_again(self) -> None:
        binding = self._workspace.scene.binding
        if self._workspace.session is None:
            return
        if self._held or (binding is not None and binding.stroke_open):
            self.soon()
        else:
            self.find_gaps(quietly=True)
