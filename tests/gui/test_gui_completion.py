"""Completion models in the window: the box in Segment vessels, the row and the numbers in Vessel gaps."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from torch import nn

from napari_vessel.completion.gap import Effect, GapKind
from napari_vessel.gui.gap_table import VIG_COLUMN
from napari_vessel.gui.gap_words import effect_lines
from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.keys import is_typing
from napari_vessel.gui.segment import SegmentWidget
from napari_vessel.gui.workspace import Workspace
from napari_vessel.images.image import Modality
from napari_vessel.networks import build_network
from napari_vessel.review.records import ImageState
from napari_vessel.segmentation.registry import USER_FOLDER_VARIABLE
from napari_vessel.training.export import write_model

pytestmark = pytest.mark.gui

LEFT = Qt.MouseButton.LeftButton
NETWORK = {"in_channels": 1, "channels": [8, 8, 16], "blocks": 2}
TITLE = "Tiny completion"


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder with a completion model of random weights for X-ray angiograms, which the ridge filter begins."""
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(tmp_path / "models"))
    torch.manual_seed(0)
    network = build_network("vig", **NETWORK)
    nn.init.normal_(network.head[-1].weight, std=0.5)
    config = {
        "format": 1,
        "name": "tiny-vig",
        "title": TITLE,
        "kind": "completion",
        "version": "0.1",
        "modalities": ["xray"],
        "licence": "none",
        "network": {"name": "vig", **NETWORK},
        "working_scale": {"kind": "own"},
        "threshold": 0.5,
        "min_size": 0,
        "settings": {"segmenter": "ridge"},
    }
    write_model(network, tmp_path / "models" / "tiny-vig", config)
    return tmp_path / "models"


@pytest.fixture
def angiogram(drawn):
    """Makes four vessels, broken in the image too, as an X-ray angiogram by default, and their mask."""

    def make(number=0, modality=Modality.XRAY):
        image, mask = drawn
        # A trace is left of the vessels where they are broken: a gap with nothing to see in it is not shown.
        pixels = np.where(mask.labels[..., None] > 0, image.pixels, np.maximum(image.pixels, np.float32(0.64)))
        return replace(image, pixels=pixels, modality=modality, content_hash=str(number) * 64), mask

    return make


@pytest.fixture
def work(models, angiogram, workspace, tmp_path, spin):
    """A project with an X-ray angiogram that has no mask yet."""
    workspace.open_project(tmp_path / "work")
    workspace.add_image(angiogram()[0])
    spin()
    return workspace


@pytest.fixture
def reviewed(models, angiogram, workspace, tmp_path, spin):
    """A project with an X-ray angiogram whose mask, with its gaps, came from elsewhere."""
    workspace.open_project(tmp_path / "work")
    workspace.add_image(*angiogram())
    spin()
    assert len(workspace.session.open_gaps) >= 4
    return workspace


@pytest.fixture
def said(workspace):
    """Every sentence with its level."""
    heard = []
    workspace.message.connect(lambda text, level: heard.append((text, level)))
    return heard


def dock(workspace, name):
    _, made = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", name)
    QApplication.processEvents()
    return made


def segment_dock(workspace):
    made = dock(workspace, "Segment vessels")
    assert isinstance(made, SegmentWidget)
    made.model.setCurrentIndex(made.model.findData("ridge"))
    return made


def gaps_dock(workspace):
    made = dock(workspace, "Vessel gaps")
    assert isinstance(made, GapsWidget)
    return made


def tick(qtbot, box):
    point = box.rect().center()
    point.setX(8)
    qtbot.mouseClick(box, LEFT, pos=point)


def choose(qtbot, row, words):
    """Choose between none and the one model with the keyboard."""
    qtbot.keyClick(row.model, Qt.Key.Key_Up if words == "none" else Qt.Key.Key_Down)


def numbers(workspace):
    return [gap.completion for gap in workspace.session.open_gaps]


