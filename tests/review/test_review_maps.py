"""The maps beside an image: kept, forgotten, set aside, and projects from before there was what there is now."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from napari_vessel.errors import InputError, ProjectError
from napari_vessel.jobs import run_job
from napari_vessel.review import ImageState, Project, Verdict, restore_project
from napari_vessel.review.backup import BACKUP_NAME
from napari_vessel.review.samples import training_samples
from napari_vessel.review.schema import APPLICATION_ID, DATABASE_NAME, SCHEMA_VERSION

INFO = {"model": "fundus-vig", "device": "cpu"}


def completion_map():
    return np.random.default_rng(3).random((50, 80), np.float32)


def make_older(folder: Path, wanted: int = 1) -> None:
    """Turn a closed project's database into one of an older version: without what came with the later ones."""
    connection = sqlite3.connect(folder / DATABASE_NAME)
    for index in ("edits_by_kind", "verdicts_by_kind"):
        connection.execute(f"DROP INDEX {index}")
    tables = ["current_versions", "versions", "guards"]
    if wanted < 3:
        tables += ["completions", "snapshots", "fragments"]
        connection.execute("ALTER TABLE edits DROP COLUMN fragments")
    for table in tables:
        connection.execute(f"DROP TABLE {table}")
    connection.execute(f"PRAGMA user_version={wanted}")
    connection.commit()
    connection.close()


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return int(found)


def test_completion_comes_back_exactly_also_in_another_place(project, tmp_path):
    image_id = project.images()[0].id
    assert project.completion(image_id) is None
    assert project.completion_info(image_id) == {}
    project.store_completion(image_id, completion_map(), INFO)
    project.close()
    shutil.move(project.folder, tmp_path / "elsewhere")
    with Project.open(tmp_path / "elsewhere") as again:
        found = again.completion(image_id)
        assert found.dtype == np.float32
        assert np.array_equal(found, completion_map())
        assert again.completion_info(image_id) == {**INFO, "used": True}
        assert again.probability(image_id) is None, "an image with a mask from elsewhere has no probability map"
        assert again.record(image_id).model == ""


def test_segmenting_anew_forgets_the_completion(project):
    image_id = project.images()[0].id
    project.store_probability(image_id, np.zeros((50, 80), np.float32), {"model": "ridge"})
    project.store_completion(image_id, completion_map(), INFO)
    assert project.probability(image_id) is not None
    assert project.completion(image_id) is not None
    project.store_probability(image_id, np.ones((50, 80), np.float32), {"model": "ridge"})
    assert project.completion(image_id) is None
    assert project.completion_info(image_id) == {}


def files(project):
    found = [path for room in ("probability", "completion") for path in (project.folder / room).glob("*")]
    return sorted(path.relative_to(project.folder).as_posix() for path in found)


def test_the_file_of_a_map_goes_when_the_backup_names_another(project):
    image_id = project.images()[0].id
    for value in (0, 1):
        project.store_probability(image_id, np.full((50, 80), value, np.float32), {"model": "ridge"})
        for _ in range(2):
            project.store_completion(image_id, completion_map(), INFO)
    project.close()
    assert [name.partition("/")[0] for name in files(project)] == ["completion", "probability"]
    kept = files(project)
    with Project.open(project.folder) as again:
        again.store_probability(image_id, np.ones((50, 80), np.float32), {"model": "ridge"})
        assert set(kept) < set(files(again)), "the backup names them"
    assert [name.partition("/")[0] for name in files(project)] == ["probability"]
    assert not set(kept) & set(files(project))


def test_the_maps_of_a_backup_are_there_when_it_is_restored(project):
    image_id = project.images()[0].id
    project.store_probability(image_id, completion_map(), {"model": "ridge"})
    project.store_completion(image_id, completion_map() / 2, INFO)
    project.close()
    with Project.open(project.folder) as again:
        again.store_probability(image_id, np.zeros((50, 80), np.float32), {"model": "ridge"})
        again._database._connection.close()  # it dies, and its disk with it
    (project.folder / DATABASE_NAME).write_bytes(bytes(8192))
    restore_project(project.folder)
    with Project.open(project.folder) as back:
        assert np.array_equal(back.probability(image_id), completion_map())
        assert np.array_equal(back.completion(image_id), completion_map() / 2)


