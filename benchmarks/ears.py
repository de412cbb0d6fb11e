"""Ears for what goes wrong in a window: exceptions, Qt's messages, errors shown, dialogs that would block."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qtpy.QtCore import QTimer, QtMsgType, qInstallMessageHandler
from qtpy.QtWidgets import QApplication

REFUSALS = ("The mask has changed here since the fragment was listed",)
"""Errors that are the right answer to what was asked: a key pressed before the list has followed the mask."""
HARMLESS = ("XDG_RUNTIME_DIR", "propagateSizeHints", "theme_dark:")
"""What Qt says about the machine, and of napari's icons in a test, and not about us."""


class Ears:
    """Hears everything that goes wrong: exceptions, Qt's messages, errors shown, dialogs that would block."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear until the block ends."""
        from napari.utils.notifications import notification_manager

        hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
        before = qInstallMessageHandler(self._on_qt)
        sys.excepthook = lambda kind, error, trace: self._on_error("exception", error)
        threading.excepthook = lambda said: self._on_error("exception in a thread", said.exc_value)
        sys.unraisablehook = lambda said: self._on_error("exception in a destructor or callback", said.exc_value)
        notification_manager.notification_ready.connect(self._on_notification)
        # A dialog has an event loop of its own, in which this timer still beats.
        timer = QTimer()
        timer.setInterval(1000)
        timer.timeout.connect(self._on_beat)
        timer.start()
        try:
            yield
        finally:
            timer.stop()
            notification_manager.notification_ready.disconnect(self._on_notification)
            sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
            qInstallMessageHandler(before)

    def _on_error(self, what: str, error: BaseException | None) -> None:
        self.heard.append(f"{what}: " + "".join(traceback.format_exception(error)))

    def _on_qt(self, kind: Any, context: Any, text: str) -> None:
        if kind not in (QtMsgType.QtDebugMsg, QtMsgType.QtInfoMsg) and not any(word in text for word in HARMLESS):
            self.heard.append(f"Qt: {text}")

    def _on_notification(self, said: Any) -> None:
        if str(said.severity) == "error" and not str(said.message).startswith(REFUSALS):
            self.heard.append(f"error shown: {said.message}")

    def _on_beat(self) -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is not None:
            self.heard.append(f"a dialog opened: {dialog.windowTitle()}")
            dialog.close()
