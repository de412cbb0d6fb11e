"""compare: two annotators' projects."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from napari_vessel.completion import propose_gaps
from napari_vessel.review import Project, Verdict


@pytest.fixture
def projects(run, photograph: Path, broken_mask: Path, tmp_path: Path, sample) -> tuple[Path, Path]:
    """Ann accepts the first three gaps; Bob rejects the second."""
    gaps = propose_gaps(sample.broken, sample.image)
    for name, second in (("ann", Verdict.ACCEPTED), ("bob", Verdict.REJECTED)):
        created = run("project", "create", tmp_path / name, photograph, "--masks", broken_mask.parent)
        assert created.code == 0, created.err
        with Project.open(tmp_path / name) as project:
            session = project.open_session(project.images()[0].id, name)
            session.set_gaps(gaps)
            for gap, verdict in zip(gaps[:3], (Verdict.ACCEPTED, second, Verdict.ACCEPTED), strict=True):
                session.decide(gap.id, verdict, 1.0)
    return tmp_path / "ann", tmp_path / "bob"


def test_figures_and_disagreements_for_a_person(run, projects, tmp_path: Path) -> None:
    outcome = run("compare", *projects, "-o", tmp_path / "out.csv")

    assert outcome.code == 0, outcome.err
    for words in ("ann (ann) and bob (bob)", "3 decided by both: 2 alike, 1 not", "0.667", "accepted / rejected"):
        assert words in outcome.out, words
    with (tmp_path / "out.csv").open(newline="") as stream:
        assert [row["second"] for row in csv.DictReader(stream)] == ["rejected"]


def test_one_json_object(run, projects, tmp_path: Path) -> None:
    outcome = run("compare", *projects, "-o", tmp_path / "out.json", "--json")

    assert outcome.code == 0, outcome.err
    assert outcome.json["figures"]["kappa"]["value"] == 0.0
    assert outcome.json["figures"]["dice"]["value"] < 1.0
    assert outcome.json["output"] == str(tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["disagreements"] == outcome.json["disagreements"]


def test_without_a_file_nothing_is_written(run, projects, tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run("compare", *projects).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "{ann}", "{ann}"), "given twice"),
        (("compare", "{ann}", "{tmp}/nothing"), "nothing"),
        (("compare", "{ann}", "{tmp}/images"), "images"),
        (("compare", "{ann}", "{bob}", "-o", "{tmp}/out.txt"), ".csv or .json"),
        (("compare", "{ann}", "{bob}", "-o", "{tmp}/no/out.csv"), "does not exist"),
        (("compare", "{ann}", "{bob}", "-o", "{tmp}/mine.csv"), "no comparison"),
        (("compare", "{ann}", "{tmp}/empty"), "no image in common"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_line(run, projects, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "mine.csv").write_text("my thesis")
    Project.create(tmp_path / "empty").close()
    names = {"ann": projects[0], "bob": projects[1], "tmp": tmp_path}

    outcome = run(*(word.format(**names) for word in words))

    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert said in outcome.err
    assert (tmp_path / "mine.csv").read_text() == "my thesis"


def test_a_project_that_is_open_elsewhere_is_named(run, projects) -> None:
    with Project.open(projects[1]):
        outcome = run("compare", *projects)
    assert outcome.code == 1
    assert "already open" in outcome.err


def test_a_wrong_command_line(run) -> None:
    assert run("compare", "only-one").code == 2
    assert run("compare", "a", "b", "--tolerance", "-1").code == 2
