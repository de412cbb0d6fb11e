"""The project's database: its tables, its version, and the one way in and out of it."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_vessel.errors import ProjectError
from napari_vessel.review.backup import BACKUP_NAME, check_pages, copy_database, damage, is_backup_due, remedy
from napari_vessel.review.folders import check_own_file, is_local
from napari_vessel.untrusted import shortened

DATABASE_NAME = "project.sqlite"
APPLICATION_ID = 0x4E56534C  # "NVSL", so that a project is told from any other SQLite file
SCHEMA_VERSION = 4

_TABLES = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE images (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    path TEXT NOT NULL,
    plane INTEGER,
    saved INTEGER NOT NULL,
    content_hash TEXT NOT NULL UNIQUE,
    height INTEGER NOT NULL,
    width INTEGER NOT NULL,
    modality TEXT NOT NULL,
    spacing TEXT NOT NULL,
    transform TEXT NOT NULL DEFAULT 'null',
    notes TEXT NOT NULL,
    fov TEXT NOT NULL,
    base TEXT,
    classes TEXT NOT NULL,
    rule TEXT NOT NULL,
    state TEXT NOT NULL,
    flags TEXT NOT NULL DEFAULT '[]',
    comment TEXT NOT NULL DEFAULT '',
    annotator TEXT NOT NULL DEFAULT '',
    changed TEXT NOT NULL,
    model TEXT NOT NULL DEFAULT '',
    open_gaps INTEGER NOT NULL DEFAULT 0,
    position INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE edits (
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    link TEXT NOT NULL,
    verdicts TEXT NOT NULL,
    annotator TEXT NOT NULL,
    made TEXT NOT NULL,
    PRIMARY KEY (image, seq)
);
CREATE TABLE mask_edits (
    image TEXT NOT NULL,
    seq INTEGER NOT NULL,
    part INTEGER NOT NULL,
    y0 INTEGER NOT NULL,
    x0 INTEGER NOT NULL,
    y1 INTEGER NOT NULL,
    x1 INTEGER NOT NULL,
    before BLOB NOT NULL,
    after BLOB NOT NULL,
    PRIMARY KEY (image, seq, part),
    FOREIGN KEY (image, seq) REFERENCES edits(image, seq) ON DELETE CASCADE
);
CREATE TABLE verdicts (
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    gap TEXT NOT NULL,
    verdict TEXT NOT NULL,
    annotator TEXT NOT NULL,
    made TEXT NOT NULL,
    seconds REAL NOT NULL,
    score REAL NOT NULL,
    proposal TEXT NOT NULL,
    PRIMARY KEY (image, gap)
);
CREATE TABLE proposals (
    image TEXT PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE,
    gaps TEXT NOT NULL
);
CREATE TABLE segmentations (
    image TEXT PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    info TEXT NOT NULL,
    made TEXT NOT NULL
);
"""

_COMPLETIONS = """
CREATE TABLE completions (
    image TEXT PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    info TEXT NOT NULL,
    made TEXT NOT NULL,
    used INTEGER NOT NULL
);
"""

_SNAPSHOTS_AND_FRAGMENTS = """
CREATE TABLE snapshots (
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    labels BLOB NOT NULL,
    PRIMARY KEY (image, seq)
);
ALTER TABLE edits ADD COLUMN fragments TEXT NOT NULL DEFAULT '[]';
CREATE TABLE fragments (
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    fragment TEXT NOT NULL,
    description TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (image, fragment)
);
"""

_GUARDS_AND_VERSIONS = """
CREATE TABLE guards (
    content_hash TEXT PRIMARY KEY,
    patient TEXT NOT NULL,
    guard INTEGER NOT NULL,
    made TEXT NOT NULL
);
CREATE TABLE versions (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    parent INTEGER REFERENCES versions(number),
    folder TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    modalities TEXT NOT NULL,
    made TEXT NOT NULL,
    state TEXT NOT NULL,
    sentence TEXT NOT NULL,
    notes TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    before INTEGER REFERENCES versions(number),
    images TEXT NOT NULL,
    figures TEXT NOT NULL,
    record TEXT NOT NULL
);
CREATE TABLE current_versions (
    modality TEXT PRIMARY KEY,
    version INTEGER NOT NULL REFERENCES versions(number)
);
CREATE INDEX edits_by_kind ON edits(image, kind, seq);
CREATE INDEX verdicts_by_kind ON verdicts(image, verdict);
"""

