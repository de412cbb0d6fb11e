"""The pre-training benchmark: what is hidden of the true vessels, and every arm from end to end, tiny."""

import json
import sys
from dataclasses import replace

import cv2
import numpy as np
import pretrain as benchmark
import pretrain_masking
import pytest
from pretrain import ARMS, Run, drawn, perform, table

from napari_vessel.synthesis.samples import make_sample
from napari_vessel.training.cases import find_cases
from napari_vessel.training.recipe import NetworkRecipe


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Five small angiograms of every split in the plain layout."""
    folder = tmp_path_factory.mktemp("data") / "ROSSA"
    for seed, stem in enumerate(("1", "2", "101", "201", "202")):
        sample = make_sample("octa", seed=seed, shape=(128, 128))
        for room, pixels in (("images", sample.image.pixels * 255), ("masks", sample.truth.labels * 255)):
            (folder / room).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / room / f"{stem}.png"), np.round(pixels).astype(np.uint8))
    return folder


@pytest.fixture
def rossa(images, tmp_path, monkeypatch):
    """The angiograms, and runs of two steps with a tiny network."""
    monkeypatch.setattr(benchmark, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(benchmark, "network_of", lambda key, name: NetworkRecipe(name, (4, 8, 8, 64), 1, 96.0, 3))
    given = benchmark.settings_of
    monkeypatch.setattr(benchmark, "settings_of", lambda run: replace(given(run), segmenter_steps=2, batch=2))
    return images


def test_guided_masking_hides_more_of_the_true_vessels_than_chance(rossa):
    rows = [pretrain_masking.measure_image(files, 6, 0) for files in find_cases("rossa", rossa, "training")]
    for row in rows:
        assert row["precision"] > 0.5
        assert 0 < row["first_recall"] <= row["recall"]
        for what in ("pixels", "patches"):
            assert row[f"{what} 1"] > max(row[f"{what} random"], row[f"{what} 0"]) + 0.05
            assert row[f"{what} random"] == pytest.approx(0.5, abs=0.1)
    text = pretrain_masking.table({"rossa": {"images": rows, "crops": 6}})
    assert text.splitlines()[2].startswith("| ROSSA | 2 | ")


def test_every_arm_learns_from_the_same_images_and_is_made_once(rossa, tmp_path, monkeypatch):
    made = {}
    for arm in ARMS:
        run = Run("rossa", "vit_unet", arm, 1, 0, steps=2, pre_steps=2, tests=1)
        assert run.find() is None
        made[arm] = perform(run, rossa, "cpu")
        assert run.find() == made[arm]
    assert len({tuple(one["labelled"]) for one in made.values()}) == 1
    assert all(0 <= one["images"][0]["dice"] <= 1 and one["images"][0]["image"] == "201" for one in made.values())
    # Of each way to pre-train once: on the training images, without labels and without any test image.
    found = (tmp_path / "runs").glob("pretrained-*/encoder/config.json")
    configs = {path.parents[1].name.split("-")[3]: path for path in found}
    assert set(configs) == {"random", "guided"}
    told = {arm: json.loads(path.read_text())["training"] for arm, path in configs.items()}
    assert set(told["guided"]["images"]) == {"rossa/1", "rossa/2"}
    assert [told[arm]["settings"]["guided"] for arm in ("random", "guided")] == [False, True]
    lines = table(list(made.values())).splitlines()[2:]
    assert [line.split(" | ")[3] for line in lines] == list(ARMS.values())
    monkeypatch.setattr(benchmark, "code", lambda: "another")
    assert Run("rossa", "vit_unet", "guided", 1, 0, 2, 2, 1).find() is None


def test_no_more_images_are_drawn_than_there_are(rossa):
    assert {files.stem for files in drawn("rossa", rossa, 20, 0)} == {"1", "2", "101"}
    assert len({drawn("rossa", rossa, 1, draw)[0].stem for draw in range(8)}) > 1


def test_a_report_says_what_was_not_run(rossa, monkeypatch, tmp_path):
    monkeypatch.setattr(pretrain_masking, "cached", lambda name, key, compute, rooms: compute())
    words = ["pretrain.py", "--rossa", str(rossa), "--masking-only", "--crops", "1", "-o", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", words)
    benchmark.main()
    assert json.loads((tmp_path / "out.json").read_text())["results"]["not_run"] == 54
    text = (tmp_path / "out.md").read_text()
    assert "**Not run yet**: 54 of 54" in text
    assert "9 to 10 over random weights" in text
