"""The Vessel project widget in a real viewer, driven by clicks, keys and drops."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_vessel.gui.project import ProjectWidget
from napari_vessel.jobs import run_job
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageState
from napari_vessel.synthesis.samples import make_sample

pytestmark = pytest.mark.gui

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with image_1, image_2 and image_10, and one with their masks."""
    sample = make_sample("octa")
    pixels = np.round(sample.image.pixels * 255).astype(np.uint8)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "masks").mkdir()
    for number in (1, 2, 10):
        shifted = np.roll(pixels, number, axis=0)
        Image.fromarray(shifted).save(tmp_path / "pictures" / f"image_{number}.png")
        mask = np.roll(sample.broken, number, axis=0)
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "masks" / f"image_{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def widget(workspace, qtbot):
    _, made = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Vessel project")
    assert isinstance(made, ProjectWidget)
    return made


def cells(widget, column):
    proxy = widget.proxy
    return [proxy.index(row, column).data() for row in range(proxy.rowCount())]


def names(widget):
    return [text.removeprefix("▸ ") for text in cells(widget, 1)]


def open_with_images(widget, spin, pictures, masks=True):
    widget.open_folder(pictures.parent / "work")
    if masks:
        widget.set_masks(pictures.parent / "masks")
    widget.add_paths([pictures])
    spin()


def drop(widget, *paths):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    event = QDropEvent(
        QPointF(5, 5) if hasattr(QDropEvent, "position") else QPointF(5, 5).toPoint(),
        Qt.DropAction.CopyAction,
        data,
        LEFT,
        Qt.KeyboardModifier.NoModifier,
    )
    widget.dropEvent(event)


def test_empty_state_says_what_to_do(widget, tmp_path):
    assert widget.stack.currentWidget() is widget.empty
    assert "Drop images" in widget.empty.text()
    assert not widget.next_button.isEnabled()
    assert not widget.done_button.isEnabled()
    widget.open_folder(tmp_path / "work")
    assert "empty" in widget.empty.text()
    assert str(tmp_path / "work") in widget.place.text()


def test_added_images_appear_and_the_first_opens(widget, workspace, spin, pictures):
    open_with_images(widget, spin, pictures)
    assert names(widget) == ["image_1", "image_2", "image_10"]
    assert cells(widget, 0) == ["◔"] * 3
    assert cells(widget, 1)[0] == "▸ image_1"
    assert workspace.record.name == "image_1"
    assert widget.summary.text() == "3 images: 3 segmented"
    assert not widget.back_button.isEnabled()
    assert int(cells(widget, 2)[0]) == len(workspace.session.open_gaps) > 0


def test_images_without_masks_are_new(widget, spin, pictures):
    open_with_images(widget, spin, pictures, masks=False)
    assert cells(widget, 0) == ["○"] * 3
    assert cells(widget, 2) == ["–"] * 3


def test_an_open_image_that_is_given_a_mask_shows_it(widget, workspace, spin, pictures):
    open_with_images(widget, spin, pictures, masks=False)
    before = workspace.session
    assert not before.labels.any()
    widget.set_masks(pictures.parent / "masks")
    widget.add_paths([pictures])
    spin()
    assert workspace.session is not before
    assert np.array_equal(workspace.session.labels, workspace.project.read_mask(workspace.record.id).labels)
    assert workspace.session.labels.any()
    assert workspace.scene.mask_layer.data.any()
    # What is painted now is kept.
    workspace.session.stroke(np.ones((5, 5), np.uint8), (0, 0))
    assert workspace.project.read_mask(workspace.record.id).labels[:5, :5].all()


def test_an_open_image_whose_edits_were_taken_back_keeps_them(widget, workspace, spin, pictures):
    open_with_images(widget, spin, pictures, masks=False)
    workspace.session.stroke(np.ones((5, 5), np.uint8), (0, 0))
    workspace.undo()
    session = workspace.session
    widget.set_masks(pictures.parent / "masks")
    widget.add_paths([pictures])
    spin()
    assert workspace.session is session
    workspace.redo()
    assert workspace.project.read_mask(workspace.record.id).labels.sum() == 25


def test_sorting_goes_by_meaning(widget, spin, pictures):
    open_with_images(widget, spin, pictures)
    widget.table.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    assert names(widget) == ["image_10", "image_2", "image_1"]
    widget.table.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert names(widget) == ["image_1", "image_2", "image_10"]


def test_filter_by_text_and_state(widget, workspace, spin, qtbot, pictures):
    open_with_images(widget, spin, pictures)
    qtbot.keyClicks(widget.filter_text, "image_1")
    assert names(widget) == ["image_1", "image_10"]
    assert "2 shown" in widget.summary.text()
    widget.filter_text.clear()
    widget.filter_state.setCurrentIndex(widget.filter_state.findData("done"))
    assert names(widget) == []
    workspace.set_state(ImageState.DONE)
    assert names(widget) == ["image_1"]
    widget.filter_state.setCurrentIndex(0)
    widget.filter_state.setFocus()
    qtbot.keyClick(widget.filter_state, Qt.Key.Key_Down)
    assert widget.filter_state.currentIndex() == 1
    assert widget.window().focusWidget() is widget.table, "letters are keys of the review again"


def test_next_and_back_follow_the_table(widget, workspace, spin, qtbot, pictures):
    open_with_images(widget, spin, pictures)
    widget.table.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    assert not widget.next_button.isEnabled()
    qtbot.mouseClick(widget.back_button, LEFT)
    spin()
    assert workspace.record.name == "image_2"
    qtbot.mouseClick(widget.next_button, LEFT)
    spin()
    assert workspace.record.name == "image_1"
    # The keys go where the buttons go.
    workspace.next_image(-1)
    spin()
    assert workspace.record.name == "image_2"


