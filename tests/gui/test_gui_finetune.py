"""Fine-tune in a real viewer: what there is to learn from, a run in its process, the verdict, versions, the way on."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QLineEdit, QMessageBox

from napari_vessel.gui.comparing import NEW_NAME, OLD_NAME
from napari_vessel.gui.finetune import FineTuneWidget
from napari_vessel.gui.finetuning import standing_job, use_job
from napari_vessel.gui.preferences import prefer
from napari_vessel.gui.segment import SegmentWidget
from napari_vessel.gui.workers import running_jobs
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.networks import build_network
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageState
from napari_vessel.review.version_records import Version, VersionState
from napari_vessel.segmentation.preparation import normalise
from napari_vessel.segmentation.registry import install_model, model_info
from napari_vessel.training.export import write_model
from napari_vessel.training.finetuning.folders import project_runs, read_result
from napari_vessel.training.finetuning.projects import prepare_run

pytestmark = pytest.mark.gui

LEFT = Qt.MouseButton.LeftButton
SHAPE = (96, 96)


def drawing(seed):
    """Return an angiogram of four vessels, and those as a mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, np.bool_)
    for row in (16, 38, 58, 80):
        path = np.clip(row + np.cumsum(rng.integers(-1, 2, SHAPE[1])), 3, SHAPE[0] - 4)
        for shift in (-1, 0, 1):
            mask[path + shift, np.arange(SHAPE[1])] = True
    pixels = np.clip(0.25 + 0.45 * mask + rng.normal(0, 0.06, SHAPE), 0, 1).astype(np.float32)
    return VesselImage(pixels, modality=Modality.OCTA, content_hash=f"{seed:064d}", name=f"p{seed:03d}"), mask


def _teach_a_little(network):
    """Show a network vessels, but not enough of them: random weights learn nothing in a few steps more."""
    images, masks = zip(*(drawing(seed) for seed in range(90, 94)), strict=True)
    pixels = torch.from_numpy(np.stack([normalise(image.pixels, None)[..., 0] for image in images])[:, None])
    truth = torch.from_numpy(np.stack(masks)[:, None].astype(np.float32))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(8):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(pixels), truth).backward()
        optimiser.step()


def write_tiny(folder, seed=1, modality="octa"):
    """Write a network for small angiograms that has more to learn."""
    torch.manual_seed(seed)
    network = build_network("unet", in_channels=1, channels=[8, 8, 8])
    _teach_a_little(network)
    config = {
        "format": 1,
        "name": folder.name,
        "title": "Tiny",
        "kind": "network",
        "version": "1.0.0",
        "modalities": [modality],
        "licence": "As you like.",
        "network": {"name": "unet", "in_channels": 1, "channels": [8, 8, 8]},
        "working_scale": {"kind": "field_of_view", "px": float(SHAPE[0])},
        "settings": {},
        "threshold": 0.5,
        "min_size": 3,
    }
    write_model(network, folder, config)
    return folder


@pytest.fixture
def tiny(tmp_path):
    return install_model(write_tiny(tmp_path / "tiny")).name


@pytest.fixture
def project(tiny, tmp_path):
    """A folder of a project: of six angiograms that tiny segmented three are done, and one is in review."""
    folder = tmp_path / "project"
    with Project.create(folder) as made:
        for seed in range(6):
            image, mask = drawing(seed)
            (record,) = run_job(made.add([image]))
            made.store_probability(record.id, np.full(SHAPE, 0.1, np.float32), {"model": tiny})
            session = made.open_session(record.id)
            session.set_segmentation(mask, "segmentation by tiny")
            if seed < 3:
                made.set_state(record.id, ImageState.DONE)
        made.set_state(record.id, ImageState.IN_REVIEW)
    return folder


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    for seed in range(2):
        image, mask = drawing(50 + seed)
        for room, pixels in (("images", image.pixels), ("masks", mask)):
            (folder / room).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.round(pixels * 255.0).astype(np.uint8)).save(folder / room / f"known_{seed}.png")
    return folder


@pytest.fixture
def widget(workspace):
    _, made = workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Fine-tune")
    assert isinstance(made, FineTuneWidget)
    made.device.setCurrentIndex(made.device.findData("cpu"))
    yield made
    made.tuning.leave()


@pytest.fixture
def ready(widget, workspace, project, base, monkeypatch):
    """The dock over the project, with a folder to rehearse and a run of a few steps to be started."""
    workspace.open_project(project)
    rest(widget)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(base))
    widget.base.setCurrentIndex(1)
    widget.base.activated.emit(1)
    widget.steps.setValue(6)
    return widget


