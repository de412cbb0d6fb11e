"""What the images of an export have in common: found out before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from napari_vessel.errors import ProjectError, VesselError
from napari_vessel.export.cases import Case, present_classes, read_case, read_decisions
from napari_vessel.export.choice import Obstacle
from napari_vessel.export.options import ExportOptions
from napari_vessel.export.splits import Place, place_images
from napari_vessel.images.image import UNCERTAIN, VESSEL
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.guard import patient_of
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord

_FIRST = ("vessel", "artery", "vein", "crossing")


@dataclass(frozen=True, slots=True)
class Pixels:
    """What the pixels of one image ask of the whole data set.

    Attributes
    ----------
    colour, deep : bool
        Whether it has three channels, and more than 8 bits.
    spaced : bool
        Whether its pixel size is known.
    """

    colour: bool
    deep: bool
    spaced: bool

    @classmethod
    def of(cls, case: Case) -> Pixels:
        """Return what is seen of an image that was read."""
        pixels = case.pixels
        return cls(pixels.ndim == 3, pixels.dtype != np.uint8, case.image.spacing is not None)


@dataclass(frozen=True, slots=True)
class Look:
    """What one image asks of the whole data set.

    Attributes
    ----------
    record : ImageRecord
        The image.
    classes : mapping of str to tuple of int
        Values in their source of the classes that are in its mask.
    ignored : bool
        Whether some pixels are not to be learnt from.
    guard : bool
        Whether the project judges its own models by it.
    pixels : Pixels or None
        None as long as they were not read.
    """

    record: ImageRecord
    classes: Mapping[str, tuple[int, ...]]
    ignored: bool
    guard: bool
    pixels: Pixels | None = None


@dataclass(frozen=True)
class Survey:
    """What is known of a data set before it is written.

    Attributes
    ----------
    options : ExportOptions
        What was asked for.
    looks : tuple of Look
        One for each image that will be written.
    places : mapping of str to Place
        Where each is in the split, by its id.
    """

    options: ExportOptions
    looks: tuple[Look, ...]
    places: Mapping[str, Place]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each class, from 1: names in a fixed order, so that the numbers do not hang on the images'."""
        names: dict[str, tuple[int, ...]] = {}
        for look in self.looks:
            names |= look.classes
        unsure = [UNCERTAIN] if names.pop(UNCERTAIN, None) else []
        known = [name for name in _FIRST if name in names]
        others = sorted(names.keys() - set(known), key=lambda name: (names[name], name))
        # What is unsure comes last, so that a layout can leave it out and the numbers stay without a hole.
        ordered = [*([*known, *others] or [VESSEL.name]), *unsure]
        return {name: number for number, name in enumerate(ordered, start=1)}

    @cached_property
    def ignores(self) -> bool:
        """Whether any image has pixels that are not to be learnt from."""
        return any(look.ignored for look in self.looks)

    @property
    def colour(self) -> bool:
        """Whether any image has three channels."""
        return any(look.pixels is not None and look.pixels.colour for look in self.looks)

    @property
    def deep(self) -> bool:
        """Whether any image has more than 8 bits."""
        return any(look.pixels is not None and look.pixels.deep for look in self.looks)

    @property
    def grey(self) -> int:
        """How many images have one channel."""
        return sum(look.pixels is not None and not look.pixels.colour for look in self.looks)

    def met(self, look: Look, case: Case) -> Look:
        """Return the look at an image whose turn has come.

        Raises
        ------
        ProjectError
            If somebody has worked on it since, so that it does not fit what was found out about all of them.
        """
        new = present_classes(case.mask).keys() - self.numbers.keys()
        reopened = case.record.state not in self.options.states
        if new or reopened or (case.ignored.any() and not self.ignores):
            raise ProjectError(f"{look.record.name} was changed while it was exported; export again.")
        return look if look.pixels is not None else replace(look, pixels=Pixels.of(case))


def survey_project(
    project: Project,
    options: ExportOptions,
    records: Sequence[ImageRecord],
    with_pixels: bool = True,
    problems: list[str] | None = None,
) -> Job[Survey]:
    """Read the mask of every image that an export would write, and its pixels too where that is asked for.

    Parameters
    ----------
    project : Project
        What to export from.
    options : ExportOptions
        What is asked for.
    records : sequence of ImageRecord
        The images.
    with_pixels : bool
        Large images take much longer to read than their masks.
    problems : list of str, optional
        Takes what is wrong with an image, instead of an error.

    Raises
    ------
    ProjectError
        If an image's file has moved or changed, or its mask is damaged.
    """
    sides = project.guards.sides()
    places = place_images(records, options.split, sides)
    looks = []
    for number, record in enumerate(records):
        yield Progress(number, len(records), f"Reading {record.name}")
        try:
            if with_pixels:
                case = yield from read_case(project, record, places[record.id], options.ignore)
                mask, ignored, pixels = case.mask, case.ignored, Pixels.of(case)
            else:
                mask, ignored = yield from read_decisions(project, record, options.ignore)
                pixels = None
        except VesselError as error:
            if problems is None:
                raise
            problems.append(Obstacle(f"{record.name}: {error}"))
            continue
        side = sides.get(record.content_hash)
        guard = side is not None and side.guard
        looks.append(Look(record, present_classes(mask), bool(ignored.any()), guard, pixels))
    return Survey(options, tuple(looks), places)


def common_notes(survey: Survey) -> list[str]:
    """Return what is to know about a data set of any layout."""
    notes = [f"{look.record.name}: its mask is empty." for look in survey.looks if not look.classes]
    names = [name for name in survey.numbers if name != UNCERTAIN]
    others = [name for name in names if name != VESSEL.name]
    if VESSEL.name in names and others:
        notes.append(
            f"Some masks have the class vessel, others {', '.join(others)}: a model takes them for different things."
        )
    strangers = [look.record.name for look in survey.looks if not patient_of(look.record.name, look.record.plane)]
    if survey.options.split is not None and strangers:
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        notes.append(
            f"{strangers[0]}{more}: the name does not say whose image it is, so it counts as a patient of its own; add "
            "files that are named after their patients to keep these together."
        )
    guards = sum(look.guard for look in survey.looks)
    if guards:
        one = "1 image judges" if guards == 1 else f"{guards} images judge"
        split = survey.options.split
        where = (
            "with a split, training leaves them out" if split is None else f"they are for {split.keeps_guards.value}"
        )
        notes.append(f"{one} this project's own models: {where}.")
    return notes