_STEPS = {1: _COMPLETIONS, 2: _SNAPSHOTS_AND_FRAGMENTS, 3: _GUARDS_AND_VERSIONS}
"""What brings a database of each older version to the next."""

_FULL = "The disk is full, so nothing was changed; free some space and try again."
_BUSY = "Another program is writing to the project, so nothing was changed; close it and try again."
_FORBIDDEN = "The project cannot be written, so nothing was changed; check the folder's permissions."
_SENTENCES = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
    sqlite3.SQLITE_PERM: _FORBIDDEN,
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_IOERR: "The project's disk does not answer, so nothing was changed; check it and try again.",
}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def create_database(path: Path, meta: dict[str, str]) -> None:
    """Write an empty project database; it appears under its name only when it is complete.

    Parameters
    ----------
    path : Path
        Where the database goes; anything there is replaced.
    meta : dict
        First entries of the table ``meta``.

    Raises
    ------
    ProjectError
        If the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.executescript(f"BEGIN; {_TABLES} {' '.join(_STEPS.values())} COMMIT;")
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        finally:
            connection.close()
        os.replace(temporary, path)
    except (OSError, sqlite3.Error) as error:
        raise ProjectError(
            f"The project could not be created in {path.parent} ({error}); choose a folder you can write to."
        ) from error
    finally:
        # After a success there is nothing left to remove.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def is_project(folder: Path) -> bool:
    """Whether a folder is a project, perhaps one that lost its database and has the backup."""
    return any((folder / name).is_file() for name in (DATABASE_NAME, BACKUP_NAME))


def check_header(path: Path) -> None:
    """Refuse a file that is no project of ours, or of a newer version, reading its first 100 bytes only.

    Raises
    ------
    ProjectError
        With a sentence that says which.
    """
    folder = path.parent
    check_own_file(path)
    try:
        with open(path, "rb") as file:
            header = file.read(100)
    except FileNotFoundError as error:
        if path.name == DATABASE_NAME and path.with_name(BACKUP_NAME).is_file():
            raise damage(f"The project {folder} has lost its {DATABASE_NAME}", folder) from error
        raise ProjectError(
            f"{folder} is not a napari-vessel project (it has no {DATABASE_NAME}); "
            "choose a project folder or create a new project."
        ) from error
    except OSError as error:
        raise ProjectError(f"The project {folder} cannot be read ({error.strerror}).") from error
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise damage(f"{path} is damaged: it is not a database", folder)
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise ProjectError(f"{path} belongs to another program; choose a napari-vessel project folder.")
    version = int.from_bytes(header[60:64], "big")
    if version > SCHEMA_VERSION:
        raise ProjectError(
            f"The project {folder} was made by a newer napari-vessel (format {version}, this one reads up to "
            f"{SCHEMA_VERSION}); update napari-vessel to open it."
        )


def check_tables(connection: sqlite3.Connection) -> None:
    """Refuse a database whose tables are not those that this program made: views, triggers and the like are code.

    Raises
    ------
    sqlite3.DatabaseError
        If anything was added, is missing, or is not as it was made.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        model.executescript(_TABLES + " ".join(_STEPS[older] for older in range(1, min(version, SCHEMA_VERSION))))
        wanted, found = _described(model), _described(connection)
    odd = [name for name in found if found[name] != wanted.get(name)]
    # An index may be missing: that costs time and changes nothing.
    odd += [name for name in wanted if name not in found and wanted[name].startswith("table")]
    if odd:
        raise sqlite3.DatabaseError(f"{shortened(odd[0])} in it is not as napari-vessel made it")


