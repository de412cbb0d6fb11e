"""A damaged project in the window: what going back to its backup would lose, and the button that does it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_vessel.errors import DamagedProjectError
from napari_vessel.gui.parts import TIGHT, connect_while_alive, in_row

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace


class Restoring:
    """The damaged project that was found, until it is restored or left.

    Parameters
    ----------
    workspace : Workspace
        What opens projects.

    Attributes
    ----------
    folder : Path or None
        The damaged project's, when it has a good backup.
    text : str
        What is wrong, and what going back loses.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.folder: Path | None = None
        self.text = ""

    def offer(self, error: DamagedProjectError) -> bool:
        """Offer the way back from damage; return whether there is one."""
        from napari_vessel.review.restoring import newest_backup

        backup = newest_backup(error.folder)
        if backup is None:
            return False
        self.folder = error.folder
        self.text = f"{error.what}. Restore goes back to {backup.text}. The damaged file is kept."
        self._workspace.damage_changed.emit()
        return True

    def leave(self) -> None:
        """Leave the damaged project as it is."""
        if self.folder is not None:
            self.folder, self.text = None, ""
            self._workspace.damage_changed.emit()

    def restore(self) -> None:
        """Put the backup in place on a thread, and open the project."""
        from napari_vessel.review.restoring import restore_job

        workspace, folder = self._workspace, self.folder
        if folder is None:
            return
        if workspace.project is not None and workspace.project.folder == folder:
            workspace.close_project()

        def done(result: tuple[Path, Path | None]) -> None:
            self.leave()
            kept = result[1]
            also = "" if kept is None else f"; the damaged file is kept as {kept.name}"
            # The sentence of the opened project follows, and the panel keeps the last one.
            workspace.open_project(folder, f"Restored from {result[0].name}{also}. ")

        workspace.tasks.start("restore", restore_job(folder), done, "Restoring the project")


class RestoreRow(QWidget):
    """What was found damaged, with *Restore* and *Leave it*; hidden while nothing is.

    Parameters
    ----------
    workspace : Workspace
        Whose offer it shows.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._restoring = workspace.restoring
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.restore_button = QPushButton("Re&store")
        self.restore_button.setToolTip("Put the backup in the place of the damaged file, which is kept, and open it.")
        self.restore_button.clicked.connect(lambda: self._restoring.restore())
        self.leave_button = QPushButton("Lea&ve it")
        self.leave_button.setToolTip("Leave the damaged project as it is.")
        self.leave_button.clicked.connect(lambda: self._restoring.leave())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(TIGHT)
        layout.addWidget(self.words)
        layout.addLayout(in_row(self.restore_button, self.leave_button))
        connect_while_alive(self, workspace.damage_changed, self._on_damage)
        self._on_damage()

    def _on_damage(self) -> None:
        self.words.setText(self._restoring.text)
        self.setVisible(self._restoring.folder is not None)
