"""The gap benchmark as it is run, on a generated set in DRIVE's layout."""

import json
import sys
from pathlib import Path

import cv2
import gaps
import numpy as np
import pytest
import tifffile
from PIL import Image


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two test images, and a probability with a break for each."""
    folder = tmp_path_factory.mktemp("drive")
    for name in ("images", "1st_manual", "2nd_manual", "mask"):
        (folder / "test" / name).mkdir(parents=True)
    (folder / "probability").mkdir()
    for number in (1, 2):
        vessels = np.zeros((160, 180), np.uint8)
        for y in (40, 80, 120):
            cv2.line(vessels, (8, y), (170, y + 5 * number), 1, 3)
        cv2.line(vessels, (90, 40), (90, 120), 1, 3)
        probability = 0.9 * cv2.GaussianBlur(vessels.astype(np.float32), (0, 0), 0.8)
        probability[30:55, 40:46] *= 0.3
        probability[100:150, 140:150] *= 0.3
        noise = np.random.default_rng(number).normal(0, 3, (160, 180, 3))
        picture = 150 - 60 * cv2.GaussianBlur(vessels.astype(np.float32), (0, 0), 0.8)[..., None] + noise
        stem = f"{number:02d}"
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / f"test/images/{stem}_test.tif")
        Image.fromarray(vessels * 255).save(folder / f"test/1st_manual/{stem}_manual1.gif")
        Image.fromarray(vessels * 255).save(folder / f"test/2nd_manual/{stem}_manual2.gif")
        Image.fromarray(np.full((160, 180), 255, np.uint8)).save(folder / f"test/mask/{stem}_test_mask.gif")
        tifffile.imwrite(folder / "probability" / f"{stem}_test.tif", probability.astype(np.float32))
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["gaps.py", *map(str, arguments)])
    gaps.main()


def test_one_command_writes_every_row(drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "gaps.json"
    given = ("--drive", drive, "--probability", drive / "probability", "--threshold", 0.5)
    run(monkeypatch, *given, "--workers", 1, "-o", out)
    report = json.loads(out.read_text())
    results = report["results"]["DRIVE"]
    assert results["images"] == ["drive/01_test", "drive/02_test"]
    assert results["end_to_end"]["natural_gaps"] == {"first": 4, "second": 4}
    assert results["end_to_end"]["napari-vessel, score 0.5"]["first"]["recall"]["value"] > 0.5
    assert results["links"]["candidate_recall"]["consensus"]["count"] == 4
    assert results["cuts"]["offered"] == 0
    assert results["fragments"]["observers_agree"]["value"] == 1.0
    assert set(results["planted"]) >= {"napari-vessel, mask only", "closing, disc 2"}
    text = out.with_suffix(".md").read_text()
    assert "not offered" in text
    assert "8-connected" in text
    assert "CREATIS" in text
    assert str(drive) not in text + out.read_text()


def test_a_missing_probability_is_said(drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("--drive", drive, "--probability", tmp_path, "--threshold", 0.5)
    with pytest.raises(gaps.InputError, match=r"There is no 01_test\.tif"):
        run(monkeypatch, *given, "--workers", 1, "-o", tmp_path / "gaps.json")


def test_saved_probabilities_need_a_threshold(drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--drive", drive, "--probability", tmp_path, "-o", tmp_path / "gaps.json")
