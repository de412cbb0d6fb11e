"""Data sets in the raw format of nnU-Net v2: imagesTr, labelsTr and dataset.json, beside the manifest.

The rules are those of nnU-Net's ``verify_dataset_integrity`` and of its reader for natural images: one lossless file
ending for images and labels, the same channels in every case, labels 0, 1, 2... with ``ignore`` as the highest.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError, VesselError
from napari_vessel.export.choice import check_export, exportable, to_export
from napari_vessel.export.manifest import image_entry, write_manifest
from napari_vessel.export.target import building, check_target, put_in_place, read_manifest, recover, sha256
from napari_vessel.images.image import UNCERTAIN, VESSEL, MaskClass, VesselMask
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.edits import Verdict
from napari_vessel.review.fragments import FragmentVerdict, standing
from napari_vessel.review.origins import judged_pixels, uncertain_pixels
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord, ImageState

DEFAULT_ID = 100
IDS = range(1, 1000)
FOLDS = 5
"""nnU-Net splits into this many parts by default, and stops at fewer images."""

_FIRST = ("vessel", "artery", "vein", "crossing")


@dataclass(frozen=True, slots=True)
class _Look:
    """What one image asks of the whole data set."""

    record: ImageRecord
    colour: bool
    deep: bool
    classes: dict[str, tuple[int, ...]]
    unsure: bool


def check_nnunet(project: Project, states: Sequence[ImageState] = (ImageState.DONE,)) -> Job[list[str]]:
    """Look for problems before anything is written; every image and mask is read for it.

    Parameters
    ----------
    project : Project
        What to export from.
    states : sequence of ImageState
        Images in these states are meant to be exported.

    Returns
    -------
    list of str
        What :func:`check_export` finds, and one sentence for each thing that the format changes or asks for.
    """
    problems = check_export(project, states)
    records = exportable(project, states)
    looks = []
    for number, record in enumerate(records):
        yield Progress(number, len(records), f"Checking {record.name}")
        try:
            looks.append(_look(project, record))
        except VesselError as error:
            # Missing files and damaged masks are in the list already.
            if not any(problem.startswith(f"{record.name}: ") and "missing" in problem for problem in problems):
                problems.append(f"{record.name}: {error}")
    return problems + _notes(looks)


def export_nnunet(
    project: Project,
    out: Path | str,
    *,
    states: Sequence[ImageState] = (ImageState.DONE,),
    licence: str = "",
    dataset_id: int = DEFAULT_ID,
    name: str = "",
) -> Job[Path]:
    """Write ``DatasetNNN_NAME`` into a folder of nnU-Net data sets; it appears when it is complete.

    Images of 8 bits are PNG; as soon as one has more, every file is a lossless TIFF. The values are those of the
    source where they are whole numbers of 8 to 16 bits, else float32 in [0, 1]. Colour is one file with three
    channels; beside colour images a grey one has three equal channels. Classes become 1, 2... by name; what is unsure
    (the class ``uncertain``, the drawing of gaps and the pixels of fragments with the verdict unsure) becomes
    ``ignore``. Outside the field of view is background as anywhere else.

    Parameters
    ----------
    project : Project
        What to export from.
    out : Path or str
        The folder that holds the data sets, nnU-Net's ``nnUNet_raw``; it is made when it is not there.
    states : sequence of ImageState
        Which images; those that never had a mask are left out.
    licence : str
        A note on what others may do with the data, for dataset.json and the manifest.
    dataset_id : int
        1 to 999; nnU-Net knows the data set by it.
    name : str
        Letters, digits, ``-`` and ``_``; by default made from the project's name.

    Returns
    -------
    Path
        The folder of the data set.

    Raises
    ------
    InputError
        If the number or the name cannot be used, another data set has the number, or the folder of this one holds
        anything else than an untouched export of this project, or cannot be written.
    ProjectError
        If there is nothing to export, or an image's file has moved or changed.
    """
    parent = Path(out).expanduser().resolve()
    target = _target(parent, dataset_id, name or dataset_name(project.name))
    recover(target)
    check_target(target, project.id)
    records = to_export(project, states)
    looks, steps = [], 2 * len(records)
    for number, record in enumerate(records):
        yield Progress(number, steps, f"Reading {record.name}")
        looks.append(_look(project, record))
    values = _label_values(looks)
    colour, suffix = any(look.colour for look in looks), ".tif" if any(look.deep for look in looks) else ".png"
    with building(target, ("imagesTr", "labelsTr")) as folder:
        entries = []
        for number, (record, case) in enumerate(zip(records, case_names([r.name for r in records]), strict=True)):
            yield Progress(len(records) + number, steps, f"Exporting {record.name}")
            entries.append(_export_case(project, record, folder, case, suffix, values, colour))
        yield Progress(steps, steps, "Writing dataset.json")
        _write_dataset(folder / "dataset.json", target.name, entries, values, suffix, colour, licence)
        digest = sha256(folder / "dataset.json")
        write_manifest(folder, project, entries, states, licence, layout="nnunet", files={"dataset.json": digest})
        check_target(target, project.id)
        put_in_place(folder, target)
    return target


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


def _look(project: Project, record: ImageRecord) -> _Look:
    pixels = _stored_values(project.read_image(record.id).pixels)
    mask = project.read_mask(record.id)
    present = set(np.flatnonzero(np.bincount(mask.labels.ravel(), minlength=1)).tolist())
    classes: dict[str, tuple[int, ...]] = {}
    for entry in mask.classes:
        if entry.label in present:
            classes[entry.name] = entry.value if isinstance(entry.value, tuple) else (entry.value,)
    unsure = UNCERTAIN in classes or bool(_unsure_pixels(project, record, mask).any())
    classes.pop(UNCERTAIN, None)
    return _Look(record, pixels.ndim == 3, pixels.dtype != np.uint8, classes, unsure)


def _stored_values(pixels: NDArray[np.float32]) -> NDArray[Any]:
    """Return pixels in [0, 1] as the whole numbers they were read from (uint8 or uint16), or as they are."""
    for largest, dtype in ((255, np.uint8), (4095, np.uint16), (65535, np.uint16)):
        whole: NDArray[Any] = np.rint(pixels * np.float32(largest)).astype(dtype)
        if np.array_equal(np.divide(whole, np.float32(largest), dtype=np.float32), pixels):
            return whole
    return pixels


def _unsure_pixels(project: Project, record: ImageRecord, mask: VesselMask) -> NDArray[np.bool_]:
    """Return where nobody knows whether there is a vessel, bool, shape (Y, X)."""
    from napari_vessel.topology.components import label_components

    unsure = uncertain_pixels(mask)
    for gap, verdict in project.verdicts(record.id):
        if verdict.verdict is Verdict.UNSURE:
            (y0, x0, y1, x1), judged = judged_pixels(gap, mask.labels)
            unsure[y0:y1, x0:x1] |= judged
    decided = project.fragment_verdicts(record.id)
    if any(said.verdict is FragmentVerdict.UNSURE for _, said in decided):
        components, _ = label_components(mask.labels)
        for fragment, said in standing(decided, components):
            if said.verdict is FragmentVerdict.UNSURE:
                unsure |= components == components[fragment.point]
    return unsure


def _label_values(looks: Sequence[_Look]) -> dict[str, int]:
    """Return the labels of dataset.json: names in a fixed order, so that the numbers do not hang on the images'."""
    names: dict[str, tuple[int, ...]] = {}
    for look in looks:
        names |= look.classes
    known = [name for name in _FIRST if name in names]
    others = sorted(names.keys() - set(known), key=lambda name: (names[name], name))
    values = {"background": 0}
    for number, name in enumerate([*known, *others] or [VESSEL.name], start=1):
        values[name] = number
    if any(look.unsure for look in looks):
        values["ignore"] = len(values)
    return values


