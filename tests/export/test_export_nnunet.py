from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import tifffile
from skimage import io

from napari_vessel.completion import propose_gaps
from napari_vessel.errors import Cancelled, InputError, ProjectError
from napari_vessel.export import ExportOptions, Split, check_project, export_project
from napari_vessel.export.nnunet import case_names, dataset_name
from napari_vessel.images import MaskClass, VesselImage, VesselMask
from napari_vessel.images.inputs import ImageInput, find_inputs
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.review import ImageState, Project, Verdict
from napari_vessel.review.fragments import FragmentVerdict, find_fragments
from napari_vessel.review.origins import Origin
from napari_vessel.synthesis.samples import make_sample

SHAPE = (32, 40)
AV = (MaskClass(1, 10, "artery"), MaskClass(2, 20, "vein"))


def export_folder(project, out, **options):
    return export_project(project, out, "folder", ExportOptions(**options))


def export_nnunet(project, out, **options):
    return export_project(project, out, "nnunet", ExportOptions(**options))


def check_nnunet(project):
    return check_project(project, None, "nnunet")


def random_pixels(seed, *shape, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape or SHAPE, dtype=dtype, endpoint=True)


def stripes(*labels):
    mask = np.zeros(SHAPE, np.uint8)
    for row, label in enumerate(labels):
        mask[4 + 6 * row : 7 + 6 * row, 5:30] = label
    return mask


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "project", "Étude n° 7") as fresh:
        yield fresh


@pytest.fixture
def add(project, tmp_path):
    """Add a file of these values with a finished mask; return its record."""

    def add_one(name, values, labels=None, classes=None, suffix=".png", state=ImageState.DONE):
        path = tmp_path / "in" / f"{name}{suffix}"
        path.parent.mkdir(exist_ok=True)
        if suffix == ".tif":
            tifffile.imwrite(path, values, photometric="rgb" if values.ndim == 3 else "minisblack")
        else:
            io.imsave(path, values, check_contrast=False)
        mask = VesselMask(stripes(1) if labels is None else labels, classes or (MaskClass(1, 255, "vessel"),))
        [record] = run_job(project.add([ImageInput(path, None)], masks=mask))
        project.set_state(record.id, state)
        return record

    return add_one


def export(project, tmp_path, **options):
    out = run_job(export_nnunet(project, tmp_path / "nnUNet_raw", **options))
    return out, json.loads((out / "dataset.json").read_text(encoding="utf-8"))


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def left(tmp_path):
    return sorted(p.name for p in tmp_path.iterdir())


def test_colour_photographs_become_a_data_set_by_the_rules(project, add, tmp_path, faults):
    pixels = {name: random_pixels(n, *SHAPE, 3) for n, name in enumerate(("eye_1", "eye_2"))}
    for name, values in pixels.items():
        add(name, values)
    add("later", random_pixels(9, *SHAPE, 3), state=ImageState.IN_REVIEW)
    out, data = export(project, tmp_path, dataset_id=7, name="Eyes", licence="CC BY 4.0")
    assert faults(out) == []
    assert out == (tmp_path / "nnUNet_raw" / "Dataset007_Eyes").resolve()
    assert files(out) == [
        "dataset.json",
        "imagesTr/eye_1_0000.png",
        "imagesTr/eye_2_0000.png",
        "labelsTr/eye_1.png",
        "labelsTr/eye_2.png",
        "manifest.json",
    ]
    assert data["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    assert (data["labels"], data["numTraining"]) == ({"background": 0, "vessel": 1}, 2)
    assert data["licence"] == "CC BY 4.0"
    for name, values in pixels.items():
        assert np.array_equal(io.imread(out / "imagesTr" / f"{name}_0000.png"), values)
        assert np.array_equal(io.imread(out / "labelsTr" / f"{name}.png"), stripes(1))


def test_grey_images_have_one_channel(project, add, tmp_path, faults):
    values = random_pixels(0)
    add("scan", values)
    out, data = export(project, tmp_path)
    assert faults(out) == []
    assert out.name == "Dataset100_Etude_n_7"
    assert data["channel_names"] == {"0": "grey"}
    assert np.array_equal(io.imread(out / "imagesTr" / "scan_0000.png"), values)


def test_a_grey_image_beside_colour_has_three_equal_channels(project, add, tmp_path, faults):
    grey = random_pixels(0)
    add("grey", grey)
    add("colour", random_pixels(1, *SHAPE, 3))
    assert any("1 of 2 images are grey" in note for note in run_job(check_nnunet(project)))
    out, data = export(project, tmp_path)
    assert faults(out) == []
    assert len(data["channel_names"]) == 3
    written = io.imread(out / "imagesTr" / "grey_0000.png")
    assert all(np.array_equal(written[..., channel], grey) for channel in range(3))


@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 3)])
def test_sixteen_bits_stay_sixteen_bits(project, add, tmp_path, faults, shape):
    deep, flat = random_pixels(0, *shape, dtype=np.uint16), random_pixels(1, *shape)
    add("deep", deep, suffix=".tif")
    add("flat", flat)
    assert any("deep has more than 8 bits" in note for note in run_job(check_nnunet(project)))
    out, data = export(project, tmp_path)
    assert faults(out) == []
    assert data["file_ending"] == ".tif"
    assert np.array_equal(io.imread(out / "imagesTr" / "deep_0000.tif"), deep)
    assert np.array_equal(io.imread(out / "imagesTr" / "flat_0000.tif"), flat)
    assert np.array_equal(io.imread(out / "labelsTr" / "flat.tif"), stripes(1))


