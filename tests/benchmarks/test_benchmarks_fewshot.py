"""The few-shot benchmark: its draws, what counts as known to a model, its tables, and one run from end to end."""

import json

import cv2
import fewshot as benchmark
import numpy as np
import pytest
from fewshot import ARMS, Run, arms_table, curve_table, make_parser, parted, perform, planned, summary

from napari_vessel.synthesis.samples import make_sample
from napari_vessel.training.cases import find_cases

KEYS = ("dice", "cldice")


@pytest.fixture
def rossa(tmp_path):
    """Eight small angiograms in the plain layout, of every split."""
    for seed, stem in enumerate(("1", "2", "3", "4", "101", "102", "201", "202")):
        sample = make_sample("octa", seed=seed, shape=(150, 150))
        for room, pixels in (("images", sample.image.pixels * 255), ("masks", sample.truth.labels * 255)):
            (tmp_path / "ROSSA" / room).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "ROSSA" / room / f"{stem}.png"), np.round(pixels).astype(np.uint8))
    return tmp_path / "ROSSA"


def result(key, arm, draw, values, synthetic=200, start=""):
    images = [{"image": str(n), "dice": v, "cldice": v + 0.1} for n, v in enumerate(values)]
    return {"key": key, "arm": arm, "draw": draw, "start": start, "synthetic": synthetic, "images": images,
            "processor_seconds": 60}  # fmt: skip


def test_a_draw_is_five_of_all_images_and_the_rest_is_the_test(rossa):
    cases = benchmark.all_cases("rossa", rossa)
    assert len(cases) == 8
    five, rest = parted(cases, "rossa", 0, 0)
    assert len(five) == 5
    assert {files.stem for files in five} | {files.stem for files in rest} == {files.stem for files in cases}
    assert len(rest) == 3
    again, fewer = parted(cases[::-1], "rossa", 0, 2)
    assert [files.stem for files in again] == [files.stem for files in five]
    assert 1 <= len(fewer) <= 2
    draws = {tuple(sorted(files.stem for files in parted(cases, "rossa", draw, 0)[0])) for draw in range(5)}
    assert len(draws) > 1


def test_mean_and_deviation_are_over_draws():
    rows = [result("drive", "scratch", 0, [0.7, 0.8]), result("drive", "scratch", 1, [0.8, 0.9])]
    mean, deviation = summary(rows, "dice")
    assert mean == pytest.approx(0.8)
    assert deviation == pytest.approx(np.std([0.75, 0.85], ddof=1))
    assert np.isnan(summary(rows[:1], "dice")[1])


def test_the_tables_say_what_a_model_has_seen_and_what_was_published():
    rows = [result("chase_db1", "scratch", 0, [0.7]), result("chase_db1", "shipped", 0, [0.8], start="fundus-small")]
    text = arms_table(rows, lambda start, key: True)
    assert "which was trained on images of this set" in text
    assert "| CHASE_DB1 | UniVG, as published | 5 |  | 0.854 | 0.889 |" in text
    assert "which was trained" not in arms_table(rows, lambda start, key: False)
    curve = curve_table([result("drive", "scratch", 0, [0.7], 0), result("drive", "backgrounds", 0, [0.8], 50)])
    assert curve.splitlines()[2].startswith("| DRIVE | 0 | 1 | 0.700")


def test_shipped_models_tell_what_they_were_trained_on():
    assert benchmark.known_to("fundus-small", "chase_db1", {})
    assert not benchmark.known_to("fundus-small", "drive", {})
    assert not benchmark.known_to("octa-small", "octa-500", {})


def test_every_arm_and_count_is_planned_once_a_draw():
    options = make_parser().parse_args(["--draws", "0,1", "--counts", "0,10", "--steps", "7"])
    arms, curve = planned(options, ["drive", "octa-500"], {"drive": "mine"})
    assert len(arms) == 2 * 2 * len(ARMS)
    assert {run.start for run in arms if run.arm == "shipped"} == {"mine", "octa-small"}
    assert {run.synthetic for run in arms if run.arm == "scratch"} == {0}
    # Without synthetic images the curve's run is the arm's.
    assert {run for run in curve if not run.synthetic} <= set(arms)
    assert len(curve) == 2 * 2 * 2


def test_a_run_is_made_once_and_again_for_another_engine(rossa, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "RUNS", tmp_path / "runs")
    run = Run("rossa", "conditioned", 0, steps=2, synthetic=1, tests=1)
    assert run.find() is None
    made = perform(run, benchmark.all_cases("rossa", rossa), "cpu", {})
    assert len(made["images"]) == 1
    assert all(0 <= made["images"][0][figure] <= 1 for figure in KEYS)
    assert run.find() == made
    assert made["images"][0]["image"] not in made["five"]
    settings = json.loads(next((tmp_path / "runs").glob("*/fewshot.json")).read_text())["settings"]
    assert (settings["conditioned"], settings["own_backgrounds"], settings["synthetic"]) == (True, False, 1)
    monkeypatch.setattr(benchmark, "engine", lambda: "another engine")
    assert run.find() is None


def test_its_times_are_over_all_restarts_and_afresh_is_afresh(rossa, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "RUNS", tmp_path / "runs")
    run, cases = Run("rossa", "scratch", 0, steps=1, synthetic=0, tests=1), benchmark.all_cases("rossa", rossa)
    folder = tmp_path / "runs" / f"{run.name}-"
    folder.mkdir(parents=True)
    # What processes that were stopped have spent.
    (folder / "spent.json").write_text('{"seconds": 5000, "processor_seconds": 3000}')
    made = perform(run, cases, "cpu", {})
    assert made["seconds"] >= 5000
    assert made["processor_seconds"] >= made["processor_seconds_training"] >= 3000
    # Scored on other images, it was not trained for nothing.
    assert perform(run, cases, "cpu", {})["processor_seconds_training"] == made["processor_seconds_training"]
    again = perform(run, cases, "cpu", {}, fresh=True)
    assert again["processor_seconds"] < 3000


def test_a_set_in_splits_is_one(rossa):
    assert len(find_cases("rossa", rossa, "training")) == 4
