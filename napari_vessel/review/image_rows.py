"""The images of a project as its database has them: one row each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_vessel.errors import ProjectError
from napari_vessel.review.journal import now
from napari_vessel.review.records import RECORD_COLUMNS, ImageRecord, record_from_row
from napari_vessel.review.schema import Database


class ImageRows:
    """Reads and changes the rows of a project's images.

    Parameters
    ----------
    database : Database
        The project's.
    folder : Path
        The project's: files in it are named from there.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder
        # Together, so that a thread never sees the rows of one moment with the stamp of another.
        self._read: tuple[tuple[int, int] | None, dict[tuple[Any, ...], ImageRecord]] = (None, {})

    def all(self) -> list[ImageRecord]:
        """Return every image, in the order in which they were added.

        The window asks at every step, several times: rows that are as they were are not read again.
        """
        stamp = self.database.stamp()
        before, known = self._read
        if stamp is None or stamp != before:
            rows = self.database.rows(f"SELECT {RECORD_COLUMNS} FROM images ORDER BY number")
            known = {row: known.get(row) or record_from_row(row, self.folder) for row in rows}
            self._read = (stamp, known)
        return list(known.values())

    def record(self, image_id: str) -> ImageRecord:
        """Return one image's record; ProjectError if there is no such image."""
        rows = self.database.rows(f"SELECT {RECORD_COLUMNS} FROM images WHERE id = ?", (image_id,))
        if not rows:
            raise _unknown(image_id)
        return record_from_row(rows[0], self.folder)

    def change(self, image_id: str, column: str, value: str) -> None:
        """Write one column of an image, and when; ProjectError if there is no such image."""
        with self.database.transaction() as connection:
            done = connection.execute(
                f"UPDATE images SET {column} = ?, changed = ? WHERE id = ?", (value, now(), image_id)
            )
            if done.rowcount != 1:
                raise _unknown(image_id)


def _unknown(image_id: str) -> ProjectError:
    return ProjectError(f"The project has no image {image_id}; choose one from its table.")
