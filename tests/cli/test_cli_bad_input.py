"""Whatever is wrong with a file: one line, exit code 1, nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image


def _empty(folder: Path) -> list[Path]:
    (folder / "a.png").touch()
    return [folder / "a.png"]


def _truncated_jpeg(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (200, 200, 3), np.uint8)).save(folder / "whole.jpg")
    data = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "a.jpg").write_bytes(data[: len(data) // 2])
    return [folder / "a.jpg"]


def _text(folder: Path) -> list[Path]:
    (folder / "a.png").write_text("This is not a picture.\n", encoding="utf-8")
    return [folder / "a.png"]


def _one_pixel(folder: Path) -> list[Path]:
    Image.fromarray(np.full((1, 1), 7, np.uint8)).save(folder / "a.png")
    return [folder / "a.png"]


def _all_nan(folder: Path) -> list[Path]:
    tifffile.imwrite(folder / "a.tif", np.full((64, 64), np.nan, np.float32))
    return [folder / "a.tif"]


def _five_dimensions(folder: Path) -> list[Path]:
    tifffile.imwrite(folder / "a.tif", np.zeros((2, 3, 2, 32, 32), np.uint8), metadata={"axes": "TZCYX"}, ome=True)
    return [folder / "a.tif"]


def _one_stem_twice(folder: Path) -> list[Path]:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    (folder / "x").mkdir()
    picture.save(folder / "a.png")
    picture.save(folder / "x" / "a.tif")
    return [folder / "a.png", folder / "x" / "a.tif"]


def _no_permission(folder: Path) -> list[Path]:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("every file can be read by this user")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / "a.png")
    (folder / "a.png").chmod(0)
    return [folder / "a.png"]


def _folder_named_like_a_file(folder: Path) -> list[Path]:
    (folder / "a.png").mkdir()
    return [folder / "a.png"]


def _nothing(folder: Path) -> list[Path]:
    return [folder / "missing.png"]


def _good_then_bad(folder: Path) -> list[Path]:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(folder / "a.png")
    (folder / "b.png").touch()
    return [folder / "a.png", folder / "b.png"]


MAKERS = [
    _empty,
    _truncated_jpeg,
    _text,
    _one_pixel,
    _all_nan,
    _five_dimensions,
    _one_stem_twice,
    _no_permission,
    _folder_named_like_a_file,
    _nothing,
    _good_then_bad,
]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__.strip("_"))
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    """Paths that cannot be used."""
    folder = tmp_path / "in"
    folder.mkdir()
    paths: list[Path] = request.param(folder)
    return paths


def test_segment(run, bad: list[Path], tmp_path: Path) -> None:
    outcome = run("segment", *bad, "-o", tmp_path / "out", "--model", "ridge")

    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert "model" not in outcome.err  # it is the input that is refused
    assert not (tmp_path / "out").exists()


def test_project_create(run, bad: list[Path], tmp_path: Path) -> None:
    # Two of one name are only bad where a mask is looked for by the name.
    masks = ["--masks", tmp_path] if len({path.stem for path in bad}) < len(bad) else []
    outcome = run("project", "create", tmp_path / "project", *bad, *masks)

    assert outcome.code == 1
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("place", ["out", "out/deeper"])
def test_output_folder_that_is_a_file(run, photograph: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")

    outcome = run("segment", photograph, "-o", tmp_path / place, "--model", "no-such-model")

    assert outcome.code == 1
    assert outcome.err == f"error: {tmp_path / 'out'} is a file; name a folder after -o.\n"
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everybody may write there")
def test_output_folder_that_cannot_be_written_to(run, photograph: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)

    outcome = run("segment", photograph, "-o", tmp_path / "locked" / "out", "--model", "no-such-model")

    assert outcome.code == 1
    assert "locked cannot be written to" in outcome.err


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everybody may write there")
@pytest.mark.parametrize(
    "words",
    [
        ["gaps", "none.png", "--image", "none.png", "-o", "locked/o.json"],
        ["measure", "none.png", "-o", "locked/o.csv"],
        ["report", "none", "-o", "locked/o.html"],
    ],
)
def test_a_closed_folder_is_found_before_anything_is_read(run, tmp_path: Path, monkeypatch, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("locked").mkdir(mode=0o500)

    outcome = run(*words)

    assert outcome.code == 1
    assert "locked cannot be written to; ask for the right to write there" in outcome.err


@pytest.mark.parametrize(
    "words",
    [
        ["segment"],
        ["segment", "a.png"],
        ["segment", "a.png", "-o", "b", "--threshold", "2"],
        ["segment", "a.png", "-o", "b", "--device", "toaster"],
        ["complete", "a.png", "--image", "b.png", "-o", "c.png"],
        ["dance"],
        ["export", "p", "--format", "clay", "-o", "d"],
        ["gaps", "--nonsense"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(run, words: list[str]) -> None:
    outcome = run(*words)

    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert "--help" in outcome.err
