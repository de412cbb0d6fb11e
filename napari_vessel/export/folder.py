"""Plain folders: images, masks in their own values, and what belongs to them, by the same names."""

from __future__ import annotations

import shutil
from pathlib import Path

from napari_vessel.errors import ProjectError
from napari_vessel.export.cases import Case, write_pixels
from napari_vessel.export.layout import (
    DataSet,
    Layout,
    Paths,
    Writer,
    by_stem,
    found_file,
    make_folders,
    write_field,
    write_weights,
)
from napari_vessel.export.outside import files_in
from napari_vessel.export.survey import Survey
from napari_vessel.export.target import sha256


class FolderLayout(Layout):
    """``images/``, ``masks/``, and ``fov/`` and ``weights/`` where there are such.

    Images are copies of the original files; a page of a many-page file, or an array, is a TIFF. Masks are PNG
    with the values of their source (TIFF where PNG cannot hold them).
    """

    name = "folder"
    title = "Plain folder with manifest"
    tip = "images/ and masks/ with the same names, and manifest.json on where each came from."

    def writer(self, folder: Path, survey: Survey, title: str) -> Writer:
        """Begin a data set in an empty folder."""
        return _Writer(folder, survey.ignores)

    def is_in(self, folder: Path) -> bool:
        """Whether there are images and masks."""
        return (folder / "images").is_dir() and (folder / "masks").is_dir()

    def find(self, folder: Path) -> DataSet:
        """Look what there is: masks belong to images by their names, as everywhere."""
        from napari_vessel.images.inputs import find_inputs, match_file

        masks = files_in(folder / "masks", folder)
        fields = by_stem(folder / "fov", folder)
        images = files_in(folder / "images", folder)
        return DataSet(
            tuple(
                found_file(
                    item.path,
                    item.stem,
                    folder,
                    match_file(item.stem, folder / "masks") if masks else None,
                    fields.get(item.stem),
                    item.plane,
                )
                for item in (find_inputs(images) if images else ())
            )
        )


class _Writer:
    def __init__(self, folder: Path, weighted: bool) -> None:
        self._folder, self._weighted = folder, weighted
        make_folders(folder, "images", "masks")

    def add(self, case: Case) -> Paths:
        name = case.record.name
        weights = write_weights(self._folder, name, case.weights) if self._weighted else None
        return Paths(self._image(case), self._mask(case), weights, write_field(self._folder, name, case.image.fov))

    def finish(self) -> None:
        """Nothing describes all of them but the manifest."""

    def _image(self, case: Case) -> str:
        record = case.record
        if record.plane is not None or record.saved:
            place = f"images/{record.name}.tif"
            write_pixels(self._folder / place, case.pixels)
            return place
        # Where it was found, if it had moved.
        source = case.image.source or record.path
        place = f"images/{record.name}{source.suffix.lower()}"
        shutil.copyfile(source, self._folder / place)
        if sha256(self._folder / place) != record.content_hash:
            raise ProjectError(
                f"The image file {source} has changed since it was added, so nothing was exported; "
                "put the original back."
            )
        return place

    def _mask(self, case: Case) -> str:
        from napari_vessel.images.writing import write_mask

        beyond_png = any(isinstance(c.value, int) and c.value > 65535 for c in case.mask.classes)
        place = f"masks/{case.record.name}{'.tif' if beyond_png else '.png'}"
        write_mask(self._folder / place, case.mask.labels, case.mask.classes)
        return place
