"""The versions of a project's model on the command line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from napari_vessel.images import Modality
from napari_vessel.review.project import Project
from napari_vessel.segmentation.registry import model_info


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A project with two versions, a candidate and a refused one."""
    config = json.loads((model_info("fundus-small").folder / "config.json").read_text(encoding="utf-8"))
    with Project.create(tmp_path / "study") as project:
        for weights, promote, sentence in (
            (b"a", True, "Better: Dice .70 to .75."),
            (b"b", False, "Dice fell by .05."),
        ):
            folder = tmp_path / weights.decode() / "tuned"
            folder.mkdir(parents=True)
            config |= {"name": "tuned", "sha256": hashlib.sha256(weights).hexdigest()}
            (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
            (folder / "model.safetensors").write_bytes(weights)
            project.versions.add(
                folder,
                parent="fundus-small",
                promote=promote,
                sentence=sentence,
                figures={"new": {"dice": 0.75}},
                record={"seed": 1},
                images=["h"],
            )
    return tmp_path / "study"


def test_history_promote_and_rollback(run, study):
    told = run("models", "history", study)
    assert told.code == 0, told.err
    heads = [line.split()[:2] for line in told.out.splitlines() if not line.startswith(" " * 6)]
    assert heads == [["1", "base"], ["2", "candidate"], ["3", "refused"]]
    assert "Dice fell by .05." in told.out
    promoted = run("models", "promote", study, "--note", "looks good", "--by", "ann", "--json")
    assert promoted.code == 0, promoted.err
    assert (promoted.json["number"], promoted.json["current"], promoted.json["decided_by"]) == (2, True, "ann")
    listed = run("models", "list", "--json").json["models"]
    assert promoted.json["name"] in {model["name"] for model in listed}
    found = run("models", "history", study, "--json").json["versions"]
    assert [(one["number"], one["state"], one["current"]) for one in found] == [
        (1, "base", False), (2, "promoted", True), (3, "refused", False)
    ]  # fmt: skip
    assert (found[1]["notes"], found[1]["figures"], found[1]["images"]) == (
        "looks good",
        {"new": {"dice": 0.75}},
        ["h"],
    )
    back = run("models", "rollback", study)
    assert back.code == 0, back.err
    assert "version 1, fundus-small, again" in back.out
    with Project.open(study) as project:
        assert project.default_model(Modality.FUNDUS) == "fundus-small"
    again = run("models", "rollback", study, "--to", "2", "--json")
    assert again.json["current"] is True


def test_what_cannot_be_is_a_sentence(run, study, tmp_path):
    for words, said in (
        (("promote", study, "3"), "was refused (Dice fell by .05)"),
        (("promote", study, "7"), "no version 7"),
        (("rollback", study), "nothing to return to"),
        (("history", tmp_path / "nowhere"), "is not a napari-vessel project"),
    ):
        refused = run("models", *words)
        assert refused.code == 1, words
        assert said in refused.err
        assert refused.err.count("\n") == 1
    assert run("models", "promote", study, "3", "--anyway").code == 0
    assert run("models", "promote", study).code == 0
    nobody = run("models", "promote", study)
    assert nobody.code == 1
    assert "waits for a decision" in nobody.err


def test_a_project_without_versions(run, tmp_path):
    with Project.create(tmp_path / "study"):
        pass
    assert run("models", "history", tmp_path / "study").out == "No model was trained here yet.\n"
    assert run("models", "history", tmp_path / "study", "--json").json == {"versions": []}
