"""The versions of a project's model: a table, the verdict on the selected one, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_vessel.gui.comparing import ModelComparison
from napari_vessel.gui.finetune_words import Row, count_of, figure_rows, guards_in, state_words
from napari_vessel.gui.image_table import short_time
from napari_vessel.gui.parts import (
    MARGIN,
    SPACING,
    ElidedLabel,
    FittingLabel,
    StatusLine,
    TightButton,
    connect_while_alive,
    in_row,
    told,
)
from napari_vessel.review.records import ImageRecord
from napari_vessel.review.version_records import Version, VersionState

if TYPE_CHECKING:
    from napari_vessel.gui.finetune import FineTuneWidget

COLUMNS = ("#", "State", "Made", "Dice", "Notes")
_NOTES = COLUMNS.index("Notes")
_ROWS = 3
_SIDES = {
    "both": ("&both", "Both lines: the new model's green, and orange what is the old one's alone."),
    "old": ("&old", "The old model's line alone."),
    "new": ("&new", "The new model's line alone."),
}


class FigureTable(QTableWidget):
    """Figures of a version, old against new; better or worse by a sign, never by colour alone."""

    def __init__(self) -> None:
        super().__init__(0, 4)
        self.setAccessibleName("Figures, old against new")
        self.setHorizontalHeaderLabels(["On the images to judge by", "Old", "New", ""])
        _plain(self)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setToolTip(
            "Mean over the images to judge by, as Segment vessels does them. The last row: images of the kind the old "
            "model knew, so that nothing is forgotten. b0 error: components too many or too few; less is better."
        )
        self.show_rows(figure_rows({}), 0)
        self.setFixedHeight(_height(self, self.rowCount()))

    def show_rows(self, rows: list[Row], images: int) -> None:
        """Show figures, of so many images to judge by."""
        self.horizontalHeaderItem(0).setText(f"On {count_of(images, 'image')} to judge by" if images else "Figure")
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            mark = {None: "", True: "▲ better", False: "▼ worse"}[row.better]
            for column, words in enumerate((row.name, row.old, row.new, mark)):
                self.setItem(number, column, _cell(words))


class VersionPanel(QWidget):
    """The second tab of *Fine-tune*.

    Parameters
    ----------
    dock : FineTuneWidget
        Whose workspace, fine-tuning and device are used.
    """

    def __init__(self, dock: FineTuneWidget) -> None:
        super().__init__()
        self._dock = dock
        self.workspace, self.tuning = dock.workspace, dock.tuning
        self.comparison = ModelComparison(self.workspace, self._on_compared)
        self.versions: list[Version] = []
        self._outdated: tuple[ImageRecord, ...] = ()
        self._filling = False
        self._build()
        connect_while_alive(self, self.workspace.image_opened, self.comparison.on_image)
        connect_while_alive(self, self.workspace.image_opened, self._update)

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, MARGIN, 0, 0)
        layout.setSpacing(SPACING)
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        self.table.setAccessibleName("Versions")
        self.table.setToolTip("The project's models, the newest first. F2 in the last column writes a note.")
        _plain(self.table)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        triggers = QAbstractItemView.EditTrigger.EditKeyPressed | QAbstractItemView.EditTrigger.DoubleClicked
        self.table.setEditTriggers(triggers)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_NOTES, QHeaderView.ResizeMode.Stretch)
        self.table.setMinimumHeight(_height(self.table, _ROWS))
        self.table.currentCellChanged.connect(self._on_row)
        self.table.itemChanged.connect(self._on_item)
        layout.addWidget(self.table, 1)
        self.name = ElidedLabel()
        layout.addWidget(self.name)
        self.verdict = StatusLine(5)
        layout.addWidget(self.verdict)
        self.figures = FigureTable()
        layout.addWidget(self.figures)
        self.use_button = QPushButton("&Use the new one")
        self.use_button.clicked.connect(self._use)
        self.keep_button = QPushButton("&Keep the old one")
        self.keep_button.setToolTip("The old model stays in use; the new one stays in the list.")
        self.keep_button.clicked.connect(self._keep)
        layout.addLayout(in_row(self.use_button, self.keep_button))
        self.compare_button = TightButton("Co&mpare on this image")
        self.compare_button.clicked.connect(self._compare)
        row = in_row(self.compare_button, None)
        self.sides = QButtonGroup(self)
        self.side_buttons = {}
        for side, (words, tip) in _SIDES.items():
            button = TightButton(words)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, side=side: self.comparison.show(side))
            self.sides.addButton(button)
            self.side_buttons[side] = button
            row.addWidget(button)
        self.side_buttons["both"].setChecked(True)
        self.end_button = TightButton("&End")
        self.end_button.setToolTip("Take the lines away.")
        self.end_button.clicked.connect(lambda: self.comparison.end())
        row.addWidget(self.end_button)
        layout.addLayout(row)
        self.difference = FittingLabel()
        layout.addWidget(self.difference)
        self.anew_button = QPushButton()
        self.anew_button.clicked.connect(self._segment_anew)
        layout.addWidget(self.anew_button)

    # What is shown

    def show_versions(self, versions: Sequence[Version], outdated: Sequence[ImageRecord]) -> bool:
        """List the versions, the newest first; select that when it is new, and return whether it is.

        Parameters
        ----------
        versions : sequence of Version
            Of the project.
        outdated : sequence of ImageRecord
            What would be segmented anew.
        """
        chosen, newest = self.selected, max((one.number for one in versions), default=0)
        fresh = newest > max((one.number for one in self.versions), default=0)
        self._filling = True
        self._make_rows([one.number for one in versions])
        self.versions, self._outdated = list(versions), tuple(outdated)
        now = datetime.now(UTC).astimezone()
        for row, version in enumerate(self.versions):
            dice = figure_rows(version.figures)[0].new
            cells = (
                str(version.number),
                state_words(version, version is self.current),
                short_time(version.made, now),
                dice,
                version.notes,
            )
            for column, words in enumerate(cells):
                # Only what differs: Qt puts the text of a cell that is set in place of the note being typed into it.
                cell, words = self.table.item(row, column), words.replace("\n", " ")
                if cell is None or cell.text() != words:
                    cell = _cell(words, editable=column == _NOTES)
                    self.table.setItem(row, column, cell)
                cell.setToolTip(version.notes or "Write a note: F2." if column == _NOTES else version.name)
        self._filling = False
        if self.table.state() != QAbstractItemView.State.EditingState:
            wanted = newest if fresh or chosen is None else chosen.number
            row = next((n for n, one in enumerate(self.versions) if one.number == wanted), -1)
            self.table.setCurrentCell(row, max(self.table.currentColumn(), 0))
        self._update()
        return fresh

    def _make_rows(self, numbers: list[int]) -> None:
        """Make room for versions, those that are new above the others, which keep their rows."""
        before = [one.number for one in self.versions]
        if numbers[len(numbers) - len(before) :] != before or len(numbers) < len(before):
            self.table.setRowCount(0)
        while self.table.rowCount() < len(numbers):
            self.table.insertRow(0)

    @property
    def selected(self) -> Version | None:
        """The selected version."""
        row = self.table.currentRow()
        return self.versions[row] if 0 <= row < len(self.versions) else None

    @property
    def current(self) -> Version | None:
        """The project's model; before one was promoted the one that the first version began with."""
        current = next((one for one in self.versions if one.current), None)
        return current or next((one for one in self.versions[::-1] if one.state is VersionState.BASE), None)

    def _rival(self) -> Version | None:
        """Return the version that the selected one is compared with."""
        version, current = self.selected, self.current
        if version is None or current is None:
            return None
        number = version.before or version.parent if version.number == current.number else current.number
        return next((one for one in self.versions if one.number == number), None)

    def _update(self) -> None:
        version, current, rival = self.selected, self.current, self._rival()
        in_use = version is not None and current is not None and version.number == current.number
        asked = version is not None and version.state is VersionState.CANDIDATE
        self.name.setText("" if version is None else f"Version {version.number}: {version.name}")
        self.verdict.setText(_verdict(version))
        figures = {} if version is None else version.figures
        self.figures.show_rows(figure_rows(figures), guards_in(figures))
        self.use_button.setText(_use_words(version, in_use))
        self.use_button.setEnabled(version is not None and not in_use)
        self.use_button.setToolTip("Make it the project's model: Segment vessels takes it, and nothing is lost.")
        self.keep_button.setEnabled(asked)
        self.compare_button.setEnabled(rival is not None and self.workspace.record is not None)
        self.compare_button.setToolTip(
            f"Draw what version {rival.number} (old) and {version.number} (new) see in the open image, as lines."
            if rival is not None and version is not None and self.workspace.record is not None
            else "Open an image, and select a version beside the one in use."
        )
        for button in (*self.side_buttons.values(), self.end_button):
            button.setEnabled(self.comparison.found is not None)
        words = "" if self.comparison.found is None else self.comparison.found.text
        self.difference.set_wordings([words, words.removeprefix("Version ")])
        many = f"{count_of(len(self._outdated), 'image')} not reviewed yet" if self._outdated else "nothing to do"
        self.anew_button.setText(f"&Segment anew: {many}")
        self.anew_button.setEnabled(bool(self._outdated))
        self.anew_button.setToolTip(
            "Segment with the project's model the images in which nobody has decided anything. Reviewed ones are never "
            "touched; each new mask can be undone."
        )

    def _on_compared(self) -> None:
        self.side_buttons["both"].setChecked(self.comparison.found is None or self.side_buttons["both"].isChecked())
        self._update()

    def _on_row(self, row: int, column: int, before: int, _: int) -> None:
        if not self._filling and row != before:
            self._update()

    # What is done

    def _on_item(self, item: QTableWidgetItem) -> None:
        if not self._filling and item.column() == _NOTES:
            self.workspace.review.attempt(
                lambda: self.tuning.set_notes(self.versions[item.row()].number, item.text().strip())
            )

    @told
    def _use(self) -> None:
        if self.selected is not None:
            self.tuning.use(self.selected)

    @told
    def _keep(self) -> None:
        if self.selected is not None:
            self.tuning.keep(self.selected)

    @told
    def _compare(self) -> None:
        rival, version = self._rival(), self.selected
        if rival is not None and version is not None:
            self.comparison.start(rival, version, self._dock.chosen_device)

    @told
    def _segment_anew(self) -> None:
        self.tuning.segment_anew(self._outdated, self._dock.chosen_device)


