"""Masks against truths, from files to a table."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_vessel.images.writing import write_mask
from napari_vessel.topology.evaluation import COLUMNS


def read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def drive(tmp_path: Path, sample) -> Path:
    """DRIVE's own layout and file types, with generated pictures."""
    root = tmp_path / "DRIVE" / "test"
    pixels = (sample.image.pixels * 255).round().astype(np.uint8)
    truth = sample.truth.mask
    fov = np.ones(truth.shape, bool) if sample.image.fov is None else sample.image.fov
    for name in ("images", "1st_manual", "2nd_manual", "mask"):
        (root / name).mkdir(parents=True)
    for number in (1, 2, 10):
        Image.fromarray(np.roll(pixels, number, 1)).save(root / "images" / f"{number:02}_test.tif")
        vessels = Image.fromarray(np.roll(truth, number, 1).astype(np.uint8) * 255)
        vessels.save(root / "1st_manual" / f"{number:02}_manual1.gif")
        second = np.where(np.roll(sample.broken, number, 1)[..., None], [255, 252, 254], [2, 0, 1]).astype(np.uint8)
        Image.fromarray(second).convert("P", palette=Image.Palette.ADAPTIVE).save(
            root / "2nd_manual" / f"{number:02}_manual2.gif"
        )
        Image.fromarray(fov.astype(np.uint8) * 255).save(root / "mask" / f"{number:02}_test_mask.gif")
    return root


