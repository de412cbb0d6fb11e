from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vessel.errors import InputError
from napari_vessel.export.splits import Part, Split, counts_of, place_images, problems_of
from napari_vessel.images.image import Modality
from napari_vessel.images.inputs import find_inputs
from napari_vessel.jobs import run_job
from napari_vessel.review import Project
from napari_vessel.review.guard import Side, patient_of


def records(patients: dict[str, tuple[int, Modality]]):
    """So many images of each patient, all of one modality."""
    return [
        SimpleNamespace(
            id=f"{name}-{k}",
            name=f"{name}_visit{k}",
            plane=None,
            modality=modality,
            content_hash=f"{name}{k}",
            path=Path("x"),
            saved=False,
        )
        for name, (count, modality) in patients.items()
        for k in range(count)
    ]


PATIENTS = st.dictionaries(
    st.from_regex(r"p[0-9]{3}", fullmatch=True),
    st.tuples(st.integers(1, 3), st.sampled_from([Modality.FUNDUS, Modality.OCTA])),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(PATIENTS, st.integers(0, 5), st.sampled_from(["0.7,0.15,0.15", "0.5,0.5", "1", "3"]), st.randoms())
def test_no_patient_is_on_two_sides_and_the_order_has_no_say(patients, seed, text, luck):
    split = Split.parse(text, seed) if text != "1" else None
    images = records(patients)
    guards = {one.content_hash: Side(one.name.split("_")[0], one.name.startswith("p00")) for one in images}
    places = place_images(images, split, guards)
    sides: dict[str, set] = {}
    for one in images:
        sides.setdefault(one.name.split("_")[0], set()).add((places[one.id].part, places[one.id].fold))
    assert all(len(found) == 1 for found in sides.values())
    luck.shuffle(images)
    assert place_images(images, split, guards) == places
    if split is not None:
        for patient, found in sides.items():
            if patient.startswith("p00"):
                assert {part for part, _ in found} == {split.keeps_guards}


@pytest.mark.parametrize(
    ("file", "pages", "patients"), [("p07_L.tif", 1, {"p07"}), ("scan.tif", 2, {"scan", "scan_2"})]
)
def test_what_a_project_called_anew_is_still_its_patients(tmp_path, file, pages, patients):
    rng = np.random.default_rng(0)
    for visit in ("visitA", "visitB"):
        (tmp_path / visit).mkdir()
        tifffile.imwrite(tmp_path / visit / file, rng.integers(0, 255, (pages, 20, 20), np.uint8))
    with Project.create(tmp_path / "study") as project:
        for visit in ("visitA", "visitB"):
            run_job(project.add(find_inputs([tmp_path / visit])))
        images = project.images()
    assert len({one.name for one in images}) == 2 * pages
    # A side that was drawn by the new name has no say in whose the image is.
    sides = {one.content_hash: Side(patient_of(one.name, one.plane), number == 0) for number, one in enumerate(images)}
    for known in (None, sides):
        places = place_images(images, Split.parse("0.5,0.5"), known)
        assert {place.patient for place in places.values()} == patients


def test_shares_are_kept_in_each_modality():
    patients = {f"f{k:03d}": (2, Modality.FUNDUS) for k in range(20)}
    patients |= {f"o{k:03d}": (1, Modality.OCTA) for k in range(40)}
    images = records(patients)
    places = place_images(images, Split.parse("0.6,0.2,0.2", 3))
    for modality in (Modality.FUNDUS, Modality.OCTA):
        counts = Counter(places[one.id].part for one in images if one.modality is modality)
        assert counts == {Part.TRAINING: 24, Part.VALIDATION: 8, Part.TEST: 8}
    assert counts_of(places) == {"training": 48, "validation": 16, "test": 16}


def test_folds_are_as_large_as_each_other_and_another_seed_is_another_split():
    images = records({f"p{k:03d}": (1, Modality.FUNDUS) for k in range(23)})
    places = place_images(images, Split.parse("5"))
    assert sorted(Counter(place.fold for place in places.values()).values()) == [4, 4, 5, 5, 5]
    assert {place.part for place in places.values()} == {Part.TRAINING}
    assert place_images(images, Split.parse("5", 1)) != places


def test_an_image_that_is_added_changes_little():
    patients = {f"p{k:03d}": (1, Modality.FUNDUS) for k in range(50)}
    before = place_images(records(patients), Split.parse("0.7,0.15,0.15"))
    after = place_images(records(patients | {"q": (1, Modality.FUNDUS)}), Split.parse("0.7,0.15,0.15"))
    assert sum(before[one] != after[one] for one in before) < 25


def test_as_few_patients_as_parts_are_enough():
    images = records({f"p{k:03d}": (1, Modality.FUNDUS) for k in range(3)})
    split = Split.parse("0.8,0.1,0.1")
    places = place_images(images, split)
    assert {place.part for place in places.values()} == set(Part)
    assert problems_of(places, split) == []
    two = place_images(images[:2], split)
    assert problems_of(two, split) == ["No image is for test: there are too few patients for this split."]
    assert problems_of(place_images(images, Split.parse("5")), Split.parse("5"))[0].startswith("Fold ")


def test_guards_are_validated_on_when_nothing_is_tested():
    images = records({f"p{k:03d}": (1, Modality.FUNDUS) for k in range(10)})
    guards = {images[3].content_hash: Side("p003", True)}
    for text, part in (("0.8,0.2", Part.VALIDATION), ("0.6,0.2,0.2", Part.TEST), ("5", Part.TEST)):
        place = place_images(images, Split.parse(text), guards)[images[3].id]
        assert (place.part, place.fold) == (part, None)
    assert place_images(images, None, guards)[images[3].id].part is Part.TRAINING


@pytest.mark.parametrize(
    "text", ["", "0", "1", "21", "-3", "a,b", "0.5", "0.5,0.5,0.5", "0,1", "nan,0.5,0.5", "1,0,0,0"]
)
def test_what_is_no_split_is_one_sentence(text):
    with pytest.raises(InputError, match="is no split"):
        Split.parse(text)


def test_shares_need_not_be_written_to_the_last_digit():
    assert Split.parse("0.34,0.33,0.33").shares == pytest.approx((0.34, 0.33, 0.33))
    assert sum(Split.parse("0.33,0.33,0.33").shares) == pytest.approx(1)
