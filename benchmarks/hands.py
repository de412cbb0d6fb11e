"""Random hands at a real window: keys, clicks and brush strokes, drawn from one generator of random numbers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

NONE, ALT, CONTROL, SHIFT = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.AltModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
)
LEFT = Qt.MouseButton.LeftButton


def settle(seconds: float) -> None:
    """Let the event loop turn for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.002)


class Hands:
    """What a random annotator does at the canvas.

    Parameters
    ----------
    viewer : napari.Viewer
        Its window is on the screen.
    rng : random.Random
        Every choice comes from it.
    before : callable
        Called before each key.
    """

    def __init__(self, viewer: Any, rng: random.Random, before: Callable[[], None] = lambda: None) -> None:
        self.canvas: QWidget = viewer.window._qt_viewer.canvas.native
        self._rng, self._before = rng, before

    def key(self, code: Qt.Key, modifiers: Any = NONE, on: QWidget | None = None) -> None:
        """Press a key, in the canvas or on another widget, and wait for a random moment."""
        self._before()
        QTest.keyClick(self.canvas if on is None else on, code, modifiers)
        self.pause()

    def pause(self, longest: float = 0.1) -> None:
        """Wait for a random moment, or go on at once."""
        if self._rng.random() < 0.4:
            settle(self._rng.uniform(0, longest))

    def place(self, reach: int) -> QPoint:
        """Return a place in the canvas, at most so many pixels of the screen from its middle in either direction."""
        middle = QPoint(self.canvas.width() // 2, self.canvas.height() // 2)
        return middle + QPoint(self._rng.randint(-reach, reach), self._rng.randint(-reach, reach))

    def click(self, reach: int = 60) -> None:
        """Click near the middle of the canvas."""
        place = self.place(reach)
        QTest.mouseMove(self.canvas, place)
        QTest.mouseClick(self.canvas, LEFT, NONE, place)
        self.pause()

    def drag(self) -> None:
        """Draw with the left button near the middle of the canvas."""
        place = self.place(60)
        QTest.mouseMove(self.canvas, place)
        QTest.mousePress(self.canvas, LEFT, NONE, place)
        for _ in range(self._rng.randint(2, 5)):
            place += QPoint(self._rng.randint(-15, 15), self._rng.randint(-15, 15))
            QTest.mouseMove(self.canvas, place)
            settle(0.01)
        QTest.mouseRelease(self.canvas, LEFT, NONE, place)
        self.pause()

    def repaint(self) -> None:
        """Begin a repaint, draw, and end or leave it."""
        self.key(Qt.Key.Key_E)
        for _ in range(self._rng.randint(1, 2)):
            self.drag()
        self.key(self._rng.choice((Qt.Key.Key_Return, Qt.Key.Key_Return, Qt.Key.Key_Escape)))
