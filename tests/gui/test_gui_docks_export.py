"""The Export vessels widget in a real viewer: check, export, and the files it leaves."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from qtpy.QtCore import Qt

from napari_vessel.gui.export import ExportWidget
from napari_vessel.review.edits import Verdict
from napari_vessel.review.records import ImageState
from napari_vessel.synthesis.samples import make_sample

pytestmark = pytest.mark.gui

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def widget(workspace, spin, tmp_path):
    """The widget over a project of three images with masks: the first is done, the others are segmented."""
    _, made = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Export vessels")
    assert isinstance(made, ExportWidget)
    sample = make_sample("octa")
    for folder in ("pictures", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        pixels = np.roll(np.round(sample.image.pixels * 255).astype(np.uint8), number, axis=1)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"scan_{number}.png")
        mask = np.roll(sample.truth.mask, number, axis=1)
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "masks" / f"scan_{number}.png")
    workspace.open_project(tmp_path / "work")
    workspace.add_paths([tmp_path / "pictures"], tmp_path / "masks")
    spin()
    workspace.set_state(ImageState.DONE)
    return made


def problems(widget):
    return [widget.problems.item(row).text() for row in range(widget.problems.count())]


def test_without_a_project_nothing_can_be_exported(workspace):
    _, widget = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Export vessels")
    for button in (widget.check_button, widget.export_button, widget.folder_button, widget.save_button):
        assert not button.isEnabled()


def test_states_show_how_many_images_they_have(widget, workspace):
    words = [box.text() for box in widget.states.values()]
    assert words == ["● done (1)", "◑ in review (0)", "◔ segmented (2)"]
    workspace.set_state(ImageState.IN_REVIEW)
    assert [box.text() for box in widget.states.values()][:2] == ["● done (0)", "◑ in review (1)"]


def test_check_lists_problems_and_writes_nothing(widget, workspace, qtbot, spin, tmp_path):
    before = sorted(tmp_path.iterdir())
    widget.states[ImageState.SEGMENTED].setChecked(True)
    qtbot.mouseClick(widget.check_button, LEFT)
    spin()
    assert any("scan_1" in problem and "not done" in problem for problem in problems(widget))
    assert str(len(problems(widget))) in widget.problems_title.text()
    assert sorted(tmp_path.iterdir()) == before
    assert "✘" not in widget.problems_title.text()
    widget.states[ImageState.SEGMENTED].setChecked(False)
    assert problems(widget) == []
    # Where somebody's own files are, nothing would be written.
    widget.target.setText(str(tmp_path))
    qtbot.mouseClick(widget.check_button, LEFT)
    spin()
    refused, *others = problems(widget)
    assert refused.startswith("✘")
    assert "is not empty" in refused
    assert {problem[0] for problem in others} == {"⚠"}
    assert "✘ nothing is exported" in widget.problems_title.text()


def test_what_was_checked_is_said_to_be_old_when_the_project_is_another(review, qtbot, spin):
    _, widget = review.viewer.window.add_plugin_dock_widget("napari-vessel", "Export vessels")
    review.set_state(ImageState.DONE)

    def decide():
        review.decide(Verdict.ACCEPTED)

    def finish():
        review.set_state(ImageState.DONE)

    for change in (decide, finish):
        qtbot.mouseClick(widget.check_button, LEFT)
        spin()
        found = problems(widget)
        review.refresh_record()
        assert "changed" not in widget.problems_title.text()
        change()
        assert "check again" in widget.problems_title.text()
        assert problems(widget) == found, "they may be what is being worked on"
    qtbot.mouseClick(widget.check_button, LEFT)
    review.set_state(ImageState.IN_REVIEW)
    spin()
    assert "check again" in widget.problems_title.text(), "it changed while it was checked"
    widget.target.setText("elsewhere")
    assert not problems(widget)
    assert "Check lists" in widget.problems_title.text()


def test_export_writes_the_files(widget, workspace, qtbot, spin, tmp_path):
    out = tmp_path / "out"
    widget.states[ImageState.SEGMENTED].setChecked(True)
    widget.target.setText(str(out))
    qtbot.keyClicks(widget.licence, "CC BY 4.0")
    qtbot.mouseClick(widget.export_button, LEFT)
    assert not widget.export_button.isEnabled()
    spin()
    for folder in ("images", "masks"):
        assert sorted(path.stem for path in (out / folder).iterdir()) == ["scan_0", "scan_1", "scan_2"]
    for number in range(3):
        saved = np.asarray(Image.open(out / "masks" / f"scan_{number}.png"))
        np.testing.assert_array_equal(saved, np.asarray(Image.open(tmp_path / "masks" / f"scan_{number}.png")))
    manifest = json.loads((out / "manifest.json").read_text())
    assert "CC BY 4.0" in json.dumps(manifest)
    assert len(manifest["images"]) == 3
    assert str(out) in widget.status.text()
    assert widget.folder_button.isEnabled()


def test_a_data_set_of_nnunet_by_keys(widget, workspace, qtbot, spin, tmp_path):
    assert widget.dataset.isHidden()
    widget.licence.setFocus()
    widget.format.setFocus()
    qtbot.keyClick(widget.format, Qt.Key.Key_Down)
    assert not widget.dataset.isHidden()
    assert not widget.dataset_label.isHidden()
    assert widget.target.text() == str(tmp_path / "nnUNet_raw")
    assert widget.number.text() == "100"
    assert widget.name.placeholderText() == "work"
    widget.number.setFocus()
    widget.number.selectAll()
    qtbot.keyClicks(widget.number, "42")
    qtbot.keyClicks(widget.name, "Scans")
    qtbot.mouseClick(widget.check_button, LEFT)
    spin()
    assert any("fewer than the 5" in problem for problem in problems(widget))
    assert not (tmp_path / "nnUNet_raw").exists()
    qtbot.mouseClick(widget.export_button, LEFT)
    spin()
    out = tmp_path / "nnUNet_raw" / "Dataset042_Scans"
    assert str(out) in widget.status.text()
    assert json.loads((out / "dataset.json").read_text())["labels"] == {"background": 0, "vessel": 1}
    labels = np.asarray(Image.open(out / "labelsTr" / "scan_0.png"))
    np.testing.assert_array_equal(labels * 255, np.asarray(Image.open(tmp_path / "masks" / "scan_0.png")))
    assert widget.folder_button.isEnabled()


@pytest.mark.parametrize("layout", ["monai", "coco", "ome-tiff", "ome-zarr"])
def test_what_was_exported_is_added_as_it_was(widget, workspace, qtbot, spin, tmp_path, layout):
    widget.format.setFocus()
    while widget.chosen_format() != layout:
        qtbot.keyClick(widget.format, Qt.Key.Key_Down)
    assert widget.target.text() == str(tmp_path / f"work-{layout}")
    assert widget.seed.isHidden()
    widget.split.setFocus()
    qtbot.keyClick(widget.split, Qt.Key.Key_Down)
    assert not widget.seed.isHidden()
    widget.states[ImageState.SEGMENTED].setChecked(True)
    qtbot.mouseClick(widget.export_button, LEFT)
    spin()
    out = tmp_path / f"work-{layout}"
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["split"]["shares"] == {"training": 0.7, "validation": 0.15, "test": 0.15}
    masks = {record.name: workspace.project.read_mask(record.id).labels for record in workspace.images()}
    workspace.open_project(tmp_path / "back")
    spin()
    workspace.add_paths([out])
    spin()
    assert next(record.state for record in workspace.images()) is ImageState.DONE
    for record in workspace.images():
        np.testing.assert_array_equal(workspace.project.read_mask(record.id).labels, masks.pop(record.name))
    assert masks == {}


def test_changing_the_format_changes_the_usual_place_and_no_other(widget, qtbot, spin, tmp_path):
    usual = widget.target.text()
    qtbot.mouseClick(widget.check_button, LEFT)
    spin()
    assert problems(widget) != []
    qtbot.keyClick(widget.format, Qt.Key.Key_Down)
    assert problems(widget) == []
    qtbot.keyClick(widget.format, Qt.Key.Key_Up)
    assert widget.target.text() == usual
    assert widget.dataset.isHidden()
    widget.target.setText(str(tmp_path / "mine"))
    qtbot.keyClick(widget.format, Qt.Key.Key_Down)
    assert widget.target.text() == str(tmp_path / "mine")


def test_a_name_that_cannot_be_is_one_sentence(widget, qtbot, spin, tmp_path):
    qtbot.keyClick(widget.format, Qt.Key.Key_Down)
    qtbot.keyClicks(widget.name, "my scans")
    qtbot.mouseClick(widget.export_button, LEFT)
    spin()
    assert "only letters, digits" in widget.status.text()
    assert not (tmp_path / "nnUNet_raw").exists()


def test_only_the_chosen_states_are_exported(widget, qtbot, spin, tmp_path):
    widget.target.setText(str(tmp_path / "out"))
    qtbot.mouseClick(widget.export_button, LEFT)
    spin()
    assert [path.name for path in (tmp_path / "out" / "masks").iterdir()] == ["scan_0.png"]


def test_a_folder_with_other_files_is_refused(widget, qtbot, spin, tmp_path):
    widget.target.setText(str(tmp_path / "masks"))
    qtbot.mouseClick(widget.export_button, LEFT)
    spin()
    assert "not empty" in widget.status.text()
    assert not widget.folder_button.isEnabled()
    assert len(list((tmp_path / "masks").iterdir())) == 3


def test_nothing_chosen_nothing_to_do(widget):
    widget.states[ImageState.DONE].setChecked(False)
    assert not widget.export_button.isEnabled()
    assert not widget.check_button.isEnabled()


@pytest.mark.parametrize("name", ["one.png", "one.tif"])
def test_the_open_mask_is_saved(widget, workspace, qtbot, tmp_path, monkeypatch, name):
    from qtpy.QtWidgets import QFileDialog

    path = tmp_path / name
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    qtbot.mouseClick(widget.save_button, LEFT)
    saved = np.asarray(Image.open(path)) if path.suffix == ".png" else tifffile.imread(path)
    np.testing.assert_array_equal(saved, np.where(workspace.session.labels, 255, 0))
