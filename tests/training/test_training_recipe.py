"""Recipes are read strictly: a misspelt entry is an error, never a default."""

import json
import os
import sys
from dataclasses import replace

import pytest

from napari_vessel.errors import InputError
from napari_vessel.networks import NETWORKS, build_network
from napari_vessel.segmentation.registry import model_info
from napari_vessel.training.recipe import NetworkRecipe
from napari_vessel.training.recipe_reading import parse_recipe, read_recipe, shipped_recipes
from napari_vessel.training.terms import DEFAULT_LOSS, LossTerm
from napari_vessel.training.toml import to_toml

GOOD = """
name = "mine"
title = "Mine"
modality = "fundus"
[network]
channels = [8, 8]
[schedule]
steps = 10
policy = "one-cycle"
learning_rate = 1
[[data]]
set = "own"
folder = "images-of-mine"
validation = ["p1"]
"""


def write(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read(tmp_path):
    recipe = read_recipe(write(tmp_path, GOOD))
    assert recipe.network.channels == (8, 8)
    assert recipe.schedule.learning_rate == 1.0
    assert recipe.data[0].validation == ("p1",)
    assert recipe.loss == DEFAULT_LOSS
    assert recipe.to_json()["data"][0]["validation"] == ["p1"]


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_can_be_used(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert recipe.data


def test_the_shipped_recipes_are_there():
    assert {"fundus-small", "fundus", "octa-small", "drive-small", "drive"} <= set(shipped_recipes())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 10", "step = 10", "'schedule.step' is not known"),
        ("steps = 10", "steps = 1.5", "'schedule.steps' is 1.5 and not a whole number"),
        ("steps = 10", "steps = true", "not a whole number"),
        ("steps = 10", "steps = 0", "not from 1 to"),
        ("learning_rate = 1", "learning_rate = nan", "not a number"),
        ("learning_rate = 1", "learning_rate = 7.0", "'schedule.learning_rate' is 7.0 and not from"),
        ("steps = 10", "former_share = 0.1", "'schedule.former_share' needs a model to 'start' with"),
        ('"one-cycle"', '"linear"', "not one of cosine, one-cycle"),
        ('name = "mine"\n', "", "'name' is missing"),
        ('"mine"', '"../mine"', "'name' is '../mine' and not"),
        ('"mine"', '"Mine"', "lower-case letters"),
        ('title = "Mine"', 'title = ""', "'title' is not 1 to 200 letters long"),
        ("[[data]]", '[[data]]\nset = "hrf"\n[[data]]\nset = "hrf"\n[[data]]', "it names 'hrf' twice"),
        ("channels = [8, 8]", "channels = [8, 'a']", "'network.channels' is 'a'"),
        ("channels = [8, 8]", "channels = 8", "'network.channels' is not a list"),
        ("channels = [8, 8]", "channels = [8, 5000]", "numbers from 1 to 1024"),
        ("channels = [8, 8]", 'name = "densenet"', "there is no network 'densenet'; known are unet, "),
        ("channels = [8, 8]", "blocks = 3", "'network.blocks' is 3 and not from 0 to 0"),
        ('set = "own"', 'set = "stare"', "no data set 'stare'"),
        ('folder = "images-of-mine"', 'folder = "../elsewhere"', "not below the data folder"),
        ('folder = "images-of-mine"', "", "needs a folder"),
        ('set = "own"', 'set = "synthetic"', "nothing to validate on"),
        ("[network]", "[[network]]", "[network.] is not a table"),
        ("[schedule]", "[schedule", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(InputError) as error:
        read_recipe(write(tmp_path, GOOD.replace(old, new)))
    assert message in str(error.value)
    assert str(error.value).count("\n") == 0


def test_the_terms_of_the_loss_are_read(tmp_path):
    text = """
[[loss]]
name = "focal-dice"
alpha = 0.4
balance = 1
[[loss]]
name = "soft-cldice"
weight = 0.5
after = 0.2
ramp = 0.1
iterations = 9
"""
    recipe = read_recipe(write(tmp_path, GOOD + text))
    assert recipe.loss == (
        LossTerm("focal-dice", alpha=0.4, balance=1.0),
        LossTerm("soft-cldice", weight=0.5, after=0.2, ramp=0.1, iterations=9),
    )
    assert recipe.to_json()["loss"][1]["ramp"] == 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[loss]\ncross_entropy = 1.0", "'loss' is one table; write a [[loss]] for each entry"),
        ('[[loss]]\nname = "cldice"', "there is no loss 'cldice'; known are cross-entropy, "),
        ("[[loss]]\nweight = 1.0", "'loss.name' is missing"),
        ('[[loss]]\nname = "dice"\nwieght = 1.0', "'loss.wieght' is not known"),
        ('[[loss]]\nname = "dice"\n[[loss]]\nname = "dice"', "it names the loss 'dice' twice"),
        ('[[loss]]\nname = "dice"\ngamma = 3.0', "the loss 'dice' does not read 'loss.gamma'"),
        ('[[loss]]\nname = "dice"\nweight = -1.0', "'loss.weight' is -1.0 and not from"),
        ('[[loss]]\nname = "focal"\nalpha = 1.5', "'loss.alpha' is 1.5 and not from"),
        ('[[loss]]\nname = "soft-cldice"', "cannot be trained"),
        ('[[loss]]\nname = "dice"\nweight = 0.0', "cannot be trained"),
        ('[[loss]]\nname = "dice"\n[[loss]]\nname = "former-answers"', "needs a model to 'start' with and"),
        ('[[loss]]\nname = "dice"\nafter = 0.1', "counts from the start"),
        (
            '[[loss]]\nname = "dice"\n[[loss]]\nname = "soft-cldice"\niterations = 0',
            "'loss.iterations' is 0 and not from 1",
        ),
        ('[[loss]]\nname = "dice"\n[[loss]]\nname = "soft-cldice"\nafter = 2.0', "'loss.after' is 2.0 and not from"),
    ],
)
def test_what_is_wrong_with_the_loss_is_named(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        read_recipe(write(tmp_path, f"{GOOD}\n{text}\n"))
    assert message in str(error.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_is_named_alone_has_channels_that_fit_it(name):
    recipe = NetworkRecipe(name)
    assert NetworkRecipe(name, recipe.channels) == recipe
    assert build_network(**recipe.settings)
    # What is stored says which: a run goes on as it began, whatever the default becomes.
    assert recipe.settings["channels"] == list(NETWORKS[name].channels)


def test_a_recipe_without_a_network_is_stored_as_ever():
    stored = {"name": "unet", "channels": [32, 32, 64, 64, 48], "in_channels": 3, "working_diameter": 640.0}
    recipe = parse_recipe('name = "a"\ntitle = "b"\n[[data]]\nset = "drive"', "a")
    assert recipe.to_json()["network"] == {**stored, "blocks": 0}
    assert recipe.is_of({**recipe.to_json(), "network": stored})


def test_the_network_of_a_model_is_gone_on_with():
    model = model_info("fundus-small-vig")
    deeper = replace(model, network={**model.network, "blocks": 3})
    network = NetworkRecipe.of(deeper)
    assert (network.name, network.blocks, network.working_diameter) == ("vig", 3, 640.0)
    assert network.settings == deeper.network


def test_a_recipe_that_is_not_there_is_an_error_that_lists_those_that_are(tmp_path):
    with pytest.raises(InputError, match=r"no recipe 'mine.toml'; give a TOML file or one of .*fundus-small"):
        read_recipe("mine.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path / "binary.toml")


def test_rates_rise_and_fall(tmp_path):
    cycle = read_recipe(write(tmp_path, GOOD)).schedule
    cosine = read_recipe("fundus-small").schedule
    for schedule, top in ((cycle, 0.3), (cosine, cosine.warm_up)):
        rates = [schedule.rate_at(i / 1000) for i in range(1001)]
        peak = rates.index(max(rates))
        assert abs(peak / 1000 - top) < 0.005
        assert rates[:peak] == sorted(rates[:peak])
        assert rates[peak:] == sorted(rates[peak:], reverse=True)
        assert max(rates) == pytest.approx(schedule.learning_rate, rel=1e-3)
        assert rates[-1] < 1e-6


def test_a_recipe_stored_before_a_setting_existed_is_the_same_recipe():
    recipe = read_recipe("fundus-small-vig")
    stored = json.loads(json.dumps(recipe.to_json()))
    assert recipe.is_of(stored)
    del stored["loss"][0]["gamma"], stored["augmentation"]["elastic"], stored["start"]
    assert not recipe.is_of(stored)
    assert replace(recipe, start="").is_of(stored)
    del stored["topomask"]["margin"]
    assert not replace(recipe, start="").is_of(stored)
    assert not replace(recipe, start="").is_of({**stored, "colour": 1})
    assert not recipe.is_of(None)


@pytest.mark.parametrize("name", shipped_recipes())
def test_what_is_written_is_read_again_as_it_was(name):
    recipe = replace(read_recipe(name), title='Æ "quoted" \\ \x7f \t and 眼 😀', start="fundus-small")
    assert parse_recipe(to_toml(recipe.to_json()), name) == recipe
    tiny = replace(recipe, schedule=replace(recipe.schedule, learning_rate=1e-6, weight_decay=0.0), loss=DEFAULT_LOSS)
    assert parse_recipe(to_toml(tiny.to_json()), name) == tiny


def test_what_no_recipe_is_is_refused_in_a_short_sentence(tmp_path):
    path = tmp_path / "recipe.toml"
    whole = 'name = "a"\ntitle = "b"\n[[data]]\nset = "drive"\n'
    for text in (
        f"seed = {'9' * 5000}\n{whole}",
        f"a = {'[' * 5000}",
        f"seed = '{'x' * 100_000}'\n{whole}",
        whole.replace('"a"', f'"{"x" * 100_000}"'),
        whole.replace("drive", "x" * 100_000),
        f'{whole}[[loss]]\nname = "{"x" * 100_000}"\n',
        f"{'x' * 100_000} = 1\n{whole}",
    ):
        path.write_text(text)
        with pytest.raises(InputError) as refused:
            read_recipe(path)
        assert len(str(refused.value)) < 1500
    path.write_text("x" * 1_000_001)
    with pytest.raises(InputError, match="larger than 1 MB"):
        read_recipe(path)


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes are made as on POSIX")
def test_a_pipe_or_a_device_is_no_recipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    for name in ("pipe.toml", "endless.toml"):
        with pytest.raises(InputError, match="not a file"):
            read_recipe(tmp_path / name)
