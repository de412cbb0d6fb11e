"""The list of fragments as a table model, with the words under it."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt
from qtpy.QtGui import QFont

from napari_vessel.completion.scoring import short
from napari_vessel.gui.gap_table import ID_ROLE, SORT_ROLE
from napari_vessel.gui.theme import STATE_MARKS
from napari_vessel.review.fragments import Fragment
from napari_vessel.review.session import OPEN, ReviewSession

COLUMNS = ("#", "", "px", "length", "to main", "state")
TOOLTIPS = (
    "Rank: short and far from the main tree first.",
    "What was decided.",
    "Number of pixels.",
    "Length of the centreline in pixels.",
    "Distance from the main tree in pixels.",
    "What was decided.",
)
STATE_FILTERS: tuple[tuple[str, frozenset[str] | None], ...] = (
    ("all states", None),
    ("open", frozenset({OPEN})),
    ("decided", frozenset({"kept", "deleted", "unsure", "skipped"})),
    ("postponed", frozenset({"unsure", "skipped"})),
)
_RIGHT = (0, 2, 3, 4)


class FragmentTableModel(QAbstractTableModel):
    """One row a fragment, in the order of the ranks."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._fragments: tuple[Fragment, ...] = ()
        self._states: list[str] = []
        self._current = ""

    def update(self, fragments: tuple[Fragment, ...], session: ReviewSession | None) -> None:
        """Show fragments; rows that stay keep their selection."""
        states = [] if session is None else [str(session.fragment_state(fragment.id)) for fragment in fragments]
        same = [f.id for f in fragments] == [f.id for f in self._fragments]
        if not same:
            self.beginResetModel()
        self._fragments, self._states = fragments, states
        if not same:
            self.endResetModel()
        elif fragments:
            self.dataChanged.emit(self.index(0, 0), self.index(len(fragments) - 1, len(COLUMNS) - 1))

    def set_current(self, fragment_id: str) -> None:
        """Mark the row under review."""
        before, self._current = self._current, fragment_id
        for changed in (before, fragment_id):
            row = self.row_of(changed)
            if row >= 0:
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def row_of(self, fragment_id: str) -> int:
        """Return the row of a fragment, or -1."""
        return next((n for n, fragment in enumerate(self._fragments) if fragment.id == fragment_id), -1)

    def state(self, row: int) -> str:
        """Return the state of the fragment in a row."""
        return self._states[row]

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many fragments there are."""
        return 0 if parent is not None and parent.isValid() else len(self._fragments)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many columns there are."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Return a column's name or tooltip."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        return TOOLTIPS[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Return a cell."""
        if not index.isValid():
            return None
        row, column = index.row(), index.column()
        fragment, state = self._fragments[row], self._states[row]
        current = fragment.id == self._current
        if role == ID_ROLE:
            return fragment.id
        if role == SORT_ROLE:
            return (row, state, fragment.area_px, fragment.length_px, fragment.distance_px, state)[column]
        if role == Qt.ItemDataRole.DisplayRole:
            mark, _, word = STATE_MARKS.get(state, state).partition(" ")
            rank = f"▸ {row + 1}" if current else str(row + 1)
            numbers = (str(fragment.area_px), str(fragment.length_px), f"{fragment.distance_px:.0f}")
            return (rank, mark, *numbers, word)[column]
        if role == Qt.ItemDataRole.FontRole and current:
            font = QFont()
            font.setBold(True)
            return font
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column in _RIGHT else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None


class FragmentFilter(QSortFilterProxyModel):
    """Shows fragments in some states."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.states: frozenset[str] | None = None
        self.setSortRole(SORT_ROLE)
        # A verdict must not move rows under the eyes: sorting follows a click on a header only.
        self.setDynamicSortFilter(False)

    def set_filter(self, states: frozenset[str] | None) -> None:
        """Filter by states; None for all."""
        self.states = states
        self.invalidate()

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:
        """Return whether a row is shown."""
        model = self.sourceModel()
        assert isinstance(model, FragmentTableModel)
        return self.states is None or model.state(row) in self.states

    def ids(self) -> list[str]:
        """Return the fragments as shown, top to bottom."""
        return [str(self.data(self.index(row, 0), ID_ROLE)) for row in range(self.rowCount())]


def effect_lines(fragment: Fragment, session: ReviewSession) -> list[str]:
    """Say what deleting does, in full first, then in fewer words."""
    count = session.components.count
    if session.fragment_state(fragment.id) == "deleted":
        return [f"deleted: −{fragment.area_px} px; A brings it back", f"deleted: −{fragment.area_px} px"]
    after = f"components {count} → {count - 1}"
    return [f"R: {after} · −{fragment.area_px} px · A: as it is", f"R: {after} · −{fragment.area_px} px"]


def fact_lines(fragment: Fragment, session: ReviewSession) -> list[str]:
    """Say what is known of a fragment: its shape, its place, and whether a gap would join it."""
    width = fragment.area_px / fragment.length_px
    lines = [
        f"{fragment.length_px} px long, about {width:.1f} px wide",
        f"{fragment.distance_px:.0f} px from the main tree",
    ]
    label = int(session.components.labels[fragment.point])
    joining = [gap.score for gap in session.open_gaps if label and label in gap.joins]
    if joining:
        n = len(joining)
        lines.append(f"{n} open gap{'s' * (n != 1)} would join it, score {short(max(joining))}")
    elif label:
        lines.append("no open gap would join it")
    return lines
