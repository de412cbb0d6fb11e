"""Finding the lit disc, and guessing how a picture was taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vessel.errors import InputError
from napari_vessel.images import Modality
from napari_vessel.images.fov import find_fov, read_fov
from napari_vessel.images.modality import guess_modality
from napari_vessel.images.reading import image_from_array
from napari_vessel.images.writing import write_mask


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(y - centre[0], x - centre[1]) < radius


def photograph(field: np.ndarray, seed: int = 0, dark: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = field.shape
    light = np.linspace(0.8, 1.0, shape[1])[None, :] * field
    pixels = np.stack([light * 0.75, light * 0.4, light * 0.15], axis=2) + dark
    return np.clip(pixels + 0.01 * rng.standard_normal((*shape, 3)), 0, 1).astype(np.float32)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(200, 900),
    st.floats(1.0, 1.5),
    st.floats(0.40, 0.56),
    st.floats(-0.04, 0.04),
    st.floats(0, 0.06),
    st.integers(0, 99),
)
def test_disc_is_found_at_any_size(
    height: int, aspect: float, share: float, shift: float, dark: float, seed: int
) -> None:
    shape = (height, round(height * aspect))
    truth = disc(shape, (height / 2, shape[1] / 2 + shift * height), share * height)
    found = find_fov(photograph(truth, seed, dark))
    assert found is not None
    assert found.shape == shape
    assert dice(found, truth) > 0.98


def test_lettering_in_the_corner_is_left_out() -> None:
    truth = disc((500, 600), (250, 300), 230)
    pixels = photograph(truth)
    pixels[470:474, 20:120:6] = 1.0
    found = find_fov(pixels)
    assert found is not None
    assert not found[470:474, 20:100].any()
    assert dice(found, truth) > 0.98


def test_surround_beside_an_orientation_mark_is_left_out() -> None:
    truth = disc((600, 600), (300, 300), 260) | disc((600, 600), (110, 490), 32)
    found = find_fov(photograph(truth))
    assert found is not None
    hull_only = ~truth & disc((600, 600), (300, 300), 300) & disc((600, 600), (110, 490), 70)
    assert (found & hull_only).sum() < 0.4 * hull_only.sum()
    assert dice(found, truth) > 0.985


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_no_field_where_nothing_stands_out(value: float) -> None:
    assert find_fov(np.full((200, 300), value, np.float32)) is None


def test_a_picture_that_fills_the_frame_has_no_field() -> None:
    assert find_fov(photograph(np.ones((300, 300), np.bool_))) is None
    texture = np.random.default_rng(1).random((300, 300)).astype(np.float32)
    texture[:30, :30] = texture[-30:, :30] = texture[:30, -30:] = texture[-30:, -30:] = 0
    assert find_fov(texture) is None


def test_reading_uses_the_field_only_for_fundus() -> None:
    truth = disc((300, 320), (150, 160), 140)
    pixels = photograph(truth)
    image = image_from_array(pixels)
    assert image.modality is Modality.FUNDUS
    assert image.fov is not None
    assert dice(image.fov, truth) > 0.98
    assert "field of view found in the image" in image.notes
    assert image_from_array(pixels, modality=Modality.OTHER).fov is None
    assert image_from_array(pixels, fov="none").fov is None


def lines(bright: bool) -> np.ndarray:
    picture = np.full((300, 300), 0.5, np.float32)
    for k in range(10, 300, 40):
        picture[k : k + 3] += 0.4 if bright else -0.4
        picture[:, k : k + 3] += 0.2 if bright else -0.2
    return np.clip(picture + 0.01 * np.random.default_rng(0).standard_normal((300, 300)), 0, 1).astype(np.float32)


def test_grey_pictures_are_told_by_what_stands_out() -> None:
    assert guess_modality(lines(bright=True)) is Modality.OCTA
    assert guess_modality(lines(bright=False)) is Modality.XRAY
    assert guess_modality(np.tile(lines(bright=True), (1, 2))) is Modality.OTHER
    assert guess_modality(np.tile(lines(bright=True), (6, 6))) is Modality.OTHER
    field = disc((300, 300), (150, 150), 140)
    assert guess_modality((lines(bright=False) * field).astype(np.float32)) is Modality.FUNDUS


def test_grey_stored_as_colour_is_judged_as_grey() -> None:
    assert guess_modality(np.repeat(lines(bright=True)[..., None], 3, axis=2)) is Modality.OCTA


def test_flat_and_blue_pictures_are_other() -> None:
    assert guess_modality(np.full((100, 100), 0.3, np.float32)) is Modality.OTHER
    blue = np.zeros((100, 100, 3), np.float32)
    blue[..., 2] = 0.8
    assert guess_modality(blue) is Modality.OTHER
    assert guess_modality(np.zeros((16, 16, 3), np.float32)) is Modality.OTHER


def fields() -> dict[str, np.ndarray]:
    """What fields of view look like, 400 x 500 px."""
    shape = (400, 500)
    whole = disc(shape, (200, 250), 190)
    ring, grid = whole & ~disc(shape, (200, 200), 60), whole.copy()
    grid[::40] = grid[:, ::40] = False
    sparse = np.zeros(shape, bool)
    sparse[150:170, 20:480] = True
    return {
        "disc": whole,
        "hole": ring,
        "two lobes": disc(shape, (200, 120), 100) | disc(shape, (200, 380), 100),
        "small circle": disc(shape, (180, 90), 30),
        "crescent": whole & ~disc(shape, (200, 190), 190),
        "seams": grid,
        "specks": whole & (np.random.default_rng(0).random(shape) > 0.2),
        "strip": sparse,
        "all": np.ones(shape, bool),
    }


@pytest.mark.parametrize("kind", fields())
def test_a_field_of_view_of_any_shape_is_read(kind: str, tmp_path) -> None:
    write_mask(tmp_path / "fov.png", fields()[kind])
    assert np.array_equal(read_fov(tmp_path / "fov.png", (400, 500)), fields()[kind])


def test_vessels_are_no_field_of_view(tmp_path) -> None:
    vessels = np.zeros((400, 500), bool)
    for step in range(8):
        vessels |= disc((400, 500), (200, 250), 40 + 20 * step) & ~disc((400, 500), (200, 250), 34 + 20 * step)
    vessels[197:205] = True
    write_mask(tmp_path / "1_mask.png", vessels)
    with pytest.raises(InputError, match="as a vessel mask is; give a mask of all that shows tissue"):
        read_fov(tmp_path / "1_mask.png", (400, 500))
