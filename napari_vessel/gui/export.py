"""The *Export vessels* dock widget: curated images and masks, out of the project and into folders."""

from pathlib import Path

import napari
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_vessel.errors import InputError
from napari_vessel.export.choice import Obstacle
from napari_vessel.export.layouts import LAYOUTS
from napari_vessel.export.nnunet import dataset_name
from napari_vessel.export.options import DEFAULT_ID, ExportOptions, Ignore
from napari_vessel.export.splits import Split
from napari_vessel.gui.dock import Dock
from napari_vessel.gui.image_table import STATE_WORDS
from napari_vessel.gui.parts import (
    MARGIN,
    SPACING,
    JobBar,
    StatusLine,
    connect_while_alive,
    told,
    while_alive,
    widen,
)
from napari_vessel.gui.reporting import ReportButton
from napari_vessel.gui.workspace import Workspace
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageState

_EXPORTED_STATES = (ImageState.DONE, ImageState.IN_REVIEW, ImageState.SEGMENTED)
_MASK_FILES = "PNG (*.png);;TIFF (*.tif *.tiff)"
_OUTDATED = "⚠ The project has changed since; check again."


NNUNET = "nnunet"

_SPLITS = (
    ("all for training", ""),
    ("70 / 15 / 15 %", "0.7,0.15,0.15"),
    ("80 / 20 %", "0.8,0.2,0"),
    ("5 folds", "5"),
)
_IGNORED = (
    ("nothing", Ignore.NONE),
    ("what is unsure", Ignore.UNSURE),
    ("what is unsure or unreviewed", Ignore.UNREVIEWED),
)


def _check_job(project: Project, out: str, layout: str, options: ExportOptions) -> Job[list[str]]:
    """Look for problems on the worker's thread: every image and mask is read for it."""
    from napari_vessel.export import check_project

    yield Progress(0, None, "Looking for problems")
    return (yield from check_project(project, out or None, layout, options))


class _DatasetNumber(QSpinBox):
    """A number as nnU-Net writes it: three digits."""

    def textFromValue(self, value: int) -> str:
        """Return the digits that are shown."""
        return f"{value:03d}"


