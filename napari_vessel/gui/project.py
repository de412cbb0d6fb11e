"""The *Vessel project* dock widget: which images there are, how far each is, and the way to the next one."""

from functools import partial
from pathlib import Path

import napari
from qtpy.QtCore import QModelIndex, Qt, QTimer
from qtpy.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent, QFontMetrics, QKeyEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
)

from napari_vessel.errors import InputError
from napari_vessel.gui.dock import Dock
from napari_vessel.gui.image_table import COLUMNS, STATE_WORDS, ImageFilter, ImageTableModel
from napari_vessel.gui.parts import (
    MARGIN,
    SPACING,
    ElidedLabel,
    FittingLabel,
    JobBar,
    StatusLine,
    connect_while_alive,
    go_by,
    told,
)
from napari_vessel.gui.recent import recent_projects, remember_project
from napari_vessel.gui.remarks import Remarks
from napari_vessel.gui.restoring import RestoreRow
from napari_vessel.gui.workspace import Workspace
from napari_vessel.jobs import Progress
from napari_vessel.review.records import ImageRecord, ImageState
from napari_vessel.review.schema import is_project

_NO_PROJECT = (
    "Drop images or a project folder here, or press <b>Add images</b>: "
    "they become a project that remembers every decision."
)
_NO_IMAGES = "The project is empty: drop image files or folders here, or press <b>Add images</b>."
_IMAGE_FILES = "Images (*.png *.jpg *.jpeg *.tif *.tiff *.ppm *.pgm *.gif *.bmp);;All files (*)"


