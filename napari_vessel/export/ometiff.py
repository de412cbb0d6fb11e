"""OME-TIFF: image, numbered classes, weights and field of view as files that say how large a pixel is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.export.cases import Case
from napari_vessel.export.layout import DataSet, Layout, Paths, Writer, found_file, make_folders, smallest
from napari_vessel.export.outside import files_in
from napari_vessel.export.survey import Survey

_ENDINGS = (".ome.tif", ".ome.tiff")


class OmeTiffLayout(Layout):
    """``images/NAME.ome.tif`` and ``labels/NAME.ome.tif``, and ``fov/`` and ``weights/`` where there are such."""

    name = "ome-tiff"
    title = "OME-TIFF with labels"
    tip = "images/ and labels/ as OME-TIFF with the pixel size where it is known; and manifest.json."

    def notes(self, survey: Survey) -> list[str]:
        """Say which images have no pixel size."""
        return without_spacing(survey)

    def writer(self, folder: Path, survey: Survey, title: str) -> Writer:
        """Begin a data set in an empty folder."""
        return _Writer(folder, survey)

    def is_in(self, folder: Path) -> bool:
        """Whether there are OME-TIFFs and labels."""
        images = folder / "images"
        there = (folder / "labels").is_dir() and images.is_dir()
        return there and any(path.name.lower().endswith(_ENDINGS) for path in images.iterdir())

    def find(self, folder: Path) -> DataSet:
        """Look what there is, by names."""
        places = {
            what: {_stem(path): path for path in files_in(folder / what, folder) if _stem(path)}
            for what in ("images", "labels", "fov")
        }
        if not places["images"]:
            raise InputError(f"{folder} has no images/*.ome.tif; choose the folder of an OME-TIFF data set.")
        return DataSet(
            tuple(
                found_file(path, stem, folder, places["labels"].get(stem), places["fov"].get(stem))
                for stem, path in places["images"].items()
            )
        )


def _stem(path: Path) -> str:
    for ending in _ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return ""


def without_spacing(survey: Survey) -> list[str]:
    """Say which images have no pixel size, where a layout could carry it."""
    unknown = [look.record.name for look in survey.looks if look.pixels is not None and not look.pixels.spaced]
    if not unknown:
        return []
    more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    return [f"The pixel size of {unknown[0]}{more} is not known, so the files do not say it."]


class _Writer:
    def __init__(self, folder: Path, survey: Survey) -> None:
        self._folder, self._numbers, self._weighted = folder, survey.numbers, survey.ignores
        make_folders(folder, "images", "labels")

    def add(self, case: Case) -> Paths:
        image = self._write("images", case, case.pixels)
        labels = self._write("labels", case, smallest(case.numbered(self._numbers)))
        weights = self._write("weights", case, case.weights) if self._weighted else None
        fov = None if case.image.fov is None else self._write("fov", case, case.image.fov.astype(np.uint8))
        return Paths(image, labels, weights, fov)

    def finish(self) -> None:
        """Nothing describes all of them but the manifest."""

    def _write(self, what: str, case: Case, values: NDArray[Any]) -> str:
        import tifffile

        make_folders(self._folder, what)
        place = f"{what}/{case.record.name}.ome.tif"
        metadata: dict[str, Any] = {"axes": "YXS" if values.ndim == 3 else "YX", "Name": case.record.name}
        if case.image.spacing is not None:
            y, x = case.image.spacing
            metadata |= {"PhysicalSizeY": y, "PhysicalSizeYUnit": "µm", "PhysicalSizeX": x, "PhysicalSizeXUnit": "µm"}
        photometric = "rgb" if values.ndim == 3 else "minisblack"
        tifffile.imwrite(
            self._folder / place, values, ome=True, compression="zlib", photometric=photometric, metadata=metadata
        )
        return place
