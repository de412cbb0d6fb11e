"""Masks in every coding people use, and back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from napari_vessel.errors import InputError
from napari_vessel.images import VESSEL, MaskClass
from napari_vessel.images.fov import read_fov
from napari_vessel.images.masks import labels_to_values, mask_from_array, read_mask
from napari_vessel.images.reading import read_image

VESSELS = np.zeros((20, 30), np.bool_)
VESSELS[8:11, 2:28] = True
VESSELS[2:18, 14:16] = True


def names(classes: tuple[MaskClass, ...]) -> list[str]:
    return [c.name for c in classes]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.float32])
@pytest.mark.parametrize("value", [1, 255, 128])
def test_one_value_is_the_vessel_and_comes_back(dtype: type, value: int) -> None:
    mask = mask_from_array((VESSELS * value).astype(dtype))
    assert np.array_equal(mask.mask, VESSELS)
    assert mask.labels.max() == 1
    assert mask.classes == (MaskClass(1, value, "vessel"),)
    back = labels_to_values(mask.labels, mask.classes)
    assert back.dtype == np.uint8
    assert np.array_equal(back, VESSELS * value)
    assert str(value) in mask.rule


def test_booleans_and_empty_masks() -> None:
    mask = mask_from_array(VESSELS)
    assert np.array_equal(mask.mask, VESSELS)
    assert mask.classes == (VESSEL,)
    empty = mask_from_array(np.zeros((20, 20), np.uint8))
    assert not empty.mask.any()
    assert "empty" in empty.rule


def test_artery_vein_labels_survive() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[3], labels[9], labels[3, 9:12] = 1, 2, 3
    mask = mask_from_array(labels)
    assert names(mask.classes) == ["artery", "vein", "crossing"]
    assert np.array_equal(labels_to_values(mask.labels, mask.classes), labels)


@pytest.mark.parametrize("alpha", [False, True])
def test_colour_coded_arteries_and_veins_survive(tmp_path: Path, alpha: bool) -> None:
    colours = np.zeros((20, 20, 3), np.uint8)
    colours[3], colours[9], colours[3, 9], colours[15] = (255, 0, 0), (0, 0, 255), (0, 255, 0), (255, 255, 255)
    stored = np.dstack([colours, np.full((20, 20), 255, np.uint8)]) if alpha else colours
    Image.fromarray(stored).save(tmp_path / "av.png")
    mask = read_mask(tmp_path / "av.png")
    assert names(mask.classes) == ["artery", "vein", "crossing", "uncertain"]
    assert mask.labels[3, 0] == 1
    assert mask.labels[9, 0] == 2
    assert np.array_equal(labels_to_values(mask.labels, mask.classes), colours)


@pytest.mark.parametrize("full", [255, 65535])
@pytest.mark.parametrize("order", "<>")
def test_colours_in_16_bits_are_those_of_8(full: int, order: str) -> None:
    colours = np.zeros((20, 20, 3), f"{order}u2")
    colours[3, :, 0] = colours[9, :, 2] = full
    mask = mask_from_array(colours)
    assert [c.value for c in mask.classes] == [(255, 0, 0), (0, 0, 255)]
    assert np.array_equal(mask.mask, colours.any(axis=2))


def test_grey_stored_as_colour_is_grey() -> None:
    mask = mask_from_array(np.repeat((VESSELS * 255).astype(np.uint8)[..., None], 3, axis=2))
    assert mask.classes == (VESSEL,)
    assert np.array_equal(mask.mask, VESSELS)


def test_mask_drawn_in_alpha_alone() -> None:
    rgba = np.zeros((20, 30, 4), np.uint8)
    rgba[..., 3] = VESSELS * 255
    assert np.array_equal(mask_from_array(rgba).mask, VESSELS)


@pytest.mark.parametrize("name", ["m.png", "m.tif"])
def test_grey_with_alpha_is_read_alike_from_both_formats(tmp_path: Path, name: str) -> None:
    grey = np.dstack([np.full(VESSELS.shape, 255), VESSELS * 255]).astype(np.uint8)
    if name == "m.png":
        Image.fromarray(grey).save(tmp_path / name)
    else:
        tifffile.imwrite(tmp_path / name, grey, photometric="minisblack", extrasamples=["unassalpha"])
    assert np.array_equal(read_mask(tmp_path / name).mask, VESSELS)
    assert read_image(tmp_path / name).pixels.min() == 1


def test_where_white_is_0_alpha_is_as_everywhere(tmp_path: Path) -> None:
    drawn = np.dstack([255 - VESSELS * 255, VESSELS * 255]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "m.tif", drawn, photometric="miniswhite", extrasamples=["unassalpha"])
    assert np.array_equal(read_mask(tmp_path / "m.tif").mask, VESSELS)


def test_what_is_transparent_is_background_whatever_its_colour(tmp_path: Path) -> None:
    painted = np.full((20, 30, 4), 255, np.uint8)
    painted[~VESSELS] = (255, 255, 255, 0)
    painted[8:11, 2:28, 1:3] = 0
    painted[VESSELS & (painted[..., 1] > 0), :2] = 0
    mask = mask_from_array(painted)
    assert names(mask.classes) == ["artery", "vein"]
    assert np.array_equal(mask.mask, VESSELS)
    # One class, with the rim of a soft brush.
    painted[VESSELS, :3] = (255, 0, 0)
    painted[..., 3] = np.where(VESSELS, 200 + np.arange(30), np.arange(30) * 3)
    soft = mask_from_array(painted)
    assert soft.classes == (MaskClass(1, (255, 0, 0), "artery"),)
    assert np.array_equal(soft.mask, VESSELS)
    # Black ink on transparent white is a drawing, too.
    painted[VESSELS] = (0, 0, 0, 255)
    painted[~VESSELS] = (255, 255, 255, 0)
    assert np.array_equal(mask_from_array(painted).mask, VESSELS)
    for colours in (painted, np.where([[[1, 1, 1, 0]]], np.uint8(255), painted)):
        Image.fromarray(colours).save(tmp_path / "fov.png")
        assert np.array_equal(read_fov(tmp_path / "fov.png", (20, 30)), VESSELS)


def test_jpeg_masks_grey_and_colour(tmp_path: Path) -> None:
    large = np.kron(VESSELS, np.ones((7, 7))).astype(np.uint8)
    Image.fromarray(large * 255).save(tmp_path / "grey.jpg", quality=80)
    mask = read_mask(tmp_path / "grey.jpg")
    assert np.array_equal(mask.mask, large > 0)
    assert "half the maximum" in mask.rule
    colours = np.zeros((*large.shape, 3), np.uint8)
    colours[:70][large[:70] > 0] = (255, 0, 0)
    colours[70:][large[70:] > 0] = (0, 0, 255)
    Image.fromarray(colours).save(tmp_path / "av.jpg", quality=95, subsampling=0)
    av = read_mask(tmp_path / "av.jpg")
    assert names(av.classes) == ["artery", "vein"]
    assert (av.labels == np.where(large, np.where(np.arange(140)[:, None] < 70, 1, 2), 0)).mean() > 0.99


def test_smoothed_masks_are_cut_at_half_the_maximum() -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8), (20, 200)).copy()
    mask = mask_from_array(ramp)
    assert np.array_equal(mask.mask, ramp > 99.5)
    assert "200 distinct values" in mask.rule
    probability = ramp.astype(np.float32) / 199
    assert np.array_equal(mask_from_array(probability).mask, probability > 0.5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_what_is_smoothed_or_numbered_is_so_in_every_type(dtype: type) -> None:
    line = np.zeros((200, 200), np.uint8)
    cv2.line(line, (5, 20), (190, 120), 255, 5, cv2.LINE_AA)
    smoothed = mask_from_array(line.astype(dtype))
    assert smoothed.classes == (VESSEL,)
    assert np.array_equal(smoothed.mask, line > 127)
    # One page of a stack of labels, or what is left after pieces were deleted: numbers are missing.
    pieces = np.tile(np.repeat(np.arange(3, 203, 5), 5) * (np.arange(200) % 5 > 0), (20, 1))
    assert np.array_equal(mask_from_array(pieces.astype(dtype)).mask, pieces > 0)


@pytest.mark.parametrize(("black", "white"), [(1, 255), (13, 242), (16, 235)])
@pytest.mark.parametrize("around", [False, True])
def test_black_that_is_not_0_is_background_and_no_class(black: int, white: int, around: bool) -> None:
    """A probability with a floor, or video levels: the background is wide and flat, as labels are."""
    line = np.zeros((200, 200), np.uint8)
    cv2.line(line, (5, 20), (190, 120), 255, 5)
    share = cv2.GaussianBlur(line, (0, 0), 0.8).astype(np.float32) / 255
    grey = np.rint(black + share * (white - black)).astype(np.uint8)
    if around:
        grey[:, 195:] = 0  # outside of the field of view
    found = mask_from_array(grey)
    assert found.classes == (VESSEL,)
    assert np.array_equal(found.mask, grey > white / 2)


def test_labels_in_the_lower_half_beside_one_at_the_top_are_classes() -> None:
    pieces = np.tile(np.repeat(np.arange(20, dtype=np.uint8), 10), (20, 1))
    pieces[:, 190:] = 255
    assert len(mask_from_array(pieces).classes) == 19


def test_many_label_numbers_stay_classes() -> None:
    components = np.arange(400).reshape(20, 20) % 40
    mask = mask_from_array(components)
    assert len(mask.classes) == 39
    assert np.array_equal(labels_to_values(mask.labels, mask.classes), components)
    thousands = mask_from_array(np.arange(400).reshape(20, 20))
    assert thousands.classes == (VESSEL,)
    assert np.count_nonzero(thousands.mask) == 399


def test_gif_and_palette_masks(tmp_path: Path) -> None:
    Image.fromarray(VESSELS).save(tmp_path / "01_manual1.gif")
    mask = read_mask(tmp_path / "01_manual1.gif", (20, 30))
    assert np.array_equal(mask.mask, VESSELS)
    assert mask.classes == (VESSEL,)
    palette = Image.fromarray(VESSELS.astype(np.uint8) * 2)
    palette.putpalette([0, 0, 0, 9, 9, 9, 255, 0, 0])
    palette.save(tmp_path / "p.png")
    assert read_mask(tmp_path / "p.png").classes == (MaskClass(1, (255, 0, 0), "artery"),)


@pytest.mark.parametrize(("software", "inverted"), [("tifffile.py", False), ("Scanner 1.0", True)])
def test_a_bool_array_saved_from_python_keeps_its_meaning(tmp_path: Path, software: str, inverted: bool) -> None:
    """tifffile marks bool arrays as white-is-0; from another program that mark says what it means."""
    vessels = np.zeros((40, 50), np.bool_)
    vessels[10:13] = True
    tifffile.imwrite(tmp_path / "m.tif", vessels, software=software)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif").mask, vessels ^ inverted)


def test_shape_mismatch_names_both(tmp_path: Path) -> None:
    Image.fromarray(VESSELS).save(tmp_path / "m.png")
    with pytest.raises(InputError, match=r"m\.png is 20 x 30 px but its image is 30 x 20 px"):
        read_mask(tmp_path / "m.png", (30, 20))


def test_page_of_a_mask_stack(tmp_path: Path) -> None:
    stack = np.stack([VESSELS, ~VESSELS]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "m.tif", stack, photometric="minisblack")
    assert np.array_equal(read_mask(tmp_path / "m.tif", plane=1).mask, ~VESSELS)
    tifffile.imwrite(tmp_path / "one.tif", stack[0])
    assert np.array_equal(read_mask(tmp_path / "one.tif", plane=7).mask, VESSELS)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((20, 20), -1), "negative"),
        (np.full((20, 20), np.nan), "not numbers"),
        (np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8), "photograph"),
        (np.zeros((3, 20, 20), np.uint8), "channels last"),
        (np.zeros((20, 20), complex), "does not hold numbers"),
        (np.full((20, 20), 2**40), "below 2"),
    ],
)
def test_what_is_no_mask_is_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        mask_from_array(array)


def test_a_label_without_a_class_is_refused() -> None:
    with pytest.raises(InputError, match="Label 7"):
        labels_to_values(np.full((20, 20), 7, np.uint8), (VESSEL,))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.uint8, (17, 18), elements=st.integers(0, 14)),
    st.lists(st.integers(1, 65535), min_size=14, max_size=14, unique=True),
)
def test_values_survive_the_round_trip(indices: np.ndarray, values: list[int]) -> None:
    table = np.array([0, *values])
    array = table[indices].astype(np.uint16)
    mask = mask_from_array(array)
    assert np.array_equal(mask.mask, array > 0)
    assert np.array_equal(labels_to_values(mask.labels, mask.classes), array)
    assert [c.label for c in mask.classes] == list(range(1, len(mask.classes) + 1))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.uint8, (17, 18), elements=st.integers(0, 14)),
    st.lists(st.tuples(*[st.integers(0, 255)] * 3).filter(any), min_size=14, max_size=14, unique=True),
)
def test_colours_survive_the_round_trip(indices: np.ndarray, colours: list[tuple[int, int, int]]) -> None:
    table = np.array([(0, 0, 0), *colours], np.uint8)
    array = table[indices]
    tint = int((array.max(axis=2) - array.min(axis=2)).max())
    assume(tint == 0 or tint > 8)  # less is black and white that are a little off
    mask = mask_from_array(array)
    assert np.array_equal(mask.mask, array.any(axis=2))
    back = labels_to_values(mask.labels, mask.classes)
    if back.ndim == 2:
        back = np.repeat(back[..., None], 3, axis=2)
    assert np.array_equal(back, array)
    assert len({c.name for c in mask.classes}) == len(mask.classes)


def test_field_of_view_files(tmp_path: Path) -> None:
    Image.fromarray((VESSELS * 255).astype(np.uint8)).save(tmp_path / "f.gif")
    assert np.array_equal(read_fov(tmp_path / "f.gif", (20, 30)), VESSELS)
    Image.new("L", (30, 20)).save(tmp_path / "e.png")
    with pytest.raises(InputError, match="empty"):
        read_fov(tmp_path / "e.png", (20, 30))


def test_black_and_white_that_are_a_little_off_are_background_and_vessel(tmp_path) -> None:
    # The palette of DRIVE's 2nd_manual files.
    indices = np.zeros((24, 32), np.uint8)
    indices[8:12, 4:28] = 1
    picture = Image.fromarray(indices, "P")
    picture.putpalette([4, 2, 4, 252, 254, 252])
    picture.save(tmp_path / "01_manual2.gif")
    found = read_mask(tmp_path / "01_manual2.gif")
    assert np.array_equal(found.mask, indices > 0)
    assert [c.value for c in found.classes] == [255]
    assert "half the maximum" in found.rule


def test_numbered_pieces_are_labels_however_many() -> None:
    values = np.repeat(np.arange(161, dtype=np.uint8), 30).reshape(161, 30)
    assert np.array_equal(mask_from_array(values).labels, values)
