"""The versions of a project's model: added, promoted, refused, returned to, and found on another machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_vessel.errors import ModelError, ProjectError
from napari_vessel.images import Modality
from napari_vessel.review import ImageState, Project
from napari_vessel.review.samples import what_to_learn
from napari_vessel.review.version_records import Version, VersionState
from napari_vessel.segmentation.registry import USER_FOLDER_VARIABLE, list_models, model_info, read_model, read_weights

FIGURES = {"old": {"dice": 0.7}, "new": {"dice": 0.8}}


@pytest.fixture(autouse=True)
def user_models(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(tmp_path / "user"))
    return tmp_path / "user"


@pytest.fixture
def train(tmp_path):
    """Write a model as training does: a folder with a configuration, a card and weights."""

    def write(weights: str, start: str = "fundus-small") -> Path:
        folder = tmp_path / "runs" / weights / "tuned"
        folder.mkdir(parents=True, exist_ok=True)
        config = json.loads((model_info(start).folder / "config.json").read_text(encoding="utf-8"))
        config |= {"name": "tuned", "sha256": hashlib.sha256(weights.encode()).hexdigest()}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "README.md").write_text(f"# tuned on {weights}\n", encoding="utf-8")
        (folder / "model.safetensors").write_bytes(weights.encode())
        return folder

    return write


def add(project: Project, folder: Path, parent: str = "fundus-small", **more) -> Version:
    told = {"promote": True, "sentence": "Better.", "figures": FIGURES, "record": {"seed": 1}, "images": ["h1", "h2"]}
    return project.versions.add(folder, parent=parent, **(told | more))


def states(project: Project) -> dict[int, str]:
    return {one.number: ("*" if one.current else "") + one.state.value for one in project.versions.history()}


def test_a_new_version_is_a_candidate_with_a_folder_of_its_own(project, train):
    made = add(project, train("a"), notes="first try")
    digest = hashlib.sha256(b"a").hexdigest()
    assert (made.number, made.parent, made.state, made.current) == (2, 1, VersionState.CANDIDATE, False)
    assert made.name == f"fundus-small-v2-{digest[:6]}"
    assert made.folder == project.folder / "models" / made.name
    info = read_model(made.folder)
    assert (info.name, info.card) == (made.name, "# tuned on a\n")
    assert read_weights(info) == b"a"
    assert (made.sha256, made.modalities) == (digest, (Modality.FUNDUS,))
    assert (made.sentence, made.notes, made.figures, made.record) == ("Better.", "first try", FIGURES, {"seed": 1})
    assert made.images == {"h1", "h2"}
    base = project.versions.version(1)
    assert (base.name, base.folder, base.state) == ("fundus-small", None, VersionState.BASE)
    # Nobody uses it yet.
    assert made.name not in {model.name for model in list_models()}
    assert project.default_model(Modality.FUNDUS) == "fundus-small"
    assert json.loads(json.dumps(made.to_json()))["state"] == "candidate"


def test_a_promoted_version_is_the_projects_model_and_offered_everywhere(project, train):
    made = add(project, train("a"))
    now = project.versions.promote(2, "ann", "looks good")
    assert (now.state, now.current, now.before, now.decided_by) == (VersionState.PROMOTED, True, 1, "ann")
    assert now.notes == "looks good"
    assert model_info(made.name).sha256 == made.sha256
    assert project.default_model(Modality.FUNDUS) == made.name
    assert project.default_model(Modality.OCTA) == "octa-small"
    assert project.versions.current().number == project.versions.current(Modality.FUNDUS).number == 2
    assert project.versions.current(Modality.OCTA) is None
    project.close()
    with Project.open(project.folder) as again:
        assert again.default_model(Modality.FUNDUS) == made.name


def test_what_the_gate_refused_needs_a_second_word(project, train):
    add(project, train("a"), promote=False, sentence="Dice fell by .05.")
    with pytest.raises(ProjectError, match=r"Version 2 was refused \(Dice fell by \.05\)"):
        project.versions.promote(2, "ann")
    assert states(project) == {1: "base", 2: "refused"}
    with pytest.raises(ProjectError, match="nothing to return to"):
        project.versions.rollback(2)
    project.versions.promote(2, "ann", anyway=True)
    assert states(project) == {1: "base", 2: "*promoted"}


def test_back_step_by_step_and_forward_again(project, train):
    for number, weights in ((2, "a"), (3, "b"), (4, "c")):
        parent = "fundus-small" if number == 2 else project.versions.version(number - 1).name
        assert add(project, train(weights), parent).name.startswith(f"fundus-small-v{number}-")
        project.versions.promote(number, "gate")
    assert [one.parent for one in project.versions.history()] == [None, 1, 2, 3]
    assert states(project) == {1: "base", 2: "promoted", 3: "promoted", 4: "*promoted"}
    assert project.versions.rollback(by="ann", note="too bold").number == 3
    assert states(project) == {1: "base", 2: "promoted", 3: "*promoted", 4: "rolled back"}
    assert project.versions.version(4).notes == "too bold"
    assert project.versions.version(3).decided_by == "ann"
    assert project.versions.rollback().number == 2
    assert project.versions.rollback().number == 1
    assert project.default_model(Modality.FUNDUS) == "fundus-small"
    with pytest.raises(ProjectError, match="fundus-small is the model that the project began with"):
        project.versions.rollback()
    assert states(project) == {1: "*base", 2: "rolled back", 3: "rolled back", 4: "rolled back"}
    assert project.versions.rollback(to=3).number == 3
    assert project.versions.rollback(to=3).number == 3
    assert project.versions.rollback().number == 2
    project.versions.promote(4, "ann")
    # An older one that is promoted is not come back from to a newer one.
    project.versions.promote(2, "ann")
    assert project.versions.rollback().number == 1
    with pytest.raises(ProjectError, match=r"no version 9 .* choose one of: 1, 2, 3, 4"):
        project.versions.rollback(to=9)


def test_a_candidate_is_not_returned_to(project, train):
    add(project, train("a"))
    project.versions.promote(2, "ann")
    add(project, train("b"))
    with pytest.raises(ProjectError, match="never in use"):
        project.versions.rollback(to=3)


def test_each_modality_has_its_own(project, train):
    add(project, train("a"))
    add(project, train("o", "octa-small"), "octa-small")
    assert [one.name.split("-v")[0] for one in project.versions.history()] == [
        "fundus-small", "fundus-small", "octa-small", "octa-small"
    ]  # fmt: skip
    project.versions.promote(2, "ann")
    project.versions.promote(4, "ann")
    assert project.versions.current(Modality.FUNDUS).number == 2
    assert project.versions.current(Modality.OCTA).number == 4
    assert project.versions.rollback(to=3).name == "octa-small"
    assert project.default_model(Modality.FUNDUS) == project.versions.version(2).name
    assert project.default_model(Modality.OCTA) == "octa-small"


def test_what_began_with_a_model_for_other_images_goes_back_to_it(project, train):
    add(project, train("a"))
    project.versions.promote(2, "ann")
    folder = train("o")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"modalities": ["octa"]}), encoding="utf-8")
    made = add(project, folder)
    assert (made.number, made.parent) == (3, 1)
    project.versions.promote(3, "ann")
    assert project.default_model(Modality.OCTA) == made.name
    assert project.versions.rollback().number == 1
    assert project.default_model(Modality.OCTA) == "fundus-small"
    assert project.versions.current(Modality.FUNDUS).number == 2


def test_a_number_goes_back_to_what_a_model_for_other_images_began_with(project, train):
    add(project, train("a"), promote=False)
    folder = train("o")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"modalities": ["octa"]}), encoding="utf-8")
    add(project, folder)
    project.versions.promote(3, "ann")
    assert project.versions.rollback(to=1).number == 1
    assert states(project) == {1: "*base", 2: "refused", 3: "rolled back"}
    assert project.default_model(Modality.OCTA) == "fundus-small"


def test_what_is_left_is_left_for_all_of_its_images(project, train):
    """A version that learnt from images of no known kind, too, is for both; going back leaves neither to it."""
    first = add(project, train("a"))
    project.versions.promote(2, "ann")
    folder = train("b")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"modalities": ["fundus", "other"]}), encoding="utf-8")
    second = add(project, folder, first.name)
    project.versions.promote(3, "ann")
    assert project.default_model(Modality.OTHER) == second.name
    assert project.versions.rollback().number == 2
    assert states(project) == {1: "base", 2: "*promoted", 3: "rolled back"}
    assert project.versions.current().number == 2
    assert project.default_model(Modality.OTHER) == project.default_model(Modality.FUNDUS) == first.name
    # One that has taken over some of its images since keeps them.
    project.versions.promote(3, "ann")
    add(project, train("c"), first.name)
    project.versions.promote(4, "ann")
    assert project.versions.rollback(to=2).number == 2
    assert project.default_model(Modality.FUNDUS) == first.name
    assert project.default_model(Modality.OTHER) == second.name


def meant_for(folder: Path, *modalities: str) -> Path:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"modalities": modalities}), encoding="utf-8")
    return folder


def test_a_version_for_one_kind_of_image_is_gone_back_to_for_that_kind_alone(project, train):
    first = add(project, train("a"))
    add(project, meant_for(train("o", "octa-small"), "octa"), "octa-small")
    add(project, meant_for(train("b"), "fundus", "octa"), first.name)
    for number in (2, 4, 5):
        project.versions.promote(number, "ann")
    assert project.versions.rollback(to=4).number == 4
    assert [project.versions.current(one).number for one in (Modality.FUNDUS, Modality.OCTA)] == [2, 4]
    assert states(project)[5] == "rolled back"


def test_each_kind_of_image_goes_back_to_the_version_it_had(project, train):
    def serving() -> list[int]:
        return [project.versions.current(one).number for one in (Modality.FUNDUS, Modality.OCTA, Modality.OTHER)]

    first = add(project, train("a"))
    add(project, meant_for(train("o", "octa-small"), "octa", "other"), "octa-small")
    add(project, meant_for(train("b"), "fundus", "other"), first.name)
    for number in (2, 4, 5):
        project.versions.promote(number, "ann")
    assert serving() == [5, 4, 5]
    assert project.versions.rollback(to=2).number == 2
    assert serving() == [2, 4, 4]
    # And forward, and the way that nobody names.
    project.versions.promote(5, "ann")
    assert serving() == [5, 4, 5]
    assert project.versions.rollback().number == 2
    assert serving() == [2, 4, 4]
    # What was left itself is not come back to.
    project.versions.promote(5, "ann")
    project.versions.rollback(to=3)
    assert serving() == [5, 3, 5]
    assert project.versions.rollback().number == 2
    assert serving() == [2, 3, 2]


def test_a_training_that_ends_in_the_weights_it_began_with_is_a_version_of_its_own(project, train):
    first = add(project, train("a"))
    project.versions.promote(2, "ann")
    same = add(project, train("a"), first.name, promote=False, sentence="The old model stays.")
    assert (same.number, same.parent, same.state) == (3, 2, VersionState.REFUSED)
    assert states(project) == {1: "base", 2: "*promoted", 3: "refused"}
    assert add(project, train("a"), first.name, promote=False, sentence="The old model stays.").number == 3


def test_adding_again_adds_nothing(project, train):
    first = add(project, train("a"))
    project.versions.promote(2, "ann")
    again = add(project, train("a"))
    assert (again.number, again.state) == (first.number, VersionState.PROMOTED)
    assert len(project.versions.history()) == 2


def test_a_damaged_model_is_refused_and_leaves_nothing(project, train):
    folder = train("a")
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="SHA-256"):
        add(project, folder)
    assert project.versions.history() == []
    assert not (project.folder / "models").exists()
    add(project, train("b"))
    (project.versions.version(2).folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="SHA-256"):
        project.versions.promote(2, "ann")
    assert states(project) == {1: "base", 2: "candidate"}


def test_a_folder_that_cannot_be_written_is_a_sentence(project, train):
    (project.folder / "models").write_text("a file")
    with pytest.raises(ProjectError, match="cannot be copied"):
        add(project, train("a"))
    assert project.versions.history() == []


def test_on_another_machine_it_is_installed_when_the_project_is_opened(project, train, monkeypatch, tmp_path, caplog):
    made = add(project, train("a"))
    project.versions.promote(2, "ann")
    project.close()
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
    assert made.name not in {model.name for model in list_models()}
    with Project.open(project.folder) as again:
        assert again.default_model(Modality.FUNDUS) == made.name
        assert model_info(made.name).sha256 == made.sha256
    # Where it cannot be, the project opens all the same.
    (tmp_path / "full").write_text("a file")
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(tmp_path / "full"))
    with Project.open(project.folder) as again:
        assert again.default_model(Modality.FUNDUS) == "fundus-small"
    assert "cannot be copied" in caplog.text


def test_a_project_from_elsewhere_does_not_replace_a_model_of_ones_own(project, train, monkeypatch, tmp_path, caplog):
    made = add(project, train("a"))
    project.versions.promote(2, "ann")
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
    own = tmp_path / "elsewhere" / "mine"
    shutil.copytree(made.folder, own)
    config = (own / "config.json").read_text().replace(made.name, "mine")
    (own / "config.json").write_text(config)
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    # Another model of that name, which the row of a version calls by another, or by its own.
    shutil.copytree(made.folder, project.folder / "models" / "mine")
    (project.folder / "models" / "mine" / "config.json").write_text(config.replace('"threshold"', '"threshold" '))
    for name in ("x-v2-000000", "mine"):
        project._database.rows("UPDATE versions SET name = ?, folder = 'models/mine' WHERE number = 2", (name,))
        project.versions.install_missing()
        assert {path.name: path.read_bytes() for path in own.iterdir()} == before
        assert "is not the model in" in caplog.text
        caplog.clear()


def test_a_model_that_was_lost_in_the_project_is_a_sentence(project, train):
    made = add(project, train("a"))
    (made.folder / "config.json").unlink()
    with pytest.raises(ModelError, match="cannot be used"):
        project.versions.promote(2, "ann")


def test_a_folder_outside_the_project_is_not_read(project, train):
    add(project, train("a"))
    project._database.rows("UPDATE versions SET folder = '../x' WHERE number = 2")
    with pytest.raises(ProjectError, match="outside itself"):
        project.versions.history()


def test_a_damaged_row_does_not_lock_the_project(project, train, caplog):
    add(project, train("a"))
    project.versions.promote(2, "ann")
    project._database.rows("UPDATE versions SET figures = '{' WHERE number = 2")
    project.close()
    with Project.open(project.folder) as again:
        assert len(again.images()) == 1
        with pytest.raises(ProjectError, match="damaged version"):
            again.versions.history()
    assert "damaged version" in caplog.text


def test_notes_are_the_annotators(project, train):
    add(project, train("a"), notes="one")
    project.versions.promote(2, "ann", "two")
    assert project.versions.version(2).notes == "one\ntwo"
    project.versions.set_notes(2, "three")
    assert project.versions.version(2).notes == "three"


def test_what_is_new_since_the_current_version(project, train, tmp_path):
    record = project.images()[0]
    project.set_state(record.id, ImageState.DONE)
    assert what_to_learn(project).new == 1
    add(project, train("a"), images=[record.content_hash])
    assert what_to_learn(project).new == 1
    project.versions.promote(2, "ann")
    assert what_to_learn(project).new == 0
    # Corrected once more.
    project.open_session(record.id).stroke(np.ones((2, 2), np.uint8), (2, 2))
    assert what_to_learn(project).new == 0
    project.set_state(record.id, ImageState.DONE)
    assert what_to_learn(project).new == 1


def test_what_was_decided_while_a_version_was_trained_is_new_to_it(project, train):
    record = project.images()[0]
    session = project.open_session(record.id)
    session.stroke(np.ones((2, 2), np.uint8), (2, 2))
    learnt = {"content_hash": record.content_hash, "done": False, "edits": 1}
    project.set_state(record.id, ImageState.DONE)
    add(project, train("a"), images=[record.content_hash], record={"record": {"images": [learnt]}})
    project.versions.promote(2, "ann")
    assert what_to_learn(project).new == 1
    learnt["done"] = True
    add(project, train("b"), images=[record.content_hash], record={"record": {"images": [learnt]}})
    project.versions.promote(3, "ann")
    assert what_to_learn(project).new == 0
    session.stroke(np.ones((2, 2), np.uint8), (2, 12))
    project.set_state(record.id, ImageState.DONE)
    assert what_to_learn(project).new == 1


WORKER = """
import os, shutil, signal, sys
from pathlib import Path
from napari_vessel.review import Project, versions

