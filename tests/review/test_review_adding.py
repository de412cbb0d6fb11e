from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile

from napari_vessel.errors import Cancelled, InputError, ProjectError
from napari_vessel.images import MaskClass, Modality, VesselImage, VesselMask
from napari_vessel.images.inputs import ImageInput, find_inputs
from napari_vessel.images.reading import read_image
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.review import ImageState, Project


@pytest.fixture
def empty(tmp_path):
    with Project.create(tmp_path / "project") as fresh:
        yield fresh


def picture(path, seed, shape=(30, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8))
    return path


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_images_come_back_in_order_with_progress(empty, tmp_path):
    for n in (10, 9, 1):
        picture(tmp_path / "in" / f"im{n}.png", n)
    seen = []
    records = run_job(empty.add(find_inputs([tmp_path / "in"])), seen.append)
    assert [r.name for r in records] == ["im1", "im9", "im10"]
    assert empty.images() == records
    assert [p.message for p in seen] == [
        "Reading im1.png",
        "Reading im9.png",
        "Reading im10.png",
        "Writing the project",
    ]
    assert all(r.state is ImageState.NEW for r in records)
    assert not empty.open_session(records[0].id).labels.any()


def test_paths_outside_are_absolute_and_inside_relative(empty, tmp_path):
    inside = picture(empty.folder / "scans" / "a.png", 1)
    outside = picture(tmp_path / "b.png", 2)
    a, b = run_job(empty.add([ImageInput(inside, None), ImageInput(outside, None)]))
    stored = dict(empty._database.rows("SELECT id, path FROM images"))
    assert stored == {a.id: "scans/a.png", b.id: str(outside.resolve())}
    assert (a.path, b.path) == (inside.resolve(), outside.resolve())
    empty.close()
    moved = empty.folder.rename(tmp_path / "moved project")
    with Project.open(moved) as project:
        assert project.read_image(a.id).shape == (30, 40)


def test_a_bad_image_among_many_adds_nothing(empty, tmp_path):
    good = picture(tmp_path / "in" / "good.png", 1)
    (tmp_path / "in" / "bad.png").write_text("this is no picture")
    masks = tmp_path / "masks"
    picture(masks / "good.png", 1)
    with pytest.raises(InputError, match=r"bad\.png"):
        run_job(empty.add([ImageInput(good, None), ImageInput(tmp_path / "in" / "bad.png", None)], masks=masks))
    assert empty.images() == []
    assert [name for name in files(empty.folder) if not name.startswith("project.")] == []


@pytest.mark.parametrize("value", [-0.1, 255.0, np.nan])
def test_pixels_that_would_not_be_read_again_are_not_saved(empty, value):
    with pytest.raises(InputError, match="scale them first"):
        run_job(empty.add([VesselImage(np.full((30, 40), value, np.float32), name="scan")]))
    assert empty.images() == []


def test_a_cancelled_job_adds_nothing(empty, tmp_path):
    inputs = [ImageInput(picture(tmp_path / f"{n}.png", n), None) for n in range(3)]
    token = CancelToken()
    mask = tmp_path / "masks"
    for n in range(3):
        picture(mask / f"{n}.png", n)
    with pytest.raises(Cancelled):
        run_job(empty.add(inputs, masks=mask), lambda p: token.cancel() if p.done == 3 else None, token)
    assert empty.images() == []
    assert not (empty.folder / "masks").exists()


def test_a_failure_while_writing_takes_back_the_files(empty, tmp_path):
    inputs = [ImageInput(picture(tmp_path / f"{n}.png", n), None) for n in range(2)]
    masks = tmp_path / "masks"
    for n in range(2):
        picture(masks / f"{n}.png", n)
    (empty.folder / "masks").mkdir()
    empty._database.rows(
        "CREATE TRIGGER stop BEFORE INSERT ON images WHEN NEW.number = 2 BEGIN SELECT RAISE(FAIL, 'x'); END"
    )
    from napari_vessel.errors import ProjectError

    with pytest.raises(ProjectError):
        run_job(empty.add(inputs, masks=masks))
    assert empty.images() == []
    assert files(empty.folder / "masks") == []


def test_the_same_content_is_one_image(empty, tmp_path):
    first = picture(tmp_path / "one" / "a.png", 1)
    same = picture(tmp_path / "two" / "b.png", 1)
    [a, b] = run_job(empty.add([ImageInput(first, None), ImageInput(same, None)]))
    [c] = run_job(empty.add([ImageInput(same, None)]))
    assert a.id == b.id == c.id
    assert len(empty.images()) == 1
    assert c.path == first.resolve()


def test_two_images_of_one_name_are_told_apart(empty, tmp_path):
    names = []
    for n, stem in enumerate(("eye", "eye", "EYE")):
        path = picture(tmp_path / str(n) / f"{stem}.png", n)
        names += [r.name for r in run_job(empty.add([ImageInput(path, None)]))]
    assert names == ["eye", "eye_2", "EYE_3"]


