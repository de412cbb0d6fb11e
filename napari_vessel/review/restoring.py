"""Going back to the backup of a damaged project."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from napari_vessel.errors import ProjectError
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.backup import BACKUP_NAME, check_pages, copy_database
from napari_vessel.review.lock import FolderLock
from napari_vessel.review.schema import DATABASE_NAME, check_header, check_tables

_BEFORE_FORMAT = re.compile(r"project\.v\d{1,9}\.sqlite")


@dataclass(frozen=True, slots=True)
class Backup:
    """A good backup of a project.

    Attributes
    ----------
    path : Path
        Where it is.
    made : datetime
        When, in local time.
    behind : timedelta or None
        How long after it the database was last written; None when the database is gone.
    """

    path: Path
    made: datetime
    behind: timedelta | None

    @property
    def text(self) -> str:
        """What it is, and what going back to it loses: ``its copy of 2026-03-02 17:40, after which…``."""
        copy = f"its copy of {self.made:%Y-%m-%d %H:%M}"
        if self.behind is None:
            return f"{copy}; what was done after that is lost"
        if self.behind < timedelta(seconds=1):
            return f"{copy}, after which nothing was done"
        return f"{copy}; work of up to {_duration(self.behind)} after it is lost"


def newest_backup(folder: Path) -> Backup | None:
    """Return the newest good backup of a project, which :func:`restore_project` would take; None without one."""
    for path in backups(folder):
        with contextlib.suppress(ProjectError, sqlite3.DatabaseError), _checked(path):
            made, database = path.stat().st_mtime, folder / DATABASE_NAME
            files = [file for file in (database, database.with_name(f"{DATABASE_NAME}-wal")) if file.is_file()]
            written = max((file.stat().st_mtime for file in files), default=None)
            behind = None if written is None else timedelta(seconds=max(written - made, 0.0))
            return Backup(path, datetime.fromtimestamp(made), behind)
    return None


def restore_job(folder: Path) -> Job[tuple[Path, Path | None]]:
    """Do :func:`restore_project` as a job; once begun it is not to be cancelled."""
    yield Progress(0, None, "Going back to the backup")
    return restore_project(folder)


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
        for backup in backups(folder):
            try:
                with _checked(backup) as connection:
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


def backups(folder: Path) -> list[Path]:
    """Return the copy of every opening and closing, then those from before newer formats, the newest format first.

    Times say nothing of their order: a folder that was copied or unpacked has those of that.
    """
    older = [path for path in folder.glob("project.v*.sqlite") if _BEFORE_FORMAT.fullmatch(path.name)]
    older.sort(key=lambda path: int(path.stem.removeprefix("project.v")), reverse=True)
    return [path for path in (folder / BACKUP_NAME, *older) if path.is_file()]


@contextlib.contextmanager
def opened(backup: Path) -> Iterator[sqlite3.Connection]:
    """Open a backup to read it, after a look at what tables it has."""
    check_header(backup)
    with contextlib.closing(sqlite3.connect(f"{backup.as_uri()}?mode=ro", uri=True)) as connection:
        check_tables(connection)
        yield connection


@contextlib.contextmanager
def _checked(backup: Path) -> Iterator[sqlite3.Connection]:
    """Open a backup to read it, after a look at all of it."""
    with opened(backup) as connection:
        check_pages(connection)
        yield connection


def _duration(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    if minutes < 2:
        return f"{max(round(span.total_seconds()), 1)} s"
    if minutes < 120:
        return f"{minutes} min"
    return f"{round(minutes / 60)} h" if minutes < 48 * 60 else f"{round(minutes / 1440)} days"


def _set_aside(database: Path) -> Path | None:
    """Rename a database and its log, which would be taken for the log of what comes in its place."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    kept = database.with_name(f"project.damaged-{stamp}.sqlite")
    for suffix in ("-wal", "-shm", "-journal", ""):
        path = database.with_name(database.name + suffix)
        if path.exists():
            path.rename(kept.with_name(kept.name + suffix))
    return kept if kept.exists() else None
