"""The list of gaps, or of cuts, as a table model, with the words that a row and the details under it show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt
from qtpy.QtGui import QFont
from qtpy.QtWidgets import QAbstractItemView, QTableView

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.completion.scoring import short
from napari_vessel.gui.gap_words import kind_words, reason_lines, state_words, vig_lines, why
from napari_vessel.gui.theme import STATE_MARKS
from napari_vessel.review.session import OPEN, ReviewSession

COLUMNS = ("#", "", "score", "joins", "px", "ViG", "why")
VIG_COLUMN = COLUMNS.index("ViG")
TOOLTIPS = (
    "Its number. The list is in order of score and of how much vessel hangs on it; verdicts reorder what is below.",
    "What was decided: ○ open, ✔ accepted, ✎ repainted, ✘ rejected, ? unsure, » skipped.",
    "Chance that the proposal is right: that both sides are vessels, and one vessel.",
    "What accepting joins: the main tree, or a fragment c with its number.",
    "Length of the completion in pixels.",
    "Mean probability of a vessel along the completion, as the completion model (a Vision GNN) sees it.",
    "What counts most for it, and with a − what counts most against it; ViG alone: only the completion model draws it.",
)
CUT_COLUMNS = ("#", "", "score", "in", "px", "ViG", "why")
CUT_TOOLTIPS = (
    TOOLTIPS[0],
    "What was decided: ○ open, ✔ cut, ✎ erased by hand, ✘ kept as a vessel, ? unsure, » skipped.",
    "Chance that the connection is a mistake: that it joins what is not one vessel.",
    "Where the connection is: in the main tree, or in a fragment c with its number.",
    "Length of the stretch that would be erased, in pixels.",
    "Mean probability of a vessel along it, as the completion model (a Vision GNN) sees it.",
    "What counts most for a mistake, and with a − what counts most against one.",
)
_NOTHING = "–"
ID_ROLE = int(Qt.ItemDataRole.UserRole)
SORT_ROLE = ID_ROLE + 1
_RIGHT = (0, 2, 4, 5)
_ALIGNMENTS = tuple(
    (Qt.AlignmentFlag.AlignRight if column in _RIGHT else Qt.AlignmentFlag.AlignLeft) | Qt.AlignmentFlag.AlignVCenter
    for column in range(len(COLUMNS))
)


class GapTableModel(QAbstractTableModel):
    """One row a gap, or one row a cut, in the order in which they are gone through."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._gaps: tuple[Gap, ...] = ()
        self._numbers: list[int] = []
        self.cuts = False
        """Whether cuts are listed."""
        self._states: list[str] = []
        self._joins: list[str] = []
        self._current = ""
        self.completed = False
        """Whether a completion model was asked about any of the gaps."""

    def update(self, listed: Sequence[Gap], session: ReviewSession | None, cuts: bool = False) -> None:
        """Show what a session lists; rows that stay keep their selection.

        Parameters
        ----------
        listed : sequence of Gap
            In order.
        session : ReviewSession or None
            Whose they are.
        cuts : bool
            Whether they are cuts.
        """
        gaps = () if session is None else tuple(listed)
        states = [] if session is None else [session.state_of(gap.id) for gap in gaps]
        joins = [] if session is None else joined(gaps, session.components.labels, session.main)
        numbers = [] if session is None else [session.number_of(gap.id) for gap in gaps]
        before, after = [gap.id for gap in self._gaps], [gap.id for gap in gaps]
        moved = before != after and sorted(before) == sorted(after)
        if moved:
            self.layoutAboutToBeChanged.emit()
        elif before != after:
            self.beginResetModel()
        self._gaps, self._states, self._joins, self._numbers = gaps, states, joins, numbers
        turned, self.cuts = cuts != self.cuts, cuts
        self.completed = any(gap.completion is not None for gap in gaps)
        if moved:
            row_of = {gap_id: row for row, gap_id in enumerate(after)}
            old = self.persistentIndexList()
            self.changePersistentIndexList(old, [self.index(row_of[before[i.row()]], i.column()) for i in old])
            self.layoutChanged.emit()
        elif before != after:
            self.endResetModel()
        elif gaps:
            self.dataChanged.emit(self.index(0, 0), self.index(len(gaps) - 1, len(COLUMNS) - 1))
        if turned:
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(COLUMNS) - 1)

    def set_current(self, gap_id: str) -> None:
        """Mark the row under review."""
        for changed in (self._current, gap_id):
            row = self.row_of(changed)
            if row >= 0:
                self._current = gap_id
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))
        self._current = gap_id

    def row_of(self, gap_id: str) -> int:
        """Return the row of a gap, or -1."""
        return next((n for n, gap in enumerate(self._gaps) if gap.id == gap_id), -1)

    def state(self, row: int) -> str:
        """Return the state of the gap in a row."""
        return self._states[row]

    def gap(self, row: int) -> Gap:
        """Return the gap in a row."""
        return self._gaps[row]

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many gaps there are."""
        return 0 if parent is not None and parent.isValid() else len(self._gaps)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many columns there are."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Return a column's name or tooltip."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return (CUT_COLUMNS if self.cuts else COLUMNS)[section]
        return (CUT_TOOLTIPS if self.cuts else TOOLTIPS)[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Return a cell."""
        if not index.isValid():
            return None
        row, column = index.row(), index.column()
        gap = self._gaps[row]
        if role == ID_ROLE:
            return gap.id
        if role == SORT_ROLE:
            # One value alone: a new order asks for those of all rows, between a key and the next gap.
            order: tuple[Callable[[], Any], ...] = (
                lambda: row,
                lambda: self._states[row],
                lambda: -gap.score,
                lambda: self._joins[row],
                lambda: gap.length,
                lambda: -(gap.completion or 0.0),
                lambda: why(gap),
            )
            return order[column]()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            mark = state_words(self._states[row], gap)
            first = f"{kind_words(gap)} {self._numbers[row]}, score {gap.score:.2f}, {mark}"
            return "\n".join([first, *vig_lines(gap), *reason_lines(gap)])
        if role == Qt.ItemDataRole.FontRole and gap.id == self._current:
            font = QFont()
            font.setBold(True)
            return font
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _ALIGNMENTS[column]
        return None

    def _text(self, row: int, column: int) -> str:
        gap = self._gaps[row]
        if column == 0:
            return f"▸ {self._numbers[row]}" if gap.id == self._current else str(self._numbers[row])
        if column == 1:
            return STATE_MARKS.get(self._states[row], self._states[row]).split()[0]
        if column == 2:
            return f"{gap.score:.2f}"
        if column == 3:
            return self._joins[row]
        if column == 4:
            return f"{gap.length:.0f}"
        if column == VIG_COLUMN:
            return "" if gap.completion is None else short(gap.completion)
        return why(gap, self.completed)


