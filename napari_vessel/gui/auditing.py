"""The audit of bulk accepts: a random share of them is looked at again, and what that says is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_vessel.gui.opening import audit_job
from napari_vessel.review.edits import Verdict

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.audit import BulkAccepted

_LANE = "audit"


class Audit:
    """The sample of a project's bulk accepts that is to be looked at, and how far that is.

    Parameters
    ----------
    workspace : Workspace
        Whose project and session are used.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._sample: tuple[BulkAccepted, ...] = ()

    def begin(self) -> None:
        """Draw the sample, on a thread."""
        workspace = self._workspace
        if workspace.project is None:
            return

        def done(sample: list[BulkAccepted]) -> None:
            self._sample = tuple(sample)
            if not sample:
                workspace.say("Nothing was accepted in bulk in this project, so there is nothing to audit.")
            elif not self.names:
                workspace.say(f"Nothing of this image is in the sample. Audit: {self.text}.")
            else:
                workspace.say(f"A confirms, R takes it back. Audit: {self.text}.")
            workspace.audit_changed.emit()

        workspace.tasks.start(_LANE, audit_job(workspace.project), done)

    def end(self) -> None:
        """Forget the sample."""
        self._workspace.tasks.drop(_LANE)
        self._sample = ()

    @property
    def names(self) -> frozenset[str]:
        """Ids of the open image's gaps in the sample, looked at or not."""
        record = self._workspace.record
        return frozenset(one.gap.id for one in self._sample if record is not None and one.image == record.id)

    def waits(self, gap_id: str) -> bool:
        """Whether a gap of the sample has not been looked at."""
        return gap_id in self.names and self.unseen(gap_id)

    def unseen(self, gap_id: str) -> bool:
        """Whether a gap was accepted in bulk and nobody has looked at it since."""
        session = self._workspace.session
        record = None if session is None else session.verdicts.get(gap_id)
        return record is not None and record.verdict is Verdict.ACCEPTED and record.seconds == 0.0

    @property
    def text(self) -> str:
        """What the audit says so far: ``1 of 20 wrong: 5.0 % (0.1 to 24.9), 3 to go``; empty without a sample."""
        from napari_vessel.review.audit import measured_error

        session, names = self._workspace.session, self.names
        if not self._sample or session is None:
            return ""
        now = []
        for one in self._sample:
            record = session.verdicts.get(one.gap.id) if one.gap.id in names else None
            if record is not None:
                one = replace(one, later=None if self.unseen(one.gap.id) else record.verdict)
            now.append(one)
        return measured_error(now).text
