"""One window to a project: an advisory lock that the operating system frees when its owner dies."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from pathlib import Path
from typing import IO

from napari_vessel.errors import ProjectError

LOCK_NAME = "project.lock"
# Windows locks are mandatory: a byte far beyond the text is locked, so that others can still read who holds it.
_LOCKED_BYTE = 1 << 30
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


class FolderLock:
    """Holds a lock file in a folder from construction to :meth:`release`.

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
        If another window, of this process or another, holds the lock, or the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str = LOCK_NAME, what: str = "project") -> None:
        path = folder / name
        try:
            self._file: IO[bytes] | None = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115
        except OSError as error:
            raise ProjectError(
                f"The {what} folder {folder} cannot be written ({error.strerror}); "
                "change its permissions or copy it to a folder of your own."
            ) from error
        try:
            _lock(self._file)
        except OSError as error:
            held = error.errno in _HELD
            owner = _owner(self._file)
            if held:
                self._file.close()
                self._file = None
                raise ProjectError(
                    f"The {what} {folder} is already open in another window{owner}; close it there first."
                ) from error
            # Some network folders have no locks at all; SQLite's own locking is then what is left.
        self._write_owner()

    def release(self) -> None:
        """Let others in. Safe to call twice."""
        if self._file is not None:
            self._file.close()  # closing frees the lock
            self._file = None

    def _write_owner(self) -> None:
        if self._file is None:
            return
        owner = json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode()
        try:
            self._file.seek(0)
            self._file.write(owner)
            self._file.truncate()
            self._file.flush()
        except OSError as error:
            self.release()
            raise ProjectError(f"The lock {self._file.name} cannot be written ({error.strerror}).") from error


def _owner(file: IO[bytes]) -> str:
    """Say who wrote the lock file, or nothing when that cannot be read."""
    try:
        file.seek(0)
        data = json.loads(file.read(1000))
        return f" (process {int(data['process'])} on {str(data['host'])[:60]})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


if sys.platform == "win32":

    def _lock(file: IO[bytes]) -> None:
        import msvcrt

        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:

    def _lock(file: IO[bytes]) -> None:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
