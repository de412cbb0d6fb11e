"""Labelled images: the files of a data set's, or of somebody's own, and a loader that keeps test images apart.

Each public set is taken in its owner's own layout, and in a plain one: ``images/STEM.*``, ``masks/STEM.*`` and, where
there are any, ``fov/STEM.*`` and ``masks_2nd/STEM.*``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import VesselImage
from napari_vessel.images.inputs import is_image_file, natural_order
from napari_vessel.images.masks import read_mask
from napari_vessel.images.reading import read_image
from napari_vessel.training.datasets import DATA_SETS, PLAIN, DataSet, Layout, Split, data_set, is_test_name


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """The files of one image of a data set.

    Attributes
    ----------
    data_set, stem, patient : str
        Key of the set, name of the image in it, and who is on it.
    split : {"training", "validation", "test"}
        What the image may be used for.
    image, mask : Path
        The image, and the first observer's vessels.
    fov, second, weights : Path or None
        Field of view, second observer and how much each pixel counts, where there are any.
    """

    data_set: str
    stem: str
    patient: str
    split: Split
    image: Path
    mask: Path
    fov: Path | None = None
    second: Path | None = None
    weights: Path | None = None

    @property
    def name(self) -> str:
        """Data set and stem."""
        return f"{self.data_set}/{self.stem}"


@dataclass(frozen=True, eq=False, slots=True)
class Case:
    """One image of a data set at its own resolution.

    Attributes
    ----------
    name : str
        Data set and stem.
    image : VesselImage
        The image with its field of view.
    vessels : ndarray of bool, shape (Y, X)
        The first observer's vessels.
    second : ndarray of bool, shape (Y, X), or None
        The second observer's.
    weights : ndarray of uint8, shape (Y, X), or None
        How much each pixel counts, 0 for not at all; None where all count the same.
    """

    name: str
    image: VesselImage
    vessels: NDArray[np.bool_]
    second: NDArray[np.bool_] | None = None
    weights: NDArray[np.uint8] | None = None

    @property
    def data_set(self) -> str:
        """Key of the data set."""
        return self.name.split("/", 1)[0]

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Where the image is judged: the field of view, but for what does not count."""
        inside = np.ones(self.image.shape, np.bool_) if self.image.fov is None else self.image.fov
        return inside if self.weights is None else inside & (self.weights > 0)


def find_cases(key: str, folder: Path, split: Split) -> list[CaseFiles]:
    """List the images of one split of a known data set, in natural order.

    Parameters
    ----------
    key : str
        Key in `DATA_SETS`.
    folder : Path
        The set as its owner gives it out, or in the plain layout.
    split : {"training", "validation", "test"}
        Which images.

    Raises
    ------
    InputError
        If the folder holds no image of that split, or an image lacks its mask. To train, test images need none.
    """
    known = data_set(key)
    found = _find_all(known, folder, split == "test")
    cases = [files for files in found if files.split == split]
    if not cases:
        raise InputError(
            f"There is no {split} image of {known.title} in '{folder}'; give the set's folder as its owner lays "
            "it out, or one with images/ and masks/."
        )
    return cases


def _find_all(known: DataSet, folder: Path, for_test: bool) -> list[CaseFiles]:
    for layouts in (known.layouts, (PLAIN,)):
        found: list[CaseFiles] = []
        for layout in layouts:
            if layout.fov_required and not (folder / layout.fov).parent.is_dir():
                continue
            found += _find_in_layout(known, folder, layout, for_test)
        if found:
            return _hold_out(known, found)
    return []


def _find_in_layout(known: DataSet, folder: Path, layout: Layout, for_test: bool) -> list[CaseFiles]:
    pattern = folder / layout.image.format("*")
    cases = []
    for path in natural_order(pattern.parent.glob(pattern.name)):
        # DRIVE in the plain layout has 21_training.* in images/ just as in its owner's.
        split = known.split_of(path.stem)
        # Some owners keep the truth of their test images to themselves.
        if split is None or (split == "test") != for_test or not is_image_file(path):
            continue

        def find(place: str, stem: str = path.stem) -> Path | None:
            if not place:
                return None
            wanted = folder / place.format(stem, number=stem[:2])
            return next(iter(natural_order(p for p in wanted.parent.glob(wanted.name) if is_image_file(p))), None)

        mask = find(layout.mask)
        if mask is None:
            raise InputError(f"There is no mask of '{path}' ({layout.mask}); complete the data set's folder.")
        cases.append(
            CaseFiles(
                known.key,
                path.stem,
                known.patient_of(path.stem),
                split,
                path,
                mask,
                find(layout.fov),
                find(layout.second),
            )
        )
    return cases