def test_twelve_bits_in_sixteen_keep_their_values(project, add, tmp_path):
    values = (random_pixels(3, dtype=np.uint16) >> 4).astype(np.uint16)
    values[0, 0] = 4095
    add("scan", values, suffix=".tif")
    out, _ = export(project, tmp_path)
    assert np.array_equal(io.imread(out / "imagesTr" / "scan_0000.tif"), values)


def test_floats_pages_and_arrays(project, tmp_path, faults):
    rng = np.random.default_rng(4)
    floats = rng.random(SHAPE, np.float32) * 40 - 3
    floats[2, 3] = np.nan
    pages = random_pixels(5, 2, *SHAPE)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "float.tif", floats)
    tifffile.imwrite(tmp_path / "in" / "stack.tif", pages, photometric="minisblack")
    array = VesselImage(random_pixels(6) / np.float32(255), content_hash="cd" * 32, name="from layer")
    for record in run_job(project.add([*find_inputs([tmp_path / "in"]), array])):
        project.open_session(record.id).set_segmentation(stripes(1), "drawn")
        project.set_state(record.id, ImageState.DONE)
    out, data = export(project, tmp_path)
    assert faults(out) == []
    assert data["numTraining"] == 4
    assert sorted(p.name for p in (out / "labelsTr").iterdir()) == [
        "float.tif",
        "from_layer.tif",
        "stack_p000.tif",
        "stack_p001.tif",
    ]
    good = np.isfinite(floats)
    written = io.imread(out / "imagesTr" / "float_0000.tif")
    assert written.dtype == np.float32
    # Stretched to 0-1, which nnU-Net's own z-scores do not notice.
    low, high = floats[good].min(), floats[good].max()
    assert np.allclose(written[good], (floats[good] - low) / (high - low), atol=1e-6)
    assert np.array_equal(io.imread(out / "imagesTr" / "stack_p001_0000.tif"), pages[1])
    assert np.array_equal(io.imread(out / "imagesTr" / "from_layer_0000.tif"), random_pixels(6))


def test_classes_are_numbered_by_name_whatever_the_image_numbers_them(project, add, tmp_path, faults):
    add("a", random_pixels(0), stripes(1, 2), AV)
    add("b", random_pixels(1), stripes(1, 2), (MaskClass(1, 5, "vein"), MaskClass(2, 9, "artery")))
    add("c", random_pixels(2), stripes(2), (MaskClass(1, 7, "class 7"), MaskClass(2, 12, "class 12")))
    out, data = export(project, tmp_path)
    assert faults(out) == []
    assert data["labels"] == {"background": 0, "artery": 1, "vein": 2, "class 12": 3}
    for name, expected in (("a", stripes(1, 2)), ("b", stripes(2, 1)), ("c", stripes(3))):
        assert np.array_equal(io.imread(out / "labelsTr" / f"{name}.png"), expected)


