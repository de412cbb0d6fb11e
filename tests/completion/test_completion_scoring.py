"""Scores are sums of terms that can be read, and follow one annotator's decisions."""

import itertools
import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from napari_vessel.completion import Gap, GapKind, find_gaps, propose_gaps
from napari_vessel.completion.belief import LINKED, Belief, Beliefs, Opinion
from napari_vessel.completion.ranking import expected_gain, rescored
from napari_vessel.completion.scoring import SOURCES, Additive, Term, chance, log_odds, scoring, short
from napari_vessel.jobs import run_job

COMBINATIONS = ["+".join(c) for n in range(len(SOURCES) + 1) for c in itertools.combinations(SOURCES, n)]


def bars(*lengths: int, gap: int = 6, width: int = 5) -> np.ndarray:
    """Bars in one line, one after the other."""
    mask = np.zeros((60, sum(lengths) + gap * len(lengths) + 80), bool)
    x = 40
    for length in lengths:
        mask[28 : 28 + width, x : x + length] = True
        x += length + gap
    return mask


@pytest.mark.parametrize("sources", COMBINATIONS)
def test_there_is_a_model_for_whatever_there_is_to_look_at(sources):
    link, fragment = scoring(sources).link, scoring(sources).fragment
    assert {"length", "turn", "turn_far"} <= set(link.terms)
    # Of image, probability and completion map, nothing is asked that is not there.
    if "image" not in sources:
        assert not {"ridge", "ridge_worst", "ridge_share", "contrast", "steadiness"} & set(link.terms)
    assert any(name.startswith("likely") for name in link.terms) == ("probability" in sources)
    assert any(name.startswith("completion") for name in link.terms) == ("completion" in sources)
    assert "links" in fragment.terms


@pytest.mark.parametrize("sources", COMBINATIONS)
def test_no_reason_speaks_the_wrong_way_round(sources):
    link = scoring(sources).link
    for name, sign in (
        ("length", -1),
        ("turn", -1),
        ("turn_far", -1),
        ("facing", 1),
        ("likely_least", 1),
        ("ridge", 1),
    ):
        if name in link.terms:
            assert (np.diff(link.terms[name].values) * sign >= -1e-9).all(), name


def test_terms_are_level_beyond_their_knots_and_silent_where_nothing_is_known():
    term = Term(np.array([0.0, 1.0, 3.0]), np.array([-1.0, 1.0, 2.0]))
    assert [term(x) for x in (-5.0, 0.5, 2.0, 9.0)] == pytest.approx([-1.0, 0.0, 1.5, 2.0])
    assert term(float("nan")) == 0.0


def test_a_model_survives_json():
    model = scoring("image").link
    again = Additive.from_json(json.loads(json.dumps(model.to_json())))
    seen = {"length": 3.0, "turn": 0.1, "turn_far": 0.0, "facing": 0.4, "ridge_worst": 0.3}
    assert again.logit(seen) == pytest.approx(model.logit(seen), abs=1e-3)
    shipped = json.loads(files("napari_vessel.completion").joinpath("scores.json").read_text(encoding="utf-8"))
    assert set(shipped["looking_at"]) == set(COMBINATIONS)


def test_the_score_is_the_chance_that_the_link_and_both_sides_hold():
    model = scoring("image")
    mask = bars(60, 20, 60)
    gaps = propose_gaps(mask, mask.astype(np.float32))
    assert gaps
    for gap in gaps:
        assert gap.calibrated
        assert gap.link is not None
        assert gap.fragment is not None
        # The other side is a vessel at least as surely.
        assert model.score(gap.link, [gap.fragment] * 2) <= gap.score <= model.score(gap.link, [gap.fragment])
    assert model.score(0.9, []) > model.score(0.9, [0.9]) > model.score(0.9, [0.9, 0.2]) > model.score(0.3, [0.9, 0.2])


@pytest.mark.parametrize("looking", [False, True])
def test_reasons_add_up_to_the_score(looking):
    mask = bars(60, 60)
    (gap,) = propose_gaps(mask, mask.astype(np.float32) if looking else None)
    model = scoring("image" if looking else "")
    of_sides = [reason.contribution for reason in gap.reasons if "is a vessel" in reason.text]
    told = sum(reason.contribution for reason in gap.reasons) - sum(of_sides)
    ordinary = model.both[0] + model.both[1] * model.link.intercept if looking else model.link.intercept
    # Those too slight to be told are each under .05.
    assert log_odds(gap.score / np.exp(sum(of_sides))) == pytest.approx(ordinary + told, abs=0.25)
    assert all(contribution < 0 for contribution in of_sides)


