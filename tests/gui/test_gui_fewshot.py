"""Vessel training in a real viewer: what is learnt from, start, stop, go on, use it, and a window that asks."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox

from napari_vessel.errors import ModelError
from napari_vessel.gui.fewshot import FewShotWidget
from napari_vessel.gui.label_table import LabelTable
from napari_vessel.gui.process import TrainingProcess
from napari_vessel.gui.training_runs import read_curve, read_result, runs_folder, seconds_per_step
from napari_vessel.images.image import Modality
from napari_vessel.images.inputs import find_inputs
from napari_vessel.jobs import Progress, run_job
from napari_vessel.review.records import ImageState
from napari_vessel.segmentation.registry import list_models
from napari_vessel.synthesis.samples import make_sample

pytestmark = pytest.mark.gui

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def widget(workspace):
    _, made = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Vessel training")
    assert isinstance(made, FewShotWidget)
    yield made
    made.training.leave()


@pytest.fixture
def pictures(tmp_path):
    """Three small angiograms in images/, their masks in masks/."""
    for seed in range(3):
        sample = make_sample("octa", seed=seed, shape=(160, 160))
        for room, pixels in (("images", sample.image.pixels * 255), ("masks", sample.truth.labels * 255)):
            (tmp_path / room).mkdir(exist_ok=True)
            # A step on crops of 96 px takes a third of one on 160.
            Image.fromarray(np.round(pixels[32:128, 32:128]).astype(np.uint8)).save(
                tmp_path / room / f"scan_{seed}.png"
            )
    return tmp_path


@pytest.fixture
def filled(widget, pictures, qtbot, spin, monkeypatch):
    """The dock with the three files, and a run of a few steps to be started."""
    names = sorted(str(path) for path in (pictures / "images").iterdir())
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (names, ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(pictures / "masks"))
    qtbot.mouseClick(widget.files_button, LEFT)
    spin()
    widget.synthetic.setValue(1)
    widget.steps.setValue(4)
    return widget


def rows(widget):
    table = widget.table
    return [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount())]


def wait_until(condition, seconds=120.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come"
        QApplication.processEvents()
        time.sleep(0.01)


def is_training(widget):
    return widget.status.text().startswith("Training, step")


def test_with_nothing_labelled_there_is_nothing_to_start(widget):
    assert not widget.start_button.isEnabled()
    assert not widget.stop_button.isEnabled()
    assert not widget.use_button.isEnabled()
    assert "labelled images" in widget.start_button.toolTip()
    assert widget.estimate.text() == widget.start_button.toolTip(), "without a mouse on the button too"


def test_files_layers_and_finished_images_are_listed(filled, workspace, qtbot, spin, tmp_path):
    assert rows(filled) == [[f"scan_{n}", "file", "96 × 96", ""] for n in range(3)]
    assert filled.modality.currentData() == "octa"
    sample = make_sample("octa", seed=7, shape=(150, 140))
    workspace.viewer.add_image(sample.image.pixels, name="mine")
    workspace.viewer.add_labels(sample.truth.labels, name="vessels")
    qtbot.mouseClick(filled.layers_button, LEFT)
    spin()
    assert rows(filled)[-1] == ["mine", "layers", "140 × 150", ""]
    corrected = np.roll(sample.truth.labels, 5, axis=0)
    workspace.viewer.layers["vessels"].data = corrected
    qtbot.mouseClick(filled.layers_button, LEFT)
    spin()
    assert len(rows(filled)) == 4
    np.testing.assert_array_equal(filled.table.chosen()[-1].load(Modality.OCTA).vessels, corrected > 0)
    workspace.open_project(tmp_path / "work")
    done = make_sample("octa", seed=8, shape=(170, 170))
    workspace.add_image(done.image, done.truth)
    spin()
    assert len(rows(filled)) == 4
    workspace.set_state(ImageState.DONE)
    assert rows(filled)[0][1:3] == ["project", "170 × 170"]


def finish(project, names):
    """Add finished images of these names."""
    for seed, name in enumerate(names):
        sample = make_sample("octa", seed=seed, shape=(128, 128))
        [record] = run_job(project.add([replace(sample.image, name=name)], sample.truth))
        project.set_state(record.id, ImageState.DONE)
    return project.images()


def done_at_once():
    yield Progress(0, None, "")
    return {"stopped": False, "steps": 1}


def test_guards_are_left_out_and_what_is_learnt_from_never_becomes_one(
    widget, workspace, qtbot, spin, tmp_path, monkeypatch
):
    monkeypatch.setattr(TrainingProcess, "run", lambda _: done_at_once())
    workspace.open_project(tmp_path / "work")
    project = workspace.project
    records = {record.name: record for record in finish(project, ["eye_0L", "eye_0R", "eye_1L", "eye_2L", "eye_3L"])}
    project.guards.note_taught([records["eye_1L"]])
    project.guards.draw([records["eye_0L"]])
    workspace.images_changed.emit()
    assert [row[0] for row in rows(widget)] == ["eye_1L", "eye_2L", "eye_3L"], "nor the other eye of a guard"
    assert widget.left_out.text() == "Left out: 2 images that judge new models."
    for row in (1, 2):
        widget.table.item(row, 0).setCheckState(Qt.CheckState.Unchecked)
    widget.table.item(1, 0).setCheckState(Qt.CheckState.Checked)
    widget.synthetic.setValue(0)
    qtbot.mouseClick(widget.start_button, LEFT)
    spin()
    assert [row[3] for row in sorted(rows(widget))] in (["held out", "learnt from"], ["learnt from", "held out"])
    sides = {name: project.guards.sides().get(record.content_hash) for name, record in records.items()}
    assert sides["eye_1L"].guard is sides["eye_2L"].guard is False
    assert sides["eye_3L"] is None, "it was not ticked"


def assert_refused(widget, workspace, qtbot, spin, judge):
    """Press Start, which says which image judges new models, and begins nothing."""
    said = []
    workspace.message.connect(lambda text, level: said.append(text))
    qtbot.mouseClick(widget.start_button, LEFT)
    spin()
    assert f"New models are judged by {judge} by now; start again without it." in said
    assert list(runs_folder().glob("*/fewshot.json")) == []


def test_an_image_that_became_a_guard_since_it_was_listed_is_refused(
    widget, workspace, qtbot, spin, tmp_path, monkeypatch
):
    monkeypatch.setattr(TrainingProcess, "run", lambda _: done_at_once())
    workspace.open_project(tmp_path / "work")
    project = workspace.project
    records = finish(project, ["one", "two", "three"])
    workspace.images_changed.emit()
    assert len(rows(widget)) == 3
    project.guards.note_taught(records[:1])
    project.guards.draw(records[1:2])
    assert_refused(widget, workspace, qtbot, spin, judge="two")
    assert [row[0] for row in rows(widget)] == ["one", "three"]


def test_a_file_that_is_an_image_of_the_project_counts_as_that(filled, workspace, qtbot, spin, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingProcess, "run", lambda _: done_at_once())
    workspace.open_project(tmp_path / "work")
    project = workspace.project
    guard, other, taught = run_job(project.add(find_inputs([tmp_path / "images"])))
    project.guards.note_taught([taught])
    project.guards.draw([guard])
    assert_refused(filled, workspace, qtbot, spin, judge="scan_0")
    filled.table.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    qtbot.mouseClick(filled.start_button, LEFT)
    spin()
    assert len(list(runs_folder().glob("*/fewshot.json"))) == 1
    assert project.guards.sides()[other.content_hash].guard is False, "it can never become one"


def test_every_page_of_a_file_is_listed_with_its_own_mask(widget, tmp_path, spin):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 64)).astype(np.uint8)
    drawn = np.zeros((3, 64, 64), np.uint8)
    (tmp_path / "masks").mkdir()
    for page in range(3):
        drawn[page, 10 + 10 * page : 13 + 10 * page] = 255
    tifffile.imwrite(tmp_path / "stack.tif", pixels, photometric="minisblack")
    tifffile.imwrite(tmp_path / "masks" / "stack.tif", drawn, photometric="minisblack")
    widget.add_files([tmp_path / "stack.tif"], tmp_path / "masks")
    spin()
    assert [row[0] for row in rows(widget)] == ["stack_p000", "stack_p001", "stack_p002"]
    for source, vessels in zip(widget.table.chosen(), drawn > 0, strict=True):
        np.testing.assert_array_equal(source.load(Modality.XRAY).vessels, vessels)


def test_the_space_bar_ticks(filled, qtbot):
    assert filled.start_button.isEnabled()
    filled.table.setCurrentCell(0, 0)
    qtbot.keyClick(filled.table, Qt.Key.Key_Space)
    assert [source.name for source in filled.table.chosen()] == ["scan_1", "scan_2"]
    filled.table.setCurrentCell(1, 0)
    qtbot.keyClick(filled.table, Qt.Key.Key_Space)
    assert not filled.start_button.isEnabled()
    qtbot.keyClick(filled.table, Qt.Key.Key_Space)
    assert filled.start_button.isEnabled()


def test_a_long_table_is_measured_once_and_filled_when_it_changed(qtbot):
    class Measured(LabelTable):
        measured = 0

        def sizeHintForColumn(self, column):
            self.measured += 1
            return super().sizeHintForColumn(column)

    def run(count, name):
        images = [{"name": f"{name} {n}", "shape": (90, 90), "held_out": False} for n in range(count)]
        return {"images": images}

    table = Measured(lambda: None)
    qtbot.addWidget(table)
    table.show()
    work = []
    for count in (4, 40):
        table.show_run(run(count, "old"))
        QApplication.processEvents()
        table.measured = 0
        table.show_run(run(count, "new"))
        QApplication.processEvents()
        work.append(table.measured)
    assert 0 < work[1] <= 2 * work[0], "as often for a long table as for a short one"
    item = table.item(39, 0)
    assert item.text() == "new 39"
    table.show_run(run(40, "new"))
    assert table.item(39, 0) is item


def test_a_name_that_no_model_can_have_is_told_before_start(filled, qtbot):
    assert filled.estimate.text().startswith("About ")
    qtbot.keyClicks(filled.name, " Ours")
    assert not filled.start_button.isEnabled()
    assert "cannot be called" in filled.estimate.text()
    assert "use lower-case letters" in filled.estimate.text()
    assert filled.start_button.toolTip() == filled.estimate.text()
    for _ in " Ours":
        qtbot.keyClick(filled.name, Qt.Key.Key_Backspace)
    assert filled.start_button.isEnabled()
    assert filled.estimate.text().startswith("About ")


def test_the_pace_is_not_that_of_a_run_that_had_hardly_begun(tmp_path):
    for time_of, (name, rows_of) in enumerate({"long": "100,60\n400,350\n", "short": "20,400\n", "none": ""}.items()):
        log = tmp_path / name / "log.csv"
        log.parent.mkdir()
        log.write_text(f"step,seconds\n{rows_of}")
        os.utime(log, (time_of, time_of))
    assert seconds_per_step(tmp_path) == 350 / 400
    (tmp_path / "long" / "log.csv").unlink()
    assert seconds_per_step(tmp_path) is None


def test_layers_that_cannot_be_told_are_one_sentence(widget, workspace, qtbot):
    workspace.viewer.add_image(np.zeros((20, 20)), name="alone")
    qtbot.mouseClick(widget.layers_button, LEFT)
    assert "Select one Image layer and the Labels layer" in widget.status.text()


def test_from_start_to_a_model_that_segment_offers(filled, workspace, qtbot, spin):
    _, segment = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Segment vessels")
    name = filled.name.text()
    qtbot.mouseClick(filled.start_button, LEFT)
    assert filled.stop_button.isEnabled()
    assert not filled.start_button.isEnabled()
    assert not filled.steps.isEnabled()
    spin(240)
    assert filled.status.text() == "Done: 4 steps."
    assert sorted(row[3] for row in rows(filled)) == ["held out", "learnt from", "learnt from"]
    assert len(filled.plot.curve.dice) == 4
    assert f"{name}: threshold" in filled.result.text()
    assert "Held out: Dice" in filled.result.text()
    assert not filled.start_button.isEnabled()
    assert "finished" in filled.start_button.toolTip()
    qtbot.mouseClick(filled.use_button, LEFT)
    spin()
    assert name in {info.name for info in list_models()}
    assert segment.model.currentData() == name
    assert filled.start_from.findData(name) > 0
    # An earlier run's name: its own model is taken, not that of the training just done.
    earlier = runs_folder() / "earlier"
    shutil.copytree(runs_folder() / name, earlier)
    (earlier / name).rename(earlier / "earlier")
    config = json.loads((earlier / "earlier" / "config.json").read_text())
    (earlier / "earlier" / "config.json").write_text(json.dumps({**config, "name": "earlier"}))
    filled.name.setText("earlier")
    qtbot.mouseClick(filled.use_button, LEFT)
    spin()
    assert "earlier" in {info.name for info in list_models()}
    # Another name is another run.
    filled.name.setText("another")
    assert filled.start_button.isEnabled()
    assert filled.start_button.text() == "&Start"
    assert rows(filled)[0][1] == "file"


@pytest.mark.trains
def test_stop_keeps_the_best_and_go_on_goes_on(filled, qtbot, spin):
    filled.steps.setValue(30)
    name = filled.name.text()
    qtbot.mouseClick(filled.start_button, LEFT)
    wait_until(lambda: is_training(filled))
    qtbot.mouseClick(filled.stop_button, LEFT)
    spin(120)
    assert "Stopped at step" in filled.status.text()
    stopped = read_result(name)["training"]["steps_done"]
    assert 0 < stopped < 30
    assert filled.use_button.isEnabled()
    assert filled.start_button.text() == "&Go on"
    qtbot.mouseClick(filled.start_button, LEFT)
    spin(240)
    assert read_result(name)["training"]["steps_done"] == 30
    assert read_curve(name).dice[-1][0] == 30


def test_what_lies_in_the_folder_that_napari_was_started_in_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("raise SystemExit('a file of the user')")
    monkeypatch.chdir(tmp_path)
    process = TrainingProcess("fewshot", tmp_path / "run", "cpu")
    with pytest.raises(ModelError, match="No labelled images are named"):
        run_job(process.run())


@pytest.mark.trains
def test_stop_before_the_first_step_can_be_taken_up(filled, qtbot, spin):
    qtbot.mouseClick(filled.start_button, LEFT)
    wait_until(lambda: filled.training.pid is not None)
    filled.training.stop()
    spin(120)
    assert "Stopped before the training began" in filled.status.text()
    assert filled.start_button.text() == "&Go on"


@pytest.mark.trains
def test_a_killed_training_is_told_and_goes_on(filled, qtbot, spin):
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("other systems end processes in other ways")
    # Enough that a step is seen: only the newest of several tidings is shown.
    filled.steps.setValue(40)
    qtbot.mouseClick(filled.start_button, LEFT)
    wait_until(lambda: is_training(filled))
    os.kill(filled.training.pid, signal.SIGKILL)
    spin(60)
    assert "ended before its time" in filled.status.text() or "did not end" in filled.status.text()
    assert filled.start_button.text() == "&Go on"
    # A failure is told after Stop too.
    qtbot.mouseClick(filled.start_button, LEFT)
    wait_until(lambda: filled.training.pid is not None)
    filled.training.stop()
    os.kill(filled.training.pid, signal.SIGKILL)
    spin(60)
    assert "ended before its time" in filled.status.text() or "did not end" in filled.status.text()
    qtbot.mouseClick(filled.start_button, LEFT)
    wait_until(lambda: is_training(filled))
    qtbot.mouseClick(filled.stop_button, LEFT)
    spin(120)
    assert "Stopped at step" in filled.status.text()


@pytest.mark.trains
def test_closing_the_window_asks_and_leaves_a_run_that_goes_on(filled, workspace, qtbot, monkeypatch):
    filled.steps.setValue(100_000)
    name = filled.name.text()
    qtbot.mouseClick(filled.start_button, LEFT)
    wait_until(lambda: is_training(filled))
    asked = []
    answers = [QMessageBox.StandardButton.Cancel, QMessageBox.StandardButton.Close]
    monkeypatch.setattr(QMessageBox, "question", lambda *words: asked.append(words[2]) or answers[len(asked) - 1])
    window = workspace.viewer.window._qt_window
    assert not window.close()
    assert filled.training.running
    assert name in asked[0]
    training = filled.training
    # Only the answer is looked at here: the viewer itself is closed by its fixture.
    process = training._process._process
    training.leave()
    assert process.wait(60) == 1
    assert (runs_folder() / name / "checkpoint.safetensors").is_file()
    assert not training.running
