"""The ridge filter finds vessels of any modality and polarity at any size, with no weights."""

import dataclasses

import cv2
import numpy as np
import pytest

from napari_vessel.images import Modality, VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.segmentation import segment
from napari_vessel.segmentation.ridge import vesselness
from napari_vessel.synthesis.samples import SAMPLES, make_sample
from napari_vessel.topology.metrics import dice_coefficient


@pytest.mark.parametrize("kind", SAMPLES)
def test_finds_the_vessels_of_the_samples(kind):
    sample = make_sample(kind, seed=3)
    result = segment(sample.image, model="ridge")
    assert result.probability.dtype == np.float32
    assert result.probability.min() >= 0
    assert result.probability.max() <= 1
    # Vessels of a two-photon projection are many times wider than its capillaries; the filter follows their walls.
    assert dice_coefficient(result.mask, sample.truth.mask) > (0.5 if kind == "twophoton" else 0.65)


@pytest.mark.parametrize("kind", SAMPLES)
def test_decides_the_polarity_of_an_unknown_modality(kind):
    sample = make_sample(kind, seed=4)
    grey = sample.image.vessel_channel()
    known = VesselImage(grey, fov=sample.image.fov, modality=sample.image.modality)
    unknown = dataclasses.replace(known, modality=Modality.OTHER)
    _, settings = run_job(vesselness(unknown))
    assert settings["dark_vessels"] is known.modality.dark_vessels


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_size_of_the_image_does_not_matter(factor):
    sample = make_sample("fundus", seed=5)
    side = tuple(round(s * factor) for s in sample.image.shape)

    def resize(array, method):
        return cv2.resize(array.astype(np.float32), side[::-1], interpolation=method)

    assert sample.image.fov is not None
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    image = VesselImage(
        resize(sample.image.pixels, method), fov=resize(sample.image.fov, method) > 0.5, modality=Modality.FUNDUS
    )
    truth = resize(sample.truth.mask, method) > 0.5
    own = dice_coefficient(segment(sample.image, model="ridge").mask, sample.truth.mask)
    assert dice_coefficient(segment(image, model="ridge").mask, truth) > own - 0.12


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (64, 64, 3)])
def test_an_image_with_nothing_in_it_has_no_vessels(shape):
    image = VesselImage(np.full(shape, 0.5, np.float32), modality=Modality.OTHER)
    result = segment(image, model="ridge")
    assert result.mask.shape == shape[:2]
    assert not result.mask.any()


def test_brightness_and_contrast_do_not_matter():
    sample = make_sample("octa", seed=6)
    plain = segment(sample.image, model="ridge").mask
    dim = dataclasses.replace(sample.image, pixels=(sample.image.pixels * 0.4 + 0.3).astype(np.float32))
    assert dice_coefficient(segment(dim, model="ridge").mask, plain) > 0.98
