"""The slow halves of what a workspace does, as jobs: adding, opening, segmenting, thresholding. No Qt in here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import Cancelled, VesselError
from napari_vessel.gui.theme import class_colours
from napari_vessel.images.image import MaskClass, Modality, VesselImage
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.records import ImageRecord, ImageState

if TYPE_CHECKING:
    from napari_vessel.completion import GapSearch
    from napari_vessel.completion.belief import Opinion
    from napari_vessel.completion.wire import WireField
    from napari_vessel.review.audit import BulkAccepted
    from napari_vessel.review.calibration import Judged
    from napari_vessel.review.project import Project
    from napari_vessel.review.session import ReviewSession
    from napari_vessel.segmentation.registry import ModelInfo

_GAPS_FROM = 0.9
"""Share of the work on an image after which its gaps are looked for."""
_GAPS_SHARE = 0.6
"""Share of that which goes into gaps; the rest goes into false bridges."""


@dataclass(frozen=True, eq=False, slots=True)
class Opened:
    """An image ready to be shown; `display` is what napari draws: uint8 for colour, float32 for grey."""

    record: ImageRecord
    image: VesselImage
    session: ReviewSession
    display: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to segment; None leaves it to the model."""

    model: str | None
    device: str
    threshold: float | None
    min_size: int | None
    complete: bool = False
    """Whether each image's completion model, where there is one, runs after the segmenter."""
    unreviewed: bool = False
    """Whether an image is passed over in which something was decided meanwhile."""


@dataclass(eq=False, slots=True)
class Batch:
    """Several images on their way: which have their masks, and of which what is wrong with them."""

    ids: Sequence[str]
    finished: list[str] = field(default_factory=list)
    """Their names."""
    failed: list[str] = field(default_factory=list)
    """A sentence each."""

    @property
    def so_far(self) -> str:
        """What has changed, for the sentence that says it was cancelled."""
        if not self.finished:
            return "nothing was changed"
        if len(self.finished) == len(self.ids):
            which = "the image is" if len(self.ids) == 1 else "all images are"
            return f"{which} segmented, only the search for gaps has not ended"
        return f"{len(self.finished)} of {len(self.ids)} images are segmented, the others are as they were"


def add_job(
    project: Project, paths: Sequence[Path | str], masks: Path | None, modality: Modality | None
) -> Job[list[ImageRecord]]:
    """Find the images in files and folders and add them; a folder that is a data set comes with its masks."""
    from napari_vessel.export.importing import check_data, import_data, layout_of
    from napari_vessel.images.inputs import find_inputs

    yield Progress(0, None, "Looking for images")
    if len(paths) == 1 and masks is None and (layout := layout_of(Path(paths[0]))) is not None:
        arrived = yield from check_data(paths[0], layout, modality)
        return (yield from import_data(project, arrived))
    inputs = find_inputs([Path(path) for path in paths], namesakes=masks is None)
    return (yield from project.add(inputs, masks, modality=modality))


def open_job(project: Project, image_id: str, annotator: str) -> Job[Opened]:
    """Read an image and replay its review."""
    record = project.record(image_id)
    yield Progress(0, 3, f"Reading {record.name}")
    image = project.read_image(image_id)
    yield Progress(1, 3, f"Reading {record.name}")
    display: NDArray[Any] = image.pixels
    if display.ndim == 3:
        # Three float channels of a large photograph are slow to send to the graphics card.
        display = np.round(display * 255).astype(np.uint8)
    yield Progress(2, 3, f"Reading the review of {record.name}")
    session = project.open_session(image_id, annotator)
    # Worked out once here, so that the window need not wait for it.
    _ = session.components, session.gaps
    _warm_up(session.classes)
    return Opened(record, image, session, display)


_first = threading.Lock()


