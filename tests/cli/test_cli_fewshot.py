"""fewshot on the command line: several files per option, stopping, one sentence for what is wrong."""

import json
import shlex
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_vessel.cli.stopping import typed
from napari_vessel.segmentation.registry import list_models
from napari_vessel.synthesis.samples import make_sample


@pytest.fixture
def labelled(tmp_path):
    """Three small angiograms and their masks: the words that name them."""
    words = {"images": [], "masks": []}
    for seed in range(3):
        sample = make_sample("octa", seed=seed, shape=(160, 160))
        for room, pixels in (
            ("images", np.round(sample.image.pixels * 255).astype(np.uint8)),
            ("masks", sample.truth.labels * 255),
        ):
            path = tmp_path / room / f"scan_{seed}.png"
            path.parent.mkdir(exist_ok=True)
            # A step on crops of 96 px takes a third of one on 160.
            Image.fromarray(pixels[32:128, 32:128]).save(path)
            words[room].append(str(path))
    return ["--images", *words["images"], "--masks", *words["masks"], "--modality", "octa"]


def test_from_files_to_a_model_that_can_be_chosen(run, labelled, tmp_path):
    out = tmp_path / "Our Clinic"
    done = run("fewshot", *labelled, "--steps", "3", "--synthetic", "1", "-o", out, "--json")
    assert done.code == 0, done.err
    assert done.json["steps"] == 3
    assert not done.json["stopped"]
    assert done.json["model"] == str(out / "our-clinic")
    record = json.loads((out / "fewshot.json").read_text())
    assert [entry["name"] for entry in record["images"]] == ["scan_0", "scan_1", "scan_2"]
    assert (out / "log.csv").is_file()
    assert run("models", "add", out / "our-clinic").code == 0
    assert "our-clinic" in {info.name for info in list_models()}
    # Again, replacing the older one; and never in the place of one that comes with the package.
    assert run("models", "add", out / "our-clinic").code == 0
    again = run("fewshot", "-o", out, "--json")
    assert again.json == done.json


def test_a_name_is_looked_at_before_the_images(run, tmp_path):
    done = run("fewshot", "--images", "none.png", "--masks", "none.png", "--name", "Ours É", "-o", tmp_path / "out")
    assert "cannot be called 'Ours É'; use 1 to 64 lower-case letters" in done.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--masks", "nothing.png"], "3 images were given with 1 masks"),
        (["--modality", "sonar"], "There is no modality 'sonar'"),
        (["--network", "vig"], "There is no network named 'vig'"),
        (["--name", "Our Clinic"], "cannot be called 'Our Clinic'"),
        (["--start", "nobody"], "There is no model named 'nobody'"),
    ],
)
def test_what_is_wrong_is_one_sentence(run, labelled, tmp_path, words, sentence):
    if words[0] == "--masks":
        labelled = [*labelled[: labelled.index("--masks")], *words]
        words = []
    done = run("fewshot", *labelled, *words, "-o", tmp_path / "out")
    assert done.code == 1
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_several_values_may_follow_an_equals_sign(run, labelled, tmp_path):
    words = [f"--images={labelled[1]}", *labelled[2:]]
    done = run("fewshot", *words, "--name", "Our Clinic", "-o", tmp_path / "out")
    assert "cannot be called 'Our Clinic'" in done.err


@pytest.mark.parametrize("words", [["--steps", "9"], ["--seed", "0"], ["--modality=octa"], ["--name", "ours"]])
def test_what_a_run_was_prepared_with_is_not_silently_kept(run, tmp_path, words):
    (tmp_path / "fewshot.json").write_text("{}")
    done = run("fewshot", "-o", tmp_path, *words)
    assert done.code == 1
    assert f"{words[0].partition('=')[0]} is for a new run" in done.err


def test_without_images_there_must_be_a_run(run, tmp_path):
    done = run("fewshot", "-o", tmp_path / "out")
    assert done.code == 1
    assert "No labelled images are named" in done.err


def test_a_program_hears_of_progress_and_stops_it(training, labelled, tmp_path):
    out = tmp_path / "run"
    started = training("fewshot", *labelled, "--steps", "100000", "--synthetic", "1", "-o", out)
    figures = started.until_step(3)
    last = started.stop()
    assert figures["total"] == 100000
    assert last["result"]["stopped"]
    assert last["result"]["steps"] >= 3
    assert (out / "run" / "config.json").is_file()


def test_a_command_to_go_on_with_can_be_typed_as_it_is_told():
    assert shlex.split(f"fewshot -o {typed(Path('Our Clinic/run'))}")[2] == str(Path("Our Clinic/run"))
    assert typed(Path("run")) == "run"


def test_when_its_window_is_gone_it_stops_and_can_go_on(training, labelled, tmp_path):
    out = tmp_path / "run"
    started = training("fewshot", *labelled, "--steps", "100000", "--synthetic", "0", "-o", out)
    started.until_step(2)
    left = time.monotonic()
    started.process.communicate()
    assert started.process.returncode == 1
    assert time.monotonic() - left < 60
    assert (out / "checkpoint.safetensors").is_file()
    assert not (out / "run").exists()