def _verdict(version: Version | None) -> str:
    if version is None:
        return "No version yet: what Start makes comes into this list."
    if version.state is VersionState.BASE:
        return "The model that the project began with."
    said = version.sentence
    if version.state is VersionState.REFUSED and version.decided_by:
        return f"{version.decided_by} kept the old one. The gate said: {said}"
    if version.state is VersionState.PROMOTED and version.decided_by not in ("", "gate"):
        return f"Taken by {version.decided_by}. The gate said: {said}"
    return said


def _use_words(version: Version | None, in_use: bool) -> str:
    if version is None or version.state is VersionState.CANDIDATE:
        return "&Use the new one"
    if in_use:
        return "In use"
    if version.state is VersionState.REFUSED:
        return f"&Use {version.number} anyway"
    if version.state is VersionState.ROLLED_BACK:
        return f"&Use {version.number} again"
    return f"&Go back to {version.number}"


def _cell(words: str, editable: bool = False) -> QTableWidgetItem:
    item = QTableWidgetItem(words)
    flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
    item.setFlags(flags | Qt.ItemFlag.ItemIsEditable if editable else flags)
    return item


def _plain(table: QTableWidget) -> None:
    table.verticalHeader().hide()
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    # The Tab key goes on to the next widget, as everywhere in the dock.
    table.setTabKeyNavigation(False)
    table.setWordWrap(False)


def _height(table: QTableWidget, rows: int) -> int:
    """Return the height, px, at which so many rows are seen."""
    line = table.fontMetrics().height() + 6
    table.verticalHeader().setDefaultSectionSize(line)
    return line * rows + line + 10
