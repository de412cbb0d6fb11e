"""Labelled images that may be learnt from: finished ones of the project, files, layers. Read on a worker's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.guard import patient_of_record
from napari_vessel.review.records import ImageRecord, ImageState

if TYPE_CHECKING:
    from napari_vessel.review.project import Project
    from napari_vessel.training.labelled import Labelled


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """One labelled image that may be learnt from.

    Attributes
    ----------
    key : str
        Tells it from all others.
    name, origin : str
        For people: what it is called, and where it comes from.
    shape : tuple of int
        Height and width, px.
    modality : Modality
        How it was taken, as far as anybody knows.
    load : callable
        Reads it, on a worker's thread, as taken in a modality.
    note_taught : callable or None
        Writes down, for good, that it is learnt from; InputError if it may not be.
    """

    key: str
    name: str
    origin: str
    shape: tuple[int, int]
    modality: Modality
    load: Callable[[Modality], Labelled]
    note_taught: Callable[[], None] | None = None


def finished(project: Project, records: Sequence[ImageRecord]) -> tuple[list[Source], str]:
    """Return the images of a project that are finished and may be learnt from, and what to say of the guards."""
    done = [record for record in records if record.state is ImageState.DONE]
    judging = project.guards.judging(done)
    sources = [from_project(project, record) for record in done if record.content_hash not in judging]
    out = len(done) - len(sources)
    which = "1 image that judges" if out == 1 else f"{out} images that judge"
    return sources, f"Left out: {which} new models." if out else ""


def from_project(project: Project, record: ImageRecord) -> Source:
    """Return a finished image of a project."""

    def load(modality: Modality) -> Labelled:
        from napari_vessel.training.labelled import Labelled

        image = replace(project.read_image(record.id), modality=modality)
        return Labelled(record.name, image, project.read_mask(record.id).mask, patient_of_record(record))

    note = partial(note_taught, project, record)
    return Source(f"project {record.id}", record.name, "project", record.shape, record.modality, load, note)


def note_taught(project: Project, record: ImageRecord) -> None:
    """Write down, for good, that an image of a project is learnt from; InputError if it may not be."""
    project.guards.note_taught([record])
    if project.guards.judging([record]):
        raise InputError(f"New models are judged by {record.name} by now; start again without it.")


def from_layers(name: str, image: VesselImage, vessels: Any) -> Source:
    """Return what an Image and a Labels layer show now."""

    def load(modality: Modality) -> Labelled:
        from napari_vessel.training.labelled import Labelled

        return Labelled(name, replace(image, modality=modality), vessels)

    return Source(f"layer {name} {image.content_hash}", name, "layers", image.shape, image.modality, load)


def files_job(images: Sequence[Path], masks: Path) -> Job[list[Source]]:
    """Look at image files, each page of one an image of its own, and find the mask of each in a folder."""
    yield Progress(0, None, "Looking at the files")
    from napari_vessel.images.inputs import find_inputs
    from napari_vessel.training.labelled import read_beside

    inputs, found = find_inputs(images), []
    for number, item in enumerate(inputs):
        yield Progress(number, len(inputs), f"Reading {item.path.name}")
        image = read_beside(item, masks).image
        load = partial(read_beside, item, masks)
        key = f"file {item.path.resolve()} {item.stem}"
        found.append(Source(key, item.stem, "file", image.shape, image.modality, load))
    return found
