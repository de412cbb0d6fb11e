"""report: one file on a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_vessel.images.writing import write_mask


@pytest.fixture
def projects(run, photograph: Path, broken_mask: Path, tmp_path: Path) -> tuple[Path, Path]:
    for name in ("ann", "bob"):
        created = run("project", "create", tmp_path / name, photograph, "--masks", broken_mask.parent)
        assert created.code == 0, created.err
    return tmp_path / "ann", tmp_path / "bob"


def test_a_report_with_reference_and_second_reader(run, projects, sample, tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    write_mask(tmp_path / "truth" / "eye_7.png", sample.truth.mask)
    out = tmp_path / "study.html"
    done = run("report", projects[0], "-o", out, "--truth", tmp_path / "truth", "--agreement", projects[1], "--json")
    assert done.code == 0, done.err
    assert done.json == {"output": str(out), "bytes": out.stat().st_size}
    page = out.read_text(encoding="utf-8")
    for words in ("Vessel review: ann", "Against the reference masks", "Agreement with a second reader", "eye_7"):
        assert words in page, words
    again = run("report", projects[0], "-o", out)
    assert again.code == 0
    assert again.out.startswith(f"{out}: 0.")


def test_what_cannot_be_reported_is_said_before_anything_is_opened(run, projects, tmp_path: Path) -> None:
    for words, told in (
        (["-o", "r.pdf"], "end in .html"),
        (["-o", tmp_path / "r.html", "--agreement", projects[0]], "given twice"),
        (["-o", tmp_path / "r.html", "--truth", tmp_path / "none"], "not a folder"),
    ):
        refused = run("report", projects[0], *words)
        assert (refused.code, told in refused.err) == (1, True), refused.err
    assert not (tmp_path / "r.html").exists()
