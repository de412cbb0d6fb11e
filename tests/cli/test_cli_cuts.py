"""``napari-vessel cuts``: false bridges of a mask, with and without an image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_vessel.completion import Gap, GapKind


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two vessels joined by a bar in the mask, which their image does not show."""
    mask = np.zeros((160, 240), np.uint8)
    mask[60:66, 10:230] = mask[80:86, 10:230] = 255
    pixels = np.where(mask > 0, 90, 160).astype(np.uint8)
    mask[66:80, 118:123] = 255
    paths = tmp_path / "eye_mask.png", tmp_path / "eye.png"
    Image.fromarray(mask).save(paths[0])
    Image.fromarray(np.repeat(pixels[..., None], 3, axis=2)).save(paths[1])
    return paths


def test_cuts_are_written(run, files: tuple[Path, Path], tmp_path: Path) -> None:
    outcome = run("cuts", *files, "-o", tmp_path / "cuts.json", "--fov", "none", "--json")
    assert outcome.code == 0, outcome.err
    found = [Gap.from_json(one) for one in json.loads((tmp_path / "cuts.json").read_text())["cuts"]]
    assert outcome.json == {"output": str(tmp_path / "cuts.json"), "cuts": len(found)}
    assert found[0].kind is GapKind.CUT
    assert found[0].score > 0.5
    assert found[0].centre == pytest.approx((72.5, 120), abs=3)


def test_a_mask_alone_is_enough(run, files: tuple[Path, Path]) -> None:
    outcome = run("cuts", files[0])
    assert outcome.code == 0, outcome.err
    assert "1 of them likelier than not" in outcome.out
    assert run("cuts", files[0], "--json").json["cuts"][0]["kind"] == "cut"


def test_a_field_of_view_is_heeded_without_an_image(run, files: tuple[Path, Path], tmp_path: Path) -> None:
    field = np.zeros((160, 240), np.uint8)
    field[:, :100] = 255
    (tmp_path / "fov").mkdir()
    Image.fromarray(field).save(tmp_path / "fov" / "eye_fov.png")

    for place in ("fov", "fov/eye_fov.png"):
        outcome = run("cuts", files[0], "--fov", tmp_path / place, "--json")
        assert outcome.code == 0, outcome.err
        assert not [cut for cut in outcome.json["cuts"] if cut["score"] > 0.5]

    absent = run("cuts", files[0], "--fov", tmp_path / "nothing.png")
    assert absent.code == 1
    assert "nothing.png does not exist" in absent.err


def test_a_stack_of_masks_is_refused(run, files: tuple[Path, Path], tmp_path: Path) -> None:
    mask = Image.open(files[0])
    mask.save(tmp_path / "stack.tif", save_all=True, append_images=[mask])
    outcome = run("cuts", tmp_path / "stack.tif")
    assert outcome.code == 1
    assert "has 2 pages" in outcome.err


def test_what_cannot_be_written_is_said_before_anything_is_read(run, files: tuple[Path, Path], tmp_path: Path) -> None:
    outcome = run("cuts", tmp_path / "nothing.png", "-o", tmp_path / "cuts.txt")
    assert outcome.code == 1
    assert ".json" in outcome.err
