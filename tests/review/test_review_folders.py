"""What is told of a folder's disk from the system's list of mounts."""

from pathlib import Path

import pytest

from napari_vessel.errors import ProjectError
from napari_vessel.review import Project, schema
from napari_vessel.review.folders import is_local_mount, mounts_of_linux, mounts_of_macos

LINUX = r"""
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/export /data nfs4 rw,vers=4.2 0 0
/dev/sdb1 /data/local xfs rw 0 0
//nas/scans /mnt/my\040scans cifs rw,username=ann 0 0
ann@host: /mnt/ssh fuse.sshfs rw 0 0
future /mnt/new somefs rw 0 0
""".strip()

MACOS = """
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
//ann@nas/scans on /Volumes/scans (smbfs, nodev, nosuid, mounted by ann)
/dev/disk4s2 on /Volumes/My Disk (hfs, local, nodev)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
""".strip()


@pytest.mark.parametrize(
    ("folder", "local"),
    [
        ("/home/ann/study", True),
        ("/data", False),
        ("/data/study", False),
        ("/data/local/study", True),
        ("/database", True),
        ("/mnt/my scans/study", False),
        ("/mnt/ssh/study", False),
        ("/mnt/new/study", False),
    ],
)
def test_the_innermost_mount_on_linux_counts(folder, local):
    assert is_local_mount(Path(folder), mounts_of_linux(LINUX)) is local


@pytest.mark.parametrize(
    ("folder", "local"),
    [
        ("/Users/ann", True),
        ("/Volumes/scans/a", False),
        ("/Volumes/My Disk/a", True),
        ("/System/Volumes/Data/home/a", False),
    ],
)
def test_macos_says_itself_what_is_local(folder, local):
    assert is_local_mount(Path(folder), mounts_of_macos(MACOS)) is local


def test_nothing_known_is_not_local():
    assert not is_local_mount(Path("/home"), {})


def test_a_network_folder_gets_a_rollback_journal(project, monkeypatch):
    image_id = project.images()[0].id
    assert project._database.rows("PRAGMA journal_mode") == [("wal",)]
    project.open_session(image_id).delete_component(45, 5)
    project.close()
    monkeypatch.setattr(schema, "is_local", lambda folder: False)
    with Project.open(project.folder) as shared:
        assert shared._database.rows("PRAGMA journal_mode") == [("delete",)]
        assert shared._database.rows("PRAGMA synchronous") == [(2,)]
        session = shared.open_session(image_id)
        session.undo()
        assert not list(project.folder.glob("*-wal")) + list(project.folder.glob("*-shm"))
        with pytest.raises(ProjectError, match="already open"):
            Project.open(project.folder)
    monkeypatch.undo()
    with Project.open(project.folder) as back:
        assert back._database.rows("PRAGMA journal_mode") == [("wal",)]
        assert back.open_session(image_id).can_redo