class ExportWidget(Dock):
    """Choose what to export, see the problems first, then write the files.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer it is docked in.
    """

    tab = "Export"

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.workspace = Workspace.of(viewer)
        self._folder: Path | None = None
        self._running = False
        self._listed: list[tuple[str, ImageState]] = []
        self._checked: list[tuple[str, ImageState]] | None = None
        self._build()
        workspace = self.workspace
        connect_while_alive(self, workspace.project_changed, self._on_project)
        connect_while_alive(self, workspace.images_changed, self._on_images)
        connect_while_alive(self, workspace.mask_changed, self._outdate_check)
        connect_while_alive(self, workspace.image_opened, self._update_buttons)
        connect_while_alive(self, workspace.busy, self._on_busy)
        connect_while_alive(self, workspace.message, self.status.tell)
        self._on_split()
        self._on_project()
        self._on_images()

    def _build(self) -> None:
        self.format = QComboBox()
        for row, layout in enumerate(LAYOUTS.values()):
            self.format.addItem(layout.title, layout.name)
            self.format.setItemData(row, layout.tip, Qt.ItemDataRole.ToolTipRole)
        self.format.setToolTip("Plain images and masks, or what other programs read.")
        widen(self.format)
        self.format.currentIndexChanged.connect(self._on_format)
        self.number = _DatasetNumber()
        self.number.setRange(1, 999)
        self.number.setValue(DEFAULT_ID)
        self.number.valueChanged.connect(self._forget_check)
        self.number.setToolTip("nnU-Net knows its data sets by this number; each needs its own.")
        self.name = QLineEdit()
        self.name.setPlaceholderText("the project's name")
        self.name.textChanged.connect(self._forget_check)
        self.name.setToolTip("Letters, digits, - and _; the folder is Dataset, the number, _ and this name.")
        self.dataset = QWidget()
        dataset_row = QHBoxLayout(self.dataset)
        dataset_row.setContentsMargins(0, 0, 0, 0)
        dataset_row.addWidget(self.number)
        dataset_row.addWidget(self.name, 1)
        states = QVBoxLayout()
        states.setSpacing(SPACING // 2)
        self.states: dict[ImageState, QCheckBox] = {}
        for state in _EXPORTED_STATES:
            box = QCheckBox(STATE_WORDS[state])
            box.setChecked(state is ImageState.DONE)
            box.setToolTip("Export the images in this state.")
            box.toggled.connect(self._forget_check)
            self.states[state] = box
            states.addWidget(box)
        self.split = QComboBox()
        for words, shares in _SPLITS:
            self.split.addItem(words, shares)
        self.split.setToolTip(
            "Training, validation and test, or folds. No patient is on two sides; each kind of image is split alike."
        )
        widen(self.split)
        self.split.currentIndexChanged.connect(self._on_split)
        self.seed = QSpinBox()
        self.seed.setRange(0, 9999)
        self.seed.setToolTip("The same images and seed give the same split.")
        self.seed.valueChanged.connect(self._forget_check)
        self.ignored = QComboBox()
        for words, which in _IGNORED:
            self.ignored.addItem(words, which)
        self.ignored.setCurrentIndex(1)
        self.ignored.setToolTip(
            "Not to be learnt from: a label of its own for nnU-Net, iscrowd for COCO, weights 0 for the others."
        )
        widen(self.ignored)
        self.ignored.currentIndexChanged.connect(self._forget_check)
        self.licence = QLineEdit()
        self.licence.setPlaceholderText("e.g. CC BY 4.0, or who may use it")
        self.licence.setToolTip("A note on what others may do with the data; it is written into the manifest.")
        self.target = QLineEdit()
        self.target.setPlaceholderText("a new or empty folder")
        self.target.textChanged.connect(self._forget_check)
        self.browse_button = QPushButton("Bro&wse…")
        self.browse_button.setToolTip("Choose the folder to write to.")
        self.browse_button.clicked.connect(self._browse)
        target_row = QHBoxLayout()
        target_row.addWidget(self.target, 1)
        target_row.addWidget(self.browse_button)
        form = QFormLayout()
        form.setSpacing(SPACING)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("&Format", self.format)
        form.addRow("&Data set", self.dataset)
        self.dataset_label = form.labelForField(self.dataset)
        self.dataset_label.setBuddy(self.number)
        form.addRow("Include", states)
        form.addRow("S&plit", self.split)
        form.addRow("See&d", self.seed)
        self.seed_label = form.labelForField(self.seed)
        form.addRow("I&gnore", self.ignored)
        form.addRow("&Licence", self.licence)
        form.addRow("&To", target_row)
        form.labelForField(target_row).setBuddy(self.target)
        self.check_button = QPushButton("&Check")
        self.check_button.setToolTip("List the problems; nothing is written.")
        self.check_button.clicked.connect(self._check)
        self.export_button = QPushButton("E&xport")
        self.export_button.setToolTip("Write the files; the folder appears when it is complete.")
        self.export_button.clicked.connect(self._export)
        buttons = QHBoxLayout()
        buttons.addWidget(self.check_button, 1)
        buttons.addWidget(self.export_button, 1)
        self.problems_title = QLabel()
        self.problems_title.setWordWrap(True)
        self.problems = QListWidget()
        self.problems.setWordWrap(True)
        self.problems.setAccessibleName("Problems")
        self.problems.setToolTip("What Check has found.")
        self.problems.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.job_bar = JobBar(self.workspace.cancel)
        self.status = StatusLine(3)
        self.folder_button = QPushButton("&Open the folder")
        self.folder_button.setEnabled(False)
        self.folder_button.setToolTip("Open what was exported last in the system's file manager.")
        self.folder_button.clicked.connect(self._open_folder)
        self.save_button = QPushButton("&Save this mask as…")
        self.save_button.setToolTip("Write the mask of the image in the viewer as PNG or TIFF.")
        self.save_button.clicked.connect(self._choose_mask_file)
        last = QHBoxLayout()
        last.addWidget(self.folder_button, 1)
        last.addWidget(self.save_button, 1)
        self.report_button = ReportButton(self.workspace)
        last.addWidget(self.report_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        layout.setSpacing(SPACING)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.problems_title)
        layout.addWidget(self.problems, 1)
        layout.addWidget(self.job_bar)
        layout.addWidget(self.status)
        layout.addLayout(last)

    # What the buttons do

    def chosen_states(self) -> tuple[ImageState, ...]:
        """Return the states to export."""
        return tuple(state for state, box in self.states.items() if box.isChecked())

    def chosen_format(self) -> str:
        """Return the name of the layout."""
        return str(self.format.currentData())

    def chosen_options(self) -> ExportOptions:
        """Return what else was asked for."""
        shares = str(self.split.currentData())
        return ExportOptions(
            states=self.chosen_states(),
            licence=self.licence.text().strip(),
            ignore=Ignore(self.ignored.currentData()),
            split=Split.parse(shares, self.seed.value()) if shares else None,
            dataset_id=self.number.value(),
            name=self.name.text().strip() if self.chosen_format() == NNUNET else "",
        )

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to", self.target.text() or str(Path.home()))
        if folder:
            self.target.setText(folder)

    @told
    def _check(self) -> None:
        project = self._project()
        asked = self.target.text().strip(), self.chosen_format(), self.chosen_options()

        def done(problems: list[str]) -> None:
            if asked == (self.target.text().strip(), self.chosen_format(), self.chosen_options()):
                fresh = self._checked is not None
                self._show_problems(problems)
                if not fresh:
                    self.problems_title.setText(_OUTDATED)

        self.workspace.flush()
        self._checked = self._listed
        self.workspace.tasks.start("check", _check_job(project, *asked), while_alive(self, done), "Checking")

    def _show_problems(self, problems: list[str]) -> None:
        self.problems.clear()
        count, refused = len(problems), False
        for problem in problems:
            stops = isinstance(problem, Obstacle)
            refused = refused or stops
            self.problems.addItem(f"{'✘' if stops else '⚠'} {problem}")
        things = f"{count} thing{'s' * (count != 1)} to know"
        words = f"{things}; with what has a ✘ nothing is exported:" if refused else f"{things} before you export:"
        self.problems_title.setText(words if count else "✔ No problems found.")

    def _outdate_check(self) -> None:
        """Say that the project has changed since; the list stays, which may be what is being worked on."""
        if self._checked is not None:
            self._checked = None
            self.problems_title.setText(_OUTDATED)

    def _forget_check(self) -> None:
        self._checked = None
        self.problems.clear()
        self.problems_title.setText("Check lists the problems before anything is written.")
        self._update_buttons()

    @told
    def _export(self) -> None:
        self._project()
        text = self.target.text().strip()
        if not text:
            raise InputError("Choose a folder to export to first.")
        self._folder = None
        self.workspace.export(text, self.chosen_format(), self.chosen_options(), while_alive(self, self._exported))
        self._update_buttons()

    def _exported(self, folder: Path) -> None:
        self._folder = folder
        self.folder_button.setToolTip(str(folder))
        self._update_buttons()

    def _project(self) -> Project:
        if self.workspace.project is None:
            raise InputError("No project is open; open one in Vessel project first.")
        return self.workspace.project

    def _open_folder(self) -> None:
        if self._folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder)))

    def _choose_mask_file(self) -> None:
        record = self.workspace.record
        if record is None:
            return
        name, chosen = QFileDialog.getSaveFileName(
            self, "Save this mask", str(Path.home() / f"{record.name}_mask.png"), _MASK_FILES
        )
        if name:
            path = Path(name)
            if not path.suffix:
                path = path.with_suffix(".tif" if chosen.startswith("TIFF") else ".png")
            self.workspace.save_mask(path)

    # What the workspace says

    def _on_project(self) -> None:
        project = self.workspace.project
        self._folder = None
        self.workspace.tasks.drop("check")
        self.name.clear()
        self.name.setPlaceholderText("the project's name" if project is None else dataset_name(project.name))
        self.target.setText(self._usual_target())
        self._on_format()

    def _usual_target(self, layout: str = "") -> str:
        project = self.workspace.project
        if project is None:
            return ""
        layout = layout or self.chosen_format()
        ending = "export" if layout == "folder" else layout
        return str(project.folder.with_name("nnUNet_raw" if layout == NNUNET else f"{project.folder.name}-{ending}"))

    def _on_split(self) -> None:
        for widget in (self.seed_label, self.seed):
            widget.setVisible(bool(self.split.currentData()))
        self._forget_check()

    def _on_format(self) -> None:
        data_set = self.chosen_format() == NNUNET
        self.dataset.setVisible(data_set)
        self.dataset_label.setVisible(data_set)
        # A place somebody chose stays.
        if self.target.text() in {self._usual_target(layout) for layout in LAYOUTS}:
            self.target.setText(self._usual_target())
        self.target.setPlaceholderText("nnU-Net's folder nnUNet_raw" if data_set else "a new or empty folder")
        self.target.setToolTip(
            "The folder that holds the data sets; this project's own earlier export in it is replaced."
            if data_set
            else "Where to write: a new or empty folder, or this project's own earlier export, which is replaced."
        )
        self._forget_check()

    def _on_images(self) -> None:
        records = self.workspace.images()
        for state, box in self.states.items():
            count = sum(record.state is state for record in records)
            mark, word = STATE_WORDS[state].split(" ", 1)
            box.setText(f"{mark} {word} ({count})")
        self._listed = [(record.id, record.state) for record in records]
        if self._checked != self._listed:
            self._outdate_check()
        self._update_buttons()

    def _update_buttons(self) -> None:
        ready = self.workspace.project is not None and bool(self.chosen_states()) and not self._running
        self.check_button.setEnabled(ready)
        self.export_button.setEnabled(ready and bool(self.target.text().strip()))
        self.folder_button.setEnabled(self._folder is not None)
        self.save_button.setEnabled(self.workspace.session is not None)

    def _on_busy(self, progress: Progress | None, text: str) -> None:
        self._running = progress is not None
        self.job_bar.show_progress(progress)
        self.status.show_busy(progress, text)
        self._update_buttons()
