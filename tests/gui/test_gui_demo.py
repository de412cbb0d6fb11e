"""The demonstration's folder: only what an earlier demonstration made is deleted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_vessel.errors import VesselError
from napari_vessel.gui.demo import SAMPLE_NAME, prepare
from napari_vessel.images.image import VesselImage, VesselMask
from napari_vessel.jobs import run_job
from napari_vessel.review.project import Project


def add(folder: Path, name: str) -> None:
    pixels = np.random.default_rng(len(name)).random((20, 30), np.float32)
    image = VesselImage(pixels, source=Path(name), content_hash=name.encode().hex().ljust(64, "0"))
    with Project.open_or_create(folder) as project:
        run_job(project.add([image], masks=VesselMask(np.ones((20, 30), np.uint8))))


def test_somebodys_project_is_kept(tmp_path):
    add(tmp_path / "project", "patient")
    with pytest.raises(VesselError, match="choose another --out"):
        prepare(tmp_path)
    with Project.open(tmp_path / "project") as project:
        assert [record.name for record in project.images()] == ["patient"]


@pytest.mark.parametrize("name", [SAMPLE_NAME, "fundus-sample"])
def test_an_earlier_demos_project_is_made_anew(name, tmp_path):
    add(prepare(tmp_path), name)
    assert not (prepare(tmp_path) / "project.sqlite").exists()


def test_a_demos_project_with_images_of_somebodys_own_is_kept(tmp_path):
    folder = prepare(tmp_path)
    add(folder, SAMPLE_NAME)
    add(folder, "patient")
    with pytest.raises(VesselError, match="images that no demo put there"):
        prepare(tmp_path)
    assert (folder / "project.sqlite").is_file()


def test_somebodys_files_and_export_are_kept(tmp_path):
    (tmp_path / "a" / "project").mkdir(parents=True)
    (tmp_path / "a" / "project" / "thesis.txt").write_text("years of work")
    (tmp_path / "b" / "export").mkdir(parents=True)
    manifest = {"kind": "napari-vessel folder export", "project_id": "another", "images": []}
    (tmp_path / "b" / "export" / "manifest.json").write_text(json.dumps(manifest))
    for name in "ab":
        with pytest.raises(VesselError, match="choose"):
            prepare(tmp_path / name)
    assert (tmp_path / "a" / "project" / "thesis.txt").is_file()
    assert (tmp_path / "b" / "export" / "manifest.json").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_folder_that_cannot_be_made_is_a_sentence():
    with pytest.raises(VesselError, match="cannot write to /proc/x"):
        prepare(Path("/proc/x"))
