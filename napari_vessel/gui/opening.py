"""The slow halves of what a workspace does, as jobs: adding, opening, segmenting, thresholding. No Qt in here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.theme import class_colours
from napari_vessel.images.image import MaskClass, Modality, VesselImage
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.records import ImageRecord, ImageState

if TYPE_CHECKING:
    from napari_vessel.review.project import Project
    from napari_vessel.review.session import ReviewSession


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


@dataclass(frozen=True, eq=False, slots=True)
class Segmented:
    """The open image's new mask, if it was among the images, and what to say."""

    labels: NDArray[np.bool_] | None
    text: str
    summary: str


def add_job(
    project: Project, paths: Sequence[Path | str], masks: Path | None, modality: Modality | None
) -> Job[list[ImageRecord]]:
    """Find the images in files and folders and add them."""
    from napari_vessel.images.inputs import find_inputs

    yield Progress(0, None, "Looking for images")
    inputs = find_inputs([Path(path) for path in paths])
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


def _warm_up(classes: Sequence[MaskClass]) -> None:
    """Make a layer of each kind, unseen, off the GUI's thread: napari's first ones import and compile for a second."""
    from napari.layers import Image, Labels
    from napari.utils.colormaps import DirectLabelColormap

    Image(np.zeros((2, 2, 3), np.uint8), rgb=True)
    Labels(np.zeros((2, 2), np.uint8), colormap=DirectLabelColormap(color_dict=class_colours(classes)))


def segment_job(
    project: Project,
    ids: Sequence[str],
    settings: Settings,
    annotator: str,
    open_id: str | None,
    open_image: VesselImage | None,
    open_session: ReviewSession | None,
) -> Job[Segmented]:
    """Segment images one after another and find the gaps of those that are not open.

    The open image's mask is returned and not set, because its session belongs to the GUI's thread.
    """
    yield Progress(0, len(ids), "Loading the model")
    # torch comes in with this import: only here, on the worker's thread.
    from napari_vessel.completion import find_gaps
    from napari_vessel.segmentation.segmenter import Segmenter

    segmenter = Segmenter(settings.model, settings.device)
    labels, text, summary = None, "segmentation", "No image was segmented."
    for n, image_id in enumerate(ids):
        record = project.record(image_id)
        image = open_image if image_id == open_id and open_image is not None else project.read_image(image_id)
        job = segmenter.predict(image, threshold=settings.threshold, min_size=settings.min_size)
        started = time.monotonic()
        found = yield from _part(job, n, len(ids), record.name)
        info = {**found.to_json(), "seconds": round(time.monotonic() - started, 2)}
        project.store_probability(image_id, found.probability, info)
        text = f"segmentation by {found.model}"
        summary = f"Segmented {record.name} with {found.model} on {found.device}, {found.channel} channel."
        if image_id == open_id and open_session is not None:
            labels = found.mask
            continue
        session = project.open_session(image_id, annotator, remember=False)
        session.set_segmentation(found.mask, text)
        gaps = yield from _part(
            find_gaps(session.labels, image, found.probability, fov=image.fov, rejected=session.rejected_gaps),
            n,
            len(ids),
            record.name,
        )
        session.set_gaps(gaps)
        if record.state is ImageState.NEW:
            project.set_state(image_id, ImageState.SEGMENTED)
    if len(ids) > 1:
        summary = f"Segmented {len(ids)} images with {segmenter.model}."
    return Segmented(labels, text, summary)


def _part(job: Job[Any], number: int, count: int, name: str) -> Job[Any]:
    """Run a job as one of several, with the progress of the whole."""
    while True:
        try:
            progress = next(job)
        except StopIteration as stop:
            return stop.value
        try:
            of_all = f"{name} ({number + 1} of {count})" if count > 1 else name
            words = f"{of_all}, {progress.message}" if progress.message else of_all
            yield Progress(number + (progress.fraction or 0.0), count, words, progress.figures)
        except GeneratorExit:
            job.close()
            raise


def gaps_job(
    labels: NDArray[np.uint8],
    image: VesselImage,
    project: Project | None,
    image_id: str,
    rejected: Sequence[Any],
) -> Job[list[Any]]:
    """Look for gaps in a copy of the mask."""
    from napari_vessel.completion import find_gaps

    yield Progress(0, None, "Looking for gaps")
    probability = None if project is None else project.probability(image_id)
    return (yield from find_gaps(labels, image, probability, fov=image.fov, rejected=rejected))


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


def view_job(image: VesselImage, kind: str) -> Job[NDArray[np.float32]]:
    """Compute a view of the image to look at, never to segment: ``green`` or ``contrast`` (local, CLAHE)."""
    yield Progress(0, None, "Computing the view")
    if kind == "green":
        return np.ascontiguousarray(image.pixels[..., 1]) if image.pixels.ndim == 3 else image.pixels
    import cv2

    grey = np.round(image.vessel_channel() * 255).astype(np.uint8)
    side = max(2, round(min(grey.shape) / 64))
    enhanced = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(min(side, 16), min(side, 16))).apply(grey)
    return np.asarray(enhanced, np.float32) / np.float32(255)
