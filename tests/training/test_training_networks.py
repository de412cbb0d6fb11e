"""Every network that segments can be what a recipe trains, what a model holds, and what few images are learnt by."""

import json
from dataclasses import replace

import pytest
import torch

from napari_vessel.errors import ModelError
from napari_vessel.images.image import Modality
from napari_vessel.jobs import run_job
from napari_vessel.networks import SEGMENTERS, build_network
from napari_vessel.segmentation.registry import model_info, read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.training.export import write_model
from napari_vessel.training.fewshot import make_recipe
from napari_vessel.training.recipe import NetworkRecipe
from napari_vessel.training.recipe_reading import parse_recipe
from napari_vessel.training.toml import to_toml
from napari_vessel.training.trainer import Trainer

SMALL = {"swin_unet": (32, 32, 32), "efficient_unet": (4, 4, 4, 8, 16), "vit_unet": (4, 8, 8, 64)}
RECIPE = '[[data]]\nset = "drive"\n[network]\nname = "{}"\nworking_diameter = 96'


@pytest.fixture(scope="module")
def image():
    return make_sample("fundus", seed=0, shape=(128, 133)).image


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_recipe_trains_it_and_its_model_predicts(name, image, tmp_path):
    recipe = parse_recipe(f'name = "mine"\ntitle = "Mine"\n{RECIPE.format(name)}', "mine")
    recipe = replace(recipe, network=replace(recipe.network, channels=SMALL.get(name, (4, 8, 8))))
    assert parse_recipe(to_toml(recipe.to_json()), "again") == recipe
    trainer = Trainer(recipe, tmp_path / "run")
    crops, target = torch.randn(2, 3, 64, 64), torch.rand(2, 4, 64, 64).round()
    losses = [trainer.train_step(crops, target)[0] for _ in range(2)]
    assert losses[0] != losses[1]
    trainer.save()
    again = Trainer(recipe, tmp_path / "run")
    assert again.resume()
    assert all(torch.equal(a, b) for a, b in zip(trainer.average.parameters(), again.average.parameters(), strict=True))
    config = json.loads((model_info("fundus-small").folder / "config.json").read_text())
    config |= {"name": "mine", "network": recipe.network.settings, "threshold": 0.5, "min_size": 0}
    write_model(again.average, tmp_path / "mine", {**config, "working_scale": {"kind": "field_of_view", "px": 96.0}})
    model = read_model(tmp_path / "mine")
    assert NetworkRecipe.of(model) == recipe.network
    found = run_job(Segmenter(model, "cpu").predict(image))
    assert found.probability.shape == image.shape
    inside = found.probability[image.fov]
    assert 0 < inside.min() < inside.max() < 1


@pytest.mark.parametrize("name", SEGMENTERS)
def test_few_images_can_be_learnt_from_by_it(name):
    settings = {"name": "few", "modality": Modality.OCTA.value, "network": name, "steps": 12}
    held = [{"name": str(n), "stem": str(n), "held_out": n == 0} for n in range(3)]
    recipe = make_recipe({"settings": settings, "images": held, "working_width": 304.0}, {})
    assert (recipe.network.name, recipe.network.in_channels) == (name, 1)
    with torch.device("meta"):
        assert build_network(**recipe.network.settings)


def test_a_batch_of_one_pixel_at_the_deepest_level_is_one_sentence(tmp_path):
    recipe = parse_recipe(f'name = "mine"\ntitle = "Mine"\n{RECIPE.format("efficient_unet")}', "mine")
    recipe = replace(recipe, network=replace(recipe.network, channels=SMALL["efficient_unet"]))
    trainer = Trainer(recipe, tmp_path)
    with pytest.raises(ModelError, match=r"make 'crops\.size' or 'crops\.batch' larger"):
        trainer.train_step(torch.randn(1, 3, 32, 32), torch.rand(1, 4, 32, 32))
