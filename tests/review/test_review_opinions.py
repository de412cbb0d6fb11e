"""What verdicts teach about what an annotator takes for a vessel."""

from dataclasses import replace

import numpy as np
import pytest

from napari_vessel.completion import Gap, propose_gaps
from napari_vessel.completion.belief import Belief
from napari_vessel.completion.scoring import scoring
from napari_vessel.review.edits import Verdict, VerdictRecord
from napari_vessel.review.opinions import opinions_of


@pytest.fixture
def gap() -> Gap:
    mask = np.zeros((50, 160), bool)
    mask[22:27, 20:80] = True
    mask[22:27, 86:98] = True
    return propose_gaps(mask, mask.astype(np.float32))[0]


def said(verdict: Verdict, gap: Gap, seconds: float = 1.5, annotator: str = "ada") -> VerdictRecord:
    return VerdictRecord(verdict, annotator, "2026-01-01T00:00:00+00:00", seconds, gap.score)


def test_accepting_and_repainting_say_vessel(gap):
    opinions = opinions_of([(gap, said(Verdict.ACCEPTED, gap)), (gap, said(Verdict.REPAINTED, gap))])
    assert [(one.vessel, one.weight) for one in opinions] == [(True, 1.0), (True, 1.0)]
    assert opinions[0].facts == gap.facts


def test_a_refusal_counts_by_the_chance_that_the_piece_was_meant(gap):
    sure_link = replace(gap, link=0.99, fragment=0.4)
    sure_piece = replace(gap, link=0.4, fragment=0.99)
    meant_piece, meant_bridge = opinions_of([(g, said(Verdict.REJECTED, g)) for g in (sure_link, sure_piece)])
    assert not meant_piece.vessel
    assert meant_piece.weight == pytest.approx(0.6 / (1 - 0.99 * 0.4))
    assert meant_bridge.weight < 0.05


def test_what_was_not_looked_at_or_not_decided_says_nothing(gap):
    records = [
        said(Verdict.ACCEPTED, gap, seconds=0.0),
        said(Verdict.UNSURE, gap),
        said(Verdict.SKIPPED, gap),
        said(Verdict.ACCEPTED, gap, annotator="grace"),
    ]
    assert opinions_of([(gap, record) for record in records], "ada") == []
    assert opinions_of([(replace(gap, facts={}), said(Verdict.ACCEPTED, gap))]) == []


def test_refused_pieces_sink_in_the_next_search(gap):
    opinions = opinions_of([(gap, said(Verdict.REJECTED, gap))] * 20)
    belief = Belief(scoring("image").fragment)
    belief.learn(opinions)
    assert belief.chance(gap.facts) < 0.6 * gap.fragment
