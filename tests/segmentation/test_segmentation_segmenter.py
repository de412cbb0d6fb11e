"""The Segmenter with the shipped weights."""

import dataclasses
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

import napari_vessel.segmentation.running as running
from napari_vessel.errors import Cancelled, DeviceError, ModelError
from napari_vessel.images import Modality, VesselImage
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.segmentation import Segmenter, binarise, segment
from napari_vessel.segmentation.devices import available_devices, processor_threads, resolve_device
from napari_vessel.segmentation.registry import model_info
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.topology.metrics import dice_coefficient


@pytest.fixture(scope="module")
def sample():
    return make_sample("fundus", seed=1)


@pytest.fixture(scope="module")
def result(sample):
    return segment(sample.image, model="fundus-small", device="cpu")


def test_the_result_says_what_made_it(sample, result):
    assert result.probability.shape == result.mask.shape == sample.image.shape
    assert result.probability.dtype == np.float32
    assert result.mask.dtype == bool
    assert result.device == "cpu"
    assert result.channel == "rgb"
    facts = json.loads(json.dumps(result.to_json()))
    assert facts["model"] == "fundus-small"
    assert facts["settings"]["working_scale"] == model_info("fundus-small").working_scale
    assert "probability" not in facts


def test_finds_vessels_in_a_picture_it_never_saw(sample, result):
    assert dice_coefficient(result.mask, sample.truth.mask) > 0.6


def test_nothing_outside_the_field_of_view(sample, result):
    assert sample.image.fov is not None
    assert not result.probability[~sample.image.fov].any()
    assert not result.mask[~sample.image.fov].any()


@pytest.mark.parametrize("model", ["fundus-small", "ridge"])
def test_a_small_field_of_view_in_a_large_image_is_seen_as_without_what_lies_around(sample, model):
    height, width = sample.image.shape
    pixels = np.full((2 * height, 3 * width, 3), 0.5, np.float32)
    fov = np.zeros(pixels.shape[:2], np.bool_)
    where = (slice(height // 2, height // 2 + height), slice(width, 2 * width))
    pixels[where], fov[where] = sample.image.pixels, sample.image.fov
    large = segment(dataclasses.replace(sample.image, pixels=pixels, fov=fov), model=model, device="cpu")
    alone = segment(sample.image, model=model, device="cpu")
    assert np.prod(large.settings["working_shape"]) < 2 * np.prod(alone.settings["working_shape"])
    assert large.probability.shape == large.mask.shape == fov.shape
    assert not large.probability[~fov].any()
    assert dice_coefficient(large.mask[where], alone.mask) > 0.97
    assert large.min_size == pytest.approx(alone.min_size, rel=0.05)


def test_the_mask_is_the_probability_cut(sample, result):
    again = binarise(result.probability, result.threshold, result.min_size, sample.image.fov)
    np.testing.assert_array_equal(again, result.mask)
    wider = segment(sample.image, model="fundus-small", device="cpu", threshold=0.2, min_size=0)
    assert wider.threshold == 0.2
    assert wider.min_size == 0
    assert wider.mask.sum() > result.mask.sum()


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_size_of_the_image_does_not_matter(sample, result, factor):
    side = tuple(round(s * factor) for s in sample.image.shape)
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    pixels = cv2.resize(sample.image.pixels, side[::-1], interpolation=method)
    fov = cv2.resize(sample.image.fov.astype(np.uint8), side[::-1], interpolation=cv2.INTER_NEAREST) > 0
    truth = cv2.resize(sample.truth.mask.astype(np.float32), side[::-1], interpolation=method) > 0.5
    other = segment(VesselImage(pixels, fov=fov, modality=Modality.FUNDUS), model="fundus-small", device="cpu")
    own = dice_coefficient(result.mask, sample.truth.mask)
    assert dice_coefficient(other.mask, truth) > own - 0.15
    # The smallest piece kept grows with the image.
    assert other.min_size == pytest.approx(result.min_size * factor**2, rel=0.1)


def test_tiles_do_not_show_with_the_shipped_weights(sample, result, monkeypatch):
    monkeypatch.setitem(running.LARGEST_TILE, "cpu", 2048)
    whole = segment(sample.image, model="fundus-small", device="cpu").probability
    monkeypatch.setitem(running.LARGEST_TILE, "cpu", 320)
    tiled = segment(sample.image, model="fundus-small", device="cpu").probability
    for one in (tiled, result.probability):
        assert np.mean(np.abs(whole - one) <= 0.01) >= 0.999


def test_a_grey_picture_is_taken_too(sample, result):
    grey = VesselImage(sample.image.vessel_channel(), fov=sample.image.fov, modality=Modality.FUNDUS)
    other = segment(grey, device="cpu")
    assert other.model == "fundus-small"
    assert other.channel == "grey"
    own = dice_coefficient(result.mask, sample.truth.mask)
    assert dice_coefficient(other.mask, sample.truth.mask) > own - 0.15


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 300, 3), (16, 16)])
def test_odd_shapes_give_an_answer(shape):
    image = VesselImage(np.random.default_rng(0).random(shape, np.float32), modality=Modality.FUNDUS)
    assert segment(image, device="cpu").mask.shape == shape[:2]


