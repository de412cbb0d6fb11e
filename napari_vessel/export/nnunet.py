"""Data sets in the raw format of nnU-Net v2: imagesTr, labelsTr and dataset.json, beside the manifest.

The rules are those of nnU-Net's ``verify_dataset_integrity`` and of its reader for natural images: one lossless file
ending for images and labels, the same channels in every case, labels 0, 1, 2... with ``ignore`` as the highest.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_vessel.errors import InputError
from napari_vessel.export.cases import Case, write_pixels
from napari_vessel.export.layout import (
    DataSet,
    Found,
    Layout,
    Paths,
    Writer,
    by_stem,
    found_file,
    make_folders,
    smallest,
    write_field,
)
from napari_vessel.export.options import ExportOptions, Ignore
from napari_vessel.export.outside import files_in, read_object
from napari_vessel.export.rle import mask_runs, pack
from napari_vessel.export.splits import Part, Place
from napari_vessel.export.survey import Survey
from napari_vessel.export.target import read_manifest
from napari_vessel.images.image import UNCERTAIN
from napari_vessel.review.project import Project
from napari_vessel.untrusted import shortened

IDS = range(1, 1000)
FOLDS = 5
"""nnU-Net splits into this many parts by default, and stops at fewer images."""

SPLITS = "splits_final.json"
_TAKEN = ("background", "ignore")


class NnunetLayout(Layout):
    """``DatasetNNN_NAME`` in a folder of nnU-Net data sets.

    Images of 8 bits are PNG; as soon as one has more, every file is a lossless TIFF. The values are those of the
    source where they are whole numbers of 8 to 16 bits, else float32 in [0, 1]. Colour is one file with three
    channels; beside colour images a grey one has three equal channels. Classes become 1, 2... by name; what is not to
    be learnt from becomes ``ignore``. Outside the field of view is background as anywhere else. Images for test are in
    imagesTs and labelsTs.
    """

    name = "nnunet"
    title = "nnU-Net v2 data set"
    tip = "imagesTr/, labelsTr/ and dataset.json for nnU-Net, and manifest.json on where each came from."
    needs_pixels = True

    def target(self, out: Path, project: Project, options: ExportOptions) -> Path:
        """Return ``DatasetNNN_NAME`` in a folder of data sets."""
        return _target(out, options.dataset_id, options.name or dataset_name(project.name))

    def notes(self, survey: Survey) -> list[str]:
        """Return what the format changes or asks for."""
        return _notes(survey)

    def writer(self, folder: Path, survey: Survey, title: str) -> Writer:
        """Begin a data set in an empty folder."""
        return _Writer(folder, survey, title)

    def is_in(self, folder: Path) -> bool:
        """Whether there are images for training and a dataset.json."""
        return (folder / "imagesTr").is_dir() and (folder / "dataset.json").is_file()

    def find(self, folder: Path) -> DataSet:
        """Look what there is: cases with one file each, whose labels are numbers with names."""
        about = read_object(folder / "dataset.json")
        names = _names(folder, about)
        ending = str(about.get("file_ending", ".png"))
        found: list[Found] = []
        notes: list[str] = []
        for images, labels in (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs")):
            masks = by_stem(folder / labels, folder)
            fields = by_stem(folder / "fov", folder)
            for path in files_in(folder / images, folder):
                case = re.fullmatch(rf"(.+)_(\d{{4}}){re.escape(ending)}", path.name)
                if case is None:
                    notes.append(f"{images}/{path.name} is no file of a case and is left out.")
                    continue
                if case[2] != "0000":
                    raise InputError(
                        f"{path} is a further channel of {case[1]}; only cases with one file are read, grey or colour."
                    )
                found.append(found_file(path, case[1], folder, masks.get(case[1]), fields.get(case[1])))
        if not found:
            raise InputError(
                f"{folder} has no case with the ending {shortened(ending)} that can be read; give PNG or TIFF files."
            )
        return DataSet(tuple(found), names, tuple(notes))


class _Writer:
    def __init__(self, folder: Path, survey: Survey, title: str) -> None:
        self._folder, self._survey, self._title = folder, survey, title
        self._numbers = _numbers(survey)
        self._ignore = len(self._numbers) + 1 if survey.ignores else 0
        self._suffix = ".tif" if survey.deep else ".png"
        names = case_names([look.record.name for look in survey.looks])
        self._cases = {look.record.id: case for look, case in zip(survey.looks, names, strict=True)}
        make_folders(folder, "imagesTr", "labelsTr")

    def add(self, case: Case) -> Paths:
        name = self._cases[case.record.id]
        pixels = case.pixels
        if self._survey.colour and pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        which = "Ts" if case.place.part is Part.TEST else "Tr"
        image, mask = f"images{which}/{name}_0000{self._suffix}", f"labels{which}/{name}{self._suffix}"
        make_folders(self._folder, f"images{which}", f"labels{which}")
        write_pixels(self._folder / image, pixels)
        labels = case.numbered(self._numbers)
        labels[case.ignored] = self._ignore
        write_pixels(self._folder / mask, smallest(labels))
        beneath = {
            one.name: pack(mask_runs(there))
            for one in case.mask.classes
            if (there := (case.mask.labels == one.label) & case.ignored).any()
        }
        return Paths(image, mask, None, write_field(self._folder, name, case.image.fov), beneath or None)

    def finish(self) -> None:
        from napari_vessel.images.writing import write_json
        from napari_vessel.version import __version__

        places = {self._cases[look.record.id]: self._survey.places[look.record.id] for look in self._survey.looks}
        colour = self._survey.colour
        # Two names mean something to nnU-Net itself.
        named = {f"class {name}" if name in _TAKEN else name: n for name, n in self._numbers.items()}
        write_json(
            self._folder / "dataset.json",
            {
                "channel_names": {"0": "R", "1": "G", "2": "B"} if colour else {"0": "grey"},
                "labels": {"background": 0, **named} | ({"ignore": self._ignore} if self._ignore else {}),
                "numTraining": sum(place.part is not Part.TEST for place in places.values()),
                "file_ending": self._suffix,
                "overwrite_image_reader_writer": "NaturalImage2DIO",
                "name": self._title,
                "licence": self._survey.options.licence,
                "converted_by": f"napari-vessel {__version__}",
            },
        )
        if splits := _splits(places):
            write_json(self._folder / SPLITS, splits)


def _splits(places: dict[str, Place]) -> list[dict[str, list[str]]]:
    """Return what nnU-Net reads from splits_final.json: cases for training and validation of each fold."""
    folds = sorted({place.fold for place in places.values() if place.fold is not None})
    learnt = {case: place for case, place in places.items() if place.part is not Part.TEST}
    parts = [{case for case, place in learnt.items() if place.fold == fold} for fold in folds]
    if not folds and any(place.part is Part.VALIDATION for place in learnt.values()):
        parts = [{case for case, place in learnt.items() if place.part is Part.VALIDATION}]
    return [{"train": sorted(learnt.keys() - validation), "val": sorted(validation)} for validation in parts]


def dataset_name(text: str) -> str:
    """Return a text as the name of a data set: letters, digits, ``-`` and ``_``."""
    return _plain(text) or "Vessels"


def case_names(names: Sequence[str]) -> list[str]:
    """Return plain and different names for the cases, in the order of the images' names."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain = _plain(name) or "image"
        case, number = plain, 2
        while case.casefold() in taken:
            case, number = f"{plain}_{number}", number + 1
        taken.add(case.casefold())
        found.append(case)
    return found


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9-]+", "_", letters).strip("_-")


