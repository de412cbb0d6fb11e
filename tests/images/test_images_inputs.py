"""Which files are meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_vessel.errors import InputError
from napari_vessel.images.inputs import ImageInput, check_mask_file, find_inputs, match_file
from napari_vessel.images.reading import read_image


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for path in paths:
        if path.suffix in (".tif", ".tiff"):
            tifffile.imwrite(path, np.zeros((20, 20), np.uint8))
        elif path.suffix in (".png", ".jpg", ".gif"):
            Image.new("L", (20, 20)).save(path)
        else:
            path.write_text("-")
    return paths


def test_folder_in_natural_order_without_strangers(tmp_path: Path) -> None:
    touch(tmp_path, "im10.png", "im2.png", "IM1.PNG".replace("PNG", "jpg"), ".hidden.png", "notes.txt")
    touch(tmp_path / "deeper", "x.png")
    assert [i.path.name for i in find_inputs([tmp_path])] == ["IM1.jpg", "im2.png", "im10.png"]


def test_pages_are_inputs_of_their_own(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((3, 20, 20), np.uint8), photometric="minisblack")
    touch(tmp_path, "one.tif")
    inputs = find_inputs([tmp_path])
    assert inputs == [ImageInput(tmp_path / "one.tif"), *(ImageInput(tmp_path / "s.tif", p) for p in range(3))]
    assert [i.stem for i in inputs] == ["one", "s_p000", "s_p001", "s_p002"]
    assert [read_image(i.path, plane=i.plane).stem for i in inputs] == [i.stem for i in inputs]


def test_same_file_twice_counts_once(tmp_path: Path) -> None:
    (path,) = touch(tmp_path, "a.png")
    assert find_inputs([path, tmp_path, str(path)]) == [ImageInput(path)]


@pytest.mark.parametrize("names", [("a.png", "a.jpg"), ("a.png", "A.tif")])
def test_two_inputs_with_one_stem_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path, *names)
    with pytest.raises(InputError) as caught:
        find_inputs([tmp_path])
    assert all(name in str(caught.value) for name in names)


def test_a_page_may_not_take_the_name_of_a_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((3, 20, 20), np.uint8), photometric="minisblack")
    touch(tmp_path, "s_p001.png")
    with pytest.raises(InputError, match="overwrite each other"):
        find_inputs([tmp_path])


def test_nothing_missing_and_unknown(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No images in .* sub-folders are not searched"):
        find_inputs([tmp_path])
    with pytest.raises(InputError, match="No images in nothing"):
        find_inputs([])
    with pytest.raises(InputError, match="does not exist"):
        find_inputs([tmp_path / "a.png"])
    with pytest.raises(InputError, match="not an image file by its name"):
        find_inputs(touch(tmp_path, "a.docx"))


def test_layout_of_drive(tmp_path: Path) -> None:
    numbers = ["01", "02", "10", "21"]
    touch(tmp_path / "images", *(f"{n}_test.tif" for n in numbers))
    touch(tmp_path / "1st_manual", *(f"{n}_manual1.gif" for n in numbers))
    touch(tmp_path / "mask", *(f"{n}_test_mask.gif" for n in numbers))
    for item in find_inputs([tmp_path / "images"]):
        number = item.stem[:2]
        assert match_file(item.stem, tmp_path / "1st_manual") == tmp_path / "1st_manual" / f"{number}_manual1.gif"
        assert match_file(item.stem, tmp_path / "mask") == tmp_path / "mask" / f"{number}_test_mask.gif"
    assert match_file("03_test", tmp_path / "1st_manual") is None


def test_exact_stem_wins_then_mask_then_fov(tmp_path: Path) -> None:
    exact, mask, fov = touch(tmp_path, "a.png", "a_mask.png", "a_fov.png")
    assert match_file("a", tmp_path) == exact
    assert match_file("A", tmp_path, exclude=exact) == mask
    assert match_file("a", tmp_path, exclude=exact, prefer=("fov", "mask")) == fov
    assert match_file("b", tmp_path) is None


def test_a_number_matches_only_a_name_made_of_words_for_its_use(tmp_path: Path) -> None:
    touch(tmp_path, "01_dr.png", "02_manual.png", "03_test.png", "12.png", "21_training_mask.gif")
    assert match_file("01_dr", tmp_path) == tmp_path / "01_dr.png"
    assert match_file("01_g", tmp_path) is None
    assert match_file("01_h", tmp_path) is None
    assert match_file("2_x", tmp_path) == tmp_path / "02_manual.png"
    assert match_file("03_training", tmp_path) is None
    assert match_file("12_left", tmp_path) is None
    assert match_file("21", tmp_path) == tmp_path / "21_training_mask.gif"
    assert match_file("1", tmp_path / "12.png") == tmp_path / "12.png"


def test_an_accented_letter_is_one_however_a_disk_wrote_it(tmp_path: Path) -> None:
    composed, apart = "d\u00e9but", "de\u0301but"
    touch(tmp_path / "images", f"{composed}.png")
    touch(tmp_path / "masks", f"{apart}_mask.png")
    assert match_file(composed, tmp_path / "masks") == tmp_path / "masks" / f"{apart}_mask.png"
    touch(tmp_path / "more", f"{apart}.png")
    with pytest.raises(InputError, match="same name"):
        find_inputs([tmp_path / "images", tmp_path / "more"])


def test_two_files_of_one_number_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "01_manual1.gif", "01_manual2.gif")
    with pytest.raises(InputError, match=r"01_manual[12]\.gif and 01_manual[12]\.gif"):
        match_file("01_test", tmp_path)


def test_one_mask_file_is_for_one_image_or_one_stack(tmp_path: Path) -> None:
    a, b = touch(tmp_path, "a.png", "b.png")
    for name, pages in (("s.tif", 3), ("three.tif", 3), ("two.tif", 2)):
        tifffile.imwrite(tmp_path / name, np.zeros((pages, 20, 20), np.uint8), photometric="minisblack")
    stack = [tmp_path / "s.tif"] * 3
    check_mask_file(a, [b])
    check_mask_file(tmp_path, [a, b])
    check_mask_file(tmp_path / "three.tif", stack)
    for mask, images in ((a, [a, b]), (a, stack), (tmp_path / "two.tif", stack), (tmp_path / "three.tif", [a, b, a])):
        with pytest.raises(InputError, match="One mask"):
            check_mask_file(mask, images)


def test_two_observers_in_one_folder_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "Image_01L_1stHO.png", "Image_01L_2ndHO.png")
    with pytest.raises(InputError, match=r"1stHO\.png and Image_01L_2ndHO\.png"):
        match_file("Image_01L", tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        match_file("a", tmp_path / "nowhere")


def test_page_matches_its_own_mask_or_the_stack(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((3, 20, 20), np.uint8), photometric="minisblack")
    touch(tmp_path, "s_p001.png", "t.tif")
    assert match_file("s_p001", tmp_path) == tmp_path / "s_p001.png"
    assert match_file("s_p002", tmp_path) == tmp_path / "s.tif"
    assert match_file("t_p002", tmp_path) is None


def test_pages_share_a_field_of_view_by_number_but_no_mask(tmp_path: Path) -> None:
    """01_manual1.png with one page would be the mask of every page of 01.tif."""
    Image.new("L", (16, 16)).save(tmp_path / "01_manual1.png")
    assert match_file("01_p001", tmp_path) is None
    assert match_file("01_p001", tmp_path, prefer=("fov", "mask")) == tmp_path / "01_manual1.png"
    (tmp_path / "01_manual1.png").unlink()
    tifffile.imwrite(tmp_path / "01_manual1.tif", np.zeros((2, 16, 16), np.uint8), photometric="minisblack")
    assert match_file("01_p001", tmp_path) == tmp_path / "01_manual1.tif"
