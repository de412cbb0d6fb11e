"""The main job by keys alone, killed in the middle, taken up again, and exported."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_vessel.images.inputs import ImageInput
from napari_vessel.jobs import run_job
from napari_vessel.review.project import Project
from napari_vessel.synthesis.samples import make_sample

CHILD = Path(__file__).with_name("loop_child.py")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one fundus photograph of 584 x 565 pixels, not looked at yet."""
    from PIL import Image

    sample = make_sample("fundus")
    assert sample.image.shape == (584, 565)
    photograph = tmp_path / "photograph.png"
    Image.fromarray((sample.image.pixels * 255).round().astype(np.uint8)).save(photograph)
    folder = tmp_path / "project"
    with Project.create(folder) as made:
        run_job(made.add([ImageInput(photograph)]))
    return folder


def work_and_die(project: Path) -> dict[str, dict]:
    """Run the annotator's process, kill it once it has acknowledged everything, and return what it said by step."""
    process = subprocess.Popen(
        [sys.executable, str(CHILD), str(project)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said: dict[str, dict] = {}
    try:
        for line in process.stdout:
            if not line.startswith("{"):
                # napari writes its notifications there too.
                continue
            state = json.loads(line)
            said[state["step"]] = state
            if state["step"] == "all done":
                break
        else:
            pytest.fail(f"the annotator's process ended early: {process.stderr.read()[-3000:]}")
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()
    return said


@pytest.mark.gui
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_loop_by_keys_survives_a_kill_and_exports(project, tmp_path, qtbot, make_napari_viewer):
    said = work_and_die(project)

    segmented, accepted, rejected, repainted = (said[k] for k in ("segmented", "accepted", "rejected", "repainted"))
    assert segmented["model"] == "fundus-small"
    assert accepted["verdicts"] == {accepted["gap"]: "accepted"}
    assert accepted["labels"] != segmented["labels"]
    assert rejected["labels"] == accepted["labels"]
    assert repainted["labels"] != rejected["labels"]
    expected = {accepted["gap"]: "accepted", rejected["gap"]: "rejected", repainted["gap"]: "repainted"}
    assert len(expected) == 3
    assert repainted["verdicts"] == expected
    for undone, before in (("undone 1", rejected), ("undone 2", accepted), ("undone 3", segmented)):
        assert (said[undone]["labels"], said[undone]["verdicts"]) == (before["labels"], before["verdicts"])
    for redone, after in (("redone 1", accepted), ("redone 2", rejected), ("redone 3", repainted)):
        assert (said[redone]["labels"], said[redone]["verdicts"]) == (after["labels"], after["verdicts"])

    from napari_vessel.gui.workspace import Workspace

    viewer = make_napari_viewer(show=True)
    viewer.window.add_plugin_dock_widget("napari-vessel", "Vessel gaps")
    workspace = Workspace.of(viewer)
    workspace.open_project(project)
    try:
        qtbot.waitUntil(lambda: workspace.session is not None, timeout=30_000)
        session = workspace.session
        assert workspace.record.id == said["all done"]["image"]
        assert hashlib.sha256(session.labels.tobytes()).hexdigest() == repainted["labels"]
        assert np.array_equal(workspace.scene.mask_layer.data, session.labels)
        assert {gap: record.verdict.value for gap, record in session.verdicts.items()} == expected
        assert session.undo_text == repainted["undo"]

        canvas = viewer.window._qt_viewer.canvas.native
        QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        qtbot.waitUntil(
            lambda: hashlib.sha256(session.labels.tobytes()).hexdigest() == rejected["labels"], timeout=5_000
        )
        QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
        qtbot.waitUntil(
            lambda: hashlib.sha256(session.labels.tobytes()).hexdigest() == repainted["labels"], timeout=5_000
        )
        QTest.keyClick(canvas, Qt.Key.Key_D)
        qtbot.waitUntil(lambda: workspace.record.state == "done", timeout=5_000)
        _, panel = viewer.window.add_plugin_dock_widget("napari-vessel", "Export vessels")
        panel.target.setFocus()
        panel.target.clear()
        QTest.keyClicks(panel.target, str(tmp_path / "out"))
        assert panel.target.text() == str(tmp_path / "out")
        assert panel.export_button.isEnabled()
        panel.export_button.setFocus()
        QTest.keyClick(panel.export_button, Qt.Key.Key_Space)
        qtbot.waitUntil((tmp_path / "out" / "manifest.json").is_file, timeout=10_000)
        labels = session.labels.copy()
    finally:
        workspace.close()

    from PIL import Image

    with Image.open(tmp_path / "out" / "masks" / "photograph.png") as file:
        assert np.array_equal(np.asarray(file), np.where(labels > 0, 255, 0))
    assert (tmp_path / "out" / "images" / "photograph.png").read_bytes() == (tmp_path / "photograph.png").read_bytes()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    (image,) = manifest["images"]
    assert image["model"] == "fundus-small"
    assert image["verdicts"] == {"accepted": 1, "rejected": 1, "repainted": 1, "unsure": 0, "skipped": 0}
    assert (
        image["mask_sha256"] == hashlib.sha256((tmp_path / "out" / "masks" / "photograph.png").read_bytes()).hexdigest()
    )
