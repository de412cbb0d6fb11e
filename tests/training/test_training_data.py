"""Splits are kept: no test image is ever read."""

import cv2
import numpy as np
import pytest

from napari_vessel.errors import InputError
from napari_vessel.topology.components import label_components
from napari_vessel.training.augmentation import LEVELS, build_levels, random_crop
from napari_vessel.training.data import CHASEDB1, HRF, LES_AV, read_case, split_stems


def test_the_splits_are_the_stated_ones():
    chase = [f"Image_{n:02d}{eye}" for n in range(1, 15) for eye in "LR"]
    hrf = [f"{n:02d}_{group}" for n in range(1, 16) for group in ("dr", "g", "h")]
    assert [s for s in chase if CHASEDB1.is_training(s)] == chase[:20]
    assert [s for s in hrf if HRF.is_training(s)] == hrf[:15]
    assert [s for s in chase[:20] if CHASEDB1.is_validation(s)] == chase[16:20]
    assert [s for s in hrf[:15] if HRF.is_validation(s)] == hrf[12:15]


@pytest.mark.parametrize("stem", ["Image_11L", "Image_14R", "Image_00L", "11L", "other"])
def test_a_test_stem_of_chasedb1_is_refused(chasedb1, stem):
    with pytest.raises(InputError, match="test split of CHASE_DB1"):
        read_case(CHASEDB1, chasedb1, stem)


@pytest.mark.parametrize("stem", ["06_h", "15_dr", "x_dr"])
def test_a_test_stem_of_hrf_is_refused(hrf, stem):
    with pytest.raises(InputError, match="test split of HRF"):
        read_case(HRF, hrf, stem)


def test_test_images_are_in_neither_part(chasedb1, hrf):
    assert split_stems(CHASEDB1, chasedb1) == (["Image_01L", "Image_02R"], ["Image_09L"])
    assert split_stems(HRF, hrf) == (["01_dr", "02_g"], ["05_h"])


def test_les_av_is_held_out_by_content_and_not_by_name(les_av, tmp_path):
    used, held = split_stems(LES_AV, les_av)
    assert len(held) == 3
    assert not set(used) & set(held)
    (tmp_path / "images").mkdir()
    names = {}
    for path in sorted((les_av / "images").iterdir()):
        names[path.stem] = f"renamed{99 - int(path.stem)}"
        (tmp_path / "images" / f"{names[path.stem]}.png").write_bytes(path.read_bytes())
    assert set(split_stems(LES_AV, tmp_path)[1]) == {names[stem] for stem in held}


def test_a_folder_without_training_images_says_so(tmp_path):
    with pytest.raises(InputError, match="No training image of HRF"):
        split_stems(HRF, tmp_path)


def test_a_case_is_aligned_and_in_range(chasedb1):
    case = read_case(CHASEDB1, chasedb1, "Image_01L")
    assert case.pixels.shape == (200, 190, 3)
    assert case.pixels.max() <= 1
    inside = case.pixels[..., 1][case.vessels].mean()
    assert inside < case.pixels[..., 1][case.fov & ~case.vessels].mean()


def test_files_that_do_not_fit_are_refused(tmp_path, chasedb1):
    for name in ("images", "masks", "fov"):
        (tmp_path / name).mkdir()
        source = chasedb1 / name / "Image_01L.png"
        (tmp_path / name / source.name).write_bytes(source.read_bytes())
    cv2.imwrite(str(tmp_path / "masks" / "Image_01L.png"), np.zeros((10, 10), np.uint8))
    with pytest.raises(InputError, match="differ in size"):
        read_case(CHASEDB1, tmp_path, "Image_01L")
    (tmp_path / "masks" / "Image_01L.png").unlink()
    with pytest.raises(InputError, match="no file named 'Image_01L'"):
        read_case(CHASEDB1, tmp_path, "Image_01L")


def test_crops_keep_image_and_target_together(chasedb1):
    levels = build_levels(read_case(CHASEDB1, chasedb1, "Image_01L"), working_diameter=200)
    assert len(levels) == len(LEVELS)
    rng = np.random.default_rng(0)
    darker = []
    for _ in range(12):
        image, target = random_crop(levels, 96, rng)
        assert image.shape == target.shape == (3, 96, 96)
        assert np.isfinite(image).all()
        cover, _, fov = target
        assert not image[:, fov < 0.5].any()
        vessel, background = (cover > 0.7) & (fov > 0.5), (cover < 0.1) & (fov > 0.5)
        if vessel.sum() > 50 and background.sum() > 50:
            darker.append(image[1][vessel].mean() < image[1][background].mean())
    assert len(darker) >= 6
    assert all(darker)


def test_a_thin_vessel_keeps_an_unbroken_centreline_when_it_shrinks(chasedb1):
    case = read_case(CHASEDB1, chasedb1, "Image_01L")
    drawing = np.zeros(case.vessels.shape, np.uint8)
    cv2.line(drawing, (20, 90), (170, 110), 1, 2)
    thin = type(case)(case.name, case.pixels, drawing > 0, np.ones_like(case.fov))
    level = build_levels(thin, working_diameter=55)[1]
    pieces = [label_components(level.target[..., channel] >= 128)[1] for channel in (0, 1)]
    # Cutting the coverage at one half breaks it.
    assert pieces[0] > 1
    assert pieces[1] == 1
