"""Pre-training hides vessels more and more often, keeps their anatomy, survives a stop, and is begun with."""

import csv
import json
import os
import shutil
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from napari_vessel.cli import main
from napari_vessel.errors import InputError, ModelError
from napari_vessel.images.image import Modality
from napari_vessel.jobs import run_job
from napari_vessel.networks import SEGMENTERS, build_network
from napari_vessel.training.pretraining.folders import begin_with, read_pretrained, read_pretrained_tensors
from napari_vessel.training.pretraining.images import find_unlabelled, guess_modality_of, load_images
from napari_vessel.training.pretraining.masking import draw_hidden, guided_share, patch_distribution
from napari_vessel.training.pretraining.reconstruction import cost_of, in_pixels, make_reconstructor
from napari_vessel.training.pretraining.running import pretrain
from napari_vessel.training.pretraining.settings import PreTrain
from napari_vessel.training.pretraining.trainer import PreTrainer
from napari_vessel.training.pretraining.vesselness import BORDER, vessel_map
from napari_vessel.training.recipe import NetworkRecipe
from napari_vessel.training.recipe_reading import parse_recipe, read_recipe
from napari_vessel.training.train import train

VIT = NetworkRecipe("vit_unet", (4, 8, 8, 64), 1, 96.0, 3)
TINY = PreTrain(Modality.OCTA, VIT, steps=4, batch=2, segmenter_steps=2)


