"""The gap benchmark as it is run, on a generated set in DRIVE's layout."""

import json
import sys
from pathlib import Path

import all as benchmarks
import cv2
import gaps
import measurements
import numpy as np
import pytest
import tifffile
import torch
from creatis_peer import MODELS
from gap_completion import CompletionModel, completion_model
from PIL import Image

from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.networks import build_network
from napari_vessel.segmentation import default_completion_model, model_info
from napari_vessel.training.cases import Case
from napari_vessel.training.export import write_model


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


def test_one_command_writes_every_row(
    drive: Path, creatis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "gaps.json"
    given = ("--drive", drive, "--probability", drive / "probability", "--threshold", 0.5)
    run(monkeypatch, *given, "--completion-model", "none", "--creatis", creatis, "--workers", 1, "-o", out)
    report = json.loads(out.read_text())
    results = report["results"]["DRIVE"]
    assert results["images"] == ["drive/01_test", "drive/02_test"]
    assert results["end_to_end"]["natural_gaps"] == {"first": 4, "second": 4}
    assert results["end_to_end"]["napari-vessel, score 0.5"]["first"]["recall"]["value"] > 0.5
    assert results["links"]["candidate_recall"]["consensus"]["count"] == 4
    # No two vessels of these images are near enough for a false bridge.
    assert results["cuts"]["planted"] == 0
    assert results["fragments"]["observers_agree"]["value"] == 1.0
    assert set(results["planted"]) >= {"napari-vessel, mask only", "closing, disc 2", *MODELS}
    assert set(report["creatis"]) == set(MODELS)
    for name in MODELS:
        # It draws ten px on to the right: these breaks are closed.
        assert results["end_to_end"][name]["first"]["recall"]["value"] == 1.0
    text = out.with_suffix(".md").read_text()
    assert "precision at recall .8" in text
    assert "8-connected" in text
    assert not any(str(folder) in text + out.read_text() for folder in (drive, creatis))
    assert "Completion model: none" in text
    assert "with completion model" not in text.split("Measured on")[0].split("`python")[0]


@pytest.fixture
def completer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A completion model without training, which reads the ridge filter's probability."""
    monkeypatch.setenv("NAPARI_VESSEL_MODELS", str(tmp_path / "models"))
    torch.manual_seed(0)
    network = build_network("vig", in_channels=3, channels=(32, 32, 32), blocks=1)
    config = {
        "format": 1,
        "name": "tiny-vig",
        "title": "Tiny completion",
        "kind": "completion",
        "version": "0.1",
        "modalities": ["fundus"],
        "licence": "none",
        "network": {"name": "vig", "in_channels": 3, "channels": [32, 32, 32], "blocks": 1},
        "working_scale": {"kind": "field_of_view", "px": 160},
        "threshold": 0.5,
        "min_size": 0,
        "settings": {"segmenter": "ridge"},
        "training": {"split": {"CHASE_DB1": {}}},
    }
    write_model(network, tmp_path / "models" / "tiny-vig", config)
    return tmp_path / "models" / "tiny-vig"


def test_a_completion_model_has_a_row_in_every_table(
    drive: Path, completer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "gaps.json"
    given = ("--drive", drive, "--probability", drive / "probability", "--threshold", 0.5, "--workers", 1)
    run(monkeypatch, *given, "--completion-model", "tiny-vig", "-o", out)
    report = json.loads(out.read_text())
    used = report["predictor"]["completion_model"]
    assert (used["name"], used["segmenter"], used["trained_on"]) == ("tiny-vig", "ridge", ["chase_db1"])
    assert len(used["sha256"]) == 64
    results = report["results"]["DRIVE"]
    found = "napari-vessel with completion model"
    assert {found, "completion model alone, 0.5"} <= set(results["planted"])
    assert {f"{found}, every candidate", f"{found}, proposals shown"} <= set(results["links"])
    assert results["links"]["candidate_recall_with_completion"]["first"]["count"] == 4
    assert {f"{found}, score 0.5", "completion model alone, 0.5"} <= set(results["end_to_end"])
    assert f"{found}: fragment score" in results["fragments"]["auc"]
    assert results["effort"]["with_completion"]["queue_actions"]["count"] == 2
    text = out.with_suffix(".md").read_text()
    assert "Completion model: tiny-vig, for the probability of ridge, trained on chase_db1." in text
    assert f"| per image, mean | napari-vessel | {found} |" in text


def test_a_completion_model_sees_the_erased_image_only(completer: Path) -> None:
    pixels = np.full((120, 120, 3), 0.6, np.float32)
    pixels[58:62, 10:110] = 0.35
    image = VesselImage(pixels, np.ones((120, 120), np.bool_), Modality.FUNDUS)
    erased = pixels.copy()
    erased[58:62, 50:70] = 0.6
    case = Case("drive/x", image, np.zeros((120, 120), np.bool_), None)
    predictor = gaps.Predictor("ridge", completion=completion_model(str(completer)))
    probability, completion = predictor.again(case, erased)
    whole = predictor.completed(image, predictor.predict(case)[0])
    assert probability is not None
    assert completion is not None
    assert whole is not None
    assert completion[60, 58:62].mean() < whole[60, 58:62].mean()
    # The segmenter it was trained with made this probability, and so it is completed as it is.
    given = CompletionModel(completer).predict(image, np.zeros((120, 120), np.float32), "ridge")
    own = CompletionModel(completer).predict(image, np.zeros((120, 120), np.float32), "another")
    assert given.max() < own.max()


def test_which_completion_model(completer: Path, tmp_path: Path) -> None:
    assert completion_model("none") is None
    assert completion_model("tiny-vig") == completion_model(str(completer)) == CompletionModel(completer)
    shipped = default_completion_model(Modality.FUNDUS)
    assert completion_model(None) == (None if shipped is None else completion_model(shipped))
    with pytest.raises(gaps.InputError, match="segments"):
        completion_model(str(model_info("ridge").folder))


def test_all_passes_the_completion_model_on(completer: Path) -> None:
    options = benchmarks.make_parser().parse_args(["--drive", "here", "--lwnet", "there", "--completion-model", "none"])
    for part in ("gaps", "gaps_lwnet"):
        given = benchmarks.arguments(part, options)
        assert given is not None
        assert given[given.index("--completion-model") + 1] == "none"
    assert "--completion-model" not in (benchmarks.arguments("speed", options) or [])


def test_all_gives_creatis_to_the_gap_benchmarks_alone() -> None:
    options = benchmarks.make_parser().parse_args(["--drive", "here", "--lwnet", "there", "--creatis", "elsewhere"])
    with_it = [part for part in benchmarks.PARTS if "--creatis" in (benchmarks.arguments(part, options) or [])]
    assert with_it == ["gaps", "gaps_lwnet"]


def test_all_measures_when_the_peer_that_measures_is_there() -> None:
    options = benchmarks.make_parser().parse_args(["--drive", "here", "--pvbm", "there", "--fresh"])
    given = benchmarks.arguments("measurements", options)
    assert given is not None
    parser = measurements.make_parser()
    read = parser.parse_args(given)
    assert (read.drive, read.pvbm, read.model, read.fresh) == (Path("here"), Path("there"), "fundus-small", True)
    options.pvbm = None
    assert benchmarks.arguments("measurements", options) is None


def test_a_missing_probability_is_said(drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("--drive", drive, "--probability", tmp_path, "--threshold", 0.5)
    with pytest.raises(gaps.InputError, match=r"There is no 01_test\.tif"):
        run(monkeypatch, *given, "--workers", 1, "-o", tmp_path / "gaps.json")


def test_saved_probabilities_need_a_threshold(drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--drive", drive, "--probability", tmp_path, "-o", tmp_path / "gaps.json")
