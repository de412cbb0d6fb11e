"""The project's images as a table that Qt can sort and filter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt

from napari_vessel.images.image import Modality
from napari_vessel.review.journal import ALL_VESSELS
from napari_vessel.review.records import ImageRecord, ImageState

STATE_WORDS = {
    ImageState.NEW: "○ new",
    ImageState.SEGMENTED: "◔ segmented",
    ImageState.IN_REVIEW: "◑ in review",
    ImageState.DONE: "● done",
}
"""Each state by a shape and a word, never by colour alone."""

_FLAG_WORDS = {
    "ungradable": "⚠ ungradable",
    "second_reader": "⚑ second reader",
    ALL_VESSELS: "every piece is a vessel",
}
COLUMNS = ("", "Name", "Gaps", "By", "When")
_TIPS = {
    "": f"State: {', '.join(STATE_WORDS.values())}",
    "Name": "The image, with ⚠ when it is ungradable and ⚑ when a second reader shall look at it",
    "Gaps": "Open gaps: proposed completions that nobody has decided yet; – before they were looked for",
    "By": "Who changed the image last",
    "When": "When it was changed last",
}
_ORDER = {state: number for number, state in enumerate(ImageState)}
_ROOT = QModelIndex()
SORT_ROLE = int(Qt.ItemDataRole.UserRole)


def _natural(text: str) -> list[tuple[int, str]]:
    # Digits compare as numbers: image 2 comes before image 10.
    parts = re.split(r"(\d+)", text.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts if part]


def short_time(moment: str, now: datetime) -> str:
    """Return an ISO time in as few characters as tell it: the hour of today, else the day, else the month and year."""
    try:
        then = datetime.fromisoformat(moment).astimezone(now.tzinfo)
    except ValueError:
        return moment
    if then.date() == now.date():
        return then.strftime("%H:%M")
    return then.strftime("%d %b" if then.year == now.year else "%b %Y")


def _local_time(moment: str) -> str:
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return moment


def modality_word(modality: Modality) -> str:
    """Return a modality in one lower-case word."""
    return "two-photon" if modality is Modality.TWOPHOTON else modality.value


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
            return self._tip(record)
        if role == Qt.ItemDataRole.FontRole and record.id == self.current:
            from qtpy.QtGui import QFont

            font = QFont()
            font.setBold(True)
            return font
        if role == Qt.ItemDataRole.TextAlignmentRole and column == "Gaps":
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def _text(self, record: ImageRecord, column: str) -> str:
        if column == "":
            return STATE_WORDS[record.state][0]
        if column == "Name":
            marks = "".join(f" {_FLAG_WORDS[flag][0]}" for flag in sorted(record.flags - {ALL_VESSELS}))
            return ("▸ " if record.id == self.current else "") + record.name + marks
        if column == "Gaps":
            return str(record.open_gaps) if record.gaps_known else "–"
        if column == "By":
            return record.annotator
        return short_time(record.changed, datetime.now().astimezone())

    def _tip(self, record: ImageRecord) -> str:
        page = "" if record.plane is None else f", page {record.plane + 1}"
        by = f" by {record.annotator}" if record.annotator else ""
        lines = [
            STATE_WORDS[record.state],
            f"{record.path}{page}",
            modality_word(record.modality),
            f"segmented by {record.model}" if record.model else "",
            f"changed {_local_time(record.changed)}{by}",
            *(_FLAG_WORDS[flag] for flag in sorted(record.flags)),
            record.comment,
        ]
        return "\n".join(line for line in lines if line)

    def words(self, record: ImageRecord) -> str:
        """Return everything that a filter looks in: the row, and what its tooltip says of modality and flags."""
        flags = [_FLAG_WORDS[flag] for flag in record.flags]
        row = [self._text(record, column) for column in COLUMNS]
        return " ".join(
            [*row, STATE_WORDS[record.state], modality_word(record.modality), *flags, record.comment]
        ).lower()

    def _key(self, record: ImageRecord, column: str) -> Any:
        if column == "":
            return _ORDER[record.state]
        if column == "Name":
            return _natural(record.name)
        if column == "Gaps":
            return record.open_gaps if record.gaps_known else -1
        if column == "When":
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

    def ids(self) -> list[str]:
        """Return the ids of the images that are shown, as they are sorted."""
        records = self.sourceModel().records
        return [records[self.mapToSource(self.index(row, 0)).row()].id for row in range(self.rowCount())]

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:
        """Whether an image is shown."""
        model = self.sourceModel()
        record = model.records[row]
        if self.state is not None and record.state is not self.state:
            return False
        words = model.words(record)
        return all(word in words for word in self.text.split())

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        """Compare by the sort role, equal rows by the order in which they were added."""
        model = self.sourceModel()
        a, b = model.data(left, SORT_ROLE), model.data(right, SORT_ROLE)
        return bool((a, left.row()) < (b, right.row()))