def draw(seed, side=96, bright=True):
    """Return a picture with a tree of vessels and noise, and the tree."""
    rng = np.random.default_rng(seed)
    tree = np.zeros((side, side), np.uint8)
    points = rng.integers(18, side - 18, (5, 2))
    for one, other in pairwise(points):
        cv2.line(tree, tuple(map(int, one)), tuple(map(int, other)), 1, 3)
    level = cv2.GaussianBlur(tree.astype(np.float32), (0, 0), 0.8) * (0.5 if bright else -0.5)
    return (0.5 + level + rng.normal(0, 0.03, tree.shape)).astype(np.float32), tree > 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three bright-vesselled images and nothing else."""
    room = tmp_path_factory.mktemp("unlabelled") / "octa"
    room.mkdir()
    for seed in range(3):
        cv2.imwrite(str(room / f"frame{seed}.png"), np.clip(draw(seed)[0] * 255, 0, 255).astype(np.uint8))
    return room


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """A finished run."""
    out = tmp_path_factory.mktemp("run")
    return out, run_job(pretrain(find_unlabelled([folder]), TINY, out, "cpu"))


def rows(out):
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("modality", [Modality.OCTA, Modality.XRAY])
def test_vessels_that_were_drawn_are_found(modality):
    pixels, tree = draw(3, side=160, bright=modality is not Modality.XRAY)
    found = vessel_map(pixels, None, modality)
    assert (found & tree).sum() > 0.6 * tree.sum()
    assert (found & cv2.dilate(tree.astype(np.uint8), np.ones((5, 5))).astype(bool)).sum() > 0.9 * found.sum()
    wrong = vessel_map(pixels, None, Modality.XRAY if modality is Modality.OCTA else Modality.OCTA)
    assert (wrong & tree).sum() < 0.2 * tree.sum()


def test_a_map_leaves_out_the_rim_specks_and_what_is_nothing():
    pixels = np.zeros((120, 120), np.float32)
    cv2.line(pixels, (20, 30), (100, 30), 1.0, 3)
    cv2.line(pixels, (20, 80), (70, 80), 0.9, 3)
    cv2.circle(pixels, (60, 55), 1, 0.9, -1)
    cv2.line(pixels, (0, 4), (119, 4), 3.0, 3)
    found = vessel_map(pixels, None, Modality.OCTA)
    assert found[30, 30:90].all()
    assert found[80, 30:60].all()
    assert not found[50:60].any()
    assert not found[:BORDER].any()
    half = np.zeros(pixels.shape, np.bool_)
    half[:, 60:] = True
    assert not vessel_map(pixels, half, Modality.OCTA)[:, : 60 + BORDER - 1].any()
    assert not vessel_map(np.zeros((60, 60), np.float32), None, Modality.OCTA).any()


def test_half_of_the_patches_is_hidden_and_vessels_more_often():
    vessels = np.zeros((64, 96), np.bool_)
    vessels[30:34] = True
    shares = patch_distribution(vessels, 8)
    assert shares.shape == (8, 12)
    assert shares.sum() == pytest.approx(1)
    covered = []
    for guided in (0.0, 0.25, 0.5):
        rng = np.random.default_rng(0)
        drawn = [draw_hidden(shares, guided, rng) for _ in range(200)]
        assert {int(one.sum()) for one in drawn} == {48}
        covered.append(np.mean([shares[one].sum() for one in drawn]))
    assert covered[0] == pytest.approx(0.5, abs=0.03)
    assert covered[1] > covered[0] + 0.15
    assert covered[2] > covered[1] + 0.05
    assert not np.array_equal(drawn[0], drawn[1])
    nothing = draw_hidden(np.zeros((8, 12)), 0.5, np.random.default_rng(0))
    assert nothing.sum() == 48
    with pytest.raises(ValueError, match="no whole number of patches"):
        patch_distribution(vessels, 7)


def test_the_guided_share_grows_linearly_to_a_half():
    shares = np.array([guided_share(fraction) for fraction in np.linspace(0, 1, 11)])
    assert (shares[0], shares[-1]) == (0.0, 0.5)
    assert np.diff(shares) == pytest.approx(0.05)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_what_is_hidden_is_not_read(name):
    torch.manual_seed(0)
    model = make_reconstructor(NetworkRecipe(name, in_channels=1)).eval()
    hidden = torch.zeros(1, 64 // model.patch, 64 // model.patch, dtype=torch.bool)
    hidden[:, 1:] = True
    images = torch.rand(1, 1, 64, 64)
    other = torch.where(in_pixels(hidden, model.patch), torch.rand_like(images), images)
    with torch.no_grad():
        assert model(images, hidden).shape == images.shape
        assert torch.equal(model(images, hidden), model(other, hidden))
        assert not torch.equal(model(images, hidden), model(images + 1, hidden))


def test_consistency_alone_teaches_what_was_hidden_and_leaves_the_segmenter_as_it_is():
    torch.manual_seed(0)
    segmenter = torch.nn.Conv2d(1, 1, 3, padding=1).requires_grad_(False)  # sees spots brighter than around them
    segmenter.weight[:] = torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]])
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    images, predicted = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32, requires_grad=True)
    hidden = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    hidden[..., 8:16, 8:24] = True
    inside = torch.ones_like(hidden)
    cost = cost_of(images, predicted, hidden, inside, segmenter)
    cost.consistency.backward()
    assert (predicted.grad[hidden] != 0).float().mean() > 0.9
    assert not predicted.grad[~hidden].any()
    better = predicted.detach() - 0.1 * predicted.grad / predicted.grad.abs().max()
    assert cost_of(images, better, hidden, inside, segmenter).consistency < cost.consistency
    assert all(torch.equal(before[name], value) for name, value in segmenter.state_dict().items())
    # The original itself costs the least: the segmenter's own doubt.
    best = cost_of(images, images, hidden, inside, segmenter)
    assert best.pixels == 0
    assert best.consistency < cost.consistency


def test_pixels_count_where_they_were_hidden_and_show_tissue():
    images, predicted = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    predicted[..., 0, :] = 2.0
    hidden, inside = torch.zeros(1, 1, 4, 4, dtype=torch.bool), torch.ones(1, 1, 4, 4, dtype=torch.bool)
    hidden[..., :2, :] = True
    assert cost_of(images, predicted, hidden, inside, None).pixels == pytest.approx(2.0)
    inside[..., 1, :] = False
    assert cost_of(images, predicted, hidden, inside, None).pixels == pytest.approx(4.0)
    assert cost_of(images, predicted, ~hidden, inside, None).pixels == 0


def test_a_run_that_was_stopped_ends_as_one_that_was_not(folder, finished, tmp_path):
    with closing(pretrain(find_unlabelled([folder]), TINY, tmp_path, "cpu")) as job:
        for progress in job:
            if progress.message == "Pre-training" and progress.done == 2:
                break
    assert not (tmp_path / "encoder").exists()
    result = run_job(pretrain(find_unlabelled([folder]), TINY, tmp_path, "cpu"))
    assert result["steps"] == 4
    straight, broken = (read_pretrained_tensors(read_pretrained(out / "encoder")) for out in (finished[0], tmp_path))
    assert straight.keys() == broken.keys()
    for name, value in straight.items():
        torch.testing.assert_close(broken[name], value, rtol=1e-4, atol=1e-6)
    assert [row["step"] for row in rows(tmp_path)] == [row["step"] for row in rows(finished[0])] == ["4"]
    assert 0 < float(rows(tmp_path)[0]["hidden_vessel"]) <= 1


def test_the_order_of_the_images_decides_nothing(folder, finished, tmp_path):
    run_job(pretrain(find_unlabelled([folder])[::-1], TINY, tmp_path, "cpu"))
    straight, turned = (read_pretrained_tensors(read_pretrained(out / "encoder")) for out in (finished[0], tmp_path))
    for name, value in straight.items():
        torch.testing.assert_close(turned[name], value, rtol=1e-4, atol=1e-6)


def test_what_came_out_says_what_it_was_made_from(folder, finished):
    out, result = finished
    config = json.loads((out / "encoder" / "config.json").read_text())
    assert config["network"] == VIT.settings
    assert set(config["training"]["images"]) == {f"octa/frame{n}" for n in range(3)}
    assert config["training"]["settings"]["guided"] is True
    assert config["training"]["segmenter"]["steps"] == 2
    assert config["training"]["crop"] == 96
    assert config["data_sets"] == ["own"]
    assert "[4, 8, 8, 64]" in (out / "encoder" / "README.md").read_text()
    assert result["encoder"] == str(out / "encoder")
    again = (out / "checkpoint.safetensors").read_bytes()
    run_job(pretrain(find_unlabelled([folder]), TINY, out, "cpu"))
    assert (out / "checkpoint.safetensors").read_bytes() == again


def test_a_networks_encoder_begins_with_the_pre_trained_one(finished):
    torch.manual_seed(1)
    network = build_network(**VIT.settings)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = read_pretrained(finished[0] / "encoder")
    begin_with(found, network)
    weights = read_pretrained_tensors(found)
    assert set(weights) == {name for name in before if name.startswith("encoder.")}
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[name] if name in weights else before[name])
    assert not torch.equal(weights["encoder.embed.weight"], before["encoder.embed.weight"])
    with pytest.raises(ModelError, match="are of another network"):
        begin_with(found, build_network("unet", in_channels=1, channels=(4, 8)))


def test_plain_masked_modelling_of_a_u_net_has_no_segmenter_and_another_head(folder, tmp_path):
    network = NetworkRecipe("unet", (4, 8), 1, 96.0)
    settings = replace(TINY, network=network, guided=False, consistency=0.0, steps=2)
    result = run_job(pretrain(find_unlabelled([folder]), settings, tmp_path, "cpu"))
    assert "hidden_vessel" not in result["figures"]
    assert result["figures"]["consistency"] == 0
    target = build_network(**network.settings)
    weights = read_pretrained_tensors(read_pretrained(tmp_path / "encoder"))
    assert set(target.state_dict()) - set(weights) == {"head.weight", "head.bias"}
    begin_with(read_pretrained(tmp_path / "encoder"), target)
    assert all(torch.equal(target.state_dict()[name], value) for name, value in weights.items())


TRAINED = """
name = "tiny"
title = "Tiny"
modality = "octa"
encoder = "pretrained/encoder"
[network]
name = "vit_unet"
channels = [4, 8, 8, 64]
blocks = 3
in_channels = 1
working_diameter = 96
[schedule]
steps = 1
[crops]
size = 32
batch = 1
[[data]]
set = "own"
folder = "ours"
validation = ["1"]
"""


@pytest.fixture
def place(finished, tmp_path):
    """A data folder with two labelled images and the pre-trained weights."""
    for seed in range(2):
        pixels, tree = draw(seed)
        for room, image in (("images", pixels * 255), ("masks", tree * 255)):
            (tmp_path / "ours" / room).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "ours" / room / f"{seed}.png"), np.clip(image, 0, 255).astype(np.uint8))
    shutil.copytree(finished[0] / "encoder", tmp_path / "pretrained" / "encoder")
    return tmp_path


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_weights_that_are_no_file_are_refused_at_once(finished, tmp_path, put):
    shutil.copytree(finished[0] / "encoder", tmp_path / "encoder")
    weights = tmp_path / "encoder" / "model.safetensors"
    weights.unlink()
    put(weights)
    with pytest.raises(ModelError, match="it is not a file"):
        read_pretrained_tensors(read_pretrained(tmp_path / "encoder"))


def test_a_recipe_begins_with_it(place):
    recipe = parse_recipe(TRAINED, "tiny")
    result = run_job(train(recipe, place, place / "run", "cpu"))
    config = json.loads((place / "run" / "tiny" / "config.json").read_text())
    assert config["training"]["builds_on"] == {"encoder": read_pretrained(place / "pretrained" / "encoder").sha256}
    assert config["training"]["recipe"]["encoder"] == "pretrained/encoder"
    assert result["steps"] == 1
    for change in ({"channels": (4, 8, 16, 64)}, {"working_diameter": 100.0}):
        other = replace(recipe, network=replace(recipe.network, **change))
        with pytest.raises(ModelError, match=r"cannot begin with .*: give it the \[network\]"):
            run_job(train(other, place, place / "other", "cpu"))
    with pytest.raises(ModelError, match=r"no pre-trained weights in .*; make them with napari-vessel pretrain"):
        run_job(train(replace(recipe, encoder="nowhere"), place, place / "other", "cpu"))
    weights = place / "pretrained" / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelError, match="does not have the SHA-256"):
        run_job(train(recipe, place, place / "other", "cpu"))
    (weights.parent / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="pre-train again"):
        run_job(train(recipe, place, place / "other", "cpu"))


def test_a_recipe_without_it_is_stored_as_ever():
    recipe = parse_recipe(TRAINED, "tiny")
    plain = replace(recipe, encoder="")
    assert "encoder" not in plain.to_json()
    assert all("encoder" not in read_recipe(name).to_json() for name in ("fundus-small", "octa-small"))
    assert plain.is_of(plain.to_json())
    assert recipe.is_of(recipe.to_json())
    assert not recipe.is_of(plain.to_json())
    assert not plain.is_of(recipe.to_json())
    with pytest.raises(InputError, match="both with 'start' and with 'encoder'"):
        parse_recipe('start = "unet"\n' + TRAINED.strip(), "tiny")
    with pytest.raises(InputError, match="not a folder below the data folder"):
        parse_recipe(TRAINED.replace("pretrained/encoder", "../elsewhere"), "tiny")


def test_of_a_public_set_its_training_images_alone_are_read(tmp_path):
    drive = tmp_path / "DRIVE"
    for number in (1, 2, *range(21, 27)):
        half = "training" if number > 20 else "test"
        for room, name in (("images", f"{number:02d}_{half}.tif"), ("mask", f"{number:02d}_{half}_mask.gif"),
                           ("1st_manual", f"{number:02d}_manual1.gif")):  # fmt: skip
            (drive / half / room).mkdir(parents=True, exist_ok=True)
            (drive / half / room / name).write_bytes(bytes([number]))
    found = find_unlabelled([drive])
    # Four of the training half are for validation.
    assert len(found) == 2
    assert all(file.name.startswith("drive/2") and file.data_set == "drive" and file.fov for file in found)
    assert guess_modality_of(found) is Modality.FUNDUS
    with pytest.raises(InputError, match="DRIVE has fundus images and cannot be pre-trained on as octa"):
        run_job(pretrain(found, TINY, tmp_path / "run", "cpu"))
    assert not (tmp_path / "run").exists()
    # Bare numbers are anybody's, unless the folder has the set's name.
    for folder, count in (("ROSSA", 2), ("ours", 4)):
        for stem in ("7", "8", "150", "250"):
            for room in ("images", "masks"):
                (tmp_path / folder / room).mkdir(parents=True, exist_ok=True)
                (tmp_path / folder / room / f"{stem}.png").write_bytes(b"x")
        found = find_unlabelled([tmp_path / folder])
        assert len(found) == count
        assert {file.data_set for file in found} == {"rossa" if folder == "ROSSA" else "own"}
    # A part of a set says no more which of its images are for what, nor does one without labels by its name.
    for room in (drive / "training", drive / "test" / "images", tmp_path / "ROSSA" / "images"):
        with pytest.raises(InputError, match=r"lies in a public data set; give '.*(DRIVE|ROSSA)', of which"):
            find_unlabelled([room])
    shutil.rmtree(tmp_path / "ROSSA" / "masks")
    with pytest.raises(InputError, match="There is no mask of"):
        find_unlabelled([tmp_path / "ROSSA"])
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "Image_11L.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match="name of a test image"):
        find_unlabelled([tmp_path])


def test_images_of_folders_with_one_name_are_all_in_the_record(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name / "frames").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name / "frames" / "1.png"), (draw(ord(name))[0] * 160).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "a" / "frames" / "1 (2).png"), (draw(9)[0] * 160).astype(np.uint8))
    monkeypatch.chdir(tmp_path / "a" / "frames")
    # Twice the same one counts once, whatever it is called.
    found = find_unlabelled([Path(), tmp_path / "b" / "frames", tmp_path / "a" / "frames"])
    assert sorted(file.name for file in found) == ["frames/1", "frames/1 (2)", "frames/1 (3)"]
    loaded = run_job(load_images(found, TINY, 8))
    assert len(set(loaded.hashes.values())) == len(loaded.levels) == 3


def run(capsys, *words):
    code = main([str(word) for word in words])
    return code, capsys.readouterr().err


def test_the_command_says_what_is_wrong(folder, finished, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "run"
    for words, told in [
        ((empty,), "No images in"),
        ((tmp_path / "nowhere",), "does not exist"),
        ((folder, "--modality", "ct"), "There is no modality 'ct'"),
        ((folder, "--modality", "octa", "--network", "vig"), "no network named 'vig' to pre-train; choose one of unet"),
        ((folder, "--recipe", "octa-small", "--modality", "octa"), "leave these options out"),
        ((folder, "--modality", "octa", "--device", "cuda"), "is not available here"),
    ]:
        if told == "is not available here" and torch.cuda.is_available():
            continue
        code, said = run(capsys, "pretrain", *words, "-o", out)
        assert (code, told in said) == (1, True), said
        assert not out.exists()
    # 64 px wide at the working scale, and a patch is 16.
    cv2.imwrite(str(empty / "thin.png"), np.zeros((60, 200), np.uint8))
    code, said = run(capsys, "pretrain", empty, "--modality", "octa", "--working-diameter", 100, "-o", out)
    assert (code, "is 30 x 100 px" in said) == (1, True), said
    assert not (out / "encoder").exists()


def test_a_run_goes_on_with_its_own_images_and_settings_alone(folder, finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    with pytest.raises(ModelError, match="other images or with other settings"):
        run_job(pretrain(find_unlabelled([folder]), replace(TINY, seed=1), tmp_path / "run", "cpu"))
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    with pytest.raises(ModelError, match=r"Cannot resume from .*; delete it to start afresh"):
        run_job(pretrain(find_unlabelled([folder]), TINY, tmp_path / "run", "cpu"))


def test_the_command_makes_a_folder(folder, tmp_path, capsys):
    (tmp_path / "tiny.toml").write_text(TRAINED.replace('encoder = "pretrained/encoder"\n', ""))
    words = ["pretrain", str(folder), "--recipe", str(tmp_path / "tiny.toml"), "--random", "--steps", "1", "--json"]
    assert main([*words, "--device", "cpu", "-o", str(tmp_path / "run")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["steps"], result["images"]) == (1, 3)
    assert read_pretrained(tmp_path / "run" / "encoder").network == VIT.settings


def test_a_loss_that_is_no_number_spoils_no_weights(tmp_path):
    trainer = PreTrainer(replace(TINY, consistency=0.0), tmp_path)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    with pytest.raises(ModelError, match="no longer a number at step 1"):
        trainer.train_step(torch.full((2, 1, 64, 64), float("nan")), torch.ones(2, 4, 64, 64))
    assert all(torch.equal(before[name], value) for name, value in trainer.network.state_dict().items())
