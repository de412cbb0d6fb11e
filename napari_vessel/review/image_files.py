"""The files of a project's images: where they are by now, their pixels, and the masks that they came with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import ProjectError
from napari_vessel.images.image import VesselImage
from napari_vessel.review.adding import Fov
from napari_vessel.review.finding import find_moved, moved_along
from napari_vessel.review.image_rows import ImageRows
from napari_vessel.review.maps import read_tiff
from napari_vessel.review.records import ImageRecord, inside, stored_path
from napari_vessel.untrusted import MALFORMED, shortened


class ImageFiles:
    """Finds and reads the files of images.

    Parameters
    ----------
    rows : ImageRows
        Of the project's images: a file that was found elsewhere is noted there.
    """

    def __init__(self, rows: ImageRows) -> None:
        self._rows = rows

    def locate(self, record: ImageRecord) -> ImageRecord:
        """Return an image's record after looking for its file by its content, when that was moved or renamed.

        Raises
        ------
        ProjectError
            If the file is not found; adding the image again tells where it is.
        """
        if record.path.is_file():
            return record
        found = self._found(record)
        if found is None:
            raise ProjectError(
                f"The image file {record.path} of {record.name} has moved and was not found near there, near the other "
                "images or near the project; put it back, or add it again from its new place (its review is kept)."
            )
        return found

    def read(self, record: ImageRecord) -> VesselImage:
        """Read an image's pixels, from where its file is now.

        Raises
        ------
        ProjectError
            If its file is gone or has changed since it was added, and nowhere to be found.
        """
        record = self.locate(record)
        if record.saved:
            return self._read_saved(record)
        image = self._read(record)
        if image.content_hash == record.content_hash:
            return image
        # Another file has its name by now; it may be near under a new one.
        found = self._found(record)
        if found is None:
            raise ProjectError(
                f"The image file {record.path} has changed since it was added, so its mask may not fit; put "
                "the original back, or add the new file under another name."
            )
        return self._read(found)

    def first_mask(self, record: ImageRecord) -> NDArray[np.uint8]:
        """Return the mask that an image came with, uint8, shape (Y, X); an empty one when it came without.

        Raises
        ------
        ProjectError
            If its file is missing or damaged.
        """
        rows = self._rows.database.rows("SELECT base FROM images WHERE id = ?", (record.id,))
        if rows[0][0] is None:
            return np.zeros(record.shape, np.uint8)
        import cv2

        path = inside(self._rows.folder, rows[0][0])
        try:
            # Read here, because OpenCV opens only plain names on Windows.
            labels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED) if path.is_file() else None
        except (OSError, cv2.error):
            labels = None  # or it claims a size that no image has
        if labels is None or labels.shape != record.shape or labels.dtype != np.uint8:
            raise ProjectError(
                f"The first mask {path} of {record.name} is missing or damaged; restore it from a backup of "
                "the project."
            )
        return np.ascontiguousarray(labels, np.uint8)

    def _found(self, record: ImageRecord) -> ImageRecord | None:
        """Find an image's file by its content, with its field of view, and remember where; None when it is nowhere."""
        folder = self._rows.folder
        path = None if record.saved else find_moved(record, self._rows.all(), folder)
        if path is None:
            return None
        fov = record.fov
        if fov not in ("auto", "none") and not Path(fov).is_file():
            fov = str(moved_along(Path(fov), record.path, path) or fov)
        stored = fov if fov in ("auto", "none") else stored_path(folder, Path(fov))
        with self._rows.database.transaction() as connection:
            connection.execute(
                "UPDATE images SET path = ?, fov = ? WHERE id = ?", (stored_path(folder, path), stored, record.id)
            )
        return self._rows.record(record.id)

    def _read(self, record: ImageRecord) -> VesselImage:
        image = _read(record)
        # Of a data set whose files cannot say it, the pixel size is known all the same.
        return image if image.spacing is not None else replace(image, spacing=self._known(record)[0])

    def _known(self, record: ImageRecord) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
        """Return the pixel size (y, x) in micrometres and the notes that were written down with an image."""
        columns = self._rows.database.rows("SELECT spacing, notes FROM images WHERE id = ?", (record.id,))[0]
        try:
            spacing, notes = (json.loads(text) for text in columns)
            known = None if spacing is None else (float(spacing[0]), float(spacing[1]))
            return known, tuple(str(note) for note in notes)
        except MALFORMED as error:
            remedy = self._rows.database.remedy
            raise ProjectError(f"The row of {record.name} is damaged ({shortened(error)}); {remedy}.") from error

    def _read_saved(self, record: ImageRecord) -> VesselImage:
        from napari_vessel.images.fov import read_fov

        spacing, notes = self._known(record)
        pixels = read_tiff(record.path)
        shown = pixels.shape[:2] == record.shape and pixels.shape[2:] in ((), (3,))
        # True of no NaN.
        if not (shown and float(pixels.min()) >= 0.0 and float(pixels.max()) <= 1.0):
            raise ProjectError(f"{record.path} does not fit {record.name} any more; restore it from a backup.")
        return VesselImage(
            pixels=pixels,
            fov=read_fov(Path(record.fov), record.shape) if record.fov not in ("auto", "none") else None,
            modality=record.modality,
            spacing=spacing,
            source=record.path,
            plane=record.plane,
            content_hash=record.content_hash,
            notes=notes,
        )


def _read(record: ImageRecord) -> VesselImage:
    from napari_vessel.images.reading import read_image

    fov: Fov = "auto" if record.fov == "auto" else "none" if record.fov == "none" else Path(record.fov)
    if isinstance(fov, Path) and not fov.is_file():
        raise ProjectError(f"The field-of-view file {fov} of {record.name} has moved; put it back.")
    return read_image(record.path, plane=record.plane, fov=fov, modality=record.modality)
