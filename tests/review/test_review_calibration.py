"""What verdicts promise about a bulk accept, and what an audit makes of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binomtest

from napari_vessel.completion.gap import GapKind
from napari_vessel.review import Project, ReviewSession, Verdict, VerdictRecord
from napari_vessel.review.calibration import (
    CUTS,
    BulkAccepted,
    Calibration,
    Judged,
    audit_sample,
    bulk_accepted,
    confirmation,
    judged,
    measured_error,
    verdicts_needed,
)


def some(score: float, right: int, wrong: int = 0) -> list[Judged]:
    return [Judged(score, True)] * right + [Judged(score, False)] * wrong


def simulated(count: int, seed: int, shift: float = 0.0) -> list[Judged]:
    """Verdicts of an annotator who takes a proposal with chance expit(shift + log-odds of the score)."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(4, 1.5, count)
    right = rng.random(count) < expit(shift + np.log(scores / (1 - scores)))
    return [Judged(float(s), bool(r)) for s, r in zip(scores, right, strict=True)]


def test_what_was_not_looked_at_or_not_decided_says_nothing() -> None:
    records = [
        VerdictRecord(Verdict.ACCEPTED, "ann", "t", 1.5, 0.9),
        VerdictRecord(Verdict.ACCEPTED, "ann", "t", 0.0, 0.95),
        VerdictRecord(Verdict.REPAINTED, "ann", "t", 4.0, 0.8),
        VerdictRecord(Verdict.REJECTED, "bob", "t", 1.0, 0.7),
        VerdictRecord(Verdict.UNSURE, "ann", "t", 1.0, 0.6),
        VerdictRecord(Verdict.SKIPPED, "ann", "t", 1.0, 0.5),
    ]
    assert judged(records) == [Judged(0.9, True), Judged(0.8, False), Judged(0.7, False)]
    assert judged(records, "ann") == [Judged(0.9, True), Judged(0.8, False)]


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
    assert forecast.expected < (forecast.upper or 0) < 0.06
    assert "1 gap," in forecast.text
    assert "1 of 100" in forecast.text


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


# The audit


def test_an_audit_of_a_real_session(session: ReviewSession) -> None:
    edits = []
    session.edited.connect(lambda edit, box: edits.append(edit))
    session.decide("a", Verdict.ACCEPTED, 2.0)
    session.accept_above(0.7)
    drawn = session.labels.copy()
    done = bulk_accepted(edits, "eye")
    assert {one.gap.id for one in done} == {"b", "c"}
    assert all(one.waiting for one in audit_sample(done))
    assert measured_error(done).text == "nothing audited, 2 to go"

    session.apply(confirmation(done[0].gap, session.verdicts["b"], "ann", 1.0))
    assert np.array_equal(session.labels, drawn)
    assert session.verdicts["b"].verdict is Verdict.ACCEPTED
    assert judged(session.verdicts.values()) == [Judged(0.95, True), Judged(0.85, True)]
    session.decide("c", Verdict.REJECTED, 1.0)
    assert session.labels[31, 27] == 0
    assert session.labels[11, 52] == 1

    found = measured_error(audit_sample(bulk_accepted(edits, "eye")))
    assert (found.audited, found.wrong, found.waiting) == (2, 1, 0)
    assert found.share == 0.5
    session.undo()
    session.undo()
    assert session.verdicts["b"].seconds == 0.0
    assert np.array_equal(session.labels, drawn)
    session.decide("b", Verdict.REJECTED)
    assert session.labels[11, 52] == 0, "a confirmed drawing can be taken back"


def test_a_confirmed_gap_that_is_refused_after_all_is_taken_back(session: ReviewSession) -> None:
    before = session.labels.copy()
    session.accept_above(0.9)
    session.apply(confirmation(session.gaps[0], session.verdicts["a"], "ann", 1.0))
    session.decide("a", Verdict.REJECTED, 1.0)
    assert np.array_equal(session.labels, before)


def test_what_was_opened_again_is_no_longer_audited(session: ReviewSession) -> None:
    edits = []
    session.edited.connect(lambda edit, box: edits.append(edit))
    session.accept_above(0.8)
    session.reopen("a")
    assert [one.gap.id for one in bulk_accepted(edits)] == ["b"]


def test_the_audit_outlives_a_restart(project: Project, gaps) -> None:
    (image,) = project.images()
    session = project.open_session(image.id, "ann")
    session.set_gaps(gaps)
    assert project.bulk_accepted(image.id) == []
    session.decide("d", Verdict.ACCEPTED, 1.0)
    session.accept_above(0.7)
    session.undo()
    assert project.bulk_accepted(image.id) == []
    session.redo()
    session.apply(confirmation(gaps[0], session.verdicts["a"], "ann", 1.0))
    session.decide("b", Verdict.REJECTED, 1.0)
    folder = project.folder
    project.close()

    with Project.open(folder) as again:
        done = again.bulk_accepted(image.id)
        assert {one.gap.id: one.later for one in done} == {"a": Verdict.ACCEPTED, "b": Verdict.REJECTED, "c": None}
        assert {one.image for one in done} == {image.id}
        assert measured_error(audit_sample(done)).text == "1 of 2 wrong: 50.0 % (1.3 to 98.7), 1 to go"
        records = [record for _, record in again.verdicts(image.id)]
        assert sorted(one.score for one in judged(records)) == [0.65, 0.85, 0.95]


def many(make_gap, count: int) -> list[BulkAccepted]:
    gap = make_gap(11)
    return [BulkAccepted("eye", replace(gap, id=f"gap-{n}")) for n in range(count)]


def test_a_twentieth_is_drawn_and_never_less_than_ten(make_gap) -> None:
    assert len(audit_sample(many(make_gap, 7))) == 7
    assert len(audit_sample(many(make_gap, 60))) == 10
    large = many(make_gap, 4000)
    assert 150 < len(audit_sample(large)) < 250
    assert len(audit_sample(large, share=1.0)) == 4000


def test_the_drawing_is_the_same_every_time_and_depends_on_the_seed(make_gap) -> None:
    accepted = many(make_gap, 1000)
    first = [one.gap.id for one in audit_sample(accepted)]
    assert [one.gap.id for one in audit_sample(accepted[::-1])] == first
    assert [one.gap.id for one in audit_sample(accepted, seed=1)] != first
    assert set(first) <= {one.gap.id for one in audit_sample([*accepted, *many(make_gap, 2000)[1000:]])}
    numbers = sorted(int(name.partition("-")[2]) for name in first)
    assert numbers[0] < 150
    assert numbers[-1] > 850


def test_the_measured_error_has_an_exact_interval(make_gap) -> None:
    told = [Verdict.REJECTED] * 2 + [Verdict.REPAINTED] + [Verdict.ACCEPTED] * 37 + [Verdict.UNSURE, None]
    sample = [replace(one, later=verdict) for one, verdict in zip(many(make_gap, 42), told, strict=True)]

    found = measured_error(sample)

    assert (found.audited, found.wrong, found.waiting, found.unsure) == (40, 3, 1, 1)
    interval = binomtest(3, 40).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert found.text == "3 of 40 wrong: 7.5 % (1.6 to 20.4), 1 to go"