def _described(connection: sqlite3.Connection) -> dict[str, str]:
    """Return what a database is made of, by name, but for the lists that SQLite keeps for itself."""
    rows = connection.execute("SELECT name, type, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    return {str(name): " ".join(f"{kind} {sql}".split()) for name, kind, sql in rows}


def _bring_up(connection: sqlite3.Connection, path: Path) -> None:
    """Bring an older database to this version, all of it or nothing, after a copy of it was put beside it."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == SCHEMA_VERSION:
        return
    if version not in _STEPS:
        raise damage(f"The project's database {path} is damaged (format {version})", path.parent)
    copy = path.with_name(f"{path.stem}.v{version}{path.suffix}")
    try:
        copy_database(connection, copy)
    except OSError as error:
        raise ProjectError(
            f"The older project cannot be copied to {copy} ({error.strerror}), so it was left as it is; check the "
            "folder's permissions."
        ) from error
    steps = " ".join(_STEPS[older] for older in range(version, SCHEMA_VERSION))
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    # The version is read from the file's header, so it must not wait in the log.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class Database:
    """A connection that any thread may use, one at a time, and whose errors are sentences.

    Parameters
    ----------
    path : Path
        An existing database that passed :func:`check_header`.

    Attributes
    ----------
    backed_up : bool
        Whether a backup was made when it was opened.

    Raises
    ------
    ProjectError
        If the database is damaged or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        local, backup_due = is_local(path.parent), is_backup_due(path)
        with self._errors():
            self._connection = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
        try:
            with self._errors():
                if not local:
                    # Without it SQLite would share memory with other readers, which a network folder cannot.
                    self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
                check_tables(self._connection)
                check_pages(self._connection)
                _bring_up(self._connection, path)
                self._connection.execute(f"PRAGMA journal_mode={'WAL' if local else 'DELETE'}")
                # FULL: a commit returns only after the log is on the disk, so that what was acknowledged survives.
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute("PRAGMA foreign_keys=ON")
        except ProjectError:
            self._connection.close()
            raise
        self.backed_up = backup_due and self._back_up()
        self._changes = self._connection.total_changes

    @property
    def remedy(self) -> str:
        """What to do about damage, as the second half of a sentence."""
        return remedy(self._path.parent)

    def rows(self, sql: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return every row of a query."""
        with self._lock, self._errors():
            return self._connection.execute(sql, arguments).fetchall()

    def stamp(self) -> tuple[int, int] | None:
        """Return what differs as soon as anybody has changed the database; None inside a transaction."""
        with self._lock, self._errors():
            if self._connection.in_transaction:
                return None
            [(theirs,)] = self._connection.execute("PRAGMA data_version").fetchall()
            return int(theirs), self._connection.total_changes

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a transaction: all of it is on the disk afterwards, or none.

        Raises
        ------
        ProjectError
            If the disk is full, the database is locked, or the like; nothing was changed then.
        """
        with self._lock, self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> bool:
        """Close the connection, after a backup when something was changed, and return whether one was made.

        Safe to call twice.
        """
        with self._lock:
            try:
                changed = self._connection.total_changes != self._changes
            except sqlite3.ProgrammingError:
                return False  # it is closed
            made = changed and self._back_up()
            self._connection.close()
            return made

    def _back_up(self) -> bool:
        """Make the backup anew, or say False: the one before stays then, and the work is not stopped by it."""
        try:
            # The log is opened by a read only, and cannot be written into the database before.
            self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            copy_database(self._connection, self._path.with_name(BACKUP_NAME))
        except (OSError, sqlite3.Error) as error:
            logging.getLogger(__name__).warning("No backup of %s could be made: %s", self._path, error)
            return False
        return True

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise ProjectError(f"The project {self._path.parent} is closed; open it again.") from error
        except sqlite3.Error as error:
            # The low byte is the kind of error; the rest says where it happened.
            code = getattr(error, "sqlite_errorcode", None)
            # What is no error of SQLite's own is one of ours, or of Python about a text that is none.
            if code is None or code & 0xFF in _DAMAGED:
                raise damage(f"The project's database {self._path} is damaged", self._path.parent) from error
            failed = f"The project's database failed ({error}), so nothing was changed; try again."
            raise ProjectError(f"{_SENTENCES.get(code & 0xFF, failed)} ({self._path})") from error
