"""The second queue of the gaps dock: fragments, one row each, one button per verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHeaderView,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_vessel.gui.bulk import BulkRow
from napari_vessel.gui.fragment_table import (
    COLUMNS,
    STATE_FILTERS,
    FragmentFilter,
    FragmentTableModel,
    effect_lines,
    fact_lines,
)
from napari_vessel.gui.gap_table import ID_ROLE, QueueTable
from napari_vessel.gui.parts import (
    TIGHT,
    FittingLabel,
    StatusLine,
    connect_while_alive,
    go_by,
    in_column,
    in_row,
    on_enter,
    set_quietly,
)
from napari_vessel.review.journal import ALL_VESSELS

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace

VERDICTS = (("accept", "A Keep"), ("reject", "R Delete"), ("unsure", "U Unsure"), ("skip", "S Skip"))
_TOOLTIPS = (
    "It is a vessel: leave it as it is. Key: A.",
    "It is no vessel: delete it from the mask. Key: R.",
    "You cannot tell: leave it, and say so. Key: U.",
    "Leave it for another time. Key: S.",
)
_SPECK = 12


class FragmentPanel(QWidget):
    """The table, the details and the verdicts of the queue of fragments.

    Parameters
    ----------
    workspace : Workspace
        What it shows.
    make_button : callable
        Returns the button of a key, given the key's id and the text.
    """

    def __init__(self, workspace: Workspace, make_button: Callable[[str, str], QPushButton]) -> None:
        super().__init__()
        self._workspace = workspace
        self.state_filter = QComboBox()
        for text, states in STATE_FILTERS:
            self.state_filter.addItem(text, states)
        self.state_filter.setToolTip("Show only fragments in these states. N and B walk the list as it is shown.")
        self.state_filter.currentIndexChanged.connect(self._filter)
        self.state_filter.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.all_vessels = QCheckBox("&all are vessels")
        self.all_vessels.setToolTip(
            "Every piece of this mask is a vessel, as where it was drawn or cleaned by hand: gaps are found again, and "
            "scored by whether their two sides are one vessel. A new mask takes the tick away."
        )
        self.all_vessels.clicked.connect(self._on_all_vessels)
        self.model = FragmentTableModel(self)
        self.proxy = FragmentFilter(self)
        self.proxy.setSourceModel(self.model)
        self.table = QueueTable(self.proxy)
        self.state_filter.activated.connect(lambda *_: self.table.setFocus())
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(len(COLUMNS) - 1, QHeaderView.ResizeMode.Stretch)
        font = self.font()
        font.setBold(True)
        metrics = QFontMetrics(font)
        for column, widest in enumerate(("▸ 99", "✔", "99999", "length", "to main")):
            self.table.setColumnWidth(column, metrics.horizontalAdvance(widest) + 9)
        self.table.selectionModel().currentRowChanged.connect(self._on_row)
        self.effect = FittingLabel()
        self.effect.setAccessibleName("What deleting does")
        self.facts = StatusLine(3, selectable=False)
        self.buttons = {}
        for (key_id, text), tooltip in zip(VERDICTS, _TOOLTIPS, strict=True):
            self.buttons[key_id] = make_button(key_id, text)
            self.buttons[key_id].setToolTip(tooltip)
        self.size = QSpinBox()
        self.size.setRange(1, 100_000)
        self.size.setValue(_SPECK)
        self.size.setToolTip("Open fragments of at most so many pixels are deleted.")
        self.size.valueChanged.connect(self._on_bulk)
        on_enter(self.size, self.table.setFocus)
        parts = [QLabel("all ≤"), self.size, QLabel("px")]
        self.bulk = BulkRow(workspace, parts, self._preview, make_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(TIGHT)
        layout.addLayout(in_row(self.state_filter, self.all_vessels))
        layout.addWidget(self.table, 1)
        layout.addWidget(in_column(self.effect, self.facts))
        layout.addLayout(in_row(*self.buttons.values()))
        layout.addWidget(self.bulk)
        go_by(self, workspace.fragments, self.proxy.ids)
        connect_while_alive(self, workspace.image_opened, self._on_image)
        for changed in (workspace.images_changed, workspace.history_changed):
            connect_while_alive(self, changed, self._on_record)
        connect_while_alive(self, workspace.fragments_changed, self._on_fragments)
        connect_while_alive(self, workspace.fragment_selected, self._on_selected)
        connect_while_alive(self, workspace.gaps_changed, self._on_gaps)
        self._on_image()

    def _on_image(self) -> None:
        there = self._workspace.session is not None
        for widget in (self.table, self.state_filter, self.all_vessels, self.size):
            widget.setEnabled(there)
        self._on_record()
        self._on_fragments()

    def _on_record(self) -> None:
        session = self._workspace.session
        set_quietly(self.all_vessels, session is not None and ALL_VESSELS in session.flags)

    def _on_all_vessels(self, on: bool) -> None:
        self._workspace.set_flag(ALL_VESSELS, on)
        self._workspace.find_gaps()
        self.table.setFocus()

    def _on_fragments(self) -> None:
        self.model.update(self._workspace.fragments.listed, self._workspace.session)
        if self.proxy.states is not None:
            self.proxy.invalidate()
        self._on_selected(self._workspace.fragments.selected)
        self._on_bulk()

    def _on_selected(self, fragment_id: str) -> None:
        self.model.set_current(fragment_id)
        row = self.model.row_of(fragment_id)
        self.table.point_at(self.proxy.mapFromSource(self.model.index(row, 0)) if row >= 0 else QModelIndex())
        self._show_details()

    def _on_gaps(self) -> None:
        if self._workspace.fragments.active:
            self._show_details()

    def _show_details(self) -> None:
        session, fragment = self._workspace.session, self._workspace.fragments.fragment
        if session is None or fragment is None:
            self.effect.set_wordings(["" if session is None else "No fragment is under review."])
            self.facts.setText("")
        else:
            self.effect.set_wordings(effect_lines(fragment, session))
            self.facts.setText("\n".join(fact_lines(fragment, session)))
        for button in self.buttons.values():
            button.setEnabled(fragment is not None)

    def _on_bulk(self) -> None:
        count = len(self._workspace.fragments.up_to(self.size.value()))
        self.bulk.count.set_wordings([f"{count} fragment{'s' * (count != 1)}"])
        self.bulk.button.setEnabled(count > 0)

    def _preview(self) -> None:
        self._workspace.bulk.preview_fragments(self.size.value())

    def _on_row(self, index: QModelIndex, before: QModelIndex) -> None:
        if index.isValid():
            self._workspace.fragments.select(str(self.proxy.data(self.proxy.index(index.row(), 0), ID_ROLE)))

    def _filter(self) -> None:
        self.proxy.set_filter(self.state_filter.currentData())
        self._on_selected(self._workspace.fragments.selected)
