"""A model from a handful of labelled images: what is refused, what is kept apart, stopping and going on."""

import json
import shutil
from contextlib import closing
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_vessel.errors import InputError, ModelError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.images.reading import image_from_array, read_image
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.registry import read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.synthesis.engine import LEAST_SIDE
from napari_vessel.training.augmentation import ONE_LEVEL, build_levels, random_crop
from napari_vessel.training.crops import CropSource
from napari_vessel.training.fewshot import _write_card, fewshot, make_recipe
from napari_vessel.training.labelled import (
    Labelled,
    at_width,
    check_labelled,
    common_modality,
    held_out,
    read_labelled,
    store,
    working_width,
)
from napari_vessel.training.preparing import RECORD, FewShot, prepare
from napari_vessel.training.recipe import AugmentationRecipe
from napari_vessel.training.trainer import Trainer

NAMES = ["11", "12", "13", "14", "15"]


@pytest.fixture(scope="module")
def five(data):
    """Five small fundus photographs with their masks and fields of view."""
    folder = data / "LES-AV"
    return run_job(read_labelled([folder / "images"], [folder / "masks"], [folder / "fov"]))


def tiny(**changes):
    return FewShot(**{"name": "few", "modality": Modality.FUNDUS, "steps": 6, "synthetic": 2, **changes})


@pytest.mark.parametrize("colour", [False, True])
def test_a_16_bit_image_in_a_part_of_its_range_keeps_its_grey_levels(tmp_path, colour):
    values = np.random.default_rng(0).integers(1000, 6000, (64, 80, 3)[: 2 + colour], dtype=np.uint16)
    image = image_from_array(values, modality=Modality.TWOPHOTON)
    vessels = np.zeros(image.shape, np.bool_)
    vessels[30:34] = True
    store(tmp_path, "a", image, vessels)
    np.testing.assert_array_equal(read_image(tmp_path / "images" / "a.png").pixels, image.pixels)
    # A network sees what it would see of the same in the whole range: every step here is one that normalising removes.
    bright = replace(image, pixels=image.pixels * 10)
    rng, gamma = np.random.default_rng, AugmentationRecipe(False, False, 1.0, 0.0, 1.65, 0.0, 0.0, 0.0, 0.0)
    crops = [
        random_crop(build_levels(one, vessels, 80, colour, ONE_LEVEL), 32, rng(0), gamma, False, ONE_LEVEL)[0]
        for one in (image, bright)
    ]
    np.testing.assert_allclose(*crops, atol=0.02)
    # What fills its range is kept in 8 bits, and what was read from 8 is too.
    for dim in (1, 20):
        eight = (values // 24 // dim).astype(np.uint8)
        store(tmp_path, "b", image_from_array(eight), None)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "images" / "b.png")), eight)


def test_dark_images_are_told_apart_by_what_is_kept_of_them():
    rng = np.random.default_rng(0)
    vessels = np.arange(64)[:, None] // 4 % 8 == np.zeros(64)
    dark = [image_from_array(rng.random((64, 64), np.float32) * 0.0018, modality=Modality.OTHER) for _ in range(2)]
    labelled = [Labelled(f"x{n}", image, vessels) for n, image in enumerate(dark)]
    check_labelled(labelled)
    assert labelled[0].digest != labelled[1].digest
    with pytest.raises(InputError, match="are the same image"):
        check_labelled([labelled[0], replace(labelled[0], name="x2")])


def test_images_masks_and_fields_of_view_belong_together(five, data):
    assert [entry.name for entry in five] == NAMES
    assert {entry.image.modality for entry in five} == {Modality.FUNDUS}
    folder = data / "LES-AV"
    one_by_one = run_job(
        read_labelled(
            [folder / "images" / f"{name}.png" for name in NAMES], [folder / "masks" / f"{name}.png" for name in NAMES]
        )
    )
    for entry, other in zip(five, one_by_one, strict=True):
        np.testing.assert_array_equal(entry.vessels, other.vessels)
        assert entry.image.fov.any()


