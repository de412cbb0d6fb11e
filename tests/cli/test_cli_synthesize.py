"""The command synthesize: a folder that training and evaluate read, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_vessel.errors import Cancelled
from napari_vessel.images.image import Modality
from napari_vessel.images.masks import read_mask
from napari_vessel.images.reading import read_image
from napari_vessel.images.writing import write_mask
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.synthesis.engine import synthesize
from napari_vessel.training.cases import find_own_cases, read_case

Run = Callable[..., Any]
SMALL = ("--size", "160x171")


def test_a_folder_that_training_reads(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "made"
    done = run("synthesize", "--modality", "fundus", "--count", 2, "--seed", 5, *SMALL, "-o", out, "--json")
    assert done.code == 0, done.err
    assert done.json["images"] == 2
    cases = find_own_cases(out, ("fundus_00006",))
    assert [case.split for case in cases] == ["training", "validation"]
    made = synthesize(Modality.FUNDUS, 5, shape=(160, 171))
    read = read_case(cases[0])
    assert np.array_equal(read.vessels, made.truth)
    assert np.array_equal(read.image.pixels, made.image.pixels)
    assert read.image.fov is not None
    assert np.array_equal(read.image.fov, made.image.fov)
    assert np.array_equal(read_mask(out / "hidden" / "fundus_00005.png").mask, made.hidden)
    again = run("synthesize", "--modality", "fundus", "--count", 2, "--seed", 5, *SMALL, "-o", tmp_path / "again")
    assert again.code == 0
    for file in out.rglob("*.png"):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(out)).read_bytes()


def test_evaluate_reads_the_masks(run: Run, tmp_path: Path) -> None:
    assert run("synthesize", "--modality", "octa", "--count", 1, *SMALL, "-o", tmp_path / "made").code == 0
    masks = tmp_path / "made" / "masks"
    assert not (tmp_path / "made" / "fov").exists()
    hidden = tmp_path / "made" / "hidden"
    done = run("evaluate", hidden, masks, "-o", tmp_path / "table.csv", "--json")
    assert done.code == 0, done.err
    assert done.json["mean"]["dice"]["mean"] < 0.5


def test_like_masks_on_ones_own_images(run: Run, tmp_path: Path, photograph: Path) -> None:
    made = synthesize(Modality.FUNDUS, 1, shape=(220, 220))
    for name, mask in (("masks", made.truth), ("fov", made.image.fov)):
        (tmp_path / name).mkdir()
        assert mask is not None
        write_mask(tmp_path / name / f"{photograph.stem}.png", mask)
    words = ("--like", tmp_path / "masks", "--backgrounds", photograph.parent)
    done = run("synthesize", "--modality", "fundus", "--count", 1, *words, "-o", tmp_path / "made")
    assert done.code == 0, done.err
    image = read_image(tmp_path / "made" / "images" / "fundus_00000.png")
    assert image.shape == (220, 220)
    truth = read_mask(tmp_path / "made" / "masks" / "fundus_00000.png").mask
    assert 0.01 < truth.mean() < 0.4


def test_bad_input_is_one_sentence_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "made"
    empty = tmp_path / "masks"
    empty.mkdir()
    base = ("synthesize", "--modality", "octa", "--count", 1, "-o", out)
    assert "masks" in run(*base, "--like", empty).err
    Image.fromarray(np.zeros((140, 140), np.uint8)).save(empty / "blank.png")
    for words, code, sentence in (
        (("--like", empty), 1, "shows no vessel"),
        (("--backgrounds", tmp_path / "missing"), 1, "does not exist"),
        (("--size", "20x300"), 1, "too small"),
        (("--size", "99999x99999"), 1, "too large"),
        (("--size", "big"), 2, "no size"),
        (("--count", 0), 2, "--count"),
    ):
        done = run(*base, *words)
        assert done.code == code
        assert sentence in done.err
        assert done.err.count("\n") == 1
        assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks"]
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    done = run(*base)
    assert done.code == 1
    assert "not empty" in done.err
    assert (out / "mine.txt").read_text() == "kept"
    assert "holds the input" in run(*base, "--like", out).err


def test_cancelled_half_way_leaves_nothing(tmp_path: Path) -> None:
    from napari_vessel.cli.synthesis import _make

    token = CancelToken()
    job = _make(Modality.OCTA, 3, 0, (160, 160), None, None, tmp_path / "made")
    with pytest.raises(Cancelled):
        run_job(job, lambda progress: token.cancel() if progress.done >= 1 else None, token)
    assert list(tmp_path.iterdir()) == []