def test_a_name_is_a_plain_file_name(empty, tmp_path):
    path = picture(tmp_path / "..odd name (1) ü.png", 1)
    [record] = run_job(empty.add([ImageInput(path, None)]))
    assert record.name == "odd_name_1_ü"


def test_every_page_is_an_image(empty, tmp_path):
    pages = np.random.default_rng(0).integers(0, 255, (3, 20, 30), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    records = run_job(empty.add(find_inputs([tmp_path / "stack.tif"])))
    assert [(r.name, r.plane) for r in records] == [("stack_p000", 0), ("stack_p001", 1), ("stack_p002", 2)]
    assert np.allclose(empty.read_image(records[2].id).pixels, pages[2] / np.float32(255))


def test_masks_are_found_by_name_and_stored_with_their_classes(empty, tmp_path):
    picture(tmp_path / "in" / "a.png", 1)
    picture(tmp_path / "in" / "b.png", 2)
    values = np.zeros((30, 40), np.uint8)
    values[5:8, 5:30], values[15:18, 5:30] = 1, 2
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "a_mask.png"), values)
    a, b = run_job(empty.add(find_inputs([tmp_path / "in"]), masks=tmp_path / "masks"))
    assert (a.state, b.state) == (ImageState.SEGMENTED, ImageState.NEW)
    mask = empty.read_mask(a.id)
    assert [c.value for c in mask.classes] == [1, 2]
    assert np.array_equal(mask.labels > 0, values > 0)
    assert mask.rule
    assert empty.open_session(a.id).classes == mask.classes == a.classes


def test_an_image_is_never_taken_for_its_own_mask(empty, tmp_path):
    path = picture(tmp_path / "in" / "a.png", 1)
    [record] = run_job(empty.add([ImageInput(path, None)], masks=tmp_path / "in"))
    assert record.state is ImageState.NEW


def test_a_mask_of_another_size_is_refused(empty, tmp_path):
    path = picture(tmp_path / "a.png", 1)
    with pytest.raises(InputError, match=r"\(5, 5\)"):
        run_job(empty.add([ImageInput(path, None)], masks=VesselMask(np.zeros((5, 5), np.uint8))))
    picture(tmp_path / "masks" / "a.png", 1, (6, 6))
    with pytest.raises(InputError):
        run_job(empty.add([ImageInput(path, None)], masks=tmp_path / "masks"))
    assert empty.images() == []


def test_one_mask_for_two_images_is_refused(empty, tmp_path):
    inputs = [ImageInput(picture(tmp_path / f"{n}.png", n), None) for n in range(2)]
    with pytest.raises(InputError, match="One mask was given for 2 images"):
        run_job(empty.add(inputs, masks=VesselMask(np.zeros((30, 40), np.uint8))))


def test_one_mask_file_for_two_images_is_refused(empty, tmp_path):
    inputs = [ImageInput(picture(tmp_path / f"{n}.png", n), None) for n in range(2)]
    cv2.imwrite(str(tmp_path / "mask.png"), np.eye(30, 40, dtype=np.uint8) * 255)
    with pytest.raises(InputError, match=r"One mask, .*mask\.png, was given for 2 images"):
        run_job(empty.add(inputs, masks=tmp_path / "mask.png"))
    assert empty.images() == []


