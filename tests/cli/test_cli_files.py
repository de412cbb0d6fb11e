"""segment, gaps and complete, on real files."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_vessel.cli import files
from napari_vessel.completion import find_gaps
from napari_vessel.images import writing
from napari_vessel.images.masks import read_mask
from napari_vessel.jobs import run_job
from napari_vessel.synthesis.samples import Sample
from napari_vessel.topology.components import label_components

GAP_KEYS = {
    "id",
    "kind",
    "score",
    "link",
    "fragment",
    "completion",
    "calibrated",
    "path",
    "joins",
    "length_px",
    "width_px",
    "effect",
    "reasons",
}

NONE = ("--completion-model", "none")
"""Tests here are of what happens without a completion model; test_cli_completion.py has one."""


def test_segment_writes_three_files_that_agree(run, photograph: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    outcome = run("segment", photograph, "-o", out, "--model", "ridge", "--device", "cpu")

    assert outcome.code == 0, outcome.err
    assert sorted(p.name for p in out.iterdir()) == ["eye_7.json", "eye_7_mask.png", "eye_7_probability.tif"]
    probability = tifffile.imread(out / "eye_7_probability.tif")
    mask = np.asarray(Image.open(out / "eye_7_mask.png"))
    record = json.loads((out / "eye_7.json").read_text(encoding="utf-8"))
    assert probability.dtype == np.float32
    assert probability.shape == mask.shape == (220, 220)
    assert probability.min() >= 0
    assert probability.max() <= 1
    assert set(np.unique(mask)) == {0, 255}
    assert (probability[mask == 255] >= record["threshold"]).all()
    assert record["model"] == "ridge"
    assert record["device"] == "cpu"
    assert record["channel"] == "green"
    assert record["input"]["sha256"] == hashlib.sha256(photograph.read_bytes()).hexdigest()
    assert record["program"].startswith("napari-vessel ")


def test_segment_obeys_threshold_and_min_size(run, photograph: Path, tmp_path: Path) -> None:
    run("segment", photograph, "-o", tmp_path / "loose", "--model", "ridge", "--threshold", "0.2", "--min-size", "0")
    run("segment", photograph, "-o", tmp_path / "tight", "--model", "ridge", "--threshold", "0.8", "--min-size", "60")

    loose = np.asarray(Image.open(tmp_path / "loose" / "eye_7_mask.png"))
    tight = np.asarray(Image.open(tmp_path / "tight" / "eye_7_mask.png"))

    assert (loose > 0).sum() > (tight > 0).sum() > 0
    labels, count = label_components(tight > 0)
    assert min(np.bincount(labels.ravel())[1 : count + 1]) >= 60


def test_segment_with_json_prints_one_object_and_nothing_else(run, photograph: Path, tmp_path: Path) -> None:
    outcome = run("segment", photograph.parent, "-o", tmp_path / "out", "--model", "ridge", "--json")

    assert outcome.code == 0
    (result,) = outcome.json["results"]
    assert result["input"] == str(photograph)
    assert all(Path(result[key]).is_file() for key in ("probability", "mask", "record"))


def test_segment_takes_a_field_of_view_from_a_folder(run, photograph: Path, tmp_path: Path) -> None:
    fov = np.zeros((220, 220), np.uint8)
    fov[:, :110] = 255
    (tmp_path / "fov").mkdir()
    Image.fromarray(fov).save(tmp_path / "fov" / "eye_7_fov.png")

    outcome = run("segment", photograph, "-o", tmp_path / "out", "--model", "ridge", "--fov", tmp_path / "fov")

    mask = np.asarray(Image.open(tmp_path / "out" / "eye_7_mask.png"))
    assert outcome.code == 0, outcome.err
    assert mask[:, :110].any()
    assert not mask[:, 110:].any()


def test_segment_refuses_to_overwrite_an_input(run, photograph: Path) -> None:
    twin = photograph.with_name("eye_7_mask.png")
    twin.write_bytes(photograph.read_bytes())
    before = twin.read_bytes()

    outcome = run("segment", photograph, twin, "-o", photograph.parent, "--model", "ridge")

    assert outcome.code == 1
    assert "overwritten" in outcome.err
    assert twin.read_bytes() == before
    assert len(list(photograph.parent.iterdir())) == 2


@pytest.mark.parametrize("words", [["--model", "no-such-model"], ["--device", "cuda"]])
def test_segment_with_what_is_not_there_writes_nothing(run, photograph: Path, tmp_path: Path, words: list[str]) -> None:
    if "cuda" in words:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has CUDA")
        words = ["--device", "cuda"]

    outcome = run("segment", photograph, "-o", tmp_path / "out", *words)

    assert outcome.code == 1
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_gaps_and_complete_can_be_told_that_every_piece_is_a_vessel(
    run, photograph: Path, broken_mask: Path, tmp_path: Path
) -> None:
    common = (broken_mask, "--image", photograph, *NONE)
    for name, words in (("asked", ()), ("told", ("--all-vessels",))):
        assert run("gaps", *common, *words, "-o", tmp_path / f"{name}.json").code == 0
    asked, told = (json.loads((tmp_path / f"{name}.json").read_text())["gaps"] for name in ("asked", "told"))
    assert all(gap["fragment"] is not None for gap in asked)
    assert all(gap["fragment"] is None and gap["score"] == gap["link"] for gap in told)
    assert json.loads((tmp_path / "told.json").read_text())["all_vessels"] is True
    between = (told[0]["score"] + asked[0]["score"]) / 2
    drawing = ("complete", *common, "--min-score", between, "-o", tmp_path / "c.png", "--json")
    assert run(*drawing).json["accepted"] == []
    expected = [gap["id"] for gap in told if gap["score"] >= between]
    assert run(*drawing, "--all-vessels").json["accepted"] == expected != []


def test_gaps_writes_the_contract(run, photograph: Path, broken_mask: Path, tmp_path: Path, sample: Sample) -> None:
    out = tmp_path / "gaps.json"

    outcome = run("gaps", broken_mask, "--image", photograph, *NONE, "-o", out, "--json")

    assert outcome.code == 0, outcome.err
    data = json.loads(out.read_text(encoding="utf-8"))
    assert data["components"] == label_components(sample.broken)[1]
    assert data["gaps"]
    for gap in data["gaps"]:
        assert set(gap) >= GAP_KEYS
        assert gap["kind"] in {"bridge", "vig", "tip", "cut"}
        assert 0 <= gap["score"] <= 1
        assert gap["calibrated"] is True
        assert len(gap["joins"]) in {1, 2}
        assert all(len(point) == 2 for point in gap["path"])
    assert outcome.json == {
        "output": str(out),
        "components": data["components"],
        "gaps": len(data["gaps"]),
        "completion": None,
    }


def test_gaps_takes_the_probability_that_segment_wrote(run, photograph: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("segment", photograph, "-o", out, "--model", "ridge", "--min-size", "20")

    outcome = run(
        *("gaps", out / "eye_7_mask.png", "--image", photograph, *NONE, "-o", tmp_path / "g.json"),
        *("--probability", out / "eye_7_probability.tif"),
    )

    assert outcome.code == 0, outcome.err
    assert "gaps" in json.loads((tmp_path / "g.json").read_text(encoding="utf-8"))


def test_complete_draws_what_scores_high_enough(
    run, photograph: Path, broken_mask: Path, tmp_path: Path, sample: Sample
) -> None:
    scores = sorted(gap.score for gap in run_job(find_gaps(sample.broken, sample.image)))
    everything, nothing = tmp_path / "all.png", tmp_path / "none.png"

    common = ("complete", broken_mask, "--image", photograph, *NONE)
    first = run(*common, "--min-score", "0", "-o", everything, "--json")
    second = run(*common, "--min-score", "1", "-o", nothing, "--json")

    assert scores
    assert (first.code, second.code) == (0, 0)
    assert first.json["components_after"] < first.json["components_before"]
    assert (read_mask(everything).mask & sample.broken).sum() == sample.broken.sum()
    if scores[-1] < 1:
        np.testing.assert_array_equal(read_mask(nothing).mask, sample.broken)


def test_complete_keeps_artery_and_vein_apart(run, photograph: Path, tmp_path: Path, sample: Sample) -> None:
    classes = sample.broken.astype(np.uint8)
    classes[:, 110:][sample.broken[:, 110:]] = 2
    path = tmp_path / "av.png"
    Image.fromarray(classes).save(path)

    outcome = run("complete", path, "--image", photograph, *NONE, "--min-score", "0", "-o", tmp_path / "done.png")

    assert outcome.code == 0, outcome.err
    after = np.asarray(Image.open(tmp_path / "done.png"))
    assert set(np.unique(after)) == {0, 1, 2}
    np.testing.assert_array_equal(after[classes > 0], classes[classes > 0])
    assert (after > 0).sum() > (classes > 0).sum()


def test_a_mask_of_another_size_is_refused(run, photograph: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.fromarray(np.eye(50, dtype=np.uint8) * 255).save(small)

    outcome = run("gaps", small, "--image", photograph, *NONE, "-o", tmp_path / "g.json")

    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "g.json").exists()


def test_an_output_that_is_an_input_is_refused(run, photograph: Path, broken_mask: Path) -> None:
    before = broken_mask.read_bytes()

    outcome = run("complete", broken_mask, "--image", photograph, "--min-score", "0", "-o", broken_mask)

    assert outcome.code == 1
    assert "overwritten" in outcome.err
    assert broken_mask.read_bytes() == before


@pytest.mark.parametrize("folder", [False, True])
def test_a_field_of_view_is_no_place_for_a_mask(
    run, photograph: Path, broken_mask: Path, tmp_path: Path, folder: bool
) -> None:
    field = tmp_path / "fields" / "eye_7_fov.png"
    field.parent.mkdir()
    Image.fromarray(np.full((220, 220), 255, np.uint8)).save(field)
    before = field.read_bytes()

    words = ("--image", photograph, "--min-score", "1", *NONE, "--fov", field.parent if folder else field, "-o", field)
    outcome = run("complete", broken_mask, *words)

    assert outcome.code == 1
    assert "overwritten" in outcome.err
    assert field.read_bytes() == before


def test_a_drawn_mask_is_not_overwritten(run, photograph: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("segment", photograph, "-o", out, "--model", "ridge")
    assert run(*command).code == 0
    assert run(*command).code == 0, "its own untouched mask may be made again"
    drawn = np.zeros((220, 220), np.uint8)
    Image.fromarray(drawn).save(out / "eye_7_mask.png")

    outcome = run(*command)

    assert outcome.code == 1
    assert "another folder" in outcome.err
    assert not np.asarray(Image.open(out / "eye_7_mask.png")).any()


def test_an_image_of_another_folder_is_not_written_over_one_of_its_name(run, photograph: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("segment", photograph, "-o", out, "--model", "ridge")
    assert run(*command).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    # Another patient's eye, beside which the first one is still there.
    other = tmp_path / "B" / photograph.name
    other.parent.mkdir()
    Image.open(photograph).rotate(90).save(other)

    refused = run("segment", other, *command[2:])

    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert f"are of {photograph.resolve()}, another image" in refused.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    # The same image elsewhere, or another in its place.
    other.write_bytes(photograph.read_bytes())
    assert run("segment", other, *command[2:]).code == 0
    Image.open(photograph).rotate(90).save(other)
    assert run("segment", other, *command[2:]).code == 0
    # A folder that was moved.
    moved = other.parent.rename(tmp_path / "C") / other.name
    Image.open(photograph).rotate(180).save(moved)
    assert run("segment", moved, *command[2:]).code == 0


@pytest.mark.parametrize("ending", [".json", "_probability.tif"])
def test_what_another_program_keeps_beside_an_image_is_not_overwritten(run, photograph: Path, ending: str) -> None:
    theirs = photograph.with_name(f"eye_7{ending}")
    theirs.write_text('{"shapes": []}', encoding="utf-8")

    outcome = run("segment", photograph, "-o", photograph.parent, "--model", "ridge")

    assert outcome.code == 1
    assert f"{theirs} is there and was not made by segment" in outcome.err
    assert theirs.read_text(encoding="utf-8") == '{"shapes": []}'
    assert sorted(photograph.parent.iterdir()) == sorted([photograph, theirs])


def test_segment_may_be_given_again_when_a_file_could_not_be_written(run, photograph, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    command = ("segment", photograph, "-o", tmp_path / "out", "--model", "ridge")
    monkeypatch.setattr(writing, "write_json", full)

    assert run(*command).code == 1
    monkeypatch.undo()
    assert list((tmp_path / "out").iterdir()) == []
    assert run(*command).code == 0


def test_a_second_run_that_cannot_write_leaves_no_record_of_another_mask(
    run, photograph, tmp_path, monkeypatch
) -> None:
    out = tmp_path / "out"
    command = ("segment", photograph, "-o", out, "--model", "ridge")
    assert run(*command).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail_at(module: object, function: str, name: str) -> None:
        real = getattr(module, function)

        def full(*given: object) -> None:
            if any(str(one).endswith(name) for one in given):
                raise OSError(28, "No space left on device")
            real(*given)

        monkeypatch.setattr(module, function, full)
        assert run(*command, "--threshold", "0.3").code == 1
        monkeypatch.undo()

    fail_at(writing, "write_json", ".json")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    # When they take their places the old ones are gone: what is there without its record could not be made again.
    fail_at(os, "replace", "eye_7.json")
    assert list(out.iterdir()) == []
    assert run(*command).code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_no_hindrance(run, photograph: Path, tmp_path: Path) -> None:
    file = photograph.rename(photograph.with_name(os.fsdecode(b"caf\xe9.png")))
    command = ("segment", file, "-o", tmp_path / "out", "--model", "ridge")

    assert run(*command, "--json").json["results"][0]["input"] == str(file)
    again = run(*command)
    assert again.code == 0, again.err
    assert r"caf\udce9_mask.png" in again.out
    record = tmp_path / "out" / os.fsdecode(b"caf\xe9.json")
    assert json.loads(record.read_text(encoding="utf-8"))["input"]["path"] == str(file)

    mask = tmp_path / "truth.png"
    mask.write_bytes((tmp_path / "out" / os.fsdecode(b"caf\xe9_mask.png")).read_bytes())
    scores = run("evaluate", tmp_path / "out" / os.fsdecode(b"caf\xe9_mask.png"), mask, "-o", tmp_path / "e.csv")
    assert scores.code == 0, scores.err

    project = run("project", "create", tmp_path / "study", file)
    assert (project.code, project.err.count("\n")) == (1, 1)
    assert "rename" in project.err
    assert not (tmp_path / "study").exists()


def test_a_run_that_is_stopped_tells_what_is_finished(run, photograph: Path, tmp_path: Path, monkeypatch) -> None:
    photograph.with_name("eye_8.png").write_bytes(photograph.read_bytes())
    write = files._write

    def stopped(*arguments):
        signal.raise_signal(signal.SIGINT)
        return write(*arguments)

    monkeypatch.setattr(files, "_write", stopped)

    outcome = run("segment", photograph.parent, "-o", tmp_path / "out", "--model", "ridge")

    assert outcome.code == 1
    assert outcome.err == f"error: Stopped; 1 of 2 images are finished in {tmp_path / 'out'}.\n"
    assert [path.name for path in (tmp_path / "out").glob("*.json")] == ["eye_7.json"]


def test_a_page_is_completed_on_its_own_page(run, tmp_path: Path) -> None:
    pages = np.full((2, 90, 120), 200, np.uint8)
    pages[1, 44:47, 10:110] = 60
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    mask = np.zeros((90, 120), np.uint8)
    mask[44:47, 10:55] = mask[44:47, 63:110] = 255
    Image.fromarray(mask).save(tmp_path / "stack_p001_mask.png")
    Image.fromarray(mask).save(tmp_path / "mine.png")
    common = ("--image", tmp_path / "stack.tif", "-o", tmp_path / "gaps.json", *NONE)

    assert run("gaps", tmp_path / "stack_p001_mask.png", *common).code == 0
    first = json.loads((tmp_path / "gaps.json").read_text())["gaps"][0]
    Image.fromarray(pages[1]).save(tmp_path / "page.png")
    assert run("gaps", tmp_path / "mine.png", "--image", tmp_path / "page.png", *common[2:]).code == 0
    assert json.loads((tmp_path / "gaps.json").read_text())["gaps"][0]["score"] == first["score"]

    unnamed = run("gaps", tmp_path / "mine.png", *common)
    assert unnamed.code == 1
    assert "2 pages" in unnamed.err
