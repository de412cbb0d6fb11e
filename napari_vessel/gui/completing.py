"""Whether, and with which model, the breaks of the open image are completed: its map is made on a thread and kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari_vessel.errors import VesselError
from napari_vessel.gui.opening import completion_job

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace


class Completing:
    """Makes completion maps, and takes them into use or sets them aside.

    Parameters
    ----------
    workspace : Workspace
        Whose project and session are used.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        workspace.completion_changed.connect(lambda: workspace.scene.views.renew("completion"))

    @property
    def info(self) -> dict[str, Any]:
        """What made the open image's completion map, and whether it is ``used``; empty without one."""
        workspace = self._workspace
        if workspace.project is None or workspace.record is None:
            return {}
        return workspace.read(partial(workspace.project.completion_info, workspace.record.id), {})

    @property
    def model(self) -> str:
        """Name of the model whose map the gaps are looked for with; empty for none."""
        info = self.info
        return str(info.get("model", "")) if info.get("used") else ""

    def use(self, model: str) -> None:
        """Look for gaps with what a completion model draws, or without with an empty name.

        A map that is not there yet is made on a thread, and only then anything changes.
        """
        workspace = self._workspace
        if workspace.project is None or workspace.record is None or workspace.image is None:
            workspace.say("No image is open; open one first.", "warning")
            return
        project, record = workspace.project, workspace.record
        workspace.tasks.drop("complete")
        if model == self.model:
            return
        if workspace.tasks.is_running("segment"):
            workspace.say("The image is being segmented; choose a completion when that has ended.", "warning")
            return
        if not model or model == self.info.get("model"):
            try:
                project.use_completion(record.id, bool(model))
            except VesselError as error:
                workspace.report(error)
                return
            self._changed()
            return

        def done(title: str) -> None:
            workspace.say(f"{title} has drawn across the breaks; looking for gaps with it.")
            self._changed()

        job = completion_job(project, record.id, workspace.image, model)
        # Cancelled or failed, the choice goes back to what it was.
        workspace.tasks.start("complete", job, done, "Completing breaks", workspace.completion_changed.emit)

    def _changed(self) -> None:
        self._workspace.completion_changed.emit()
        self._workspace.find_gaps()
