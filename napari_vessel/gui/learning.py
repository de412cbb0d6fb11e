"""A line that says, after enough finished images, that Fine-tune can learn from them: never a dialog, never twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_vessel.gui.preferences import preferred
from napari_vessel.jobs import Job, Progress

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.project import Project

_LANE = "learning"


class Learning:
    """Counts the finished images that are new to the project's model, and offers to learn from them.

    Parameters
    ----------
    workspace : Workspace
        Whose project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._offered = 0
        self._offer = self._said = ""
        workspace.project_changed.connect(self._forget)
        workspace.image_opened.connect(self._on_opened)
        workspace.message.connect(self._on_message)

    def count(self) -> None:
        """Count on a thread, because an image was finished, and offer if it is time."""
        project = self._workspace.project
        if project is not None:
            self._workspace.tasks.start(_LANE, _count_job(project), self._counted)

    def _counted(self, new: int) -> None:
        rounds = new // max(int(preferred("offer_after")), 1)
        before, self._offered = self._offered, rounds
        if rounds > before:
            self._offer = f"{new} finished images are new to the model: Fine-tune can learn from them."
            self._tell()

    def _tell(self) -> None:
        """Add the offer to what was said last, once the next image is there: its name would take the offer's place."""
        if self._offer and not self._workspace.tasks.is_running("open"):
            offer, self._offer = self._offer, ""
            self._workspace.say(f"{self._said.rstrip('.')}. {offer}" if self._said else offer)

    def _on_opened(self) -> None:
        from qtpy.QtCore import QTimer

        if self._offer:
            # When its name was said.
            QTimer.singleShot(0, self._tell)

    def _on_message(self, text: str, level: str) -> None:
        self._said = text if level == "info" else ""

    def _forget(self) -> None:
        self._offered, self._offer = 0, ""


def _count_job(project: Project) -> Job[int]:
    yield Progress(0, None, "Counting")
    from napari_vessel.review.samples import what_to_learn

    return what_to_learn(project).new
