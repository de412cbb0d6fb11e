"""The sample pictures: the same for everyone, with truth that is exact."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from napari_vessel.errors import InputError
from napari_vessel.images import Modality
from napari_vessel.images.fov import find_fov
from napari_vessel.images.modality import guess_modality
from napari_vessel.synthesis.appearance import draw_tree
from napari_vessel.synthesis.breaks import plant_breaks
from napari_vessel.synthesis.colonisation import VesselTree
from napari_vessel.synthesis.samples import SAMPLES, Sample, make_sample

CASES = [(kind, seed) for kind in SAMPLES for seed in range(4)]


@cache
def sample(kind: str, seed: int) -> Sample:
    return make_sample(kind, seed)


def pieces(mask: np.ndarray) -> int:
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1


def line(length: float, radius: float, angle: float = 0.0, start: tuple[float, float] = (50.0, 20.0)) -> VesselTree:
    along = np.arange(0, length, 4.0)[:, None]
    points = np.array(start) + along * np.array([np.sin(angle), np.cos(angle)])
    return VesselTree(points, np.arange(-1, len(points) - 1), np.full(len(points), radius))


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_a_sample_is_a_usable_picture(kind: str, seed: int) -> None:
    made = sample(kind, seed)
    pixels = made.image.pixels
    assert pixels.dtype == np.float32
    assert np.isfinite(pixels).all()
    assert 0 <= pixels.min() < pixels.max() <= 1
    assert made.image.modality is Modality(kind)
    assert made.truth.labels.shape == made.broken.shape == made.image.shape
    # Nothing in the pixels tells bright vessels of a microscope from those of an OCT angiogram.
    assert guess_modality(pixels) is (Modality.OCTA if kind == "twophoton" else Modality(kind))
    assert pixels.ndim == (3 if kind == "fundus" else 2)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_seed_fixes_everything(kind: str) -> None:
    first, again, other = make_sample(kind, 0), make_sample(kind, 0), sample(kind, 1)
    assert first.image.content_hash == again.image.content_hash
    assert np.array_equal(first.image.pixels, again.image.pixels)
    assert np.array_equal(first.broken, again.broken)
    assert not np.array_equal(first.truth.labels, other.truth.labels)


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_breaks_are_stretches_of_the_truth(kind: str, seed: int) -> None:
    made = sample(kind, seed)
    assert 12 <= len(made.breaks) <= 25
    assert not (made.broken & ~made.truth.mask).any()
    assert all(2 <= b.length <= 30 for b in made.breaks)
    gone = made.truth.mask & ~made.broken
    assert pieces(gone) == len(made.breaks)
    _, _, stats, centres = cv2.connectedComponentsWithStats(gone.astype(np.uint8), connectivity=8)
    for found in made.breaks:
        nearest = 1 + int(np.argmin(np.hypot(*(centres[1:, ::-1] - found.centre).T)))
        expected = 2 * found.radius * found.length
        assert 0.4 * expected - 4 < stats[nearest, cv2.CC_STAT_AREA] < 2.2 * expected + 8


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_breaks_open_the_network(kind: str, seed: int) -> None:
    made = sample(kind, seed)
    whole, broken = pieces(made.truth.mask), pieces(made.broken)
    if kind in ("fundus", "xray"):
        assert whole == 1
    # In a tree every break makes a piece; loops by crossing arteries and veins absorb some, a net of capillaries most.
    least = {"xray": len(made.breaks), "twophoton": 1}.get(kind, len(made.breaks) // 4)
    assert broken - whole >= least
    assert broken - whole <= len(made.breaks)


@pytest.mark.parametrize(("kind", "sign"), [("fundus", -1), ("xray", -1), ("octa", 1), ("twophoton", 1)])
def test_vessels_differ_from_their_surroundings_as_the_modality_says(kind: str, sign: int) -> None:
    made = sample(kind, 0)
    channel = made.image.vessel_channel()
    mask = made.truth.mask
    around = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~mask
    if made.image.fov is not None:
        around &= made.image.fov
    assert sign * (channel[mask].mean() - channel[around].mean()) > 0.03
    assert made.image.modality.dark_vessels is (sign < 0)


def test_fundus_field_of_view() -> None:
    made = sample("fundus", 0)
    assert made.image.fov is not None
    assert not made.truth.mask[~made.image.fov].any()
    found = find_fov(made.image.pixels)
    assert found is not None
    assert 2 * (found & made.image.fov).sum() / (found.sum() + made.image.fov.sum()) > 0.99
    assert 0.06 < made.truth.mask[made.image.fov].mean() < 0.16


def test_other_shapes_and_bad_requests() -> None:
    assert make_sample("fundus", 0, (300, 280)).image.shape == (300, 280)
    assert make_sample("octa", 0, (304, 304)).image.shape == (304, 304)
    with pytest.raises(InputError, match="fundus, octa, xray, twophoton"):
        make_sample("mri")
    with pytest.raises(InputError, match="too small"):
        make_sample("octa", 0, (64, 64))


@pytest.mark.parametrize("radius", [0.7, 1.0, 2.0, 4.5])
@pytest.mark.parametrize("angle", [0.05, 0.3, np.pi / 4])
def test_drawn_lines_have_their_width_and_stay_in_one_piece(radius: float, angle: float) -> None:
    drawing = draw_tree(line(80, radius, angle), (150, 150))
    assert pieces(drawing.truth) == 1
    length = 76.0
    area = 2 * radius * length + np.pi * radius**2
    assert drawing.coverage.sum() == pytest.approx(area, rel=0.15)
    # The centreline keeps the thinnest vessels in one piece, at the price of some pixels.
    assert drawing.truth.sum() == pytest.approx(area, rel=0.6 if radius < 1 else 0.2)
    # Truth is where the drawn vessel covers at least half of the pixel, or runs through it.
    assert drawing.truth[drawing.coverage >= 0.5].all()
    assert (drawing.coverage[drawing.truth] > 0).all()
    assert ((drawing.coverage > 0.05) & (drawing.coverage < 0.95)).any()


def test_drawing_is_centred_on_pixel_centres() -> None:
    drawing = draw_tree(line(80, 3.0, 0.0, start=(50.0, 20.0)), (100, 120))
    rows = np.arange(100)
    middle = (drawing.coverage[:, 50] * rows).sum() / drawing.coverage[:, 50].sum()
    assert middle == pytest.approx(50.0, abs=0.15)


@pytest.mark.parametrize("radius", [0.8, 2.0, 5.0])
def test_a_break_has_the_length_it_says(radius: float) -> None:
    tree = line(160, radius)
    truth = draw_tree(tree, (100, 200)).truth
    broken, breaks = plant_breaks(np.random.default_rng(2), tree, truth, count=(1, 1), length=(6.0, 12.0))
    (found,) = breaks
    assert pieces(broken) == 2
    columns = np.flatnonzero((truth & ~broken)[50])
    assert len(columns) == pytest.approx(found.length, abs=1.01)
    assert columns.mean() == pytest.approx(found.centre[1], abs=1.0)
    assert not broken[:, columns].any()


def test_no_break_where_another_vessel_is_near() -> None:
    one, two = line(160, 2.0, start=(50.0, 20.0)), line(160, 2.0, start=(55.0, 20.0))
    both = VesselTree(
        np.concatenate([one.points, two.points]),
        np.concatenate([one.parents, np.where(two.parents >= 0, two.parents + len(one.parents), -1)]),
        np.concatenate([one.radii, two.radii]),
    )
    truth = draw_tree(both, (100, 200)).truth
    broken, breaks = plant_breaks(np.random.default_rng(0), both, truth)
    assert breaks == []
    assert np.array_equal(broken, truth)
