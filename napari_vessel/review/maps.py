"""The maps that a project keeps beside each image: what the segmenter saw, and what the completion model draws."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError, ProjectError
from napari_vessel.images.decoding import MAX_PIXELS
from napari_vessel.review.journal import now
from napari_vessel.review.records import ImageRecord, inside
from napari_vessel.review.schema import Database
from napari_vessel.untrusted import MALFORMED, shortened


class Maps:
    """Float maps of the size of their images: files in the folder, and a row of the database that vouches for each.

    A file is renamed into place before its row is written, and one without a row is never read.

    Parameters
    ----------
    database : Database
        The project's.
    folder : Path
        The project's folder, resolved.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder

    def store_probability(self, record: ImageRecord, probability: NDArray[np.float32], info: Mapping[str, Any]) -> None:
        """Keep a segmenter's map; the completion of the one before is forgotten with it."""
        stored = self._write("probability", record, probability)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO segmentations VALUES (?, ?, ?, ?)",
                (record.id, stored, json.dumps(dict(info)), now()),
            )
            connection.execute("DELETE FROM completions WHERE image = ?", (record.id,))
            connection.execute("UPDATE images SET model = ? WHERE id = ?", (str(info.get("model", "")), record.id))

    def probability(self, record: ImageRecord) -> NDArray[np.float32] | None:
        """Return the segmenter's map, or None when the image was never segmented."""
        rows = self._database.rows("SELECT path FROM segmentations WHERE image = ?", (record.id,))
        return self._read(record, rows[0][0], "probability map") if rows else None

    def segmentation_info(self, image_id: str) -> dict[str, Any]:
        """Return what made the segmenter's map; empty when there is none."""
        rows = self._database.rows("SELECT info FROM segmentations WHERE image = ?", (image_id,))
        return self._info(image_id, rows[0][0]) if rows else {}

    def store_completion(self, record: ImageRecord, completion: NDArray[np.float32], info: Mapping[str, Any]) -> None:
        """Keep a completion model's map, and use it."""
        stored = self._write("completion", record, completion)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO completions VALUES (?, ?, ?, ?, 1)",
                (record.id, stored, json.dumps(dict(info)), now()),
            )

    def completion(self, record: ImageRecord) -> NDArray[np.float32] | None:
        """Return the completion model's map, or None when there is none or it is not used."""
        rows = self._database.rows("SELECT path FROM completions WHERE image = ? AND used", (record.id,))
        return self._read(record, rows[0][0], "completion map") if rows else None

    def completion_info(self, image_id: str) -> dict[str, Any]:
        """Return what made the completion map, and whether it is ``used``; empty when there is none."""
        rows = self._database.rows("SELECT info, used FROM completions WHERE image = ?", (image_id,))
        return {**self._info(image_id, rows[0][0]), "used": bool(rows[0][1])} if rows else {}

    def use_completion(self, image_id: str, used: bool) -> None:
        """Take the completion map into use, or set it aside; it is kept either way."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE completions SET used = ? WHERE image = ?", (int(used), image_id))

    def _write(self, kind: str, record: ImageRecord, pixels: NDArray[np.float32]) -> str:
        from napari_vessel.images.writing import write_probability

        if pixels.shape != record.shape:
            raise InputError(
                f"The {kind} has shape {pixels.shape} and the image {record.name} {record.shape}; segment it again."
            )
        stored = f"{kind}/{record.id}.tif"
        path = inside(self._folder, stored)
        try:
            path.parent.mkdir(exist_ok=True)
            write_probability(path, pixels)
        except OSError as error:
            raise ProjectError(f"{path} cannot be written ({error.strerror}); check its permissions.") from error
        return stored

    def _info(self, image_id: str, text: str) -> dict[str, Any]:
        try:
            return dict(json.loads(text))
        except MALFORMED as error:
            raise ProjectError(
                f"What made the maps of image {image_id} is damaged ({shortened(error)}); segment it again."
            ) from error

    def _read(self, record: ImageRecord, stored: str, words: str) -> NDArray[np.float32]:
        pixels = read_tiff(inside(self._folder, stored))
        if pixels.shape != record.shape or not np.isfinite(pixels).all():
            raise ProjectError(f"The {words} {stored} does not fit its image; segment the image again.")
        return pixels


def read_tiff(path: Path) -> NDArray[np.float32]:
    """Read a float TIFF that the project wrote.

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
        raise ProjectError(f"{path} is missing or damaged ({shortened(error)}); restore it from a backup.") from error
