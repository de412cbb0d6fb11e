"""What every dock widget of this plugin is: as wide as the others, with a word on its tab that is read among many."""

from __future__ import annotations

from typing import ClassVar

from qtpy.QtCore import QEvent, QSize
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QDockWidget, QSizePolicy, QWidget

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
        """End with the dock: to close one napari takes what is in it out, forgets it, and deletes nothing.

        It would go on hearing everything, unseen, until Python collects garbage, or for good.
        """
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parentWidget() is None:
            self.end()
            self.deleteLater()

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
