"""The *Fine-tune* dock widget: a better model of the project's own, from what was decided in it."""

from pathlib import Path

import napari
from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_vessel.gui.closing import CloseGuard
from napari_vessel.gui.device_box import DeviceBox
from napari_vessel.gui.dock import Dock
from napari_vessel.gui.finetune_words import decisions_lines, images_lines, readiness
from napari_vessel.gui.finetuning import FineTuning, Standing, standing_job
from napari_vessel.gui.parts import (
    MARGIN,
    SPACING,
    ElidedLabel,
    FittingLabel,
    JobBar,
    StatusLine,
    connect_while_alive,
    told,
    while_alive,
    widen,
)
from napari_vessel.gui.training_runs import TuningCurves, read_tuning, seconds_for
from napari_vessel.gui.tuning_plot import TuningPlot
from napari_vessel.gui.version_panel import VersionPanel
from napari_vessel.gui.workspace import Workspace
from napari_vessel.jobs import Progress
from napari_vessel.training.finetuning.folders import steps_of
from napari_vessel.training.finetuning.settings import IMAGES, STEPS

_CURVES_MS = 1000
_COUNT_MS = 300


class FineTuneWidget(Dock):
    """Learn from the project's decisions in a process of its own, judge the new model, and keep its versions.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer it is docked in.
    """

    tab = "Fine-tune"

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.workspace = Workspace.of(viewer)
        self.tuning = FineTuning.of(self.workspace)
        CloseGuard.watch(getattr(self.workspace.viewer.window, "_qt_window", None), self.tuning)
        self._base: Path | None = None
        self._standing = Standing()
        self._was_running = self._verdict_due = False
        self._build()
        self._curve_timer = QTimer(self)
        self._curve_timer.setInterval(_CURVES_MS)
        self._curve_timer.timeout.connect(self._show_curves)
        self._count_timer = QTimer(self)
        self._count_timer.setSingleShot(True)
        self._count_timer.timeout.connect(self._refresh)
        workspace = self.workspace
        for signal in (workspace.project_changed, workspace.images_changed, self.tuning.versions_changed):
            connect_while_alive(self, signal, self._refresh_next)
        for signal in (workspace.gaps_changed, workspace.fragments_changed, workspace.history_changed):
            connect_while_alive(self, signal, self._refresh_soon)
        connect_while_alive(self, workspace.busy, self._on_busy)
        connect_while_alive(self, workspace.message, self.status.tell)
        connect_while_alive(self, self.tuning.changed, self._on_tuning)
        self._on_tuning()
        self._show(self._standing)
        self._refresh()

    # Building

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        layout.setSpacing(SPACING)
        self.panel: VersionPanel
        self.tabs = QTabWidget()
        self.tabs.addTab(self._build_learning(), "Le&arn")
        self.panel = VersionPanel(self)
        self.tabs.addTab(self.panel, "Vers&ions")
        layout.addWidget(self.tabs, 1)
        self.job_bar = JobBar(self.workspace.cancel)
        layout.addWidget(self.job_bar)
        self.status = StatusLine(2)
        layout.addWidget(self.status)

    def _build_learning(self) -> QWidget:
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, MARGIN, 0, 0)
        layout.setSpacing(SPACING)
        self.images, self.decisions, self.model = FittingLabel(), FittingLabel(), ElidedLabel()
        there = QFormLayout()
        there.setSpacing(2)
        there.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for words, label in (("Images", self.images), ("Decisions", self.decisions), ("Model now", self.model)):
            label.setAccessibleName(words)
            there.addRow(words, label)
        layout.addLayout(there)
        self.readiness = StatusLine(3)
        layout.addWidget(self.readiness)
        layout.addLayout(self._build_form())
        self.estimate = ElidedLabel()
        layout.addWidget(self.estimate)
        self.start_button = QPushButton("&Start")
        self.start_button.clicked.connect(self._start)
        self.on_button = QPushButton("&Go on")
        self.on_button.clicked.connect(self._go_on)
        self.stop_button = QPushButton("S&top")
        self.stop_button.setToolTip("Stop; the best weights so far are judged and become a version. It can go on.")
        self.stop_button.clicked.connect(lambda: self.tuning.stop())
        buttons = QHBoxLayout()
        for button in (self.start_button, self.on_button, self.stop_button):
            buttons.addWidget(button, 1)
        layout.addLayout(buttons)
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(10)
        self.progress.setAccessibleName("How far the training is")
        layout.addWidget(self.progress)
        self.going = StatusLine(2)
        layout.addWidget(self.going)
        self.plot = TuningPlot()
        layout.addWidget(self.plot, 1)
        return page

    def _build_form(self) -> QFormLayout:
        self.base = QComboBox()
        self.base.addItem("synthetic images", "synthetic")
        self.base.addItem("a folder of real images…", "folder")
        self.base.setToolTip(
            "Half of every batch is what the model knew before, so that it forgets nothing: synthetic images, or a "
            "folder with images/ and masks/."
        )
        self.base.activated.connect(self._choose_base)
        self.rehearsal = QSpinBox()
        self.rehearsal.setRange(1, 10_000)
        self.rehearsal.setSingleStep(10)
        self.rehearsal.setValue(IMAGES)
        self.rehearsal.setToolTip("Synthetic images to make and rehearse.")
        self.steps = QSpinBox()
        self.steps.setRange(1, 1_000_000)
        self.steps.setSingleStep(100)
        self.steps.setValue(STEPS)
        self.steps.setToolTip("Batches to train for at most; it ends before when nothing becomes better.")
        for box in (self.rehearsal, self.steps):
            box.valueChanged.connect(self._estimate)
        self.device = DeviceBox(self.workspace.report)
        widen(self.base)
        form = QFormLayout()
        form.setSpacing(SPACING)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("&Rehearse", self.base)
        pair = QHBoxLayout()
        for part in (self.rehearsal, self.steps):
            pair.addWidget(part, 1)
        form.addRow("S&ynthetic, steps", pair)
        form.labelForField(pair).setBuddy(self.rehearsal)
        form.addRow("&Device", self.device)
        return form

    @property
    def chosen_device(self) -> str:
        """Where to compute."""
        return str(self.device.currentData())

    def end(self) -> None:
        """Take the lines of a comparison away."""
        self.panel.comparison.end()

    # What there is to learn from

    def _refresh_next(self) -> None:
        self._count_timer.start(0)

    def _refresh_soon(self) -> None:
        if not self._count_timer.isActive():
            self._count_timer.start(_COUNT_MS)

    def showEvent(self, event: QShowEvent) -> None:
        """Count what came while it was not seen."""
        super().showEvent(event)
        self._refresh_next()

    def _refresh(self) -> None:
        """Count anew on a thread, unless this lies behind another dock: it does when it comes up."""
        project = self.workspace.project
        if project is None:
            self._show(Standing())
        elif self.isVisible() or not self.window().isVisible():
            self.workspace.tasks.start("standing", standing_job(project), while_alive(self, self._show))

    def _show(self, standing: Standing) -> None:
        self._standing = standing
        found = standing.found
        self.images.set_wordings(["–"] if found is None else images_lines(found))
        self.decisions.set_wordings(["–"] if found is None else decisions_lines(found))
        self.model.setText(standing.model or "–")
        self.readiness.setText(readiness(found, standing.model))
        fresh = self.panel.show_versions(standing.versions, standing.outdated)
        self.tabs.setTabText(1, f"Vers&ions {len(standing.versions) or ''}".rstrip())
        if fresh and self._verdict_due:
            self._verdict_due = False
            self.tabs.setCurrentWidget(self.panel)
        self._estimate()
        self._show_curves()
        self._update()

    def _estimate(self) -> None:
        """Say how long it will take, once a run here has shown the pace; while one runs that is told below."""
        if self.tuning.running:
            self.estimate.setText("")
            return
        if self._standing.pace is None:
            self.estimate.setText("The time left is told once it runs.")
            return
        images = self.rehearsal.value() * (self._base is None)
        seconds = seconds_for(self.steps.value(), self._standing.pace, images)
        self.estimate.setText(f"About {max(1, round(seconds / 60))} min at most, by the pace of the last run.")

    # Training

    @told
    def _choose_base(self) -> None:
        self._base = None
        if self.base.currentData() == "folder":
            name = QFileDialog.getExistingDirectory(self, "Folder with images/ and masks/ of what the model knows")
            self._base = Path(name) if name else None
        self.base.setItemText(1, "a folder of real images…" if self._base is None else f"{self._base.name} …")
        self.base.setCurrentIndex(0 if self._base is None else 1)
        self.rehearsal.setEnabled(self._base is None)
        self._estimate()

    @told
    def _start(self) -> None:
        self._verdict_due = False
        numbers = {"steps": self.steps.value(), "rehearsal": self.rehearsal.value()}
        self.tuning.start(numbers, self._base, self.chosen_device)

    @told
    def _go_on(self) -> None:
        if self._standing.run is not None:
            self._verdict_due = False
            self.tuning.go_on(self._standing.run, self.chosen_device)

    # What is shown

    def _on_tuning(self) -> None:
        tuning = self.tuning
        if tuning.running and not self._curve_timer.isActive():
            self._curve_timer.start()
            self._estimate()
        elif not tuning.running and self._was_running:
            self._curve_timer.stop()
            self._verdict_due = True
            self._refresh_next()
        self._was_running = tuning.running
        progress = tuning.progress
        fraction = 0.0 if progress is None else progress.fraction
        self.progress.setRange(0, 0 if fraction is None else 1000)
        self.progress.setValue(round(1000 * (fraction or 0.0)))
        self.going.setText(tuning.text)
        self._update()

    def _show_curves(self) -> None:
        run = self.tuning.folder if self.tuning.running else self._standing.run
        steps = 0 if run is None else steps_of(run)
        self.plot.show_curves(TuningCurves() if run is None else read_tuning(run, steps))

    def _update(self) -> None:
        running = self.tuning.running
        ready = self._standing.found is not None and self._standing.found.anything
        self.start_button.setEnabled(ready and not running)
        self.start_button.setToolTip(
            "Learn from what was decided until now, in a process of its own: you can go on working."
            if ready
            else "There is too little to learn from: finish an image first."
        )
        self.on_button.setEnabled(self._standing.unfinished and not running)
        self.on_button.setToolTip(
            "Go on with the run that was stopped, on what was decided when it began."
            if self._standing.unfinished
            else "No run was stopped before its end."
        )
        self.stop_button.setEnabled(running)
        for part in (self.base, self.steps, self.device):
            part.setEnabled(not running)
        self.rehearsal.setEnabled(not running and self._base is None)

    def _on_busy(self, progress: Progress | None, text: str) -> None:
        self.job_bar.show_progress(progress)
        self.status.show_busy(progress, text)
