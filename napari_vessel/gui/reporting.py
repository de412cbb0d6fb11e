"""The button that writes the report of a project."""

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_vessel.gui.parts import connect_while_alive, told
from napari_vessel.gui.workspace import Workspace

LANE = "report"


class ReportButton(QPushButton):
    """Asks where to write the report of the open project, and writes it on a thread.

    Parameters
    ----------
    workspace : Workspace
        Whose project.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__("&Report…")
        self.workspace = workspace
        self.setToolTip("One HTML file to read or print: images, what was changed, by whom, and with which model.")
        self.clicked.connect(self._choose)
        connect_while_alive(self, workspace.project_changed, self._on_project)
        connect_while_alive(self, workspace.images_changed, self._follow)
        self._follow()

    @told
    def _choose(self) -> None:
        project = self.workspace.project
        if project is None:
            return
        usual = project.folder.with_name(f"{project.folder.name}-report.html")
        name, _ = QFileDialog.getSaveFileName(self, "Write the report", str(usual), "Web page (*.html)")
        if name:
            self.write(Path(name) if Path(name).suffix else Path(f"{name}.html"))

    def write(self, path: Path) -> None:
        """Write the report to a file, on a thread; InputError if it cannot be written there."""
        from napari_vessel.export.report import check_report, write_report

        project = self.workspace.project
        if project is None:
            return
        check_report(path)
        self.workspace.flush()
        job = write_report(project, path)
        self.workspace.tasks.start(LANE, job, lambda out: self.workspace.say(f"Wrote the report to {out}."), "Report")

    def _on_project(self) -> None:
        self.workspace.tasks.drop(LANE)
        self._follow()

    def _follow(self) -> None:
        self.setEnabled(self.workspace.project is not None and bool(self.workspace.images()))
