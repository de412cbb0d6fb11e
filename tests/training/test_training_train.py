"""Training learns, survives a kill, stops early, and ends in a model that the Segmenter can use."""

import csv
import json
import shutil
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_vessel.cli import main
from napari_vessel.errors import InputError, ModelError, ProjectError
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.registry import read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.training.cases import find_cases, read_case
from napari_vessel.training.recipe_reading import read_recipe
from napari_vessel.training.sources import find_training_files
from napari_vessel.training.train import train
from napari_vessel.training.trainer import Trainer

TINY = """
name = "tiny"
title = "Tiny"
modality = "fundus"
[network]
channels = [8, 8, 8]
working_diameter = 200
[schedule]
steps = 8
validate_every = 4
[crops]
size = 64
batch = 2
[[data]]
set = "chase_db1"
folder = "CHASEDB1"
weight = 2
[[data]]
set = "synthetic"
count = 1
[[loss]]
name = "cross-entropy"
[[loss]]
name = "dice"
[[loss]]
name = "soft-cldice"
weight = 0.5
after = 0.2
iterations = 3
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return read_recipe(path)


def with_schedule(recipe, **changes):
    return replace(recipe, schedule=replace(recipe.schedule, **changes))


def rows(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(trainer):
    return {name: value.clone() for name, value in trainer.average.state_dict().items()}


def stop_after(job, step):
    """Run a job until it has taken `step` steps, then close it as a cancel does."""
    with closing(job):
        for progress in job:
            if progress.message == "Training" and progress.done >= step:
                return


def test_the_loss_falls_and_vessels_are_found(recipe, data, tmp_path):
    recipe = with_schedule(recipe, steps=120, validate_every=60, learning_rate=5e-3)
    result = run_job(train(recipe, data, tmp_path / "run", "cpu"))
    losses = [float(row["loss"]) for row in rows(tmp_path / "run") if row["loss"]]
    assert losses[-1] < 0.8 * losses[0]
    case = read_case(find_cases("chase_db1", data / "CHASEDB1", "test")[0], allow_test=True)
    info = read_model(tmp_path / "run" / "tiny")
    assert (info.threshold, info.min_size) == (result["threshold"], result["min_size"])
    probability = run_job(Segmenter(info, "cpu").predict(case.image)).probability
    assert probability[case.vessels].mean() > 1.5 * probability[case.image.fov & ~case.vessels].mean()


def test_what_comes_out_names_its_recipe_and_its_images(recipe, data, tmp_path):
    run_job(train(recipe, data, tmp_path / "run", "cpu"))
    text = (tmp_path / "run" / "tiny" / "config.json").read_text()
    config = json.loads(text)
    assert config["training"]["split"] == {
        "chase_db1": {"training": ["Image_01L", "Image_02R"], "validation": ["Image_09L"]}
    }
    assert "Image_11L" not in text
    assert config["training"]["recipe"] == recipe.to_json()
    assert "CHASE_DB1 (Fraz et al." in config["licence"]
    assert config["working_scale"]["px"] == 200
    chosen = json.loads((tmp_path / "run" / "validation.json").read_text())
    assert chosen["images"] == ["chase_db1/Image_09L"]
    assert chosen["threshold"] == config["threshold"]


def test_going_on_is_as_if_nothing_had_happened(recipe, data, tmp_path):
    run_job(train(recipe, data, tmp_path / "straight", "cpu"))
    stop_after(train(recipe, data, tmp_path / "broken", "cpu"), 5)
    trainer = Trainer(recipe, tmp_path / "broken")
    assert trainer.resume()
    assert trainer.step == 5
    run_job(train(recipe, data, tmp_path / "broken", "cpu"))
    results = []
    for name in ("straight", "broken"):
        trainer = Trainer(recipe, tmp_path / name)
        assert trainer.resume()
        assert trainer.step == 8
        results.append(weights(trainer))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-4, atol=1e-6)
    steps = [[row["step"] for row in rows(tmp_path / name)] for name in ("straight", "broken")]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("look", [4, 8])
def test_a_look_that_was_interrupted_is_made_up_for(recipe, data, tmp_path, look):
    run_job(train(recipe, data, tmp_path / "straight", "cpu"))
    with closing(train(recipe, data, tmp_path / "broken", "cpu")) as job:
        looks = 0
        for progress in job:
            looks += progress.message.startswith("Validating on")
            if looks == look // 4:
                break
    run_job(train(recipe, data, tmp_path / "broken", "cpu"))
    looked = [[row["step"] for row in rows(tmp_path / name) if row["validation"]] for name in ("straight", "broken")]
    assert looked == [["4", "8"], ["4", "8"]]
    best = [Trainer(recipe, tmp_path / name) for name in ("straight", "broken")]
    assert all(trainer.resume() for trainer in best)
    assert best[0].notes["best"] == best[1].notes["best"]


def test_a_finished_run_is_not_trained_again(recipe, data, tmp_path):
    first = run_job(train(recipe, data, tmp_path / "run", "cpu"))
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    assert run_job(train(recipe, data, tmp_path / "run", "cpu")) == first
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before


def test_a_killed_run_goes_on(recipe, data, tmp_path):
    endless = (tmp_path / "tiny.toml").read_text().replace("steps = 8", "steps = 100000")
    (tmp_path / "endless.toml").write_text(endless)
    out = tmp_path / "run"
    program = "import sys; from napari_vessel.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "train", str(tmp_path / "endless.toml"), "--data", str(data)]
    process = subprocess.Popen([*command, "-o", str(out), "--device", "cpu"], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 240
        while not (out / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        time.sleep(0.5)
    finally:
        process.kill()
        process.communicate()
    recipe = read_recipe(tmp_path / "endless.toml")
    trainer = Trainer(recipe, out)
    assert trainer.resume()
    reached = trainer.step
    assert reached >= 4
    stop_after(train(recipe, data, out, "cpu"), reached + 1)
    assert trainer.resume()
    assert trainer.step == reached + 1
    # A row for every step at most, whatever the kill left in the file.
    steps = [int(row["step"]) for row in rows(out)]
    assert steps == sorted(steps)


def test_it_stops_early_and_keeps_the_best(recipe, data, tmp_path, monkeypatch):
    recipe = with_schedule(recipe, steps=1000, validate_every=2, patience=3, learning_rate=1e-7, average_decay=0.0)
    result = run_job(train(recipe, data, tmp_path / "run", "cpu"))
    assert result["steps"] < 1000
    best = result["validation"]
    assert best["step"] == result["steps"] - 3 * 2
    looks = [float(row["validation"]) for row in rows(tmp_path / "run") if row["validation"]]
    assert max(looks) == pytest.approx(best["value"], abs=2e-5)


def test_the_averaged_weights_follow_the_trained_ones(recipe, tmp_path):
    trainer = Trainer(recipe, tmp_path)
    start = weights(trainer)["head.weight"]
    images, target = torch.rand(2, 3, 64, 64), torch.ones(2, 3, 64, 64)
    for _ in range(5):
        trainer.train_step(images, target)
    trained = trainer.network.state_dict()["head.weight"]
    average = weights(trainer)["head.weight"]
    moved = (trained - start).norm()
    assert 0 < (average - start).norm() < moved
    assert (average - trained).norm() < moved


def test_another_recipes_checkpoint_is_refused(recipe, tmp_path):
    Trainer(recipe, tmp_path).save()
    with pytest.raises(ModelError, match="made by another recipe"):
        Trainer(replace(recipe, seed=1), tmp_path).resume()


@pytest.mark.parametrize("damage", [b"", b"no checkpoint at all", None])
def test_a_damaged_checkpoint_is_said_to_be_one(recipe, tmp_path, damage):
    trainer = Trainer(recipe, tmp_path)
    trainer.save()
    content = trainer.checkpoint.read_bytes()
    trainer.checkpoint.write_bytes(content[: len(content) // 2] if damage is None else damage)
    with pytest.raises(ModelError, match="Cannot resume from"):
        Trainer(recipe, tmp_path).resume()


def test_the_same_seed_gives_the_same_weights_and_another_does_not(recipe, tmp_path):
    first, again, other = (weights(Trainer(replace(recipe, seed=s), tmp_path)) for s in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_nothing_held_out_is_an_error(recipe, data, tmp_path):
    own = replace(recipe.data[0], set="own", folder="LES-AV")
    with pytest.raises(InputError, match="Nothing is held out for validation"):
        find_training_files(replace(recipe, data=(own,)), data)


def test_a_cut_on_images_that_are_not_there_is_an_error(recipe, data):
    own = replace(recipe.data[0], set="own", folder="LES-AV", cut=("11", "77"))
    with pytest.raises(InputError, match="begins with '77', listed for cut"):
        find_training_files(replace(recipe, data=(own,)), data)


def test_a_run_ended_while_the_threshold_is_chosen_leaves_no_model(recipe, data, tmp_path):
    with closing(train(recipe, data, tmp_path / "run", "cpu")) as job:
        while not next(job).message.startswith("Choosing"):
            assert not (tmp_path / "run" / "tiny").exists()
        assert not (tmp_path / "run" / "tiny").exists()
    run_job(train(recipe, data, tmp_path / "run", "cpu"))
    assert read_model(tmp_path / "run" / "tiny").threshold > 0
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.is_dir()) in (
        ["tensorboard", "tiny"],
        ["tiny"],
    )


@pytest.mark.skipif(sys.platform == "win32", reason="limits on files are POSIX")
def test_a_full_disk_is_said_to_be_one_and_the_last_checkpoint_stays(tmp_path):
    code = """