def _warm_up(classes: Sequence[MaskClass]) -> None:
    """Make a layer of each kind, unseen, off the GUI's thread: napari's first ones import and compile for a second.

    So does the first look at what verdicts say: here, and not between a key and the next gap.
    """
    from napari.layers import Image, Labels
    from napari.utils.colormaps import DirectLabelColormap

    from napari_vessel.review.calibration import Calibration

    # One at a time: what napari imports and builds the first time does not bear two threads.
    with _first:
        Image(np.zeros((2, 2, 3), np.uint8), rgb=True)
        Labels(np.zeros((2, 2), np.uint8), colormap=DirectLabelColormap(color_dict=class_colours(classes)))
        Calibration.from_verdicts([]).suggest()


def segment_job(
    project: Project,
    batch: Batch,
    settings: Settings,
    annotator: str,
    at_hand: Mapping[str, VesselImage],
    hand_over: Callable[[str, NDArray[np.bool_], str], bool],
    on_unseen: Callable[[], None],
) -> Job[str]:
    """Segment images one after another and find the gaps and false bridges of those that are not open.

    One that cannot be segmented is passed over where there are others. Returns what to say.

    Parameters
    ----------
    project : Project
        Whose images.
    batch : Batch
        Which; takes note of how far it is.
    settings : Settings
        How.
    annotator : str
        Whose verdicts say what is a vessel.
    at_hand : mapping of str to VesselImage
        Those that need not be read, by their ids.
    hand_over : callable
        Takes the mask of an image, with a text for the undo label, if the image is open by then, and says whether: its
        session belongs to the GUI's thread. Called on the job's.
    on_unseen : callable
        Called on the job's thread when an image that was not open then has its mask.
    """
    yield Progress(0, len(batch.ids), "Loading the model")
    # torch comes in with this import: only here, on the worker's thread.
    from napari_vessel.review.samples import is_unreviewed
    from napari_vessel.segmentation.completer import Completer
    from napari_vessel.segmentation.segmenter import Segmenter

    segmenter = Segmenter(settings.model, settings.device)
    completers: dict[str, Completer] = {}
    summary = "No image was segmented."

    def segment(n: int, image_id: str) -> Job[str]:
        record = project.record(image_id)
        image = at_hand[image_id] if image_id in at_hand else project.read_image(image_id)
        chosen = completion_for(image.modality) if settings.complete else None
        part = partial(_part, number=n, count=len(batch.ids), name=record.name)
        job = segmenter.predict(image, threshold=settings.threshold, min_size=settings.min_size)
        started = time.monotonic()
        found = yield from part(job, span=(0.0, _GAPS_FROM if chosen is None else _GAPS_FROM / 2))
        info = {**found.to_json(), "seconds": round(time.monotonic() - started, 2)}
        completed = None
        if chosen is not None:
            completer = completers.setdefault(chosen.name, Completer(chosen, settings.device))
            known = found.probability if found.model == chosen.segmenter else None
            completed = yield from part(completer.predict(image, known), span=(_GAPS_FROM / 2, _GAPS_FROM))
        if settings.unreviewed and not is_unreviewed(project, image_id):
            return ""
        # All of it is there now, and nothing yields in between: a cancelled job leaves nothing half done.
        project.store_probability(image_id, found.probability, info)
        if completed is not None:
            project.store_completion(image_id, completed.probability, completed.to_json())
        text = f"segmentation by {found.model}"
        is_open = hand_over(image_id, found.mask, text)
        session = None if is_open else _set_unseen(project, image_id, found.mask, text, annotator)
        batch.finished.append(record.name)
        if session is not None:
            on_unseen()
            yield from part(search_job(project, session, image), span=(_GAPS_FROM, 1.0))
        said = f"Segmented {record.name} with {found.model} on {found.device}, {found.channel} channel."
        return said if chosen is None else f"{said[:-1]}; completions proposed by {chosen.name}."

    for n, image_id in enumerate(batch.ids):
        if settings.unreviewed and not is_unreviewed(project, image_id):
            continue
        try:
            summary = (yield from segment(n, image_id)) or summary
        except Cancelled:
            raise
        except VesselError as error:
            if len(batch.ids) == 1:
                raise
            batch.failed.append(str(error))
    if len(batch.ids) > 1:
        summary = f"Segmented {len(batch.finished)} images with {segmenter.model}."
    if batch.failed:
        summary += f" {len(batch.failed)} could not be: {batch.failed[0]}"
    return summary