def test_vessel_beside_other_classes_is_a_thing_to_know(project, add):
    add("a", random_pixels(0), stripes(1, 2), AV)
    assert not any("different things" in note for note in run_job(check_nnunet(project)))
    add("b", random_pixels(1))
    assert any("class vessel, others artery, vein" in note for note in run_job(check_nnunet(project)))


def test_an_unsure_gap_becomes_ignore(project, tmp_path, faults):
    sample = make_sample("octa", 2)
    values = np.round(sample.image.pixels * 255).astype(np.uint8)
    (tmp_path / "in").mkdir()
    io.imsave(tmp_path / "in" / "scan.png", values, check_contrast=False)
    mask = VesselMask(sample.broken.astype(np.uint8))
    [record] = run_job(project.add([ImageInput(tmp_path / "in" / "scan.png", None)], masks=mask))
    session = project.open_session(record.id)
    session.set_gaps(propose_gaps(sample.broken, sample.image))
    unsure, rejected, accepted = session.open_gaps[:3]
    for gap, verdict in ((rejected, Verdict.REJECTED), (accepted, Verdict.ACCEPTED)):
        session.decide(gap.id, verdict)
    project.set_state(record.id, ImageState.DONE)
    _, plain = export(project, tmp_path)
    assert "ignore" not in plain["labels"]

    before = session.labels.copy()
    session.decide(unsure.id, Verdict.UNSURE)
    project.set_state(record.id, ImageState.DONE)
    assert any("unsure" in note and "ignore" in note for note in run_job(check_nnunet(project)))
    out, data = export(project, tmp_path)
    assert faults(out) == []
    assert data["labels"] == {"background": 0, "vessel": 1, "ignore": 2}
    labels = io.imread(out / "labelsTr" / "scan.png")
    assert np.array_equal(labels == 2, run_job(project.origins(record.id)).pixels == Origin.UNSURE)
    session.decide(unsure.id, Verdict.ACCEPTED)
    # What accepting would have drawn, and nothing else.
    assert np.array_equal(labels == 2, session.labels != before)
    assert np.array_equal(labels == 1, before > 0)
    [entry] = json.loads((out / "manifest.json").read_text())["images"]
    assert entry["ignored_px"] == np.count_nonzero(labels == 2) > 0


def test_an_unsure_fragment_becomes_ignore_while_it_is_the_one_that_was_looked_at(project, add, tmp_path, faults):
    labels = stripes(1)
    labels[20:22, 5:9] = labels[26:28, 5:9] = labels[20:23, 30:34] = 1
    record = add("a", random_pixels(0), labels)
    session = project.open_session(record.id, "bob")
    found = {one.point: one for one in run_job(find_fragments(session.components.labels))}
    session.decide_fragment(found[20, 5], FragmentVerdict.UNSURE)
    session.decide_fragment(found[26, 5], FragmentVerdict.KEPT)
    session.decide_fragment(found[20, 30], FragmentVerdict.UNSURE)
    # Painted on since: nobody has said anything about what is there now.
    session.stroke(np.ones((1, 1), np.uint8), (23, 30))
    project.set_state(record.id, ImageState.DONE)
    assert any("1 image with unsure places" in note for note in run_job(check_nnunet(project)))
    out, data = export(project, tmp_path)
    assert faults(out) == []
    assert data["labels"]["ignore"] == 2
    written = io.imread(out / "labelsTr" / "a.png")
    ignored = np.zeros(SHAPE, bool)
    ignored[20:22, 5:9] = True
    assert np.array_equal(written == 2, ignored)
    assert np.array_equal(ignored, run_job(project.origins(record.id)).pixels == Origin.UNSURE)
    assert np.array_equal(written == 1, (session.labels > 0) & ~ignored)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["counts"]["fragments"] == {"kept": 1, "deleted": 0, "unsure": 1, "skipped": 0}
    [entry] = manifest["images"]
    assert (entry["fragments"], entry["ignored_px"]) == (manifest["counts"]["fragments"], 8)
    assert entry["annotators"] == ["bob"]


