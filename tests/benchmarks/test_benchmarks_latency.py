"""The figures of the latency benchmark: medians, percentiles, ratios of pairs and stalls."""

import pytest
from latency_figures import BESIDE, Figure, ratios, summaries, summary, table


def figure(seconds: float, computing: float = 0.01, longest: float = 0.02, busiest: float = 0.01) -> Figure:
    """A figure whose stalls are what they have to be."""
    return Figure(seconds, computing, longest, int(longest > 0.1), busiest, int(busiest > 0.1))


def test_a_summary_has_median_99th_percentile_and_standstills():
    found = summary([figure(0.02 * n, 0.01 * n, 0.015 * n, 0.01 * n) for n in range(1, 12)])
    assert found["times"] == 11
    assert found["p50_ms"] == pytest.approx(120.0)
    assert found["p99_ms"] == pytest.approx(218.0)
    assert (found["computing_p50_ms"], found["computing_p99_ms"]) == pytest.approx((60.0, 109.0))
    assert (found["longest_standstill_ms"], found["stalls_over_100_ms"]) == (165.0, 5)
    assert (found["most_computed_ms"], found["stalls_computed"]) == (110.0, 1)


def test_a_ratio_is_of_pairs_and_not_of_medians():
    # The machine was busy the second time: it slowed both.
    pairs = [(figure(0.2), figure(0.1)), (figure(2.0), figure(1.0)), (figure(0.3), figure(0.1))]
    assert ratios(pairs, "seconds") == [2.0, 2.0, 2.5]
    assert ratios(pairs, "computing") == [1.0, 1.0, 1.0]


def test_every_action_has_a_row_beside_what_napari_alone_takes():
    pairs = {name: [(figure(0.02 * n), figure(0.01 * n))] * 3 for n, name in enumerate(BESIDE, 1)}
    found = summaries(pairs)
    assert set(found) == {*BESIDE, *(f"napari: {other}" for other in BESIDE.values())}
    for name, other in BESIDE.items():
        assert found[name]["beside"] == f"napari: {other}"
        assert found[name]["ratio"] == [2.0, 2.0, 2.0]
    assert found["napari: edit"]["times"] == 3 * list(BESIDE.values()).count("edit")
    rows = table(found).splitlines()
    assert len(rows) == 2 + len(found)
    assert len({row.count("|") for row in rows}) == 1


def test_an_action_that_was_not_measured_has_no_row():
    assert "C" not in summaries({"A": [(figure(0.1), figure(0.1))]})
