"""What is said of the open image as a whole, in either dock: two flags and a comment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QGridLayout, QLineEdit, QWidget

from napari_vessel.gui.parts import connect_while_alive, set_quietly

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.session import ReviewSession


class Remarks(QGridLayout):
    """Flags and comment of the open image. A comment that is being typed when another image comes is kept too.

    Parameters
    ----------
    workspace : Workspace
        Whose image it is.
    spacing : int
        Between the parts, px.
    beside : QWidget, optional
        What stands beside the flags.
    """

    def __init__(self, workspace: Workspace, spacing: int, beside: QWidget | None = None) -> None:
        super().__init__()
        self._workspace = workspace
        self._session: ReviewSession | None = None
        self.ungradable = QCheckBox("&ungradable")
        self.ungradable.setToolTip("Flag the open image: it cannot be graded.")
        self.ungradable.clicked.connect(partial(workspace.set_flag, "ungradable"))
        self.second_reader = QCheckBox("second &reader")
        self.second_reader.setToolTip("Flag the open image: someone else should look at it.")
        self.second_reader.clicked.connect(partial(workspace.set_flag, "second_reader"))
        self.comment = QLineEdit()
        self.comment.setPlaceholderText("comment on this image")
        self.comment.editingFinished.connect(self._keep)
        self.setSpacing(spacing)
        self.addWidget(self.ungradable, 0, 0)
        self.addWidget(self.second_reader, 0, 1)
        if beside is not None:
            self.addWidget(beside, 0, 2)
        self.addWidget(self.comment, 1, 0, 1, 3)
        for column in range(3):
            self.setColumnStretch(column, 1)
        connect_while_alive(self, workspace.image_opened, self._on_image)
        connect_while_alive(self, workspace.images_changed, self._on_record)
        self._on_image()

    def _on_image(self) -> None:
        if self._workspace.session is not self._session:
            self._keep()
            self._session = self._workspace.session
            self._write()
        for widget in (self.ungradable, self.second_reader, self.comment):
            widget.setEnabled(self._session is not None)
        self._on_record()

    def _on_record(self) -> None:
        flags = frozenset() if self._session is None else self._session.flags
        set_quietly(self.ungradable, "ungradable" in flags)
        set_quietly(self.second_reader, "second_reader" in flags)
        if not self.comment.hasFocus():
            self._write()

    def _write(self) -> None:
        text = "" if self._session is None else self._session.comment
        if text != self.comment.text():
            self.comment.setText(text)
            self.comment.setCursorPosition(0)
        self.comment.setModified(False)
        self.comment.setToolTip(text or "Free text on the open image; it is shown in the project's table and exported.")

    def _keep(self) -> None:
        """Write down what was typed, as the comment on the image that it was typed for."""
        session, text = self._session, self.comment.text()
        if session is None or not self.comment.isModified():
            return
        self.comment.setModified(False)
        self._workspace.set_comment(text, session)