def test_the_maps_of_a_copy_from_before_a_newer_format_are_kept(project):
    image_id = project.images()[0].id
    project.store_probability(image_id, completion_map(), {"model": "ridge"})
    project.close()
    make_older(project.folder)
    with Project.open(project.folder) as again:
        again.store_probability(image_id, np.zeros((50, 80), np.float32), {"model": "ridge"})
    assert len(files(project)) == 2
    for name in (BACKUP_NAME, DATABASE_NAME):
        (project.folder / name).unlink()
    assert restore_project(project.folder)[0].name == "project.v1.sqlite"
    with Project.open(project.folder) as back:
        assert np.array_equal(back.probability(image_id), completion_map())


def test_no_map_goes_without_a_new_backup(project, monkeypatch):
    from napari_vessel.review import schema

    def full(*_):
        raise OSError("disk full")

    image_id = project.images()[0].id
    project.store_probability(image_id, completion_map(), {"model": "ridge"})
    project.close()
    monkeypatch.setattr(schema, "copy_database", full)
    with Project.open(project.folder) as again:
        again.store_probability(image_id, completion_map(), {"model": "ridge"})
    assert len(files(project)) == 2


def test_a_missing_map_is_none_and_said_once(project, caplog):
    image_id = project.images()[0].id
    project.store_probability(image_id, completion_map(), {"model": "ridge"})
    (path,) = (project.folder / "probability").iterdir()
    path.unlink()
    assert [project.probability(image_id) for _ in range(3)] == [None] * 3
    (said,) = caplog.messages
    assert path.name in said
    assert "segment the image again" in said


@pytest.mark.parametrize("kind", ["probability", "completion"])
def test_a_map_whose_row_is_not_written_changes_nothing(project, kind):
    image_id = project.images()[0].id
    store = {"probability": project.store_probability, "completion": project.store_completion}[kind]
    read = {"probability": project.probability, "completion": project.completion}[kind]
    store(image_id, completion_map(), INFO)
    before = files(project)
    project._database.rows("PRAGMA query_only=1")
    with pytest.raises(ProjectError, match="cannot be written"):
        store(image_id, completion_map() / 2, {"model": "other"})
    assert files(project) == before
    assert np.array_equal(read(image_id), completion_map())


def test_a_map_that_is_replaced_while_it_is_read_is_read_to_its_end(project, monkeypatch):
    from napari_vessel.review import maps

    image_id = project.images()[0].id
    project.store_completion(image_id, completion_map(), INFO)
    real = maps.read_tiff

    def late(path, *remedy):
        monkeypatch.setattr(maps, "read_tiff", real)
        project.store_completion(image_id, completion_map() / 2, INFO)
        return real(path, *remedy)

    monkeypatch.setattr(maps, "read_tiff", late)
    assert np.array_equal(project.completion(image_id), completion_map())
    assert np.array_equal(project.completion(image_id), completion_map() / 2)


def test_nothing_but_maps_is_swept(project):
    image_id = project.images()[0].id
    project.store_completion(image_id, completion_map(), INFO)
    own = project.folder / "completion" / "mine.tif"
    own.write_bytes(b"kept")
    elsewhere = project.folder / "images" / "0123456789ab.tif"
    elsewhere.parent.mkdir(exist_ok=True)
    elsewhere.write_bytes(b"kept")
    with contextlib.suppress(OSError):  # Windows does not let everybody make links
        (project.folder / "probability").symlink_to(elsewhere.parent, target_is_directory=True)
    project.close()
    assert own.read_bytes() == elsewhere.read_bytes() == b"kept"