def test_one_segmenter_predicts_many_images_and_chooses_the_model_of_each(sample):
    segmenter = Segmenter(device="cpu")
    first = run_job(segmenter.predict(sample.image))
    assert segmenter.model == "fundus-small"
    second = run_job(segmenter.predict(make_sample("octa").image))
    assert [first.model, second.model] == ["fundus-small", "octa-small"]


def test_an_array_and_a_file_give_the_same(sample, tmp_path):
    rgb = np.round(sample.image.pixels * 255).astype(np.uint8)
    path = tmp_path / "eye.png"
    cv2.imwrite(str(path), rgb[..., ::-1])
    from_file = segment(path, device="cpu", model="fundus-small")
    from_array = segment(rgb, device="cpu", model="fundus-small")
    np.testing.assert_array_equal(from_file.mask, from_array.mask)


def test_cancelling_leaves_nothing_and_stops_early(sample):
    token = CancelToken()
    seen = []

    def watch(progress):
        seen.append(progress)
        if progress.message == "Segmenting" and progress.done >= 1:
            token.cancel()

    with pytest.raises(Cancelled):
        run_job(Segmenter("fundus-small", "cpu").predict(sample.image), watch, token)
    assert seen[-1].done == 1


def test_an_unknown_model_fails_before_anything_is_done(sample):
    with pytest.raises(ModelError, match="There is no model named"):
        segment(sample.image, model="nothing")


def test_a_device_that_is_not_there_is_an_error_and_auto_is_not():
    assert resolve_device("auto") == available_devices()[0]
    with pytest.raises(DeviceError, match="There is no device named 'tpu'"):
        resolve_device("tpu")
    with pytest.raises(DeviceError, match="no device named 'cpu:x'"):
        resolve_device("cpu:x")
    missing = {"cuda", "mps"} - set(available_devices())
    for name in missing:
        with pytest.raises(DeviceError, match="not available here"):
            segment(np.zeros((32, 32), np.float32), model="ridge", device=name)


def test_the_number_of_threads_is_put_back(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.raises(KeyError), processor_threads():
            raise KeyError
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_the_ridge_and_the_registry_need_no_torch():
    code = (
        "import sys, numpy as np\n"
        "from napari_vessel.segmentation import list_models, segment\n"
        "assert list_models()\n"
        "segment(np.zeros((32, 32), np.float32), model='ridge')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_polarity_of_a_fundus_is_dark_even_when_inverted(sample):
    inverted = dataclasses.replace(sample.image, pixels=1 - sample.image.pixels)
    mask = segment(inverted, model="ridge").mask
    assert dice_coefficient(mask, sample.truth.mask) < 0.4


def test_a_file_of_many_pages_is_not_cut_to_its_first(tmp_path):
    import tifffile

    from napari_vessel import segment
    from napari_vessel.errors import InputError

    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((3, 40, 40), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match="3 pages"):
        segment(tmp_path / "stack.tif", model="ridge")
