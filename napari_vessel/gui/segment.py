"""The *Segment vessels* dock widget: a first mask from a model, and the threshold that suits it."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QSpinBox,
    QVBoxLayout,
)

from napari_vessel.errors import InputError
from napari_vessel.gui.completion_choice import CompletionBox
from napari_vessel.gui.device_box import DeviceBox
from napari_vessel.gui.dock import Dock
from napari_vessel.gui.model_card import add_model, describe_segmentation, made_for, make_card
from napari_vessel.gui.parts import (
    MARGIN,
    MODALITY_NAMES,
    SPACING,
    JobBar,
    StatusLine,
    connect_while_alive,
    told,
    widen,
)
from napari_vessel.gui.preferences import prefer, preferred, watch
from napari_vessel.gui.workspace import Workspace
from napari_vessel.images.image import Modality
from napari_vessel.jobs import Progress
from napari_vessel.review.records import ImageState

if TYPE_CHECKING:
    from napari_vessel.segmentation.registry import ModelInfo

_DEBOUNCE_MS = 40
_STEPS = 1000


class SegmentWidget(Dock):
    """Choose a model, run it, and move the threshold with a live preview.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer it is docked in.
    """

    tab = "Segment"

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.workspace = Workspace.of(viewer)
        self._running = False
        self._filling = False
        self._models_own = True
        self._moved: set[str] = set()
        self._applied: tuple[float, int] | None = None
        self._new: list[Modality] = []
        self._build()
        self._debounce = QTimer(self)
        self._debounce.setSingleShot(True)
        self._debounce.setInterval(_DEBOUNCE_MS)
        self._debounce.timeout.connect(self._preview)
        workspace = self.workspace
        connect_while_alive(self, workspace.image_opened, self._on_opened)
        connect_while_alive(self, workspace.images_changed, self._on_images)
        connect_while_alive(self, workspace.mask_changed, self._update_buttons)
        connect_while_alive(self, workspace.models_changed, self._fill_models)
        connect_while_alive(self, workspace.busy, self._on_busy)
        connect_while_alive(self, workspace.message, self.status.tell)
        watch("device", self.device.show_preferred)
        watch("model", self._prefer_model)
        self._on_images()
        self._on_opened()

    def end(self) -> None:
        """Show the mask again: what keeps the preview or takes it away goes with the dock."""
        self._debounce.stop()
        self.workspace.end_preview()

    # Building

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        layout.setSpacing(SPACING)
        self.image_name = QLabel()
        layout.addWidget(self.image_name)
        layout.addLayout(self._build_form())
        self.completion = CompletionBox()
        layout.addWidget(self.completion)
        self.run_button = QPushButton("&Run")
        self.run_button.clicked.connect(self._run)
        layout.addWidget(self.run_button)
        self.job_bar = JobBar(self.workspace.cancel)
        layout.addWidget(self.job_bar)
        layout.addWidget(self._build_threshold())
        self.status = StatusLine(3)
        layout.addWidget(self.status)
        self.used = StatusLine(4)
        layout.addWidget(self.used)
        layout.addStretch(1)

    def _build_form(self) -> QFormLayout:
        self.modality = QComboBox()
        for modality, words in MODALITY_NAMES.items():
            self.modality.addItem(words, modality.value)
        self.modality.setToolTip(
            "How the image was taken: guessed when it was added; a correction is kept in the project. "
            "It decides which models come first, and the colour channel."
        )
        self.modality.activated.connect(self._set_modality)
        self.model = QComboBox()
        self.model.setToolTip("Models made for this modality come first.")
        self.model.currentIndexChanged.connect(self._model_changed)
        self.card_button = QPushButton("A&bout…")
        self.card_button.setToolTip("What the model is, the data and licence it comes with, and its figures.")
        self.card_button.clicked.connect(self.show_card)
        self.device = DeviceBox(self.workspace.report)
        self.device.activated.connect(lambda: prefer("device", self.device.currentData()))
        self.fov = QComboBox()
        self.fov.setToolTip("Outside the field of view nothing is segmented and no gap is looked for.")
        self.fov.activated.connect(self._set_fov)
        self.scope = QComboBox()
        self.scope.setToolTip("Segment the image in the viewer, or every image of the project that is still new.")
        self.scope.currentIndexChanged.connect(self._update_buttons)
        self.scope.currentIndexChanged.connect(self._offer_completion)
        for combo in (self.modality, self.model, self.fov, self.scope):
            widen(combo)
        for combo in (self.model, self.device, self.fov, self.scope):
            # A list that keeps the focus takes the next letter for one of its entries.
            combo.activated.connect(lambda *_: self.run_button.setFocus())
        form = QFormLayout()
        form.setSpacing(SPACING)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for words, field in (
            ("M&odality", self.modality),
            ("&Model", self.card_button),
            ("", self.model),
            ("D&evice", self.device),
            ("&Field of view", self.fov),
            ("Se&gment", self.scope),
        ):
            form.addRow(words, field) if words else form.addRow(field)
        form.labelForField(self.card_button).setBuddy(self.model)
        return form

    def _build_threshold(self) -> QGroupBox:
        self.threshold_box = QGroupBox("Threshold, with live preview")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(1, _STEPS - 1)
        self.slider.setPageStep(_STEPS // 20)
        self.threshold = QDoubleSpinBox()
        self.threshold.setRange(0.001, 0.999)
        self.threshold.setDecimals(3)
        self.threshold.setSingleStep(0.01)
        for widget in (self.slider, self.threshold):
            widget.setToolTip("A pixel is vessel when the model's probability is at least this.")
        self.min_size = QSpinBox()
        self.min_size.setRange(0, 100_000)
        self.min_size.setSuffix(" px")
        self.min_size.setSpecialValueText("keep all")
        self.min_size.setToolTip("Pieces smaller than this are left out.")
        self.slider.valueChanged.connect(self._slider_moved)
        self.threshold.valueChanged.connect(self._threshold_changed)
        self.min_size.valueChanged.connect(self._size_changed)
        self.apply_button = QPushButton("&Apply")
        self.apply_button.setToolTip("Make the previewed mask the image's mask: one step that Ctrl+Z takes back.")
        self.apply_button.clicked.connect(self._apply)
        self.reset_button = QPushButton("Reset")
        self.reset_button.setToolTip("Take the preview away and go back to the values last used.")
        self.reset_button.clicked.connect(self._reset)
        form = QFormLayout(self.threshold_box)
        form.setSpacing(SPACING)
        row = QHBoxLayout()
        row.addWidget(self.slider, 1)
        row.addWidget(self.threshold)
        form.addRow("T&hreshold", row)
        form.labelForField(row).setBuddy(self.threshold)
        form.addRow("&Smallest piece", self.min_size)
        buttons = QHBoxLayout()
        buttons.addWidget(self.apply_button, 1)
        buttons.addWidget(self.reset_button, 1)
        form.addRow(buttons)
        return self.threshold_box

    # Models

    def _fill_models(self, chosen: str | None = None) -> None:
        """List the models that were made for the modality first, and the others after them, said so."""
        from napari_vessel.segmentation.registry import default_model, list_models

        modality = self._modality()
        models = list_models()
        fitting = [info for info in models if modality in info.modalities]
        others = [info for info in models if modality not in info.modalities]
        best, own = default_model(modality), self._own_model(modality)
        liked = preferred("model")
        wanted = chosen or own or (liked if any(info.name == liked for info in fitting) else best)
        self._filling = True
        self.model.clear()
        for info in sorted(fitting, key=lambda info: (info.name != own, info.name != best)):
            add_model(self.model, info, modality, " (this project's)" if info.name == own else "")
        if fitting and others:
            self.model.insertSeparator(self.model.count())
        for info in others:
            add_model(self.model, info, modality)
        self.model.setCurrentIndex(max(self.model.findData(wanted), 0))
        self._filling = False
        self._offer_completion()
        self._model_changed()

    def _own_model(self, modality: Modality) -> str:
        """Return the project's own model for a modality, where it has one that is on this machine; else nothing."""
        project = self.workspace.project
        own = None if project is None else self.workspace.read(partial(project.versions.current, modality), None)
        if project is None or own is None:
            return ""
        return own.name if self.workspace.read(partial(project.default_model, modality), "") == own.name else ""

    def _offer_completion(self) -> None:
        everywhere = self.scope.currentData() == "new" and self._new
        self.completion.offer(self._new if everywhere else [self._modality()])

    def _info(self) -> "ModelInfo | None":
        from napari_vessel.segmentation.registry import model_info

        name = self.model.currentData()
        return None if name is None else model_info(name)

    def _model_changed(self) -> None:
        if self._filling:
            return
        self._count_new()
        info = self._info()
        if info is not None:
            self.model.setToolTip(f"{info.title}{made_for(info, self._modality())}\nlicence: {info.licence}")
            self._set_values(info.threshold, info.min_size, True)

    @told
    def show_card(self) -> None:
        """Show the chosen model's card."""
        info = self._info()
        if info is not None:
            make_card(info, self).open()

    @told
    def _prefer_model(self) -> None:
        self._fill_models(self._stored().get("model"))

    # Settings of the image

    def _modality(self) -> Modality:
        return Modality(self.modality.currentData())

    @told
    def _set_modality(self) -> None:
        workspace = self.workspace
        if workspace.project is not None and workspace.record is not None:
            if workspace.record.modality is self._modality():
                return
            workspace.project.set_modality(workspace.record.id, self._modality())
            workspace.open_image(workspace.record.id, "The modality is stored: ")
        self._fill_models()

    @told
    def _set_fov(self) -> None:
        record = self.workspace.record
        if record is None or self.workspace.project is None:
            return
        choice = self.fov.currentData()
        if choice == "file":
            name, _ = QFileDialog.getOpenFileName(self, "Field of view: a mask image of the same size")
            if not name:
                self._show_fov()
                return
            choice = name
        self.set_fov(choice)

    def set_fov(self, choice: str) -> None:
        """Use ``auto``, ``none`` or a file as the open image's field of view, and keep that in the project."""
        from napari_vessel.images.fov import read_fov

        workspace = self.workspace
        if workspace.project is None or workspace.record is None or choice == workspace.record.fov:
            return
        if choice not in ("auto", "none"):
            try:
                read_fov(Path(choice), workspace.record.shape)
            except InputError:
                self._show_fov()
                raise
        fov: Any = choice if choice in ("auto", "none") else Path(choice)
        workspace.project.set_fov(workspace.record.id, fov)
        workspace.open_image(workspace.record.id, "The field of view is stored: ")

    def _show_fov(self) -> None:
        record = self.workspace.record
        self.fov.clear()
        self.fov.addItem("found automatically", "auto")
        self.fov.addItem("none: the whole image", "none")
        if record is not None and record.fov not in ("auto", "none"):
            name = Path(record.fov).name
            # Of one that the project keeps by itself the name says nothing to anybody.
            own = name == f"{record.id}_fov.png"
            self.fov.addItem("came with the image" if own else name, record.fov)
        self.fov.addItem("from a file…", "file")
        self.fov.setCurrentIndex(max(self.fov.findData("auto" if record is None else record.fov), 0))

    # Running

    @told
    def _run(self) -> None:
        workspace = self.workspace
        ids, left = None, self._models_own
        if self.scope.currentData() == "new":
            # What the open image was segmented with is shown, but not meant for others.
            left = True
            ids = [record.id for record in workspace.images() if record.state is ImageState.NEW]
        self._debounce.stop()
        self._applied = None
        workspace.end_preview()
        workspace.segment(
            ids,
            model=self.model.currentData(),
            device=self.device.currentData(),
            # A model converts its own smallest piece to each image's scale, so untouched values are left to it.
            threshold=None if left and "threshold" not in self._moved else self.threshold.value(),
            min_size=None if left and "size" not in self._moved else self.min_size.value(),
            complete=self.completion.wanted,
        )

    # Threshold

    def _set_values(self, threshold: float, min_size: int, models_own: bool) -> None:
        """Show values, the model's own or those of the open image, without asking for a preview."""
        self._models_own = models_own
        self._moved.clear()
        self._filling = True
        self.threshold.setValue(threshold)
        self.slider.setValue(round(threshold * _STEPS))
        self.min_size.setValue(min_size)
        self._filling = False

    def _slider_moved(self, value: int) -> None:
        if not self._filling:
            self.threshold.setValue(value / _STEPS)

    def _threshold_changed(self, value: float) -> None:
        if not self._filling:
            self._filling = True
            self.slider.setValue(round(value * _STEPS))
            self._filling = False
            self._moved.add("threshold")
            self._want_preview()

    def _size_changed(self) -> None:
        if not self._filling:
            self._moved.add("size")
            self._want_preview()

    def _want_preview(self) -> None:
        if self.workspace.has_probability():
            self._debounce.start()

    def _preview(self) -> None:
        self.workspace.preview_threshold(self.threshold.value(), self.min_size.value())
        self.status.setText(f"Preview at {self.threshold.value():.3f}: Apply keeps it, Reset takes it away.")

    def _apply(self) -> None:
        self._debounce.stop()
        self._applied = (self.threshold.value(), self.min_size.value())
        self.workspace.apply_threshold(self.threshold.value(), self.min_size.value())

    def _reset(self) -> None:
        self._debounce.stop()
        self.workspace.end_preview()
        self._show_stored()

    def _stored(self) -> dict[str, Any]:
        workspace = self.workspace
        if workspace.project is None or workspace.record is None:
            return {}
        return workspace.read(partial(workspace.project.segmentation_info, workspace.record.id), {})

    def _show_stored(self) -> None:
        """Show the values and the line of what made the stored probability map."""
        info = self._stored()
        if info:
            stored = (float(info.get("threshold", 0.5)), int(info.get("min_size", 0)))
            self._set_values(*(self._applied or stored), False)
        self.used.setText(describe_segmentation(info))

    # What the workspace says

    @told
    def _on_opened(self) -> None:
        record = self.workspace.record
        self.image_name.setText(
            "No image is open." if record is None else f"{record.name}  {record.shape[1]} × {record.shape[0]} px"
        )
        if record is not None:
            self.modality.setCurrentIndex(self.modality.findData(record.modality.value))
        self._applied = None
        self._show_fov()
        self._fill_models(self._stored().get("model"))
        self._show_stored()
        self._update_buttons()

    def _count_new(self) -> None:
        """Say how many images are new, and of how many of these the chosen model knows nothing."""
        count, info = len(self._new), self._info()
        strange = 0 if info is None else sum(modality not in info.modalities for modality in self._new)
        words = f"{count}, {strange} not for this model" if strange else f"{count}"
        self.scope.setItemText(self.scope.findData("new"), f"all new images ({words})")

    def _on_images(self) -> None:
        # Once, and not with every verdict and every progress of a job: projects are large.
        self._new = [record.modality for record in self.workspace.images() if record.state is ImageState.NEW]
        # With no new image left it is the open one again, which Run can do something about.
        chosen = max(self.scope.currentIndex(), 0) if self._new else 0
        self.scope.blockSignals(True)
        self.scope.clear()
        self.scope.addItem("this image", "this")
        self.scope.addItem("", "new")
        self._count_new()
        self.scope.setCurrentIndex(chosen)
        self.scope.blockSignals(False)
        self._offer_completion()
        if not self._running:
            self.used.setText(describe_segmentation(self._stored()))
        self._update_buttons()

    def _update_buttons(self) -> None:
        has_image = self.workspace.record is not None
        ready = bool(self._new) if self.scope.currentData() == "new" else has_image
        self.run_button.setEnabled(ready and not self._running and self.model.count() > 0)
        self.run_button.setToolTip(
            "Segment; the mask it replaces comes back with Ctrl+Z."
            if ready
            else "There is nothing to segment: open or add an image in Vessel project first."
        )
        can_preview = self.workspace.has_probability()
        self.apply_button.setEnabled(can_preview and not self._running)
        # The preview can be taken away whatever else is under way.
        self.reset_button.setEnabled(can_preview)
        self.threshold_box.setToolTip("" if can_preview else "Run a model first: then the threshold can be moved.")
        for widget in (self.modality, self.fov):
            widget.setEnabled(has_image and not self._running)

    def _on_busy(self, progress: Progress | None, text: str) -> None:
        self._running = progress is not None
        self.job_bar.show_progress(progress)
        self.status.show_busy(progress, text)
        self._update_buttons()
