"""What a layout is: how a data set lies on the disk, written and read by one module each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.export.cases import Case
from napari_vessel.export.options import ExportOptions
from napari_vessel.export.outside import files_in
from napari_vessel.export.survey import Survey
from napari_vessel.images.decoding import Decoded, count_planes, decode
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.review.project import Project


@dataclass(frozen=True, slots=True)
class Paths:
    """Where an image was written, by paths in the export with ``/``; None for what has no place of its own.

    `beneath` are packed run lengths of what each class has where a file can only say *ignore*.
    """

    image: str
    mask: str | None
    weights: str | None = None
    fov: str | None = None
    beneath: Mapping[str, str] | None = None


class Writer(Protocol):
    """Writes one data set, image by image."""

    def add(self, case: Case) -> Paths:
        """Write an image."""

    def finish(self) -> None:
        """Write what describes all images."""


@dataclass(frozen=True, slots=True)
class Found:
    """An image of a data set, not read yet.

    Attributes
    ----------
    name : str
        What it is called.
    key : str
        Path of the image in the data set, by which the manifest knows it.
    image : callable
        Reads it, given how its field of view is found (``auto``, ``none``) and its modality, if that is known.
    mask : callable or None
        Reads its mask, as stored, given the image's shape; None without one.
    fov : callable or None
        Reads its field of view, bool, (Y, X), given the image's shape; None without one.
    """

    name: str
    key: str
    image: Callable[[str, Modality | None], VesselImage]
    mask: Callable[[tuple[int, int]], Decoded] | None = None
    fov: Callable[[tuple[int, int]], NDArray[np.bool_]] | None = None


@dataclass(frozen=True, slots=True)
class DataSet:
    """What a folder holds.

    Attributes
    ----------
    found : tuple of Found
        Its images.
    names : mapping of int to str, or None
        Classes by the values in the masks; None where the values speak for themselves.
    notes : tuple of str
        What of it is left out.
    """

    found: tuple[Found, ...]
    names: Mapping[int, str] | None = None
    notes: tuple[str, ...] = field(default=())


class Layout(ABC):
    """One way to lay out a data set.

    Attributes
    ----------
    name : str
        On the command line.
    title, tip : str
        For people.
    needs_pixels : bool
        Whether how the first image is written hangs on the pixels of all.
    """

    name: str
    title: str
    tip: str
    needs_pixels = False

    @property
    def kind(self) -> str:
        """What its manifests say they are."""
        return f"napari-vessel {self.name} export"

    def target(self, out: Path, project: Project, options: ExportOptions) -> Path:
        """Return the folder to write, given the one that was asked for; InputError if it cannot be."""
        return out

    def notes(self, survey: Survey) -> list[str]:
        """Return what is to know before a data set is written like this."""
        return []

    @abstractmethod
    def writer(self, folder: Path, survey: Survey, title: str) -> Writer:
        """Begin a data set in an empty folder."""

    @abstractmethod
    def is_in(self, folder: Path) -> bool:
        """Whether a folder looks as if it had this layout: quick."""

    @abstractmethod
    def find(self, folder: Path) -> DataSet:
        """Look what there is in a folder.

        Raises
        ------
        InputError
            If it has not this layout, or names files outside itself.
        """


def found_file(
    path: Path, name: str, root: Path, mask: Path | None, fov: Path | None = None, plane: int | None = None
) -> Found:
    """Return what is known of an image that is a file, its mask another, and perhaps its field of view a third."""
    from napari_vessel.images.fov import read_fov
    from napari_vessel.images.reading import read_image

    def image(how: str, modality: Modality | None) -> VesselImage:
        if plane is None:
            _check_single(path, count_planes(path))
        return read_image(path, plane=plane, fov=how, modality=modality)

    return Found(
        name,
        path.relative_to(root).as_posix(),
        image,
        None if mask is None else lambda shape: read_mask_file(mask, shape, plane),
        None if fov is None else lambda shape: read_fov(fov, shape, plane),
    )


def read_mask_file(path: Path, shape: tuple[int, int], plane: int | None = None) -> Decoded:
    """Return a mask file as it is; InputError if it cannot be read or has another shape."""
    from napari_vessel.images.masks import check_same_shape

    decoded = decode(path, plane, single_page_for_any=True)
    if plane is None:
        _check_single(path, decoded.planes)
    check_same_shape(f"The mask {path}", decoded.array.shape[:2], shape)
    return decoded


def _check_single(path: Path, pages: int) -> None:
    if pages > 1:
        raise InputError(f"{path} has {pages} pages; save each page as a file of its own.")


def by_stem(folder: Path, root: Path) -> dict[str, Path]:
    """Return the image files of a folder by their stems."""
    return {path.stem: path for path in files_in(folder, root)}


def make_folders(folder: Path, *names: str) -> None:
    """Make folders in a new data set."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)


def write_field(folder: Path, name: str, field_of_view: NDArray[np.bool_] | None) -> str | None:
    """Write a field of view as ``fov/NAME.png``, 0 and 255; return its path, or None when it is everywhere."""
    from napari_vessel.images.writing import write_mask

    if field_of_view is None:
        return None
    make_folders(folder, "fov")
    write_mask(folder / "fov" / f"{name}.png", field_of_view)
    return f"fov/{name}.png"


def write_weights(folder: Path, name: str, weights: NDArray[np.uint8]) -> str:
    """Write weights as ``weights/NAME.png``, 0 and 1; return the path."""
    from napari_vessel.images.image import MaskClass
    from napari_vessel.images.writing import write_mask

    make_folders(folder, "weights")
    write_mask(folder / "weights" / f"{name}.png", weights, [MaskClass(1, 1, "counts")])
    return f"weights/{name}.png"


def smallest(labels: NDArray[np.uint16]) -> NDArray[Any]:
    """Return numbered classes with 8 bits where they are enough."""
    return labels if labels.max(initial=0) > 255 else labels.astype(np.uint8)


def plain_suffix(pixels: NDArray[Any]) -> str:
    """Return ``.png`` for pixels that every reader of PNG takes whole, ``.tif`` for floats and deep colours."""
    deep_grey = pixels.dtype == np.uint16 and pixels.ndim == 2
    return ".png" if pixels.dtype == np.uint8 or deep_grey else ".tif"