class GapFilter(QSortFilterProxyModel):
    """Shows gaps in some states with at least some score."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.states: frozenset[str] | None = None
        self.least = 0.0
        self.names: frozenset[str] | None = None
        self.setSortRole(SORT_ROLE)
        # A verdict must not move rows under the eyes: sorting follows a click on a header only.
        self.setDynamicSortFilter(False)

    def set_filter(self, states: frozenset[str] | None, least: float, names: frozenset[str] | None = None) -> None:
        """Filter by states, score and ids; None for all."""
        self.states, self.least, self.names = states, least, names
        self.invalidate()

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:
        """Return whether a row is shown."""
        model = self.sourceModel()
        assert isinstance(model, GapTableModel)
        gap = model.gap(row)
        if self.names is not None and gap.id not in self.names:
            return False
        return gap.score >= self.least and (self.states is None or model.state(row) in self.states)

    def ids(self) -> list[str]:
        """Return the gaps as shown, top to bottom."""
        return [str(self.data(self.index(row, 0), ID_ROLE)) for row in range(self.rowCount())]


class QueueTable(QTableView):
    """A table of what waits for a verdict: one row is under review, and nothing is edited in it."""

    def __init__(self, proxy: QSortFilterProxyModel) -> None:
        super().__init__()
        self.setModel(proxy)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalHeader().hide()
        row = self.fontMetrics().height() + 6
        self.verticalHeader().setDefaultSectionSize(row)
        self.setMinimumHeight(4 * row)
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setMinimumSectionSize(24)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)

    def point_at(self, index: QModelIndex) -> None:
        """Mark a row without telling that it was chosen; an invalid index marks none."""
        selection = self.selectionModel()
        selection.blockSignals(True)
        if index.isValid():
            # To scroll is to lay the table out: not where the row is marked already.
            if index != self.currentIndex() or not selection.isSelected(index):
                self.setCurrentIndex(index)
                # A list that has just become longer is laid out later: until then it scrolls only as far as the old.
                self.executeDelayedItemsLayout()
                self.scrollTo(index)
        else:
            self.clearSelection()
        selection.blockSignals(False)
        self.viewport().update()


AUDIT = frozenset({"audit"})
"""Not a state: the sample of what was accepted in bulk."""

STATE_FILTERS: tuple[tuple[str, frozenset[str] | None], ...] = (
    ("all states", None),
    ("open", frozenset({OPEN})),
    ("decided", frozenset({"accepted", "repainted", "rejected", "unsure", "skipped"})),
    ("postponed", frozenset({"unsure", "skipped"})),
    ("rejected", frozenset({"rejected"})),
    ("audit", AUDIT),
)


def joined(gaps: Sequence[Gap], components: NDArray[np.int32], main: int) -> list[str]:
    """Say what each gap joins now: ``main–c14``, and what each cut is in; `main` is the number of the main one."""
    if not gaps:
        return []
    limit = np.asarray(components.shape) - 1
    points = np.clip(np.rint([end.point for gap in gaps for end in gap.ends]).astype(int), 0, limit)
    names = []
    for (y, x), under in zip(points.tolist(), components[tuple(points.T)].tolist(), strict=True):
        label = under or int(components[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].max())
        names.append(_NOTHING if label == 0 else "main" if label == main else f"c{label}")
    of_ends = iter(names)
    return [_said(gap.kind, [next(of_ends) for _ in gap.ends]) for gap in gaps]


def _said(kind: GapKind, ends: Sequence[str]) -> str:
    if kind is GapKind.CUT:
        # One of its vessels may be gone by now.
        return next((name for name in ends if name != _NOTHING), _NOTHING)
    return f"tip, {ends[0]}" if kind is GapKind.TIP else "–".join(ends)
