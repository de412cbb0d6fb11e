"""Undo and redo over all images of a project: what is to be taken back is gone to first, and never out of sight."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.edits import Edit
    from napari_vessel.review.session import ReviewSession
    from napari_vessel.review.trail import Place


class Timeline:
    """The one history of a viewer's project.

    The newest edit is the one that undo means, in whichever image it is. When that is another than the open one, the
    first press goes there, shows the place and says what it is; the next takes it back.

    Parameters
    ----------
    workspace : Workspace
        Whose project and review are used.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def undo(self) -> None:
        """Take back the newest edit of the project, or go where it is."""
        self._workspace.flush()
        self._go_or(self._elsewhere(back=True), self._workspace.review.undo, _arrived_to_undo)

    def redo(self) -> None:
        """Do again what was taken back last in the project, or go where that was."""
        self._workspace.flush()
        self._go_or(self._elsewhere(back=False), self._workspace.review.redo, _arrived_to_redo)

    @property
    def undo_text(self) -> str:
        """What undo means, and in which image when that is not the open one; empty when there is nothing."""
        session, place = self._workspace.session, self._elsewhere(back=True)
        if place is not None:
            return f"{place.text} in {place.name}"
        return "" if session is None else session.undo_text

    @property
    def redo_text(self) -> str:
        """What redo means, and in which image when that is not the open one; empty when there is nothing."""
        session, place = self._workspace.session, self._elsewhere(back=False)
        if place is not None:
            return f"{place.text} in {place.name}"
        return "" if session is None else session.redo_text

    def _elsewhere(self, back: bool) -> Place | None:
        """Return where the next undo or redo is, when that is not the open image."""
        project, record = self._workspace.project, self._workspace.record
        if project is None:
            return None
        place = self._workspace.read(project.next_undo if back else project.next_redo, None)
        return None if place is None or (record is not None and place.image == record.id) else place

    def _go_or(
        self, place: Place | None, here: Callable[[], None], arrived: Callable[[ReviewSession], tuple[Edit | None, str]]
    ) -> None:
        workspace = self._workspace
        if place is None:
            here()
            return
        if not workspace.review.settle():
            return
        if workspace.tasks.is_running("open"):
            workspace.say("An image is being opened; press again when it is there.")
            return

        def show() -> None:
            assert workspace.session is not None
            edit, text = arrived(workspace.session)
            if edit is not None:
                workspace.review.show_change(edit, arriving=True)
                workspace.say(f"Went to {place.name} {text}")

        workspace.open_image(place.image, then=show)


def _arrived_to_undo(session: ReviewSession) -> tuple[Edit | None, str]:
    return session.next_undo, f"to undo: {session.undo_text}. Undo again takes it back."


def _arrived_to_redo(session: ReviewSession) -> tuple[Edit | None, str]:
    return session.next_redo, f"to do again: {session.redo_text}. Redo again does it."