def test_a_stack_of_masks_goes_page_by_page(empty, tmp_path):
    pages = np.random.default_rng(0).integers(0, 255, (3, 30, 40), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    masks = np.zeros((3, 30, 40), np.uint8)
    masks[0, 5], masks[1, 15], masks[2, 25] = 255, 255, 255
    tifffile.imwrite(tmp_path / "masks.tif", masks, photometric="minisblack")
    records = run_job(empty.add(find_inputs([tmp_path / "stack.tif"]), masks=tmp_path / "masks.tif"))
    for record, mask in zip(records, masks, strict=True):
        assert np.array_equal(empty.read_mask(record.id).mask, mask > 0)


def test_a_mask_given_later_is_taken_unless_there_is_work(empty, tmp_path):
    path = picture(tmp_path / "a.png", 1)
    [record] = run_job(empty.add([ImageInput(path, None)]))
    ones = VesselMask(np.ones((30, 40), np.uint8), (MaskClass(1, 7, "vein"),), "all 7")
    run_job(empty.add([ImageInput(path, None)], masks=ones))
    assert empty.read_mask(record.id).labels.all()
    assert empty.record(record.id).classes == ones.classes
    assert empty.record(record.id).state is ImageState.SEGMENTED
    run_job(empty.add([ImageInput(path, None)], masks=VesselMask(np.zeros((30, 40), np.uint8))))
    assert empty.read_mask(record.id).labels.all()


def test_a_mask_given_later_is_not_taken_under_edits_that_were_taken_back(empty, tmp_path):
    path = picture(tmp_path / "a.png", 1)
    [record] = run_job(empty.add([ImageInput(path, None)]))
    session = empty.open_session(record.id)
    session.stroke(np.ones((2, 2), np.uint8), (3, 3))
    session.undo()
    run_job(empty.add([ImageInput(path, None)], masks=VesselMask(np.ones((30, 40), np.uint8))))
    assert not empty.read_mask(record.id).labels.any()
    session.redo()
    assert np.array_equal(empty.open_session(record.id).labels, session.labels)
    assert session.labels.sum() == 4


def test_a_session_knows_that_its_image_was_given_a_mask(empty, tmp_path):
    path = picture(tmp_path / "a.png", 1)
    [record] = run_job(empty.add([ImageInput(path, None)]))
    session = empty.open_session(record.id)
    run_job(empty.add([ImageInput(path, None)], masks=VesselMask(np.ones((30, 40), np.uint8))))
    assert not session.is_current()
    with pytest.raises(ProjectError, match="changed elsewhere"):
        session.stroke(np.ones((2, 2), np.uint8), (3, 3))
    assert empty.open_session(record.id).labels.all()


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3)])
def test_an_array_is_saved_in_the_project(empty, shape):
    pixels = np.random.default_rng(0).random(shape, np.float32)
    fov = np.zeros((30, 40), bool)
    fov[5:25] = True
    image = VesselImage(pixels, fov, Modality.OCTA, (5.7, 5.7), content_hash="ab" * 32, notes=("as it was",))
    [record] = run_job(empty.add([image]))
    assert (record.saved, record.name, record.modality) == (True, "ab" * 6, Modality.OCTA)
    empty.close()
    with Project.open(empty.folder) as project:
        found = project.read_image(record.id)
        assert np.array_equal(found.pixels, pixels)
        assert np.array_equal(found.fov, fov)
        assert (found.spacing, found.notes, found.modality) == ((5.7, 5.7), ("as it was",), Modality.OCTA)
        assert found.content_hash == record.content_hash
        [again] = run_job(project.add([image]))
        assert again.id == record.id


def test_an_image_in_memory_is_referred_to_only_while_its_file_has_the_same_content(empty, tmp_path):
    image = read_image(picture(tmp_path / "a.png", 1))
    [record] = run_job(empty.add([image]))
    assert not record.saved
    assert record.path == (tmp_path / "a.png").resolve()
    other = read_image(picture(tmp_path / "b.png", 2))
    picture(tmp_path / "b.png", 3)
    [record] = run_job(empty.add([other]))
    assert record.saved
    assert np.array_equal(empty.read_image(record.id).pixels, other.pixels)


def test_a_field_of_view_file_is_remembered(empty, tmp_path):
    path = picture(tmp_path / "in" / "a.png", 1)
    fov = np.zeros((30, 40), np.uint8)
    fov[4:20] = 255
    (tmp_path / "fov").mkdir()
    cv2.imwrite(str(tmp_path / "fov" / "a_fov.png"), fov)
    [record] = run_job(empty.add([ImageInput(path, None)], fov=tmp_path / "fov"))
    assert np.array_equal(empty.read_image(record.id).fov, fov > 0)
    (tmp_path / "fov" / "a_fov.png").unlink()
    from napari_vessel.errors import ProjectError

    with pytest.raises(ProjectError, match=r"a_fov\.png of a has moved"):
        empty.read_image(record.id)


def test_a_missing_field_of_view_file_is_named(empty, tmp_path):
    path = picture(tmp_path / "in" / "a.png", 1)
    (tmp_path / "fov").mkdir()
    with pytest.raises(InputError, match=r"no field-of-view file for a\.png"):
        run_job(empty.add([ImageInput(path, None)], fov=tmp_path / "fov"))


def test_the_modality_is_the_one_given(empty, tmp_path):
    path = picture(tmp_path / "a.png", 1)
    [record] = run_job(empty.add([ImageInput(path, None)], modality=Modality.TWOPHOTON))
    assert record.modality is Modality.TWOPHOTON
    assert empty.read_image(record.id).modality is Modality.TWOPHOTON


def test_one_file_is_never_the_mask_of_two_images(empty, tmp_path):
    pair = [ImageInput(picture(tmp_path / "in" / f"01_{name}.png", n)) for n, name in enumerate(("dr", "h"))]
    masks = tmp_path / "masks"
    masks.mkdir()
    cv2.imwrite(str(masks / "01_manual1.png"), np.eye(30, 40, dtype=np.uint8) * 255)
    with pytest.raises(InputError, match="and of another image"):
        run_job(empty.add(pair, masks=masks))
    assert empty.images() == []
