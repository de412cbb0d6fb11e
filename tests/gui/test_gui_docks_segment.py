"""The Segment vessels widget in a real viewer: run, cancel, preview, apply."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QTextBrowser

from napari_vessel.gui.segment import SegmentWidget
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.jobs import Progress
from napari_vessel.review.edits import Verdict
from napari_vessel.review.records import ImageState
from napari_vessel.segmentation.binarise import binarise
from napari_vessel.segmentation.registry import list_models, model_info
from napari_vessel.synthesis.samples import make_sample

pytestmark = pytest.mark.gui

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def said(workspace):
    """Every sentence with its level."""
    heard = []
    workspace.message.connect(lambda text, level: heard.append((text, level)))
    return heard


@pytest.fixture
def widget(workspace, spin, tmp_path):
    _, made = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Segment vessels")
    assert isinstance(made, SegmentWidget)
    workspace.open_project(tmp_path / "work")
    workspace.add_image(make_sample("octa").image)
    spin()
    assert workspace.record.state is ImageState.NEW
    return made


def choose(combo, value):
    row = combo.findData(value)
    assert row >= 0, f"{value} is not offered"
    combo.setCurrentIndex(row)
    combo.activated.emit(row)


def run(widget, qtbot, spin, model="ridge"):
    choose(widget.model, model)
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(120)


def test_without_an_image_there_is_nothing_to_run(workspace):
    _, widget = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Segment vessels")
    assert not widget.run_button.isEnabled()
    assert not widget.apply_button.isEnabled()
    assert not widget.job_bar.cancel_button.isEnabled()
    assert "open or add an image" in widget.run_button.toolTip()


def test_run_segments_and_says_what_was_used(widget, workspace, qtbot, spin):
    run(widget, qtbot, spin)
    info = workspace.project.segmentation_info(workspace.record.id)
    assert info["model"] == "ridge"
    assert info["threshold"] == pytest.approx(model_info("ridge").threshold)
    truth, mask = make_sample("octa").truth.mask, workspace.session.labels > 0
    assert 2 * (truth & mask).sum() / (truth.sum() + mask.sum()) > 0.5
    for word in ("ridge", "cpu", "grey channel", "working scale", " s."):
        assert word in widget.used.text()
    assert workspace.record.state is ImageState.SEGMENTED
    assert widget.run_button.isEnabled()
    workspace.undo()
    assert not workspace.session.labels.any()


def test_a_fundus_photograph_gets_the_shipped_network(workspace, qtbot, spin, tmp_path):
    _, widget = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Segment vessels")
    sample = make_sample("fundus")
    workspace.open_project(tmp_path / "work")
    workspace.add_image(sample.image)
    spin()
    assert widget.model.currentData() == "fundus-small"
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(300)
    assert workspace.project.segmentation_info(workspace.record.id)["model"] == "fundus-small"
    truth, mask = sample.truth.mask, workspace.session.labels > 0
    assert 2 * (truth & mask).sum() / (truth.sum() + mask.sum()) > 0.5
    assert "fundus-small" in widget.used.text()
    assert len(workspace.session.open_gaps) > 0


def test_cancel_leaves_everything_as_it_was(workspace, qtbot, spin, tmp_path, said):
    _, widget = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Segment vessels")
    rng = np.random.default_rng(0)
    large = VesselImage(rng.random((2400, 2400), np.float32), modality=Modality.XRAY, content_hash="7" * 64)
    workspace.open_project(tmp_path / "work")
    workspace.add_image(large)
    spin()
    choose(widget.model, "ridge")
    qtbot.mouseClick(widget.run_button, LEFT)
    assert not widget.run_button.isEnabled()
    assert widget.job_bar.cancel_button.isEnabled()
    qtbot.mouseClick(widget.job_bar.cancel_button, LEFT)
    spin(120)
    assert any("cancelled" in text for text, _ in said)
    assert workspace.project.probability(workspace.record.id) is None
    assert workspace.project.record(workspace.record.id).state is ImageState.NEW
    assert not workspace.session.labels.any()
    assert not workspace.session.can_undo
    assert widget.run_button.isEnabled()
    assert not widget.job_bar.cancel_button.isEnabled()


def test_threshold_preview_changes_nothing_until_applied(widget, workspace, qtbot, spin):
    run(widget, qtbot, spin)
    before = workspace.session.labels.copy()
    undo_before = workspace.session.undo_text
    widget.min_size.setValue(0)
    widget.slider.setValue(900)
    assert widget.threshold.value() == pytest.approx(0.9)
    qtbot.waitUntil(lambda: "Threshold preview" in workspace.viewer.layers, timeout=5000)
    spin()
    expected = binarise(workspace.project.probability(workspace.record.id), 0.9, 0, workspace.image.fov)
    assert (expected != (before > 0)).any()
    shown = workspace.viewer.layers["Threshold preview"]
    np.testing.assert_array_equal(np.asarray(shown.data) > 0, expected)
    np.testing.assert_array_equal(workspace.session.labels, before)
    assert workspace.session.undo_text == undo_before
    qtbot.mouseClick(widget.apply_button, LEFT)
    spin()
    np.testing.assert_array_equal(workspace.session.labels > 0, expected)
    assert "Threshold preview" not in workspace.viewer.layers
    workspace.undo()
    np.testing.assert_array_equal(workspace.session.labels, before)


def test_reset_takes_the_preview_away(widget, workspace, qtbot, spin):
    run(widget, qtbot, spin)
    threshold = widget.threshold.value()
    widget.threshold.setValue(0.95)
    assert widget.slider.value() == 950
    qtbot.waitUntil(lambda: "Threshold preview" in workspace.viewer.layers, timeout=5000)
    qtbot.mouseClick(widget.reset_button, LEFT)
    assert "Threshold preview" not in workspace.viewer.layers
    assert widget.threshold.value() == pytest.approx(threshold, abs=1e-3)


def test_typed_threshold_is_used_by_run(widget, workspace, qtbot, spin):
    choose(widget.model, "ridge")
    widget.threshold.setFocus()
    widget.threshold.selectAll()
    qtbot.keyClicks(widget.threshold, "0.8")
    qtbot.keyClick(widget.threshold, Qt.Key.Key_Return)
    widget.min_size.setValue(7)
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(120)
    info = workspace.project.segmentation_info(workspace.record.id)
    assert info["threshold"] == pytest.approx(0.8)
    assert info["min_size"] == 7


def test_the_models_smallest_piece_is_converted_whatever_the_threshold(widget, workspace, qtbot, spin):
    """It is in pixels of the model's working scale; of an image much larger it would leave specks."""
    choose(widget.model, "ridge")
    widget.threshold.setValue(0.6)
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(120)
    info = workspace.project.segmentation_info(workspace.record.id)
    own = model_info("ridge").min_size
    assert info["threshold"] == pytest.approx(0.6)
    assert info["min_size"] == round(own / info["settings"]["scale"] ** 2) != own


