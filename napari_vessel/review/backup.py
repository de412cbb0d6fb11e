"""Copies of a project's database that were checked, and what to say when the database itself is damaged."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from datetime import datetime
from pathlib import Path

from napari_vessel.errors import DamagedProjectError

BACKUP_NAME = "project.backup.sqlite"


def check_pages(connection: sqlite3.Connection) -> None:
    """Look at every page of a database.

    Raises
    ------
    sqlite3.DatabaseError
        If one is damaged.
    """
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise sqlite3.DatabaseError(found[0] if found else "it cannot be checked")


def copy_database(connection: sqlite3.Connection, path: Path) -> None:
    """Copy a whole database, its log too, to a file that appears, on the disk, when the copy was found good.

    Raises
    ------
    OSError, sqlite3.Error
        If it cannot be written, or is damaged; what was at `path` is still there then.
    """
    # A name nobody can guess, so that no link lies in wait there.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with contextlib.closing(sqlite3.connect(temporary)) as copy:
            connection.backup(copy)
            # One file, however the original keeps its log.
            copy.execute("PRAGMA journal_mode=DELETE")
            check_pages(copy)
        os.replace(temporary, path)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)


def is_backup_due(path: Path) -> bool:
    """Whether a database, or its log, was written after its backup was made."""
    made = _changed(path.with_name(BACKUP_NAME))
    return made is None or any(
        changed is not None and changed > made for changed in map(_changed, (path, path.with_name(f"{path.name}-wal")))
    )


def remedy(folder: Path) -> str:
    """Return what to do about a damaged project, as the second half of a sentence."""
    made = _changed(folder / BACKUP_NAME)
    if made is None:
        return "restore project.sqlite from a copy of yours"
    when = datetime.fromtimestamp(made / 1e9).strftime("%Y-%m-%d %H:%M")
    return f'type napari-vessel project restore "{folder}" to go back to its backup of {when}; the damaged file is kept'


def damage(what: str, folder: Path) -> DamagedProjectError:
    """Return the error of a damaged or lost database: what is wrong, and the way back."""
    return DamagedProjectError(what, remedy(folder), folder)


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