def test_a_completion_set_aside_is_kept(project):
    image_id = project.images()[0].id
    project.store_completion(image_id, completion_map(), INFO)
    project.use_completion(image_id, False)
    assert project.completion(image_id) is None
    assert project.completion_info(image_id) == {**INFO, "used": False}
    project.use_completion(image_id, True)
    assert np.array_equal(project.completion(image_id), completion_map())
    project.use_completion(image_id, False)
    project.store_completion(image_id, completion_map() / 2, INFO)
    assert np.array_equal(project.completion(image_id), completion_map() / 2), "a new one is used at once"


def test_a_file_without_a_row_is_never_read(project):
    image_id = project.images()[0].id
    project.store_completion(image_id, completion_map(), INFO)
    project._database.rows("DELETE FROM completions")
    assert len(files(project)) == 1
    assert project.completion(image_id) is None


def test_what_does_not_fit_is_a_sentence(project):
    image_id = project.images()[0].id
    with pytest.raises(InputError, match="shape"):
        project.store_completion(image_id, completion_map()[:3], INFO)
    project.store_completion(image_id, completion_map(), INFO)
    (project.folder / files(project)[0]).write_bytes(b"II*\0garbage")
    with pytest.raises(ProjectError, match=rf"{files(project)[0]} (does not fit|is missing or damaged)"):
        project.completion(image_id)
    project._database.rows("UPDATE completions SET path = '../p.tif'")
    with pytest.raises(ProjectError, match="outside itself"):
        project.completion(image_id)


def test_an_older_project_is_brought_up_and_a_copy_of_it_kept(project, gaps):
    image_id = project.images()[0].id
    project.store_probability(image_id, np.zeros((50, 80), np.float32), {"model": "ridge"})
    session = project.open_session(image_id, "ann")
    session.set_gaps(gaps)
    session.decide("a", Verdict.ACCEPTED, 1.0)
    labels = session.labels.copy()
    project.close()
    make_older(project.folder)
    for opened_before in (False, True):
        with Project.open(project.folder) as again:
            assert np.array_equal(again.read_mask(image_id).labels, labels)
            assert [gap.id for gap, _ in again.verdicts(image_id)] == ["a"]
            assert (again.completion(image_id) is not None) == opened_before
            again.store_completion(image_id, completion_map(), INFO)
    header = (project.folder / DATABASE_NAME).read_bytes()[:100]
    assert int.from_bytes(header[60:64], "big") == SCHEMA_VERSION
    copy = project.folder / "project.v1.sqlite"
    assert version(copy) == 1
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT gap FROM verdicts").fetchall() == [("a",)]
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'completions'").fetchall() == []
    connection.close()
    shutil.copy(copy, project.folder / DATABASE_NAME)
    with Project.open(project.folder) as back:
        assert np.array_equal(back.read_mask(image_id).labels, labels)


def test_a_project_from_before_there_were_versions_is_as_a_new_one(project, gaps, tmp_path):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    session.set_gaps(gaps)
    session.decide("a", Verdict.ACCEPTED, 1.0)
    session.stroke(np.ones((3, 3), np.uint8), (2, 2))
    labels = session.labels.copy()
    project.close()
    make_older(project.folder, 3)
    with Project.open(project.folder) as again:
        assert np.array_equal(again.read_mask(image_id).labels, labels)
        assert again.open_session(image_id, "ann").undo().text == "brush stroke"
        assert again.versions.history() == []
        assert again.versions.current() is None
        assert again.guards.sides() == {}
        again.set_state(image_id, ImageState.DONE)
        assert [sample.guard for sample in run_job(training_samples(again))] == [False]
    assert version(project.folder / "project.v3.sqlite") == 3
    tables = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    with (
        Project.create(tmp_path / "fresh") as fresh,
        Project.open(project.folder) as again,
    ):
        assert again._database.rows(tables) == fresh._database.rows(tables)
        assert len(again.guards.sides()) == 1


def test_an_older_project_that_cannot_be_brought_up_stays_as_it_is(project):
    project.close()
    make_older(project.folder)
    (project.folder / "project.v1.sqlite").mkdir()
    with pytest.raises(ProjectError, match="cannot be copied"):
        Project.open(project.folder)
    assert version(project.folder / DATABASE_NAME) == 1
    assert not list(project.folder.glob(".*.tmp"))
