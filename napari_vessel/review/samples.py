"""What an image of a project teaches: its pixels, its vessels, who decided each pixel, and which of them count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import Modality
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.edits import EditKind, Verdict
from napari_vessel.review.fragments import FragmentVerdict
from napari_vessel.review.guard import Side, patient_of_record
from napari_vessel.review.journal import ALL_VESSELS
from napari_vessel.review.origins import Origin, Origins
from napari_vessel.review.records import ImageRecord, ImageState
from napari_vessel.review.training_sample import PackedSample, TrainingSample

if TYPE_CHECKING:
    from napari_vessel.review.project import Project
    from napari_vessel.review.version_records import Version

REACH = 2.0
"""How far around a decision an image that is not done is learnt from, in calibres of the vessel there."""

THINNEST = 2.0
"""Least calibre for it, px."""

_DECIDED = (Origin.ACCEPTED, Origin.REPAINTED, Origin.BRUSH, Origin.REJECTED)


@dataclass(frozen=True, slots=True)
class WhatToLearn:
    """What there is to learn from in a project, counted in its database.

    Attributes
    ----------
    done : int
        Images that are finished, guards among them.
    in_review : int
        Others in which something was decided.
    guards : int
        Finished images that would judge a new model.
    new : int
        Finished images, no guards, that the current version has not learnt from, or that were changed since it was
        made; all of them without one.
    verdicts : mapping of str to int
        On gaps and cuts, by verdict.
    kept, deleted : int
        Fragments.
    strokes : int
        Strokes of the brush and deleted components, those of repaints too.
    images : tuple of ImageRecord
        Those that teach or would judge, in the order in which they were added.
    """

    done: int
    in_review: int
    guards: int
    new: int
    verdicts: Mapping[str, int]
    kept: int
    deleted: int
    strokes: int
    images: tuple[ImageRecord, ...] = ()

    @property
    def anything(self) -> bool:
        """Whether there is an image to learn from."""
        return self.done - self.guards + self.in_review > 0


def what_to_learn(project: Project) -> WhatToLearn:
    """Count what there is to learn from in a project: quick, from its database alone, and nothing is written.

    Images that are ungradable, or never had a mask, are left out.
    """
    records = {record.id: record for record in _usable(project)}
    counts: Counter[tuple[str, str]] = Counter()
    decided: set[str] = set()
    edits: Counter[str] = Counter()
    for image, what, which, count in project.decision_counts():
        edits[image] += count * (what == "edit")
        if image in records:
            counts[what, which] += count
            if (what, which) in _TEACHING:
                decided.add(image)
    done = [record for record in records.values() if record.state is ImageState.DONE]
    sides = project.guards.foreseen(done)
    guarded = {side.patient for side in sides.values() if side.guard}
    others = [
        record
        for record in records.values()
        if record.id in decided and record.state is not ImageState.DONE and _patient(record, sides) not in guarded
    ]
    current = project.versions.current()
    guards = [record for record in done if sides[record.content_hash].guard]
    teaching = {record.id for record in (*done, *others)}
    return WhatToLearn(
        done=len(done),
        in_review=len(others),
        guards=len(guards),
        new=sum(not sides[record.content_hash].guard and _is_new(record, edits[record.id], current) for record in done),
        verdicts={verdict.value: counts["gap", verdict.value] for verdict in Verdict},
        kept=counts["fragment", FragmentVerdict.KEPT.value],
        deleted=counts["fragment", FragmentVerdict.DELETED.value],
        strokes=counts["edit", EditKind.STROKE.value] + counts["edit", EditKind.DELETE.value],
        images=tuple(record for record in records.values() if record.id in teaching),
    )


def _is_new(record: ImageRecord, edits: int, current: Version | None) -> bool:
    if current is None or record.content_hash not in current.images:
        return True
    learnt = current.learnt(record.content_hash)
    if learnt is None:
        return record.changed > current.made
    # An image that was learnt from in part, and finished since or while the version was trained, has more to teach.
    return learnt != (True, edits)


_TEACHING = {
    *(("gap", verdict.value) for verdict in (Verdict.ACCEPTED, Verdict.REPAINTED, Verdict.REJECTED)),
    *(("fragment", verdict.value) for verdict in (FragmentVerdict.KEPT, FragmentVerdict.DELETED)),
    *(("edit", kind.value) for kind in (EditKind.STROKE, EditKind.DELETE)),
}


def never_reviewed(project: Project, modalities: Collection[Modality] | None = None) -> list[ImageRecord]:
    """Return the images in which nobody has decided anything, and whose mask, if any, is a model's: quick.

    Parameters
    ----------
    project : Project
        Whose.
    modalities : collection of Modality, optional
        Only those that were taken so.
    """
    decided, masked = _decided(project.decision_counts()), project.with_masks()
    return [
        record
        for record in project.images()
        if (modalities is None or record.modality in modalities) and _is_unreviewed(record, decided, masked)
    ]


def is_unreviewed(project: Project, image_id: str) -> bool:
    """Whether an image is one of those that :func:`never_reviewed` returns; the others are not looked at."""
    masked = {image_id} if project.has_mask(image_id) else set()
    return _is_unreviewed(project.record(image_id), _decided(project.decision_counts(image_id)), masked)


def _decided(counts: Iterable[tuple[str, str, str, int]]) -> set[str]:
    return {image for image, what, which, _ in counts if (what, which) != ("edit", EditKind.SEGMENT.value)}


def _is_unreviewed(record: ImageRecord, decided: Collection[str], masked: Collection[str]) -> bool:
    fresh = record.state in (ImageState.NEW, ImageState.SEGMENTED) and record.id not in decided
    fresh = fresh and ALL_VESSELS not in record.flags
    # One that came with a mask has it from somebody who may have drawn it.
    return fresh and bool(record.model or record.id not in masked)


def training_samples(project: Project) -> Job[list[PackedSample]]:
    """Read all that a project teaches. Images may be edited meanwhile; each is as it was at one moment.

    The sides of images that are done and have none yet are drawn here, for good, and the others that are handed over
    are written down as learnt from. What is left out: ungradable images, those that never had a mask, those in which
    nothing was decided, and unfinished ones of a patient whose images are guards.

    Parameters
    ----------
    project : Project
        Whose; any thread may read it.

    Returns
    -------
    list of PackedSample
        In the order in which the images were added. Their images are read when they are unpacked.

    Raises
    ------
    ProjectError
        If an image's file is gone or has changed, or its mask or history is missing or damaged.
    """
    records = _usable(project)
    done = [record for record in records if record.state is ImageState.DONE]
    sides = project.guards.draw(done)
    guarded = {side.patient for side in sides.values() if side.guard}
    found = []
    for number, record in enumerate(records):
        yield Progress(number, len(records), f"Reading {record.name}")
        patient = _patient(record, sides)
        if record.state is not ImageState.DONE and patient in guarded:
            continue
        origins = yield from project.origins(record.id)
        yield Progress(number + 0.5, len(records), f"Reading {record.name}")
        sample = _sample(project, record, origins, sides.get(record.content_hash, Side(patient, False)))
        if sample is not None:
            found.append(sample.pack(partial(project.read_image, record.id)))
    # What was finished meanwhile is drawn last, when it is known what is learnt from: not even another image of its
    # patient may have taught before.
    by_content = {record.content_hash: record for record in records}
    project.guards.note_taught(by_content[sample.content_hash] for sample in found if not sample.done)
    finished = (by_content[sample.content_hash] for sample in found if sample.done)
    sides = project.guards.draw([*done, *finished])
    return [sided for sample in found if (sided := _sided(sample, sides)) is not None]


def _sided(sample: PackedSample, sides: Mapping[str, Side]) -> PackedSample | None:
    """Return a sample on the side that its image was given by the end; None for one that is neither."""
    known = sides.get(sample.content_hash)
    if known is None or (known.guard and not sample.done):
        # Its patient became a guard meanwhile.
        return None
    if known.guard == sample.guard:
        return sample
    return replace(sample.unpack(), guard=known.guard).pack(sample.read_image)


def _usable(project: Project) -> list[ImageRecord]:
    """Return the images that can teach at all: they have, or had, a mask, and nobody called them ungradable."""
    masked = project.with_masks()
    return [record for record in project.images() if "ungradable" not in record.flags and record.id in masked]


def counted(origins: Origins, fov: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return which pixels of an image may be learnt from.

    Parameters
    ----------
    origins : Origins
        Its mask, and who decided each pixel.
    fov : ndarray of bool, shape (Y, X), or None
        Its field of view; None means everywhere.

    Returns
    -------
    ndarray of bool, shape (Y, X)
        Of an image that is done everything but what is unsure; of another one what lies within two calibres of what was
        decided, and is not unsure; inside the field of view.
    """
    counts: NDArray[np.bool_] = origins.pixels != Origin.UNSURE
    if fov is not None:
        counts &= fov
    if not origins.done:
        counts &= _near(np.isin(origins.pixels, _DECIDED), origins.mask.mask)
    return counts