def cancel_at(workspace, widget, word, qtbot):
    """Press Cancel as soon as the progress names a step."""
    pressed = []

    def look(progress, text):
        if progress is not None and word in text and not pressed:
            pressed.append(text)
            qtbot.mouseClick(widget.job_bar.cancel_button, LEFT)

    workspace.busy.connect(look)
    return pressed


def test_the_box_is_off_at_first_and_says_what_it_does(work):
    box = segment_dock(work).completion
    assert box.isEnabled()
    assert not box.isChecked()
    assert TITLE in box.text()
    for words in (TITLE, "The mask stays", "twice the time"):
        assert words in box.toolTip()


def test_without_a_model_for_the_modality_nothing_is_offered(work, spin, models):
    widget, row = segment_dock(work), gaps_dock(work).completion
    work.project.set_modality(work.record.id, Modality.TWOPHOTON)
    work.open_image(work.record.id)
    spin()
    assert not widget.completion.isEnabled()
    assert not widget.completion.wanted
    assert "no model" in widget.completion.text()
    assert str(models) in widget.completion.toolTip()
    assert row.model.itemText(row.model.findData("tiny-vig")) == f"⚠ {TITLE}"
    assert row.model.currentText() == "none"


def test_run_with_the_box_ticked_completes_and_numbers_every_gap(work, qtbot, spin, said):
    widget, gaps = segment_dock(work), gaps_dock(work)
    assert gaps.table.isColumnHidden(VIG_COLUMN)
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(120)
    plain = work.session.labels.copy()
    assert numbers(work)
    assert set(numbers(work)) == {None}
    tick(qtbot, widget.completion)
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(120)
    np.testing.assert_array_equal(work.session.labels, plain)
    info = work.project.completion_info(work.record.id)
    assert (info["model"], info["used"]) == ("tiny-vig", True)
    assert work.project.completion(work.record.id).shape == work.record.shape
    assert numbers(work)
    assert all(0 <= number <= 1 for number in numbers(work))
    assert any("completions proposed by tiny-vig" in text for text, _ in said)
    assert gaps.completion.model.currentData() == "tiny-vig"
    assert not gaps.table.isColumnHidden(VIG_COLUMN)
    gap = work.review.gap
    shown = f"{gap.completion:.2f}".removeprefix("0")
    row = gaps.proxy.mapFromSource(gaps.model.index(gaps.model.row_of(gap.id), VIG_COLUMN))
    assert gaps.proxy.data(row) == shown
    assert f"ViG {shown}" in gaps.effect.text()


def test_the_box_is_remembered(work, qtbot):
    first = segment_dock(work)
    tick(qtbot, first.completion)
    assert first.completion.wanted
    assert SegmentWidget(work.viewer).completion.wanted
    tick(qtbot, first.completion)
    assert not SegmentWidget(work.viewer).completion.wanted


def test_cancel_while_completing_leaves_everything_as_it_was(work, angiogram, qtbot, spin, said):
    image, _ = angiogram(1)
    # Of several tiles, so that there is something left to cancel when the first is told.
    work.add_image(replace(image, pixels=np.tile(image.pixels, (10, 10, 1))))
    spin()
    widget = segment_dock(work)
    tick(qtbot, widget.completion)
    pressed = cancel_at(work, widget, "Completing", qtbot)
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(240)
    assert pressed, "the completion was never shown"
    assert "%" in pressed[0]
    assert any("cancelled" in text for text, _ in said)
    image_id = work.record.id
    assert work.project.probability(image_id) is None
    assert work.project.completion(image_id) is None
    assert work.project.record(image_id).state is ImageState.NEW
    assert not work.session.labels.any()
    assert widget.run_button.isEnabled()


def test_all_new_images_are_completed_where_there_is_a_model(work, angiogram, qtbot, spin):
    first = work.record.id
    work.add_image(angiogram(1)[0])
    spin()
    second = next(record.id for record in work.images() if record.id != first)
    work.add_image(angiogram(2, Modality.TWOPHOTON)[0])
    spin()
    widget = segment_dock(work)
    assert not widget.completion.isEnabled(), "the open image is a two-photon one"
    widget.scope.setCurrentIndex(widget.scope.findData("new"))
    assert "no such model for: Two-photon" in widget.completion.toolTip()
    tick(qtbot, widget.completion)
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(240)
    states = {record.id: record.state for record in work.images()}
    assert set(states.values()) == {ImageState.SEGMENTED}
    made = {image_id: work.project.completion(image_id) is not None for image_id in states}
    assert [image_id for image_id, there in made.items() if there] == [first, second]
    other = work.project.open_session(second, remember=False)
    assert other.gaps
    assert all(gap.completion is not None for gap in other.gaps)


