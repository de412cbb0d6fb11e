"""Data sets from elsewhere into a project: this program's own exports as they were, and others' as far as they say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_vessel.errors import InputError
from napari_vessel.export.layout import DataSet, Found, Layout
from napari_vessel.export.layouts import LAYOUTS
from napari_vessel.export.own import Entry, Own, read_own
from napari_vessel.export.target import MANIFEST
from napari_vessel.images.decoding import Decoded
from napari_vessel.images.image import MaskClass, Modality, VesselImage, VesselMask
from napari_vessel.images.inputs import same_letters
from napari_vessel.images.masks import MAX_LABEL, mask_from_array
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.adding import Incoming
from napari_vessel.review.edits import Verdict
from napari_vessel.review.fragments import FragmentVerdict, is_there
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord

AUTO = "auto"


@dataclass(frozen=True, eq=False, slots=True)
class Arrived:
    """A data set that was read once, and is fit to be taken into a project.

    Attributes
    ----------
    layout : str
        Name of its layout.
    images : tuple of Incoming
        Its images.
    notes : tuple of str
        What of it is left out, or has changed since its export.
    entries : tuple of Entry or None
        What the manifest says of each image.
    """

    layout: str
    images: tuple[Incoming, ...]
    notes: tuple[str, ...]
    entries: tuple[Entry | None, ...]


def check_data(folder: Path | str, layout: str = AUTO, modality: Modality | None = None) -> Job[Arrived]:
    """Read a data set once, every image and mask, without keeping anything: a bad file shows before a project is made.

    Parameters
    ----------
    folder : Path or str
        Of the data set.
    layout : str
        One of :data:`~napari_vessel.export.layouts.LAYOUTS`, or ``auto``.
    modality : Modality, optional
        How all images were taken; by default as the manifest says, or guessed.

    Returns
    -------
    Arrived
        To be handed to :func:`import_data`.

    Raises
    ------
    InputError
        If the layout is not recognised, or something in it cannot be used.
    """
    folder = Path(folder).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; choose the folder of a data set.")
    own = read_own(folder)
    chosen = _layout(folder, layout, own)
    data = chosen.find(folder)
    if not data.found:
        raise InputError(f"{folder} has no image; choose the folder of a data set.")
    if own is not None:
        # In the order of the project that they came from.
        order = {name: number for number, name in enumerate(own.entries)}
        data = replace(
            data, found=tuple(sorted(data.found, key=lambda one: order.get(same_letters(one.key), len(order))))
        )
    entries = tuple(_entry(found, own, folder) for found in data.found)
    images = tuple(
        _incoming(found, entry, own, data, modality) for found, entry in zip(data.found, entries, strict=True)
    )
    seen: dict[str, str] = {}
    twins = []
    for number, image in enumerate(images):
        yield Progress(number, len(images), f"Checking {image.name}")
        content = image.read()[0].content_hash
        if content in seen:
            twins.append(f"{image.name} has the same pixels as {seen[content]}: only {seen[content]} comes in.")
        seen.setdefault(content, image.name)
    notes = [*data.notes, *twins, *(own.changed(folder) if own else ())]
    without = sum(found.mask is None for found in data.found)
    if without:
        notes.append(f"{without} of {len(images)} images come without a mask.")
    return Arrived(chosen.name, images, tuple(notes), entries)


def import_data(project: Project, arrived: Arrived) -> Job[list[ImageRecord]]:
    """Take a data set into a project: all of its images, or none.

    Files are referred to where they are, arrays are saved in the project. An image whose content is there already
    keeps its review; it takes the mask when it has none.

    Returns
    -------
    list of ImageRecord
        In the order of the data set.

    Raises
    ------
    InputError
        If an image or mask cannot be used any more; nothing was added then.
    ProjectError
        If the project cannot be written.
    """
    before = {record.id for record in project.images()}
    records = yield from project.add(arrived.images)
    for record, entry in zip(records, arrived.entries, strict=True):
        if entry is not None and entry.is_unsure and record.id not in before:
            _say_unsure(project, record, entry)
            project.set_state(record.id, entry.state)
    return [project.record(record.id) for record in records]


def layout_of(folder: Path) -> str | None:
    """Return the name of a folder's layout, or None when it has none: quick, for what somebody drops into the window.

    A plain folder is told by its manifest alone, because images beside masks may be meant otherwise.
    """
    try:
        own = read_own(folder)
        if own is not None:
            return own.layout
        found = [name for name, layout in LAYOUTS.items() if layout.is_in(folder)]
    except InputError:
        return None
    return found[-1] if found and found != ["folder"] else None


def _layout(folder: Path, name: str, own: Own | None) -> Layout:
    if name != AUTO:
        return LAYOUTS[name]
    if own is not None:
        return LAYOUTS[own.layout]
    found = [layout for layout in LAYOUTS.values() if layout.is_in(folder)]
    if not found:
        within = sorted([*folder.glob("*/dataset.json"), *folder.glob(f"*/{MANIFEST}")])
        such = f", such as {within[0].parent.name} in it" if within else ""
        raise InputError(
            f"{folder} has none of the layouts that are read ({', '.join(LAYOUTS)}); choose a data set{such}."
        )
    # The plain one asks for least, so any other says more.
    return found[-1]


def _entry(found: Found, own: Own | None, folder: Path) -> Entry | None:
    return None if own is None else own.entries.get(same_letters(folder.name if found.key == "." else found.key))


def _incoming(found: Found, entry: Entry | None, own: Own | None, data: DataSet, modality: Modality | None) -> Incoming:
    def read() -> tuple[VesselImage, VesselMask | None]:
        wanted = modality or (None if entry is None else entry.modality)
        image = found.image("auto" if found.fov is None and entry is None else "none", wanted)
        field = None if found.fov is None else found.fov(image.shape)
        spacing = image.spacing or (None if entry is None else entry.spacing)
        image = replace(image, spacing=spacing, fov=image.fov if field is None else field)
        if entry is not None:
            entry.check(image.shape)
        if found.mask is None:
            return image, None
        stored = found.mask(image.shape)
        numbers = None if data.names is None else {name: number for number, name in data.names.items()}
        if own is not None and own.numbered:
            numbers = dict(own.labels) | (numbers or {})
        mask = None if entry is None else entry.mask(stored.array, numbers)
        return image, _named(stored, data) if mask is None else mask

    if entry is None:
        return Incoming(found.name, read)
    return Incoming(entry.name, read, entry.state, entry.flags, entry.comment)


def _named(stored: Decoded, data: DataSet) -> VesselMask:
    """Return a mask whose values have names, or else speak for themselves."""
    values = stored.array
    if data.names is None or values.ndim == 3:
        return mask_from_array(values, lossy=stored.lossy)
    present = sorted(set(np.unique(values).tolist()) - {0})
    strangers = [value for value in present if value not in data.names]
    if strangers:
        raise InputError(f"A mask has the value {strangers[0]}, which the data set gives no name; correct its labels.")
    wanted = sorted(data.names)
    # Two classes of one name would be one when they are exported.
    count = Counter(data.names.values())
    names = {value: name if count[name] == 1 else f"{name} {value}" for value, name in data.names.items()}
    kept = wanted if len(wanted) <= MAX_LABEL else present
    if len(kept) > MAX_LABEL:
        raise InputError(f"A mask has {len(kept)} classes, more than {MAX_LABEL}; join some of them.")
    classes = tuple(MaskClass(k, value, names[value]) for k, value in enumerate(kept, start=1))
    labels = np.zeros(values.shape, np.uint8)
    for one in classes:
        labels[values == one.value] = one.label
    listed = ", ".join(f"{one.value} is {one.name}" for one in classes[:16])
    return VesselMask(labels, classes, f"The data set names its values: {listed}.")


def _say_unsure(project: Project, record: ImageRecord, entry: Entry) -> None:
    """Say again what was unsure in the project that the image came from."""
    who = entry.annotators[0] if len(entry.annotators) == 1 else ""
    session = project.open_session(record.id, who, remember=False)
    cuts = [gap for gap in entry.gaps if gap.kind is gap.kind.CUT]
    session.set_gaps([gap for gap in entry.gaps if gap not in cuts])
    session.set_cuts(cuts)
    there = {gap.id for gap in session.open_gaps}
    for gap in entry.gaps:
        if gap.id in there:
            session.decide(gap.id, Verdict.UNSURE)
    for fragment in entry.fragments:
        # The mask may have been changed since its export.
        if is_there(fragment, session.components.labels, session.main):
            session.decide_fragment(fragment, FragmentVerdict.UNSURE)
