"""The live wire follows the vessel that is seen, and goes straight where nothing was looked at."""

import numpy as np
import pytest

from napari_vessel.completion.wire import wire_field
from napari_vessel.images.image import Modality, VesselImage


@pytest.fixture
def bent():
    """A dark vessel, 3 px wide, that makes a detour of 15 px on its way from (40, 10) to (40, 90), and its mask."""
    x = np.arange(120)
    middle = 40 - 15 * np.exp(-(((x - 50) / 12.0) ** 2))
    y = np.arange(100)[:, None]
    vessel = np.abs(y - middle[None]) <= 1.5
    pixels = np.where(vessel, 0.35, 0.7).astype(np.float32)
    mask = vessel.astype(np.uint8)
    mask[:, 30:70] = 0
    return VesselImage(pixels, modality=Modality.XRAY, content_hash="1" * 64), mask, middle


def test_the_way_follows_the_vessel(bent):
    image, mask, middle = bent
    field = wire_field(image, mask, None, None, (0, 0, 100, 120), 3.0)
    way = field.way((40, 20), (40, 80))
    assert np.allclose(way[0], (40, 20))
    assert np.allclose(way[-1], (40, 80))
    off = np.abs(way[:, 0] - np.interp(way[:, 1], np.arange(120), middle))
    assert off.max() < 2.5
    assert way[:, 0].min() < 28, "it takes the detour"


def test_a_box_gives_the_way_of_the_whole_image(bent):
    image, mask, middle = bent
    field = wire_field(image, mask, None, None, (5, 10, 70, 110), 3.0)
    way = field.way((40, 20), (40, 80))
    off = np.abs(way[:, 0] - np.interp(way[:, 1], np.arange(120), middle))
    assert off.max() < 2.5


def test_a_probability_map_leads_where_the_image_shows_nothing(bent):
    image, mask, _ = bent
    flat = VesselImage(np.full(image.shape, 0.5, np.float32), modality=Modality.XRAY, content_hash="2" * 64)
    likely = np.zeros(image.shape, np.float32)
    likely[51:54, 20:81] = likely[40:53, 19:22] = likely[40:53, 79:82] = 0.9
    way = wire_field(flat, mask * 0, likely, None, (0, 0, 100, 120), 3.0).way((40, 20), (40, 80))
    assert way[:, 0].max() > 49


def test_outside_the_box_the_way_is_straight(bent):
    image, mask, _ = bent
    field = wire_field(image, mask, None, None, (0, 0, 60, 60), 3.0)
    way = field.way((40, 20), (40, 80))
    assert np.allclose(way[:, 0], 40)
    assert np.allclose(np.diff(way[:, 1]), 1)
    assert np.allclose(field.way((5, 5), (5, 5)), 5)
