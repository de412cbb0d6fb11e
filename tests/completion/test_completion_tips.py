"""Vessels go on where the evidence does."""

import numpy as np
import pytest

from napari_vessel.completion import GapKind, complete, draw_gap, propose_gaps
from napari_vessel.completion.refresh import refresh_effects
from napari_vessel.completion.search import look_at
from napari_vessel.jobs import run_job
from napari_vessel.topology import label_components


def vessel_and_map(drawn: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two vessels, and a probability that follows them and goes on for some pixels beyond the end of the thinner."""
    mask = np.zeros((120, 240), bool)
    mask[38:41, 20:120] = True
    mask[90:99, 5:235] = True
    probability = np.where(mask, np.float32(0.95), np.float32(0.01))
    probability[38:41, 120 : 120 + drawn] = 0.45
    return mask, probability


def test_a_vessel_goes_on_from_its_end_to_where_the_probability_does():
    mask, probability = vessel_and_map()
    found = run_job(look_at(mask, None, probability, None, None, tips=True))
    (tip,) = found.tips
    assert tip.tip
    assert len(tip.own_ends) == 1
    path = tip.bridge.path
    assert np.abs(path[:, 0] - 39).max() <= 2
    assert 117 <= path[0, 1] <= 121
    assert 154 <= path[-1, 1] <= 160


def test_a_branch_leaves_the_side_of_a_vessel():
    mask, probability = vessel_and_map(0)
    probability[8:38, 68:71] = 0.45
    found = run_job(look_at(mask, None, probability, None, None, tips=True))
    (tip,) = found.tips
    assert not tip.own_ends
    assert tip.bridge.from_side


def test_what_joins_two_vessels_or_is_shorter_than_it_is_worth_is_no_tip():
    mask, probability = vessel_and_map(5)
    assert not run_job(look_at(mask, None, probability, None, None, tips=True)).tips
    mask, probability = vessel_and_map()
    mask[38:41, 160:230] = True
    probability[mask] = 0.95
    assert not run_job(look_at(mask, None, probability, None, None, tips=True)).tips


def test_tips_are_proposed_on_demand_and_never_outside_the_field_of_view():
    mask, probability = vessel_and_map()
    fov = np.zeros_like(mask)
    fov[:, :125] = True
    assert not run_job(look_at(mask, None, probability, None, fov, tips=True)).tips
    assert not [gap for gap in propose_gaps(mask, None, probability) if gap.kind is GapKind.TIP]
    (gap,) = [gap for gap in propose_gaps(mask, None, probability, tips=True) if gap.kind is GapKind.TIP]
    assert len(gap.ends) == 1
    assert gap.link is None
    assert gap.effect.components_before == gap.effect.components_after == 2
    assert gap.effect.connected_px == gap.effect.cycles == 0
    assert gap.reasons
    (y, x), patch = draw_gap(gap, mask.shape)
    longer = mask.copy()
    longer[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
    assert label_components(longer)[1] == 2
    assert longer[39, 150]
    assert np.array_equal(complete(mask, None, probability, min_score=0.1), mask)


def test_a_tip_follows_edits():
    mask, probability = vessel_and_map()
    (gap,) = [gap for gap in propose_gaps(mask, None, probability, tips=True) if gap.kind is GapKind.TIP]
    labels, count = label_components(mask)
    assert refresh_effects([gap], labels, count)[0].effect == gap.effect
    # Its vessel is gone; it has been drawn.
    assert not refresh_effects([gap], np.zeros_like(labels), 0)
    mask[38:41, 120:160] = True
    labels, count = label_components(mask)
    assert not refresh_effects([gap], labels, count)


@pytest.mark.parametrize("sources", [{}, {"completion": True}])
def test_without_evidence_there_is_no_tip(sources):
    mask, probability = vessel_and_map()
    given = {"completion": probability} if sources else {}
    tips = [gap for gap in propose_gaps(mask, tips=True, **given) if gap.kind is GapKind.TIP]
    assert bool(tips) == bool(sources)
