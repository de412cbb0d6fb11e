"""At what size a model sees an image."""

import numpy as np
import pytest

from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.segmentation.preparation import working_diameter
from napari_vessel.segmentation.registry import model_info
from napari_vessel.segmentation.segmenter import prepare

RANGE = {"kind": "field_of_view", "px": 640.0, "least": 512.0, "most": 800.0}


@pytest.mark.parametrize(("width", "seen"), [(300, 512), (540, 540), (640, 640), (790, 790), (3300, 800)])
def test_a_width_between_least_and_most_stays(width, seen):
    assert working_diameter(RANGE, width) == seen
    assert working_diameter({"kind": "field_of_view", "px": 640.0}, width) == 640


def test_a_photograph_that_is_small_enough_is_not_resampled():
    info = model_info("fundus-small")
    pixels = np.random.default_rng(0).random((600, 600, 3)).astype(np.float32)
    image = VesselImage(pixels, modality=Modality.FUNDUS)
    assert prepare(image, info, True)[1].working_shape == (600, 600)
    large = VesselImage(np.repeat(np.repeat(pixels, 3, 0), 3, 1), modality=Modality.FUNDUS)
    assert max(prepare(large, info, True)[1].working_shape) == info.working_scale["most"]