def test_segmenting_anew_without_the_box_forgets_the_map(work, qtbot, spin):
    widget, gaps = segment_dock(work), gaps_dock(work)
    tick(qtbot, widget.completion)
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(120)
    assert work.project.completion(work.record.id) is not None
    tick(qtbot, widget.completion)
    qtbot.mouseClick(widget.run_button, LEFT)
    spin(120)
    assert work.project.completion(work.record.id) is None
    assert gaps.completion.model.currentText() == "none"
    assert numbers(work)
    assert set(numbers(work)) == {None}
    assert gaps.table.isColumnHidden(VIG_COLUMN)


def test_choosing_a_model_completes_and_none_brings_the_proposals_back(reviewed, qtbot, spin):
    widget = gaps_dock(reviewed)
    row, image_id = widget.completion, reviewed.record.id
    before = [(gap.id, gap.score) for gap in reviewed.session.open_gaps]
    choose(qtbot, row, TITLE)
    spin(120)
    assert row.model.currentText() == TITLE
    assert reviewed.project.completion_info(image_id)["model"] == "tiny-vig"
    assert reviewed.project.probability(image_id) is None, "the mask from elsewhere keeps its origin"
    assert reviewed.record.model == ""
    assert all(number is not None for number in numbers(reviewed))
    made = list((reviewed.project.folder / "completion").iterdir())
    assert len(made) == 1
    choose(qtbot, row, "none")
    spin(120)
    assert [(gap.id, gap.score) for gap in reviewed.session.open_gaps] == before
    assert set(numbers(reviewed)) == {None}
    choose(qtbot, row, TITLE)
    spin(120)
    assert all(number is not None for number in numbers(reviewed))
    assert list((reviewed.project.folder / "completion").iterdir()) == made, "a map that is there is not made again"


def test_the_keys_mean_the_review_after_a_choice(shown_workspace, models, angiogram, tmp_path, qtbot, spin):
    workspace = shown_workspace
    workspace.open_project(tmp_path / "work")
    workspace.add_image(*angiogram())
    spin()
    widget = gaps_dock(workspace)
    widget.window().activateWindow()
    choose(qtbot, widget.completion, TITLE)
    spin(120)
    selected = workspace.review.selected
    focus = QApplication.focusWidget() or widget.table
    assert not is_typing(focus)
    qtbot.keyClick(focus, Qt.Key.Key_R)
    assert workspace.session.state_of(selected) == "rejected"


def test_cancel_in_the_gaps_dock_goes_back_to_none(reviewed, qtbot, spin, said):
    widget = gaps_dock(reviewed)
    before = [gap.id for gap in reviewed.session.gaps]
    pressed = cancel_at(reviewed, widget, "Completing breaks", qtbot)
    choose(qtbot, widget.completion, TITLE)
    spin(120)
    assert pressed
    assert any(text == "Completing breaks: cancelled; nothing was changed." for text, _ in said)
    assert widget.completion.model.currentText() == "none"
    assert reviewed.project.completion_info(reviewed.record.id) == {}
    assert [gap.id for gap in reviewed.session.gaps] == before
    assert set(numbers(reviewed)) == {None}


def test_a_project_opened_again_has_the_map_and_the_numbers(reviewed, qtbot, spin, make_napari_viewer):
    choose(qtbot, gaps_dock(reviewed).completion, TITLE)
    spin(120)
    folder, found = reviewed.project.folder, {gap.id: gap.completion for gap in reviewed.session.gaps}
    reviewed.close()
    again = Workspace.of(make_napari_viewer())
    again.open_project(folder)
    spin()
    assert again.project.completion(again.record.id) is not None
    assert {gap.id: gap.completion for gap in again.session.gaps} == pytest.approx(found, abs=1e-6)
    widget = gaps_dock(again)
    assert widget.completion.model.currentText() == TITLE
    assert not widget.table.isColumnHidden(VIG_COLUMN)
    again.close()


