"""One window to a project: an advisory lock that the operating system frees when its owner dies."""

from __future__ import annotations

import contextlib
import errno
import getpass
import json
import os
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from napari_vessel.errors import ProjectError
from napari_vessel.review.folders import check_own_file, is_local
from napari_vessel.untrusted import MALFORMED

LOCK_NAME = "project.lock"
# Windows locks are mandatory: a byte far beyond the text is locked, so that others can still read who holds it.
_LOCKED_BYTE = 1 << 30
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


class FolderLock:
    """Holds a lock file in a folder from construction to :meth:`release`.

    The file says who holds it, and is emptied on release. A name left in it is of somebody who died, if the operating
    system gives the lock, which it takes from the dead; only on a network folder it may not know of other computers.

    Parameters
    ----------
    folder : Path
        The folder; it must exist.
    name : str
        File name of the lock.
    what : str
        What the folder holds, for messages.

    Raises
    ------
    ProjectError
        If another window, of this process or another, holds the lock, or may hold it, or the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str = LOCK_NAME, what: str = "project") -> None:
        path = folder / name
        check_own_file(path)
        try:
            # Not buffered, so that nothing is left to be written when a full disk refuses it.
            self._file: IO[bytes] | None = open(path, "r+b" if path.exists() else "w+b", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise ProjectError(
                f"The {what} folder {folder} cannot be written ({error.strerror}); "
                "change its permissions or copy it to a folder of your own."
            ) from error
        locked = True
        try:
            _lock(self._file)
        except OSError as error:
            # Any other error: some network folders have no locks at all.
            locked = False
            if error.errno in _HELD:
                holder = _described(_read_owner(self._file))
                self._close()
                raise ProjectError(
                    f"The {what} {folder} is already open in another window{holder}; close it there first."
                ) from error
        owner = _read_owner(self._file)
        if owner is not None and not _is_gone(owner, locked, folder):
            self._close()
            raise ProjectError(
                f"The {what} {folder} is open on another computer or was left open by a crash{_described(owner)}; "
                f"close it there or, when nobody works on it any more, delete {path} and open it again."
            )
        self._write(_this_process())

    def release(self) -> None:
        """Let others in. Safe to call twice."""
        if self._file is not None:
            # A name left behind on a disk that failed is told from a living owner all the same.
            with contextlib.suppress(OSError):
                _replace(self._file, b"")
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()  # closing frees the lock
            self._file = None

    def _write(self, owner: dict[str, Any]) -> None:
        assert self._file is not None
        try:
            _replace(self._file, json.dumps(owner).encode())
        except OSError as error:
            name = self._file.name
            self._close()
            raise ProjectError(
                f"The lock {name} cannot be written ({error.strerror}); free some space or check the folder's "
                "permissions."
            ) from error


def _replace(file: IO[bytes], data: bytes) -> None:
    file.seek(0)
    file.write(data)
    file.truncate()


def user_name() -> str:
    """Return who is at work; empty in a container, say, whose user has no name in the password file."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _this_process() -> dict[str, Any]:
    since = datetime.now().astimezone().isoformat(timespec="minutes")
    return {"process": os.getpid(), "host": socket.gethostname(), "user": user_name(), "since": since}


def _read_owner(file: IO[bytes]) -> dict[str, Any] | None:
    """Return what the lock file says of its owner; None when it says nothing."""
    try:
        file.seek(0)
        data = json.loads(file.read(1000))
        return {
            "process": int(data["process"]),
            "host": str(data["host"])[:60],
            "user": str(data.get("user", ""))[:60],
            "since": str(data.get("since", ""))[:60],
        }
    except (OSError, *MALFORMED):
        return None


def _described(owner: dict[str, Any] | None) -> str:
    if owner is None:
        return ""
    user = f", {owner['user']}" if owner["user"] else ""
    since = f", since {owner['since']}" if owner["since"] else ""
    return f" (process {owner['process']} on {owner['host']}{user}{since})"


def _is_gone(owner: dict[str, Any], locked: bool, folder: Path) -> bool:
    """Whether an owner named in the file has certainly died."""
    here = owner["host"] == socket.gethostname()
    if locked:
        return here or is_local(folder)
    return here and not _is_alive(owner["process"])


if sys.platform == "win32":

    def _lock(file: IO[bytes]) -> None:
        import msvcrt

        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _is_alive(process: int) -> bool:
        return True  # asking would end it; who works there must say

else:

    def _lock(file: IO[bytes]) -> None:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _is_alive(process: int) -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            return True
        return True
