"""The Completer: a network that reads a probability, at any size, and says what it did."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import napari_vessel.segmentation.running as running
from napari_vessel.errors import Cancelled, InputError, ModelError
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.networks import build_network
from napari_vessel.segmentation import Completer, Segmenter, completion_models, default_completion_model, list_models
from napari_vessel.segmentation.loading import verify_model
from napari_vessel.segmentation.registry import (
    USER_FOLDER_VARIABLE,
    completion_model_info,
    default_model,
    model_info,
)
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.training.export import write_model

CONFIG = {
    "format": 1,
    "name": "tiny-vig",
    "title": "Tiny completion",
    "kind": "completion",
    "version": "0.1",
    "modalities": ["fundus"],
    "licence": "none",
    "network": {"name": "vig", "in_channels": 3, "channels": [8, 8, 16], "blocks": 2},
    "working_scale": {"kind": "field_of_view", "px": 320},
    "threshold": 0.5,
    "min_size": 0,
    "settings": {"segmenter": "fundus-small"},
}


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(tmp_path))
    torch.manual_seed(0)
    network = build_network("vig", in_channels=3, channels=(8, 8, 16), blocks=2)
    nn.init.normal_(network.head[-1].weight, std=0.5)
    write_model(network, tmp_path / "tiny-vig", CONFIG)
    return tmp_path


@pytest.fixture(scope="module")
def sample():
    return make_sample("fundus", seed=1)


def change(models, **values):
    path = models / "tiny-vig" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_it_is_a_model_of_its_own_kind(models):
    verify_model("tiny-vig")
    assert "tiny-vig" in [info.name for info in completion_models()]
    assert "tiny-vig" not in [info.name for info in list_models()]
    assert completion_model_info("tiny-vig").segmenter == "fundus-small"
    # Nobody's own model becomes the default, and none of them segments.
    assert default_completion_model(model_info("tiny-vig").modalities[0]) != "tiny-vig"
    assert default_model(model_info("tiny-vig").modalities[0]) == "fundus-small"


def test_it_completes_a_given_probability_and_says_what_made_it(models, sample):
    given = np.where(sample.truth.mask, 0.9, 0.05).astype(np.float32)
    result = run_job(Completer("tiny-vig", "cpu").predict(sample.image, given))
    assert result.probability.shape == sample.image.shape
    assert result.probability.dtype == np.float32
    assert 0 <= result.probability.min() <= result.probability.max() <= 1
    assert not result.probability[~sample.image.fov].any()
    np.testing.assert_array_equal(result.segmented, given)
    facts = json.loads(json.dumps(result.to_json()))
    assert (facts["model"], facts["model_version"], facts["device"]) == ("tiny-vig", "0.1", "cpu")
    assert facts["settings"]["segmenter"] == "fundus-small"
    # It reads the probability: another one gives another result.
    other = run_job(Completer("tiny-vig", "cpu").predict(sample.image, np.float32(1) - given))
    assert np.abs(other.probability - result.probability).max() > 0.3


def test_a_small_field_of_view_in_a_large_image_is_completed_in_its_place(models, sample):
    height, width = sample.image.shape
    where = (slice(height, None), slice(2 * width, None))
    pixels, fov = np.zeros((2 * height, 3 * width, 3), np.float32), np.zeros((2 * height, 3 * width), np.bool_)
    given = np.zeros(fov.shape, np.float32)
    pixels[where], fov[where], given[where] = sample.image.pixels, sample.image.fov, 0.9 * sample.truth.mask
    completer = Completer("tiny-vig", "cpu")
    large = run_job(completer.predict(replace(sample.image, pixels=pixels, fov=fov), given))
    alone = run_job(completer.predict(sample.image, given[where]))
    assert np.prod(large.settings["working_shape"]) < 2 * np.prod(alone.settings["working_shape"])
    assert not large.probability[~fov].any()
    assert np.corrcoef(large.probability[fov], alone.probability[sample.image.fov])[0, 1] > 0.97


def test_without_a_probability_its_own_segmenter_makes_one(models, sample):
    result = run_job(Completer("tiny-vig", "cpu").predict(sample.image))
    expected = run_job(Segmenter("fundus-small", "cpu").predict(sample.image)).probability
    np.testing.assert_allclose(result.segmented, expected, atol=1e-6)


def test_tiles_do_not_show(models, sample, monkeypatch):
    given = np.where(sample.truth.mask, 0.9, 0.05).astype(np.float32)
    change(models, working_scale={"kind": "field_of_view", "px": 1200})
    whole, tiled = [], []
    for largest, results in ((2400, whole), (640, tiled)):
        monkeypatch.setitem(running.LARGEST_TILE, "cpu", largest)
        monkeypatch.setattr(running, "OVERLAP", 320)
        results.append(run_job(Completer("tiny-vig", "cpu").predict(sample.image, given)).probability)
    assert np.mean(np.abs(whole[0] - tiled[0]) <= 0.02) >= 0.99


def test_it_can_be_cancelled(models, sample):
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        run_job(Completer("tiny-vig", "cpu").predict(sample.image), cancel=token)


@pytest.mark.parametrize(
    ("probability", "sentence"),
    [
        (np.zeros((5, 5), np.float32), "files of one size"),
        (np.full((1, 1), np.nan, np.float32), "outside 0 to 1"),
        (np.full((1, 1), 255, np.float32), "divide 8-bit values"),
    ],
)
def test_a_probability_that_does_not_fit_is_refused(models, sample, probability, sentence):
    if probability.shape == (1, 1):
        probability = np.broadcast_to(probability, sample.image.shape)
    with pytest.raises(InputError, match=sentence):
        run_job(Completer("tiny-vig", "cpu").predict(sample.image, probability))


def test_the_wrong_kind_of_model_is_said_in_one_sentence(models, sample):
    with pytest.raises(ModelError, match="segments and does not complete"):
        run_job(Completer("fundus-small", "cpu").predict(sample.image))
    with pytest.raises(ModelError, match="segment with 'fundus-small' first"):
        run_job(Segmenter("tiny-vig", "cpu").predict(sample.image))
    with pytest.raises(ModelError, match="no completion model named 'nothing'"):
        run_job(Completer("nothing", "cpu").predict(sample.image))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"settings": {}}, "settings.segmenter"),
        ({"settings": {"segmenter": "../elsewhere"}}, "settings.segmenter"),
        ({"kind": "network"}, "cannot be of kind"),
        ({"network": {**CONFIG["network"], "blocks": 10**6}}, "network.blocks"),
        ({"network": {**CONFIG["network"], "neighbours": True}}, "network.neighbours"),
        ({"network": {**CONFIG["network"], "size": 3}}, "unknown setting 'size'"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(models, values, sentence):
    change(models, **values)
    with pytest.raises(ModelError, match=sentence):
        model_info("tiny-vig")