def wait_until(condition, seconds=120.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come"
        QApplication.processEvents()
        time.sleep(0.01)


def rest(widget, seconds=240.0):
    """Let the event loop run until nothing is under way, and the dock has counted what came of it."""
    QApplication.processEvents()
    wait_until(lambda: not running_jobs() and not widget._count_timer.isActive(), seconds)
    QApplication.processEvents()
    wait_until(lambda: not running_jobs() and not widget._count_timer.isActive(), seconds)


def add_version(project, tmp_path, promote, seed):
    means = {key: {"old": 0.7, "new": 0.8} for key in ("dice", "cl_dice", "b0_error")}
    return project.versions.add(
        write_tiny(tmp_path / f"made-{seed}", seed),
        parent="tiny",
        promote=promote,
        sentence="The gate has spoken.",
        figures={"guards": {"images": 6, **means}, "base": {"images": 2, **means}},
        record={},
        images=[],
    )


def states(widget):
    table = widget.panel.table
    return [table.item(row, 1).text() for row in range(table.rowCount())]


def test_without_a_project_and_with_too_little_it_says_what_to_do(widget, workspace, tmp_path):
    assert "No project is open" in widget.readiness.text()
    assert not any(one.isEnabled() for one in (widget.start_button, widget.on_button, widget.stop_button))
    workspace.open_project(tmp_path / "work")
    image, mask = drawing(0)
    workspace.add_image(image)
    rest(widget)
    assert "Too little to learn from" in widget.readiness.text()
    assert not widget.start_button.isEnabled()
    workspace.set_mask(mask, "drawn elsewhere")
    rest(widget)
    workspace.mark_done()
    rest(widget)
    assert widget.start_button.isEnabled()
    assert widget.images.toolTip() == "1 done, 0 in review"


def test_it_is_offered_after_as_many_finished_images_as_preferred(workspace, project, spin):
    prefer("offer_after", 2)
    said = []
    workspace.message.connect(lambda text, level: said.append((text, level)))
    workspace.open_project(project)
    spin()
    for record in workspace.images()[:3]:
        workspace.project.set_state(record.id, ImageState.IN_REVIEW)
    for record in workspace.images()[:3]:
        workspace.open_image(record.id)
        spin()
        workspace.mark_done()
        spin()
    offers = [text for text, level in said if "Fine-tune can learn from them" in text and level == "info"]
    assert len(offers) == 1
    assert "2 finished images are new" in offers[0]


def test_from_start_to_a_model_that_segments_what_nobody_reviewed(ready, workspace, qtbot):
    widget, panel = ready, ready.panel
    segment = SegmentWidget(workspace.viewer)
    qtbot.addWidget(segment)
    assert widget.images.toolTip() == "3 done (1 to judge by), 0 in review"
    assert widget.model.text() == "tiny"
    assert "you decide" in widget.readiness.text()
    qtbot.mouseClick(widget.start_button, LEFT)
    assert widget.stop_button.isEnabled()
    assert not widget.start_button.isEnabled()
    wait_until(lambda: len(widget.plot.curves.dice) > 1)
    assert widget.plot.curves.dice[0][0] == 0, "the old model"
    rest(widget)
    wait_until(lambda: panel.versions)
    assert widget.going.text().startswith("Done: ")
    assert len(widget.plot.curves.b0_error) > 1
    assert widget.tabs.currentWidget() is panel, "the verdict is shown"
    version = panel.selected
    assert panel.verdict.text() == version.sentence
    assert panel.figures.item(0, 2).text() == f"{version.figures['guards']['dice']['new']:.3f}"
    # One image judges, so this is the annotator's word, also where the gate would rather not.
    workspace.open_image(workspace.images()[0].id)
    rest(widget)
    qtbot.mouseClick(panel.compare_button, LEFT)
    rest(widget)
    names = [layer.name for layer in workspace.viewer.layers]
    assert {OLD_NAME, NEW_NAME} <= set(names)
    qtbot.mouseClick(panel.side_buttons["old"], LEFT)
    assert NEW_NAME not in [layer.name for layer in workspace.viewer.layers]
    workspace.open_image(workspace.images()[3].id)
    rest(widget)
    assert OLD_NAME not in [layer.name for layer in workspace.viewer.layers], "it was about another image"
    assert not panel.anew_button.isEnabled()
    qtbot.mouseClick(panel.use_button, LEFT)
    rest(widget)
    wait_until(lambda: panel.anew_button.isEnabled())
    assert workspace.project.versions.current().name == version.name
    assert segment.model.currentData() == version.name
    assert "2 images not reviewed yet" in panel.anew_button.text()
    before = {record.id: workspace.project.read_mask(record.id).labels for record in workspace.images()}
    qtbot.mouseClick(panel.anew_button, LEFT)
    rest(widget)
    now = {record.id: workspace.project.read_mask(record.id).labels for record in workspace.images()}
    changed = [
        n for n, record in enumerate(workspace.images()) if not np.array_equal(before[record.id], now[record.id])
    ]
    assert changed == [3, 4]
    assert [record.model for record in workspace.images()[3:5]] == [version.name] * 2
    workspace.undo()
    rest(widget)
    first = workspace.images()[3].id
    assert np.array_equal(workspace.project.read_mask(first).labels, before[first])
    # And back.
    panel.table.setCurrentCell(1, 0)
    assert "Go back to 1" in panel.use_button.text()
    qtbot.mouseClick(panel.use_button, LEFT)
    rest(widget)
    wait_until(lambda: states(widget) == ["↶ left", "● in use"])
    assert workspace.project.versions.current().name == "tiny"


def test_an_image_reviewed_meanwhile_keeps_its_mask(workspace, project, tiny, spin):
    workspace.open_project(project)
    spin()
    records = workspace.images()
    workspace.open_image(records[3].id)
    spin()
    workspace.segment([records[3].id], model=tiny, unreviewed=True)
    workspace.scene.mask_layer.data_setitem((np.array([5]), np.array([5])), 1)
    workspace.flush()
    painted = workspace.session.labels.copy()
    spin()
    np.testing.assert_array_equal(workspace.session.labels, painted)


@pytest.mark.trains
def test_stop_keeps_the_best_a_killed_run_goes_on_and_closing_asks(ready, workspace, qtbot, monkeypatch):
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("other systems end processes in other ways")
    widget = ready
    widget.steps.setValue(100_000)
    qtbot.mouseClick(widget.start_button, LEFT)
    wait_until(lambda: widget.going.text().startswith("Training, step"))
    asked = []
    monkeypatch.setattr(
        QMessageBox, "question", lambda *words: asked.append(words[2]) or QMessageBox.StandardButton.Cancel
    )
    assert not workspace.viewer.window._qt_window.close()
    assert "Fine-tune takes it up again" in asked[0]
    os.kill(widget.tuning.pid, signal.SIGKILL)
    rest(widget)
    assert workspace.project.versions.history() == []
    wait_until(lambda: widget.on_button.isEnabled())
    qtbot.mouseClick(widget.on_button, LEFT)
    wait_until(lambda: widget.going.text().startswith("Training, step"))
    qtbot.mouseClick(widget.stop_button, LEFT)
    rest(widget)
    # Before the first look nothing is better than the old model, and there is nothing to make a version of.
    assert "Stopped at step" in widget.going.text()
    assert "Nothing was learnt" in widget.going.text()
    (run,) = project_runs(workspace.project.folder)
    assert read_result(run)["stopped"]
    assert workspace.project.versions.history() == []
    wait_until(lambda: widget.on_button.isEnabled())


def test_the_verdicts_of_the_gate_and_of_the_annotator(widget, workspace, project, tmp_path, qtbot):
    panel = widget.panel
    workspace.open_project(project)
    rest(widget)
    versions = workspace.project.versions
    refused = add_version(workspace.project, tmp_path, False, 2)
    asked = add_version(workspace.project, tmp_path, None, 3)
    good = add_version(workspace.project, tmp_path, True, 4)
    versions.promote(good.number, "gate")
    widget.tabs.setCurrentIndex(1)
    widget.tuning.versions_changed.emit()
    wait_until(lambda: states(widget) == ["● in use", "? undecided", "✘ refused", "◇ beginning"])
    assert not panel.use_button.isEnabled()
    assert panel.figures.item(2, 3).text() == "▼ worse", "more wrong components"
    # By keys: down to the one that is asked about, which stays where it is.
    panel.table.setFocus()
    qtbot.keyClick(panel.table, Qt.Key.Key_Down)
    assert panel.keep_button.isEnabled()
    qtbot.mouseClick(panel.keep_button, LEFT)
    rest(widget)
    assert versions.version(asked.number).state is VersionState.REFUSED
    wait_until(lambda: states(widget)[1] == "✘ refused")
    assert "kept the old one" in panel.verdict.text()
    # A note.
    panel.table.setCurrentCell(2, 4)
    panel.table.editItem(panel.table.item(2, 4))
    editor = panel.table.findChild(QLineEdit)
    qtbot.keyClicks(editor, "too eager")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    wait_until(lambda: versions.version(refused.number).notes == "too eager")
    # The annotator's word goes over the gate's.
    wait_until(lambda: panel.selected.number == refused.number and "anyway" in panel.use_button.text())
    qtbot.mouseClick(panel.use_button, LEFT)
    rest(widget)
    assert versions.current().number == refused.number


def test_the_model_now_is_the_one_that_a_run_begins_with(project):
    """Not the one that has segmented most of what nobody has looked at yet."""
    with Project.open(project) as opened:
        records = opened.images()
        for record in records[3:5]:
            opened.store_probability(record.id, np.full(SHAPE, 0.1, np.float32), {"model": "octa-small"})
        images = [drawing(seed)[0] for seed in range(10, 14)]
        for record in run_job(opened.add(images)):
            opened.store_probability(record.id, np.full(SHAPE, 0.1, np.float32), {"model": "octa-small"})
        run = run_job(prepare_run(opened, {"steps": 2, "rehearsal": 1}))
        assert json.loads((run / "finetune.json").read_text())["start"]["name"] == "tiny"
        assert run_job(standing_job(opened)).model == "tiny"


def test_after_an_update_or_with_more_to_rehearse_start_makes_another_run(project, base, tiny):
    """In the window nobody can name another folder."""
    numbers = {"steps": 2, "rehearsal": 1}
    with Project.open(project) as opened:
        first = run_job(prepare_run(opened, numbers, base))
        assert run_job(prepare_run(opened, numbers, base)) == first
        for room in ("images", "masks"):
            shutil.copyfile(base / room / "known_0.png", base / room / "known_2.png")
        more = run_job(prepare_run(opened, numbers, base))
        config = model_info(tiny).folder / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"version": "1.1.0"}))
        updated = run_job(prepare_run(opened, numbers, base))
        assert len({first, more, updated}) == len(project_runs(project)) == 3


