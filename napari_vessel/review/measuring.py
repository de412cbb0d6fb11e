"""Measuring an image of a project: before and after the review, with what the unsure proposals leave open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.drawing import cut_gap, draw_gap
from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.jobs import Job, as_share
from napari_vessel.review.edits import Verdict, VerdictRecord
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord
from napari_vessel.topology.measurement import Measurements, Regions, intervals, measuring
from napari_vessel.topology.measurement.measure import Interval
from napari_vessel.topology.measurement.tables import WHOLE, Measured

RegionsOf = Callable[[tuple[int, int]], Regions]

BEFORE, AFTER = "before", "after"

MOST_ALONE = 24
"""How many masks are measured to see what single unsure proposals change; more of these are taken several at once."""


@dataclass(frozen=True, eq=False, slots=True)
class Reviewed:
    """What was measured of one image under review.

    Attributes
    ----------
    before : Measurements
        Of the mask as the model left it, or as it came.
    after : Measurements
        Of the mask now.
    least, most : Measurements
        Of the mask now with every unsure gap open and every unsure cut made, and with every unsure gap closed and no
        unsure cut made.
    unsure : int
        How many of these there are.
    alone : tuple of Measurements
        Of the mask now with one unsure gap closed or one unsure cut made; of several at once where there are more than
        :data:`MOST_ALONE`.
    """

    before: Measurements
    after: Measurements
    least: Measurements
    most: Measurements
    unsure: int
    alone: tuple[Measurements, ...] = ()

    def intervals(self) -> dict[str, dict[str, Interval | None]]:
        """Return between what each figure lies now, by region, however the unsure ones are decided.

        From the mask now to all open and to all closed; but for areas, lengths and components also as far as what each
        of them changes alone adds up to.
        """
        now = (self.after, self.least, self.most)
        found = {WHOLE: intervals(now, alone=self.alone)}
        return found | {name: intervals(now, name, self.alone) for name in self.after.regions}

    def rows(self, image: str) -> list[Measured]:
        """Return what goes into a table under the name of the image."""
        return [Measured(image, BEFORE, self.before), Measured(image, AFTER, self.after, self.intervals())]


def unsure_of(decided: Iterable[tuple[Gap, VerdictRecord]]) -> list[Gap]:
    """Return the gaps and cuts whose verdict is unsure."""
    return [gap for gap, record in decided if record.verdict is Verdict.UNSURE]


def least_and_most(mask: NDArray[np.bool_], unsure: Sequence[Gap]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return a mask, bool, shape (Y, X), with unsure gaps open and cuts made, and with gaps closed and no cut made."""
    cuts = [gap for gap in unsure if gap.kind is GapKind.CUT]
    return decided(mask, cuts), decided(mask, [gap for gap in unsure if gap.kind is not GapKind.CUT])


def decided(mask: NDArray[np.bool_], unsure: Sequence[Gap]) -> NDArray[np.bool_]:
    """Return a mask, bool, shape (Y, X), with gaps closed and cuts made."""
    done = mask.copy()
    shape = (int(mask.shape[0]), int(mask.shape[1]))
    for gap in unsure:
        cut = gap.kind is GapKind.CUT
        (y, x), patch = cut_gap(gap, shape) if cut else draw_gap(gap, shape)
        done[y : y + patch.shape[0], x : x + patch.shape[1]][patch] = not cut
    return done


def measuring_review(
    before: NDArray[np.generic],
    after: NDArray[np.generic],
    unsure: Sequence[Gap] = (),
    fov: NDArray[np.bool_] | None = None,
    spacing: tuple[float, float] | None = None,
    regions: Regions | None = None,
) -> Job[Reviewed]:
    """Measure an image's mask before and after its review.

    Parameters
    ----------
    before, after : ndarray, shape (Y, X)
        Masks; anything but 0 is vessel.
    unsure : sequence of Gap
        Proposals whose verdict is unsure.
    fov, spacing, regions
        As for :func:`napari_vessel.topology.measurement.measure`.
    """
    now = np.asarray(after != 0)
    masks = [np.asarray(before != 0), now]
    groups: list[list[Gap]] = []
    if unsure:
        masks += least_and_most(now, unsure)
    if len(unsure) > 1:
        many = min(len(unsure), MOST_ALONE)
        groups = [list(unsure[number::many]) for number in range(many)]
    total = len(masks) + len(groups)
    found: list[Measurements] = []
    for number in range(total):
        mask = masks[number] if number < len(masks) else decided(now, groups[number - len(masks)])
        same = next((n for n, known in enumerate(masks[:number]) if np.array_equal(known, mask)), None)
        job = measuring(mask, fov, spacing, regions)
        found.append(found[same] if same is not None else (yield from as_share(job, number, 1, total)))
    least, most = found[2:4] if unsure else (found[1], found[1])
    return Reviewed(found[0], found[1], least, most, len(unsure), tuple(found[len(masks) :]))


def measuring_image(project: Project, image_id: str, regions: RegionsOf | None = None) -> Job[Reviewed]:
    """Measure one image of a project.

    Parameters
    ----------
    project : Project
        An open one.
    image_id : str
        The image.
    regions : callable, optional
        Returns the regions of an image of a shape.

    Raises
    ------
    ProjectError
        If its file, its mask or its history is missing or damaged.
    """
    image = project.read_image(image_id)
    before, after = project.read_first_mask(image_id), project.read_mask(image_id)
    unsure = unsure_of(project.verdicts(image_id))
    parts = None if regions is None else regions(image.shape)
    return (yield from measuring_review(before.mask, after.mask, unsure, image.fov, image.spacing, parts))


def measuring_project(project: Project, regions: RegionsOf | None = None) -> Job[list[tuple[ImageRecord, Reviewed]]]:
    """Measure every image of a project that has a mask, in the order in which they were added."""
    records = [record for record in project.images() if project.has_mask(record.id)]
    found = []
    for number, record in enumerate(records):
        job = measuring_image(project, record.id, regions)
        label = f"{record.name} ({number + 1} of {len(records)})"
        found.append((record, (yield from as_share(job, number, 1, len(records), label))))
    return found
