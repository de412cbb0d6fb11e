"""The table of labelled images in *Vessel training*: what is learnt from, or what a run has learnt from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_vessel.gui.training_sources import Source

COLUMNS = ("Image", "From", "Size, px", "Part")
_ROWS = 3


class LabelTable(QTableWidget):
    """Sources with boxes to tick, or the images of a run with the part each has in it.

    Parameters
    ----------
    on_ticked : callable
        Called after the annotator has ticked or unticked a source.
    """

    def __init__(self, on_ticked: Callable[[], None]) -> None:
        super().__init__(0, len(COLUMNS))
        self._on_ticked = on_ticked
        self._sources: list[Source] = []
        self._unticked: set[str] = set()
        self._filling = False
        self._shown: tuple[Sequence[tuple[str, ...]], Sequence[bool] | None] | None = None
        self.setHorizontalHeaderLabels(list(COLUMNS))
        self.setToolTip(
            "What is learnt from: tick with the space bar. Finished images of the project are listed by themselves."
        )
        self.setAccessibleName("Labelled images")
        self.verticalHeader().hide()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        # The Tab key goes on to the next widget, as everywhere in the dock.
        self.setTabKeyNavigation(False)
        self.setWordWrap(False)
        self._fit_columns()
        line = self.fontMetrics().height()
        self.verticalHeader().setDefaultSectionSize(line + 8)
        self.setMinimumHeight((line + 8) * _ROWS + line + 16)
        self.itemChanged.connect(self._changed)

    def chosen(self) -> list[Source]:
        """Return the sources that are ticked."""
        return [source for source in self._sources if source.key not in self._unticked]

    def show_sources(self, sources: Sequence[Source]) -> None:
        """List sources; new ones are ticked."""
        self._sources = list(sources)
        ticks = [source.key not in self._unticked for source in sources]
        self._fill([(source.name, source.origin, _size(source.shape), "") for source in sources], ticks)

    def show_run(self, run: Mapping[str, Any]) -> None:
        """List what a run learns from, and what it holds out."""
        self._fill(
            [
                (
                    entry["name"],
                    "this run",
                    _size(entry.get("shape", (0, 0))),
                    "held out" if entry["held_out"] else "learnt from",
                )
                for entry in run["images"]
            ],
            None,
        )

    def _fill(self, rows: Sequence[tuple[str, ...]], ticks: Sequence[bool] | None) -> None:
        # Told of every change in the project, most of which change nothing here.
        if (rows, ticks) == self._shown:
            return
        self._shown = (rows, ticks)
        self._filling = True
        # Else each item has every row of its column measured.
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.setRowCount(len(rows))
        for number, words in enumerate(rows):
            for column, word in enumerate(words):
                item = QTableWidgetItem(word)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
                item.setToolTip(word)
                if column == 0 and ticks is not None:
                    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                    item.setCheckState(Qt.CheckState.Checked if ticks[number] else Qt.CheckState.Unchecked)
                self.setItem(number, column, item)
        self._fit_columns()
        self._filling = False

    def _fit_columns(self) -> None:
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def _changed(self, item: QTableWidgetItem) -> None:
        if self._filling or item.column():
            return
        key = self._sources[item.row()].key
        (self._unticked.discard if item.checkState() == Qt.CheckState.Checked else self._unticked.add)(key)
        self._on_ticked()


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} × {shape[0]}"
