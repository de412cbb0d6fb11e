"""The controller of one viewer: every dock widget and key talks to it, and it alone talks to project and session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_vessel.errors import DamagedProjectError, InputError, VesselError
from napari_vessel.gui import opening
from napari_vessel.gui.auditing import Audit
from napari_vessel.gui.bulk import Bulk
from napari_vessel.gui.completing import Completing
from napari_vessel.gui.differences import Differences
from napari_vessel.gui.fragment_review import FragmentReview
from napari_vessel.gui.learning import Learning
from napari_vessel.gui.messages import watch_errors
from napari_vessel.gui.preferences import preferred, watch
from napari_vessel.gui.queues import Queues
from napari_vessel.gui.restoring import Restoring
from napari_vessel.gui.reviewing import Reviewing
from napari_vessel.gui.scene import Scene
from napari_vessel.gui.segmenting import Segmenting
from napari_vessel.gui.taking import Taking
from napari_vessel.gui.tasks import Tasks
from napari_vessel.gui.timeline import Timeline
from napari_vessel.gui.visiting import Visiting
from napari_vessel.images.image import MaskClass, Modality, VesselImage, VesselMask
from napari_vessel.logfile import sentence
from napari_vessel.review.edits import Verdict
from napari_vessel.review.lock import user_name
from napari_vessel.review.records import ImageRecord, ImageState

if TYPE_CHECKING:
    import napari

    from napari_vessel.export.options import ExportOptions
    from napari_vessel.review.project import Project
    from napari_vessel.review.session import ReviewSession


T = TypeVar("T")

_OF_PROJECT = (
    *("open", "add", "segment", "unseen", "search", "complete", "measure"),
    *("export", "measurements", "learning", "standing", "versions", "models"),
)
"""Lanes of the tasks that read or write the open project."""


class Workspace:
    """What one viewer works on. Get it with :meth:`of`; call it on the GUI's thread.

    Nothing here raises for what an annotator may do: a failure is one sentence, sent by :attr:`message` and shown by
    napari. Slow work runs on a thread; :attr:`busy` tells how far it is.

    Attributes
    ----------
    viewer : napari.Viewer
        The viewer.
    project : Project or None
        The open project.
    session : ReviewSession or None
        The review of the open image.
    record : ImageRecord or None
        The open image's row in the project, as fresh as its last change.
    image : VesselImage or None
        The open image.
    annotator : str
        Written into every verdict.
    review : Reviewing
        Selection, verdicts, repaint and history of the open image.
    fragments : FragmentReview
        The queue of fragments of the open image.
    differences : Differences
        The queue of disagreements with another annotator.
    queues : Queues
        Which of the queues the keys act on.
    bulk : Bulk
        The bulk action that is shown before it is done.
    audit : Audit
        The sample of bulk accepts that is looked at again.
    completing : Completing
        Whether, and with which model, breaks are completed.
    restoring : Restoring
        The way back from a damaged project.
    timeline : Timeline
        Undo and redo over all images.
    segmenting : Segmenting
        New masks, from models and thresholds.
    learning : Learning
        What is new to the project's model, and when that is said.
    scene : Scene
        The layers of the open image.
    """

    project_changed = Signal()
    images_changed = Signal()
    """Records were added or changed; read them again from the project."""
    image_opened = Signal()
    """Another image is open, or none (`session` is None)."""
    mask_changed = Signal()
    gaps_changed = Signal()
    """Proposals, verdicts or effects changed."""
    gap_selected = Signal(str)
    """Id of the gap under review; empty for none."""
    fragments_changed = Signal()
    """Fragments were found anew, or one was decided."""
    fragment_selected = Signal(str)
    """Id of the fragment under review; empty for none."""
    differences_changed = Signal()
    """A comparison came or went, a disagreement was settled, or another one is under review."""
    bulk_changed = Signal()
    """A bulk action is shown before it is done, or no longer."""
    audit_changed = Signal()
    """The sample of bulk accepts to look at again was drawn."""
    queue_changed = Signal()
    """The keys act on the other queue."""
    history_changed = Signal()
    repaint_changed = Signal(bool)
    completion_changed = Signal()
    """Gaps are looked for with another completion map, or without one."""
    view_changed = Signal()
    """Mask, proposals or another view was shown, hidden or restyled."""
    damage_changed = Signal()
    """A damaged project was found, restored or left."""
    models_changed = Signal(str)
    """A model of this name is new among the user's own, or is the project's from now on."""
    busy = Signal(object, str)
    """(Progress, text) while shown work runs, (None, "") when none is left."""
    message = Signal(str, str)
    """(sentence, level); the level is info, warning or error."""

    _all: ClassVar[WeakKeyDictionary[Any, Workspace]] = WeakKeyDictionary()

    def __init__(self, viewer: napari.Viewer) -> None:
        # Weakly: the dictionary of all workspaces would keep every viewer alive otherwise.
        self._viewer = ref(viewer)
        self.project: Project | None = None
        self.session: ReviewSession | None = None
        self.record: ImageRecord | None = None
        self.image: VesselImage | None = None
        self.annotator = preferred("annotator").strip() or user_name() or "annotator"
        watch("annotator", self._on_annotator)
        self.tasks = Tasks(self.busy.emit, self.report, lambda text: self.say(text))
        self.scene = Scene(self)
        self.review = Reviewing(self)
        self.fragments = FragmentReview(self)
        self.differences = Differences(self)
        self.queues = Queues(self)
        self.bulk = Bulk(self)
        self.audit = Audit(self)
        self.completing = Completing(self)
        self.timeline = Timeline(self)
        self.restoring = Restoring(self)
        self.learning = Learning(self)
        self.segmenting = Segmenting(self)
        self._taking = Taking(self)
        self.visiting = Visiting(self)
        self._abandoned = False
        watch_errors()

    @property
    def viewer(self) -> Any:
        """The viewer that this workspace belongs to."""
        viewer = self._viewer()
        if viewer is None:
            raise RuntimeError("the viewer of this workspace is gone")
        return viewer

    @classmethod
    def of(cls, viewer: Any) -> Workspace:
        """Return the viewer's workspace, made on first use. Accepts napari's public proxy of a viewer too."""
        viewer = getattr(viewer, "__wrapped__", viewer)
        if viewer not in cls._all:
            cls._all[viewer] = cls(viewer)
        return cls._all[viewer]

    @classmethod
    def classes_of_layer_data(cls, data: Any) -> tuple[MaskClass, ...] | None:
        """Return the classes of the mask under review whose layer has this very array; None when it is none of them."""
        for workspace in cls._all.values():
            layer = workspace.scene.mask_layer
            if workspace.session is not None and layer is not None and layer.data is data:
                workspace.flush()
                return workspace.session.classes
        return None

    def _on_annotator(self) -> None:
        self.annotator = preferred("annotator").strip() or user_name() or "annotator"
        if self.session is not None:
            self.visiting.hand_to_annotator(self.session)
            self.bulk.enter()

    # Saying things

    def say(self, text: str, level: str = "info") -> None:
        """Tell the annotator one sentence: info in the status line, warning and error as napari notifications."""
        if level == "info":
            self.viewer.status = text
        else:
            from napari.utils.notifications import show_error, show_warning

            (show_error if level == "error" else show_warning)(text)
        self.message.emit(text, level)

    def report(self, error: Exception) -> None:
        """Say what went wrong; it goes to the log file with its traceback, whose place is told of an unexpected one."""
        text = sentence(error)
        if isinstance(error, DamagedProjectError) and self.restoring.offer(error):
            text = f"{error.what}; press Restore in Vessel project to go back to its backup."
        self.say(text, "error")

    def read(self, what: Callable[[], T], otherwise: T) -> T:
        """Read from the project; when its disk fails say so and return what to do with instead."""
        try:
            return what()
        except VesselError as error:
            self.report(error)
            return otherwise

    # Projects and images

    def open_project(self, folder: Path | str, prefix: str = "") -> bool:
        """Open the project in a folder, or make one there, and the image opened last; return whether it worked."""
        from napari_vessel.review.project import Project

        folder = Path(folder)
        if self.project is not None and self.project.folder == folder.expanduser().resolve():
            self.say(f"{self.project.folder} is open already.")
            return True
        try:
            project = Project.open_or_create(folder)
        except VesselError as error:
            self.report(error)
            return False
        if self.project is not None:
            # Without one, what waits to be added is meant for this one.
            self.close_project()
        self.project = project
        self.restoring.leave()
        self.project_changed.emit()
        self.images_changed.emit()
        last = project.last_image
        records = self.images()
        opened = f"{prefix}Opened project {project.name or project.folder.name}"
        if last is not None:
            self.open_image(last, f"{opened} where it was left: ")
        elif records:
            self.open_image(records[0].id, f"{opened}: ")
        else:
            self.say(f"{prefix}Opened project {project.folder}; add images to it.")
        return True

    def close_project(self) -> None:
        """Close the open image and project; everything is saved already."""
        for lane in _OF_PROJECT:
            self.tasks.drop(lane)
        self.visiting.leave()
        if self.project is not None:
            project, self.project = self.project, None
            project.close()
            self.project_changed.emit()
            self.images_changed.emit()

    def ensure_project(self) -> Project | None:
        """Return the open project; without one make an unnamed one under the user's data and say so."""
        if self.project is None:
            from platformdirs import user_data_dir

            stamp = datetime.now().strftime("%Y-%m-%d_%H%M%S")
            folder = Path(user_data_dir("napari-vessel")) / "projects" / f"unnamed_{stamp}"
            if self.open_project(folder):
                self.say(f"No project was open, so an unnamed one was made in {folder}.")
        return self.project

    def images(self) -> list[ImageRecord]:
        """Records of the open project; empty without one."""
        return [] if self.project is None else self.read(self.project.images, [])

    def add_paths(
        self, paths: Sequence[Path | str], masks: Path | None = None, modality: Modality | None = None
    ) -> None:
        """Add image files and folders to the project, and open the first when no image is open."""
        project = self.ensure_project()
        if project is not None:
            self.tasks.in_turn("add", opening.add_job(project, paths, masks, modality), self._added, "Adding images")

    def add_image(
        self,
        image: VesselImage,
        mask: VesselMask | None = None,
        transform: NDArray[np.float64] | None = None,
    ) -> None:
        """Add an image in memory, with its mask if there is one, and open it; `transform` is its place in the world."""
        project = self.ensure_project()
        if project is None:
            return

        def done(records: list[ImageRecord]) -> None:
            if transform is not None:
                self.review.attempt(lambda: project.set_transform(records[0].id, transform))
            self.images_changed.emit()
            self.open_image(records[0].id)

        self.tasks.in_turn("add", project.add([image], mask), done, "Adding the image")

    def add_layer(self, layer: Any, mask: Any = None) -> None:
        """Take a napari layer: an Image layer as a new image, or a Labels layer as the open image's mask.

        Parameters
        ----------
        layer : napari.layers.Image or napari.layers.Labels
            Of a stack, the plane shown now.
        mask : napari.layers.Labels, optional
            The image's mask.
        """
        from napari.layers import Image, Labels

        try:
            if isinstance(layer, Labels):
                self._taking.take_labels(layer)
            elif isinstance(layer, Image):
                self._taking.take_image(layer, mask)
            else:
                raise InputError(f"{layer.name} is neither an Image nor a Labels layer; choose one of those.")
        except VesselError as error:
            self.report(error)

    def _added(self, records: list[ImageRecord]) -> None:
        self.images_changed.emit()
        if not records:
            return
        self.say(f"Added {len(records)} image{'s' * (len(records) != 1)}.")
        if self.session is None:
            self.open_image(records[0].id)
        else:
            self.visiting.catch_up()

    def open_image(self, image_id: str, prefix: str = "", then: Callable[[], None] | None = None) -> None:
        """Open an image of the project where it was left, and do `then`; the one before is left as it is, saved."""
        self.visiting.open(image_id, prefix, then)

    def next_image(self, step: int = 1) -> None:
        """Open the next image of the project's table, or with a negative step the one before."""
        self.visiting.step(step)

    def mark_done(self) -> None:
        """Mark the image as done and open the next one that is not; on a finished image: take it up again."""
        self.visiting.mark_done()

    def set_state(self, state: ImageState) -> None:
        """Set the state of the open image."""
        if self.project is None or self.record is None:
            return
        try:
            self.project.set_state(self.record.id, state)
        except VesselError as error:
            self.report(error)
        self.refresh_record()

    def set_flag(self, flag: str, on: bool) -> None:
        """Set or clear a flag of the open image: ``ungradable``, ``second_reader`` or ``all_vessels``."""
        if self.session is None:
            return
        flags = set(self.session.flags)
        (flags.add if on else flags.discard)(flag)
        try:
            self.session.flags = frozenset(flags)
        except VesselError as error:
            self.report(error)
        self.refresh_record()

    def set_comment(self, text: str, session: ReviewSession | None = None) -> None:
        """Set the comment of the open image, or of one that was open until now."""
        session = session or self.session
        if session is None or text == session.comment:
            return
        try:
            session.comment = text
        except VesselError as error:
            self.report(error)
        self.refresh_record()

    def refresh_record(self) -> None:
        """Read the open image's record again and tell the widgets."""
        if self.project is not None and self.record is not None:
            self.record = self.read(partial(self.project.record, self.record.id), self.record)
            self.images_changed.emit()

    def close_image(self) -> None:
        """Close the open image; everything is saved already."""
        self.visiting.leave()

    def layer_removed(self) -> None:
        """Close the open image because one of its layers was deleted from the viewer."""
        self.visiting.layer_removed()

    # Segmentation: see Segmenting

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
        """Segment the open image, or the given ones, on a thread; undoable; then look for gaps."""
        self.segmenting.segment(ids, model, device, threshold, min_size, complete, unreviewed)

    def has_probability(self) -> bool:
        """Whether a threshold can be moved: the open image has a stored probability map."""
        return self.segmenting.has_probability()

    def preview_threshold(self, threshold: float, min_size: int = 0) -> None:
        """Show what a threshold would give, over the image in a colour of its own; changes nothing."""
        self.segmenting.preview_threshold(threshold, min_size)

    def end_preview(self) -> None:
        """Take the preview away."""
        self.segmenting.end_preview()

    def apply_threshold(self, threshold: float, min_size: int = 0) -> None:
        """Make the mask what a threshold gives, undoably, and look for gaps."""
        self.segmenting.apply_threshold(threshold, min_size)

    def set_mask(self, labels: NDArray[np.generic], text: str) -> None:
        """Replace the open image's mask, undoably, and look for gaps."""
        self.segmenting.set_mask(labels, text)

    def note_review(self) -> None:
        """Follow the state of the open image: an edit has made it one in review, or has taken back all there was."""
        if self.record is None or self.session is None:
            return
        if self.record.state is not ImageState.IN_REVIEW or not self.session.history_position:
            self.refresh_record()

    # Review: see Reviewing

    def find_gaps(self) -> None:
        """Look for gaps in the background; open ones are replaced, decided ones stay."""
        self.review.search.find_gaps()

    def select_gap(self, gap_id: str, fly: bool = True) -> None:
        """Put a gap under review: drawn in the canvas and, unless `fly` is False, in its middle."""
        self.review.select(gap_id, fly)

    def next_gap(self, step: int = 1) -> None:
        """Go to the next open gap, or with a negative step back to the one before, open or not."""
        self.review.next_gap(step)

    def decide(self, verdict: Verdict) -> None:
        """Give the gap or cut under review its verdict and go to the next open one."""
        self.review.decide(verdict)

    def accept_above(self, score: float) -> None:
        """Accept every open gap with at least this score, as one undoable action."""
        self.review.accept_above(score)

    def start_repaint(self) -> None:
        """Take the brush in the gap's width, with the proposal as a ghost."""
        if self.queues.shown not in ("gaps", "cuts"):
            self.say("Repainting is for gaps and cuts; paint with the brush at any time, or go to the Gaps.", "warning")
            return
        self.review.repaint.start()

    def end_repaint(self) -> None:
        """End the repaint: its strokes are the completion."""
        self.review.repaint.end()

    def cancel_repaint(self) -> None:
        """Leave the repaint; its strokes are taken back."""
        self.review.repaint.cancel()

    def delete_component(self) -> None:
        """Delete the component under the cursor, or where the mask was clicked last."""
        self.review.delete_component()

    def undo(self) -> None:
        """Take back the last thing done, whatever it was; in another image, go there first."""
        self.timeline.undo()

    def redo(self) -> None:
        """Do it again."""
        self.timeline.redo()

    def flush(self) -> None:
        """Bring a stroke that waits for its event-loop turn into the session now."""
        self.scene.flush()

    # Out

    def save_mask(self, path: Path | str) -> bool:
        """Write the mask as PNG or TIFF in its own values; return whether it worked."""
        from napari_vessel.images.writing import write_mask

        if self.session is None:
            self.say("No image is open, so there is no mask to save.", "warning")
            return False
        self.flush()
        try:
            write_mask(path, self.session.labels, self.session.classes)
        except (VesselError, OSError) as error:
            self.report(error if isinstance(error, VesselError) else InputError(f"{path} cannot be written: {error}."))
            return False
        self.say(f"Saved the mask to {path}.")
        return True

    def export(
        self, out: Path | str, layout: str = "folder", options: ExportOptions | None = None, on_done: Any = None
    ) -> None:
        """Export the project to a folder on a thread; `on_done` is called with the folder that was written."""
        from napari_vessel.export import ExportOptions, export_project

        if self.project is None:
            self.say("No project is open; open one first.", "warning")
            return
        self.flush()

        def done(folder: Path) -> None:
            self.say(f"Exported to {folder}.")
            if on_done is not None:
                on_done(folder)

        job = export_project(self.project, out, layout, options or ExportOptions())
        self.tasks.start("export", job, done, "Exporting")

    def cancel(self) -> None:
        """Cancel the work that is shown; everything is as it was."""
        self.tasks.cancel()

    def close(self) -> None:
        """Stop all work and close the project: for the end of the viewer."""
        self.tasks.close()
        self.close_project()
        self.tasks.close()

    def abandon(self) -> None:
        """Stop all work and let go of the project, because the window is gone; everything done is saved."""
        if self._abandoned:
            return
        self._abandoned = True
        self.tasks.close()
        self.review.leave()
        self.fragments.leave()
        self.session = self.record = self.image = None
        project, self.project = self.project, None
        if project is not None:
            project.close()
