"""The fine-tuning benchmark: its draws, real and spoilt corrections, work in a project, its tables, runs end to end."""

import json
from dataclasses import replace
from types import SimpleNamespace

import cv2
import finetune as benchmark
import finetune_gate as gate
import finetune_runs as shared
import finetune_stalls as stalls
import finetune_transfer as transfer
import finetune_work as work
import numpy as np
import pytest
from fewshot import TWO_PHOTON
from finetune_runs import ARMS, AS_IT_IS, NO_REHEARSAL, SCRATCH, TUNED, Budget

from napari_vessel.errors import InputError
from napari_vessel.review.origins import Origin
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.training.cases import CaseFiles
from napari_vessel.training.finetuning import running
from napari_vessel.training.finetuning.settings import IMAGES, STEPS

OTHERWISE = ({"threshold": 0.4}, {"version": "0"}, {"working_scale": {"kind": "field_of_view", "px": 99}})
"""A model of the same weights that is another one."""

LITTLE = Budget(steps=1, scratch_steps=1, rehearsal=1)


@pytest.fixture(scope="module")
def start():
    return shared.started("octa-small")


@pytest.fixture(scope="module")
def rossa(tmp_path_factory):
    """A dozen small angiograms in the plain layout."""
    folder = tmp_path_factory.mktemp("sets") / "ROSSA"
    for number in range(1, 13):
        sample = make_sample("octa", seed=number, shape=(128, 128))
        for room, pixels in (("images", sample.image.pixels * 255), ("masks", sample.truth.labels * 255)):
            (folder / room).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / room / f"{number}.png"), np.round(pixels).astype(np.uint8))
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A place for runs, and a single image of the base domain that watches."""
    for module in (shared, gate, work):
        monkeypatch.setattr(module, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(running, "BASE_GUARDS", 1)
    return tmp_path / "runs"


def result(arm, shots, draw, dice, base, key="rossa"):
    images = [{"image": "1", "dice": dice, "cldice": dice, "b0_error": 3.0}]
    budget = {"steps": STEPS, "rehearsal": IMAGES}
    found = {"key": key, "arm": arm, "draw": draw, "shots": shots, "images": images, "budget": budget}
    return {**found, "base": [{**images[0], "dice": base}], **({} if arm == AS_IT_IS else {"steps": 300})}


def test_the_test_images_are_the_same_for_every_number(rossa):
    cases = shared.cases_of("rossa", rossa)
    shots, rest = shared.parted(cases, "rossa", 0, 0)
    assert (len(shots), len(rest)) == (10, 2)
    assert not {files.stem for files in shots} & {files.stem for files in rest}
    assert shared.parted(cases[::-1], "rossa", 0, 0) == (shots, rest)
    assert shared.parted(cases, "rossa", 1, 0)[0] != shots
    with pytest.raises(InputError, match="more than 10"):
        shared.parted(cases[:10], "rossa", 0, 0)


def test_no_recording_is_on_both_sides(tmp_path):
    cases = [
        CaseFiles("own", f"{name}{n}", name, "training", tmp_path, tmp_path) for name in "abcdefg" for n in range(3)
    ]
    shots, rest = shared.parted(cases, TWO_PHOTON, 0, 0)
    assert (len(shots), len(rest)) == (10, 6)
    assert not {files.patient for files in shots} & {files.patient for files in rest}
    assert len({files.patient for files in shots[:5]}) == 5


def test_corrections_are_where_the_model_was_wrong_and_spoilt_ones_leave_the_guards(rossa, start):
    cases = shared.cases_of("rossa", rossa)
    shots, _ = shared.parted(cases, "rossa", 0, 0)
    samples = shared.corrected(shots, "rossa", "cpu", start)
    assert sum(sample.guard for sample in samples) == 2
    assert all({Origin.MODEL, Origin.BRUSH} == set(np.unique(sample.origin)) for sample in samples)
    for case in gate.CASES:
        spoilt = gate.spoilt(case, samples, start, "cpu")
        assert [sample.guard for sample in spoilt] == [True] * 5 + [False] * 5
        same = [np.array_equal(one.vessels, other.vessels) for one, other in zip(samples, spoilt, strict=True)]
        assert all(same[:5]) == (case != "inverted-guards")
        assert all(same[5:]) == (case in ("real", "forgetting"))
    rejected = gate.spoilt("rejected", samples, start, "cpu")[5:]
    refused = np.concatenate([one.vessels[one.origin == Origin.REJECTED] for one in rejected])
    assert len(refused)
    assert not refused.any()


def test_without_rehearsal_half_the_steps_show_as_many_new_images():
    steps = {run.arm: run.budget.steps for run in transfer.planned(["rossa"], ARMS, [1], [0], 1, Budget(600, 700, 40))}
    assert (steps[TUNED], steps[NO_REHEARSAL]) == (600, 300)


def test_every_arm_learns_is_scored_and_found_again(rossa, start, runs):
    cases = shared.cases_of("rossa", rossa)
    found = []
    for run in transfer.planned(["rossa"], ARMS, [1], [0], 1, LITTLE):
        assert transfer.find_or_make(run, cases, cases[:1], start, "cpu", make=False) is None
        made = transfer.find_or_make(run, cases, cases[:1], start, "cpu")
        assert made == transfer.find_or_make(run, cases, cases[:1], start, "cpu", make=False)
        for other in OTHERWISE:
            assert transfer.find_or_make(run, cases, cases[:1], replace(start, **other), "cpu", make=False) is None
        found.append(made)
    by_arm = {made["arm"]: made for made in found}
    assert by_arm[TUNED]["decision"]["promote"] is not True
    assert not by_arm[SCRATCH]["base"]
    assert all(0 <= made["images"][0]["dice"] <= 1 for made in found)
    assert by_arm[TUNED]["images"][0]["image"] not in by_arm[TUNED]["learnt_from"]
    assert list(runs.glob("rehearsal-octa-*/images/*.png"))


def test_an_annotator_works_in_a_project_and_a_version_comes_of_it(rossa, start, runs):
    cases = shared.cases_of("rossa", rossa)
    done = work.work("rossa", cases, 2, 1, LITTLE, start, "cpu")
    assert len(done["project"]) == 2
    assert len(done["guards"]) == 1
    assert done["version"] in ("candidate", "refused")
    for row in done["project"]:
        assert row["actions"] > 0
        assert row["after"]["cldice"] > row["before"]["cldice"]
    text = benchmark.body_of({"transfer": [], "work": [done], "gate": [], "time": []})
    assert "gain per 100 actions" in text
    assert "Not run\n\ntransfer; gate; time; stalls" in text


def test_the_goal_is_judged_by_the_worst_run():
    rows = [result(AS_IT_IS, 0, 0, 0.2, 0.80), result(TUNED, 5, 0, 0.7, 0.795), result(TUNED, 1, 0, 0.5, 0.78)]
    assert "**not reached** in the worst of 2 runs (0.0200, ROSSA, 1 images, draw 0); 1 of 2" in transfer.verdict(rows)
    assert "reached in the worst of 1 runs" in transfer.verdict(rows[:2])
    assert "| ROSSA | 5 | fine tuned | 1 | 1 | 0.700 | 0.700 | 3.000 | 0.005 | 300 |" in transfer.table(rows)
    body = benchmark.body_of({"transfer": rows, "work": [], "gate": [], "time": []})
    assert "more than one draw" in body
    assert "less or more than the package" not in body


def test_a_wrong_decision_stands_out():
    means = {"images": 5, "dice": {"old": 0.7, "new": 0.8}, "cl_dice": {"old": 0.7, "new": 0.8}}
    decision = {"promote": True, "sentence": "The new model takes over.", "figures": {"guards": means, "base": means}}
    row = {"case": "shuffled", "key": "rossa", "steps": 9, "validation": None, "decision": decision}
    assert "promoted (**wrong**)" in gate.gate_table([row])
    assert "**wrong**" not in gate.gate_table([{**row, "case": "real"}])
    left = gate.gate_table([{**row, "decision": {**decision, "promote": None}}])
    assert "left to the annotator" in left


def test_a_clock_adds_up_the_parts():
    from napari_vessel.jobs import Progress

    def job():
        for message in ("Training, step 1 of 2", "Training, looking at what is held out", "Training, step 2 of 2"):
            yield Progress(0, 1, message)
        return "done"

    clock = gate.Clock()
    assert clock.run(job(), "reading images") == "done"
    assert set(clock.seconds) == {"reading images", "training", "looking at the guards while training"}


def test_parts_that_are_not_asked_for_stay_as_they_are(tmp_path, monkeypatch, runs):
    row = {"case": "real", "key": "rossa", "steps": 9, "validation": None, "budget": {"steps": 1, "rehearsal": 1}}
    means = {"images": 0}
    row["decision"] = {"promote": True, "sentence": "It takes over.", "figures": {"guards": means, "base": means}}
    out = tmp_path / "finetune.json"
    before = {"command": "as it was", "start": "old", "results": {"gate": [row], "stalls": [], "time": [{"a": 1}]}}
    out.write_text(json.dumps(before))
    phase = {"seconds": 3.0, "longest_ms": 170.0, "stalls": 2, "busiest_ms": 40.0, "busy": 0}
    told = {"steps": 5, "load": 1.0, "cores": 2, "phases": {"training, at work": phase}}
    monkeypatch.setattr(stalls.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=json.dumps(told)))
    parser = benchmark.make_parser()
    made = benchmark.Benchmark(parser, parser.parse_args(["--parts", "stalls,time", "-o", str(out)]))
    made.run("stalls")
    report = json.loads(out.read_text())
    assert report["results"]["gate"] == [row]
    assert report["results"]["time"] == []
    assert set(report["commands"]) == {"gate", "stalls"}
    assert report["starts"]["gate"] == "old"
    assert report["starts"]["stalls"]["working_scale"]["px"] > 0
    text = out.with_suffix(".md").read_text()
    assert "Made before: gate, by `as it was`." in text
    assert "**not shown**: none in which the GUI's thread itself computed as long, 2 by the clock; 1.0 proc" in text
    quiet = {**told, "phases": {"training, at work": {**phase, "stalls": 0}, "at work, before": phase}}
    assert "Goal, no standstill over 100 ms while a run goes on: reached; 1.0 processes" in stalls.stalls_table(quiet)
    busy = {**told, "phases": {"training, at work": {**phase, "busy": 1}, "at work, before": {**phase, "busy": 4}}}
    assert "**not reached**: 1 in which the GUI's thread itself computed as long" in stalls.stalls_table(busy)
