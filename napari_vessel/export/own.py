"""The manifest of an export, read back. It may have been changed by anybody, so every part of it is looked at."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap
from napari_vessel.errors import InputError
from napari_vessel.export.layouts import LAYOUTS
from napari_vessel.export.options import Ignore
from napari_vessel.export.outside import inside, read_object
from napari_vessel.export.rle import runs_mask
from napari_vessel.export.target import MANIFEST, sha256
from napari_vessel.images.image import UNCERTAIN, MaskClass, Modality, VesselMask
from napari_vessel.images.inputs import same_letters
from napari_vessel.images.masks import MAX_LABEL
from napari_vessel.review.fragments import Fragment
from napari_vessel.review.journal import FLAGS
from napari_vessel.review.records import ImageState
from napari_vessel.untrusted import MALFORMED

_MAX_TEXT = 10_000


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """What the manifest says of one image that a project can take over.

    Attributes
    ----------
    name, modality, spacing, state, flags, comment
        As of the image's record, and of the image.
    annotators : tuple of str
        Who worked on it.
    classes : tuple of MaskClass
        Those of its mask.
    gaps, fragments : tuple
        Those with the verdict unsure.
    beneath : mapping of str to str, or None
        Packed run lengths of what each class has where the file says *ignore*, background elsewhere; None where no file
        can say so.
    """

    name: str
    modality: Modality
    spacing: tuple[float, float] | None
    state: ImageState
    flags: frozenset[str]
    comment: str
    annotators: tuple[str, ...]
    classes: tuple[MaskClass, ...]
    gaps: tuple[Gap, ...]
    fragments: tuple[Fragment, ...]
    beneath: Mapping[str, str] | None

    @property
    def is_unsure(self) -> bool:
        """Whether an annotator was unsure somewhere."""
        return bool(self.gaps or self.fragments)

    def check(self, shape: tuple[int, int]) -> None:
        """Raise InputError if what was unsure cannot be in an image of this shape."""
        for gap in self.gaps:
            places = np.concatenate([gap.path, [end.point for end in gap.ends]]).astype(np.float64)
            # A pixel more: what is drawn is clipped to the image.
            within = ((places >= -1) & (places <= shape)).all() and (np.abs(gap.widths) <= max(shape)).all()
            if not within or gap.path.ndim != 2 or len(gap.widths) != len(gap.path):
                raise InputError(f"{MANIFEST} has a gap that is not in {self.name}; put the one of the export back.")
        for one in self.fragments:
            if not one.lies_in(shape):
                raise InputError(
                    f"{MANIFEST} has a fragment that is not in {self.name}; put the one of the export back."
                )

    def mask(self, values: NDArray[Any], numbers: Mapping[str, int] | None) -> VesselMask | None:
        """Return the mask with the classes that it had in its project.

        Parameters
        ----------
        values : ndarray, shape (Y, X) or (Y, X, 3)
            As they are in the file.
        numbers : mapping of str to int or None
            Number of each class in the whole data set; None where the values are those of the classes.

        Returns
        -------
        VesselMask or None
            None when it has values that no class has, because it was changed since.
        """
        shape = (int(values.shape[0]), int(values.shape[1]))
        labels = np.zeros(shape, np.uint8)
        open_ = ~_are(values, 0)
        for one in self.classes:
            value = one.value if numbers is None else numbers.get(one.name)
            if value is not None and (self.beneath is None or one.name != UNCERTAIN):
                there = _are(values, value)
                labels[there], open_[there] = one.label, False
        if self.beneath is not None and numbers is not None and UNCERTAIN in numbers:
            ignored = _are(values, numbers[UNCERTAIN])
            open_ &= ~ignored
            for one in self.classes:
                if one.name in self.beneath:
                    labels[runs_mask(self.beneath[one.name], shape) & ignored] = one.label
        if open_.any():
            return None
        listed = ", ".join(f"{one.value} is {one.name}" for one in self.classes[:16])
        return VesselMask(labels, self.classes, f"As in its project: {listed}.")


def _are(values: NDArray[Any], value: int | tuple[int, int, int]) -> NDArray[np.bool_]:
    if values.ndim == 3:
        wanted = value if isinstance(value, tuple) else (value,) * 3
        return np.asarray((values[..., :3] == wanted).all(axis=2), np.bool_)
    if isinstance(value, tuple):
        # A mask in which only one class of colour is left may be read as grey.
        return np.asarray(values == value[0], np.bool_) if len(set(value)) == 1 else np.zeros(values.shape, np.bool_)
    return np.asarray(values == value, np.bool_)


@dataclass(frozen=True, eq=False, slots=True)
class Own:
    """A manifest of this program's.

    Attributes
    ----------
    layout : str
        Name of the layout.
    labels : mapping of str to int
        Number of each class, from 1.
    entries : mapping of str to Entry
        By the paths of the images, as :func:`~napari_vessel.images.inputs.same_letters` gives them.
    files : mapping of str to str
        SHA-256 of every file, by its path.
    """

    layout: str
    labels: Mapping[str, int]
    entries: Mapping[str, Entry]
    files: Mapping[str, str]

    @property
    def numbered(self) -> bool:
        """Whether masks hold the numbers of classes, and not the values of their sources."""
        return self.layout != "folder"

    def changed(self, folder: Path) -> list[str]:
        """Return one sentence when files were changed or removed since the export."""
        different = []
        for name, digest in self.files.items():
            path = inside(folder, name, MANIFEST)
            if not path.is_file() or sha256(path) != digest:
                different.append(name)
        if not different:
            return []
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        return [f"{different[0]}{more} changed since the export; it is read as it is now."]


def read_own(folder: Path) -> Own | None:
    """Read the manifest of a folder; None where there is none of this program's.

    Raises
    ------
    InputError
        If it is damaged, of a newer program, or names files outside the folder.
    """
    file = folder / MANIFEST
    if not file.is_file():
        return None
    data = read_object(file)
    kind = re.fullmatch(r"napari-vessel ([\w-]+) export", str(data.get("kind", "")))
    layout = {"nnU-Net": "nnunet"}.get(kind[1], kind[1]) if kind else ""
    if layout not in LAYOUTS:
        return None
    if not isinstance(data.get("format"), int) or data["format"] > 2:
        raise InputError(f"{file} was written by a newer napari-vessel; update it to read this data set.")
    try:
        labels = {str(name): int(number) for name, number in data.get("labels", {}).items()}
        ignores = layout == "nnunet" and data.get("ignore", Ignore.NONE) != Ignore.NONE
        images = [one["image"] for one in data["images"]]
        entries = {same_letters(one["image"]): _entry(one, ignores) for one in data["images"]}
        files = {str(name): str(digest) for name, digest in data.get("files", {}).items()}
    except MALFORMED as error:
        raise InputError(f"{file} is damaged; put the one of the export back, or remove it.") from error
    for name in (*images, *files):
        inside(folder, name, MANIFEST)
    return Own(layout, labels, entries, files)


def _entry(data: dict[str, Any], ignores: bool) -> Entry:
    spacing = data.get("spacing_um")
    if spacing is not None:
        y, x = float(spacing[0]), float(spacing[1])
        if not (0 < y < math.inf and 0 < x < math.inf):
            raise ValueError("a pixel size that is none")
        spacing = (y, x)
    unsure = data.get("unsure", {})
    return Entry(
        name=str(data["name"])[:100],
        modality=Modality(data["modality"]),
        spacing=spacing,
        state=ImageState(data["state"]),
        flags=frozenset(map(str, data["flags"])) & FLAGS,
        comment=str(data["comment"])[:_MAX_TEXT],
        annotators=tuple(str(name)[:100] for name in data["annotators"]),
        classes=_classes(data["classes"]),
        # Written down and read again, as a project does with every proposal.
        gaps=tuple(Gap.from_json(Gap.from_json(one).to_json()) for one in unsure.get("gaps", ())),
        fragments=tuple(Fragment.from_json(one) for one in unsure.get("fragments", ())),
        beneath={str(name): str(runs) for name, runs in (data.get("beneath") or {}).items()} if ignores else None,
    )


def _classes(data: Any) -> tuple[MaskClass, ...]:
    found = []
    for number, one in enumerate(data, start=1):
        label, value = int(one.get("label", number)), one["value"]
        colour = isinstance(value, list)
        parts = [int(part) for part in value] if colour else [int(value)]
        limit, length = (256, 3) if colour else (1 << 32, 1)
        if not 0 < label <= MAX_LABEL or len(parts) != length or not all(0 <= part < limit for part in parts):
            raise ValueError("a class that is none")
        found.append(MaskClass(label, (parts[0], parts[1], parts[2]) if colour else parts[0], str(one["name"])[:100]))
    if not found or len({one.label for one in found}) != len(found):
        raise ValueError("classes that are none")
    return tuple(found)
