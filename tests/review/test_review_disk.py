"""A disk that is full and a folder that may not be written any more: a sentence, nothing half done, all well later."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_vessel.errors import InputError, ProjectError
from napari_vessel.review import Project, schema

NOBODY = 65534


@pytest.fixture
def small_disk(project, tmp_path):
    """The project on a disk of its own of two MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root on Linux")
    project.close()
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    shutil.copytree(project.folder, disk / "project")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte on a disk."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)
    return filler


def paint_on(session, kept):
    """Change the whole mask until that fails; `kept` gets each mask."""
    noise = np.random.default_rng(0).integers(0, 2, session.shape).astype(np.uint8)
    for n in range(2000):
        session.stroke(np.roll(noise, n, axis=1), (0, 0))
        kept.append(session.labels.copy())


@pytest.mark.parametrize("local", [True, False])
def test_a_full_disk_stops_the_edit_and_nothing_else(small_disk, monkeypatch, local):
    monkeypatch.setattr(schema, "is_local", lambda folder: local)
    folder = small_disk / "project"
    with Project.open(folder) as project:
        image_id = project.images()[0].id
        session = project.open_session(image_id, "ann")
        kept = [session.labels.copy()]
        filler = fill(small_disk)
        with pytest.raises(ProjectError, match="disk is full, so nothing was changed"):
            paint_on(session, kept)
        assert np.array_equal(session.labels, kept[-1])
        assert session.history_position == len(kept) - 1
        with pytest.raises(InputError, match="No space left on device; free the space"):
            project.store_probability(image_id, np.random.default_rng(0).random((50, 80), np.float32))
        # Closed on the full disk, and opened again on it: no backup can be made, and none is half made.
    with Project.open(folder) as project:
        assert np.array_equal(project.read_mask(image_id).labels, kept[-1])
    assert not list(folder.glob(".*"))
    filler.unlink()
    with Project.open(folder) as project:
        session = project.open_session(image_id, "ann")
        assert np.array_equal(session.labels, kept[-1])
        session.stroke(1 - session.labels[:5, :5], (0, 0))
        assert session.history_position == len(kept)


def test_a_disk_too_full_for_the_lock_is_a_sentence(small_disk):
    folder = small_disk / "project"
    (folder / "project.lock").unlink()
    filler = fill(small_disk)
    with pytest.raises(ProjectError, match=r"cannot be written .*free some space"):
        Project.open(folder)
    filler.unlink()
    Project.open(folder).close()


@pytest.fixture
def somebody(tmp_path, project):
    """The closed project, owned by this process, which has no rights beyond its own."""
    if os.name == "nt":
        pytest.skip("permissions of folders are POSIX")
    project.close()
    if os.geteuid() != 0:
        yield project.folder
        return
    for path in (project.folder, *project.folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    modes = [(path, path.stat().st_mode & 0o7777) for path in project.folder.parents]
    modes = [(path, mode) for path, mode in modes if mode & 0o11 != 0o11]
    for path, mode in modes:
        path.chmod(mode | 0o11)
    os.seteuid(NOBODY)
    try:
        yield project.folder
    finally:
        os.seteuid(0)
        for path, mode in modes:
            path.chmod(mode)


def test_a_folder_that_may_not_be_written_is_a_sentence(somebody):
    database = somebody / schema.DATABASE_NAME
    before = database.read_bytes()
    (somebody / "project.lock").unlink()
    somebody.chmod(0o555)
    with pytest.raises(ProjectError, match=r"cannot be written .*permissions"):
        Project.open(somebody)
    somebody.chmod(0o755)
    database.chmod(0o444)
    with Project.open(somebody) as project:
        [record] = project.images()
        assert project.read_mask(record.id).mask.any()
        with pytest.raises(ProjectError, match="cannot be written, so nothing was changed; check the folder"):
            project.open_session(record.id)
    database.chmod(0o644)
    assert database.read_bytes() == before
    Project.open(somebody).close()


def test_permission_lost_while_working_stops_the_edit_and_nothing_else(project):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    session.stroke(np.ones((3, 3), np.uint8), (20, 20))
    before = session.labels.copy()
    # SQLite answers this as it answers for a disk that was mounted anew without the right to write.
    project._database.rows("PRAGMA query_only=1")
    with pytest.raises(ProjectError, match="cannot be written, so nothing was changed"):
        session.stroke(np.ones((3, 3), np.uint8), (40, 40))
    with pytest.raises(ProjectError, match="cannot be written, so nothing was changed"):
        session.undo()
    assert np.array_equal(session.labels, before)
    assert session.history_position == 1
    project._database.rows("PRAGMA query_only=0")
    session.stroke(np.ones((3, 3), np.uint8), (40, 40))
    project.close()
    with Project.open(project.folder) as again:
        assert np.array_equal(again.open_session(image_id).labels, session.labels)
