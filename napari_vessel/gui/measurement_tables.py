"""The tables of *Measurements*: the figures of an image before and after its review, and its segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_vessel.gui.gap_table import ID_ROLE, SORT_ROLE
from napari_vessel.review.measuring import Reviewed
from napari_vessel.topology.measurement import FIGURES, Segment
from napari_vessel.topology.measurement.tables import WHOLE

_ROWS = 9
_NONE = "–"

_SHORT = {
    "field_area": "field area",
    "vessel_area_density": "area density",
    "skeleton_length": "length",
    "skeleton_length_density": "length density",
    "longest_component_length": "longest piece",
    "calibre_mean": "calibre",
    "calibre_p10": "calibre, 10 %",
    "calibre_p25": "calibre, 25 %",
    "calibre_median": "calibre, median",
    "calibre_p75": "calibre, 75 %",
    "calibre_p90": "calibre, 90 %",
    "tortuosity_distance": "arc/chord",
    "tortuosity_distance_median": "arc/chord, median",
    "tortuosity_inflection": "inflection metric",
    "tortuosity_angles": "sum of angles",
    "inflections_per_length": "inflections",
    "bifurcation_density": "bifurcations",
    "branching_angle_mean": "branching angle",
    "branching_angle_median": "branching, median",
    "ends": "free ends",
    "ends_per_length": "free ends",
    "fractal_dimension": "fractal dimension",
    "fractal_dimension_skeleton": "fractal, centrelines",
}
"""Names as short as a narrow dock needs them; the tooltip has the whole."""

SEGMENT_COLUMNS = ("#", "length", "calibre", "arc/chord", "turns", "angles")
SEGMENT_TOOLTIPS = (
    "Number of the segment, in the CSV file too.",
    "Length along its smooth centreline.",
    "Mean width: area over length.",
    "Tortuosity, distance metric: length over the straight distance between its ends.",
    "Inflections: how often it stops turning one way and turns the other.",
    "Tortuosity, sum of angles metric: all that it turns over its length, degrees per 100 px or per mm.",
)


def number(value: float | None) -> str:
    """Return a figure as a cell: four digits, and none of them behind an exponent."""
    if value is None:
        return _NONE
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.4g}".rstrip(".") if abs(value) >= 1e-3 else f"{value:.5f}"


class FigureTable(QTableWidget):
    """One row a figure: before the review, after it, and between what the unsure proposals leave it."""

    def __init__(self) -> None:
        super().__init__(len(FIGURES), 4)
        self.setAccessibleName("Figures, before and after review")
        self.setHorizontalHeaderLabels(["Figure", "Before", "After", "Unsure"])
        tips = (
            "",
            "The mask as it was segmented, or as it came.",
            "The mask now.",
            "Between what it lies, however the unsure proposals are decided; empty where that changes nothing.",
        )
        for column, tip in enumerate(tips):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        # Of a long name the unit is read too: it tells bifurcations and their density apart.
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        line = self.fontMetrics().height() + 6
        self.verticalHeader().setDefaultSectionSize(line)
        self.setFixedHeight(line * (_ROWS + 1) + 6)
        self.show_figures(None)

    def show_figures(self, found: Reviewed | None) -> None:
        """Show what was measured of an image; None shows the names alone."""
        self.setColumnHidden(3, found is None or not found.unsure)
        between = {} if found is None or not found.unsure else found.intervals()[WHOLE]
        for row, figure in enumerate(FIGURES):
            unit, factor = figure.readable("px" if found is None else found.after.unit)
            name = _SHORT.get(figure.name, figure.title)
            words = [f"{name}, {unit}" if unit else name]
            for one in () if found is None else (found.before, found.after):
                value = one.figures[figure.name]
                words.append(number(None if value is None else value * factor))
            interval = between.get(figure.name)
            words += [""] * (3 - len(words))
            low, high = ("", "") if interval is None else (number(bound * factor) for bound in interval)
            # Equal to the column beside it where the unsure ones leave the figure as it is.
            words.append(f"{low}–{high}" if low != high else "")
            full = f"{figure.title}, {unit}" if unit else figure.title
            for column, text in enumerate(words):
                item = QTableWidgetItem(text)
                item.setToolTip(f"{full}: {text}" if column else full)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(row, column, item)


class SegmentTableModel(QAbstractTableModel):
    """One row a segment."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._segments: Sequence[Segment] = ()
        self._rows: list[tuple[float, ...]] = []
        self._turn = 1.0

    def show_segments(self, segments: Sequence[Segment], unit: str) -> None:
        """Show the segments of a mask, in another order than they were numbered in if the table is sorted."""
        self.beginResetModel()
        self._segments = segments
        turn = 57.29577951308232 * (1e3 if unit == "um" else 1e2)
        self._rows = [_values(segment, turn) for segment in segments]
        self.endResetModel()

    def segment(self, number: int) -> Segment | None:
        """Return a segment by its number; None when there is none."""
        return self._segments[number - 1] if 0 < number <= len(self._segments) else None

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many segments there are."""
        return 0 if parent is not None and parent.isValid() else len(self._segments)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many columns there are."""
        return 0 if parent is not None and parent.isValid() else len(SEGMENT_COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Return a column's name or tooltip."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return SEGMENT_COLUMNS[section]
        return SEGMENT_TOOLTIPS[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        """Return a cell."""
        if not index.isValid():
            return None
        row, column = index.row(), index.column()
        if role == ID_ROLE:
            return self._segments[row].number
        value = self._rows[row][column]
        if role == SORT_ROLE:
            return value
        if role == Qt.ItemDataRole.DisplayRole:
            if value < 0:
                return _NONE
            if column == 3:
                return f"{value:.3f}"
            return f"{value:.0f}" if column in (0, 4) or value >= 1000 else f"{value:.1f}"
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None


class SegmentOrder(QSortFilterProxyModel):
    """The segments in the order of the column whose header was clicked."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.setSortRole(SORT_ROLE)


def _values(segment: Segment, turn: float) -> tuple[float, ...]:
    """Return the cells of a segment; what is not defined is below 0, so that it is sorted to one end."""
    found = segment.tortuosity
    told = (-1.0, -1.0, -1.0) if found is None else (found.distance, float(found.inflections), found.angles * turn)
    return (float(segment.number), segment.length, segment.calibre, *told)