def test_what_the_open_image_was_segmented_with_is_not_taken_for_new_ones(widget, workspace, qtbot, spin, monkeypatch):
    info = {"model": "ridge", "threshold": 0.3, "min_size": 28}
    workspace.project.store_probability(workspace.record.id, np.zeros(workspace.record.shape, np.float32), info)
    workspace.open_image(workspace.record.id)
    spin()
    assert (widget.threshold.value(), widget.min_size.value()) == (0.3, 28)
    asked = []
    monkeypatch.setattr(workspace, "segment", lambda *_, threshold, min_size, **__: asked.append((threshold, min_size)))
    for scope, moved in (("this", None), ("new", None), ("new", 9)):
        choose(widget.scope, scope)
        if moved is not None:
            widget.min_size.setValue(moved)
        qtbot.mouseClick(widget.run_button, LEFT)
    # The model's own for new ones: it converts its smallest piece to the scale of each.
    assert asked == [(0.3, 28), (None, None), (None, 9)]


def test_all_new_images_are_segmented(widget, workspace, qtbot, spin):
    first = workspace.record.id
    workspace.add_image(make_sample("octa", seed=1).image)
    spin()
    choose(widget.model, "ridge")
    choose(widget.scope, "new")
    assert widget.scope.currentText() == "all new images (2)"
    choose(widget.model, "fundus-small")
    assert widget.scope.currentText() == "all new images (2, 2 not for this model)"
    choose(widget.model, "ridge")
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(120)
    assert {record.state for record in workspace.images()} == {ImageState.SEGMENTED}
    assert workspace.project.read_mask(first).labels.any()
    assert workspace.session.labels.any()
    assert widget.scope.currentData() == "this", "nothing is new any more"
    assert widget.run_button.isEnabled()


