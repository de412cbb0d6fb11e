"""Crops keep image and target together, and thin vessels whole."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from napari_vessel.topology.components import label_components
from napari_vessel.training.augmentation import LEVELS, build_levels, draw_target, random_crop
from napari_vessel.training.cases import find_cases, read_case
from napari_vessel.training.recipe import AugmentationRecipe

NOTHING = AugmentationRecipe(False, False, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def case(data):
    return read_case(find_cases("chase_db1", data / "CHASEDB1", "training")[0])


@pytest.fixture(scope="module")
def levels(case):
    return build_levels(case.image, case.vessels, 200)


def test_crops_keep_image_and_target_together(levels):
    assert len(levels) == len(LEVELS)
    rng = np.random.default_rng(0)
    darker = []
    for _ in range(12):
        image, target = random_crop(levels, 96, rng, AugmentationRecipe())
        assert image.shape == (3, 96, 96)
        assert target.shape == (4, 96, 96)
        assert np.isfinite(image).all()
        cover, _, fov, hidden = target
        assert not image[:, fov < 0.5].any()
        assert not hidden.any()
        vessel, background = (cover > 0.7) & (fov > 0.5), (cover < 0.1) & (fov > 0.5)
        if vessel.sum() > 50 and background.sum() > 50:
            darker.append(image[1][vessel].mean() < image[1][background].mean())
    assert len(darker) >= 6
    assert all(darker)


def test_a_crop_asked_to_lie_on_a_vessel_does(case):
    only_left = case.vessels.copy()
    only_left[:, 60:] = False
    levels = build_levels(case.image, only_left, 200)
    rng = np.random.default_rng(1)
    found = {
        wanted: [random_crop(levels, 64, rng, NOTHING, wanted)[1][0].any() for _ in range(40)]
        for wanted in (True, False)
    }
    assert all(found[True])
    assert not all(found[False])


def test_without_augmentation_a_crop_is_a_piece_of_the_image(levels):
    level = levels[LEVELS.index(1.0)]
    _, target = random_crop(levels, 64, np.random.default_rng(3), NOTHING)
    found = cv2.matchTemplate(np.pad(level.target[..., 0], 64).astype(np.float32), target[0] * 255, cv2.TM_SQDIFF).min()
    assert target[0].sum() > 100
    # Positions lie between pixels, so it matches to interpolation only.
    assert found / (target[0] * 255).size < 0.03 * 255**2


@pytest.mark.parametrize(
    "name", ["flip", "rotate", "scale", "elastic", "gamma", "colour", "grey", "blur", "noise", "resolution"]
)
def test_every_augmentation_changes_something_of_its_own(levels, name):
    on = {"flip": True, "rotate": True, "scale": 1.5, "elastic": 6.0, "gamma": 2.0, "colour": 0.3, "resolution": 3.0}
    recipe = replace(NOTHING, **{name: on.get(name, 1.0)})

    def crops(settings):
        return [random_crop(levels, 64, np.random.default_rng([5, i]), settings) for i in range(8)]

    pairs = list(zip(crops(NOTHING), crops(recipe), strict=True))
    assert any(not np.allclose(a[0], b[0], atol=1e-3) for a, b in pairs)
    if name in ("gamma", "colour", "grey", "blur", "noise", "resolution"):
        # They leave the place of everything as it is, when they draw no geometry.
        assert all(np.array_equal(a[1], b[1]) for a, b in pairs)
    else:
        assert any(not np.allclose(a[1], b[1], atol=1e-3) for a, b in pairs)


def test_one_channel_gives_one_channel(case):
    levels = build_levels(case.image, case.vessels, 200, colour=False)
    image, target = random_crop(levels, 64, np.random.default_rng(0), AugmentationRecipe())
    assert image.shape == (1, 64, 64)
    assert target.shape == (4, 64, 64)


def test_a_thin_vessel_stays_whole_when_it_shrinks():
    drawing = np.zeros((200, 190), np.uint8)
    cv2.line(drawing, (20, 90), (170, 110), 1, 2)
    target = draw_target(drawing > 0, None, (55, 52))
    cover = cv2.resize(drawing.astype(np.float32), (52, 55), interpolation=cv2.INTER_AREA)
    # Cutting the coverage at one half breaks it; what the network is shown is one line of full strength.
    assert label_components(cover >= 0.5)[1] > 1
    assert label_components(target[..., 0] >= 0.99)[1] == 1
    assert label_components(target[..., 1] >= 0.5)[1] == 1


def test_a_thick_vessel_keeps_its_area_when_it_shrinks():
    drawing = np.zeros((200, 200), np.uint8)
    cv2.line(drawing, (20, 90), (170, 110), 1, 16)
    target = draw_target(drawing > 0, None, (100, 100))
    assert target[..., 0].sum() == pytest.approx(drawing.sum() / 4, rel=0.01)