folder, model, moment = sys.argv[1:4]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

project = Project.open(folder)
if moment == "copying":
    versions.shutil.copyfile = die
elif moment == "copied":
    Path.rename = die
elif moment == "renamed":
    versions._insert = die
project.versions.add(Path(model), parent="fundus-small", promote=True, sentence="Better.",
                     figures={"old": {"dice": 0.7}, "new": {"dice": 0.8}}, record={}, images=[])
if moment == "installing":
    Path.rename = die
elif moment == "installed":
    versions._make_current = die
project.versions.promote(2, "gate")
sys.stdout.write("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("moment", ["copying", "copied", "renamed", "installing", "installed"])
def test_a_killed_process_leaves_the_project_whole(project, train, tmp_path, moment):
    project.close()
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    words = [sys.executable, str(script), str(project.folder), str(train("a")), moment]
    killed = subprocess.run(words, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    with Project.open(project.folder) as again:
        for one in again.versions.history():
            assert one.folder is None or read_weights(read_model(one.folder)) == b"a"
        assert again.versions.current() is None
        assert again.default_model(Modality.FUNDUS) == "fundus-small"
        made = add(again, train("a"))
        assert made.number == 2
        assert again.versions.promote(2, "gate").current
        assert again.default_model(Modality.FUNDUS) == made.name
        assert [path.name for path in (again.folder / "models").iterdir()] == [made.name]