def test_after_something_was_chosen_letters_are_keys_again(widget, qtbot, spin):
    for combo in (widget.model, widget.device, widget.fov, widget.scope):
        if combo.count() < 2:
            combo.addItem("another", combo.currentData())
        combo.setCurrentIndex(0)
        combo.setFocus()
        qtbot.keyClick(combo, Qt.Key.Key_Down)
        spin()
        assert widget.window().focusWidget() is widget.run_button


def test_images_in_which_nothing_is_found_are_segmented_too(workspace, spin):
    for shade in (0.4, 0.6):
        workspace.add_image(VesselImage(np.full((60, 70), shade, np.float32), content_hash=f"{shade}"))
        spin()
    workspace.segment([record.id for record in workspace.images()], model="ridge")
    spin()
    assert not workspace.session.labels.any()
    assert [record.state for record in workspace.images()] == [ImageState.SEGMENTED] * 2
    assert workspace.record.state is ImageState.SEGMENTED


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_an_error(widget, workspace, qtbot, spin, said, device):
    from napari_vessel.segmentation.devices import available_devices

    if device in available_devices():
        pytest.skip(f"this machine has {device}")
    choose(widget.device, device)
    run(widget, qtbot, spin)
    errors = [text for text, level in said if level == "error"]
    assert len(errors) == 1
    assert f"'{device}' is not available" in errors[0]
    assert not workspace.session.labels.any()
    assert device in widget.status.text()


def test_devices_are_looked_up_when_the_list_is_opened(widget, qtbot, spin):
    from napari_vessel.segmentation.devices import available_devices

    widget.device.showPopup()
    spin()
    widget.device.hidePopup()
    for device in ("cuda", "mps"):
        words = widget.device.itemText(widget.device.findData(device))
        assert ("not on this machine" in words) == (device not in available_devices())


def test_modality_is_stored_and_puts_its_models_first(widget, workspace, spin):
    guessed = workspace.record.modality
    assert widget.modality.currentData() == guessed.value
    for modality in (Modality.XRAY, Modality.FUNDUS):
        choose(widget.modality, modality.value)
        spin()
        assert workspace.project.record(workspace.record.id).modality is modality
        assert workspace.image.modality is modality
        offered = [widget.model.itemData(row) for row in range(widget.model.count())]
        fits = [modality in model_info(name).modalities for name in offered if name is not None]
        assert fits == sorted(fits, reverse=True)
        assert fits[0]
        assert sorted(name for name in offered if name is not None) == sorted(info.name for info in list_models())


def test_field_of_view_is_stored_and_used(widget, workspace, spin, said, tmp_path):
    inside = np.zeros(workspace.record.shape, np.uint8)
    inside[50:-50, 50:-50] = 255
    Image.fromarray(inside).save(tmp_path / "fov.png")
    widget.set_fov(str(tmp_path / "fov.png"))
    spin()
    np.testing.assert_array_equal(workspace.image.fov, inside > 0)
    assert widget.fov.currentText() == "fov.png"
    choose(widget.fov, "none")
    spin()
    assert workspace.image.fov is None
    assert workspace.record.fov == "none"


def test_a_field_of_view_that_the_project_keeps_is_not_told_by_its_files_name(widget, workspace, spin):
    image = make_sample("octa").image
    workspace.add_image(replace(image, content_hash="9" * 64, fov=np.ones(image.pixels.shape[:2], np.bool_)))
    spin()
    assert widget.fov.currentText() == "came with the image"


def test_card_is_one_click_away(widget, qtbot):
    choose(widget.model, "ridge")
    qtbot.mouseClick(widget.card_button, LEFT)
    dialog = widget.findChild(QDialog, "model card")
    text = dialog.findChild(QTextBrowser).toPlainText()
    info = model_info("ridge")
    assert info.title in text
    assert info.licence in text
    assert "Beside the others" in text
    assert "fundus-small" in text
    dialog.close()


def test_verdicts_and_progress_read_no_rows_of_other_images(review, monkeypatch):
    review.viewer.window.add_plugin_dock_widget("napari-vessel", "Segment vessels")
    review.decide(Verdict.ACCEPTED)
    read = []
    images = review.project.images
    monkeypatch.setattr(review.project, "images", lambda: read.append(1) or images())
    review.decide(Verdict.ACCEPTED)
    review.busy.emit(Progress(1, 2), "Exporting")
    review.busy.emit(None, "")
    assert not read
