"""The *Vessel training* dock widget: a model of one's own from a handful of labelled images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
)

from napari_vessel.errors import InputError
from napari_vessel.gui.closing import CloseGuard
from napari_vessel.gui.curve import CurvePlot
from napari_vessel.gui.device_box import DeviceBox
from napari_vessel.gui.dock import Dock
from napari_vessel.gui.importing import image_job, mask_job, plane_index
from napari_vessel.gui.label_table import LabelTable
from napari_vessel.gui.model_card import add_model
from napari_vessel.gui.parts import (
    MARGIN,
    MODALITY_NAMES,
    SPACING,
    StatusLine,
    TightButton,
    connect_while_alive,
    in_row,
    told,
    while_alive,
    widen,
)
from napari_vessel.gui.training import Training
from napari_vessel.gui.training_runs import (
    check_name,
    free_name,
    read_curve,
    read_result,
    read_run,
    runs_folder,
    seconds_for,
    seconds_per_step,
)
from napari_vessel.gui.training_sources import Source, files_job, finished, from_layers
from napari_vessel.gui.workspace import Workspace
from napari_vessel.images.image import Modality
from napari_vessel.jobs import Job, Progress

FEWEST = 2
_REFRESH_MS = 1000
_TOO_FEW = f"Tick {FEWEST} labelled images or more, better five: finish some in the project, or add them here."


def _install_job(folder: Path) -> Job[str]:
    yield Progress(0, None, "Copying the model")
    from napari_vessel.segmentation.registry import install_model

    return install_model(folder).name


class FewShotWidget(Dock):
    """Choose labelled images, train in a process of its own, and use what comes out.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer it is docked in.
    """

    tab = "Training"

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.workspace = Workspace.of(viewer)
        self.training = Training.of(self.workspace)
        self._added: list[Source] = []
        self._modality_chosen = False
        CloseGuard.watch(getattr(self.workspace.viewer.window, "_qt_window", None), self.training)
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._show_curve)
        workspace = self.workspace
        connect_while_alive(self, workspace.images_changed, self._show_sources)
        connect_while_alive(self, workspace.project_changed, self._show_sources)
        connect_while_alive(self, workspace.message, self.status.tell)
        connect_while_alive(self, self.training.changed, self._on_training)
        self._fill_starts()
        self.name.setText(self.training.name if self.training.running else free_name())
        self._show_sources()
        self._on_training()

    # Building

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        layout.setSpacing(SPACING)
        self.table = LabelTable(self._update)
        layout.addWidget(self.table, 1)
        self.left_out = StatusLine(1)
        layout.addWidget(self.left_out)
        self._build_buttons()
        layout.addLayout(in_row(self.files_button, self.layers_button, None))
        layout.addLayout(self._build_form())
        self.estimate = StatusLine(2)
        layout.addWidget(self.estimate)
        self.start_button = QPushButton("&Start")
        self.start_button.clicked.connect(self._start)
        self.stop_button = QPushButton("S&top")
        self.stop_button.setToolTip("Stop training; the best weights so far become the model. It can go on afterwards.")
        self.stop_button.clicked.connect(lambda: self.training.stop())
        self.use_button = QPushButton("&Use it")
        self.use_button.setToolTip("Copy the model to your models: Segment vessels then offers it.")
        self.use_button.clicked.connect(self._use)
        buttons = QHBoxLayout()
        for button in (self.start_button, self.stop_button, self.use_button):
            buttons.addWidget(button, 1)
        layout.addLayout(buttons)
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(10)
        layout.addWidget(self.progress)
        self.status = StatusLine(2)
        layout.addWidget(self.status)
        self.plot = CurvePlot()
        layout.addWidget(self.plot)
        self.result = StatusLine(2)
        layout.addWidget(self.result)

    def _build_buttons(self) -> None:
        self.files_button = TightButton("Add &files…")
        self.files_button.setToolTip("Choose image files, then the folder that holds their masks.")
        self.files_button.clicked.connect(self._choose_files)
        self.layers_button = TightButton("Add &layers")
        self.layers_button.setToolTip(
            "Take an Image and a Labels layer: the two selected ones, or the only two there are."
        )
        self.layers_button.clicked.connect(self._add_layers)

    def _build_form(self) -> QFormLayout:
        self.modality = QComboBox()
        for modality, words in MODALITY_NAMES.items():
            if modality is not Modality.OTHER:
                self.modality.addItem(words, modality.value)
        self.modality.setToolTip(
            "How the images were taken: decides channel, scale, and what synthetic images look like."
        )
        self.modality.activated.connect(self._choose_modality)
        self.start_from = QComboBox()
        self.start_from.setToolTip(
            "A new network knows nothing; a model made for the modality is led on from what it knows."
        )
        self.start_from.currentIndexChanged.connect(self._estimate)
        self.synthetic = QSpinBox()
        self.synthetic.setRange(0, 10_000)
        self.synthetic.setSingleStep(50)
        self.synthetic.setValue(200)
        self.synthetic.setSpecialValueText("none")
        self.synthetic.setToolTip(
            "Synthetic images, made like the labelled ones; half of every batch is cut from them."
        )
        self.steps = QSpinBox()
        self.steps.setRange(1, 1_000_000)
        self.steps.setSingleStep(100)
        self.steps.setValue(1500)
        self.steps.setToolTip("Batches to train for. Stop keeps the best so far at any time.")
        for box in (self.synthetic, self.steps):
            box.valueChanged.connect(self._estimate)
        self.device = DeviceBox(self.workspace.report)
        self.name = QLineEdit()
        self.name.setToolTip("What the model will be called. That of an unfinished run goes on with it.")
        self.name.textChanged.connect(self._on_name)
        for combo in (self.modality, self.start_from):
            widen(combo)
        form = QFormLayout()
        form.setSpacing(SPACING)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("&Modality", self.modality)
        form.addRow("&Begin with", self.start_from)
        pair = QHBoxLayout()
        for part, stretch in ((self.synthetic, 1), (self.steps, 1)):
            pair.addWidget(part, stretch)
        form.addRow("S&ynthetic, steps", pair)
        form.labelForField(pair).setBuddy(self.synthetic)
        form.addRow("&Device", self.device)
        form.addRow("&Name", self.name)
        return form

    # What is learnt from

    def _show_sources(self) -> None:
        """List the project's finished images, what was added, or what a run that is there already learns from."""
        project = self.workspace.project
        records = self.workspace.images()
        nothing: tuple[list[Source], str] = ([], "")
        found, left = nothing if project is None else self.workspace.read(lambda: finished(project, records), nothing)
        sources = [*found, *self._added]
        run = read_run(self.name.text())
        self.left_out.setText(left)
        self.left_out.setVisible(bool(left) and run is None)
        if run is None:
            self.table.show_sources(sources)
        else:
            self.table.show_run(run)
        if not self._modality_chosen and run is None and sources:
            self.modality.setCurrentIndex(max(self.modality.findData(sources[0].modality.value), 0))
            self._fill_starts()
        self._update()

    @told
    def _choose_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Labelled images", str(Path.home()))
        if not names:
            return
        masks = QFileDialog.getExistingDirectory(self, "Folder of their masks", str(Path(names[0]).parent))
        if masks:
            self.add_files([Path(name) for name in names], Path(masks))

    def add_files(self, images: Sequence[Path], masks: Path) -> None:
        """List image files with their masks in a folder."""
        done = while_alive(self, self._add)
        self.workspace.tasks.start("label", files_job(images, masks), done, "Looking at the files")

    @told
    def _add_layers(self) -> None:
        from napari.layers import Image, Labels

        viewer = self.workspace.viewer
        picked = []
        for kind in (Image, Labels):
            selected = [layer for layer in viewer.layers.selection if isinstance(layer, kind)]
            there = [layer for layer in viewer.layers if isinstance(layer, kind)]
            fitting = selected if len(selected) == 1 else there
            if len(fitting) != 1:
                raise InputError("Select one Image layer and the Labels layer of its vessels first (Ctrl+click).")
            picked.append((fitting[0], plane_index(fitting[0], viewer)))
        (image, image_index), (labels, labels_index) = picked

        def read() -> Job[list[Source]]:
            pixels = yield from image_job(image, image_index)
            mask = yield from mask_job(labels, labels_index)
            return [from_layers(image.name, pixels, mask.mask)]

        self.workspace.tasks.start("label", read(), while_alive(self, self._add), f"Reading {image.name}")

    def _add(self, sources: Sequence[Source]) -> None:
        # What is added again is as it is now: its mask may have been corrected.
        self._added = list({source.key: source for source in (*self._added, *sources)}.values())
        self._show_sources()

    # How

    def _choose_modality(self) -> None:
        self._modality_chosen = True
        self._fill_starts()

    def _fill_starts(self) -> None:
        """Offer random weights, and the networks that segment, those made for the modality first."""
        from napari_vessel.segmentation.registry import list_models

        modality = Modality(self.modality.currentData())
        chosen = self.start_from.currentData()
        networks = [info for info in list_models() if info.kind == "network"]
        self.start_from.blockSignals(True)
        self.start_from.clear()
        self.start_from.addItem("a new small U-Net", "")
        for info in sorted(networks, key=lambda info: modality not in info.modalities):
            add_model(self.start_from, info, modality)
        self.start_from.setCurrentIndex(max(self.start_from.findData(chosen), 0))
        self.start_from.blockSignals(False)
        self._estimate()

    def _estimate(self) -> None:
        """Say how long it will take, and on what grounds; before there is enough to learn from, what to do."""
        if self.training.running:
            # The time left is told below by then.
            self.estimate.setText("")
            return
        if obstacle := self._obstacle():
            self.estimate.setText(obstacle)
            return
        measured = seconds_per_step()
        seconds = seconds_for(self.steps.value(), measured, self.synthetic.value())
        grounds = "by the pace of the last training here" if measured else "on two processor cores"
        about = f"{max(1, round(seconds / 60))} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
        self.estimate.setText(f"About {about}, {grounds}. The time left is told once it runs.")

    def _obstacle(self) -> str:
        """Return what is in the way of a new run; empty where one can begin, or one of that name goes on."""
        if read_run(self.name.text()) is not None:
            return ""
        if len(self.table.chosen()) < FEWEST:
            return _TOO_FEW
        try:
            check_name(self.name.text().strip())
        except InputError as error:
            return str(error)
        return ""

    # Training

    @told
    def _start(self) -> None:
        name = self.name.text().strip()
        settings: dict[str, Any] = {}
        if read_run(name) is None:
            check_name(name)
            settings = {
                "modality": Modality(self.modality.currentData()),
                "start": self.start_from.currentData(),
                "steps": self.steps.value(),
                "synthetic": self.synthetic.value(),
            }
        self.training.start(name, self.table.chosen(), settings, self.device.currentData())

    @told
    def _use(self) -> None:
        name = self.name.text()
        folder = runs_folder() / name / name

        def done(found: str) -> None:
            self.workspace.models_changed.emit(found)
            self.workspace.say(f"{found} is among your models: Segment vessels offers it.")
            self._fill_starts()

        self.workspace.tasks.start("label", _install_job(folder), while_alive(self, done), "Copying the model")

    # What is shown

    def _on_training(self) -> None:
        training = self.training
        if training.running:
            if self.name.text() != training.name:
                self.name.setText(training.name)
            if not self._timer.isActive():
                self._timer.start()
                self._estimate()
        elif self._timer.isActive():
            self._timer.stop()
            self._show_curve()
            self._show_sources()
            self._estimate()
        progress = training.progress
        fraction = 0.0 if progress is None else progress.fraction
        self.progress.setRange(0, 0 if fraction is None else 1000)
        self.progress.setValue(round(1000 * (fraction or 0.0)))
        if training.text:
            self.status.setText(training.text)
        self._update()

    def _on_name(self) -> None:
        self._show_sources()
        self._show_curve()

    def _show_curve(self) -> None:
        self.plot.show_curve(read_curve(self.name.text()))
        run = read_run(self.name.text())
        if run is not None and self.training.running and not self.table.item(0, 3).text():
            self._show_sources()

    def _update(self) -> None:
        running = self.training.running
        run = read_run(self.name.text())
        model = None if running else read_result(self.name.text())
        over = run is not None and model is not None and _steps(model) >= run["settings"].get("steps", 0)
        obstacle = "" if running else self._obstacle()
        self.start_button.setText("&Start" if run is None else "&Go on")
        self.start_button.setEnabled(not running and not over and not obstacle)
        self.start_button.setToolTip(
            "This run is finished; give another name to begin a new one."
            if over
            else "Go on with the run of this name; another name begins a new one."
            if run is not None
            else obstacle or "Train in a process of its own: you can go on working."
        )
        if not running:
            self._estimate()
        self.stop_button.setEnabled(running)
        for part in (self.modality, self.start_from, self.synthetic, self.steps):
            part.setEnabled(not running and run is None)
        for part in (self.device, self.name, self.files_button, self.layers_button):
            part.setEnabled(not running)
        self.use_button.setEnabled(model is not None)
        self.result.setText("" if model is None else _in_words(model, read_curve(self.name.text()).dice))


def _steps(model: dict[str, Any]) -> int:
    return int((model.get("training") or {}).get("steps_done", 0))


def _in_words(model: dict[str, Any], dice: Sequence[tuple[int, float]]) -> str:
    """Say what a model has become."""
    words = f"{model['name']}: threshold {model['threshold']:.2f}, smallest piece {model['min_size']} px."
    best = (model.get("training") or {}).get("best")
    if best:
        there = dict(dice).get(best["step"])
        figure = f"Dice {there:.2f}, " if there is not None else ""
        words += f" Held out: {figure}mean with clDice {best['value']:.2f}."
    return words
