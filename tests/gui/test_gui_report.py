"""The button that writes the report, in a real viewer."""

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_vessel.gui.reporting import ReportButton

pytestmark = pytest.mark.gui


@pytest.fixture
def button(workspace):
    _, widget = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Export vessels")
    assert isinstance(widget.report_button, ReportButton)
    return widget.report_button


def test_the_report_is_written_where_the_person_says(button, workspace, qtbot, spin, tmp_path, monkeypatch):
    assert not button.isEnabled()
    mask = np.zeros((64, 96), np.uint8)
    mask[30:33, 5:90] = 255
    for name, pixels in (("pictures", np.arange(64 * 96, dtype=np.uint8).reshape(64, 96)), ("masks", mask)):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "scan.png")
    workspace.open_project(tmp_path / "work")
    workspace.add_paths([tmp_path / "pictures"], tmp_path / "masks")
    spin()
    assert button.isEnabled()
    told = []
    workspace.message.connect(lambda text, level: told.append((level, text)))
    asked = []

    def choose(parent, title, usual, kinds):
        asked.append(usual)
        return str(tmp_path / "mine"), kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    spin()
    assert asked == [str(tmp_path / "work-report.html")]
    assert told[-1] == ("info", f"Wrote the report to {tmp_path / 'mine.html'}.")
    assert "scan" in (tmp_path / "mine.html").read_text(encoding="utf-8")

    (tmp_path / "mine.html").write_text("<html>another's</html>")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    spin()
    assert told[-1][0] == "error"
    assert "is no report" in told[-1][1]
    assert (tmp_path / "mine.html").read_text() == "<html>another's</html>"
