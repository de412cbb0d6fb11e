"""What an annotator prefers: a page of napari's own preferences, followed by the widgets, kept from start to start."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

import napari.settings
import numpy as np
import pytest
from napari._qt.dialogs.preferences_dialog import PreferencesDialog
from npe2 import PluginManifest
from qtpy.QtWidgets import QCheckBox, QListWidget, QStackedWidget

from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.preferences import DEFAULTS, prefer, preferred, watch
from napari_vessel.gui.segment import SegmentWidget
from napari_vessel.gui.theme import MASK_COLOURS
from napari_vessel.gui.workspace import Workspace
from napari_vessel.images.image import MaskClass
from napari_vessel.review.edits import Verdict

pytestmark = pytest.mark.gui

MANIFEST = Path(__file__).parents[2] / "napari_vessel" / "napari.yaml"
NAPARI_KEEPS_THEM = hasattr(napari.settings, "get_plugin_settings")
needs_the_page = pytest.mark.skipif(not NAPARI_KEEPS_THEM, reason="napari has no preferences of plugins before 0.9")


def forget() -> None:
    """Read everything anew, as the next start does."""
    getattr(napari.settings, "_PLUGIN_SETTINGS", {}).clear()


@pytest.fixture(params=["napari's file", "a file of ours"])
def _kept_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "a file of ours":
        monkeypatch.delattr("napari.settings.get_plugin_settings", raising=False)
    elif not NAPARI_KEEPS_THEM:
        pytest.skip("napari has no preferences of plugins before 0.9")


@needs_the_page
def test_the_manifest_says_what_the_module_says() -> None:
    groups = PluginManifest.from_file(MANIFEST).contributions.configurations
    found = {key: {name: one.default for name, one in group.properties.items()} for key, group in groups.items()}
    assert found == DEFAULTS
    assert groups["review"].properties["mask_colour"].enum == list(MASK_COLOURS)
    for group in groups.values():
        assert all(one.title and one.description for one in group.properties.values())


@pytest.mark.usefixtures("_kept_in")
def test_preferences_outlive_a_restart() -> None:
    assert preferred("device") == "auto"
    prefer("device", "cpu")
    prefer("mask_opacity", 0.25)
    forget()
    assert preferred("device") == "cpu"
    assert preferred("mask_opacity") == pytest.approx(0.25)
    assert preferred("advance") is True


@pytest.mark.parametrize("text", ["{broken", '{"advance": "perhaps", "device": 7}', "[]"])
def test_a_damaged_file_of_ours_gives_the_defaults(text, monkeypatch) -> None:
    monkeypatch.delattr("napari.settings.get_plugin_settings", raising=False)
    from napari_vessel.gui.preferences import _file

    _file().parent.mkdir(parents=True)
    _file().write_text(text)
    assert (preferred("advance"), preferred("device")) == (True, "auto")


@needs_the_page
def test_who_watches_is_told_until_nobody_holds_it() -> None:
    class Watcher:
        told = 0

        def tell(self) -> None:
            self.told += 1

    watcher = Watcher()
    watch("device", watcher.tell)
    prefer("device", "cpu")
    prefer("device", "cpu")
    assert watcher.told == 1
    assert sys.getrefcount(watcher) == 2


@needs_the_page
def test_the_page_in_naparis_dialog_changes_the_canvas(review: Workspace, qtbot) -> None:
    dialog = PreferencesDialog()
    qtbot.addWidget(dialog)
    pages = dialog.findChild(QListWidget)
    names = [pages.item(row).text() for row in range(pages.count())]
    pages.setCurrentRow(names.index("Vessels"))
    page = dialog.findChild(QStackedWidget).currentWidget()
    words = [label.text() for label in page.findChildren(QCheckBox)]
    boxes = page.findChildren(QCheckBox)
    assert len(boxes) == sum(isinstance(value, bool) for group in DEFAULTS.values() for value in group.values()), words
    assert not review.scene.contour
    for box in boxes:
        box.click()
    assert review.scene.contour == 1
    assert preferred("complete") is True
    assert preferred("advance") is False
    dialog.reject()
    assert review.scene.contour == 0, "Cancel takes it back"


@needs_the_page
def test_the_mask_follows_opacity_outline_and_colour(review: Workspace) -> None:
    layer = review.scene.mask_layer
    prefer("mask_opacity", 0.3)
    prefer("mask_outline", True)
    prefer("mask_colour", "orange")
    assert layer.opacity == pytest.approx(0.3)
    assert layer.contour == 1
    assert np.allclose(layer.colormap.map(1)[:3], np.array([0xE6, 0x9F, 0]) / 255, atol=0.01)


def test_arteries_and_veins_keep_their_colours(workspace: Workspace) -> None:
    from napari_vessel.gui.theme import class_colours

    classes = (MaskClass(1, 1, "artery"), MaskClass(2, 2, "vein"))
    assert class_colours(classes, "grey") == class_colours(classes)


def test_slider_and_box_under_the_list_are_remembered(review: Workspace, qtbot) -> None:
    gaps = GapsWidget(review.viewer)
    qtbot.addWidget(gaps)
    gaps.view.opacity.setValue(35)
    gaps.view.outline.click()
    forget()
    assert preferred("mask_opacity") == pytest.approx(0.35)
    assert preferred("mask_outline") is True


def test_a_drag_of_the_slider_is_written_once_at_its_end(review: Workspace, qtbot, monkeypatch) -> None:
    gaps = GapsWidget(review.viewer)
    qtbot.addWidget(gaps)
    written: list[Any] = []
    monkeypatch.setattr("napari_vessel.gui.view_panel.prefer", lambda *what: written.append(what))
    gaps.view.opacity.setSliderDown(True)
    for value in (40, 45, 50):
        gaps.view.opacity.setValue(value)
    assert (written, review.scene.opacity) == ([], 0.5)
    gaps.view.opacity.setSliderDown(False)
    assert written == [("mask_opacity", 0.5)]


def test_the_name_is_in_the_next_verdict(review: Workspace) -> None:
    assert review.annotator == getpass.getuser()
    prefer("annotator", " Ada ")
    if NAPARI_KEEPS_THEM:
        review.decide(Verdict.REJECTED)
        (record,) = review.session.verdicts.values()
        assert record.annotator == "Ada"
    assert Workspace(review.viewer).annotator == "Ada"


def test_a_verdict_stays_where_it_was_when_that_is_preferred(review: Workspace) -> None:
    first = review.review.selected
    prefer("advance", False)
    review.decide(Verdict.REJECTED)
    assert review.review.selected == first
    prefer("advance", True)
    review.queues.step()
    second = review.review.selected
    review.decide(Verdict.REJECTED)
    assert review.review.selected not in (first, second)


def test_device_and_model_are_chosen_as_preferred(review: Workspace, qtbot) -> None:
    prefer("device", "cpu")
    prefer("model", "ridge")
    dock = SegmentWidget(review.viewer)
    qtbot.addWidget(dock)
    assert (dock.device.currentData(), dock.model.currentData()) == ("cpu", "ridge")
    prefer("model", "no-such-model")
    assert SegmentWidget(review.viewer).model.currentData() != "ridge"