def test_a_model_that_has_gone_is_one_sentence(reviewed, qtbot, spin, said, models):
    widget = gaps_dock(reviewed)
    shutil.rmtree(models / "tiny-vig")
    choose(qtbot, widget.completion, TITLE)
    spin(120)
    errors = [text for text, level in said if level == "error"]
    assert len(errors) == 1
    assert "tiny-vig" in errors[0]
    assert widget.completion.model.currentText() == "none"
    assert not reviewed.completing.info


def test_a_map_whose_model_has_gone_is_still_used(reviewed, qtbot, spin, models):
    widget = gaps_dock(reviewed)
    choose(qtbot, widget.completion, TITLE)
    spin(120)
    shutil.rmtree(models / "tiny-vig")
    widget.completion.refresh()
    assert widget.completion.model.currentText() == "tiny-vig (not installed)"
    qtbot.mouseClick(widget.find_button, LEFT)
    spin()
    assert all(number is not None for number in numbers(reviewed))


def test_the_map_is_a_view_hidden_until_asked_for(reviewed, qtbot, spin):
    widget = gaps_dock(reviewed)
    assert not widget.completion.show_map.isEnabled()
    choose(qtbot, widget.completion, TITLE)
    spin(120)
    assert "Completion map" not in reviewed.viewer.layers
    tick(qtbot, widget.completion.show_map)
    spin()
    layer = reviewed.viewer.layers["Completion map"]
    assert layer.visible
    np.testing.assert_array_equal(layer.data, reviewed.project.completion(reviewed.record.id))
    tick(qtbot, widget.completion.show_map)
    assert not layer.visible
    tick(qtbot, widget.completion.show_map)
    choose(qtbot, widget.completion, "none")
    spin(120)
    assert "Completion map" not in reviewed.viewer.layers
    assert not widget.completion.show_map.isChecked()


def test_a_proposal_of_the_model_alone_says_so_in_words(reviewed, qtbot):
    widget = gaps_dock(reviewed)
    first, *others = reviewed.session.gaps
    drawn = replace(first, kind=GapKind.VIG, completion=0.934)
    reviewed.session.set_gaps([drawn, *(replace(gap, completion=0.2) for gap in others)])
    reviewed.select_gap(drawn.id)
    at = widget.model.row_of(drawn.id)
    cells = [widget.model.data(widget.model.index(at, column)) for column in range(widget.model.columnCount())]
    assert cells[VIG_COLUMN] == ".93"
    assert cells[-1] == "ViG alone"
    assert widget.effect.text().endswith("ViG alone .93")
    tooltip = widget.model.data(widget.model.index(at, 0), int(Qt.ItemDataRole.ToolTipRole))
    assert "gap drawn by the ViG" in tooltip
    for number in (9, 999):
        effect = Effect(number, number, 88.0, 0.0, 1)
        label = widget.effect
        label.set_wordings(effect_lines(replace(drawn, effect=effect)))
        assert label.fontMetrics().horizontalAdvance(label.text()) <= label.width()
        assert f"{number} → {number}" in label.text()
        assert label.text().endswith("closes a loop · ViG alone .93")
    bridge = widget.model.row_of(others[0].id)
    assert widget.model.data(widget.model.index(bridge, widget.model.columnCount() - 1)) != "ViG alone"


def test_a_completion_is_not_begun_while_the_image_is_segmented(work, qtbot, spin, said):
    widget, row = segment_dock(work), gaps_dock(work).completion
    qtbot.mouseClick(widget.run_button, LEFT)
    choose(qtbot, row, TITLE)
    spin(120)
    assert any("being segmented" in text for text, _ in said)
    assert row.model.currentText() == "none"
    assert work.completing.info == {}
