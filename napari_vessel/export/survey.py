"""What the images of an export have in common: read once before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from napari_vessel.errors import VesselError
from napari_vessel.export.cases import present_classes, read_case
from napari_vessel.export.choice import exportable
from napari_vessel.export.options import ExportOptions
from napari_vessel.export.splits import Place, place_images
from napari_vessel.images.image import UNCERTAIN, VESSEL
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord

_FIRST = ("vessel", "artery", "vein", "crossing")


@dataclass(frozen=True, slots=True)
class Look:
    """What one image asks of the whole data set.

    Attributes
    ----------
    record : ImageRecord
        The image.
    colour, deep : bool
        Whether it has three channels, and more than 8 bits.
    classes : mapping of str to tuple of int
        Values in their source of the classes that are in its mask.
    ignored : bool
        Whether some pixels are not to be learnt from.
    spaced : bool
        Whether its pixel size is known.
    guard : bool
        Whether the project judges its own models by it.
    """

    record: ImageRecord
    colour: bool
    deep: bool
    classes: Mapping[str, tuple[int, ...]]
    ignored: bool
    spaced: bool
    guard: bool


@dataclass(frozen=True, slots=True)
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

    @property
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

    @property
    def ignores(self) -> bool:
        """Whether any image has pixels that are not to be learnt from."""
        return any(look.ignored for look in self.looks)

    @property
    def colour(self) -> bool:
        """Whether any image has three channels."""
        return any(look.colour for look in self.looks)

    @property
    def deep(self) -> bool:
        """Whether any image has more than 8 bits."""
        return any(look.deep for look in self.looks)


def survey_project(project: Project, options: ExportOptions, problems: list[str] | None = None) -> Job[Survey]:
    """Read every image and mask that an export would write.

    Parameters
    ----------
    project : Project
        What to export from.
    options : ExportOptions
        What is asked for.
    problems : list of str, optional
        Takes what is wrong with an image, instead of an error.

    Raises
    ------
    ProjectError
        If an image's file has moved or changed, or its mask is damaged.
    """
    records = exportable(project, options.states)
    sides = project.guards.sides()
    places = place_images(records, options.split, sides)
    looks = []
    for number, record in enumerate(records):
        yield Progress(number, len(records), f"Reading {record.name}")
        try:
            case = yield from read_case(project, record, places[record.id], options.ignore)
        except VesselError as error:
            if problems is None:
                raise
            # Missing files and damaged masks are in the list already.
            if not any(problem.startswith(f"{record.name}: ") and "missing" in problem for problem in problems):
                problems.append(f"{record.name}: {error}")
            continue
        pixels = case.pixels
        side = sides.get(record.content_hash)
        looks.append(
            Look(
                record,
                pixels.ndim == 3,
                pixels.dtype != np.uint8,
                present_classes(case.mask),
                bool(case.ignored.any()),
                case.image.spacing is not None,
                side is not None and side.guard,
            )
        )
    return Survey(options, tuple(looks), places)


def common_notes(survey: Survey) -> list[str]:
    """Return what is to know about a data set of any layout."""
    notes = []
    names = [name for name in survey.numbers if name != UNCERTAIN]
    others = [name for name in names if name != VESSEL.name]
    if VESSEL.name in names and others:
        notes.append(
            f"Some masks have the class vessel, others {', '.join(others)}: a model takes them for different things."
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