class _Table(QTableView):
    """A table in which Enter opens the row, as a double-click does."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.doubleClicked.emit(self.currentIndex())
        else:
            super().keyPressEvent(event)


class ProjectWidget(Dock):
    """Create or open a project, add images, and go from one to the next.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer it is docked in.
    """

    tab = "Project"

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.workspace = Workspace.of(viewer)
        self._masks: Path | None = None
        self.setAcceptDrops(True)
        self._build()
        workspace = self.workspace
        go_by(self, workspace.visiting, self.proxy.ids)
        connect_while_alive(self, workspace.project_changed, self._on_project)
        connect_while_alive(self, workspace.images_changed, self._on_images)
        connect_while_alive(self, workspace.image_opened, self._on_opened)
        self._row_timer = QTimer(self)
        self._row_timer.setSingleShot(True)
        self._row_timer.timeout.connect(self._refresh_row)
        # A verdict is drawn first; its image's row follows in the next event-loop turn.
        connect_while_alive(self, workspace.gaps_changed, self._on_gaps)
        connect_while_alive(self, workspace.busy, self._on_busy)
        connect_while_alive(self, workspace.message, self.status.tell)
        self._on_project()
        self._on_images()
        self._on_opened()

    # Building

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        layout.setSpacing(SPACING)
        layout.addLayout(self._build_project_row())
        self.place = FittingLabel()
        layout.addWidget(self.place)
        self.damage = RestoreRow(self.workspace)
        layout.addWidget(self.damage)
        layout.addLayout(self._build_add_rows())
        layout.addLayout(self._build_filter_row())
        layout.addWidget(self._build_table(), 1)
        self.summary = FittingLabel()
        layout.addWidget(self.summary)
        layout.addLayout(self._build_image_rows())
        self.job_bar = JobBar(self.workspace.cancel)
        layout.addWidget(self.job_bar)
        self.status = StatusLine(4)
        layout.addWidget(self.status)

    def _build_project_row(self) -> QHBoxLayout:
        self.new_button = QPushButton("Ne&w…")
        self.new_button.setToolTip("Make a new project in a folder of your choice.")
        self.new_button.clicked.connect(self._choose_new)
        self.open_button = QPushButton("&Open…")
        self.open_button.setToolTip("Open a project folder; it opens where it was left.")
        self.open_button.clicked.connect(self._choose_project)
        self.recent_button = QPushButton("Recen&t")
        self.recent_button.setToolTip("Projects opened last")
        self.recent_menu = QMenu(self)
        self.recent_menu.aboutToShow.connect(self._fill_recent)
        self.recent_button.setMenu(self.recent_menu)
        self.compare_button = QPushButton("Com&pare…")
        self.compare_button.setToolTip(
            "Compare with another annotator's project over the same images, and go through what you two disagree on."
        )
        self.compare_button.clicked.connect(self._choose_other)
        row = QHBoxLayout()
        for button in (self.new_button, self.open_button, self.recent_button, self.compare_button):
            row.addWidget(button, 1)
        return row

    def _build_add_rows(self) -> QGridLayout:
        self.add_button = QPushButton("&Add images…")
        self.add_button.setToolTip(
            "Add image files to the project. Files and folders can be dropped on this panel too."
        )
        self.add_button.clicked.connect(self._choose_images)
        self.folder_button = QPushButton("Add &folder…")
        self.folder_button.setToolTip("Add every image of a folder.")
        self.folder_button.clicked.connect(self._choose_image_folder)
        self.take_button = QPushButton("Take &layer")
        self.take_button.setToolTip(
            "Take the selected layer of the viewer: an Image layer is added to the project, "
            "a Labels layer becomes the mask of the image it fits."
        )
        self.take_button.clicked.connect(self._take_layer)
        self.masks_button = QPushButton("&Masks…")
        self.masks_button.setCheckable(True)
        self.masks_button.setToolTip(
            "Choose a folder of existing masks, found by name for each image that is added from now on; "
            "press again for none."
        )
        self.masks_button.clicked.connect(self._choose_masks)
        self.masks_label = ElidedLabel()
        self.masks_label.setText("no masks folder")
        grid = QGridLayout()
        grid.setSpacing(SPACING)
        for column, button in enumerate((self.add_button, self.folder_button, self.take_button)):
            grid.addWidget(button, 0, column)
            grid.setColumnStretch(column, 1)
        grid.addWidget(self.masks_button, 1, 0)
        grid.addWidget(self.masks_label, 1, 1, 1, 2)
        return grid

    def _build_filter_row(self) -> QHBoxLayout:
        self.filter_text = QLineEdit()
        self.filter_text.setPlaceholderText("Filter: name, reviewer…")
        self.filter_text.setClearButtonEnabled(True)
        self.filter_text.setToolTip("Show only images in whose row all these words occur.")
        self.filter_state = QComboBox()
        self.filter_state.addItem("all states", None)
        for state, words in STATE_WORDS.items():
            self.filter_state.addItem(words, state.value)
        self.filter_state.setToolTip("Show only images in this state.")
        self.filter_text.textChanged.connect(self._filter)
        self.filter_state.currentIndexChanged.connect(self._filter)
        # A list that keeps the focus takes the next letter for one of its entries: D for done.
        self.filter_state.activated.connect(lambda *_: self.table.setFocus())
        row = QHBoxLayout()
        row.addWidget(self.filter_text, 1)
        row.addWidget(self.filter_state)
        return row

    def _build_table(self) -> QStackedWidget:
        self.model = ImageTableModel(self)
        self.proxy = ImageFilter(self)
        self.proxy.setSourceModel(self.model)
        self.table = _Table()
        self.table.setModel(self.proxy)
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.setTabKeyNavigation(False)
        self.table.setShowGrid(False)
        self.table.setWordWrap(False)
        # Names of one study begin alike, and often end alike too.
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setHighlightSections(False)
        header.setSectionResizeMode(COLUMNS.index("Name"), QHeaderView.ResizeMode.Stretch)
        font = self.font()
        font.setBold(True)
        widest = {"": "◑ ▾", "Gaps": "Gaps", "By": "reader 1", "When": "31 Nov"}
        for column, sample in widest.items():
            self.table.setColumnWidth(COLUMNS.index(column), QFontMetrics(font).horizontalAdvance(sample) + 8)
        self.proxy.layoutChanged.connect(lambda *_: self._update_buttons())
        self.table.setToolTip("Double-click or Enter opens an image.")
        self.table.doubleClicked.connect(self._open_index)
        self.table.selectionModel().currentChanged.connect(lambda *_: self._update_buttons())
        self.empty = QLabel()
        self.empty.setWordWrap(True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setMargin(3 * MARGIN)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self.table)
        return self.stack

    def _build_image_rows(self) -> QGridLayout:
        self.back_button = QPushButton("&Back")
        self.back_button.setToolTip("Open the image before this one (Shift+B).")
        self.back_button.clicked.connect(lambda: self.workspace.next_image(-1))
        self.next_button = QPushButton("&Next")
        self.next_button.setToolTip("Open the image after this one (Shift+N).")
        self.next_button.clicked.connect(lambda: self.workspace.next_image())
        self.done_button = QPushButton("&Done")
        self.done_button.setToolTip("Mark the open image as done and open the next unfinished one (D).")
        self.done_button.clicked.connect(self._mark_done)
        self.remarks = Remarks(self.workspace, SPACING)
        grid = QGridLayout()
        grid.setSpacing(SPACING)
        for column, button in enumerate((self.back_button, self.next_button, self.done_button)):
            grid.addWidget(button, 0, column)
            grid.setColumnStretch(column, 1)
        grid.addLayout(self.remarks, 1, 0, 1, 3)
        return grid

    # What the buttons do

    def _choose_new(self) -> None:
        folder, _ = QFileDialog.getSaveFileName(
            self, "Make a new project: name its folder", str(Path.home() / "vessel-project"), "Folder (*)"
        )
        if folder:
            self.open_folder(Path(folder))

    def _choose_project(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a project folder", str(Path.home()))
        if folder:
            self.open_existing(Path(folder))

    def open_folder(self, folder: Path) -> None:
        """Open the project in a folder, or make one there."""
        self.workspace.open_project(folder)

    def open_existing(self, folder: Path) -> None:
        """Open a project folder, and say so when it is none."""
        if is_project(folder):
            self.workspace.open_project(folder)
        else:
            self.workspace.report(
                InputError(f"{folder} is no vessel project; press New to make one, or Add folder for its images.")
            )

    def _choose_other(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Compare with another annotator's project", str(Path.home()))
        if folder:
            self.compare_with(Path(folder))

    def compare_with(self, folder: Path) -> None:
        """Compare the open project with another annotator's; the disagreements become a queue in Vessel gaps."""
        if is_project(folder):
            self.workspace.differences.compare(folder)
        else:
            self.workspace.report(
                InputError(f"{folder} is no vessel project; choose the folder of another annotator's.")
            )

    def _fill_recent(self) -> None:
        self.recent_menu.clear()
        folders = recent_projects()
        for folder in folders:
            action = self.recent_menu.addAction(f"{folder.name}   ({folder.parent})")
            action.triggered.connect(lambda _=False, chosen=folder: self.open_existing(chosen))
        if not folders:
            self.recent_menu.addAction("no project yet").setEnabled(False)

    def _choose_images(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Add images", str(Path.home()), _IMAGE_FILES)
        if names:
            self.add_paths([Path(name) for name in names])

    def _choose_image_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Add a folder of images", str(Path.home()))
        if folder:
            self.add_paths([Path(folder)])

    def add_paths(self, paths: list[Path]) -> None:
        """Add image files and folders, with masks from the masks folder when one is chosen."""
        self.workspace.add_paths(paths, self._masks)

    def _choose_masks(self, on: bool) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of existing masks", str(Path.home())) if on else ""
        self.set_masks(Path(folder) if folder else None)

    def set_masks(self, folder: Path | None) -> None:
        """Choose the folder in which masks of added images are looked up."""
        self._masks = folder
        self.masks_button.setChecked(folder is not None)
        self.masks_label.setText("no masks folder" if folder is None else str(folder))

    @told
    def _take_layer(self) -> None:
        layer = self.workspace.viewer.layers.selection.active
        if layer is None or self.workspace.scene.owns(layer):
            raise InputError("Select one of your own Image or Labels layers in the layer list first, then take it.")
        self.workspace.add_layer(layer)

    def _filter(self) -> None:
        value = self.filter_state.currentData()
        self.proxy.set_filter(None if value is None else ImageState(value), self.filter_text.text())
        self._summarise()
        self._update_buttons()

    def _open_index(self, index: QModelIndex) -> None:
        self.workspace.open_image(self.model.records[self.proxy.mapToSource(index).row()].id)

    def _shown(self) -> list[ImageRecord]:
        rows = range(self.proxy.rowCount())
        return [self.model.records[self.proxy.mapToSource(self.proxy.index(row, 0)).row()] for row in rows]

    def _mark_done(self) -> None:
        self.workspace.mark_done()

    # What the workspace says

    def _on_project(self) -> None:
        project = self.workspace.project
        if project is None:
            self.place.set_wordings(["No project is open."])
            self.compare_button.setEnabled(False)
        else:
            self.place.set_wordings([f"{project.name} — {project.folder}", str(project.folder)])
            self.compare_button.setEnabled(True)
            remember_project(project.folder)

    def _on_images(self) -> None:
        selected = self._selected()
        records = self.workspace.images()
        self.model.set_records(records)
        self.empty.setText(_NO_PROJECT if self.workspace.project is None else _NO_IMAGES)
        self.stack.setCurrentWidget(self.table if records else self.empty)
        self._select(selected)
        self._summarise()
        self._update_buttons()

    def _on_gaps(self) -> None:
        self._row_timer.start()

    def _refresh_row(self) -> None:
        """Read the open image's row again, and no other: verdicts come fast and projects are large."""
        workspace, record = self.workspace, self.workspace.record
        if workspace.project is not None and record is not None:
            self.model.set_record(workspace.read(partial(workspace.project.record, record.id), record))

    def _on_opened(self) -> None:
        record = self.workspace.record
        self.model.set_current(record.id if record is not None else None)
        self._select(self.model.current)
        self._update_buttons()

    def _selected(self) -> str | None:
        index = self.table.currentIndex()
        return self.model.records[self.proxy.mapToSource(index).row()].id if index.isValid() else None

    def _select(self, image_id: str | None) -> None:
        for row, record in enumerate(self._shown()):
            if record.id == image_id:
                if self.table.currentIndex().row() != row:
                    self.table.setCurrentIndex(self.proxy.index(row, COLUMNS.index("Name")))
                return

    def _summarise(self) -> None:
        records = self.model.records
        counts = [sum(record.state is state for record in records) for state in ImageState]
        found = [(count, STATE_WORDS[state]) for state, count in zip(ImageState, counts, strict=True) if count]
        shown = self.proxy.rowCount()
        hidden = f" ({shown} shown)" if shown != len(records) else ""
        total = f"{len(records)} image{'s' * (len(records) != 1)}{hidden}"
        words = ", ".join(f"{count} {word[2:]}" for count, word in found)
        marks = ", ".join(f"{count} {word[0]}" for count, word in found)
        self.summary.set_wordings([f"{total}: {words}", f"{total}: {marks}"] if records else [""])

    def _update_buttons(self) -> None:
        ids = self.proxy.ids()
        record = self.workspace.record
        at = ids.index(record.id) if record is not None and record.id in ids else None
        self.back_button.setEnabled(bool(ids) and at != 0)
        self.next_button.setEnabled(bool(ids) and at != len(ids) - 1)
        self.done_button.setEnabled(record is not None)
        again = record is not None and record.state is ImageState.DONE
        self.done_button.setText("Take &up again" if again else "&Done")

    def _on_busy(self, progress: Progress | None, text: str) -> None:
        self.job_bar.show_progress(progress)
        self.status.show_busy(progress, text)

    # Dropping files

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept files and folders."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """Accept files and folders anywhere on the widget."""
        event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open a dropped project folder; add anything else."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        if len(paths) == 1 and is_project(paths[0]):
            self.workspace.open_project(paths[0])
        elif paths:
            self.add_paths(paths)
