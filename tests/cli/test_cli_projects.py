"""project, export and models."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_vessel.errors import ProjectError
from napari_vessel.review import adding
from napari_vessel.review.edits import Verdict
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageState


def test_a_project_from_creation_to_export(run, photograph: Path, broken_mask: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "project", tmp_path / "out"

    created = run("project", "create", folder, photograph, "--masks", broken_mask.parent, "--json")
    assert created.code == 0, created.err
    assert created.json["images"] == 1
    assert created.json["states"]["new"] == 0

    too_early = run("export", folder, "--format", "folder", "-o", out)
    assert too_early.code == 1
    assert too_early.err.count("\n") == 1
    assert not out.exists()

    with Project.open(folder) as project:
        (record,) = project.images()
        project.set_state(record.id, ImageState.DONE)

    exported = run("export", folder, "--format", "folder", "-o", out, "--licence", "CC0", "--json")
    assert exported.code == 0, exported.err
    assert exported.json["images"] == 1
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert "CC0" in json.dumps(manifest)
    (mask,) = (out / "masks").iterdir()
    np.testing.assert_array_equal(np.asarray(Image.open(mask)), np.asarray(Image.open(broken_mask)))


def test_a_project_to_a_data_set_of_nnunet(run, photograph: Path, broken_mask: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "project", tmp_path / "nnUNet_raw"
    run("project", "create", folder, photograph, "--masks", broken_mask.parent)
    with Project.open(folder) as project:
        project.set_state(project.images()[0].id, ImageState.DONE)

    for_folders = run("export", folder, "-o", out, "--dataset-id", "7")
    assert for_folders.code == 1
    assert "--format nnunet" in for_folders.err
    assert run("export", folder, "--format", "nnunet", "-o", out, "--dataset-id", "1000").code == 1
    assert not out.exists()

    words = ("export", folder, "--format", "nnunet", "-o", out, "--dataset-id", "7", "--name", "Eyes", "--json")
    exported = run(*words, "--licence", "CC0")
    assert exported.code == 0, exported.err
    assert (exported.json["images"], exported.json["format"]) == (1, "nnunet")
    assert exported.json["output"] == str((out / "Dataset007_Eyes").resolve())
    assert any("fewer than the 5" in note for note in exported.json["notes"])
    described = json.loads((out / "Dataset007_Eyes" / "dataset.json").read_text(encoding="utf-8"))
    assert (described["labels"], described["licence"]) == ({"background": 0, "vessel": 1}, "CC0")
    labels = np.asarray(Image.open(out / "Dataset007_Eyes" / "labelsTr" / "eye_7.png"))
    np.testing.assert_array_equal(labels * 255, np.asarray(Image.open(broken_mask)))


def test_formats_of_the_command_line_are_the_layouts() -> None:
    from napari_vessel.cli import interchange
    from napari_vessel.export.layouts import LAYOUTS
    from napari_vessel.export.options import Ignore
    from napari_vessel.images.image import Modality

    assert [one.value for one in interchange.Format] == list(LAYOUTS)
    assert [one.value for one in interchange.Source] == ["auto", *LAYOUTS]
    assert [one.value for one in interchange.Ignored] == [one.value for one in Ignore]
    assert [one.value for one in interchange.Taken] == [one.value for one in Modality]


def test_out_with_a_split_and_into_another_project(run, photograph: Path, broken_mask: Path, tmp_path: Path) -> None:
    folder, out, back = tmp_path / "project", tmp_path / "out", tmp_path / "back"
    run("project", "create", folder, photograph, "--masks", broken_mask.parent)
    run("project", "create", tmp_path / "second", photograph, "--masks", broken_mask.parent)
    with Project.open(folder) as project:
        project.set_state(project.images()[0].id, ImageState.DONE)

    words = ("export", folder, "--format", "monai", "-o", out, "--split", "0.5,0.5", "--seed", "7")
    checked = run(*words, "--dry-run")
    assert checked.code == 0, checked.err
    assert "No image is for validation" in checked.out
    assert not out.exists()
    refused = run("export", folder, "-o", photograph.parent, "--dry-run")
    assert refused.code == 1
    assert refused.out.startswith(f"error: {photograph.parent} is not empty")
    assert run("export", folder, "-o", photograph.parent, "--dry-run", "--json").json["possible"] is False
    assert "is no split" in run("export", folder, "-o", out, "--split", "0.5").err
    assert "add --split" in run("export", folder, "-o", out, "--seed", "5").err

    assert run(*words, "--agreement", tmp_path / "second", "--json").code == 0
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["split"] == {
        "shares": {"training": 0.5, "validation": 0.5, "test": 0.0},
        "seed": 7,
        "by": "patient",
        "stratified_by": "modality",
    }
    assert manifest["agreement"]["figures"]["dice"]["value"] == 1.0
    assert [one["image"] for one in manifest["agreement"]["by_image"]] == ["eye_7"]

    seen = run("import", out, "--project", back, "--dry-run", "--json")
    assert (seen.code, seen.json["format"], seen.json["images"]) == (0, "monai", 1)
    assert not back.exists()
    wrong = run("import", out, "--project", back, "--format", "coco")
    assert wrong.code == 1
    assert not back.exists()
    assert run("import", out, "--project", back, "--json").json["added"] == 1
    assert run("import", out, "--project", back, "--json").json["added"] == 0
    assert "is a project already" in run("import", back, "--project", folder).err
    with Project.open(back) as project, Project.open(folder) as first:
        [mine], [theirs] = project.images(), first.images()
        assert mine.state is ImageState.DONE
        np.testing.assert_array_equal(project.read_mask(mine.id).labels, first.read_mask(theirs.id).labels)


def test_add_adds_once(run, photograph: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    assert run("project", "create", folder).code == 0

    first = run("project", "add", folder, photograph, "--json")
    again = run("project", "add", folder, photograph.parent, "--json")

    assert (first.json["images"], again.json["images"]) == (1, 1)


def test_files_of_one_name_in_two_folders_are_two_images(run, photograph: Path, broken_mask: Path, tmp_path: Path):
    other = tmp_path / "OG" / photograph.name
    other.parent.mkdir()
    Image.fromarray(np.flip(np.asarray(Image.open(photograph)), 0)).save(other)

    refused = run("project", "create", tmp_path / "one", photograph, other, "--masks", broken_mask)
    made = run("project", "create", tmp_path / "two", photograph, other, "--json")

    assert "have the same name" in refused.err
    assert made.json["images"] == 2
    with Project.open(tmp_path / "two") as project:
        assert [record.name for record in project.images()] == [photograph.stem, f"{photograph.stem}_2"]


def test_status_tells_what_is_left(run, photograph: Path, broken_mask: Path, tmp_path: Path, sample) -> None:
    from napari_vessel.completion import propose_gaps

    folder = tmp_path / "project"
    made = run("project", "create", folder, photograph, "--masks", broken_mask)
    assert "open gaps  0 (1 image not looked at yet)" in made.out
    with Project.open(folder) as project:
        session = project.open_session(project.images()[0].id, annotator="grader 1")
        session.set_gaps(propose_gaps(sample.broken, sample.image))
        session.decide(session.open_gaps[0].id, Verdict.ACCEPTED)
        left = len(session.open_gaps)

    as_json, as_text = run("project", "status", folder, "--json"), run("project", "status", folder)

    assert (as_json.json["open_gaps"], as_json.json["gaps_unknown"]) == (left, 0)
    assert "not looked at" not in as_text.out
    assert as_json.json["verdicts"]["accepted"] == 1
    assert "grader 1" in as_text.out
    assert "1 accepted" in as_text.out


def test_one_mask_for_two_images_makes_no_project(run, photograph: Path, broken_mask: Path, tmp_path: Path) -> None:
    Image.fromarray(np.flip(np.asarray(Image.open(photograph)), 0)).save(photograph.with_name("eye_8.png"))

    outcome = run("project", "create", tmp_path / "project", photograph.parent, "--masks", broken_mask)

    assert outcome.code == 1
    assert "One mask" in outcome.err
    assert not (tmp_path / "project").exists()


def test_a_mask_that_two_images_could_have_makes_no_project(run, photograph: Path, broken_mask: Path, tmp_path) -> None:
    photograph.with_name("12_OS.png").write_bytes(photograph.read_bytes())
    photograph.rename(photograph.with_name("12_OD.png"))
    broken_mask.rename(broken_mask.with_name("12_manual1.png"))
    refused = run("project", "create", tmp_path / "p", photograph.parent, "--masks", broken_mask.parent)
    assert refused.code == 1
    assert "could be the mask of 12_OS and of another image" in refused.err
    assert not (tmp_path / "p").exists()


def test_a_project_whose_making_fails_is_gone_again(run, photograph, broken_mask, tmp_path, monkeypatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    images = (photograph, "--masks", broken_mask.parent)
    commands = [("project", "create", tmp_path / place, *images) for place in ("mine", "new/p")]
    write = adding._save_mask

    def full(*arguments):
        write(*arguments)
        raise ProjectError("The disk is full.")

    monkeypatch.setattr(adding, "_save_mask", full)
    for command in commands:
        assert run(*command).code == 1
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    assert not (tmp_path / "new").exists()
    for command in commands:
        assert run(*command).code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_what_has_a_name_that_is_no_text_makes_no_project(run, photograph: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff")
    for place in ("images", "fov"):
        (odd / place).mkdir(parents=True)
        Image.fromarray(np.full((220, 220), 255, np.uint8)).save(odd / place / photograph.name)
    (odd / "masks").mkdir()
    new = tmp_path / "new"
    for command in (
        ("create", new, odd / "images"),
        ("create", new, photograph, "--fov", odd / "fov"),
        ("create", new, photograph, "--name", odd.name),
        ("create", tmp_path / f"new{odd.name}", photograph),
    ):
        outcome = run("project", *command)
        assert (outcome.code, outcome.err.count("\n")) == (1, 1), outcome.err
        assert "no text" in outcome.err
    outcome = run("import", odd, "--project", new)
    assert (outcome.code, "no text" in outcome.err) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["images", odd.name])


def test_a_folder_that_is_no_project(run, tmp_path: Path) -> None:
    outcome = run("project", "status", tmp_path)

    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_existing_project_is_not_created_again(run, tmp_path: Path) -> None:
    run("project", "create", tmp_path / "p")

    outcome = run("project", "create", tmp_path / "p")

    assert outcome.code == 1
    assert "already" in outcome.err


def test_models_are_listed_described_and_verified(run) -> None:
    listed = run("models", "list", "--json").json["models"]

    assert "ridge" in {model["name"] for model in listed}
    assert all(model["licence"] for model in listed)
    assert run("models", "info", "ridge", "--json").json["kind"] == "ridge"
    verified = run("models", "verify", "--json")
    assert verified.code == 0
    assert set(verified.json["verified"]) == {model["name"] for model in listed}
    assert run("models", "info", "no-such-model").code == 1


def test_a_damaged_model_is_not_passed_over(run, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{ not json")
    monkeypatch.setenv("NAPARI_VESSEL_MODELS", str(tmp_path / "models"))
    verified = run("models", "verify")
    assert verified.code == 1
    assert "mine" in verified.err
    described = run("models", "info", "ridge", "--json").json
    monkeypatch.delenv("NAPARI_VESSEL_MODELS")
    assert described in run("models", "info", "--json").json["models"]


def test_a_damaged_project_is_restored_by_the_command_its_error_names(run, photograph: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    assert run("project", "create", folder, photograph).code == 0
    (folder / "project.sqlite").write_bytes(b"")
    refused = run("project", "status", folder)
    assert refused.code == 1
    assert f'napari-vessel project restore "{folder}"' in refused.err
    restored = run("project", "restore", folder, "--json")
    assert restored.code == 0, restored.err
    assert Path(restored.json["kept"]).read_bytes() == b""
    assert run("project", "status", folder, "--json").json["images"] == 1
