"""The figures of the latency benchmark: medians, percentiles, ratios and stalls."""

import latency
import pytest


def test_a_summary_has_the_median_the_99th_percentile_and_their_ratios():
    ours = [(0.02 * number, 0.01 * number, number > 9) for number in range(1, 12)]
    napari = [(0.01 * number, 0.01, 0) for number in range(1, 12)]
    found = latency.summary(ours, napari)
    assert found["times"] == 11
    assert found["p50_ms"] == pytest.approx(120.0)
    assert found["p99_ms"] == pytest.approx(218.0)
    assert (found["p50_ratio"], found["p99_ratio"]) == (2.0, 2.0)
    assert found["longest_standstill_ms"] == pytest.approx(110.0)
    assert found["stalls_over_100_ms"] == 2
    assert "p50_ratio" not in latency.summary(ours, None)


def test_every_action_has_a_row_beside_what_napari_alone_takes():
    names = {*latency.BESIDE, *latency.BESIDE.values()}
    figures = {name: [(0.01 * number, 0.02, 0)] * 3 for number, name in enumerate(sorted(names), 1)}
    found = latency.summaries(figures)
    assert set(found) == names
    for name, other in latency.BESIDE.items():
        assert found[name]["beside"] == other
        expected = figures[name][0][0] / figures[other][0][0]
        assert found[name]["p50_ratio"] == pytest.approx(expected, abs=0.006)
    rows = latency.table(found).splitlines()
    assert len(rows) == 2 + len(names)
    assert len({row.count("|") for row in rows}) == 1
