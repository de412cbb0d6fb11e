"""What every dock widget of this plugin is: as wide as the others, with a word on its tab that is read among many."""

from __future__ import annotations

from typing import ClassVar

from qtpy.QtCore import QEvent, QSize, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QDockWidget, QMainWindow, QSizePolicy, QWidget

from napari_vessel.gui.keys import install_keys
from napari_vessel.gui.workspace import Workspace

WIDTH = 376
"""Of every dock, so that those in tabs leave the canvas as much as they can."""


class Dock(QWidget):
    """A widget for napari to dock."""

    workspace: Workspace
    """Whose images it is about."""

    tab: ClassVar[str] = ""
    """On its tab, where napari's own *Vessel gaps (napari-vessel)* leaves of several docks only *Vess…*."""

    def __init__(self) -> None:
        super().__init__()
        # Else napari puts room that grows below, and of each such dock it opens it takes more from the table in this.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Ask for the width at which nothing is cut off."""
        return QSize(WIDTH, super().sizeHint().height())

    def changeEvent(self, event: QEvent) -> None:
        """Find a place with the dock, and end with it: to close one napari takes what is in it out, and forgets it.

        Not deleted, it would go on hearing everything, unseen, until Python collects garbage, or for good.
        """
        super().changeEvent(event)
        if event.type() != QEvent.Type.ParentChange:
            return
        dock = self.parentWidget()
        if dock is None:
            self.end()
            self.deleteLater()
        elif isinstance(dock, QDockWidget):
            # Before the window is laid out: it grows at once to what docks below each other need, and stays so.
            dock.dockLocationChanged.connect(self._put_over_others)

    def _put_over_others(self) -> None:
        """Make the new dock a tab over those of this plugin beside which it was opened, and show it.

        napari puts each below the last, and together they are higher than a screen; the window cannot be made smaller
        then. Where it goes afterwards is the annotator's choice.
        """
        dock = self.parentWidget()
        window = None if dock is None else dock.parentWidget()
        if not isinstance(dock, QDockWidget) or not isinstance(window, QMainWindow):
            return
        dock.dockLocationChanged.disconnect(self._put_over_others)
        area = window.dockWidgetArea(dock)
        for other in reversed(window.findChildren(QDockWidget)):
            here = window.dockWidgetArea(other) == area and not other.isFloating() and not other.isHidden()
            if other is not dock and here and other.findChild(Dock) is not None:
                window.tabifyDockWidget(other, dock)
                # Tabs are made when the event loop lays the window out; only then can one be brought to the front.
                QTimer.singleShot(0, self._raise)
                return

    def _raise(self) -> None:
        dock = self.parentWidget()
        if dock is not None:
            dock.raise_()

    def end(self) -> None:
        """Take away what this shows over the image: it is being closed."""

    def showEvent(self, event: QShowEvent) -> None:
        """Name the tab and bind the keys: by now the widget is docked.

        The keys also hear the window close, and let go of the project then: whichever dock is open.
        """
        super().showEvent(event)
        install_keys(self, self.workspace)
        dock = self.parentWidget()
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        if dock is not None and dock.windowTitle() != self.tab:
            # In the Window menu there is room for the whole name.
            action = dock.toggleViewAction()
            name = action.text()
            dock.setWindowTitle(self.tab)
            action.setText(name)