def _notes(looks: Sequence[_Look]) -> list[str]:
    notes = []
    count = len(looks)
    if 0 < count < FOLDS:
        few = "1 image is" if count == 1 else f"{count} images are"
        notes.append(f"{few} fewer than the {FOLDS} that nnU-Net needs for its cross-validation.")
    grey = sum(not look.colour for look in looks)
    if 0 < grey < count:
        notes.append(f"{grey} of {count} images are grey beside colour ones: they get three equal channels.")
    if deep := [look.record.name for look in looks if look.deep]:
        notes.append(
            f"{deep[0]} has more than 8 bits, so every file is a TIFF; nnU-Net will want new images as TIFF too."
        )
    labels = _label_values(looks)
    others = [name for name in labels if name not in ("background", VESSEL.name, "ignore")]
    if VESSEL.name in labels and others:
        notes.append(
            f"Some masks have the class vessel, others {', '.join(others)}: nnU-Net takes them for different things."
        )
    if unsure := sum(look.unsure for look in looks):
        where = "1 image" if unsure == 1 else f"{unsure} images"
        notes.append(f"{where} with unsure places: these get the label ignore, which nnU-Net does not learn from.")
    names = [look.record.name for look in looks]
    changed = [(name, case) for name, case in zip(names, case_names(names), strict=True) if name != case]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        notes.append(f"{changed[0][0]}{more} will be called {changed[0][1]}; the manifest has both names.")
    return notes