def test_going_back_to_what_models_for_two_kinds_of_image_began_with(project, tmp_path):
    """The number in the list is one; the version in use that began with it is left, whatever it is for."""
    told = {"parent": "tiny", "promote": True, "sentence": "", "figures": {}, "record": {}, "images": []}
    with Project.open(project) as opened:
        opened.versions.add(write_tiny(tmp_path / "photographs", 2, "fundus"), **told)
        octa = opened.versions.add(write_tiny(tmp_path / "angiograms", 3), **told)
        opened.versions.promote(octa.number, "gate")
        assert opened.default_model(Modality.OCTA) == octa.name
        assert run_job(use_job(opened, opened.versions.version(1), "ann")).current
        assert opened.default_model(Modality.OCTA) == "tiny"
        assert [one.number for one in opened.versions.history() if one.current] == [1]


def test_runs_that_ended_without_their_window_join_the_versions(widget, workspace, project, tmp_path):
    means = {"images": 0}
    # Of the second the weights are those of the first; the third has learnt nothing.
    for number, (said, learnt) in enumerate((("Say so.", True), ("Only the cut changed.", True), ("Nothing.", False))):
        run = project / "finetuning" / f"run{number}"
        write_tiny(run / "tiny-tuned", 7)
        (run / "finetune.json").write_text(json.dumps({"settings": {"steps": 3}}))
        decision = {"promote": None, "sentence": said, "figures": {"guards": means, "base": means}}
        record = {"start": {"name": "tiny"}, "images": [{"content_hash": "0" * 64}]}
        told = {"model": "/gone/tiny-tuned", "stopped": False, "decision": decision, "record": record, "steps": 3}
        (run / "result.json").write_text(json.dumps({**told, "learnt": learnt}))
        os.utime(run / "result.json", (number + 1e9, number + 1e9))
        os.utime(run / "finetune.json", (number + 1e9, number + 1e9))
    for _ in range(2):
        workspace.open_project(project)
        rest(widget)
        said = [version.sentence for version in workspace.project.versions.history()]
        assert said == ["", "Say so.", "Only the cut changed."]
    shutil.rmtree(run)


def test_a_note_that_is_being_typed_stays_with_its_version(widget, qtbot, monkeypatch):
    def version(number, state):
        made = "2026-05-01T10:00:00+00:00"
        return Version(number, "own", None, None, "", (Modality.FUNDUS,), made, state, "", "old", "", None, False)

    kept = []
    QApplication.processEvents()
    monkeypatch.setattr(widget.tuning, "set_notes", lambda number, notes: kept.append((number, notes)))
    panel, first = widget.panel, version(1, VersionState.CANDIDATE)
    panel.show_versions([first], ())
    notes = panel.table.columnCount() - 1
    panel.table.editItem(panel.table.item(0, notes))
    editor = panel.table.findChild(QLineEdit)
    qtbot.keyClicks(editor, "my long")
    first = replace(first, state=VersionState.PROMOTED)
    panel.show_versions([first], ())
    panel.show_versions([version(2, VersionState.CANDIDATE), first], ())
    qtbot.keyClicks(editor, " note")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    QApplication.processEvents()
    assert kept == [(1, "my long note")]
    assert panel.table.item(0, notes).text() == "old"
    assert panel.table.item(1, 1).text() == "✔ was in use"
