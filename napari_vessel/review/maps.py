"""The maps that a project keeps beside each image: what the segmenter saw, and what the completion model draws."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError, ProjectError
from napari_vessel.images.decoding import MAX_PIXELS
from napari_vessel.review.journal import now
from napari_vessel.review.records import ImageRecord, inside
from napari_vessel.review.restoring import backups, opened
from napari_vessel.review.schema import Database
from napari_vessel.untrusted import MALFORMED, shortened

log = logging.getLogger(__name__)

_TABLES = {"segmentations": "probability", "completions": "completion"}
"""Tables that name maps, and where these lie."""
_MAP = re.compile(r"[0-9a-f]{12}(-[0-9a-f]{8})?\.tif")


class Maps:
    """Float maps of the size of their images: files in the folder, and a row of the database that vouches for each.

    Each has a file of its own, which is on the disk before its row is written; that of the one before stays until no
    backup names it any more. So row and file tell of one map whenever a process dies, and in a project that was
    restored; a file without a row is never read.

    Parameters
    ----------
    database : Database
        The project's.
    folder : Path
        The project's folder, resolved.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder
        self._missing: set[str] = set()

    def store_probability(self, record: ImageRecord, probability: NDArray[np.float32], info: Mapping[str, Any]) -> None:
        """Keep a segmenter's map; the completion of the one before is forgotten with it."""
        with self._written("probability", record, probability) as (connection, stored):
            connection.execute(
                "INSERT OR REPLACE INTO segmentations VALUES (?, ?, ?, ?)",
                (record.id, stored, json.dumps(dict(info)), now()),
            )
            connection.execute("DELETE FROM completions WHERE image = ?", (record.id,))
            connection.execute("UPDATE images SET model = ? WHERE id = ?", (str(info.get("model", "")), record.id))

    def probability(self, record: ImageRecord) -> NDArray[np.float32] | None:
        """Return the segmenter's map, or None when the image was never segmented."""
        return self._read(record, "SELECT path FROM segmentations WHERE image = ?", "probability map")

    def segmentation_info(self, image_id: str) -> dict[str, Any]:
        """Return what made the segmenter's map; empty when there is none."""
        rows = self._database.rows("SELECT info FROM segmentations WHERE image = ?", (image_id,))
        return self._info(image_id, rows[0][0]) if rows else {}

    def store_completion(self, record: ImageRecord, completion: NDArray[np.float32], info: Mapping[str, Any]) -> None:
        """Keep a completion model's map, and use it."""
        with self._written("completion", record, completion) as (connection, stored):
            connection.execute(
                "INSERT OR REPLACE INTO completions VALUES (?, ?, ?, ?, 1)",
                (record.id, stored, json.dumps(dict(info)), now()),
            )

    def completion(self, record: ImageRecord) -> NDArray[np.float32] | None:
        """Return the completion model's map, or None when there is none or it is not used."""
        return self._read(record, "SELECT path FROM completions WHERE image = ? AND used", "completion map")

    def completion_info(self, image_id: str) -> dict[str, Any]:
        """Return what made the completion map, and whether it is ``used``; empty when there is none."""
        rows = self._database.rows("SELECT info, used FROM completions WHERE image = ?", (image_id,))
        return {**self._info(image_id, rows[0][0]), "used": bool(rows[0][1])} if rows else {}

    def use_completion(self, image_id: str, used: bool) -> None:
        """Take the completion map into use, or set it aside; it is kept either way."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE completions SET used = ? WHERE image = ?", (int(used), image_id))

    def sweep(self) -> None:
        """Delete the files that no backup names; call it where a backup was just made and nobody writes a map."""
        try:
            named: set[str] = set()
            for backup in backups(self._folder):
                with opened(backup) as connection:
                    named |= _named(connection)
        except (ProjectError, OSError, sqlite3.Error) as error:
            # What cannot be read may be mended one day, and name any of them.
            log.warning("Maps of before are kept, as a backup cannot be read: %s", error)
            return
        for kind in _TABLES.values():
            for path in (self._folder / kind).glob("*.tif"):
                stored = f"{kind}/{path.name}"
                if stored not in named and _MAP.fullmatch(path.name):
                    self._delete(stored)

    @contextmanager
    def _written(
        self, kind: str, record: ImageRecord, pixels: NDArray[np.float32]
    ) -> Iterator[tuple[sqlite3.Connection, str]]:
        """Write a map, and give the transaction that is to name it, and where it lies."""
        stored = self._write(kind, record, pixels)
        try:
            with self._database.transaction() as connection:
                yield connection, stored
        except BaseException:
            self._delete(stored)
            raise

    def _write(self, kind: str, record: ImageRecord, pixels: NDArray[np.float32]) -> str:
        from napari_vessel.images.writing import write_probability

        if pixels.shape != record.shape:
            raise InputError(
                f"The {kind} has shape {pixels.shape} and the image {record.name} {record.shape}; segment it again."
            )
        stored = f"{kind}/{record.id}-{secrets.token_hex(4)}.tif"
        path = inside(self._folder, stored)
        try:
            path.parent.mkdir(exist_ok=True)
            write_probability(path, pixels)
            with open(path, "rb+") as file:
                # The row that is about to name it outlives a loss of power, so it must, too.
                os.fsync(file.fileno())
        except OSError as error:
            raise ProjectError(f"{path} cannot be written ({error.strerror}); check its permissions.") from error
        return stored

    def _delete(self, stored: str) -> None:
        """Delete a map's file; what stays, on Windows because somebody reads it, is never read again."""
        path = self._folder / stored
        with suppress(OSError):
            # Through a link it would be some other file.
            if path.resolve() == path:
                path.unlink()

    def _info(self, image_id: str, text: str) -> dict[str, Any]:
        try:
            return dict(json.loads(text))
        except MALFORMED as error:
            raise ProjectError(
                f"What made the maps of image {image_id} is damaged ({shortened(error)}); segment it again."
            ) from error

    def _read(self, record: ImageRecord, query: str, words: str) -> NDArray[np.float32] | None:
        rows = self._database.rows(query, (record.id,))
        if not rows:
            return None
        stored = rows[0][0]
        path = inside(self._folder, stored)
        if not path.exists():
            # The review goes on without it.
            if stored not in self._missing:
                self._missing.add(stored)
                log.warning("The %s %s of %s is missing; segment the image again.", words, path, record.name)
            return None
        pixels = read_tiff(path, "segment the image again")
        if pixels.shape != record.shape or not np.isfinite(pixels).all():
            raise ProjectError(f"The {words} {stored} does not fit its image; segment the image again.")
        return pixels


def _named(connection: sqlite3.Connection) -> set[str]:
    """Return the maps that a database names, of any format."""
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {
        str(path) for table in _TABLES if table in there for (path,) in connection.execute(f"SELECT path FROM {table}")
    }


def read_tiff(path: Path, remedy: str = "restore it from a backup") -> NDArray[np.float32]:
    """Read a float TIFF that the project wrote; `remedy` is what to do where that fails.

    Raises
    ------
    ProjectError
        If it is missing or damaged.
    """
    import tifffile

    from napari_vessel.images.tiff import check_pages_end

    try:
        check_pages_end(path)
        # One file, whatever its header says of others, and of no more values than an image may have.
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            series = tiff.series[0]
            if math.prod(series.shape) > 4 * MAX_PIXELS:
                raise ValueError("too large")
            return np.asarray(series.asarray(), np.float32)
    except MemoryError as error:
        raise ProjectError(f"{path} does not fit into memory; close other programs and try again.") from error
    except Exception as error:
        # A damaged file makes a decoder raise nearly anything.
        raise ProjectError(f"{path} is missing or damaged ({shortened(error)}); {remedy}.") from error
