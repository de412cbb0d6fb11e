"""The public sets are found in their layouts, and no test image is ever read for training."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality
from napari_vessel.training.cases import find_cases, find_own_cases, read_case
from napari_vessel.training.datasets import DATA_SETS, SPLITS, data_set

FOLDERS = {"chase_db1": "CHASEDB1", "hrf": "HRF", "les-av": "LES-AV", "rossa": "ROSSA", "drive": "DRIVE"}
STEMS = {
    "chase_db1": {"training": ["Image_01L", "Image_02R"], "validation": ["Image_09L"], "test": ["Image_11L"]},
    "hrf": {"training": ["01_dr", "02_g"], "validation": ["05_h"], "test": ["06_h", "15_dr"]},
    "rossa": {"training": ["1", "2"], "validation": ["101", "102"], "test": ["201"]},
}


def test_the_splits_are_the_stated_ones():
    every = {
        "chase_db1": [f"Image_{n:02d}{eye}" for n in range(1, 15) for eye in "LR"],
        "hrf": [f"{n:02d}_{group}" for n in range(1, 16) for group in ("dr", "g", "h")],
        "rossa": [str(n) for n in range(1, 301)],
        "octa-500": [str(n) for n in range(10001, 10301)],
        "drive": [f"{n:02d}_{'test' if n < 21 else 'training'}" for n in range(1, 41)],
    }
    sizes = {"chase_db1": (16, 4, 8), "hrf": (12, 3, 30), "rossa": (100, 100, 100), "octa-500": (180, 20, 100)}
    # DRIVE's four validation images are the training images with the lowest hashes.
    sizes["drive"] = (20, 0, 20)
    for key, stems in every.items():
        splits = [DATA_SETS[key].split_of(stem) for stem in stems]
        assert tuple(splits.count(split) for split in SPLITS) == sizes[key], key
    assert DATA_SETS["chase_db1"].split_of("Image_11L") == "test"
    assert DATA_SETS["hrf"].split_of("06_h") == "test"


@pytest.mark.parametrize("key", DATA_SETS)
@pytest.mark.parametrize("stem", ["", "other", "Image_00L", "Image_15R", "00_h", "x1", "99999", "41_training"])
def test_a_name_that_is_not_the_sets_is_in_no_split(key, stem):
    assert DATA_SETS[key].split_of(stem) is None


def test_no_patient_is_in_two_splits():
    for known in (DATA_SETS["chase_db1"], DATA_SETS["hrf"]):
        stems = [f"Image_{n:02d}{eye}" for n in range(1, 15) for eye in "LR"]
        stems += [f"{n:02d}_{group}" for n in range(1, 16) for group in ("dr", "g", "h")]
        splits = {}
        for stem in stems:
            if known.split_of(stem):
                splits.setdefault(known.patient_of(stem), set()).add(known.split_of(stem))
        assert splits
        assert all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize("key", STEMS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_plain_layout_is_found(data, key, split):
    found = find_cases(key, data / FOLDERS[key], split)
    assert [files.stem for files in found] == STEMS[key][split]
    assert {files.split for files in found} == {split}


@pytest.mark.parametrize("key", STEMS)
def test_a_test_image_is_refused(data, key):
    files = find_cases(key, data / FOLDERS[key], "test")[0]
    with pytest.raises(InputError, match=f"test split of {DATA_SETS[key].title} and cannot be trained on"):
        read_case(files)
    assert read_case(files, allow_test=True).vessels.any()


def test_drive_is_read_as_its_owner_lays_it_out(data):
    parts = {split: find_cases("drive", data / "DRIVE", split) for split in SPLITS}
    assert [len(parts[split]) for split in SPLITS] == [2, 4, 2]
    case = read_case(parts["test"][0], allow_test=True)
    assert case.name == "drive/01_test"
    assert case.image.fov is not None
    np.testing.assert_array_equal(case.second, np.roll(case.vessels, 1, axis=0))
    assert read_case(parts["training"][0]).second is None


def test_chase_db1_and_hrf_are_read_as_their_owners_lay_them_out(data, tmp_path):
    chase, hrf = tmp_path / "chase", tmp_path / "hrf"
    for folder in (chase, *(hrf / room for room in ("images", "manual1", "mask"))):
        folder.mkdir(parents=True)
    for stem in ("Image_01L", "Image_11L"):
        image = cv2.imread(str(data / "CHASEDB1" / "images" / f"{stem}.png"))
        cv2.imwrite(str(chase / f"{stem}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
        for observer in ("1stHO", "2ndHO"):
            shutil.copy(data / "CHASEDB1" / "masks" / f"{stem}.png", chase / f"{stem}_{observer}.png")
    for room, name in (("images", "01_dr.png"), ("masks", "01_dr.png"), ("fov", "01_dr.png")):
        target = {"images": "images/01_dr.JPG", "masks": "manual1/01_dr.tif", "fov": "mask/01_dr_mask.tif"}[room]
        cv2.imwrite(str(hrf / target), cv2.imread(str(data / "HRF" / room / name)))
    assert [files.stem for files in find_cases("chase_db1", chase, "training")] == ["Image_01L"]
    test = read_case(find_cases("chase_db1", chase, "test")[0], allow_test=True)
    np.testing.assert_array_equal(test.vessels, test.second)
    case = read_case(find_cases("hrf", hrf, "training")[0])
    assert case.image.fov is not None
    assert 0.3 < case.image.fov.mean() < 1


def test_les_av_is_held_out_by_content_and_not_by_name(data, tmp_path):
    held = {files.stem for files in find_cases("les-av", data / "LES-AV", "validation")}
    used = {files.stem for files in find_cases("les-av", data / "LES-AV", "training")}
    assert len(held) == 3
    assert used | held == {"11", "12", "13", "14", "15"}
    for room in ("images", "masks"):
        (tmp_path / room).mkdir()
        for path in (data / "LES-AV" / room).iterdir():
            shutil.copy(path, tmp_path / room / f"{99 - int(path.stem)}.png")
    again = {files.stem for files in find_cases("les-av", tmp_path, "validation")}
    assert again == {str(99 - int(stem)) for stem in held}


def test_a_rossa_image_is_an_angiogram_without_a_field_of_view(data):
    case = read_case(find_cases("rossa", data / "ROSSA", "training")[0])
    assert case.image.modality is Modality.OCTA
    assert case.image.fov is None
    assert case.image.pixels.ndim == 2


def test_what_is_missing_is_named(data, tmp_path):
    with pytest.raises(InputError, match="There is no training image of HRF"):
        find_cases("hrf", tmp_path, "training")
    with pytest.raises(InputError, match="no data set named 'stare'; choose one of chase_db1"):
        data_set("stare")
    shutil.copytree(data / "CHASEDB1" / "images", tmp_path / "images")
    with pytest.raises(InputError, match="no mask of"):
        find_cases("chase_db1", tmp_path, "training")


def test_files_that_do_not_fit_are_refused(data, tmp_path):
    files = find_cases("chase_db1", data / "CHASEDB1", "training")[0]
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((10, 10), np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for changes in ({"mask": "small.png"}, {"second": "small.png"}, {"second": "broken.png"}, {"image": "broken.png"}):
        wrong = replace(files, **{name: tmp_path / value for name, value in changes.items()})
        with pytest.raises(InputError):
            read_case(wrong)


def test_own_images_are_held_out_by_the_beginning_of_their_names(data, tmp_path):
    for room in ("images", "masks"):
        (tmp_path / room).mkdir()
        for number, path in enumerate(sorted((data / "LES-AV" / room).iterdir())):
            shutil.copy(path, tmp_path / room / f"p{number // 2}_{number}.png")
    found = find_own_cases(tmp_path, ("p1",))
    assert {files.stem for files in found if files.split == "validation"} == {"p1_2", "p1_3"}
    with pytest.raises(InputError, match="begins with 'p9'"):
        find_own_cases(tmp_path, ("p9",))
    with pytest.raises(InputError, match="no image to train on"):
        find_own_cases(tmp_path, ("p",))
    for stem in ("03_test", "image_11l", "06_H", "10201", "10300"):
        copy = shutil.copy(tmp_path / "images" / "p0_0.png", tmp_path / "images" / f"{stem}.png")
        with pytest.raises(InputError, match=f"'{stem}' is the name of a test image"):
            find_own_cases(tmp_path, ("p1",))
        copy.unlink()
    shutil.copy(tmp_path / "images" / "p0_0.png", tmp_path / "images" / "10200.png")
    shutil.copy(tmp_path / "masks" / "p0_0.png", tmp_path / "masks" / "10200.png")
    assert "10200" in {files.stem for files in find_own_cases(tmp_path, ("p1",))}


def own_folder(data, folder, **masks):
    """Make a folder of one's own: a copy of one image for each stem, with a mask of so many vessel rows."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for stem, rows in masks.items():
        shutil.copy(data / "LES-AV" / "images" / "11.png", folder / "images" / f"{stem}.png")
        mask = cv2.imread(str(data / "LES-AV" / "masks" / "11.png"), cv2.IMREAD_GRAYSCALE)
        mask[:] = 0
        mask[:rows] = 255
        cv2.imwrite(str(folder / "masks" / f"{stem}.png"), mask)
    return folder


