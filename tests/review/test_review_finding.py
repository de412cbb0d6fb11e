"""Image files that were moved or renamed: found by their content, and the review goes on."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from napari_vessel.errors import ProjectError
from napari_vessel.images.inputs import ImageInput, find_inputs
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, finding


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (30, 40), dtype=np.uint8))
    return path


@pytest.fixture
def archive(tmp_path):
    """A folder of five photographs with their fields of view, and a project elsewhere that refers to them."""
    folder = tmp_path / "archive" / "2019"
    for n in range(5):
        picture(folder / "images" / f"eye{n}.png", n)
        view = np.zeros((30, 40), np.uint8)
        view[n + 1 : 25] = 255
        (folder / "fov").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "fov" / f"eye{n}.png"), view)
    with Project.create(tmp_path / "work" / "project") as project:
        run_job(project.add(find_inputs([folder / "images"]), fov=folder / "fov"))
        project.open_session(project.images()[0].id, "ann").stroke(np.ones((3, 3), np.uint8), (5, 5))
        yield folder, project


def pixels(project):
    return [project.read_image(record.id).pixels for record in project.images()]


def test_a_renamed_folder_is_found_with_the_fields_of_view(archive):
    folder, project = archive
    before = pixels(project)
    renamed = folder.rename(folder.parent / "2019, first visit")
    for record, old in zip(project.images(), before, strict=True):
        image = project.read_image(record.id)
        assert np.array_equal(image.pixels, old)
        assert image.fov is not None
        number = int(record.name[-1])
        assert not image.fov[number].any()
        assert image.fov[number + 1].all()
        found = project.record(record.id)
        assert found.path == (renamed / "images" / f"{record.name}.png").resolve()
        assert found.fov == str((renamed / "fov" / f"{record.name}.png").resolve())
    assert project.open_session(project.images()[0].id).can_undo


def test_a_renamed_image_is_found_and_not_taken_for_another(archive):
    folder, project = archive
    record = project.images()[2]
    before = project.read_image(record.id).pixels
    renamed = (folder / "images" / "eye2.png").rename(folder / "images" / "aaa.png")
    picture(folder / "images" / "aa.png", 77)
    assert np.array_equal(project.read_image(record.id).pixels, before)
    assert project.record(record.id).path == renamed.resolve()
    assert project.record(record.id).name == "eye2"


def test_two_images_that_changed_names_are_told_apart(archive):
    folder, project = archive
    before = pixels(project)
    one, two, aside = (folder / "images" / name for name in ("eye0.png", "eye1.png", "x.png"))
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    for old, new in zip(before, pixels(project), strict=True):
        assert np.array_equal(old, new)


def test_an_image_moved_into_or_beside_the_project_is_found(archive):
    _, project = archive
    record, other = project.images()[:2]
    before = pixels(project)
    inside = project.folder / "scans" / "a.png"
    inside.parent.mkdir()
    record.path.rename(inside)
    beside = project.folder.parent / "photographs" / "eye1.png"
    beside.parent.mkdir()
    other.path.rename(beside)
    assert np.array_equal(project.read_image(record.id).pixels, before[0])
    assert project._database.rows("SELECT path FROM images WHERE id = ?", (record.id,)) == [("scans/a.png",)]
    assert project.locate(other.id).path == beside.resolve()


def test_a_page_of_a_moved_file_is_found(tmp_path):
    pages = np.random.default_rng(0).integers(0, 255, (3, 20, 30), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "stack.tif", pages, photometric="minisblack")
    with Project.create(tmp_path / "project") as project:
        records = run_job(project.add(find_inputs([tmp_path / "in" / "stack.tif"])))
        (tmp_path / "in" / "stack.tif").rename(tmp_path / "in" / "week 3.tif")
        for record, page in zip(records, pages, strict=True):
            assert np.allclose(project.read_image(record.id).pixels, page / np.float32(255))


def test_what_is_nowhere_is_named_and_found_by_adding_it(archive, tmp_path, monkeypatch):
    _, project = archive
    record = project.images()[0]
    # Farther away than is looked: below a folder that has nothing to do with images or project.
    monkeypatch.setattr(finding, "MOST_ENTRIES", 0)
    away = tmp_path / "far" / "a.png"
    away.parent.mkdir()
    record.path.rename(away)
    with pytest.raises(ProjectError, match=r"eye0\.png of eye0 has moved and was not found .* or add it again"):
        project.read_image(record.id)
    [again] = run_job(project.add([ImageInput(away, None)]))
    assert (again.id, again.name, again.path) == (record.id, "eye0", away.resolve())
    assert project.open_session(record.id).can_undo


def test_a_copy_that_was_edited_is_not_taken(archive):
    _, project = archive
    record = project.images()[0]
    picture(record.path.with_name("eye0 (edited).png"), 99)
    record.path.unlink()
    with pytest.raises(ProjectError, match="has moved and was not found"):
        project.locate(record.id)


def test_the_copy_in_an_export_is_not_taken(archive):
    _, project = archive
    record = project.images()[0]
    export = project.folder.parent / "export"
    (export / "images").mkdir(parents=True)
    record.path.rename(export / "images" / "eye0.png")
    (export / "manifest.json").write_text("{}")
    with pytest.raises(ProjectError, match="was not found"):
        project.locate(record.id)


def test_a_search_ends_in_a_large_archive(archive, monkeypatch):
    folder, project = archive
    record = project.images()[0]
    record.path.unlink()
    for n in range(30):
        (folder / "images" / f"n{n}.png").write_bytes(b"%d" % n)
    read = []
    original = finding._hash
    monkeypatch.setattr(finding, "_hash", lambda path: read.append(path) or original(path))
    monkeypatch.setattr(finding, "MOST_HASHED", 10)
    with pytest.raises(ProjectError, match="was not found"):
        project.locate(record.id)
    assert len(read) == 10