def _hold_out(known: DataSet, found: list[CaseFiles]) -> list[CaseFiles]:
    """Move the training images with the lowest hashes to validation, when that is the set's rule."""
    if not known.validation_by_hash:
        return found
    training = [files for files in found if files.split == "training"]
    ranked = sorted(training, key=lambda files: hashlib.sha256(files.image.read_bytes()).hexdigest())
    held = {files.stem for files in ranked[: known.validation_by_hash]}
    return [
        CaseFiles(f.data_set, f.stem, f.patient, "validation", f.image, f.mask, f.fov, f.second)
        if f.stem in held
        else f
        for f in found
    ]


def find_own_cases(folder: Path, validation: tuple[str, ...], weighted: bool = False) -> list[CaseFiles]:
    """List the images of somebody's own folder in the plain layout.

    Parameters
    ----------
    folder : Path
        Holds ``images/`` and ``masks/``, and ``fov/`` when there are fields of view.
    validation : tuple of str
        Stems, or beginnings of stems (a patient's number, say), of the images that are for validation.
    weighted : bool
        Whether there is ``weights/``, too.

    Raises
    ------
    InputError
        If there are no images, an image lacks its mask or weights, an entry of `validation` fits no image, no image is
        left to train on, or a name is that of a known set's test image.
    """
    cases = []
    unused = set(validation)
    masks, fovs = (_by_stem(folder / room) for room in ("masks", "fov"))
    for path in _images_in(folder / "images"):
        if is_test_name(path.stem):
            raise InputError(
                f"'{path.stem}' is the name of a test image of a public data set and cannot be trained on; take it out "
                f"of '{folder}', or rename it if it is an image of your own."
            )
        mask, fov = masks.get(path.stem), fovs.get(path.stem)
        if mask is None:
            raise InputError(f"There is no mask of '{path}' in masks/; add one or take the image away.")
        weights = folder / "weights" / f"{path.stem}.png" if weighted else None
        if weights is not None and not weights.is_file():
            raise InputError(f"There are no weights of '{path}' in weights/; add them or take the image away.")
        held = [beginning for beginning in validation if path.stem.startswith(beginning)]
        unused -= set(held)
        split: Split = "validation" if held else "training"
        cases.append(CaseFiles("own", path.stem, path.stem, split, path, mask, fov, weights=weights))
    if unused:
        raise InputError(f"No image in '{folder / 'images'}' begins with '{min(unused)}', listed for validation.")
    if not any(files.split == "training" for files in cases):
        raise InputError(f"There is no image to train on in '{folder / 'images'}'; put some there.")
    return cases


def _images_in(room: Path) -> list[Path]:
    return natural_order(path for path in room.glob("*") if is_image_file(path))


def _by_stem(room: Path) -> dict[str, Path]:
    """Return a folder's images by their whole stems, of two with one stem the first; none of a folder not there."""
    return {path.stem: path for path in reversed(_images_in(room))}


def read_case(files: CaseFiles, *, allow_test: bool = False) -> Case:
    """Read one image with its vessels.

    Parameters
    ----------
    files : CaseFiles
        What :func:`find_cases` found.
    allow_test : bool
        Whether a test image may be read: for measuring only, never for training.

    Raises
    ------
    InputError
        If it is a test image and they are not allowed, or the files cannot be read or differ in size.
    """
    if files.split == "test" and not allow_test:
        title = data_set(files.data_set).title
        raise InputError(
            f"'{files.stem}' belongs to the test split of {title} and cannot be trained on; take it out of the list."
        )
    modality = DATA_SETS[files.data_set].modality if files.data_set in DATA_SETS else None
    image = read_image(files.image, fov="auto" if files.fov is None else files.fov, modality=modality)
    return Case(
        files.name,
        image,
        read_mask(files.mask, image.shape).mask,
        None if files.second is None else read_mask(files.second, image.shape).mask,
        None if files.weights is None else _read_weights(files.weights, image.shape),
    )


def _read_weights(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as file:
            weights = np.asarray(file.convert("L"))
    except OSError as error:
        raise InputError(f"Cannot read '{path}' as an image; check that the file is complete.") from error
    if weights.shape != shape:
        raise InputError(f"'{path}' and its image differ in size; use matching files.")
    return weights
