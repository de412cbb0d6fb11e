"""OME-Zarr (NGFF 0.4): each image a folder of chunks with its labels in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.export.cases import Case
from napari_vessel.export.chunks import read_array, read_attributes, write_array, write_group
from napari_vessel.export.layout import DataSet, Found, Layout, Paths, Writer, smallest
from napari_vessel.export.ometiff import without_spacing
from napari_vessel.export.outside import inside
from napari_vessel.export.survey import Survey
from napari_vessel.images.decoding import Decoded
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.untrusted import MALFORMED

VERSION = "0.4"
VESSELS = "vessels"
_MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4}
_MARK = "zarr.json", ".zattrs"


class OmeZarrLayout(Layout):
    """``NAME.zarr`` for each image, with ``labels/vessels``, and ``weights`` and ``fov`` where there are such.

    One resolution level: the image as it is. Colour is three channels in front. The labels are 0, 1, 2...
    """

    name = "ome-zarr"
    title = "OME-Zarr with labels"
    tip = "A NAME.zarr for each image with labels in it (NGFF 0.4), pixel size where known; and manifest.json."

    def notes(self, survey: Survey) -> list[str]:
        """Say which images have no pixel size."""
        return without_spacing(survey)

    def writer(self, folder: Path, survey: Survey, title: str) -> Writer:
        """Begin a data set in an empty folder."""
        return _Writer(folder, survey)

    def is_in(self, folder: Path) -> bool:
        """Whether it is an image, or has some in it."""
        return bool(_images(folder))

    def find(self, folder: Path) -> DataSet:
        """Look what there is."""
        images = _images(folder)
        if not images:
            raise InputError(f"{folder} has no OME-Zarr image; choose one, or a folder of such.")
        return DataSet(tuple(_found(image, folder) for image in images))


def _images(folder: Path) -> list[Path]:
    if any((folder / mark).is_file() for mark in _MARK):
        return [folder]
    inner = sorted(folder.glob("*.zarr")) if folder.is_dir() else []
    return [inside(folder, one.name, str(folder)) for one in inner if any((one / mark).is_file() for mark in _MARK)]


def _found(image: Path, root: Path) -> Found:
    names = _label_names(image)
    fov = "fov" if "fov" in names else None
    others = [name for name in names if name not in ("fov", "weights")]
    vessels = VESSELS if VESSELS in others else others[0] if len(others) == 1 else None
    if others and vessels is None:
        raise InputError(f"{image} has several labels ({', '.join(others)}); name the one of the vessels {VESSELS}.")
    name = image.name.removesuffix(".zarr").removesuffix(".ome")
    return Found(
        name,
        "." if image == root else image.relative_to(root).as_posix(),
        lambda how, modality: _read_image(image, name, how, modality),
        None if vessels is None else lambda shape: Decoded(_read_labels(image, vessels, shape)),
        None if fov is None else lambda shape: _read_labels(image, fov, shape) > 0,
    )


def _label_names(image: Path) -> list[str]:
    labels = inside(image, "labels", image.name)
    if not any((labels / mark).is_file() for mark in _MARK):
        return []
    names = read_attributes(labels).get("labels", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{labels} does not name its labels; export the image again.")
    return names


def _read_image(image: Path, name: str, how: str, modality: Modality | None) -> VesselImage:
    from napari_vessel.images.reading import image_from_array

    values, spacing = _level(image, image)
    return image_from_array(values, name=name, spacing=spacing, modality=modality, fov=how)


def _read_labels(image: Path, name: str, shape: tuple[int, int]) -> NDArray[Any]:
    from napari_vessel.images.masks import check_same_shape

    values, _ = _level(inside(image / "labels", name, image.name), image)
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise InputError(f"The labels {name} of {image} are no whole numbers in one plane; export them again.")
    check_same_shape(f"The labels {name} of {image}", values.shape, shape)
    return values


def _level(group: Path, root: Path) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """Return the finest level of a multiscale image as (Y, X) or (Y, X, 3), and its pixel size in micrometres."""
    about = read_attributes(group)
    try:
        scales = about["multiscales"][0]
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in scales["axes"]]
        names = [str(axis["name"]) for axis in axes]
        level = scales["datasets"][0]
        values = read_array(inside(group, level["path"], group.name), root)
        if values.ndim != len(names) or "y" not in names or "x" not in names:
            raise ValueError("axes that do not fit")
        spacing = _spacing(axes, level.get("coordinateTransformations", []))
    except MALFORMED as error:
        raise InputError(f"{group} is no OME-Zarr image that can be read; export it again.") from error
    if any(size > 1 for name, size in zip(names, values.shape, strict=True) if name not in "cyx"):
        raise InputError(f"{group} is a volume or a series ({' '.join(names)}); export one plane.")
    kept = [k for k, name in enumerate(names) if name in "yx"]
    channel = names.index("c") if "c" in names else None
    if channel is None or values.shape[channel] == 1:
        return values.reshape([values.shape[k] for k in kept]), spacing
    if values.shape[channel] not in (3, 4):
        raise InputError(f"{group} has {values.shape[channel]} channels; export the one that shows the vessels.")
    flat = values.reshape([size for name, size in zip(names, values.shape, strict=True) if name in "cyx"])
    return np.ascontiguousarray(np.moveaxis(flat, 0, -1)), spacing


def _spacing(axes: list[dict[str, Any]], transformations: Any) -> tuple[float, float] | None:
    scale = next((one["scale"] for one in transformations if one.get("type") == "scale"), None)
    sizes = {}
    for axis, size in zip(axes, scale or (), strict=False):
        unit = _MICROMETRES.get(str(axis.get("unit", "")))
        if unit is not None and 0 < float(size) < float("inf"):
            sizes[axis["name"]] = float(size) * unit
    return (sizes["y"], sizes["x"]) if "y" in sizes and "x" in sizes else None


class _Writer:
    def __init__(self, folder: Path, survey: Survey) -> None:
        self._folder, self._numbers, self._weighted = folder, survey.numbers, survey.ignores

    def add(self, case: Case) -> Paths:
        pixels, spacing = case.pixels, case.image.spacing
        place = f"{case.record.name}.zarr"
        image = self._folder / place
        colour = pixels.ndim == 3
        if colour:
            pixels = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
        write_group(image, _multiscales(case.record.name, spacing, colour) | _omero(pixels))
        write_array(image / "0", pixels)
        labels = {VESSELS: smallest(case.numbered(self._numbers))}
        if self._weighted:
            labels["weights"] = case.weights
        if case.image.fov is not None:
            labels["fov"] = case.image.fov.astype(np.uint8)
        write_group(image / "labels", {"labels": list(labels)})
        for name, values in labels.items():
            named = {"source": {"image": "../../"}, "version": VERSION}
            write_group(image / "labels" / name, _multiscales(name, spacing, False) | {"image-label": named})
            write_array(image / "labels" / name / "0", values)
        paths = {name: f"{place}/labels/{name}" for name in labels}
        return Paths(place, paths[VESSELS], paths.get("weights"), paths.get("fov"))

    def finish(self) -> None:
        """Nothing describes all of them but the manifest."""


def _multiscales(name: str, spacing: tuple[float, float] | None, colour: bool) -> dict[str, Any]:
    unit = {} if spacing is None else {"unit": "micrometer"}
    axes: list[dict[str, str]] = [{"name": axis, "type": "space", **unit} for axis in "yx"]
    scale = list(spacing or (1.0, 1.0))
    if colour:
        axes, scale = [{"name": "c", "type": "channel"}, *axes], [1.0, *scale]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    return {"multiscales": [{"version": VERSION, "name": name, "axes": axes, "datasets": [level]}]}


def _omero(pixels: NDArray[Any]) -> dict[str, Any]:
    """Return how viewers should show an image: grey, or red, green and blue."""
    largest = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    window = {"start": 0.0, "min": 0.0, "end": largest, "max": largest}
    shown = [("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")] if pixels.ndim == 3 else [("grey", "FFFFFF")]
    channels = [{"label": label, "color": colour, "active": True, "window": window} for label, colour in shown]
    return {"omero": {"version": VERSION, "channels": channels, "rdefs": {"model": "color"}}}
