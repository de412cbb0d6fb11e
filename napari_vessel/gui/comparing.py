"""Two models on the open image: the mask of each as a line, and how much they differ. No mask is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.theme import NEW_MODEL, OLD_MODEL
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.version_records import Version

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.images.image import VesselImage

_LANE = "models"
OLD_NAME, NEW_NAME = "Old model", "New model"


@dataclass(frozen=True, eq=False, slots=True)
class Compared:
    """What two models make of one image.

    Attributes
    ----------
    old, new : ndarray of uint8, shape (Y, X)
        Their masks, 0 and 1.
    components : tuple of int
        Of each, 8-connected.
    numbers : tuple of int
        Of the two versions.
    """

    old: NDArray[np.uint8]
    new: NDArray[np.uint8]
    components: tuple[int, int]
    numbers: tuple[int, int]

    @property
    def text(self) -> str:
        """How the new one differs: ``Version 1 → 2: +81 px, −12 px, components 7 → 6.``"""
        more = int(np.count_nonzero(self.new > self.old))
        less = int(np.count_nonzero(self.old > self.new))
        which = f"Version {self.numbers[0]} → {self.numbers[1]}"
        if not more and not less:
            return f"{which}: both draw the same here."
        before, after = self.components
        return f"{which}: +{more} px, −{less} px, components {before} → {after}."


class ModelComparison:
    """Shows what two versions make of the open image, until another one is opened.

    Parameters
    ----------
    workspace : Workspace
        Whose image.
    on_change : callable
        Called when a comparison came or went.
    """

    def __init__(self, workspace: Workspace, on_change: Callable[[], None]) -> None:
        self._workspace, self._on_change = workspace, on_change
        self.found: Compared | None = None
        self._image = ""
        self._sides = "both"

    def start(self, old: Version, new: Version, device: str) -> None:
        """Segment the open image with both, on a thread."""
        workspace = self._workspace
        if workspace.record is None or workspace.image is None:
            workspace.say("No image is open; open the one to compare on.", "warning")
            return
        self._image = workspace.record.id
        job = compare_job(workspace.image, old, new, device)
        workspace.tasks.start(_LANE, job, self._done, "Comparing the models")

    def show(self, sides: str) -> None:
        """Show ``both`` lines, ``old`` or ``new`` alone."""
        self._sides = sides
        found = self.found
        if found is None:
            return
        outlines = self._workspace.scene.outlines
        # The new one above: what is orange is the old one's alone.
        outlines.show(NEW_NAME, None)
        outlines.show(OLD_NAME, None if sides == "new" else found.old, OLD_MODEL)
        outlines.show(NEW_NAME, None if sides == "old" else found.new, NEW_MODEL)

    def end(self) -> None:
        """Take the lines away."""
        self._workspace.tasks.drop(_LANE)
        for name in (OLD_NAME, NEW_NAME):
            self._workspace.scene.outlines.show(name, None)
        if self.found is not None:
            self.found = None
            self._on_change()

    def on_image(self) -> None:
        """Follow the opening of an image."""
        record = self._workspace.record
        if self._image and (record is None or record.id != self._image):
            self._image = ""
            self.end()

    def _done(self, found: Compared) -> None:
        record = self._workspace.record
        if record is None or record.id != self._image:
            return
        self.found = found
        self.show(self._sides)
        self._workspace.say(found.text)
        self._on_change()


def compare_job(image: VesselImage, old: Version, new: Version, device: str) -> Job[Compared]:
    """Segment an image with the models of two versions."""
    yield Progress(0, 2, "Loading the models")
    import cv2

    from napari_vessel.segmentation.registry import model_info, read_model
    from napari_vessel.segmentation.segmenter import Segmenter

    masks = []
    for number, version in enumerate((old, new)):
        info = model_info(version.name) if version.folder is None else read_model(version.folder)
        job = Segmenter(info, device).predict(image)
        try:
            while True:
                share = next(job).fraction or 0.0
                yield Progress(number + share, 2, version.name)
        except StopIteration as stop:
            masks.append(np.asarray(stop.value.mask, np.uint8))
        finally:
            job.close()
    components = [int(cv2.connectedComponents(mask, connectivity=8)[0]) - 1 for mask in masks]
    return Compared(masks[0], masks[1], (components[0], components[1]), (old.number, new.number))
