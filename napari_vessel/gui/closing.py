"""A window is not closed over what it trains without a question."""

from __future__ import annotations

from typing import Any
from weakref import ref

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMessageBox

from napari_vessel.gui.process import ProcessRun


class CloseGuard(QObject):
    """Asks before a window is closed while its training runs.

    Parameters
    ----------
    window : QMainWindow
        The window; the guard lives as long as it does.
    training : ProcessRun
        What may run.
    """

    def __init__(self, window: Any, training: ProcessRun) -> None:
        super().__init__(window)
        self._training = ref(training)
        window.installEventFilter(self)

    @classmethod
    def watch(cls, window: Any, training: ProcessRun) -> None:
        """Guard a window over a training, once."""
        if window is not None and all(guard._training() is not training for guard in window.findChildren(cls)):
            cls(window, training)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let the window go, or keep it open."""
        training = self._training()
        if event.type() != QEvent.Type.Close or training is None or not training.running:
            return False
        answer = QMessageBox.question(
            watched,
            "A training runs",
            f"The training of {training.name} stops when the window is closed. What it has reached is kept, and Go on "
            f"in {training.dock} takes it up again. Close?",
            QMessageBox.StandardButton.Close | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer != QMessageBox.StandardButton.Close:
            event.ignore()
            return True
        training.leave()
        return False
