"""The project's images as a table that Qt can sort and filter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt

from napari_vessel.images.image import Modality
from napari_vessel.review.records import ImageRecord, ImageState

STATE_WORDS = {
    ImageState.NEW: "○ new",
    ImageState.SEGMENTED: "◔ segmented",
    ImageState.IN_REVIEW: "◑ in review",
    ImageState.DONE: "● done",
}
"""Each state by a shape and a word, never by colour alone."""

_FLAG_WORDS = {"ungradable": "⚠ ungradable", "second_reader": "⚑ second reader"}
COLUMNS = ("State", "Name", "Gaps", "Modality", "Reviewer", "Changed", "Flags")
_TIPS = {
    "Gaps": "Open gaps: proposed completions that nobody has decided yet",
    "Reviewer": "Who changed the image last",
    "Changed": "When it was changed last",
}
_ORDER = {state: number for number, state in enumerate(ImageState)}
_ROOT = QModelIndex()
SORT_ROLE = int(Qt.ItemDataRole.UserRole)


def _natural(text: str) -> list[tuple[int, str]]:
    # Digits compare as numbers: image 2 comes before image 10.
    parts = re.split(r"(\d+)", text.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts if part]


def _local_time(moment: str) -> str:
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return moment


class ImageTableModel(QAbstractTableModel):
    """Rows are images in the order they were added; a change touches only the rows that changed."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.records: list[ImageRecord] = []
        self.current: str | None = None

    def set_records(self, records: Sequence[ImageRecord]) -> None:
        """Show these images."""
        records = list(records)
        if [r.id for r in records] != [r.id for r in self.records]:
            self.beginResetModel()
            self.records = records
            self.endResetModel()
            return
        changed = [row for row, (a, b) in enumerate(zip(self.records, records, strict=True)) if a != b]
        self.records = records
        for row in changed:
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def set_record(self, record: ImageRecord) -> None:
        """Show what is new of one image."""
        self.set_records([record if record.id == known.id else known for known in self.records])

    def set_current(self, image_id: str | None) -> None:
        """Mark the image that the viewer shows."""
        before, self.current = self.current, image_id
        for row, record in enumerate(self.records):
            if record.id in (before, image_id):
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def rowCount(self, parent: QModelIndex = _ROOT) -> int:
        """Return the number of images."""
        return 0 if parent.isValid() else len(self.records)

    def columnCount(self, parent: QModelIndex = _ROOT) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a column's title or tooltip."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            return _TIPS.get(COLUMNS[section], COLUMNS[section])
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows, sorts by, or says in its tooltip."""
        record = self.records[index.row()]
        column = COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(record, column)
        if role == SORT_ROLE:
            return self._key(record, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            page = "" if record.plane is None else f", page {record.plane + 1}"
            model = f"\nsegmented by {record.model}" if record.model else ""
            comment = f"\n{record.comment}" if record.comment else ""
            return f"{record.path}{page}{model}{comment}"
        if role == Qt.ItemDataRole.FontRole and record.id == self.current:
            from qtpy.QtGui import QFont

            font = QFont()
            font.setBold(True)
            return font
        if role == Qt.ItemDataRole.TextAlignmentRole and column == "Gaps":
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def _text(self, record: ImageRecord, column: str) -> str:
        if column == "State":
            return STATE_WORDS[record.state]
        if column == "Name":
            return f"▸ {record.name}" if record.id == self.current else record.name
        if column == "Gaps":
            return "–" if record.state is ImageState.NEW else str(record.open_gaps)
        if column == "Modality":
            return "two-photon" if record.modality is Modality.TWOPHOTON else str(record.modality)
        if column == "Reviewer":
            return record.annotator
        if column == "Changed":
            return _local_time(record.changed)
        return ", ".join(_FLAG_WORDS[flag] for flag in sorted(record.flags))

    def _key(self, record: ImageRecord, column: str) -> Any:
        if column == "State":
            return _ORDER[record.state]
        if column == "Name":
            return _natural(record.name)
        if column == "Gaps":
            return -1 if record.state is ImageState.NEW else record.open_gaps
        if column == "Changed":
            return record.changed
        return self._text(record, column).lower()


class ImageFilter(QSortFilterProxyModel):
    """Sorts by meaning (image 2 before image 10) and filters by state and by text."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state: ImageState | None = None
        self.text = ""
        self.setSortRole(SORT_ROLE)

    def set_filter(self, state: ImageState | None, text: str) -> None:
        """Show only images in `state` (None: any) in whose row every word of `text` occurs."""
        self.state, self.text = state, text.lower()
        self.invalidateFilter()

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:
        """Whether an image is shown."""
        model = self.sourceModel()
        record = model.records[row]
        if self.state is not None and record.state is not self.state:
            return False
        words = " ".join([*(model._text(record, column) for column in COLUMNS), record.comment]).lower()
        return all(word in words for word in self.text.split())

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        """Compare by the sort role, equal rows by the order in which they were added."""
        model = self.sourceModel()
        a, b = model.data(left, SORT_ROLE), model.data(right, SORT_ROLE)
        return bool((a, left.row()) < (b, right.row()))