def _target(parent: Path, dataset_id: int, name: str) -> Path:
    if dataset_id not in IDS:
        raise InputError(f"The number of the data set is {dataset_id}; choose one from 1 to 999.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise InputError(f"The data set cannot be called {name!r}; use only letters, digits, - and _.")
    if re.match(r"Dataset\d{3}", parent.name) or read_manifest(parent) is not None:
        raise InputError(f"{parent} is one data set or export; choose the folder that holds the data sets.")
    target = parent / f"Dataset{dataset_id:03d}_{name}"
    if parent.is_dir():
        same = (path.name for path in parent.glob(f"Dataset{dataset_id:03d}*") if path.is_dir())
        others = sorted(other for other in same if other != target.name)
        if others:
            raise InputError(f"{parent} has {others[0]} with the number {dataset_id:03d} already; choose another.")
    return target


def _numbers(survey: Survey) -> dict[str, int]:
    """Return the numbers of the classes, from 1; what is uncertain has none where it becomes ``ignore``."""
    kept = survey.options.ignore is Ignore.NONE
    return {name: number for name, number in survey.numbers.items() if kept or name != UNCERTAIN}


def _names(folder: Path, about: dict[str, Any]) -> dict[int, str]:
    """Return the classes of a dataset.json by their numbers; what is to be ignored is uncertain."""
    labels = about.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise InputError(f"{folder / 'dataset.json'} has no labels; nnU-Net v2 needs them, and so does reading.")
    if not all(type(value) is int and 0 <= value < 65536 for value in labels.values()):
        raise InputError(f"{folder / 'dataset.json'} has labels that are regions of several; only plain ones are read.")
    return {value: UNCERTAIN if name == "ignore" else str(name) for name, value in labels.items() if value}


def _notes(survey: Survey) -> list[str]:
    looks = survey.looks
    notes = []
    names = [look.record.name for look in looks]
    splits = _splits({look.record.id: survey.places[look.record.id] for look in looks})
    count = sum(survey.places[look.record.id].part is not Part.TEST for look in looks)
    if 0 < count < FOLDS and not splits:
        few = "1 image is" if count == 1 else f"{count} images are"
        notes.append(f"{few} fewer than the {FOLDS} that nnU-Net needs for its cross-validation.")
    if 0 < survey.grey < len(looks):
        grey = f"{survey.grey} of {len(looks)} images are grey beside colour ones"
        notes.append(f"{grey}: they get three equal channels.")
    if deep := [look.record.name for look in looks if look.pixels is not None and look.pixels.deep]:
        notes.append(
            f"{deep[0]} has more than 8 bits, so every file is a TIFF; nnU-Net will want new images as TIFF too."
        )
    if unsure := sum(look.ignored for look in looks):
        where = "1 image" if unsure == 1 else f"{unsure} images"
        what = "unsure" if survey.options.ignore is Ignore.UNSURE else "unsure or unreviewed"
        notes.append(f"{where} with {what} places: these get the label ignore, which nnU-Net does not learn from.")
    if splits:
        notes.append(f"Copy {SPLITS} into the data set's folder in nnUNet_preprocessed; nnU-Net takes the split there.")
    changed = [(name, case) for name, case in zip(names, case_names(names), strict=True) if name != case]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        notes.append(f"{changed[0][0]}{more} will be called {changed[0][1]}; the manifest has both names.")
    return notes
