"""The *Measurements* dock widget: the open image's figures before and after its review, and its segments."""

from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QModelIndex
from qtpy.QtWidgets import QFileDialog, QHeaderView, QLabel, QPushButton, QVBoxLayout

from napari_vessel.errors import InputError
from napari_vessel.gui.dock import Dock
from napari_vessel.gui.gap_table import ID_ROLE, QueueTable
from napari_vessel.gui.measurement_tables import SEGMENT_COLUMNS, FigureTable, SegmentOrder, SegmentTableModel
from napari_vessel.gui.parts import (
    MARGIN,
    SPACING,
    ElidedLabel,
    JobBar,
    StatusLine,
    connect_while_alive,
    in_row,
    told,
    while_alive,
)
from napari_vessel.gui.segment_mark import SegmentMark
from napari_vessel.gui.workspace import Workspace
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.measuring import Reviewed
from napari_vessel.topology.measurement import Segment

_LANE, _WRITING = "measure", "measurements"
_REACH = 12.0
"""How far from a segment's centreline a click may be, px of the screen."""


class MeasurementsWidget(Dock):
    """Measure the open image, look at its segments, write tables of it or of the project.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer it is docked in.
    """

    tab = "Measure"

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.workspace = Workspace.of(viewer)
        self.found: Reviewed | None = None
        self._image = ""
        self._stale = False
        self._running = False
        self._pixel = 1.0
        self._mark: SegmentMark | None = None
        self._build()
        workspace = self.workspace
        connect_while_alive(self, workspace.image_opened, self._on_image)
        connect_while_alive(self, workspace.mask_changed, self._on_mask)
        connect_while_alive(self, workspace.gaps_changed, self._on_gaps)
        connect_while_alive(self, workspace.busy, self._on_busy)
        connect_while_alive(self, workspace.message, self.status.tell)
        workspace.viewer.mouse_drag_callbacks.append(self._on_canvas)
        self.destroyed.connect(partial(_forget_callback, workspace.viewer, self._on_canvas))
        self._on_image()

    def _build(self) -> None:
        self.measure_button = QPushButton("&Measure this image")
        self.measure_button.setToolTip("Measure the mask as it was segmented, and as it is now. It runs on a thread.")
        self.measure_button.clicked.connect(self._measure)
        self.state = ElidedLabel()
        self.figures = FigureTable()
        self.title = QLabel()
        self.model = SegmentTableModel(self)
        self.order = SegmentOrder(self)
        self.order.setSourceModel(self.model)
        self.segments = QueueTable(self.order)
        self.segments.setAccessibleName("Segments")
        self.segments.setToolTip("A row shows its segment on the canvas; a click on a vessel there finds its row.")
        metrics = self.fontMetrics()
        for column, widest in enumerate(("9999", "999.9", "calibre", "arc/chord▾", "turns")):
            self.segments.setColumnWidth(column, metrics.horizontalAdvance(widest) + 15)
        last = len(SEGMENT_COLUMNS) - 1
        self.segments.horizontalHeader().setSectionResizeMode(last, QHeaderView.ResizeMode.Stretch)
        self.segments.selectionModel().currentRowChanged.connect(self._on_row)
        self.save_button = QPushButton("Save this &image…")
        self.save_button.setToolTip("Write the figures of the open image as CSV, and its segments beside it.")
        self.save_button.clicked.connect(self._choose_image_file)
        self.project_button = QPushButton("Save the &project…")
        self.project_button.setToolTip("Measure every image of the project and write them as one CSV table.")
        self.project_button.clicked.connect(self._choose_project_file)
        self.job_bar = JobBar(self.workspace.cancel)
        self.status = StatusLine(2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        layout.setSpacing(SPACING)
        layout.addWidget(self.measure_button)
        layout.addWidget(self.state)
        layout.addWidget(self.figures)
        layout.addWidget(self.title)
        layout.addWidget(self.segments, 1)
        layout.addLayout(in_row(self.save_button, self.project_button))
        layout.addWidget(self.job_bar)
        layout.addWidget(self.status)

    # What the buttons do

    @told
    def _measure(self) -> None:
        workspace = self.workspace
        session, project, image = workspace.session, workspace.project, workspace.image
        if session is None or project is None or image is None:
            raise InputError("No image is open; open one in Vessel project first.")
        workspace.flush()
        job = _measure_job(workspace, session.labels.copy())
        self._stale = False
        done = while_alive(self, partial(self._show, session.image_id))
        workspace.tasks.start(_LANE, job, done, "Measuring")

    def _show(self, image_id: str, found: Reviewed) -> None:
        session, image = self.workspace.session, self.workspace.image
        if session is None or image is None or session.image_id != image_id:
            return
        self.found, self._image = found, image_id
        self._pixel = 1.0 if image.spacing is None else float(np.sqrt(image.spacing[0] * image.spacing[1]))
        self._unmark()
        self.figures.show_figures(found)
        self.model.show_segments(found.after.segments, found.after.unit)
        unit = "µm" if found.after.unit == "um" else "px"
        self.title.setText(f"{len(found.after.segments)} segments, lengths in {unit}")
        self._update()
        self.workspace.say("Measured; choose a row to see the segment.")

    def _choose_image_file(self) -> None:
        record = self.workspace.record
        path = None if record is None else self._ask("Save the measurements", f"{record.name}_measurements.csv")
        if path is not None:
            self.save_image(path)

    def _choose_project_file(self) -> None:
        project = self.workspace.project
        path = None if project is None else self._ask("Save the project's measurements", f"{project.name}.csv")
        if path is not None:
            self.save_project(path)

    def _ask(self, title: str, name: str) -> Path | None:
        chosen, _ = QFileDialog.getSaveFileName(self, title, str(Path.home() / name), "CSV (*.csv)")
        return Path(chosen).with_suffix(".csv") if chosen else None

    def save_image(self, path: Path) -> None:
        """Write what was measured of the open image, and its segments in PATH_segments.csv, on a thread."""
        record = self.workspace.record
        if self.found is None or record is None:
            return
        job = _write_job(path, self.found, record.name)
        self.workspace.tasks.start(_WRITING, job, self._saved, "Writing measurements")

    def save_project(self, path: Path) -> None:
        """Measure all images of the project and write them, and their segments in PATH_segments.csv, on a thread."""
        project = self.workspace.project
        if project is None:
            return
        self.workspace.flush()
        self.workspace.tasks.start(_WRITING, _project_job(project, path), self._saved, "Measuring the project")

    def _saved(self, path: Path) -> None:
        self.workspace.say(f"Saved {path.name} and {_segments_file(path).name} in {path.parent}.")

    # Table and canvas

    def select(self, number: int) -> None:
        """Choose a segment by its number: its row is marked, and the canvas shows it."""
        for row in range(self.order.rowCount()):
            if self.order.data(self.order.index(row, 0), ID_ROLE) == number:
                self.segments.setCurrentIndex(self.order.index(row, 0))
                self.segments.scrollTo(self.order.index(row, 0))
                return

    def _on_row(self, index: QModelIndex, before: QModelIndex) -> None:
        segment = self.model.segment(self.order.data(self.order.index(index.row(), 0), ID_ROLE) or 0)
        session = self.workspace.session
        if segment is None or session is None or session.image_id != self._image:
            return
        scene = self.workspace.scene
        width = max(segment.calibre / self._pixel, 1.0)
        if self._mark is None or not self._mark.is_there():
            self._mark = SegmentMark(self.workspace)
        self._mark.mark(segment.points, width)
        scene.camera.fly_to(segment.centre, segment.length / self._pixel, width)

    def _on_canvas(self, viewer: Any, event: Any) -> Any:
        """Choose the segment that was clicked; a drag, and a click with a painting tool, is not for this."""
        begun = event.position
        yield
        while event.type == "mouse_move":
            if not np.allclose(event.position, begun):
                return
            yield
        layer = self.workspace.scene.mask_layer
        if not self.isVisible() or self.found is None or layer is None or str(layer.mode) != "pan_zoom":
            return
        if self.workspace.review.repainting:
            # The live wire leaves the mouse to the canvas.
            return
        pixel = self.workspace.scene.pixel_at(event.position)
        if pixel is not None:
            self._choose_at(pixel)

    def _choose_at(self, pixel: tuple[int, int]) -> None:
        assert self.found is not None
        camera = self.workspace.scene.camera
        reach = _REACH / max(float(camera.of_napari.zoom) * camera.pixel_size, 1e-9)
        nearest = min(
            ((_distance(segment, pixel), segment.number) for segment in self.found.after.segments),
            default=(np.inf, 0),
        )
        if nearest[0] <= reach:
            self.select(nearest[1])

    def end(self) -> None:
        """Take the mark away."""
        if self._mark is not None:
            self._mark.close()
            self._mark = None

    def _unmark(self) -> None:
        if self._mark is not None and self._mark.is_there():
            self._mark.mark(None)

    # What the workspace says

    def _on_image(self) -> None:
        self.workspace.tasks.drop(_LANE)
        session = self.workspace.session
        if self._mark is not None:
            if session is not None and self._mark.is_there():
                self._mark.enter(session.shape, self.workspace.scene.camera.transform)
            else:
                self.end()
        self.found, self._image, self._stale = None, "", False
        self.figures.show_figures(None)
        self.model.show_segments((), "px")
        self.title.setText("Segments")
        self._update()

    def _on_mask(self) -> None:
        if not self._stale and (self.found is not None or self.workspace.tasks.is_running(_LANE)):
            self._stale = True
            self._update()

    def _on_gaps(self) -> None:
        """Follow a verdict: an unsure one changes no pixel, but the interval."""
        session = self.workspace.session
        if self.found is not None and session is not None and len(_unsure(session)) != self.found.unsure:
            self._on_mask()

    def _on_busy(self, progress: Progress | None, text: str) -> None:
        self._running = progress is not None
        self.job_bar.show_progress(progress)
        self.status.show_busy(progress, text)
        self._update()

    def _update(self) -> None:
        there = self.workspace.session is not None
        self.measure_button.setEnabled(there and not self.workspace.tasks.is_running(_LANE))
        self.save_button.setEnabled(self.found is not None and not self._running)
        self.project_button.setEnabled(self.workspace.project is not None and not self._running)
        if self.found is None:
            self.state.setText("Not measured yet." if there else "No image is open.")
        elif self._stale:
            self.state.setText("⚠ The mask has changed since; measure again.")
        else:
            count = self.found.unsure
            self.state.setText(
                "✔ Up to date." if not count else f"✔ Up to date; {count} unsure proposal{'s' * (count != 1)}."
            )


def _unsure(session: Any) -> list[Any]:
    from napari_vessel.review.measuring import unsure_of

    return unsure_of(session.decided)


def _measure_job(workspace: Workspace, after: NDArray[np.uint8]) -> Job[Reviewed]:
    """Prepare, on the GUI's thread, the measuring of the open image; all that takes time is done by the job."""
    from napari_vessel.review.measuring import measuring_review

    session, project, image = workspace.session, workspace.project, workspace.image
    assert session is not None
    assert project is not None
    assert image is not None
    unsure, name = _unsure(session), session.image_id

    def job() -> Job[Reviewed]:
        yield Progress(0, None, "Reading the first mask")
        before = project.read_first_mask(name)
        return (yield from measuring_review(before.mask, after, unsure, image.fov, image.spacing))

    return job()


def _segments_file(path: Path) -> Path:
    return path.with_name(f"{path.stem}_segments.csv")


def _write_job(path: Path, found: Reviewed, name: str) -> Job[Path]:
    from napari_vessel.topology.measurement.tables import write_tables

    yield Progress(0, None, path.name)
    write_tables(path, found.rows(name), _segments_file(path))
    return path


def _project_job(project: Any, path: Path) -> Job[Path]:
    from napari_vessel.review.measuring import measuring_project
    from napari_vessel.topology.measurement.tables import write_tables

    found = yield from measuring_project(project)
    if not found:
        raise InputError("No image of the project has a mask yet; segment them first.")
    write_tables(path, [row for record, one in found for row in one.rows(record.name)], _segments_file(path))
    return path


def _distance(segment: Segment, pixel: tuple[int, int]) -> float:
    """Return how far a pixel is from a segment's centreline, px."""
    return float(np.hypot(*(segment.points - pixel).T).min())


def _forget_callback(viewer: Any, callback: Any, *_: Any) -> None:
    if callback in viewer.mouse_drag_callbacks:
        viewer.mouse_drag_callbacks.remove(callback)
