"""Segmentation and thresholds of the images of one viewer: slow work on threads, each new mask one undoable step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import ProjectError, VesselError
from napari_vessel.gui import opening
from napari_vessel.gui.garbage import set_apart
from napari_vessel.gui.workers import Mailbox
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.records import ImageState
from napari_vessel.review.samples import is_unreviewed

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.project import Project
    from napari_vessel.review.session import ReviewSession

_LANE = "segment"


class Segmenting:
    """Makes and replaces masks.

    Parameters
    ----------
    workspace : Workspace
        Whose project, session and scene are used.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._mail = Mailbox()
        self._on_its_way: Callable[[], None] | None = None
        """Hands over again what a batch has made for the open image, while that is no part of its history yet."""

    def segment(
        self,
        ids: Iterable[str] | None = None,
        model: str | None = None,
        device: str = "auto",
        threshold: float | None = None,
        min_size: int | None = None,
        complete: bool = False,
        unreviewed: bool = False,
    ) -> None:
        """Segment the open image, or the given ones, on a thread; undoable; then look for gaps.

        With `complete`, the completion model of each image's modality draws across its breaks as well. With
        `unreviewed`, an image in which something was decided meanwhile keeps its mask.
        """
        workspace = self._workspace
        if workspace.project is None or (ids is None and workspace.record is None):
            workspace.say("No image is open; open one first.", "warning")
            return
        if workspace.tasks.is_running(_LANE):
            workspace.say("Images are being segmented; wait until that has ended, or cancel it first.", "warning")
            return
        workspace.flush()
        chosen = [workspace.record.id] if ids is None and workspace.record is not None else list(ids or ())
        # What a completion model makes of the map before this one must not be kept with the new one.
        workspace.tasks.drop("complete")
        settings = opening.Settings(model, device, threshold, min_size, complete, unreviewed)
        project, record, image = workspace.project, workspace.record, workspace.image
        at_hand = {} if record is None or image is None else {record.id: image}
        batch = opening.Batch(chosen)

        def hand_over(image_id: str, mask: NDArray[np.bool_], text: str) -> bool:
            if not self._is_open(image_id):
                return False
            self._mail.hand_in(partial(self._take, project, image_id, (mask, text), unreviewed))
            return True

        def done(summary: str) -> None:
            workspace.say(summary, "warning" if batch.failed else "info")
            set_apart("networks are imported")

        def ended() -> None:
            workspace.completion_changed.emit()
            workspace.refresh_record()
            workspace.images_changed.emit()

        on_unseen = partial(self._mail.hand_in, workspace.visiting.catch_up)
        job = opening.segment_job(project, batch, settings, workspace.annotator, at_hand, hand_over, on_unseen)
        workspace.tasks.start(_LANE, job, done, "Segmenting", ended, lambda: batch.so_far)

    def _is_open(self, image_id: str) -> bool:
        session = self._workspace.session
        return session is not None and session.image_id == image_id

    def _take(self, project: Project, image_id: str, made: tuple[NDArray[np.bool_], str], unreviewed: bool) -> None:
        """Set the mask of an image that was open when it was made: as an edit, if it is open still."""
        workspace = self._workspace
        if workspace.project is not project:
            return
        workspace.flush()

        def wanted() -> bool:
            return not unreviewed or workspace.read(lambda: is_unreviewed(project, image_id), False)

        if not wanted():
            return
        if self._is_open(image_id):
            workspace.refresh_record()
            workspace.scene.end_preview()
            self.set_mask(*made, wanted)
            self._on_its_way = partial(self._take, project, image_id, made, unreviewed)
            return

        def done(session: ReviewSession) -> None:
            workspace.images_changed.emit()
            workspace.visiting.catch_up()
            search = opening.search_job(project, session)
            workspace.tasks.in_turn(
                "search", search, lambda _: workspace.images_changed.emit(), "Looking for gaps", "the new mask is kept"
            )

        # Without a title: the batch has counted it, so it is not cancelled.
        workspace.tasks.in_turn("unseen", opening.unseen_job(project, image_id, *made, workspace.annotator), done)

    def leave(self) -> None:
        """The open image is left: a mask that was on its way into it goes there unseen, or into it opened anew."""
        again, self._on_its_way = self._on_its_way, None
        if again is not None:
            self._mail.hand_in(again)

    def set_mask(self, labels: NDArray[np.generic], text: str, wanted: Callable[[], bool] = lambda: True) -> None:
        """Replace the open image's mask, undoably, and look for gaps; only if it is still `wanted` then."""
        workspace = self._workspace
        session = workspace.session
        if session is None:
            return

        def build() -> Job[Any]:
            yield Progress(0, None, text)
            return session.segmentation_edit(labels, text)

        def done(edit: Any) -> None:
            if workspace.session is not session:
                return
            if edit is None:
                # The same mask again: what is known of its gaps may be new all the same.
                workspace.find_gaps()
                record = workspace.record
                if record is not None and record.state is ImageState.NEW and self.has_probability():
                    # A model has found nothing in it, which is a segmentation, too.
                    workspace.set_state(ImageState.SEGMENTED)
                return
            workspace.flush()
            if not wanted():
                return
            try:
                session.apply(edit)
            except ProjectError as error:
                workspace.report(error)
                return
            except VesselError:
                # A stroke came in while the edit was made on its thread: make it again here.
                workspace.review.attempt(lambda: session.set_segmentation(labels, text))
            workspace.find_gaps()

        def ended() -> None:
            self._on_its_way = None

        ended()
        workspace.tasks.start("mask", build(), done, on_end=ended)

    def has_probability(self) -> bool:
        """Whether a threshold can be moved: the open image has a stored probability map."""
        workspace = self._workspace
        return workspace.project is not None and workspace.record is not None and bool(workspace.record.model)

    def preview_threshold(self, threshold: float, min_size: int = 0) -> None:
        """Show what a threshold would give, over the image in a colour of its own; changes nothing."""
        workspace = self._workspace
        if workspace.project is None or workspace.record is None or workspace.image is None:
            return
        job = opening.threshold_job(workspace.project, workspace.record.id, threshold, min_size, workspace.image.fov)
        workspace.tasks.start("preview", job, self._previewed)

    def _previewed(self, mask: NDArray[np.bool_] | None) -> None:
        workspace = self._workspace
        if mask is None:
            workspace.say("This image has no probability map; segment it first.", "warning")
        else:
            workspace.scene.preview(mask)

    def end_preview(self) -> None:
        """Take the preview away."""
        workspace = self._workspace
        workspace.tasks.drop("preview")
        workspace.scene.end_preview()

    def apply_threshold(self, threshold: float, min_size: int = 0) -> None:
        """Make the mask what a threshold gives, undoably, and look for gaps."""
        workspace = self._workspace
        if workspace.project is None or workspace.record is None or workspace.image is None:
            return

        def done(mask: NDArray[np.bool_] | None) -> None:
            workspace.scene.end_preview()
            if mask is None:
                self._previewed(None)
            else:
                # Also where it was hidden before the preview: what is seen now is to be seen then.
                workspace.scene.mask_visible = True
                self.set_mask(mask, f"threshold {threshold:.2f}")

        job = opening.threshold_job(workspace.project, workspace.record.id, threshold, min_size, workspace.image.fov)
        workspace.tasks.start("preview", job, done, "Applying the threshold")
