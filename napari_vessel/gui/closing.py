"""A window is not closed over a training without a question."""

from __future__ import annotations

from typing import Any
from weakref import ref

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMessageBox

from napari_vessel.gui.training import Training


class CloseGuard(QObject):
    """Asks before a window is closed while its training runs.

    Parameters
    ----------
    window : QMainWindow
        The window; the guard lives as long as it does.
    training : Training
        What may run.
    """

    def __init__(self, window: Any, training: Training) -> None:
        super().__init__(window)
        self._training = ref(training)
        window.installEventFilter(self)

    @classmethod
    def watch(cls, window: Any, training: Training) -> None:
        """Guard a window, once."""
        if window is not None and window.findChild(cls) is None:
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
            "in Vessel training takes it up again. Close?",
            QMessageBox.StandardButton.Close | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer != QMessageBox.StandardButton.Close:
            event.ignore()
            return True
        training.leave()
        return False
