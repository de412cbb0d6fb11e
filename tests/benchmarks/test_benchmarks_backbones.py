"""The benchmark of networks: what its arms share, its intervals, its table, and one part of it from end to end."""

import json
import sys
from dataclasses import replace

import ablation
import backbones as benchmark
import common
import cv2
import numpy as np
import pytest
from backbones import ARMS, NETWORKS, compare, recipe_of

from napari_vessel.networks import NETWORKS as KINDS
from napari_vessel.training.recipe import CropRecipe


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """Five training and two test images in the plain layout, under DRIVE's names: dark lines in a bright circle."""
    folder = tmp_path_factory.mktemp("data") / "DRIVE"
    for room in ("images", "masks", "fov"):
        (folder / room).mkdir(parents=True)
    rng = np.random.default_rng(0)
    fov = cv2.circle(np.zeros((100, 100), np.uint8), (50, 50), 48, 255, -1)
    for number in (1, 2, 21, 22, 23, 24, 25):
        mask = np.zeros_like(fov)
        for width in (1, 2, 4):
            cv2.line(mask, rng.integers(0, 100, 2).tolist(), rng.integers(0, 100, 2).tolist(), 255, width)
        mask &= fov
        image = np.where(fov[..., None], 150 - mask[..., None] // 4 + rng.integers(0, 9, (100, 100, 3)), 0)
        for room, pixels in (("images", image), ("masks", mask), ("fov", fov)):
            name = f"{number:02d}_{'training' if number > 20 else 'test'}.png"
            cv2.imwrite(str(folder / room / name), pixels.astype(np.uint8))
    return folder


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The same recipes for images as small as these, and places of their own for what is kept."""

    def small(name):
        recipe = read(name)
        channels = KINDS[recipe.network.name].channels if recipe.network.name == "swin_unet" else (4, 4, 4, 4, 8)
        network = replace(recipe.network, channels=channels, working_diameter=96.0)
        return replace(recipe, network=network, crops=CropRecipe(size=64, batch=1))

    read = benchmark.read_recipe
    monkeypatch.setattr(benchmark, "read_recipe", small)
    monkeypatch.setattr(benchmark, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    monkeypatch.setattr(benchmark, "SHAPE", (64, 64))
    monkeypatch.setattr(common, "PARTS", tmp_path / "parts")
    return tmp_path


def run(monkeypatch, drive, out, *options):
    """Run the script; return the results it wrote."""
    monkeypatch.setattr(sys, "argv", ["backbones.py", "--drive", str(drive), "-o", str(out), *options])
    benchmark.main()
    return json.loads(out.read_text())["results"]


def test_every_network_that_segments_takes_part():
    assert set(NETWORKS) >= {"unet", "cs2net", "swin_unet", "r2unet", "efficient_unet"}


@pytest.mark.parametrize("network", NETWORKS)
def test_the_arms_differ_in_maskvsc_alone(network):
    base, ours = (recipe_of(network, arm, 100, 2) for arm in ARMS)
    assert base.network.name == network
    assert (base.seed, base.schedule.steps, base.topomask.style) == (2, 100, "none")
    assert ours.topomask.style == "corrected"
    assert [term.name for term in ours.loss] == [*(term.name for term in base.loss), "soft-cldice"]
    assert replace(ours, name=base.name, title=base.title, topomask=base.topomask, loss=base.loss) == base
    plain = recipe_of("unet", "base", 100, 2)
    assert replace(base, name=plain.name, title=plain.title, network=plain.network) == plain


def rows(*values):
    return [{"image": str(n), "dice": v, "cldice": v, "betti0_error": 1.0} for n, v in enumerate(values)]


def test_a_difference_is_paired_by_image_and_a_seeds_luck_is_in_it():
    spread = np.linspace(0.5, 0.9, 20)
    same = {arm: [rows(*(spread + gain))] for arm, gain in (("base", 0.0), ("+ MaskVSC", 0.02))}
    found = compare(same)["difference"]["dice"]
    assert found["mean"] == pytest.approx(0.02)
    assert found["low"] == pytest.approx(found["high"])
    lucky = {**same, "base": [rows(*(spread + luck)) for luck in (-0.05, 0.0, 0.05)]}
    found = compare(lucky)
    assert found["difference"]["dice"]["mean"] == pytest.approx(0.02)
    assert found["difference"]["dice"]["low"] < -0.01 < 0.05 < found["difference"]["dice"]["high"]
    assert found["base"]["dice"]["by_seed"] == pytest.approx([0.65, 0.7, 0.75])


def test_one_arm_alone_has_no_difference_and_one_image_no_interval():
    found = compare({"base": [rows(0.8)]})
    assert set(found) == {"base"}
    assert (found["base"]["dice"]["mean"], found["base"]["dice"]["low"]) == (0.8, None)


def test_a_part_is_trained_and_kept_and_the_rest_is_marked(drive, tiny, monkeypatch):
    out = tiny / "backbones.json"
    part = ("--networks", "r2unet", "--seeds", "0", "--steps", "2")
    made = run(monkeypatch, drive, out, *part)
    assert set(made["r2unet"]["arms"]) == {*ARMS, "difference"}
    for arm in ARMS:
        figures = made["r2unet"]["arms"][arm]
        assert figures["seeds"] == [0]
        assert 0 <= figures["validation_dice"][0] <= 1
        assert 0 <= figures["dice"]["mean"] <= 1
    assert made["cs2net"]["arms"] == {}
    assert made["unet"]["ratio"] == {"median": 1.0, "least": 1.0, "most": 1.0}
    lines = out.with_suffix(".md").read_text().splitlines()
    assert sum("not trained" in line for line in lines) == 2 * (len(NETWORKS) - 1)
    assert any(line.startswith("| r2unet | [4, 4, 4, 4, 8] |") and "| base | 1 |" in line for line in lines)
    # What is finished is not trained again, and stays in the table when something else is asked for.
    monkeypatch.setattr(ablation, "train", None)
    again = run(monkeypatch, drive, out, *part)
    assert again["r2unet"]["arms"] == made["r2unet"]["arms"]
    assert (
        run(monkeypatch, drive, out, "--networks", "none", "--steps", "2")["r2unet"]["arms"] == made["r2unet"]["arms"]
    )