def test_drive_as_its_owners_lay_it_out(run, drive: Path, tmp_path: Path) -> None:
    segmented = run("segment", drive / "images", "-o", tmp_path / "ours", "--model", "ridge", "--fov", drive / "mask")
    assert segmented.code == 0, segmented.err
    assert (tmp_path / "ours" / "01_test_mask.png").is_file()

    outcome = run(
        "evaluate", tmp_path / "ours", drive / "1st_manual", "--fov", drive / "mask",
        "--probability", tmp_path / "ours", "-o", tmp_path / "scores.csv",
    )  # fmt: skip

    assert outcome.code == 0, outcome.err
    rows = read(tmp_path / "scores.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [row["image"] for row in rows] == ["01_test", "02_test", "10_test"]
    assert all(0.3 < float(row["dice"]) < 1 for row in rows)
    assert all(0.7 < float(row["auc"]) <= 1 for row in rows)
    made = json.loads((tmp_path / "scores.json").read_text())
    assert [Path(file["fov"]).name for file in made["files"]] == [f"{n}_test_mask.gif" for n in ("01", "02", "10")]
    assert [Path(file["truth"]).name for file in made["files"]] == [f"{n}_manual1.gif" for n in ("01", "02", "10")]
    for words in ("8-connected", "MaskVSC", "64 x 64", "inside counts", "draws of images", "cldice", "3 images"):
        assert words in outcome.out, words
    assert "01_test_mask.png with 01_manual1.gif" in outcome.err


def test_the_second_observer_of_drive(run, drive: Path, tmp_path: Path) -> None:
    words = ("evaluate", drive / "2nd_manual", drive / "1st_manual", "--fov", drive / "mask")

    outcome = run(*words, "-o", tmp_path / "scores.csv", "--json")

    assert outcome.code == 0, outcome.err
    assert outcome.json["images"] == 3
    rows = read(tmp_path / "scores.csv")
    assert outcome.json["mean"]["dice"]["mean"] == pytest.approx(
        np.mean([float(row["dice"]) for row in rows]), abs=1e-6
    )
    assert all(row["auc"] == "" and float(row["precision"]) > 0.95 and float(row["betti0_error"]) > 0 for row in rows)
    again = run(*words, "-o", tmp_path / "scores.csv", "--json")
    assert again.json == outcome.json


def test_two_files(run, broken_mask: Path, sample, tmp_path: Path) -> None:
    write_mask(tmp_path / "truth.png", sample.truth.mask)

    outcome = run("evaluate", broken_mask, tmp_path / "truth.png", "-o", tmp_path / "one.csv")

    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert [row["image"] for row in read(tmp_path / "one.csv")] == ["eye_7"]
    assert "one image" in outcome.out
    assert "whole image counts" in outcome.out


def test_a_list_of_pairs(run, broken_mask: Path, sample, tmp_path: Path) -> None:
    write_mask(tmp_path / "truth.png", sample.truth.mask)
    (tmp_path / "pairs.csv").write_text("prediction,truth\nmasks/eye_7_mask.png,truth.png\n")

    outcome = run("evaluate", "--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "listed.csv")

    assert outcome.code == 0, outcome.err
    assert [row["image"] for row in read(tmp_path / "listed.csv")] == ["eye_7"]


def test_truths_without_prediction_are_named(run, broken_mask: Path, sample, tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    for name in ("eye_7", "eye_8"):
        write_mask(tmp_path / "truth" / f"{name}.png", sample.truth.mask)

    outcome = run("evaluate", broken_mask.parent, tmp_path / "truth", "-o", tmp_path / "a.csv")

    assert outcome.code == 0
    assert "1 of the truths have no prediction and are left out: eye_8.png" in outcome.err


@pytest.fixture
def folders(tmp_path: Path, sample) -> tuple[Path, Path]:
    """A folder of two predictions and one of their truths."""
    for name in ("p", "t"):
        (tmp_path / name).mkdir()
        for image in ("a", "b"):
            write_mask(tmp_path / name / f"{image}.png", sample.truth.mask)
    return tmp_path / "p", tmp_path / "t"


def _other_shape(p: Path, t: Path) -> None:
    write_mask(p / "b.png", np.ones((60, 50), bool))


def _unreadable(p: Path, t: Path) -> None:
    (t / "b.png").write_bytes((t / "b.png").read_bytes()[:60])


def _no_image(p: Path, t: Path) -> None:
    (p / "b.png").write_text("no picture")


def _empty(p: Path, t: Path) -> None:
    for file in p.iterdir():
        file.unlink()


def _one_truth_for_two(p: Path, t: Path) -> None:
    (p / "a_mask.png").write_bytes((p / "a.png").read_bytes())


def _no_truth(p: Path, t: Path) -> None:
    (t / "b.png").rename(t / "c.png")


def _pages(p: Path, t: Path) -> None:
    page = Image.open(p / "a.png")
    (p / "b.png").unlink()
    page.save(p / "b.tif", save_all=True, append_images=[page])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_other_shape, "60 x 50 px but its truth"),
        (_unreadable, "damaged or cut short"),
        (_no_image, "is not an image"),
        (_empty, "No mask files in"),
        (_one_truth_for_two, "both belong to the truth"),
        (_no_truth, "No truth was found for b.png"),
        (_pages, "has 2 pages"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_no_file(run, folders, tmp_path: Path, spoil, words: str) -> None:
    spoil(*folders)
    before = sorted(tmp_path.rglob("*"))

    outcome = run("evaluate", *folders, "-o", tmp_path / "scores.csv")

    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert words in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("nowhere/scores.csv", "does not exist; make it first"),
        ("scores.txt", "must end in .csv"),
        ("pairs.csv", "is there and is no evaluation"),
    ],
)
def test_where_it_cannot_be_written(run, folders, tmp_path: Path, out: str, words: str) -> None:
    (tmp_path / "pairs.csv").write_text("prediction,truth\np/a.png,t/a.png\n")

    outcome = run("evaluate", *folders, "-o", tmp_path / out)

    assert (outcome.code, outcome.out) == (1, "")
    assert words in outcome.err
    assert (tmp_path / "pairs.csv").read_text().startswith("prediction,truth")
    assert not (tmp_path / "scores.csv").exists()


def test_a_missing_truth_is_a_wrong_command_line(run, folders, tmp_path: Path) -> None:
    outcome = run("evaluate", folders[0], "-o", tmp_path / "scores.csv")

    assert outcome.code == 2
    assert "Give PRED and TRUTH" in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C is sent differently there")
def test_interrupting_leaves_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("p", "t"):
        (tmp_path / name).mkdir()
        for number in range(30):
            Image.fromarray(rng.random((400, 400)) < 0.3).save(tmp_path / name / f"{number}.png")
    # The command as it is, but for a word when the first mask is read: that is when Ctrl+C is pressed.
    code = (
        "import sys\n"
        "from napari_vessel.cli import main\n"
        "from napari_vessel.topology.evaluation import run\n"
        "read = run.read_mask\n"
        "run.read_mask = lambda path: print('reading', flush=True) or read(path)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["evaluate", str(tmp_path / "p"), str(tmp_path / "t"), "-o", str(tmp_path / "scores.csv")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)

    assert process.returncode == 1
    assert set(out.split()) <= {"reading"}
    assert err.startswith("error: Cancelled")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "t"]