def unseen_job(
    project: Project, image_id: str, mask: NDArray[np.bool_], text: str, annotator: str
) -> Job[ReviewSession]:
    """Give an image that is not open a new mask; returns the session for :func:`search_job`."""
    yield Progress(0, None, text)
    return _set_unseen(project, image_id, mask, text, annotator)


def _set_unseen(project: Project, image_id: str, mask: NDArray[np.bool_], text: str, annotator: str) -> ReviewSession:
    from napari_vessel.review.edits import UNSEEN

    session = project.open_session(image_id, annotator, remember=False)
    session.set_segmentation(mask, text, UNSEEN)
    if project.record(image_id).state is ImageState.NEW:
        project.set_state(image_id, ImageState.SEGMENTED)
    return session


def search_job(project: Project, session: ReviewSession, image: VesselImage | None = None) -> Job[None]:
    """Find the gaps and false bridges of an image that is not open, which is read where it is not at hand.

    Nothing is kept of them where the image was opened and worked on meanwhile.
    """
    image_id = session.image_id
    yield Progress(0, None, "Looking for gaps")
    image = image or project.read_image(image_id)
    job = gaps_job(session.labels, image, project, image_id, session.rejected_gaps, session.annotator)
    gaps, _ = yield from _part(job, span=(0.0, _GAPS_SHARE))
    if not session.is_current():
        return
    session.set_gaps(gaps)
    looking = cuts_job(session.labels, image, project, image_id, session.refused_cuts)
    cuts = yield from _part(looking, span=(_GAPS_SHARE, 1.0))
    if session.is_current():
        session.set_cuts(cuts)


def completion_for(modality: Modality) -> ModelInfo | None:
    """Return the completion model to offer for a modality, the user's own where none is shipped; None without any."""
    from napari_vessel.segmentation.registry import completion_model_info, completion_models, default_completion_model

    name = default_completion_model(modality)
    if name is not None:
        return completion_model_info(name)
    return next((info for info in completion_models() if modality in info.modalities), None)


def completion_job(project: Project, image_id: str, image: VesselImage, model: str) -> Job[str]:
    """Let a completion model draw across the breaks of an image and keep what it draws; returns the model's title."""
    yield Progress(0, None, "Loading the model")
    from napari_vessel.segmentation.completer import Completer
    from napari_vessel.segmentation.registry import completion_model_info

    info = completion_model_info(model)
    # It has learnt to complete what one segmenter sees: of any other's image it has that segmenter look first.
    known = None
    if project.segmentation_info(image_id).get("model") == info.segmenter:
        known = project.probability(image_id)
    completed = yield from Completer(info).predict(image, known)
    project.store_completion(image_id, completed.probability, completed.to_json())
    return info.title


def _part(job: Job[Any], span: tuple[float, float], number: int = 0, count: int = 1, name: str = "") -> Job[Any]:
    """Run a job as a span, from 0 to 1, of the work on one of several images, with the progress of the whole."""
    while True:
        try:
            progress = next(job)
        except StopIteration as stop:
            return stop.value
        try:
            of_all = f"{name} ({number + 1} of {count})" if count > 1 else name
            words = ", ".join(word for word in (of_all, progress.message) if word)
            done = span[0] + (span[1] - span[0]) * (progress.fraction or 0.0)
            yield Progress(number + done, count, words, progress.figures)
        except GeneratorExit:
            job.close()
            raise