def test_every_page_of_a_file_has_its_own_mask(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 64)).astype(np.uint8)
    drawn = np.zeros((3, 64, 64), np.uint8)
    for room in ("images", "masks"):
        (tmp_path / room).mkdir()
    for page in range(3):
        drawn[page, 10 + 10 * page : 13 + 10 * page] = 255
    tifffile.imwrite(tmp_path / "images" / "stack.tif", pixels, photometric="minisblack")
    tifffile.imwrite(tmp_path / "masks" / "stack.tif", drawn, photometric="minisblack")
    found = run_job(read_labelled([tmp_path / "images"], [tmp_path / "masks"]))
    assert [entry.name for entry in found] == ["stack_p000", "stack_p001", "stack_p002"]
    np.testing.assert_array_equal([entry.vessels for entry in found], drawn > 0)


def refuse(data, message, images=("11", "12"), masks=("11", "12"), folder="LES-AV"):
    place = data / folder

    def look():
        found = run_job(
            read_labelled(
                [place / "images" / f"{name}.png" for name in images],
                [place / "masks" / f"{name}.png" for name in masks],
            )
        )
        check_labelled(found)
        common_modality(found)

    with pytest.raises(InputError, match=message):
        look()


def test_what_cannot_be_learnt_from_is_one_sentence(data, tmp_path):
    refuse(data, "2 images were given with 1 masks", masks=["11"])
    refuse(data, "1 labelled image is too few; give 2 or more", images=["11"], masks=["11"])
    refuse(data, "'Image_11L' is the name of a test image", ["Image_11L", "Image_01L"], ["Image_11L", "Image_01L"],
           folder="CHASEDB1")  # fmt: skip
    copy = tmp_path / "mine"
    for room in ("images", "masks"):
        shutil.copytree(data / "LES-AV" / room, copy / room)
    Image.fromarray(np.zeros((200, 190), np.uint8)).save(copy / "masks" / "12.png")
    refuse(tmp_path, "The mask of '12' shows no vessel", folder="mine")
    # The whole field of view, given by mistake.
    shutil.copyfile(data / "LES-AV" / "fov" / "12.png", copy / "masks" / "12.png")
    whole = run_job(read_labelled([copy / "images"], [copy / "masks"], [data / "LES-AV" / "fov"]))
    with pytest.raises(InputError, match="The mask of '12' is vessel everywhere"):
        check_labelled(whole)
    Image.fromarray(np.full((90, 90), 255, np.uint8)).save(copy / "masks" / "12.png")
    refuse(tmp_path, "is 90 x 90 px", folder="mine")
    shutil.copyfile(copy / "images" / "11.png", copy / "images" / "12.png")
    shutil.copyfile(copy / "masks" / "11.png", copy / "masks" / "12.png")
    refuse(tmp_path, "are the same image", folder="mine")
    Image.fromarray(np.full((200, 190), 90, np.uint8)).save(copy / "images" / "12.png")
    refuse(tmp_path, "How the images were taken cannot be told", folder="mine")


def test_one_of_five_is_held_out_whatever_the_order(five):
    held = {five[n].name for n in held_out(five)}
    assert len(held) == 1
    turned = five[::-1]
    assert {turned[n].name for n in held_out(turned)} == held
    assert len(held_out([*five, *five])) == 2


@pytest.mark.parametrize(
    ("names", "held"),
    [
        (("p07_L", "p07_R", "Dupont OD"), {"Dupont OD"}),
        (("p07_L", "Dupont OD", "p07_R", "Dupont OG"), {"p07_L", "p07_R"}),
        (("p08_v1", "p07_L", "p08_v2", "p07_R", "p08_v3"), {"p07_L", "p07_R"}),
        (("p07_v1", "p07_v2", "p07_L", "p07_R", "p07_v3"), {"p07_v1"}),
    ],
)
def test_no_patient_is_learnt_from_and_held_out(five, names, held):
    ranked = sorted(five, key=lambda one: one.digest)
    labelled = [replace(entry, name=name, patient=None) for entry, name in zip(ranked, names, strict=False)][::-1]
    assert {labelled[n].name for n in held_out(labelled)} == held


