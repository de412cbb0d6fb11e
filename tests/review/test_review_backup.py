"""Damage of every kind is one sentence, and the way back it names works and keeps the damaged file."""

import os
import shutil
import sqlite3
import time

import numpy as np
import pytest

from napari_vessel.errors import ProjectError
from napari_vessel.review import Project, restore_project
from napari_vessel.review.backup import BACKUP_NAME
from napari_vessel.review.schema import DATABASE_NAME


@pytest.fixture
def worked(project):
    """A closed project with five strokes, and its mask."""
    session = project.open_session(project.images()[0].id, "ann")
    for n in range(5):
        session.stroke(np.ones((3, 3), np.uint8), (20, 5 + 10 * n))
    project.close()
    return project.folder, session.image_id, session.labels.copy()


def spoil_a_page(path):
    data = bytearray(path.read_bytes())
    data[8192 : 8192 + 4096] = os.urandom(4096)
    path.write_bytes(data)


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 7])


def write_text(path):
    path.write_text("these are my notes " * 20)


def empty(path):
    path.write_bytes(b"")


DAMAGES = [spoil_a_page, cut_short, write_text, empty]


@pytest.mark.parametrize("damage", [*DAMAGES, os.unlink])
def test_a_damaged_project_says_how_to_go_back_and_can(worked, damage):
    folder, image_id, labels = worked
    damage(folder / DATABASE_NAME)
    damaged = (folder / DATABASE_NAME).read_bytes() if (folder / DATABASE_NAME).exists() else None
    with pytest.raises(ProjectError) as refused:
        Project.open(folder)
    sentence = str(refused.value)
    assert f'napari-vessel project restore "{folder}"' in sentence
    assert "\n" not in sentence
    backup, kept = restore_project(folder)
    assert backup == folder / BACKUP_NAME
    with Project.open(folder) as again:
        session = again.open_session(image_id)
        assert np.array_equal(session.labels, labels)
        assert [session.undo() is not None for _ in range(6)] == [True] * 5 + [False]
    if damaged is None:
        assert kept is None
    else:
        assert kept.read_bytes() == damaged


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_good_backup_outlives_a_damaged_database(worked, damage):
    folder, _, _ = worked
    before = (folder / BACKUP_NAME).read_bytes()
    damage(folder / DATABASE_NAME)
    for _ in range(2):
        with pytest.raises(ProjectError, match="damaged"):
            Project.open(folder)
    assert (folder / BACKUP_NAME).read_bytes() == before


def test_damage_found_while_working_is_a_sentence_and_no_backup(worked):
    folder, image_id, _ = worked
    good = (folder / BACKUP_NAME).read_bytes()
    with Project.open(folder) as project:
        project.open_session(image_id).stroke(np.ones((3, 3), np.uint8), (40, 40))
        path = folder / DATABASE_NAME
        path.write_bytes(path.read_bytes()[:4096] + os.urandom(path.stat().st_size - 4096))
        project._database.rows("PRAGMA shrink_memory")
        with pytest.raises(ProjectError, match="is damaged; type napari-vessel project restore"):
            project.probability(image_id)
    assert (folder / BACKUP_NAME).read_bytes() == good


def test_a_new_project_has_a_backup_from_the_start(tmp_path):
    with Project.create(tmp_path):
        assert (tmp_path / BACKUP_NAME).is_file()


def test_what_only_the_log_has_is_in_the_next_backup(worked):
    folder, image_id, _ = worked
    copy = folder.with_name("killed")
    with Project.open(folder) as project:
        project.open_session(image_id).stroke(np.ones((3, 3), np.uint8), (40, 40))
        # What a killed process leaves: the log was not written into the database.
        shutil.copytree(folder, copy)
    assert (copy / f"{DATABASE_NAME}-wal").stat().st_size > 0
    Project.open(copy).close()
    with sqlite3.connect(copy / BACKUP_NAME) as backup:
        assert backup.execute("SELECT position FROM images").fetchall() == [(6,)]
    backup.close()


def test_looking_makes_no_backup(worked):
    folder, image_id, _ = worked
    Project.open(folder).close()
    made = (folder / BACKUP_NAME).stat().st_mtime_ns
    with Project.open(folder) as project:
        project.read_mask(image_id)
    assert (folder / BACKUP_NAME).stat().st_mtime_ns == made


def test_the_log_of_the_damaged_database_is_not_taken_for_the_restored_one(worked):
    folder, image_id, labels = worked
    with Project.open(folder) as project:
        project.open_session(image_id).stroke(np.ones((3, 3), np.uint8), (40, 40))
        shutil.copy(folder / f"{DATABASE_NAME}-wal", folder / "log")
        backup = (folder / BACKUP_NAME).read_bytes()
    (folder / BACKUP_NAME).write_bytes(backup)
    spoil_a_page(folder / DATABASE_NAME)
    shutil.move(folder / "log", folder / f"{DATABASE_NAME}-wal")
    _, kept = restore_project(folder)
    assert kept.with_name(f"{kept.name}-wal").exists()
    with Project.open(folder) as again:
        assert np.array_equal(again.read_mask(image_id).labels, labels)


def test_the_copy_of_the_last_opening_goes_before_older_formats_whatever_their_times(worked):
    folder, *_ = worked
    shutil.copyfile(folder / BACKUP_NAME, folder / "project.v2.sqlite")
    shutil.copyfile(folder / BACKUP_NAME, folder / "project.v10.sqlite")
    # As in a folder that was unpacked in another order.
    os.utime(folder / "project.v2.sqlite", (time.time() + 1e6,) * 2)
    (folder / "project.sqlite").write_bytes(b"x" * 5000)
    assert restore_project(folder)[0].name == BACKUP_NAME
    (folder / BACKUP_NAME).unlink()
    assert restore_project(folder)[0].name == "project.v10.sqlite"


def test_a_damaged_backup_is_passed_over(worked):
    folder, image_id, labels = worked
    shutil.copy(folder / BACKUP_NAME, folder / "project.v2.sqlite")
    spoil_a_page(folder / BACKUP_NAME)
    spoil_a_page(folder / DATABASE_NAME)
    backup, _ = restore_project(folder)
    assert backup.name == "project.v2.sqlite"
    with Project.open(folder) as again:
        assert np.array_equal(again.read_mask(image_id).labels, labels)


def test_without_a_good_backup_nothing_is_touched(worked):
    folder, _, _ = worked
    spoil_a_page(folder / BACKUP_NAME)
    spoil_a_page(folder / DATABASE_NAME)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "project.lock"}
    with pytest.raises(ProjectError, match="has no good backup"):
        restore_project(folder)
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "project.lock"}
    assert after == before


def test_an_open_project_is_not_restored(project):
    with pytest.raises(ProjectError, match="already open in another window"):
        restore_project(project.folder)


def test_a_new_project_does_not_take_the_place_of_a_lost_one(worked):
    folder, _, _ = worked
    (folder / DATABASE_NAME).unlink()
    with pytest.raises(ProjectError, match="project restore"):
        Project.open_or_create(folder)
    assert not (folder / DATABASE_NAME).exists()