def gaps_job(
    labels: NDArray[np.uint8],
    image: VesselImage,
    project: Project | None,
    image_id: str,
    rejected: Sequence[Any],
    annotator: str,
    search: GapSearch | None = None,
    all_vessels: bool = False,
) -> Job[tuple[list[Any], GapSearch]]:
    """Look for gaps in a copy of the mask; returns them, and the search, to go on with after the next edit.

    A search of the same image, with the same maps, is gone on with when one is given. The flag ``all_vessels`` of the
    image says whether its pieces are in question, too.
    """
    from napari_vessel.completion import GapSearch

    yield Progress(0, None, "Looking for gaps")
    search = search or GapSearch(image, *_maps(project, image_id), image.fov, tips=True)
    opinions: list[Opinion] = [] if project is None else project.opinions(annotator)
    found = search.find(labels, rejected=rejected, opinions=opinions, all_vessels=all_vessels)
    return (yield from found), search


def cuts_job(
    labels: NDArray[np.uint8], image: VesselImage, project: Project | None, image_id: str, refused: Sequence[Any]
) -> Job[list[Any]]:
    """Look for connections to cut in a copy of the mask."""
    from napari_vessel.completion import find_cuts

    yield Progress(0, None, "Reading the maps")
    probability, completion = _maps(project, image_id)
    return (yield from find_cuts(labels, image, probability, completion=completion, fov=image.fov, rejected=refused))


def _maps(project: Project | None, image_id: str) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Return what is known of where vessels are, the segmenter's probability and the completion in use."""
    return (None, None) if project is None else (project.probability(image_id), project.completion(image_id))


def verdicts_job(project: Project, image_ids: Sequence[str], annotator: str) -> Job[list[Judged]]:
    """Read what an annotator's verdicts on images say about scores."""
    from napari_vessel.review.calibration import judged

    found: list[Judged] = []
    for number, image_id in enumerate(image_ids):
        yield Progress(number, len(image_ids), "Reading verdicts")
        found += judged(project.verdicts(image_id), annotator)
    return found


def audit_job(project: Project) -> Job[list[BulkAccepted]]:
    """Draw the sample of a project's bulk accepts that is to be looked at again."""
    from napari_vessel.review.audit import audit_sample

    records = project.images()
    found: list[BulkAccepted] = []
    for number, record in enumerate(records):
        yield Progress(number, len(records), "Reading bulk accepts")
        found += project.bulk_accepted(record.id)
    return audit_sample(found)


def wire_job(
    image: VesselImage,
    labels: NDArray[np.uint8],
    project: Project | None,
    image_id: str,
    box: tuple[int, int, int, int],
    calibre: float,
) -> Job[WireField]:
    """Look at the image inside a box for the live wire."""
    yield Progress(0, None, "Looking at the image")
    from napari_vessel.completion.wire import wire_field

    probability, completion = _maps(project, image_id)
    yield Progress(0, None, "Looking at the image")
    return wire_field(image, labels, probability, completion, box, calibre)


def threshold_job(
    project: Project, image_id: str, threshold: float, min_size: int, fov: NDArray[np.bool_] | None
) -> Job[NDArray[np.bool_] | None]:
    """Cut the stored probability map at a threshold; None when there is no map."""
    from napari_vessel.segmentation.binarise import binarise

    yield Progress(0, None, "Applying the threshold")
    probability = project.probability(image_id)
    if probability is None:
        return None
    yield Progress(1, None, "Applying the threshold")
    return binarise(probability, threshold, min_size, fov)


def view_job(image: VesselImage, kind: str, project: Project | None, image_id: str) -> Job[NDArray[np.float32] | None]:
    """Make a view to look at, never to segment: ``green``, ``contrast`` (local, CLAHE), or the ``completion`` map.

    None when there is no such view of the image.
    """
    yield Progress(0, None, "Computing the view")
    if kind == "completion":
        return None if project is None else project.completion(image_id)
    if kind == "green":
        return np.ascontiguousarray(image.pixels[..., 1]) if image.pixels.ndim == 3 else None
    import cv2

    grey = np.round(image.vessel_channel() * 255).astype(np.uint8)
    side = max(2, round(min(grey.shape) / 64))
    enhanced = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(min(side, 16), min(side, 16))).apply(grey)
    return np.asarray(enhanced, np.float32) / np.float32(255)
