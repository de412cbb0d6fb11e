"""The order of the list: what brings most comes first, and a verdict moves what is below it, never what is above."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_vessel.completion.ranking import expected_gain
from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.workspace import Workspace
from napari_vessel.images.image import VESSEL, Modality, VesselImage, VesselMask
from napari_vessel.review.edits import Verdict

pytestmark = pytest.mark.gui


@pytest.fixture
def faint(workspace, qtbot, spin) -> tuple[Workspace, GapsWidget]:
    """Six clear vessels, each with a piece behind a break: three of the pieces show in the image, three do not."""
    pixels = np.full((190, 200, 3), 0.7, np.float32)
    labels = np.zeros((190, 200), np.uint8)
    for number, row in enumerate(range(15, 190, 32)):
        pixels[row - 1 : row + 2, 8:120] = 0.3
        labels[row - 1 : row + 2, 8:120] = 1
        end = 140 + 8 * number
        pixels[row - 1 : row + 2, 120:end] = 0.45 if number % 2 else 0.66
        labels[row - 1 : row + 2, 127:end] = 1
    image = VesselImage(pixels, modality=Modality.FUNDUS, content_hash="8" * 64)
    workspace.add_image(image, VesselMask(labels, (VESSEL,)))
    spin()
    widget = GapsWidget(workspace.viewer)
    qtbot.addWidget(widget)
    assert len(workspace.session.open_gaps) >= 6
    return workspace, widget


def gains(ws):
    return [expected_gain(gap) for gap in ws.review.listed]


def test_what_brings_most_comes_first(faint):
    ws, widget = faint
    assert gains(ws) == sorted(gains(ws), reverse=True)
    assert widget.proxy.ids() == [gap.id for gap in ws.review.listed]
    assert ws.review.selected == widget.proxy.ids()[0]


def test_a_verdict_moves_what_is_below_and_the_best_of_that_is_next(faint):
    ws, widget = faint
    ws.next_gap()
    ws.next_gap()
    before = widget.proxy.ids()
    decided = ws.review.gap
    scores = {gap.id: gap.score for gap in ws.session.open_gaps}
    ws.decide(Verdict.REJECTED)
    QApplication.processEvents()
    after = widget.proxy.ids()
    assert after[:3] == before[:3], "the decided one and what is above stay where they are"
    assert sorted(after) == sorted(before)
    assert any(gap.score != scores[gap.id] for gap in ws.session.open_gaps), "the refusal says something of the others"
    below = gains(ws)[3:]
    assert below == sorted(below, reverse=True)
    assert ws.review.selected == after[3]
    assert widget.table.currentIndex().row() == 3
    score = widget.proxy.data(widget.proxy.index(3, 2))
    assert score == f"{ws.review.gap.score:.2f}", "the score that is shown is the one by now"
    assert ws.session.verdicts[decided.id].score == scores[decided.id], "what was on the screen is written down"


def test_refusals_sink_what_looks_alike_and_undo_takes_the_lesson_back(faint):
    ws, _ = faint
    scores = {gap.id: gap.score for gap in ws.session.gaps}
    decided = []
    for _ in range(3):
        decided.append(ws.review.selected)
        ws.decide(Verdict.REJECTED)
    left = {gap.id: gap.score for gap in ws.session.open_gaps}
    assert sum(left.values()) < sum(scores[name] for name in left)
    for _ in range(3):
        ws.undo()
    assert ws.review.selected == decided[0]
    assert {gap.id: gap.score for gap in ws.session.gaps} == pytest.approx(scores, abs=1e-9)


def test_scores_and_order_are_the_same_after_a_restart(faint, make_napari_viewer, spin):
    ws, _ = faint
    for verdict in (Verdict.REJECTED, Verdict.ACCEPTED, Verdict.REJECTED):
        ws.decide(verdict)
    shown = [(gap.id, gap.score) for gap in ws.session.open_gaps]
    listed = [gap.id for gap in ws.review.listed if ws.session.state_of(gap.id) == "open"]
    selected, folder = ws.review.selected, ws.project.folder
    ws.close()
    again = Workspace.of(make_napari_viewer())
    assert again.open_project(folder)
    spin()
    now = [(gap.id, gap.score) for gap in again.session.open_gaps]
    assert [name for name, _ in now] == [name for name, _ in shown] == listed
    assert [score for _, score in now] == pytest.approx([score for _, score in shown], abs=1e-9)
    assert again.review.selected == selected
    again.close()


def test_a_number_stays_with_its_gap_whatever_the_order(faint):
    ws, widget = faint
    numbers = {gap.id: ws.session.number_of(gap.id) for gap in ws.session.gaps}
    ws.next_gap()
    name = ws.review.selected
    ws.decide(Verdict.REJECTED)
    assert ws.session.undo_text == f"rejected gap {numbers[name]}"
    shown = [widget.model.index(row, 0).data().removeprefix("▸ ") for row in range(widget.model.rowCount())]
    assert shown == [str(numbers[gap.id]) for gap in ws.review.listed]


def test_a_list_sorted_by_a_column_stays_as_it_was_sorted(faint):
    ws, widget = faint
    widget.table.sortByColumn(4, widget.table.horizontalHeader().sortIndicatorOrder())
    before = widget.proxy.ids()
    ws.select_gap(before[1])
    ws.decide(Verdict.REJECTED)
    assert widget.proxy.ids() == before
    assert ws.review.selected == before[2]


def test_in_a_list_of_open_ones_the_next_is_the_best_below(faint):
    ws, widget = faint
    widget.state_filter.setCurrentIndex(widget.state_filter.findText("open"))
    ws.next_gap()
    passed, decided = widget.proxy.ids()[:2]
    ws.decide(Verdict.SKIPPED)
    assert decided not in widget.proxy.ids()
    assert widget.proxy.ids()[0] == passed, "what was passed over comes round again, but not at once"
    assert ws.review.selected == widget.proxy.ids()[1]


def test_a_verdict_given_while_the_next_image_is_read_counts_there(workspace, drawn, tmp_path, spin):
    ws = workspace
    ws.open_project(tmp_path / "work")
    image, mask = drawn
    for number in (1, 2):
        ws.add_image(replace(image, content_hash=str(number) * 64), mask)
        spin()
    second = ws.record.id
    (first,) = [record.id for record in ws.images() if record.id != second]
    before = [gap.score for gap in ws.session.gaps]
    ws.open_image(first)
    spin()
    ws.open_image(second)
    assert ws.record.id == first
    for gap in ws.session.open_gaps:
        ws.session.decide(gap.id, Verdict.REJECTED, 1.0)
    spin()
    assert ws.record.id == second
    known = [gap.score for gap in ws.session.gaps]
    assert known != before
    assert known == [gap.score for gap in ws.project.open_session(second, ws.annotator, remember=False).gaps]
