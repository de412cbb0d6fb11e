"""The third queue of the gaps dock: disagreements with another annotator, one row each, one button per answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex, QSortFilterProxyModel
from qtpy.QtGui import QFontMetrics, QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QHeaderView, QPushButton, QVBoxLayout, QWidget

from napari_vessel.gui.gap_table import QueueTable
from napari_vessel.gui.parts import TIGHT, ElidedLabel, FittingLabel, connect_while_alive, in_column, in_row
from napari_vessel.gui.theme import STATE_MARKS

if TYPE_CHECKING:
    from napari_vessel.gui.differences import Difference
    from napari_vessel.gui.workspace import Workspace

COLUMNS = ("#", "", "image", "what", "mine", "theirs")
ANSWERS = (("accept", "A Keep mine"), ("reject", "R Take theirs"), ("unsure", "U Unsure"), ("skip", "S Skip"))
_TOOLTIPS = (
    "Mine is right: it stays as it is. Key: A.",
    "Theirs is right: their verdict and their drawing become mine. Key: R.",
    "Neither of us can tell: leave it, and say so. Key: U.",
    "Leave it for another time. Key: S.",
)
_NOW = {"open": "○ open", "mine": "✔ mine", "theirs": "⇄ theirs"}


class DifferencePanel(QWidget):
    """The figures, the table and the answers of the queue of disagreements.

    Parameters
    ----------
    workspace : Workspace
        What it shows.
    make_button : callable
        Returns the button of a key, given the key's id and the text.
    """

    def __init__(self, workspace: Workspace, make_button: Callable[[str, str], QPushButton]) -> None:
        super().__init__()
        self._differences = workspace.differences
        self._listed: tuple[Difference, ...] = ()
        self.summary, self.image_summary = FittingLabel(), ElidedLabel()
        self.model = QStandardItemModel(0, len(COLUMNS), self)
        self.model.setHorizontalHeaderLabels(list(COLUMNS))
        self.proxy = QSortFilterProxyModel(self)
        self.proxy.setSourceModel(self.model)
        self.table = QueueTable(self.proxy)
        # In the order in which N walks them.
        self.table.setSortingEnabled(False)
        self.proxy.sort(-1)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(len(COLUMNS) - 1, QHeaderView.ResizeMode.Stretch)
        metrics = QFontMetrics(self.font())
        for column, widest in enumerate(("▸ 99", "✔", "im_0012", "fragment", "✎ repainted")):
            self.table.setColumnWidth(column, metrics.horizontalAdvance(widest) + 9)
        self.table.selectionModel().currentRowChanged.connect(self._on_row)
        self.details = FittingLabel()
        self.details.setAccessibleName("What the two say")
        self.buttons = {}
        for (key_id, text), tooltip in zip(ANSWERS, _TOOLTIPS, strict=True):
            self.buttons[key_id] = make_button(key_id, text)
            self.buttons[key_id].setToolTip(tooltip)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(TIGHT)
        layout.addWidget(in_column(self.summary, self.image_summary))
        layout.addWidget(self.table, 1)
        layout.addWidget(self.details)
        layout.addLayout(in_row(*self.buttons.values()))
        connect_while_alive(self, workspace.differences_changed, self._on_differences)
        self._on_differences()

    def _on_differences(self) -> None:
        differences = self._differences
        self.summary.set_wordings(differences.summary)
        self.image_summary.setText(differences.image_summary)
        if differences.entries is not self._listed:
            self._listed = differences.entries
            self._fill()
        for row, entry in enumerate(self._listed):
            here = row == differences.selected
            self._put(row, 0, f"▸ {row + 1}" if here else str(row + 1), here)
            mark, _, word = self._now(row).partition(" ")
            self._put(row, 1, mark, here)
            self.model.item(row, 1).setToolTip(word)
            self.model.item(row, 2).setToolTip(entry.image.name)
        row = differences.selected
        self.table.point_at(self.proxy.mapFromSource(self.model.index(row, 0)) if row >= 0 else QModelIndex())
        self._show_details()

    def _fill(self) -> None:
        self.model.setRowCount(0)
        for entry in self._listed:
            pair = entry.pair
            what = pair.what
            said = (STATE_MARKS[one.verdict] for one in (pair.first, pair.second))
            self.model.appendRow([QStandardItem(text) for text in ("", "", entry.image.name, what, *said)])

    def _now(self, row: int) -> str:
        state = self._differences.state(row)
        return _NOW.get(state, STATE_MARKS.get(state, state))

    def _put(self, row: int, column: int, text: str, bold: bool) -> None:
        item = self.model.item(row, column)
        if item.text() != text:
            item.setText(text)
        font = item.font()
        if font.bold() != bold:
            font.setBold(bold)
            item.setFont(font)

    def _show_details(self) -> None:
        entry = self._differences.entry
        for button in self.buttons.values():
            button.setEnabled(entry is not None)
        if entry is None:
            self.details.set_wordings(["No disagreement is under review." if self._listed else ""])
            return
        pair = entry.pair
        mine, theirs = (f"{one.verdict} ({one.annotator or 'nobody named'})" for one in (pair.first, pair.second))
        short = f"{pair.first.verdict} / {pair.second.verdict}"
        stake = f"{pair.stake_px:.0f} px at stake"
        _, _, now = self._now(self._differences.selected).partition(" ")
        long = f"mine: {mine} · theirs: {theirs} · {stake} · now: {now}"
        self.details.set_wordings([long, f"{short} · {stake} · now: {now}", f"{short} · now: {now}"])

    def _on_row(self, index: QModelIndex, before: QModelIndex) -> None:
        if index.isValid() and index.row() != self._differences.selected:
            self._differences.select(index.row())
