"""Who holds a project, and what is left by an owner who died, here or on another computer."""

import errno
import json
import os
import socket
import subprocess
import sys

import pytest

from napari_vessel.errors import ProjectError
from napari_vessel.review import lock
from napari_vessel.review.lock import LOCK_NAME, FolderLock


def leave(folder, process, host, **more):
    """Write what an owner who did not close leaves behind."""
    (folder / LOCK_NAME).write_text(json.dumps({"process": process, "host": host, **more}))


def dead_process():
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    return ended.pid


@pytest.fixture
def no_locks(monkeypatch):
    """A folder whose server has no file locks."""

    def refuse(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", refuse)


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(lock, "is_local", lambda folder: False)


def test_the_second_window_is_told_who_has_it_and_since_when(tmp_path):
    first = FolderLock(tmp_path)
    with pytest.raises(ProjectError) as refused:
        FolderLock(tmp_path)
    sentence = str(refused.value)
    owner = json.loads((tmp_path / LOCK_NAME).read_text())
    assert f"process {os.getpid()} on {socket.gethostname()}" in sentence
    assert owner["since"]
    assert f"since {owner['since']}" in sentence
    assert owner["user"] in sentence
    first.release()
    first.release()
    assert (tmp_path / LOCK_NAME).read_bytes() == b""
    FolderLock(tmp_path).release()


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"process": "x"}', '{"process": 1, "host": "gone"}'])
def test_whatever_is_left_on_a_disk_of_this_computer_is_taken_over(tmp_path, text):
    (tmp_path / LOCK_NAME).write_text(text)
    held = FolderLock(tmp_path)
    assert json.loads((tmp_path / LOCK_NAME).read_text())["process"] == os.getpid()
    held.release()


def test_another_computer_on_a_network_folder_is_named(tmp_path, network):
    leave(tmp_path, 77, "ward-3", user="ann", since="2026-01-02T03:04+00:00")
    with pytest.raises(
        ProjectError, match=r"\(process 77 on ward-3, ann, since 2026-01-02T03:04\+00:00\).*delete .*lock"
    ):
        FolderLock(tmp_path)
    assert json.loads((tmp_path / LOCK_NAME).read_text())["host"] == "ward-3"
    # As the sentence says:
    (tmp_path / LOCK_NAME).unlink()
    FolderLock(tmp_path).release()


def test_a_dead_owner_on_this_computer_is_followed_on_a_network_folder_too(tmp_path, network):
    leave(tmp_path, dead_process(), socket.gethostname())
    FolderLock(tmp_path).release()


def test_without_file_locks_the_living_are_told_from_the_dead(tmp_path, network, no_locks):
    leave(tmp_path, dead_process(), socket.gethostname())
    held = FolderLock(tmp_path)
    with pytest.raises(ProjectError, match=rf"process {os.getpid()} on "):
        FolderLock(tmp_path)
    held.release()
    FolderLock(tmp_path).release()
    leave(tmp_path, dead_process(), "another")
    with pytest.raises(ProjectError, match="on another"):
        FolderLock(tmp_path)
