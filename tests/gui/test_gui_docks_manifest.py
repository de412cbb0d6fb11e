"""The manifest, the samples, the reader and the writer, through napari's own doors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_vessel.jobs import run_job
from napari_vessel.review.project import Project
from napari_vessel.synthesis.samples import make_sample

pytestmark = pytest.mark.gui

MANIFEST = Path(__file__).parents[2] / "napari_vessel" / "napari.yaml"
WIDGETS = (
    *("Vessel project", "Segment vessels", "Vessel gaps", "Measurements"),
    *("Export vessels", "Vessel training", "Fine-tune"),
)


def test_manifest_is_valid():
    found = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", str(MANIFEST)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "valid" in found.stdout


def test_manifest_names_what_exists():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(MANIFEST)
    assert manifest.name == "napari-vessel"
    assert tuple(widget.display_name for widget in manifest.contributions.widgets) == WIDGETS
    assert {"napari/layers/segment", "napari/layers/annotate"} <= set(manifest.contributions.menus)
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        __import__(module)
        assert callable(getattr(sys.modules[module], name)), command.python_name


OPEN_ALL = """
import sys, time, napari
viewer = napari.Viewer(show=False)
before = set(sys.modules)
slowest = 0.0
for name in {widgets}:
    started = time.perf_counter()
    viewer.window.add_plugin_dock_widget("napari-vessel", name)
    slowest = max(slowest, time.perf_counter() - started)
heavy = [m for m in ("torch", "monai", "skan", "numba", "cv2", "skimage") if m in set(sys.modules) - before]
print("heavy", heavy, "slowest", round(slowest, 2))
viewer.close()
"""


def test_opening_the_widgets_imports_nothing_heavy(tmp_path):
    script = OPEN_ALL.format(widgets=WIDGETS)
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "heavy [] slowest" in found.stdout, found.stdout + found.stderr


@pytest.mark.parametrize("kind", ["fundus", "octa", "xray", "twophoton"])
def test_sample_opens_with_truth_and_gaps(make_napari_viewer, kind):
    viewer = make_napari_viewer()
    image, truth, broken = viewer.open_sample("napari-vessel", kind)
    expected = make_sample(kind, 1 if kind == "twophoton" else 0)
    np.testing.assert_array_equal(truth.data, expected.truth.labels)
    np.testing.assert_array_equal(broken.data > 0, expected.broken)
    np.testing.assert_array_equal(image.data, expected.image.pixels)
    assert image.rgb == (kind == "fundus")
    assert len({image.name, truth.name, broken.name}) == 3
    assert not truth.visible


def test_project_folder_opens_in_the_viewer(workspace, tmp_path, spin):
    image = make_sample("octa").image
    with Project.create(tmp_path / "work") as project:
        name = run_job(project.add([image]))[0].name
    viewer = workspace.viewer
    assert viewer.open(str(tmp_path / "work"), plugin="napari-vessel") == []
    spin()
    assert workspace.project is not None
    assert workspace.project.folder == (tmp_path / "work").resolve()
    assert [record.name for record in workspace.images()] == [name]
    assert "Vessel project (napari-vessel)" in viewer.window.dock_widgets


def test_a_known_project_folder_opens_without_asking(workspace, tmp_path, spin):
    from napari.errors import MultipleReaderError

    first, second = tmp_path / "first [a]", tmp_path / "second"
    workspace.viewer.window.add_plugin_dock_widget("napari-vessel", "Vessel project")
    for folder in (first, second):
        workspace.open_project(folder)
    assert workspace.viewer.open(str(first), plugin=None) == []
    assert workspace.project.folder == first.resolve()
    (tmp_path / "pictures").mkdir()
    with pytest.raises(MultipleReaderError):
        workspace.viewer.open(str(tmp_path / "pictures"), plugin=None)
    spin()


def test_other_folders_are_left_alone(tmp_path, make_napari_viewer):
    from napari_vessel.gui._contributions import get_project_reader

    (tmp_path / "image.png").write_bytes(b"")
    assert get_project_reader(str(tmp_path)) is None
    assert get_project_reader([str(tmp_path), str(tmp_path)]) is None
    assert get_project_reader(str(tmp_path / "image.png")) is None
    with pytest.raises(ValueError, match="napari-vessel"):
        make_napari_viewer().open(str(tmp_path), plugin="napari-vessel")


@pytest.mark.parametrize("name", ["mask.png", "mask.tif", "mask.tiff"])
def test_binary_labels_are_saved_as_0_and_255(make_napari_viewer, tmp_path, name):
    viewer = make_napari_viewer()
    labels = np.zeros((20, 30), np.int32)
    labels[3:6, 4:9] = 1
    viewer.add_labels(labels)
    path = tmp_path / name
    assert viewer.layers.save(str(path), plugin="napari-vessel") == [str(path)]
    saved = np.asarray(Image.open(path)) if path.suffix == ".png" else tifffile.imread(path)
    np.testing.assert_array_equal(saved, np.where(labels, 255, 0))
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [name]


@pytest.mark.parametrize("name", ["cells.png", "cells.tif"])
def test_labels_of_someone_else_keep_their_values(make_napari_viewer, tmp_path, name):
    viewer = make_napari_viewer()
    labels = np.arange(600, dtype=np.int32).reshape(20, 30)
    viewer.add_labels(labels)
    viewer.layers.save(str(tmp_path / name), plugin="napari-vessel")
    saved = np.asarray(Image.open(tmp_path / name)) if name.endswith("png") else tifffile.imread(tmp_path / name)
    np.testing.assert_array_equal(saved, labels)


def test_mask_under_review_is_saved_with_its_classes(workspace, make_napari_viewer, tmp_path, spin):
    sample = make_sample("octa")
    values = np.where(sample.truth.mask, 85, 0).astype(np.uint8)
    values[:, values.shape[1] // 2 :] *= 2
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    Image.fromarray(np.round(sample.image.pixels * 255).astype(np.uint8)).save(images / "one.png")
    Image.fromarray(values).save(masks / "one.png")
    workspace.open_project(tmp_path / "project")
    workspace.add_paths([images], masks)
    spin()
    assert workspace.session is not None
    assert len(workspace.session.classes) == 2
    layers = workspace.viewer.layers
    layers.selection = {workspace.scene.mask_layer}
    layers.save(str(tmp_path / "saved.png"), selected=True, plugin="napari-vessel")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "saved.png")), values)
    make_napari_viewer()
    layers.save(str(tmp_path / "again.png"), selected=True, plugin="napari-vessel")
    again = np.asarray(Image.open(tmp_path / "again.png"))
    np.testing.assert_array_equal(again, values, "another window is the current one")