def test_the_card_says_when_nobody_else_was_held_out(five, tmp_path):
    one = [replace(entry, name=f"p07_v{n}", patient=None) for n, entry in enumerate(five[:2])]
    for name, labelled in (("one", one), ("two", five[:2])):
        run_job(prepare(labelled, tiny(), tmp_path / name))
        record = json.loads((tmp_path / name / RECORD).read_text())
        _write_card(tmp_path / name, record, tiny(), {"steps": 6, "threshold": 0.5, "min_size": 0})
        card = (tmp_path / name / "README.md").read_text()
        assert ("All images are of one patient" in card) == (name == "one")


def test_nothing_of_what_is_held_out_gets_into_a_synthetic_image(five, tmp_path):
    run_job(prepare(five, tiny(), tmp_path / "run"))
    record = json.loads((tmp_path / "run" / RECORD).read_text())
    held = next(n for n, entry in enumerate(record["images"]) if entry["held_out"])
    other = list(five)
    # Another picture in its place, and the same synthetic images: it had no part in them.
    other[held] = replace(other[held], vessels=np.roll(other[held].vessels, 3, axis=1))
    run_job(prepare(other, tiny(), tmp_path / "other"))
    changed = json.loads((tmp_path / "other" / RECORD).read_text())
    for entry, was in zip(changed["images"], record["images"], strict=True):
        entry["held_out"] = was["held_out"]
    (tmp_path / "other" / RECORD).write_text(json.dumps(changed))
    made = []
    for name in ("run", "other"):
        with closing(fewshot(tmp_path / name, "cpu")) as job:
            for progress in job:
                if progress.message.startswith("Reading"):
                    break
        pictures = sorted((tmp_path / name / "synthetic" / "images").iterdir())
        assert len(pictures) == 2
        made.append([np.asarray(Image.open(path)) for path in pictures])
    for one, two in zip(*made, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_working_scale_follows_field_and_calibre(five):
    width = working_width(five, Modality.FUNDUS)
    assert width == pytest.approx(max(five[0].image.shape), abs=20)
    thick = [replace(five[0], vessels=np.kron(five[0].vessels, np.ones((4, 4), np.bool_)),
                     image=replace(five[0].image, pixels=np.kron(five[0].image.pixels[..., 1], np.ones((4, 4))),
                                   fov=None))]  # fmt: skip
    shrunk = working_width(thick, Modality.XRAY)
    assert shrunk < max(thick[0].image.shape)
    small = at_width(thick[0], shrunk)
    assert max(small.image.shape) == shrunk
    assert small.vessels.any()


def test_a_batch_is_half_synthetic(five, tmp_path):
    run_job(prepare(five, tiny(), tmp_path / "run"))
    recipe = make_recipe(json.loads((tmp_path / "run" / RECORD).read_text()), {})
    source = CropSource({"a": [], "b": []}, {"a": 1.0, "b": 1.0}, recipe)
    for seed in range(20):
        drawn = sorted(source._sources(np.random.default_rng(seed)))
        assert drawn == [0, 0, 1, 1]
    uneven = CropSource({"a": [], "b": []}, {"a": 1.0, "b": 3.0}, recipe)
    assert sorted(uneven._sources(np.random.default_rng(0))) == [0, 1, 1, 1]


def test_a_stopped_run_goes_on_and_ends_in_a_model(five, tmp_path):
    # On Linux a name may be any bytes, which Python keeps in this way.
    five = [replace(five[0], name="\udcff"), *five[1:]]
    run, straight = tmp_path / "run", tmp_path / "straight"
    settings = tiny(steps=8)
    for folder in (run, straight):
        run_job(prepare(five, settings, folder))
    with closing(fewshot(run, "cpu")) as job:
        for progress in job:
            if progress.message == "Making synthetic images" and progress.done == 1:
                break
    assert len(list((run / "synthetic" / "images").iterdir())) == 1
    with pytest.raises(ModelError, match="Nothing has been trained"):
        run_job(fewshot(run, "cpu", further=False))
    with closing(fewshot(run, "cpu")) as job:
        for progress in job:
            if progress.message == "Training, step 5 of 8":
                break
    best = run_job(fewshot(run, "cpu", further=False))
    assert best["steps"] == 5
    assert read_model(run / "few").name == "few"
    # Preparing it again with the same images changes nothing, and the run goes on.
    run_job(prepare(five, settings, run))
    result, other = run_job(fewshot(run, "cpu")), run_job(fewshot(straight, "cpu"))
    assert result["steps"] == other["steps"] == 8
    recipe = make_recipe(json.loads((run / RECORD).read_text()), {})
    ends = []
    for folder in (run, straight):
        trainer = Trainer(recipe, folder)
        assert trainer.resume()
        ends.append(trainer.average.state_dict()["head.weight"].numpy())
    np.testing.assert_allclose(*ends, rtol=1e-3, atol=1e-5)
    info = read_model(run / "few")
    assert info.modalities == (Modality.FUNDUS,)
    for words in ("5 labelled", "2 synthetic", "Held out"):
        assert words in info.card
    assert run_job(Segmenter(info, "cpu").predict(five[0].image)).mask.shape == five[0].image.shape


def test_another_run_is_not_overwritten(five, tmp_path):
    run_job(prepare(five, tiny(), tmp_path / "run"))
    for images, settings in ((five[:4], tiny()), (five, tiny(steps=7))):
        with pytest.raises(InputError, match="holds a run on other images or with other settings"):
            run_job(prepare(images, settings, tmp_path / "run"))
    with pytest.raises(InputError, match="no run to go on with"):
        run_job(fewshot(tmp_path / "nothing", "cpu"))
    mine = tmp_path / "mine" / "labelled" / "images"
    mine.mkdir(parents=True)
    (mine / "eye.png").write_bytes(b"of somebody")
    with pytest.raises(InputError, match="holds a folder 'labelled' of something else"):
        run_job(prepare(five, tiny(), tmp_path / "mine"))
    assert [path.name for path in mine.iterdir()] == ["eye.png"]
    with pytest.raises(InputError, match="is a file; name a folder"):
        run_job(prepare(five, tiny(), mine / "eye.png"))
    # What was left by a preparation that was interrupted is not learnt from.
    with closing(prepare(five, tiny(), tmp_path / "twice")) as job:
        for progress in job:
            if progress.done == 2:
                break
    run_job(prepare(five[2:], tiny(), tmp_path / "twice"))
    assert len(list((tmp_path / "twice" / "labelled" / "images").iterdir())) == 3
    record = json.loads((tmp_path / "run" / RECORD).read_text())
    for wrong in ({"name": "../../elsewhere"}, {"steps": "9"}, {"synthetic": -4}):
        (tmp_path / "run" / RECORD).write_text(json.dumps({**record, "settings": {**record["settings"], **wrong}}))
        with pytest.raises(InputError, match="is damaged"):
            run_job(fewshot(tmp_path / "run", "cpu"))
    assert not (tmp_path.parent / "elsewhere").exists()
    (tmp_path / "run" / RECORD).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        run_job(fewshot(tmp_path / "run", "cpu"))


def test_it_begins_with_a_model_at_the_scale_it_knows(five, tmp_path):
    settings = tiny(start="fundus-small", synthetic=1, steps=1)
    (tmp_path / "more").mkdir()
    for n, entry in enumerate(five[:3]):
        other = np.rint(255 * entry.image.pixels[:, ::-1]).astype(np.uint8)
        Image.fromarray(other).save(tmp_path / "more" / f"{n}.png")
    run_job(prepare(five, settings, tmp_path / "run", [tmp_path / "more"]))
    recipe = make_recipe(json.loads((tmp_path / "run" / RECORD).read_text()), {})
    assert (recipe.start, recipe.network.working_diameter, recipe.network.in_channels) == ("fundus-small", 640.0, 3)
    assert len(list((tmp_path / "run" / "unlabelled" / "images").iterdir())) == 3
    with pytest.raises(InputError, match="No training can begin with the model 'ridge'"):
        run_job(prepare(five, tiny(start="ridge"), tmp_path / "other"))


def test_tissue_is_not_taken_from_what_is_held_out_nor_from_test_images(five, tmp_path, data):
    run_job(prepare(five[:4], tiny(), tmp_path / "run", [data / "LES-AV" / "images"]))
    # The four are labelled: they are drawn on by their masks, or held out.
    kept = list((tmp_path / "run" / "unlabelled" / "images").iterdir())
    assert [path.stem[6:] for path in kept] == ["15"]
    run_job(prepare(five, tiny(), tmp_path / "none", [data / "LES-AV" / "images"]))
    with pytest.raises(InputError, match="'06_h' is the name of a test image"):
        run_job(prepare(five, tiny(), tmp_path / "other", [data / "HRF" / "images"]))
    assert not (tmp_path / "other").exists()


def test_a_labelled_image_may_show_hardly_a_vessel(tmp_path):
    labelled = []
    for seed in range(3):
        drawn = np.zeros((160, 160), np.uint8)
        cv2.line(drawn, (40, 40 + 30 * seed), (46, 40 + 30 * seed), 1, 3)
        if seed != 1:
            cv2.line(drawn, (0, 20), (159, 20 + 9 * seed), 1, 4)
        pixels = np.clip(0.6 - 0.3 * drawn + 0.01 * np.random.default_rng(seed).standard_normal(drawn.shape), 0, 1)
        image = VesselImage(pixels.astype(np.float32), modality=Modality.XRAY, content_hash=str(seed))
        labelled.append(Labelled(f"scan {seed}", image, drawn > 0))
    run_job(prepare(labelled, tiny(modality=Modality.XRAY, steps=1), tmp_path / "run"))
    with closing(fewshot(tmp_path / "run", "cpu")) as job:
        for progress in job:
            if progress.message.startswith("Reading"):
                break
    assert len(list((tmp_path / "run" / "synthetic" / "images").iterdir())) == 2


@pytest.mark.parametrize(("shape", "width"), [((100, 110), 3), ((160, 480), 16)])
def test_small_images_and_images_of_wide_vessels_have_synthetic_ones_of_their_size(tmp_path, shape, width):
    labelled = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        drawn = np.zeros(shape, np.uint8)
        for y in (shape[0] // 3, 2 * shape[0] // 3):
            cv2.line(drawn, (0, y), (shape[1], y + int(rng.integers(-20, 20))), 1, width)
        pixels = np.clip(0.6 - 0.3 * drawn + 0.05 * rng.standard_normal(shape), 0, 1).astype(np.float32)
        image = VesselImage(pixels, modality=Modality.XRAY, content_hash=str(seed))
        labelled.append(Labelled(f"scan {seed}", image, drawn > 0))
    run_job(prepare(labelled, tiny(modality=Modality.XRAY, steps=1), tmp_path / "run"))
    assert run_job(fewshot(tmp_path / "run", "cpu"))["steps"] == 1
    small = at_width(labelled[0], json.loads((tmp_path / "run" / RECORD).read_text())["working_width"])
    assert min(small.image.shape) < LEAST_SIDE
    made = [np.asarray(Image.open(path)) for path in (tmp_path / "run" / "synthetic" / "images").iterdir()]
    for picture in made:
        assert picture.shape == pytest.approx(small.image.shape, abs=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Few Shots"}, "cannot be called 'Few Shots'"),
        ({"modality": Modality.OTHER}, "images of kind 'other'"),
        ({"network": "vig"}, "no network named 'vig'"),
        ({"steps": 0}, "0 steps"),
        ({"synthetic": -1}, "-1 synthetic images"),
    ],
)
def test_settings_that_cannot_be(five, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run_job(prepare(five, tiny(**changes), tmp_path / "run"))
    assert not (tmp_path / "run").exists()
