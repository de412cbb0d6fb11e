"""What holds for every pair of masks, and the same figures computed another, slower way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_vessel.topology.metrics import METRICS, Comparison, area_under_curve, score_row

EITHER_WAY = ("dice", "jaccard", "accuracy", "mcc", "cldice", "cal_a", "cal_l")
ERRORS = ("betti0_error", "betti1_error", "betti0_error_64", "betti1_error_64", "betti_matching0", "betti_matching1")


@st.composite
def cases(draw):
    """Draw two masks of one shape, a field of view and a probability, each of which may be missing or empty."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=16))
    masks = arrays(np.bool_, shape, elements=st.booleans())
    levels = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    fov = draw(st.none() | masks)
    probability = draw(st.none() | arrays(np.float32, shape, elements=levels))
    return draw(masks), draw(masks), fov, probability


@given(cases())
@settings(max_examples=60, deadline=None)
def test_every_figure_is_a_number_in_its_range(case):
    for name, value in score_row(Comparison(*case)).items():
        if value is None:
            assert name == "auc"
        elif name in ERRORS:
            assert 0 <= value < np.inf
        else:
            assert (-1 if name == "mcc" else 0) <= value <= 1 + 1e-12


@given(cases())
@settings(max_examples=40, deadline=None)
def test_a_mask_is_perfect_for_itself(case):
    mask, _, fov, _ = case
    comparison = Comparison(mask, mask, fov, mask.astype(np.float32))
    for metric in METRICS:
        value = metric.compute(comparison)
        assert value == pytest.approx(metric.best) or (metric.name == "auc" and value is None)


@given(cases())
@settings(max_examples=40, deadline=None)
def test_prediction_and_truth_may_be_swapped_where_both_count_the_same(case):
    mask, truth, fov, _ = case
    one, other = score_row(Comparison(mask, truth, fov)), score_row(Comparison(truth, mask, fov))
    for name in (*EITHER_WAY, *ERRORS):
        assert one[name] == pytest.approx(other[name]), name
    assert one["sensitivity"] == other["precision"]


@given(cases())
@settings(max_examples=40, deadline=None)
def test_overlaps_agree_with_sets_of_pixels(case):
    mask, truth, fov, _ = case
    inside = {tuple(p) for p in np.argwhere(np.ones_like(mask) if fov is None else fov)}
    ours = {tuple(p) for p in np.argwhere(mask)} & inside
    theirs = {tuple(p) for p in np.argwhere(truth)} & inside
    row = score_row(Comparison(mask, truth, fov))
    if ours | theirs:
        assert row["dice"] == pytest.approx(2 * len(ours & theirs) / (len(ours) + len(theirs)))
        assert row["jaccard"] == pytest.approx(len(ours & theirs) / len(ours | theirs))
        near = [
            p
            for p in ours | theirs
            for other in [theirs if p in ours else ours]
            if p in ours & theirs or any(abs(p[0] - q[0]) + abs(p[1] - q[1]) <= 2 for q in other)
        ]
        assert row["cal_a"] == pytest.approx(len(near) / len(ours | theirs))
    if inside:
        assert row["accuracy"] == pytest.approx(1 - len(ours ^ theirs) / len(inside))
    called, true = (np.array([p in s for p in sorted(inside)]) for s in (ours, theirs))
    if inside and 0 < called.sum() < len(inside) and 0 < true.sum() < len(inside):
        assert row["mcc"] == pytest.approx(np.corrcoef(called, true)[0, 1])


@given(
    arrays(np.float32, st.integers(2, 40), elements=st.floats(0, 1, width=32)).flatmap(
        lambda p: st.tuples(st.just(p), arrays(np.bool_, p.shape))
    )
)
@settings(max_examples=60, deadline=None)
def test_the_area_under_the_curve_is_the_chance_of_the_right_order(case):
    probability, truth = case
    above, below = probability[truth], probability[~truth]
    expected = None
    if above.size and below.size:
        expected = (above[:, None] > below).mean() + 0.5 * (above[:, None] == below).mean()
    assert area_under_curve(probability, truth) == (None if expected is None else pytest.approx(expected))


SOME = np.zeros((70, 66), bool)
SOME[10:12, 5:60] = SOME[5:60, 40] = True
MASKS = {"empty": np.zeros_like(SOME), "full": np.ones_like(SOME), "some": SOME}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("truth", MASKS)
@pytest.mark.filterwarnings("error")
def test_no_combination_of_empty_and_full_gives_a_nan_or_a_warning(mask, truth):
    fields = [None, *MASKS.values()]
    chances = [None, np.zeros(SOME.shape), np.ones(SOME.shape), np.random.default_rng(0).random(SOME.shape)]
    for fov, probability in itertools.product(fields, chances):
        row = score_row(Comparison(MASKS[mask], MASKS[truth], fov, probability))
        assert all(value is None or np.isfinite(value) for value in row.values())
        assert (row["auc"] is not None) == (
            probability is not None and len(np.unique(MASKS[truth][SOME | True if fov is None else fov])) == 2
        )
        assert [name for name, value in row.items() if value is None and name != "auc"] == []