def test_a_name_with_a_point_is_not_taken_for_the_name_before_it(data, tmp_path):
    folder = own_folder(data, tmp_path, **{"p1": 10, "p1.left": 20, "p1.left.2": 30, "p2[1]": 40})
    rows = {files.stem: int(read_case(files).vessels.any(axis=1).sum()) for files in find_own_cases(folder, ("p2",))}
    assert rows == {"p1": 10, "p1.left": 20, "p1.left.2": 30, "p2[1]": 40}


def test_what_is_no_image_is_no_image_of_ones_own(data, tmp_path):
    folder = own_folder(data, tmp_path, p1=10, p2=20)
    for name in ("images/Thumbs.db", "images/p1.json", "masks/p1.json", "images/.hidden.png"):
        (folder / name).write_text("{}")
    found = find_own_cases(folder, ("p2",))
    assert [(files.image.name, files.mask.name) for files in found] == [("p1.png", "p1.png"), ("p2.png", "p2.png")]


def test_what_is_no_image_is_no_image_of_a_known_set(data, tmp_path):
    shutil.copytree(data / "HRF", tmp_path / "HRF")
    for room in ("images", "masks", "fov"):
        (tmp_path / "HRF" / room / "01_dr.json").write_text("{}")
    case = read_case(find_cases("hrf", tmp_path / "HRF", "training")[0])
    assert case.vessels.any()


def test_test_images_without_a_truth_do_not_keep_from_training(data, tmp_path):
    drive = shutil.copytree(data / "DRIVE", tmp_path / "DRIVE")
    shutil.rmtree(drive / "test" / "1st_manual")
    assert [len(find_cases("drive", drive, split)) for split in ("training", "validation")] == [2, 4]
    with pytest.raises(InputError, match=r"no mask of .*01_test"):
        find_cases("drive", drive, "test")


def test_a_second_observer_may_paint_in_ones(data, tmp_path):
    chase = shutil.copytree(data / "CHASEDB1", tmp_path / "chase")
    (chase / "masks_2nd").mkdir()
    mask = cv2.imread(str(chase / "masks" / "Image_11L.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(chase / "masks_2nd" / "Image_11L.png"), mask // 255)
    case = read_case(find_cases("chase_db1", chase, "test")[0], allow_test=True)
    np.testing.assert_array_equal(case.second, case.vessels)
