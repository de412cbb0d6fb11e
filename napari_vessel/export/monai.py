"""MONAI's data list: a JSON file as ``monai.data.load_decathlon_datalist`` reads it, and the files it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_vessel.errors import InputError
from napari_vessel.export.cases import Case, write_pixels
from napari_vessel.export.layout import (
    DataSet,
    Found,
    Layout,
    Paths,
    Writer,
    found_file,
    make_folders,
    plain_suffix,
    smallest,
    write_field,
    write_weights,
)
from napari_vessel.export.outside import inside, read_object
from napari_vessel.export.splits import Part
from napari_vessel.export.survey import Survey

DATALIST = "datalist.json"
_LISTS = ("training", "validation", "test")
_NAMES = (DATALIST, "dataset.json")


class MonaiLayout(Layout):
    """``datalist.json`` with the lists ``training``, ``validation`` and ``test``, and images and labels in folders.

    An entry has ``image`` and ``label``, ``weights`` when some pixels are not to be learnt from, ``fov`` where that is
    known, and ``fold`` in a cross-validation, as MONAI's own ``datafold_read`` takes it. Labels are 0, 1, 2...
    """

    name = "monai"
    title = "MONAI data list"
    tip = "datalist.json for load_decathlon_datalist, with images, labels and weights; and manifest.json."

    def notes(self, survey: Survey) -> list[str]:
        """Say when a batch would mix channels."""
        return mixed_channels(survey)

    def writer(self, folder: Path, survey: Survey, title: str) -> Writer:
        """Begin a data set in an empty folder."""
        return _Writer(folder, survey, title)

    def is_in(self, folder: Path) -> bool:
        """Whether there is a data list."""
        if (folder / DATALIST).is_file():
            return True
        try:
            return _list_in(folder) is not None
        except InputError:
            return False

    def find(self, folder: Path) -> DataSet:
        """Look what the lists name."""
        file = _list_in(folder)
        if file is None:
            raise InputError(f"{folder} has no {DATALIST}; choose the folder of a MONAI data list.")
        about = read_object(file)
        found: list[Found] = []
        for which in _LISTS:
            items = about.get(which, [])
            for item in items if isinstance(items, list) else ():
                # In Decathlon's own lists a test image is its bare path.
                item = item if isinstance(item, dict) else {"image": item}
                image = inside(folder, item.get("image"), file.name)
                mask = inside(folder, item["label"], file.name) if "label" in item else None
                fov = inside(folder, item["fov"], file.name) if "fov" in item else None
                found.append(found_file(image, image.name.removesuffix(image.suffix), folder, mask, fov))
        if not found:
            raise InputError(f"{file} lists no image; it needs training, validation or test.")
        return DataSet(tuple(found), _names(about.get("labels")))


def _list_in(folder: Path) -> Path | None:
    for name in _NAMES:
        file = folder / name
        if file.is_file() and any(which in read_object(file) for which in _LISTS):
            return file
    return None


def _names(labels: object) -> dict[int, str] | None:
    """Return the classes of ``{"1": "vessel"}``; None where there are none that can be understood."""
    if not isinstance(labels, dict):
        return None
    try:
        names = {int(number): str(name) for number, name in labels.items()}
    except ValueError:
        return None
    return {number: name for number, name in names.items() if number > 0} or None


def mixed_channels(survey: Survey) -> list[str]:
    """Say when some images are grey and others in colour."""
    if 0 < survey.grey < len(survey.looks):
        grey = f"{survey.grey} of {len(survey.looks)} images are grey beside colour ones"
        return [f"{grey}; a batch of both needs a transform."]
    return []


class _Writer:
    def __init__(self, folder: Path, survey: Survey, title: str) -> None:
        self._folder, self._survey, self._title = folder, survey, title
        self._numbers = survey.numbers
        self._lists: dict[str, list[dict[str, Any]]] = {}
        self._colour = False
        make_folders(folder, "images", "labels")

    def add(self, case: Case) -> Paths:
        name, pixels = case.record.name, case.pixels
        self._colour = self._colour or pixels.ndim == 3
        image, label = f"images/{name}{plain_suffix(pixels)}", f"labels/{name}.png"
        write_pixels(self._folder / image, pixels)
        write_pixels(self._folder / label, smallest(case.numbered(self._numbers)))
        weights = write_weights(self._folder, name, case.weights) if self._survey.ignores else None
        fov = write_field(self._folder, name, case.image.fov)
        named = {"image": image, "label": label, "weights": weights, "fov": fov, "fold": case.place.fold}
        item = {what: value for what, value in named.items() if value is not None}
        self._lists.setdefault(case.place.part.value, []).append(item)
        return Paths(image, label, weights, fov)

    def finish(self) -> None:
        from napari_vessel.images.writing import write_json

        # An empty list would stop MONAI's reader, so there is none.
        lists = {part.value: self._lists[part.value] for part in Part if part.value in self._lists}
        write_json(
            self._folder / DATALIST,
            {
                "name": self._title,
                "licence": self._survey.options.licence,
                "tensorImageSize": "2D",
                "modality": {"0": "R", "1": "G", "2": "B"} if self._colour else {"0": "grey"},
                "labels": {"0": "background", **{str(n): name for name, n in self._numbers.items()}},
                **{f"num{part.capitalize()}": len(items) for part, items in lists.items()},
                **lists,
            },
        )