import resource, signal, sys, torch
from pathlib import Path
from napari_vessel.errors import VesselError
from napari_vessel.training.checkpoint import save_tensors
path = Path(sys.argv[1])
save_tensors(path, {"x": torch.zeros(10)}, {})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    save_tensors(path, {"x": torch.zeros(100_000)}, {})
except VesselError as error:
    print(error)
"""
    path = tmp_path / "checkpoint.safetensors"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "free the space" in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size < 1000


def test_tensorboard_gets_the_same_figures(recipe, data, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run_job(train(recipe, data, tmp_path / "run", "cpu"))
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    shown = {event.step: event.value for event in events.Scalars("validation")}
    kept = {int(row["step"]): float(row["validation"]) for row in rows(tmp_path / "run") if row["validation"]}
    assert shown.keys() == kept.keys() == {4, 8}
    assert np.allclose([shown[s] for s in kept], list(kept.values()), atol=1e-5)


def test_angiograms_are_trained_on_with_one_channel(data, tmp_path):
    text = TINY.split("[[data]]")[0].replace('"fundus"', '"octa"').replace("[network]", "[network]\nin_channels = 1")
    (tmp_path / "octa.toml").write_text(text + '[[data]]\nset = "rossa"\nfolder = "ROSSA"\n')
    code = main(["train", str(tmp_path / "octa.toml"), "--data", str(data), "-o", str(tmp_path / "run"), "--json"])
    assert code == 0
    info = read_model(tmp_path / "run" / "tiny")
    case = read_case(find_cases("rossa", data / "ROSSA", "test")[0], allow_test=True)
    assert run_job(Segmenter(info, "cpu").predict(case.image)).probability.shape == case.vessels.shape


def test_the_command_says_what_is_wrong(data, tmp_path, capsys):
    assert main(["train", "nothing.toml", "-o", str(tmp_path / "run")]) == 1
    assert "There is no recipe 'nothing.toml'" in capsys.readouterr().err
    (tmp_path / "tiny.toml").write_text(TINY)
    assert main(["train", str(tmp_path / "tiny.toml"), "-o", str(tmp_path / "run")]) == 1
    assert "There is no training image of CHASE_DB1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_two_trainings_do_not_share_a_folder(recipe, data, tmp_path):
    job = train(recipe, data, tmp_path / "run", "cpu")
    with closing(job):
        next(job)
        with pytest.raises(ProjectError, match="is already open in another window"):
            run_job(train(recipe, data, tmp_path / "run", "cpu"))
    run_job(train(recipe, data, tmp_path / "run", "cpu"))


def test_a_loss_that_is_no_number_stops_the_run_and_spoils_no_weights(recipe, tmp_path):
    trainer = Trainer(recipe, tmp_path)
    before = weights(trainer)
    with pytest.raises(ModelError, match="no longer a number at step 1"):
        trainer.train_step(torch.full((2, 3, 64, 64), float("nan")), torch.ones(2, 3, 64, 64))
    assert all(torch.equal(before[name], value) for name, value in weights(trainer).items())


def test_half_a_step_is_not_saved(recipe, data, tmp_path, monkeypatch):
    job = train(recipe, data, tmp_path / "run", "cpu")
    for progress in job:
        if progress.message == "Training" and progress.done >= 5:
            break
    monkeypatch.setattr(Trainer, "train_step", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        next(job)
    trainer = Trainer(recipe, tmp_path / "run")
    assert trainer.resume()
    assert trainer.step == 4


def test_a_run_does_not_go_on_with_other_images(recipe, data, tmp_path):
    folder = tmp_path / "data" / "CHASEDB1"
    shutil.copytree(data / "CHASEDB1", folder)
    stop_after(train(recipe, tmp_path / "data", tmp_path / "run", "cpu"), 2)
    (folder / "images" / "Image_02R.png").unlink()
    with pytest.raises(ModelError, match="started with other images"):
        run_job(train(recipe, tmp_path / "data", tmp_path / "run", "cpu"))
