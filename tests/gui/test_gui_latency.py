"""What a key costs beyond what it has to: new layouts, second drawings, a list of layers. Counted, not timed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication, QLabel, QVBoxLayout, QWidget

from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.parts import ElidedLabel, FittingLabel, StatusLine
from napari_vessel.gui.workspace import Workspace
from napari_vessel.review.edits import Verdict

pytestmark = pytest.mark.gui


class Requests(QObject):
    """Counts the new layouts that are asked of a widget."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Count."""
        self.count += event.type() == QEvent.Type.LayoutRequest
        return False


@pytest.mark.parametrize("make", [ElidedLabel, FittingLabel, StatusLine, QLabel])
def test_a_new_text_asks_for_no_new_layout(make, qtbot) -> None:
    outer = QWidget()
    qtbot.addWidget(outer)
    layout = QVBoxLayout(outer)
    label = make()
    layout.addWidget(label)
    outer.resize(300, 100)
    outer.show()
    QApplication.processEvents()
    requests = Requests(outer)
    for text in ("a word", "many words, and more of them than fit into one line of this small window", ""):
        (label.set_wordings if make is FittingLabel else lambda words: label.setText(words[0]))([text])
        QApplication.processEvents()
        assert label.text() == text
    assert (requests.count > 0) == (make is QLabel), "only Qt's own label asks, so the test can tell"


def test_verdicts_and_steps_ask_for_no_new_layout_of_the_window(shown_review: Workspace, spin) -> None:
    review = shown_review
    _, gaps = review.viewer.window.add_plugin_dock_widget("napari-vessel", "Vessel gaps")
    window = gaps.window()
    window.resize(1366, 768)
    spin()
    review.decide(Verdict.SKIPPED)
    spin()
    requests = Requests(window)
    for act in (review.next_gap, lambda: review.next_gap(-1), lambda: review.decide(Verdict.UNSURE), review.undo):
        act()
        spin()
    assert gaps.status.text()
    assert requests.count == 0


def test_the_next_gap_is_told_to_the_canvas_alone(review: Workspace) -> None:
    seen: Counter[str] = Counter()
    events = review.scene.overlay.arrows.events
    for name in ("set_data", "thumbnail", "extent", "data", "editable"):
        getattr(events, name).connect(lambda event, name=name: seen.update([name]))
    before = review.scene.overlay.arrows.data.copy()
    review.next_gap()
    assert (review.scene.overlay.arrows.data != before).any()
    assert seen == {"set_data": 1}
    assert not review.scene.overlay.arrows.editable


def test_an_undo_draws_the_proposals_once(review: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    review.decide(Verdict.ACCEPTED)
    drawn: list[Any] = []
    overlay = review.scene.overlay
    show = overlay.show
    monkeypatch.setattr(overlay, "show", lambda *what: (drawn.append(what), show(*what)))
    review.undo()
    assert len(drawn) == 1
    drawn.clear()
    review.redo()
    assert len(drawn) == 1
    assert review.review.gap is overlay.gap


def test_proposals_are_drawn_anew_by_an_undo_that_shows_no_gap(review: Workspace) -> None:
    open_before = {gap.id for gap in review.session.open_gaps}
    review.accept_above(0.0)
    assert not review.session.open_gaps
    review.undo()
    assert set(review.scene.overlay._paths) == open_before


def test_fragments_are_coloured_when_the_edit_has_been_drawn(review: Workspace, spin) -> None:
    spin()
    review.decide(Verdict.ACCEPTED)
    assert not review.tasks.is_running("fragments")
    before = review.scene.fragments.layer.data.copy()
    spin()
    assert (review.scene.fragments.layer.data != before).any()


def test_a_row_that_is_marked_already_is_not_scrolled_to(review: Workspace, qtbot, monkeypatch) -> None:
    gaps = GapsWidget(review.viewer)
    qtbot.addWidget(gaps)
    scrolled: list[int] = []
    monkeypatch.setattr(gaps.table, "scrollTo", lambda index: scrolled.append(index.row()))
    review.gaps_changed.emit()
    assert scrolled == []
    review.next_gap()
    assert len(scrolled) == 1
