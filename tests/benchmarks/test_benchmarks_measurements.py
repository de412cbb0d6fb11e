"""The tables of the benchmark of measurements, from records whose answers are known."""

from __future__ import annotations

import effort
import fit_scores
import measurements
import numpy as np
import pytest
from common import code_hash
from measurement_peer import DIFFERENCES, PAIRS

from napari_vessel.topology.measurement import FIGURES


def record(truth: float, segmented: float, completed: float) -> dict:
    arms = {"truth": truth, "segmented": segmented, "completed": completed, "reviewed": truth}
    figures = (*FIGURES, measurements.FALSE_ENDS)
    return {"figures": {arm: {figure.name: value for figure in figures} for arm, value in arms.items()}}


def test_nearer_to_the_truth_is_a_change_below_nothing() -> None:
    images = [record(10, 6, 8), record(20, 17, 19), record(5, 9, 8), record(3, 3, 4)]
    found, table = measurements.truth_rows(images)
    entry = found["tortuosity_distance"]
    assert entry["error"]["segmented"] == pytest.approx((4 + 3 + 4 + 0) / 4)
    assert entry["error"]["completed"] == pytest.approx((2 + 1 + 3 + 1) / 4)
    assert entry["error"]["second observer"] is None
    assert entry["change_completed"]["mean"] == pytest.approx(-1.0)
    low, high = entry["change_completed"]["interval"]
    assert low < -1 < high
    assert (entry["nearer_completed"], entry["farther_completed"]) == (3, 1)
    assert entry["change_reviewed"]["mean"] == pytest.approx(-2.75)
    assert table.count("\n") == len(measurements.SHOWN) + 1


def test_what_is_not_defined_in_one_image_is_left_out() -> None:
    images = [record(10, 6, 8), record(20, 17, 19)]
    images[0]["figures"]["completed"]["calibre_median"] = None
    found, _ = measurements.truth_rows(images)
    assert found["calibre_median"]["change_completed"]["mean"] == pytest.approx(-2.0)


def test_ratio_and_correlation_with_the_peer() -> None:
    images = [
        {"ours": {ours: 2.0 * n for _, ours in PAIRS.values()}, "theirs": {theirs: n for theirs, _ in PAIRS.values()}}
        for n in (1.0, 2.0, 5.0)
    ]
    found, _ = measurements.peer_rows(images)
    assert found.keys() == DIFFERENCES.keys()
    assert found["ends"]["ratio"] == pytest.approx(2.0)
    assert found["ends"]["pearson"] == pytest.approx(1.0)


def test_pieces_mostly_off_the_truth_go() -> None:
    truth, mask = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    truth[10:13] = True
    mask[10:13, 5:30] = True
    mask[30:33, 5:50] = True
    left = measurements.kept(mask, truth, 1.0)
    assert left[:20].sum() == 75
    assert not left[20:].any()


def test_an_end_is_false_where_the_truth_has_none() -> None:
    truth, ends = np.array([[10.0, 10.0], [50.0, 50.0]]), np.array([[12.0, 13.0], [10.0, 40.0], [54.0, 54.0]])
    assert measurements.false_ends(ends, truth, 5.0) == 2
    assert measurements.false_ends(ends, np.zeros((0, 2)), 5.0) == 3
    assert measurements.false_ends(np.zeros((0, 2)), truth, 5.0) == 0


def test_finished_parts_depend_on_every_script_that_judges() -> None:
    for module in (effort, fit_scores, measurements):
        found = {getattr(value, "__module__", "") for value in vars(module).values()}
        scripts = {name for name in found if name.startswith("gap_")} - {"gap_fitting", "gap_statistics"}
        assert scripts <= set(module.SCRIPTS)
        assert len(code_hash((), module.SCRIPTS)) == 64