def _near(decided: NDArray[np.bool_], vessels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what lies within :data:`REACH` calibres of what was decided, bool, shape (Y, X)."""
    import cv2

    from napari_vessel.topology.calibre import local_radius

    near = np.zeros(decided.shape, np.bool_)
    if not decided.any():
        return near
    # What was erased or refused is as wide as it was drawn, but never wider than any vessel that is there.
    radius = local_radius(vessels | decided)
    widest = float(radius[vessels].max(initial=0.0))
    # The middle of a vessel is where no pixel around is farther from the wall.
    middle = (radius > 0) & (radius >= cv2.dilate(radius, np.ones((3, 3), np.uint8)))
    calibre = np.clip(2.0 * _of_nearest(middle, radius)[1], THINNEST, max(2.0 * widest, THINNEST))
    away, of_decision = _of_nearest(decided, calibre)
    return np.asarray(away <= REACH * of_decision, np.bool_)


def _of_nearest(
    where: NDArray[np.bool_], values: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return for every pixel how far the nearest one of some pixels is, px, and the value there."""
    import cv2

    away, nearest = cv2.distanceTransformWithLabels(
        (~where).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(nearest.max()) + 1, np.float32)
    table[nearest[where]] = values[where]
    return np.asarray(away, np.float32), table[nearest]


def _patient(record: ImageRecord, sides: Mapping[str, Side]) -> str:
    known = sides.get(record.content_hash)
    return patient_of_record(record) if known is None else known.patient


def _sample(project: Project, record: ImageRecord, origins: Origins, side: Side) -> TrainingSample | None:
    # A guard that was opened again meanwhile judges nothing until it is done.
    if not origins.done and (side.guard or not np.isin(origins.pixels, _DECIDED).any()):
        return None
    image = project.read_image(record.id)
    counts = counted(origins, image.fov)
    if not counts.any():
        return None
    return TrainingSample(
        image_id=record.id,
        name=record.name,
        content_hash=record.content_hash,
        patient=side.patient,
        image=image,
        vessels=origins.vessels,
        origin=origins.pixels,
        counts=counts,
        done=origins.done,
        guard=side.guard,
        model=record.model,
        edits=origins.edits,
    )