def test_shorter_and_straighter_is_likelier_one_vessel():
    near, far = (propose_gaps(bars(60, 60, gap=gap))[0].link for gap in (5, 40))
    assert near > far
    bent = bars(60, 60, gap=12)
    bent[:, 106:] = np.roll(bent[:, 106:], 9, axis=0)
    assert propose_gaps(bars(60, 60, gap=12))[0].link > propose_gaps(bent)[0].link


FACTS = {"size": 1.0, "area": 0.5, "slender": 1.0, "links": 1.0}


def test_without_decisions_a_belief_is_what_was_shipped():
    prior = scoring("").fragment
    belief = Belief(prior)
    belief.learn([])
    assert belief.chance(FACTS) == pytest.approx(chance(prior.logit(FACTS)))


@pytest.mark.parametrize("vessel", [True, False])
def test_decisions_move_a_belief_a_little_and_many_move_it_far(vessel):
    belief = Belief(scoring("").fragment)
    before = belief.chance(FACTS)
    moved = []
    for _ in range(4):
        belief.learn([Opinion(FACTS, vessel)] * 5)
        moved.append(belief.chance(FACTS))
    steps = np.diff([before, *moved]) * (1 if vessel else -1)
    assert (steps > 0).all()
    assert abs(log_odds(moved[-1]) - log_odds(before)) > 0.8


def test_a_belief_learns_what_this_annotator_looks_at():
    rng = np.random.default_rng(0)
    belief = Belief(scoring("").fragment)
    sizes = rng.uniform(-2, 6, 60)
    belief.learn([Opinion({**FACTS, "size": size}, size < 1.5) for size in sizes])
    small, large = (belief.chance({**FACTS, "size": size}) for size in (-1.5, 5.5))
    assert small > large + 0.3


def test_an_unsure_refusal_counts_for_less():
    sure, unsure = Belief(scoring("").fragment), Belief(scoring("").fragment)
    sure.learn([Opinion(FACTS, False)] * 3)
    unsure.learn([Opinion(FACTS, False, 0.2)] * 3)
    assert sure.chance(FACTS) < unsure.chance(FACTS)


def test_open_proposals_are_scored_anew_after_a_decision():
    mask = bars(60, 9, 60)
    gaps = propose_gaps(mask, mask.astype(np.float32))
    refusals = [Opinion(gap.facts, False) for gap in gaps] * 10
    again = rescored(gaps, Beliefs(refusals))
    assert [gap.id for gap in again] == [gap.id for gap in gaps]
    assert all(new.score < 0.6 * old.score for new, old in zip(again, gaps, strict=True)), (
        "what is taught counts in full"
    )
    assert [gap.link for gap in again] == [gap.link for gap in gaps]
    told = [reason.text for reason in again[0].reasons if "less certain" in reason.text]
    assert told == [f"the less certain side is a vessel: {again[0].fragment:.2f}".replace(" 0.", " .")]


def test_a_score_depends_on_the_decisions_and_not_on_the_way_there():
    mask = bars(60, 9, 60)
    gaps = propose_gaps(mask, mask.astype(np.float32))
    elsewhere, here = [Opinion(gaps[0].facts, True)] * 3, [Opinion(gaps[-1].facts, False)] * 2
    first = Beliefs(elsewhere)
    once = rescored(gaps, Beliefs([*elsewhere, *here]))
    twice = rescored(rescored(gaps, first), first.after(here))
    back = rescored(twice, Beliefs())
    assert [g.score for g in twice] == pytest.approx([g.score for g in once], abs=1e-6)
    assert [g.score for g in back] == pytest.approx([g.score for g in gaps], abs=1e-6)


