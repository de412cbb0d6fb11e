"""The images of a project as its database has them: one row each."""

from __future__ import annotations

from pathlib import Path

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

    def all(self) -> list[ImageRecord]:
        """Return every image, in the order in which they were added."""
        rows = self.database.rows(f"SELECT {RECORD_COLUMNS} FROM images ORDER BY number")
        return [record_from_row(row, self.folder) for row in rows]

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