def _export_case(
    project: Project,
    record: ImageRecord,
    folder: Path,
    case: str,
    suffix: str,
    values: dict[str, int],
    colour: bool,
) -> dict[str, Any]:
    from napari_vessel.images.writing import write_mask

    pixels = _stored_values(project.read_image(record.id).pixels)
    if colour and pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    image_file = folder / "imagesTr" / f"{case}_0000{suffix}"
    _write_pixels(image_file, pixels)
    mask = project.read_mask(record.id)
    table = np.zeros(256, np.uint8)
    for entry in mask.classes:
        table[entry.label] = values.get(entry.name, 0)
    labels = table[mask.labels]
    unsure = _unsure_pixels(project, record, mask)
    if unsure.any():
        labels[unsure] = values["ignore"]
    mask_file = folder / "labelsTr" / f"{case}{suffix}"
    write_mask(mask_file, labels, [MaskClass(value, value, name) for name, value in values.items() if value])
    found = image_entry(project, record, mask, folder, image_file, mask_file)
    return found | {"case": case, "ignored_px": int(np.count_nonzero(unsure))}


def _write_pixels(path: Path, pixels: NDArray[Any]) -> None:
    if path.suffix == ".png":
        import cv2

        # OpenCV takes colours as blue, green, red.
        turned = pixels[..., ::-1] if pixels.ndim == 3 else pixels
        path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(turned))[1].tobytes())
    else:
        import tifffile

        photometric = "minisblack" if pixels.ndim == 2 else "rgb"
        tifffile.imwrite(path, pixels, compression="zlib", photometric=photometric, metadata=None)


def _write_dataset(
    path: Path,
    name: str,
    entries: Sequence[dict[str, Any]],
    values: dict[str, int],
    suffix: str,
    colour: bool,
    licence: str,
) -> None:
    from napari_vessel.images.writing import write_json
    from napari_vessel.version import __version__

    write_json(
        path,
        {
            "channel_names": {"0": "R", "1": "G", "2": "B"} if colour else {"0": "grey"},
            "labels": values,
            "numTraining": len(entries),
            "file_ending": suffix,
            "overwrite_image_reader_writer": "NaturalImage2DIO",
            "name": name,
            "licence": licence,
            "converted_by": f"napari-vessel {__version__}",
        },
    )
