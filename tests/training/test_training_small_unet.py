"""The training program learns, survives a kill, and exports a model that the Segmenter can use."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from napari_vessel.errors import ModelError
from napari_vessel.segmentation.registry import read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.training import small_unet
from napari_vessel.training.data import CHASEDB1
from napari_vessel.training.small_unet import Recipe, Trainer, load_sources

TINY = {"crop": 96, "batch": 2, "channels": (8, 8, 8), "working_diameter": 200.0, "iterations": 3}


@pytest.fixture(scope="module")
def sources(chasedb1):
    def make(**changes):
        recipe = Recipe(**{**TINY, **changes})
        return recipe, load_sources({CHASEDB1.name: (CHASEDB1, chasedb1)}, recipe)[0]

    return make


def test_the_loss_falls(sources, tmp_path):
    recipe, source = sources(steps=60, centreline_weight=0.0)
    losses = Trainer(recipe, source, tmp_path).run()
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])


def test_resuming_goes_on_as_if_nothing_had_happened(sources, tmp_path):
    recipe, source = sources(steps=8)
    straight = Trainer(recipe, source, tmp_path / "a")
    losses = straight.run()
    first = Trainer(recipe, source, tmp_path / "b")
    before = first.run(until=0.5)
    second = Trainer(recipe, source, tmp_path / "b")
    assert second.resume()
    assert second.step == 4
    after = second.run()
    assert before + after == pytest.approx(losses, rel=1e-5)
    for mine, theirs in zip(second.average.state_dict().values(), straight.average.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_batches_depend_on_seed_and_number_alone(sources):
    recipe, source = sources(seed=3)
    again = sources(seed=3)[1]
    torch.testing.assert_close(source.batch(7)[0], again.batch(7)[0], rtol=0, atol=0)
    stream = source.batches(6)
    next(stream)
    torch.testing.assert_close(next(stream)[0], source.batch(7)[0], rtol=0, atol=0)
    stream.close()
    assert not torch.equal(source.batch(7)[0], source.batch(8)[0])
    assert recipe.seed == 3


def test_no_checkpoint_means_a_fresh_start(sources, tmp_path):
    recipe, source = sources(steps=2)
    assert not Trainer(recipe, source, tmp_path).resume()


@pytest.mark.parametrize("damage", [b"", b"no checkpoint at all", None])
def test_a_damaged_checkpoint_is_said_to_be_one(sources, tmp_path, damage):
    recipe, source = sources(steps=1)
    trainer = Trainer(recipe, source, tmp_path)
    trainer.save()
    content = trainer.checkpoint.read_bytes()
    trainer.checkpoint.write_bytes(content[: len(content) // 2] if damage is None else damage)
    with pytest.raises(ModelError, match="Cannot resume from"):
        Trainer(recipe, source, tmp_path).resume()


def test_a_killed_run_leaves_a_checkpoint_that_can_be_resumed(sources, chasedb1, tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from napari_vessel.training.data import CHASEDB1\n"
        "from napari_vessel.training.small_unet import Recipe, Trainer, load_sources\n"
        f"recipe = Recipe(steps=100000, **{TINY!r})\n"
        f"source = load_sources({{CHASEDB1.name: (CHASEDB1, Path({str(chasedb1)!r}))}}, recipe)[0]\n"
        f"Trainer(recipe, source, Path({str(tmp_path)!r})).run(save_every=0.0)\n"
    )
    checkpoint = tmp_path / "checkpoint.safetensors"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.5)
        assert process.poll() is None
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    recipe, source = sources(steps=100000)
    trainer = Trainer(recipe, source, tmp_path)
    assert trainer.resume()
    reached = trainer.step
    assert reached >= 1
    trainer.run(until=(reached + 1) / recipe.steps)
    assert trainer.step == reached + 1


def test_the_program_trains_exports_and_names_its_splits(chasedb1, les_av, tmp_path, monkeypatch):
    monkeypatch.setattr(small_unet, "Recipe", lambda **given: Recipe(**{**given, **TINY}))
    arguments = ["--chasedb1", str(chasedb1), "--les-av", str(les_av), "-o", str(tmp_path), "--steps", "3"]
    assert small_unet.main(arguments) == 0
    folder = tmp_path / "fundus-small"
    info = read_model(folder)
    assert 0 < info.threshold < 1
    assert info.parameters > 1000
    config = json.loads((folder / "config.json").read_text())
    split = config["training"]["split"]
    assert split["CHASE_DB1"] == {"training": ["Image_01L", "Image_02R"], "validation": ["Image_09L"]}
    assert "Image_11L" not in (folder / "config.json").read_text()
    assert json.loads((tmp_path / "validation.json").read_text())["threshold"] == info.threshold
    assert Segmenter(info, "cpu").model == "fundus-small"


def test_the_program_says_what_is_wrong(tmp_path, caplog):
    assert small_unet.main(["-o", str(tmp_path)]) == 2
    assert small_unet.main(["-o", str(tmp_path), "--hrf", str(tmp_path)]) == 1
    assert "No training image of HRF" in caplog.text


def test_without_a_checkpoint_there_is_nothing_to_export(chasedb1, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(small_unet, "Recipe", lambda **given: Recipe(**{**given, **TINY}))
    arguments = ["--chasedb1", str(chasedb1), "-o", str(tmp_path), "--export-only"]
    assert small_unet.main(arguments) == 1
    assert "train first" in caplog.text
    assert not list(tmp_path.iterdir())
