"""Going back to the backup of a damaged project."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import datetime
from pathlib import Path

from napari_vessel.errors import ProjectError
from napari_vessel.review.backup import BACKUP_NAME, check_pages, copy_database
from napari_vessel.review.lock import FolderLock
from napari_vessel.review.schema import DATABASE_NAME, check_header


def restore_project(folder: Path | str) -> tuple[Path, Path | None]:
    """Put the newest good backup of a project in the place of its database, which is kept under another name.

    Backups are the copy made whenever the project is opened or closed, and those from before it was brought to a
    newer format.

    Returns
    -------
    backup : Path
        What was taken.
    kept : Path or None
        Where the damaged database is now; None when there was none.

    Raises
    ------
    ProjectError
        If the project is open somewhere, has no good backup, or cannot be written; nothing was changed then.
    """
    folder = Path(folder).expanduser().resolve()
    if not folder.is_dir():
        raise ProjectError(f"{folder} is not a folder; give the project's.")
    database = folder / DATABASE_NAME
    lock = FolderLock(folder)
    try:
        for backup in _backups(folder):
            try:
                check_header(backup)
                with contextlib.closing(sqlite3.connect(f"{backup.as_uri()}?mode=ro", uri=True)) as connection:
                    check_pages(connection)
                    # Beside the database first: what can fail comes before anything is renamed.
                    fresh = folder / "project.restored.sqlite"
                    copy_database(connection, fresh)
            except (ProjectError, sqlite3.DatabaseError):
                continue
            kept = _set_aside(database)
            fresh.replace(database)
            return backup, kept
    except OSError as error:
        raise ProjectError(
            f"The backup of {folder} cannot be put in place ({error.strerror}); check the folder's permissions."
        ) from error
    finally:
        lock.release()
    raise ProjectError(f"{folder} has no good backup of its project.sqlite; restore it from a copy of yours.")


def _backups(folder: Path) -> list[Path]:
    found = [path for path in (folder / BACKUP_NAME, *folder.glob("project.v*.sqlite")) if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _set_aside(database: Path) -> Path | None:
    """Rename a database and its log, which would be taken for the log of what comes in its place."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    kept = database.with_name(f"project.damaged-{stamp}.sqlite")
    for suffix in ("-wal", "-shm", "-journal", ""):
        path = database.with_name(database.name + suffix)
        if path.exists():
            path.rename(kept.with_name(kept.name + suffix))
    return kept if kept.exists() else None
