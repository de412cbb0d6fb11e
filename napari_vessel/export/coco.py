"""COCO's instances: one annotation for each connected component of each class, its mask as run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    plain_suffix,
    write_field,
)
from napari_vessel.export.outside import inside, read_object
from napari_vessel.export.rle import component_runs, mask_runs, pack, runs_mask
from napari_vessel.export.splits import Part
from napari_vessel.export.survey import Survey
from napari_vessel.images.decoding import Decoded
from napari_vessel.images.image import UNCERTAIN
from napari_vessel.untrusted import MALFORMED

_SHORT = {Part.TRAINING: "train", Part.VALIDATION: "val", Part.TEST: "test"}
MAX_ANNOTATIONS = 5_000_000


class CocoLayout(Layout):
    """``images/`` and ``annotations/instances.json``; with a split ``instances_train.json`` and so on.

    What is not to be learnt from is one annotation with ``iscrowd`` 1 of each category: COCO's evaluation passes over
    detections in it, and most trainers leave it out.
    """

    name = "coco"
    title = "COCO instances"
    tip = "images/ and annotations/instances.json with a mask (RLE) for every component; and manifest.json."

    def notes(self, survey: Survey) -> list[str]:
        """Say how what is unsure is written."""
        if not survey.ignores:
            return []
        return ["Ignored places are annotations with iscrowd 1: COCO's evaluation passes over detections there."]

    def writer(self, folder: Path, survey: Survey, title: str) -> Writer:
        """Begin a data set in an empty folder."""
        return _Writer(folder, survey, title)

    def is_in(self, folder: Path) -> bool:
        """Whether there are annotations."""
        return bool(_files(folder))

    def find(self, folder: Path) -> DataSet:
        """Look what the files of annotations name."""
        files = _files(folder)
        if not files:
            raise InputError(f"{folder} has no annotations/*.json; choose the folder of a COCO data set.")
        fields = by_stem(folder / "fov", folder)
        found: list[Found] = []
        names: dict[int, str] = {}
        for file in files:
            try:
                about = read_object(file)
                names |= {int(one["id"]): str(one["name"]) for one in about["categories"]}
                wanted: dict[int, list[dict[str, Any]]] = {}
                for one in _some(about["annotations"]):
                    wanted.setdefault(int(one["image_id"]), []).append(one)
                for image in _some(about["images"]):
                    name = image["file_name"]
                    path = inside(folder, name, file.name)
                    if not path.is_file():
                        path = inside(folder, f"images/{name}", file.name)
                    mask = _Masks(file, wanted.get(int(image["id"]), []), names)
                    found.append(_with_mask(found_file(path, path.stem, folder, None), mask, fields))
            except MALFORMED as error:
                raise InputError(f"{file} is no file of COCO instances ({error}); export it again.") from error
        if any(not 0 < number < 65536 for number in names):
            raise InputError(f"{files[0]} has a category whose id is not from 1 to 65535; number them anew.")
        return DataSet(tuple(found), names)


def _files(folder: Path) -> list[Path]:
    places = (folder / "annotations", folder)
    for place in places:
        found = sorted(place.glob("instances*.json")) if place.is_dir() else []
        if found:
            return [inside(folder, file.relative_to(folder).as_posix(), str(folder)) for file in found]
    return []


def _some(items: Sequence[Any]) -> Sequence[Any]:
    if not isinstance(items, list) or len(items) > MAX_ANNOTATIONS:
        raise ValueError("a list that is none, or is too long")
    return items


def _with_mask(found: Found, mask: _Masks, fields: dict[str, Path]) -> Found:
    from napari_vessel.images.fov import read_fov

    field = fields.get(found.name)
    fov = None if field is None else lambda shape: read_fov(field, shape)
    return Found(found.name, found.key, found.image, lambda shape: Decoded(mask.read(shape)), fov)


class _Masks:
    """The annotations of one image."""

    def __init__(self, file: Path, items: list[dict[str, Any]], names: dict[int, str]) -> None:
        self._file, self._items, self._names = file, items, names

    def read(self, shape: tuple[int, int]) -> NDArray[np.uint16]:
        """Return the numbers of categories, shape (Y, X); a later annotation lies over an earlier one."""
        labels = np.zeros(shape, np.uint16)
        try:
            for one in self._items:
                category = int(one["category_id"])
                if category not in self._names:
                    raise InputError(f"{self._file} has an annotation of no category; export it again.")
                # Where nobody knows, or where nobody counted, there is no mask, unless that is what the class says.
                if one.get("iscrowd") and self._names[category] != UNCERTAIN:
                    continue
                self._draw(labels, one["segmentation"], category, shape)
        except InputError as error:
            raise InputError(f"{self._file}: {error}") from error
        except MALFORMED as error:
            raise InputError(f"{self._file} has an annotation that is damaged; export it again.") from error
        return labels

    def _draw(self, labels: NDArray[np.uint16], drawn: Any, category: int, shape: tuple[int, int]) -> None:
        if isinstance(drawn, dict):
            if list(drawn.get("size", ())) != list(shape):
                raise InputError(f"An annotation is of an image of another size than {shape[0]} x {shape[1]} px.")
            labels[runs_mask(drawn["counts"], shape)] = category
            return
        import cv2

        for points in drawn:
            outline = np.asarray(points, np.float64).reshape(-1, 2)
            if not np.isfinite(outline).all() or np.abs(outline).max(initial=0) > 1e6:
                raise ValueError("a polygon that is none")
            cv2.fillPoly(labels, [np.floor(outline).astype(np.int32)], category)


class _Writer:
    def __init__(self, folder: Path, survey: Survey, title: str) -> None:
        self._folder, self._survey, self._title = folder, survey, title
        self._numbers = survey.numbers
        self._images: dict[Part, list[dict[str, Any]]] = {}
        self._annotations: dict[Part, list[dict[str, Any]]] = {}
        self._count = 0
        make_folders(folder, "images", "annotations")

    def add(self, case: Case) -> Paths:
        from napari_vessel.topology.components import label_components

        name, pixels, part = case.record.name, case.pixels, case.place.part
        place = f"images/{name}{plain_suffix(pixels)}"
        write_pixels(self._folder / place, pixels)
        height, width = case.image.shape
        images = self._images.setdefault(part, [])
        number = sum(map(len, self._images.values())) + 1
        about = {"id": number, "file_name": Path(place).name, "height": height, "width": width}
        images.append(about | ({"fold": case.place.fold} if case.place.fold is not None else {}))
        labels = case.numbered(self._numbers)
        for class_name, category in self._numbers.items():
            crowd = class_name == UNCERTAIN
            components, _ = label_components(labels == category)
            for _, counts in component_runs(components):
                self._annotate(part, number, category, counts, case.image.shape, crowd)
            if case.ignored.any() and not crowd:
                self._annotate(part, number, category, mask_runs(case.ignored), case.image.shape, True)
        return Paths(place, None, None, write_field(self._folder, name, case.image.fov))

    def _annotate(
        self, part: Part, image: int, category: int, counts: list[int], shape: tuple[int, int], crowd: bool
    ) -> None:
        self._count += 1
        self._annotations.setdefault(part, []).append(
            {
                "id": self._count,
                "image_id": image,
                "category_id": category,
                "segmentation": {"size": list(shape), "counts": pack(counts)},
                "area": sum(counts[1::2]),
                "bbox": _box(counts, shape[0]),
                "iscrowd": int(crowd),
            }
        )

    def finish(self) -> None:
        from napari_vessel.images.writing import write_json

        options = self._survey.options
        for part, images in self._images.items():
            whole = options.split is None or (options.split.folds > 0 and part is Part.TRAINING)
            ending = "" if whole else f"_{_SHORT[part]}"
            write_json(
                self._folder / "annotations" / f"instances{ending}.json",
                {
                    "info": {"description": self._title, "version": "1.0"},
                    "licenses": [{"id": 1, "name": options.licence, "url": ""}] if options.licence else [],
                    "categories": [
                        {"id": number, "name": name, "supercategory": "vessel"}
                        for name, number in self._numbers.items()
                    ],
                    "images": [image | ({"license": 1} if options.licence else {}) for image in images],
                    "annotations": self._annotations.get(part, []),
                },
            )


def _box(counts: list[int], height: int) -> list[int]:
    """Return x, y, width and height of the box around run lengths."""
    ends = np.cumsum(counts)
    last = ends[1::2] - 1
    first = ends[: 2 * len(last) : 2]
    rows = np.concatenate([first % height, last % height])
    # A run that goes on into the next column is as high as the image.
    through = bool((first // height != last // height).any())
    top, bottom = (0, height - 1) if through else (int(rows.min()), int(rows.max()))
    left, right = int(first[0] // height), int(last[-1] // height)
    return [left, top, right - left + 1, bottom - top + 1]
