"""What verdicts promise about a bulk accept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import betabinom, binomtest

from napari_vessel.completion.gap import GapKind
from napari_vessel.review import Verdict, VerdictRecord
from napari_vessel.review.calibration import CUTS, Calibration, Judged, judged, most_wrong, verdicts_needed


def some(score: float, right: int, wrong: int = 0) -> list[Judged]:
    return [Judged(score, True)] * right + [Judged(score, False)] * wrong


def simulated(count: int, seed: int, shift: float = 0.0) -> list[Judged]:
    """Verdicts of an annotator who takes a proposal with chance expit(shift + log-odds of the score)."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(4, 1.5, count)
    right = rng.random(count) < expit(shift + np.log(scores / (1 - scores)))
    return [Judged(float(s), bool(r)) for s, r in zip(scores, right, strict=True)]


def test_what_was_not_looked_at_or_not_decided_says_nothing(make_gap) -> None:
    gap = make_gap(11)
    records = [
        VerdictRecord(Verdict.ACCEPTED, "ann", "t", 1.5, 0.9),
        VerdictRecord(Verdict.ACCEPTED, "ann", "t", 0.0, 0.95),
        VerdictRecord(Verdict.REPAINTED, "ann", "t", 4.0, 0.8),
        VerdictRecord(Verdict.REJECTED, "bob", "t", 1.0, 0.7),
        VerdictRecord(Verdict.UNSURE, "ann", "t", 1.0, 0.6),
        VerdictRecord(Verdict.SKIPPED, "ann", "t", 1.0, 0.5),
    ]
    verdicts = [(gap, record) for record in records]
    assert judged(verdicts) == [Judged(0.9, True), Judged(0.8, False), Judged(0.7, False)]
    assert judged(verdicts, "ann") == [Judged(0.9, True), Judged(0.8, False)]
    assert judged([(replace(gap, kind=GapKind.CUT), record) for record in records]) == []


def test_without_verdicts_the_score_is_the_chance_and_nothing_is_promised(gaps) -> None:
    calibration = Calibration.from_verdicts([])

    assert calibration.probability([0.2, 0.5, 0.9]) == pytest.approx([0.2, 0.5, 0.9], abs=0.01)
    forecast = calibration.expected_wrong(gaps, 0.8)
    assert (forecast.gaps, forecast.upper, forecast.seen) == (2, None, 0)
    assert forecast.expected == pytest.approx(0.05 + 0.15, abs=0.01)
    assert "guess" in forecast.text
    suggestion = calibration.suggest()
    assert suggestion.cut is None
    assert "Not enough verdicts" in suggestion.text
    assert "59" in suggestion.text


@pytest.mark.parametrize(("count", "shift"), [(40, 1.5), (40, -1.5), (2000, 1.5), (2000, -1.5)])
def test_the_curve_follows_the_annotator_and_never_falls(count: int, shift: float) -> None:
    calibration = Calibration.from_verdicts(simulated(count, 1, shift))

    at = np.linspace(0, 1, 400)
    chance = calibration.probability(at)
    assert (np.diff(chance) >= 0).all()
    assert chance.min() >= 0
    assert chance.max() <= 1
    true = expit(shift + np.log(0.8 / 0.2))
    found, naive = float(calibration.probability(0.8)), 0.8
    assert abs(found - true) < abs(naive - true) / 2
    assert abs(found - true) < (0.12 if count < 100 else 0.06)


def test_scores_that_are_upside_down_give_a_flat_curve() -> None:
    calibration = Calibration.from_verdicts(some(0.9, 0, 30) + some(0.2, 30))
    chance = calibration.probability([0.1, 0.2, 0.9, 0.95])
    assert (np.diff(chance) >= 0).all()
    assert chance[0] == pytest.approx(chance[-1], abs=0.15)


def test_equal_scores_have_one_chance_whatever_their_order() -> None:
    for pairs in (some(0.6, 160, 40), some(0.6, 160, 40)[::-1]):
        assert float(Calibration.from_verdicts(pairs).probability(0.6)) == pytest.approx(0.8, abs=0.02)


def test_all_right_is_never_certain() -> None:
    many = Calibration.from_verdicts(some(0.9, 500))
    assert 0.97 < float(many.probability(0.9)) < 1


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    calibration = Calibration.from_verdicts(some(0.9, 57, 3) + some(0.6, 0, 20))
    assert calibration.seen_above(0.8) == (60, 3)
    theirs = binomtest(3, 60, alternative="less").proportion_ci(0.95, method="exact").high
    assert calibration.wrong_share_bound(0.8) == pytest.approx(theirs, abs=1e-9)
    assert calibration.wrong_share_bound(0.95) == 1.0


def test_the_forecast_of_a_bulk_accept_counts_what_would_be_accepted(make_gap) -> None:
    gaps = [make_gap(11, score=0.9, name="a"), make_gap(31, score=0.7, name="b")]
    gaps.append(replace(make_gap(11, 49, 56, score=0.95, name="c"), kind=GapKind.CUT))
    forecast = Calibration.from_verdicts(some(0.9, 99, 1)).expected_wrong(gaps, 0.8)

    assert forecast.gaps == 1
    assert forecast.expected < 0.1
    assert forecast.upper == 0
    assert "1 gap," in forecast.text
    assert "1 of 100" in forecast.text


@pytest.mark.parametrize(("wrong", "seen", "count"), [(1, 10, 12), (0, 59, 100), (30, 110, 110), (5, 6, 3)])
def test_at_most_so_many_are_wrong(wrong: int, seen: int, count: int) -> None:
    at_most = most_wrong(wrong, seen, count)
    assert at_most == betabinom.ppf(0.95, count, wrong + 1, seen - wrong)
    assert most_wrong(wrong, seen, 0) == 0
    assert most_wrong(seen, seen, count) == count


def test_as_many_verdicts_as_are_needed_and_not_one_less() -> None:
    needed = verdicts_needed(0.05)
    assert needed == 59
    assert Calibration.from_verdicts(some(0.93, needed)).suggest(0.05).cut == CUTS[0]
    assert Calibration.from_verdicts(some(0.93, needed - 1)).suggest(0.05).cut is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        verdicts_needed(0.0)


def test_the_lowest_score_that_keeps_the_promise_is_suggested() -> None:
    calibration = Calibration.from_verdicts(some(0.92, 199, 1) + some(0.72, 99, 1) + some(0.61, 20, 20))
    suggestion = calibration.suggest(0.05)
    assert suggestion.cut == 0.65
    assert "2 of 300" in suggestion.text


def test_an_annotator_who_refuses_too_much_gets_no_suggestion_and_is_told_why() -> None:
    suggestion = Calibration.from_verdicts(some(0.97, 80, 20)).suggest(0.05)
    assert suggestion.cut is None
    assert "refused" in suggestion.text


def test_a_suggested_score_rarely_breaks_its_promise() -> None:
    broken = 0
    for seed in range(60):
        cut = Calibration.from_verdicts(simulated(200, seed, shift=1.0)).suggest(0.05).cut
        if cut is not None:
            fresh = simulated(4000, 10_000 + seed, shift=1.0)
            broken += np.mean([not one.right for one in fresh if one.score >= cut]) > 0.06
    assert broken <= 6
