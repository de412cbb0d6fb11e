"""The way from image to image of a project: each is opened where it was left, and left as it is, saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_vessel.gui.garbage import set_apart
from napari_vessel.gui.opening import Opened, open_job
from napari_vessel.review.records import ImageState

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.session import ReviewSession


class Visiting:
    """Opens and leaves images.

    Parameters
    ----------
    workspace : Workspace
        Whose image, session and record are the open one's.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.order: Callable[[], list[str]] | None = None
        """Gives the ids of the images as a sorted, filtered table shows them; None for the project's own order."""
        self._wanted = ""
        self._warned = False

    def open(self, image_id: str, prefix: str = "", then: Callable[[], None] | None = None) -> None:
        """Open an image where it was left, and do `then`; what is said begins with `prefix`."""
        workspace = self._workspace
        project = workspace.project
        if project is None:
            return
        workspace.flush()
        self._wanted = image_id
        left = workspace.session
        said = None if left is None else left.said

        def done(opened: Opened) -> None:
            session = opened.session
            if left is not None and left.image_id == image_id and workspace.read(left.is_current, True):
                # It was open: edits made while it was read are not in what was read.
                session = left
            elif not workspace.read(session.is_current, True):
                # It got a new mask while it was read.
                self.open(image_id, prefix, then)
                return
            self.leave(tell=False)
            if session.annotator != workspace.annotator or (left not in (None, session) and left.said != said):
                # Verdicts on the image before, given while this one was read, count here too.
                self.hand_to_annotator(session)
            self._enter(opened, session, prefix)
            if then is not None:
                then()

        workspace.tasks.start("open", open_job(project, image_id, workspace.annotator), done, "Opening the image")

    def catch_up(self) -> None:
        """Open the image anew where it got a mask that is not shown: it was read before."""
        workspace = self._workspace
        session = workspace.session
        # One that is being opened is looked at when it is there.
        if session is None or workspace.tasks.is_running("open"):
            return
        if not workspace.read(session.is_current, True):
            self.open(session.image_id)

    def _enter(self, opened: Opened, session: ReviewSession, prefix: str) -> None:
        workspace = self._workspace
        assert workspace.project is not None
        record = workspace.read(partial(workspace.project.record, session.image_id), opened.record)
        workspace.image, workspace.session, workspace.record = opened.image, session, record
        self._warned = False
        transform = np.eye(3) if record.transform is None else np.asarray(record.transform, np.float64)
        workspace.scene.show(record, opened.display, session, transform)
        workspace.review.enter(session)
        workspace.fragments.enter(session)
        workspace.bulk.enter()
        workspace.image_opened.emit()
        workspace.images_changed.emit()
        notes = "; ".join(opened.image.notes)
        workspace.say(f"{prefix}{record.name}" + (f" ({notes})" if notes else ""))
        workspace.review.begin(search=not session.gaps and bool(session.labels.any()))
        if workspace.fragments.active:
            workspace.fragments.activate(True)
        elif workspace.differences.active:
            workspace.queues.show_selected()
        set_apart("an image is open")

    def hand_to_annotator(self, session: ReviewSession) -> None:
        """Bring a session up to date with who works on it, and with what they have decided in other images."""
        workspace = self._workspace
        if workspace.project is not None:
            read = partial(workspace.project.opinions, workspace.annotator, besides=session.image_id)
            session.hand_to(workspace.annotator, workspace.read(read, []))

    def step(self, step: int) -> None:
        """Open the next image in the order in which they are gone through, or with a negative step the one before."""
        workspace = self._workspace
        ids = self._walk()
        if not ids:
            none = "There is no project with images; add images first."
            workspace.say("No image is listed; change the filter." if workspace.images() else none, "warning")
            return
        # Pressed again before the image is there, it goes one further.
        opening = workspace.tasks.is_running("open")
        here = self._wanted if opening else "" if workspace.record is None else workspace.record.id
        at = ids.index(here) + step if here in ids else 0 if step > 0 or not here else len(ids) - 1
        if 0 <= at < len(ids):
            self.open(ids[at])
        else:
            workspace.say("This is the last image." if step > 0 else "This is the first image.")

    def _walk(self) -> list[str]:
        """Return the ids of the images in the order in which they are gone through."""
        return [record.id for record in self._workspace.images()] if self.order is None else self.order()

    def mark_done(self) -> None:
        """Mark the image as done and open the next one that is not; on a finished image: take it up again."""
        workspace = self._workspace
        if workspace.tasks.is_running("open"):
            # Pressed again because nothing moves yet: the image that is left is done, and stays so.
            workspace.say("An image is being opened; press again when it is there.", "warning")
            return
        record, session = workspace.record, workspace.session
        if workspace.project is None or record is None or session is None:
            workspace.say("No image is open; open one first.", "warning")
            return
        if not workspace.review.settle():
            return
        again, walk = record.state is ImageState.DONE, self._walk()
        if not again and not self._warned and workspace.review.search.looks_for(cuts=False):
            self._warned = True
            workspace.say("Gaps are still being looked for; D once more marks the image as done all the same.")
            return
        workspace.set_state(ImageState.IN_REVIEW if again else ImageState.DONE)
        name, left = record.name, session.remaining()
        if again:
            workspace.say(f"{name} is in review again.")
            return
        workspace.learning.count()
        counts = ((left["open"], "gap"), (left["cuts"], "cut"))
        words = " and ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts if count)
        still = f" with {words} still open" if words else ""
        waiting = {one.id for one in workspace.images() if one.state is not ImageState.DONE}
        at = walk.index(record.id) if record.id in walk else -1
        following = [one for one in [*walk[at + 1 :], *walk[: max(at, 0)]] if one in waiting]
        if following:
            self.open(following[0], f"{name} is done{still}. Now: ")
        elif waiting:
            workspace.say(f"{name} is done{still}; {len(waiting)} more are hidden by the filter of the images.")
        else:
            workspace.say(f"{name} is done{still}; so are all images of this project.")

    def leave(self, tell: bool = True) -> None:
        """Leave the open image; without `tell` another one is about to be shown in its layers."""
        workspace = self._workspace
        workspace.flush()
        for lane in ("gaps", "cuts", "complete", "preview", "mask", "fragments", "wire", "calibration"):
            workspace.tasks.drop(lane)
        workspace.segmenting.leave()
        workspace.bulk.leave(fly=False)
        workspace.review.leave()
        workspace.fragments.leave()
        workspace.audit.end()
        (workspace.scene.close if tell else workspace.scene.leave)()
        had = workspace.session is not None
        workspace.session = workspace.record = workspace.image = None
        if tell and had:
            workspace.image_opened.emit()

    def layer_removed(self) -> None:
        """Leave the open image because one of its layers was deleted from the viewer."""
        from qtpy.QtCore import QTimer

        workspace = self._workspace

        def close() -> None:
            if workspace.record is not None and not workspace.scene.complete:
                name = workspace.record.name
                self.leave()
                workspace.say(
                    f"{name} was closed; its mask is saved, open it again from the project's table.", "warning"
                )

        # Not from inside napari's removal.
        QTimer.singleShot(0, close)