@pytest.mark.parametrize("how", ["enter", "double-click"])
def test_a_row_opens(widget, workspace, spin, qtbot, pictures, how):
    open_with_images(widget, spin, pictures)
    index = widget.proxy.index(2, 1)
    if how == "enter":
        widget.table.setCurrentIndex(index)
        qtbot.keyClick(widget.table, Qt.Key.Key_Return)
    else:
        place = widget.table.visualRect(index).center()
        qtbot.mouseClick(widget.table.viewport(), LEFT, pos=place)
        qtbot.mouseDClick(widget.table.viewport(), LEFT, pos=place)
    spin()
    assert workspace.record.name == "image_10"
    assert cells(widget, 1)[2] == "▸ image_10"


def test_done_and_reopen(widget, workspace, spin, qtbot, pictures):
    open_with_images(widget, spin, pictures)
    first = workspace.record.id
    qtbot.mouseClick(widget.done_button, LEFT)
    spin()
    assert workspace.record.name == "image_2"
    assert cells(widget, 0)[0] == "●"
    workspace.open_image(first)
    spin()
    assert widget.done_button.text() == "Take &up again"
    qtbot.mouseClick(widget.done_button, LEFT)
    spin()
    assert cells(widget, 0)[0] == "◑"
    assert workspace.record.id == first


def test_flags_and_comment_are_kept(widget, workspace, spin, qtbot, pictures):
    open_with_images(widget, spin, pictures)
    image_id = workspace.record.id
    qtbot.mouseClick(widget.remarks.ungradable, LEFT)
    qtbot.keyClicks(widget.remarks.comment, "blurred")
    qtbot.keyClick(widget.remarks.comment, Qt.Key.Key_Return)
    record = workspace.project.record(image_id)
    assert record.flags == {"ungradable"}
    assert record.comment == "blurred"
    assert names(widget)[0] == "image_1 ⚠"
    qtbot.keyClicks(widget.filter_text, "blurred")
    assert names(widget) == ["image_1 ⚠"]
    widget.filter_text.clear()
    workspace.next_image()
    spin()
    assert not widget.remarks.ungradable.isChecked()
    assert widget.remarks.comment.text() == ""


def test_dropped_images_and_projects(widget, workspace, spin, pictures):
    widget.open_folder(pictures.parent / "work")
    drop(widget, pictures / "image_2.png", pictures / "image_1.png")
    spin()
    assert sorted(names(widget)) == ["image_1", "image_2"]
    widget.open_folder(pictures.parent / "other")
    assert names(widget) == []
    drop(widget, pictures.parent / "work")
    spin()
    assert sorted(names(widget)) == ["image_1", "image_2"]
    assert workspace.project.folder == (pictures.parent / "work").resolve()


def test_dropped_images_make_a_project_when_none_is_open(widget, workspace, spin, pictures):
    drop(widget, pictures)
    spin()
    assert len(names(widget)) == 3
    assert str(workspace.project.folder) in widget.place.text()


def test_viewer_layers_are_taken(widget, workspace, spin, qtbot, tmp_path):
    widget.open_folder(tmp_path / "work")
    sample = make_sample("octa")
    image = workspace.viewer.add_image(sample.image.pixels, name="scan")
    mask = workspace.viewer.add_labels(sample.broken.astype(np.uint8), name="old mask")
    workspace.viewer.layers.selection.active = image
    qtbot.mouseClick(widget.take_button, LEFT)
    spin()
    assert len(workspace.images()) == 1
    np.testing.assert_array_equal(workspace.image.pixels, sample.image.pixels)
    assert not workspace.session.labels.any()
    workspace.viewer.layers.selection.active = mask
    qtbot.mouseClick(widget.take_button, LEFT)
    spin()
    np.testing.assert_array_equal(workspace.session.labels > 0, sample.broken)


def test_taking_nothing_says_what_to_do(widget, workspace, qtbot):
    said = []
    workspace.message.connect(lambda text, level: said.append((text, level)))
    qtbot.mouseClick(widget.take_button, LEFT)
    assert len(said) == 1
    assert said[0][1] == "error"
    assert "Select" in said[0][0]
    assert said[0][0] in widget.status.text()


def test_the_first_image_of_a_project_made_elsewhere_opens(widget, workspace, spin, tmp_path):
    with Project.create(tmp_path / "made") as project:
        records = [run_job(project.add([make_sample("octa", seed).image]))[0] for seed in range(2)]
    widget.open_existing(tmp_path / "made")
    spin()
    assert workspace.record is not None
    assert workspace.record.id == records[0].id


def test_a_folder_that_is_no_project_is_refused(widget, workspace, tmp_path):
    widget.open_existing(tmp_path)
    assert workspace.project is None
    assert "no vessel project" in widget.status.text()
    assert not (tmp_path / "project.sqlite").exists()


def test_recent_projects_are_offered(widget, workspace, tmp_path):
    widget.open_folder(tmp_path / "first")
    widget.open_folder(tmp_path / "second")
    widget.recent_menu.aboutToShow.emit()
    actions = widget.recent_menu.actions()
    assert [action.text().split()[0] for action in actions] == ["second", "first"]
    actions[1].trigger()
    assert workspace.project.folder == (tmp_path / "first").resolve()


def test_closing_the_widget_leaves_the_workspace_alone(widget, workspace, spin, pictures, qtbot):
    open_with_images(widget, spin, pictures)
    workspace.viewer.window.remove_dock_widget(widget)
    workspace.next_image()
    spin()
    assert workspace.record.name == "image_2"
