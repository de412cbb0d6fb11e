"""Two stages in one command: a segmenter, and the network that completes it; and beginning with another's weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_vessel.cli import main
from napari_vessel.errors import InputError, ModelError
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.completer import Completer
from napari_vessel.segmentation.loading import read_tensors
from napari_vessel.segmentation.registry import read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.training.cases import find_cases, read_case
from napari_vessel.training.recipe_reading import read_recipe, shipped_recipes
from napari_vessel.training.sources import find_training_files, load_validation
from napari_vessel.training.topomask import TopoMaskRecipe
from napari_vessel.training.train import train
from napari_vessel.training.validation import prepare_validation

SEGMENTER = """
name = "tiny"
title = "Tiny"
[network]
channels = [8, 8, 8]
working_diameter = 200
[schedule]
steps = 2
validate_every = 2
[crops]
size = 64
batch = 2
[[data]]
set = "chase_db1"
folder = "CHASEDB1"
"""

COMPLETION = """
name = "tiny-vig"
title = "Tiny completion"
segmenter = "tiny"
[network]
name = "vig"
channels = [8, 8, 8]
blocks = 1
working_diameter = 200
[schedule]
steps = 2
validate_every = 2
[crops]
size = 64
batch = 2
[topomask]
style = "corrected"
schedule = "constant"
longest = 20
[[loss]]
name = "dice"
[[loss]]
name = "hidden-dice"
[[data]]
set = "chase_db1"
folder = "CHASEDB1"
"""


@pytest.fixture
def stages(tmp_path):
    (tmp_path / "tiny.toml").write_text(SEGMENTER)
    (tmp_path / "tiny-vig.toml").write_text(COMPLETION)
    return tmp_path


def test_one_command_trains_both_and_the_second_completes_the_first(stages, data, capsys):
    recipes = [str(stages / "tiny.toml"), str(stages / "tiny-vig.toml")]
    assert main(["train", *recipes, "--data", str(data), "-o", str(stages / "runs"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    first, second = (read_model(stages / "runs" / name / name) for name in ("tiny", "tiny-vig"))
    assert [result["model"] for result in results] == [str(first.folder), str(second.folder)]
    assert (first.kind, second.kind, second.segmenter) == ("network", "completion", "tiny")
    config = json.loads((second.folder / "config.json").read_text())
    assert config["training"]["builds_on"] == {"segmenter": first.sha256}
    case = read_case(find_cases("chase_db1", data / "CHASEDB1", "training")[0])
    completed = run_job(Completer(second, "cpu", Segmenter(first, "cpu")).predict(case.image))
    assert completed.probability.shape == case.vessels.shape
    # Said again, it goes on where it was: nothing is trained anew, and the same weights come out.
    assert main(["train", *recipes, "--data", str(data), "-o", str(stages / "runs"), "--json"]) == 0
    assert read_model(second.folder).sha256 == second.sha256
    # With other weights of the first, the second is another training.
    other = stages / "other" / "tiny"
    run_job(train(replace(read_recipe(recipes[0]), seed=1), data, other.parent, "cpu"))
    with pytest.raises(ModelError, match="other weights of the models it builds on"):
        run_job(train(read_recipe(recipes[1]), data, stages / "runs" / "tiny-vig", "cpu", {"tiny": other}))


def test_a_run_can_begin_with_the_weights_of_a_model(stages, data):
    run_job(train(read_recipe(stages / "tiny.toml"), data, stages / "base", "cpu"))
    base = stages / "base" / "tiny"
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "licence": "Research use only."}))
    recipe = replace(read_recipe(stages / "tiny.toml"), name="more", start="tiny")
    still = replace(recipe, schedule=replace(recipe.schedule, steps=1, learning_rate=1e-7, weight_decay=0.0))
    run_job(train(still, data, stages / "more", "cpu", {"tiny": base}))
    # Terms go on with the weights.
    licence = read_model(stages / "more" / "more").licence
    assert "CHASE_DB1" in licence
    assert licence.endswith(" Begun with tiny: Research use only.")
    before, after = read_tensors(read_model(base)), read_tensors(read_model(stages / "more" / "more"))
    weights = [name for name in before if name.endswith("weight")]
    assert all(torch.allclose(before[name], after[name], atol=2e-3) for name in weights)
    wide = replace(recipe, network=replace(recipe.network, channels=(8, 8, 16)))
    with pytest.raises(ModelError, match="of another network"):
        run_job(train(wide, data, stages / "wide", "cpu", {"tiny": base}))


def test_a_completion_network_is_judged_where_vessels_are_gone(stages, data):
    recipe = read_recipe(stages / "tiny-vig.toml")
    case = read_case(find_cases("chase_db1", data / "CHASEDB1", "validation")[0])
    plain = prepare_validation(case, recipe)
    hidden, again = (prepare_validation(case, recipe, 3) for _ in range(2))
    assert np.array_equal(hidden.pixels, again.pixels)
    assert np.array_equal(hidden.truth, plain.truth)
    assert not np.array_equal(hidden.pixels, plain.pixels)


def test_who_has_met_breaks_is_judged_by_them_too(stages, data):
    plain = read_recipe(stages / "tiny.toml")
    masked = replace(plain, topomask=TopoMaskRecipe("corrected"))
    for recipe, sets in ((plain, {"chase_db1"}), (masked, {"chase_db1", "chase_db1, broken"})):
        images = run_job(load_validation(recipe, find_training_files(recipe, data)))
        assert {image.data_set for image in images} == sets


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('segmenter = "tiny"', ""), "'segmenter' is missing"),
        (('name = "vig"', 'name = "unet"'), "'unet' is not one"),
        (("blocks = 1", "blocks = 65"), "network.blocks"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(stages, change, sentence):
    path = stages / "tiny-vig.toml"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(InputError, match=sentence):
        read_recipe(path)


def test_a_segmenter_at_another_scale_is_refused(stages, data):
    run_job(train(read_recipe(stages / "tiny.toml"), data, stages / "base", "cpu"))
    recipe = read_recipe(stages / "tiny-vig.toml")
    other = replace(recipe, network=replace(recipe.network, working_diameter=300.0))
    with pytest.raises(ModelError, match="the same 'in_channels' and 'working_diameter'"):
        run_job(train(other, data, stages / "vig", "cpu", {"tiny": stages / "base" / "tiny"}))
    assert not (stages / "vig").exists()


def test_the_recipes_that_ship_complete_segmenters_that_ship():
    recipes = {name: read_recipe(name) for name in shipped_recipes()}
    for recipe in recipes.values():
        if recipe.segmenter:
            first = recipes[recipe.segmenter]
            assert recipe.network.working_diameter == first.network.working_diameter
            assert recipe.network.in_channels == first.network.in_channels
            assert any(term.name == "hidden-dice" for term in recipe.loss)
            assert recipe.topomask.style == "corrected"