@pytest.mark.parametrize("seen", [False, True])
def test_verdicts_on_links_move_the_links(seen):
    mask = bars(60, 9, 60)
    image = mask.astype(np.float32) if seen else None
    gaps = propose_gaps(mask, image)
    refused, taken = ([Opinion({LINKED: gap.linked}, right) for gap in gaps] * 8 for right in (False, True))
    lower, higher = (rescored(gaps, Beliefs(opinions)) for opinions in (refused, taken))
    for low, gap, high in zip(lower, gaps, higher, strict=True):
        assert low.link < gap.link < high.link
        assert low.score < gap.score < high.score
        assert low.fragment == gap.fragment
        assert low.linked == gap.linked
    (reason,) = (reason for reason in lower[0].reasons if reason.text == "what you accepted and refused so far")
    moved = log_odds(lower[0].link) - log_odds(gaps[0].link)
    assert reason.contribution == pytest.approx(moved * (scoring("image").both[1] if seen else 1.0))
    assert [g.score for g in rescored(lower, Beliefs())] == pytest.approx([g.score for g in gaps], abs=1e-6)
    anew = {gap.id: gap for gap in run_job(find_gaps(mask, image, opinions=taken))}
    assert [anew[g.id].score for g in higher] == pytest.approx([g.score for g in higher], abs=1e-6)
    assert [anew[g.id].link for g in higher] == pytest.approx([g.link for g in higher], abs=1e-6)


def test_links_and_pieces_are_learnt_apart():
    beliefs = Beliefs([Opinion({LINKED: 1.0}, False)] * 5)
    assert beliefs.about("").chance(FACTS) == Belief(scoring("").fragment).chance(FACTS)
    odds = np.asarray([-1.0, 2.0])
    assert (beliefs.links(odds) < odds).all()
    assert Beliefs([Opinion(FACTS, False)] * 5).links(odds) is odds


def test_what_is_not_known_stays_as_it_is():
    mask = bars(60, 9, 60)
    blind = propose_gaps(mask)
    assert rescored(blind, Beliefs([Opinion(FACTS, False)] * 9)) == blind


def test_what_hangs_on_a_proposal_counts_beside_its_chance():
    mask = bars(60, 9, 60)
    gaps = propose_gaps(mask, mask.astype(np.float32))
    gap = gaps[0]
    longer = replace(gap, effect=replace(gap.effect, connected_px=gap.effect.connected_px * 3))
    surer = replace(gap, score=min(1.0, gap.score * 1.01))
    loop = replace(gap, effect=replace(gap.effect, connected_px=0.0))
    assert expected_gain(loop) == gap.score
    assert expected_gain(replace(gap, kind=GapKind.CUT)) == gap.score
    assert expected_gain(gap) < expected_gain(surer) < expected_gain(longer) < 3 * expected_gain(gap)


def test_facts_survive_json():
    mask = bars(60, 60)
    (gap,) = propose_gaps(mask, mask.astype(np.float32))
    assert gap.facts
    assert Gap.from_json(json.loads(json.dumps(gap.to_json()))).facts == pytest.approx(gap.facts, abs=1e-4)
    assert Gap.from_json(gap.to_json()).linked == pytest.approx(gap.linked, abs=1e-4)
    old = {name: value for name, value in gap.to_json().items() if name not in ("facts", "linked")}
    assert Gap.from_json(old).facts == {}
    assert rescored([Gap.from_json(old)], Beliefs([Opinion({LINKED: 0.0}, False)]))[0].score == old["score"]


def test_the_probability_that_is_told_is_the_one_on_the_way():
    mask = bars(60, 60, gap=20)
    probability = np.full(mask.shape, 0.02, np.float32)
    probability[28:33, 40:180] = 0.9
    (gap,) = propose_gaps(mask, probability=probability)
    assert "probability .90, .90 at the weakest" in [reason.text for reason in gap.reasons]


@pytest.mark.parametrize("linked", [3.0, 5.0, 11.0])
def test_however_many_decisions_go_against_what_was_expected_they_teach(linked):
    refused = Opinion({LINKED: linked}, False)
    at_once = Beliefs([refused] * 50).links(np.asarray([linked]))[0]
    assert at_once < 0.5 * linked
    one_by_one = Beliefs()
    for _ in range(50):
        one_by_one = one_by_one.after([refused])
    assert one_by_one.links(np.asarray([linked]))[0] == pytest.approx(at_once, abs=1e-6)


def test_a_chance_is_written_in_three_characters():
    assert [short(value) for value in (0.0, 0.046, 0.93, 0.994, 0.995, 1.0)] == [
        ".00",
        ".05",
        ".93",
        ".99",
        "1.0",
        "1.0",
    ]
