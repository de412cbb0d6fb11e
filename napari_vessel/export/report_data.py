"""What a report tells of a project, gathered as a job; nothing of the project is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import GapKind
from napari_vessel.errors import InputError, ProjectError
from napari_vessel.export.manifest import made_by
from napari_vessel.export.overlays import Pictures, draw
from napari_vessel.images.image import VesselImage
from napari_vessel.images.inputs import ImageInput, files_of, match_among, same_letters
from napari_vessel.images.masks import read_mask
from napari_vessel.jobs import Job, Progress, as_share
from napari_vessel.review.agreement import Agreement, compare_projects
from napari_vessel.review.fragments import standing
from napari_vessel.review.measuring import Reviewed, measuring_review, unsure_of
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord, ImageState
from napari_vessel.topology.components import label_components

if TYPE_CHECKING:
    from napari_vessel.topology.metrics import Score

GAP, CUT, FRAGMENT = "gaps", "cuts", "fragments"
"""What is decided on."""


@dataclass(frozen=True, eq=False, slots=True)
class ImageReport:
    """What a report tells of one image.

    Attributes
    ----------
    record : ImageRecord
        The image.
    pictures : Pictures
        How it looks, before and after.
    components : tuple of int
        8-connected components of the mask before and after.
    vessel_px : tuple of int
        Pixels of the mask before and after.
    verdicts : dict
        How many of each kind (gaps, cuts, fragments), verdict and annotator.
    edits : dict
        How many edits of each kind.
    annotators : tuple of str
        Who worked on it.
    model, version : str
        What segmented it; empty for a mask from elsewhere, or when it is not known.
    threshold : float or None
        Where its probability was cut.
    completion : str
        Name and version of the completion model whose map gaps are looked for with; empty without one.
    spacing : tuple of float or None
        Pixel size (y, x), micrometres.
    measured : Reviewed
        Measurements before and after, and between what unsure gaps leave them.
    truth : str
        Name of the reference mask's file; empty without one.
    scores : tuple of Score or None
        Mask before and after against the reference, inside the field of view.
    """

    record: ImageRecord
    pictures: Pictures
    components: tuple[int, int]
    vessel_px: tuple[int, int]
    verdicts: dict[tuple[str, str, str], int]
    edits: dict[str, int]
    annotators: tuple[str, ...]
    model: str
    version: str
    threshold: float | None
    completion: str
    spacing: tuple[float, float] | None
    measured: Reviewed
    truth: str = ""
    scores: tuple[Score, Score] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class ProjectReport:
    """What a report tells of a project.

    Attributes
    ----------
    name, id : str
        The project's.
    images : tuple of ImageReport
        Those that have a mask.
    left_out : tuple of (str, str)
        Name of every other image, and why it is not there.
    agreement : Agreement or None
        With the second project.
    """

    name: str
    id: str
    images: tuple[ImageReport, ...]
    left_out: tuple[tuple[str, str], ...] = field(default=())
    agreement: Agreement | None = None


def gather(project: Project, truth: Path | None = None, other: Project | None = None) -> Job[ProjectReport]:
    """Gather what a report tells.

    Parameters
    ----------
    project : Project
        What it is on.
    truth : Path, optional
        Folder of reference masks, found by the images' names.
    other : Project, optional
        Another annotator's, over the same images.

    Raises
    ------
    InputError
        If no image has a mask, no reference mask belongs to any image, or one does not fit its image.
    ProjectError
        If a file of an image has moved, or the project is damaged.
    """
    if truth is not None and not truth.is_dir():
        raise InputError(f"{truth} is not a folder; give the folder of the reference masks.")
    records = project.images()
    references = {} if truth is None else (yield from find_references(records, truth))
    counted: dict[str, dict[str, int]] = {}
    for image_id, what, which, count in project.decision_counts():
        if what == "edit":
            counted.setdefault(image_id, {})[which] = count
    found: list[ImageReport] = []
    left_out: list[tuple[str, str]] = []
    for number, record in enumerate(records):
        yield Progress(number, len(records), f"Looking at {record.name}")
        if record.state is ImageState.NEW or not project.has_mask(record.id):
            left_out.append((record.name, "it has no mask yet"))
            continue
        job = _look(project, record, references.get(record.id), counted.get(record.id, {}))
        found.append((yield from as_share(job, number, 1, len(records), f"Measuring {record.name}")))
    if not found:
        raise ProjectError("There is nothing to report: none of the images has a mask; segment one first.")
    if truth is not None and not any(image.truth for image in found):
        raise InputError(f"No reference mask in {truth} has the name of an image of the project; name them alike.")
    agreement = None
    if other is not None:
        agreement = yield from compare_projects(project, other)
    return ProjectReport(project.name, project.id, tuple(found), tuple(left_out), agreement)


def find_references(records: Sequence[ImageRecord], truth: Path) -> Job[dict[str, Path]]:
    """Find the reference masks of images, by what these are called in the project and then by their files' own names.

    Parameters
    ----------
    records : sequence of ImageRecord
        The images.
    truth : Path
        Folder of reference masks.

    Returns
    -------
    dict of str to Path
        By the images' ids; those that have none are not there.

    Raises
    ------
    InputError
        If one file could be the reference of two images.
    """
    found: dict[str, Path] = {}
    owners: dict[Path, tuple[ImageRecord, list[str]]] = {}
    files = [(file, file.resolve()) for file in files_of(truth)]
    # Longest first: eye_2.png is the reference of eye_2, and eye does without.
    for record in sorted(records, key=lambda one: len(one.name), reverse=True):
        yield Progress(0, None, f"Looking for the reference mask of {record.name}")
        names = [record.name] if record.saved else [record.name, ImageInput(record.path, record.plane).stem]
        image = record.path.resolve()
        others = [file for file, place in files if place != image]
        matches = (match_among(name, others, ("mask", "manual", "truth")) for name in names)
        file = next((one for one in matches if one is not None), None)
        if file is None:
            continue
        owner, called = owners.setdefault(file, (record, names))
        if owner.path == record.path:
            found[record.id] = file
        elif not any(same_letters(file.stem).startswith(same_letters(name)) for name in called):
            raise InputError(
                f"{file.name} could be the reference mask of {owner.name} and of {record.name}; "
                "name it after its image."
            )
    return found


def _look(project: Project, record: ImageRecord, file: Path | None, edits: dict[str, int]) -> Job[ImageReport]:
    image = project.read_image(record.id)
    before, after = project.read_first_mask(record.id).mask, project.read_mask(record.id).mask
    components, count = label_components(after)
    verdicts = Counter(
        (CUT if gap.kind is GapKind.CUT else GAP, said.verdict.value, said.annotator)
        for gap, said in project.verdicts(record.id)
    )
    verdicts.update(
        (FRAGMENT, said.verdict.value, said.annotator)
        for _, said in standing(project.fragment_verdicts(record.id), components)
    )
    model, threshold = made_by(project, record)
    info = project.segmentation_info(record.id)
    told = info.get("model_version") if model is not None and info.get("model") == model else None
    unsure = unsure_of(project.verdicts(record.id))
    measured = yield from measuring_review(before, after, unsure, image.fov, image.spacing)
    names = {*project.annotators(record.id), *(annotator for *_, annotator in verdicts)} - {""}
    return ImageReport(
        record=record,
        pictures=draw(image, before, after),
        components=(label_components(before)[1], count),
        vessel_px=(int(np.count_nonzero(before)), int(np.count_nonzero(after))),
        verdicts=dict(verdicts),
        edits=edits,
        annotators=tuple(sorted(names)),
        model=model or "",
        version="" if told is None else str(told),
        threshold=threshold,
        completion=_completion(project.completion_info(record.id)),
        spacing=image.spacing,
        measured=measured,
        truth="" if file is None else file.name,
        scores=None if file is None else _score(file, image, record, (before, after)),
    )


def _completion(info: Mapping[str, Any]) -> str:
    return f"{info.get('model', '')} {info.get('model_version', '')}".strip() if info.get("used") else ""


def _score(
    file: Path, image: VesselImage, record: ImageRecord, masks: Sequence[NDArray[np.bool_]]
) -> tuple[Score, Score]:
    from napari_vessel.topology.metrics import score_mask

    truth = read_mask(file, image.shape, record.plane).mask
    before, after = (score_mask(mask, truth, image.fov) for mask in masks)
    return before, after