def test_the_class_uncertain_becomes_ignore(project, add, tmp_path, faults):
    classes = (MaskClass(1, (255, 0, 0), "artery"), MaskClass(2, (0, 0, 255), "vein"))
    add("a", random_pixels(0), stripes(1, 2, 3), (*classes, MaskClass(3, (255, 255, 255), "uncertain")))
    add("b", random_pixels(1), stripes(1, 2), classes)
    out, data = export(project, tmp_path)
    assert faults(out) == []
    assert data["labels"] == {"background": 0, "artery": 1, "vein": 2, "ignore": 3}
    assert np.array_equal(io.imread(out / "labelsTr" / "a.png"), stripes(1, 2, 3))


def test_empty_masks_alone_are_a_data_set_of_background(project, add, tmp_path, faults):
    record = add("a", random_pixels(0))
    project.open_session(record.id).set_segmentation(np.zeros(SHAPE, bool), "nothing")
    project.set_state(record.id, ImageState.DONE)
    out, data = export(project, tmp_path)
    assert faults(out) == []
    assert data["labels"] == {"background": 0, "vessel": 1}


def test_names_are_made_plain_and_stay_different():
    assert case_names(["eye 1 (OD)", "eye_1_OD", "Müller.2", "Eye_1_od", "血管", "_"]) == [
        "eye_1_OD",
        "eye_1_OD_2",
        "Muller_2",
        "Eye_1_od_3",
        "image",
        "image_2",
    ]
    assert (dataset_name("Étude n° 7"), dataset_name("血管")) == ("Etude_n_7", "Vessels")


def test_changed_names_are_told_and_the_manifest_has_both(project, add, tmp_path, faults):
    add("Müller.1", random_pixels(0))
    add("Muller_1", random_pixels(1))
    [note] = [note for note in run_job(check_nnunet(project)) if "will be called" in note]
    assert note.startswith("Müller.1 and 1 more will be called Muller_1")
    out, _ = export(project, tmp_path)
    assert faults(out) == []
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert {entry["mask"]: entry["name"] for entry in manifest["images"]} == {
        "labelsTr/Muller_1.png": "Müller.1",
        "labelsTr/Muller_1_2.png": "Muller_1",
    }


def test_the_check_lists_what_is_wrong_and_writes_nothing(project, add, tmp_path):
    for number in range(5):
        add(f"scan_{number}", random_pixels(number))
    assert run_job(check_nnunet(project)) == []
    add("late", random_pixels(7), state=ImageState.SEGMENTED)
    (tmp_path / "in" / "scan_1.png").unlink()
    io.imsave(tmp_path / "in" / "scan_2.png", random_pixels(8), check_contrast=False)
    notes = run_job(check_nnunet(project))
    assert sum("scan_1" in note for note in notes) == 1
    assert any(note.startswith("scan_2: ") and "has changed" in note for note in notes)
    assert any("1 of 6 images is left out" in note for note in notes)
    assert any("3 images are fewer than the 5" in note for note in notes)
    assert left(tmp_path) == ["in", "project"]
    with pytest.raises(ProjectError, match="has moved"):
        export(project, tmp_path)
    assert left(tmp_path) == ["in", "project"]


def test_a_split_without_validation_has_no_file_to_copy(project, add, tmp_path):
    for number in range(3):
        add(f"scan_{number}", random_pixels(number))
    options = ExportOptions(split=Split.parse("0.7,0,0.3"))
    notes = run_job(check_project(project, None, "nnunet", options))
    assert notes == ["2 images are fewer than the 5 that nnU-Net needs for its cross-validation."]
    out, _ = export(project, tmp_path, split=options.split)
    assert not (out / "splits_final.json").exists()


def test_nothing_to_export_is_a_sentence(project, add, tmp_path):
    add("a", random_pixels(0), state=ImageState.IN_REVIEW)
    assert run_job(check_nnunet(project))[0].startswith("There is nothing to export")
    with pytest.raises(ProjectError, match=r"no image is done \(1 in review\); finish one"):
        export(project, tmp_path)


