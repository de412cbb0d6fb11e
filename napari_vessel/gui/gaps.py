"""The *Vessel gaps* dock widget: what is left, the ranked list, the gap under review, and one button per verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex, QSize, Qt, QTimer
from qtpy.QtGui import QFontMetrics, QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHeaderView,
    QLabel,
    QLayout,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from napari_vessel.gui.bulk import BulkRow
from napari_vessel.gui.completion_choice import CompletionRow
from napari_vessel.gui.difference_panel import DifferencePanel
from napari_vessel.gui.dock import WIDTH, Dock
from napari_vessel.gui.fragment_panel import FragmentPanel
from napari_vessel.gui.gap_table import (
    AUDIT,
    COLUMNS,
    ID_ROLE,
    STATE_FILTERS,
    VIG_COLUMN,
    GapFilter,
    GapTableModel,
    QueueTable,
)
from napari_vessel.gui.gap_words import effect_lines, reason_lines
from napari_vessel.gui.image_table import modality_word
from napari_vessel.gui.keys import BY_ID, actions
from napari_vessel.gui.parts import (
    MARGIN,
    TIGHT,
    ElidedLabel,
    FittingLabel,
    JobBar,
    StatusLine,
    TightButton,
    connect_while_alive,
    go_by,
    in_column,
    in_row,
    on_enter,
    rule,
    score_box,
)
from napari_vessel.gui.queues import QUEUES
from napari_vessel.gui.remarks import Remarks
from napari_vessel.gui.view_panel import ViewPanel
from napari_vessel.gui.workspace import Workspace
from napari_vessel.jobs import Progress
from napari_vessel.review.records import ImageState

if TYPE_CHECKING:
    import napari

_REASONS = 3
_AFTER_DRAWING_MS = 150
_TABS = ("Gaps", "Cuts", "Fragments", "Differences")
_PAGES = (0, 0, 1, 2)
_DIFFERENCES = 3
_TAB_TIPS = (
    "Open gaps: places where two vessels may be one.",
    "Open cuts: connections of the mask that may be false bridges between two vessels.",
    "Open fragments: pieces of the mask apart from the main tree.",
    "Open disagreements with another annotator: Compare in Vessel project finds them.",
)
_VERDICTS = ("accept", "reject", "repaint", "unsure", "skip")
_ON_CUTS = {
    "accept": ("A Cut", "A false bridge: erase what is striped, and go to the next. Key: A."),
    "reject": ("R Keep", "A vessel: leave it, and do not propose it again. Key: R."),
    "repaint": ("E Erase", "Erase it yourself, with the eraser in the vessel's width. Key: E."),
}


class GapsWidget(Dock):
    """Review the gaps of the open image.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer it is docked in.
    """

    tab = "Gaps"

    # napari compares this annotation, a text here, with the full name before it hands a viewer over.
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.workspace = Workspace.of(viewer)
        self._actions = actions(self.workspace)
        self.buttons: dict[str, QPushButton] = {}
        self._bulk_timer = QTimer(self)
        self._bulk_timer.setSingleShot(True)
        self._bulk_timer.setInterval(_AFTER_DRAWING_MS)
        self._bulk_timer.timeout.connect(self._on_bulk)
        self._build()
        ws = self.workspace
        go_by(self, ws.review, self.proxy.ids)
        connect_while_alive(self, ws.image_opened, self._on_image)
        connect_while_alive(self, ws.images_changed, self._on_record)
        connect_while_alive(self, ws.gaps_changed, self._on_gaps)
        connect_while_alive(self, ws.gap_selected, self._on_selected)
        connect_while_alive(self, ws.history_changed, self._on_history)
        connect_while_alive(self, ws.mask_changed, self._on_left)
        connect_while_alive(self, ws.repaint_changed, self._on_repaint)
        connect_while_alive(self, ws.queue_changed, self._on_queue)
        connect_while_alive(self, ws.bulk_changed, self._on_bulk)
        connect_while_alive(self, ws.audit_changed, self._on_audit)
        connect_while_alive(self, ws.fragments_changed, self._on_left)
        connect_while_alive(self, ws.differences_changed, self._on_left)
        connect_while_alive(self, ws.busy, self._on_busy)
        connect_while_alive(self, ws.message, self.status.tell)
        self._on_image()

    def end(self) -> None:
        """Leave what only this dock tells about: a bulk action that waits, and the disagreements."""
        self.workspace.bulk.leave(fly=False)
        if self.workspace.differences.active:
            self.workspace.queues.show("gaps")

    def sizeHint(self) -> QSize:
        """Ask for a dock that leaves the canvas most of a small screen."""
        return QSize(WIDTH, 640)

    def showEvent(self, event: QShowEvent) -> None:
        """Fit the tabs to the words that there is room for."""
        super().showEvent(event)
        self._fit_tabs()

    # Building

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, TIGHT, MARGIN, TIGHT)
        layout.setSpacing(TIGHT)
        self.title = ElidedLabel()
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.left = ElidedLabel()
        head = in_row(self.title, self.left)
        head.setStretch(0, 1)
        self.left.setFixedWidth(self.left.fontMetrics().horizontalAdvance("b0 9999 → 9999"))
        layout.addLayout(head)
        layout.addLayout(in_row(self._build_tabs(), None))
        layout.addWidget(self._build_queues(), 1)
        layout.addLayout(self._build_steps())
        layout.addWidget(rule())
        self.view = ViewPanel(self.workspace)
        layout.addWidget(self.view)
        layout.addWidget(rule())
        self.remarks = Remarks(self.workspace, TIGHT, beside=self._button("done"))
        self.remarks.comment.editingFinished.connect(self._give_focus_back)
        layout.addLayout(self.remarks)
        self.job_bar = JobBar(self.workspace.cancel)
        layout.addWidget(self.job_bar)
        self.status = StatusLine(2)
        layout.addWidget(self.status)

    def _button(self, key_id: str, text: str = "") -> QPushButton:
        key = BY_ID[key_id]
        button = TightButton(text or key.button)
        button.setToolTip(key.tooltip)
        button.clicked.connect(lambda: self._actions[key_id]())
        # A key may have a button in either queue; this is the first.
        self.buttons.setdefault(key_id, button)
        return button

    def _build_tabs(self) -> QTabBar:
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setUsesScrollButtons(False)
        self.tabs.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        for name, tip in zip(_TABS, _TAB_TIPS, strict=True):
            self.tabs.setTabToolTip(self.tabs.addTab(name), f"{tip} {BY_ID['queue'].help} Key: Q.")
        self.tabs.currentChanged.connect(self._on_tab)
        return self.tabs

    def _build_queues(self) -> QWidget:
        gaps = QWidget()
        layout = QVBoxLayout(gaps)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(TIGHT)
        layout.addLayout(self._build_filter())
        self.completion = CompletionRow(self.workspace)
        self.completion.chosen.connect(self._give_focus_back)
        layout.addWidget(self.completion)
        layout.addWidget(self._build_table(), 1)
        layout.addWidget(self._build_details())
        layout.addWidget(self._build_verdicts())
        layout.addWidget(self._build_bulk())
        self.fragments = FragmentPanel(self.workspace, self._button)
        self.queues = QStackedWidget()
        # Gaps and cuts are gone through alike: one page shows either.
        self.queues.addWidget(gaps)
        self.queues.addWidget(self.fragments)
        self.differences = DifferencePanel(self.workspace, self._button)
        self.queues.addWidget(self.differences)
        return self.queues

    def _build_filter(self) -> QLayout:
        self.state_filter = QComboBox()
        for text, states in STATE_FILTERS:
            self.state_filter.addItem(text, states)
        self.state_filter.setToolTip(
            "Show only those in these states; postponed: unsure or skipped; audit: a random sample of what was "
            "accepted in bulk, to be looked at again. N and B walk the list as it is shown."
        )
        self.state_filter.currentIndexChanged.connect(self._filter)
        # A list that keeps the focus takes the next letter for one of its entries: A for audit.
        self.state_filter.activated.connect(lambda *_: self._give_focus_back())
        self.score_filter = score_box("Show only those with at least this score.", 0.0)
        self.score_filter.valueChanged.connect(self._filter)
        on_enter(self.score_filter, self._give_focus_back)
        self.state_filter.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.state_filter.setMinimumContentsLength(5)
        self.state_filter.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.find_button = QPushButton("&Find again")
        self.find_button.setToolTip("Look for gaps and cuts in the mask as it is now. What is decided stays as it is.")
        self.find_button.clicked.connect(lambda: self.workspace.find_gaps())
        return in_row(self.state_filter, QLabel("score ≥"), self.score_filter, self.find_button)

    def _build_table(self) -> QWidget:
        self.model = GapTableModel(self)
        self.proxy = GapFilter(self)
        self.proxy.setSourceModel(self.model)
        self.table = QueueTable(self.proxy)
        font = self.font()
        font.setBold(True)
        bold = QFontMetrics(font)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setSectionResizeMode(len(COLUMNS) - 1, QHeaderView.ResizeMode.Stretch)
        for column, widest in enumerate(("▸ 99", "✔", "score", "main–main", "99", ".99")):
            self.table.setColumnWidth(column, bold.horizontalAdvance(widest) + 7)
        self.table.selectionModel().currentRowChanged.connect(self._on_row)
        return self.table

    def _build_details(self) -> QWidget:
        self.effect = FittingLabel()
        self.effect.setAccessibleName("What accepting does")
        self.reasons = StatusLine(_REASONS, selectable=False)
        return in_column(self.effect, self.reasons)

    def _build_verdicts(self) -> QWidget:
        verdicts = in_row(*(self._button(key_id) for key_id in _VERDICTS))
        repaint = in_row(
            self._button("wire"),
            self._button("erase"),
            self._button("end_repaint", "Enter Done"),
            self._button("cancel_repaint", "Esc Leave"),
        )
        for key_id in ("wire", "erase"):
            self.buttons[key_id].setCheckable(True)
        self.verdicts = QStackedWidget()
        for row in (verdicts, repaint):
            page = QWidget()
            page.setLayout(row)
            self.verdicts.addWidget(page)
        self.verdicts.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        return self.verdicts

    def _build_steps(self) -> QLayout:
        grid = QGridLayout()
        grid.setSpacing(TIGHT)
        for column, key_id in enumerate(("back", "next", "undo", "redo")):
            grid.addWidget(self._button(key_id), 0, column)
            grid.setColumnStretch(column, 1)
        self.history = ElidedLabel()
        grid.addWidget(self.history, 1, 0, 1, 4)
        return grid

    def _build_bulk(self) -> QWidget:
        self.bulk_score = score_box("Gaps with at least this score are accepted.", 0.8)
        self.bulk_score.valueChanged.connect(self._on_bulk)
        on_enter(self.bulk_score, self._give_focus_back)
        self.bulk = BulkRow(self.workspace, [QLabel("all ≥"), self.bulk_score], self._preview, self._button)
        # The buttons above must not move where it is hidden.
        policy = self.bulk.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.bulk.setSizePolicy(policy)
        return self.bulk

    def _preview(self) -> None:
        self.workspace.bulk.preview_gaps(self.bulk_score.value())

    # From the workspace

    def _on_image(self) -> None:
        session = self.workspace.session
        if self.proxy.names is not None:
            self._filter()
        for widget in (self.table, self.find_button):
            widget.setEnabled(session is not None)
        self._on_record()
        self._on_queue()
        self._on_gaps()
        self._on_history()
        self._on_repaint(self.workspace.review.repainting)

    def _on_record(self) -> None:
        record, session = self.workspace.record, self.workspace.session
        if record is None or session is None:
            self.title.setText("No image is open.")
        else:
            state = record.state.replace("_", " ")
            self.title.setText(f"{record.name}    {modality_word(record.modality)}, {state}")
            done = record.state is ImageState.DONE
            words = "D Take up again" if done else BY_ID["done"].button
            if self.buttons["done"].text() != words:
                self.buttons["done"].setText(words)

    def _on_left(self) -> None:
        session, differences = self.workspace.session, self.workspace.differences
        # Qt would go to the tab beside one that is hidden.
        self.tabs.blockSignals(True)
        self.tabs.setTabVisible(_DIFFERENCES, bool(differences.entries))
        self.tabs.blockSignals(False)
        if session is None:
            self.left.setText("")
            for n, name in enumerate(_TABS):
                self.tabs.setTabText(n, name)
            return
        left = session.remaining()
        counts = (left["open"], left["cuts"], left["fragments"], differences.left)
        for n, (name, count) in enumerate(zip(_TABS, counts, strict=True)):
            known = n != 1 or self.workspace.review.search.cuts_known
            self.tabs.setTabText(n, f"{name} {count}" if known else name)
        self._fit_tabs()
        self.left.setText(f"b0 {self.workspace.review.b0_before} → {left['b0']}")
        self.left.setToolTip(
            f"Left: {left['open']} open gaps, {left['cuts']} cuts, {left['fragments']} open fragments. Components: "
            f"{self.workspace.review.b0_before} at the start, {left['b0']} now."
        )

    def _fit_tabs(self) -> None:
        """Give the tabs a place that grows with their numbers but does not follow each: that would be a new layout."""
        self.tabs.setFixedSize(self.tabs.sizeHint().expandedTo(self.tabs.minimumSize()))

    def _on_queue(self) -> None:
        index = QUEUES.index(self.workspace.queues.shown)
        self.tabs.blockSignals(True)
        self.tabs.setCurrentIndex(index)
        self.tabs.blockSignals(False)
        self.queues.setCurrentIndex(_PAGES[index])
        cuts = self.workspace.review.cutting
        for key_id, (words, tooltip) in _ON_CUTS.items():
            self.buttons[key_id].setText(words if cuts else BY_ID[key_id].button)
            self.buttons[key_id].setToolTip(tooltip if cuts else BY_ID[key_id].tooltip)
        # Cuts are decided one by one: no verdicts promise anything for those that nobody looks at.
        self.bulk.setVisible(not cuts)
        self.state_filter.model().item(self.state_filter.findData(AUDIT)).setEnabled(not cuts)
        if cuts and self.state_filter.currentData() == AUDIT:
            self.state_filter.setCurrentIndex(0)

    def _on_tab(self, index: int) -> None:
        self.workspace.queues.show(QUEUES[index])
        # A repaint may have refused.
        self._on_queue()

    def _on_gaps(self) -> None:
        review = self.workspace.review
        self.model.update(review.listed, self.workspace.session, review.cutting)
        self.table.setColumnHidden(VIG_COLUMN, not self.model.completed)
        if self.proxy.states is not None or self.proxy.least > 0:
            self.proxy.invalidate()
        self._on_selected(self.workspace.review.selected)
        self._on_left()
        self._enable_bulk()
        # What a bulk accept would do is worked out when the next gap has been drawn.
        self._bulk_timer.start()

    def _on_selected(self, gap_id: str) -> None:
        self.model.set_current(gap_id)
        row = self.model.row_of(gap_id)
        index = self.proxy.mapFromSource(self.model.index(row, 0)) if row >= 0 else QModelIndex()
        self.table.point_at(index)
        self._show_details()

    def _show_details(self) -> None:
        session, gap = self.workspace.session, self.workspace.review.gap
        if session is None or gap is None:
            noun = "cut" if self.workspace.review.cutting else "gap"
            record = self.workspace.record
            words = f"No {noun} is under review."
            if session is None or record is None:
                words = "Open one in Vessel project, or take a layer there."
            elif record.state is ImageState.NEW:
                words = "There is no mask yet: run a model in Segment vessels."
            self.effect.set_wordings([words])
            self.reasons.setText("")
        else:
            self.effect.set_wordings(effect_lines(gap))
            self.reasons.setText("\n".join(reason_lines(gap)[:_REASONS]))
            self.reasons.setToolTip("\n".join(reason_lines(gap)))
        for key_id in _VERDICTS:
            self.buttons[key_id].setEnabled(gap is not None)
        for key_id in ("back", "next", "done"):
            self.buttons[key_id].setEnabled(session is not None)

    def _on_history(self) -> None:
        session = self.workspace.session
        timeline = self.workspace.timeline
        undo, redo = ("", "") if session is None else (timeline.undo_text, timeline.redo_text)
        self.buttons["undo"].setEnabled(bool(undo))
        self.buttons["redo"].setEnabled(bool(redo))
        parts = [f"undo: {undo}" if undo else "nothing to undo", *([f"redo: {redo}"] if redo else [])]
        self.history.setText(" · ".join(parts) if session is not None else "")

    def _on_repaint(self, on: bool) -> None:
        self.verdicts.setCurrentIndex(1 if on else 0)
        for key_id in ("wire", "erase"):
            self.buttons[key_id].setChecked(self.workspace.review.repaint.tool == key_id)
        self._on_bulk()

    def _on_bulk(self) -> None:
        self._enable_bulk()
        session, score, count = self.workspace.session, self.bulk_score.value(), self._above()
        # One that an earlier one of them makes superfluous stays open.
        words = f"up to {count} gaps" if count > 1 else f"{count} gap{'s' * (count == 0)}"
        note = "The score is calibrated on other annotators; how many you would refuse, your first verdicts will say."
        calibration = self.workspace.bulk.calibration()
        wordings = [words]
        if calibration is not None and session is not None and count:
            forecast = calibration.expected_wrong(session.open_gaps, score)
            wrong = f"{forecast.expected:.1f} wrong"
            wordings = [f"{words}, about {wrong}", f"{words}, ~{wrong}", f"{count}, ~{wrong}"]
            note = f"By your own verdicts: {forecast.text}. {calibration.suggest().text}"
        self.bulk.count.set_wordings(wordings)
        self.bulk.count.setToolTip(note)

    def _enable_bulk(self) -> None:
        self.bulk.button.setEnabled(self._above() > 0 and not self.workspace.review.repainting)

    def _above(self) -> int:
        session, score = self.workspace.session, self.bulk_score.value()
        return 0 if session is None else sum(gap.score >= score for gap in session.open_gaps)

    def _on_busy(self, progress: Progress | None, text: str) -> None:
        self.job_bar.show_progress(progress)
        self.status.show_busy(progress, text)

    # From the annotator

    def _on_row(self, index: QModelIndex, before: QModelIndex) -> None:
        if index.isValid():
            self.workspace.select_gap(str(self.proxy.data(self.proxy.index(index.row(), 0), ID_ROLE)))
            # A repaint may have refused: the row under review is the marked one then.
            self._on_selected(self.workspace.review.selected)

    def _filter(self) -> None:
        states, audit = self.state_filter.currentData(), self.workspace.audit
        if states == AUDIT:
            audit.begin()
            return
        audit.end()
        self.proxy.set_filter(states, self.score_filter.value())
        review, shown = self.workspace.review, self.proxy.ids()
        if review.selected not in shown:
            # What is under review is one of the list that is shown, a decided one where none waits.
            review.select_first()
            if not review.selected and shown:
                review.select(shown[0])
        self._on_selected(review.selected)

    def _on_audit(self) -> None:
        self.proxy.set_filter(None, 0.0, self.workspace.audit.names)
        self.workspace.review.select_first()

    def _give_focus_back(self) -> None:
        """After a number or comment was entered the keys mean the review again."""
        self.table.setFocus()