def test_only_an_own_untouched_data_set_is_replaced(project, add, tmp_path, faults):
    add("a", random_pixels(0))
    add("b", random_pixels(1), state=ImageState.IN_REVIEW)
    export(project, tmp_path, states=tuple(ImageState))
    out, _ = export(project, tmp_path)
    assert faults(out) == []
    assert [p.name for p in (out / "labelsTr").iterdir()] == ["a.png"]
    assert left(tmp_path / "nnUNet_raw") == [out.name]
    text = (out / "dataset.json").read_text(encoding="utf-8")
    (out / "dataset.json").write_text(text.replace("grey", "OCTA"), encoding="utf-8")
    with pytest.raises(InputError, match=r"dataset\.json in .* was changed after its export"):
        export(project, tmp_path)
    assert "OCTA" in (out / "dataset.json").read_text(encoding="utf-8")


def test_a_number_that_is_taken_is_refused(project, add, tmp_path):
    add("a", random_pixels(0))
    (tmp_path / "nnUNet_raw" / "Dataset100_Theirs").mkdir(parents=True)
    with pytest.raises(InputError, match="Dataset100_Theirs with the number 100"):
        export(project, tmp_path)
    out, _ = export(project, tmp_path, dataset_id=101)
    assert left(tmp_path / "nnUNet_raw") == ["Dataset100_Theirs", out.name]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dataset_id": 0}, "from 1 to 999"),
        ({"dataset_id": 1000}, "from 1 to 999"),
        ({"name": "../away"}, "only letters"),
        ({"name": "two words"}, "only letters"),
    ],
)
def test_a_number_or_name_that_cannot_be_is_refused(project, add, tmp_path, options, match):
    add("a", random_pixels(0))
    with pytest.raises(InputError, match=match):
        export(project, tmp_path, **options)
    assert left(tmp_path) == ["in", "project"]


def test_a_data_set_is_not_put_into_another_export(project, add, tmp_path):
    add("a", random_pixels(0))
    out, _ = export(project, tmp_path)
    plain = run_job(export_folder(project, tmp_path / "plain"))
    for folder in (out, plain):
        before = files(folder)
        with pytest.raises(InputError, match="choose the folder that holds the data sets"):
            run_job(export_nnunet(project, folder))
        assert files(folder) == before


@pytest.mark.parametrize("step", [1, 2])
def test_a_cancelled_export_leaves_nothing(project, add, tmp_path, step):
    add("a", random_pixels(0))
    add("b", random_pixels(1))
    token = CancelToken()
    with pytest.raises(Cancelled):
        run_job(
            export_nnunet(project, tmp_path / "nnUNet_raw"),
            lambda progress: token.cancel() if progress.done == step else None,
            token,
        )
    assert left(tmp_path) == ["in", "project"]


def test_the_rules_find_what_breaks_them(project, add, tmp_path, faults):
    add("a", random_pixels(0))
    out, data = export(project, tmp_path)

    def after(file, change):
        kept = file.read_bytes()
        change(file)
        found = faults(out)
        file.write_bytes(kept)
        return found

    def says(**changes):
        return after(out / "dataset.json", lambda file: file.write_text(json.dumps(data | changes)))

    assert faults(out) == []
    assert says(numTraining=2) == ["1 cases, numTraining 2"]
    assert says(labels={"background": 0, "vessel": 2}) != []
    assert says(labels={"background": 0, "ignore": 1, "vessel": 2}) == ["ignore is not the highest label"]
    assert says(channel_names={"0": "R", "1": "G"}) == ["a: 1 channels"]
    label, image = out / "labelsTr" / "a.png", out / "imagesTr" / "a_0000.png"
    assert "unexpected labels [255.0]" in after(label, lambda f: cv2.imwrite(str(f), stripes(255)))[0]
    assert "shapes" in after(image, lambda f: cv2.imwrite(str(f), random_pixels(1, 30, 40)))[0]
    assert after(label, lambda f: f.unlink()) == ["label files and cases differ"]
