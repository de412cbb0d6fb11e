"""Of the ways that leave one end of a vessel, each speaks against the others."""

import numpy as np
import pytest

from napari_vessel.completion.drafts import Draft
from napari_vessel.completion.ranking import judge
from napari_vessel.completion.rivals import rivalry, rivals_of
from napari_vessel.completion.search import LookedAt, look_at
from napari_vessel.jobs import run_job


def looked(mask: np.ndarray) -> LookedAt:
    found = run_job(look_at(mask, None, None, None, None))
    assert found is not None
    return found


def fork(apart: int = 14) -> np.ndarray:
    """A bar that ends before two others, one straight ahead and one beside that."""
    mask = np.zeros((90, 240), bool)
    mask[40:45, 20:100] = True
    mask[40:45, 112:220] = True
    mask[40 + apart : 45 + apart, 112:220] = True
    return mask


def leading_to(drafts: list[Draft], component: int, other: int) -> list[int]:
    return [n for n, d in enumerate(drafts) if {d.start.component, d.goal_component} == {component, other}]


def test_courses_from_one_end_to_two_places_are_rivals_and_two_ways_to_one_place_are_not():
    found = looked(fork())
    labels = found.network.labels
    left, ahead, beside = (int(labels[point]) for point in ((42, 60), (42, 160), (56, 160)))
    rivals = rivals_of(found.drafts, found.network.calibre)
    to_ahead, to_beside = leading_to(found.drafts, left, ahead), leading_to(found.drafts, left, beside)
    assert to_ahead
    assert to_beside
    end_to_end = [n for n in to_ahead if len(found.drafts[n].own_ends) == 2]
    for one in end_to_end:
        assert set(rivals[one]) & set(to_beside)
        assert not set(rivals[one]) & set(end_to_end)
    for one, others in enumerate(rivals):
        assert all(one in rivals[other] for other in others)


def test_rivalry_is_nothing_without_rivals_and_grows_with_each():
    logits = np.asarray([0.0, 2.0, -1.0])
    alone, beside_one, beside_two = rivalry(logits, [[], [0], [0, 1]])
    assert alone == 0.0
    assert beside_one == pytest.approx(np.log(2.0))
    assert beside_two == pytest.approx(np.log(1.0 + 1.0 + np.exp(2.0)))


def test_a_likely_way_makes_another_from_the_same_end_less_likely():
    crowded, clear = looked(fork()), fork()
    clear[40:45, 112:220] = False
    lonely = looked(clear)

    def best(found: LookedAt) -> float:
        labels = found.network.labels
        left, beside = int(labels[42, 60]), int(labels[56, 160])
        judged = judge(found.drafts, found.network, found.evidence)
        return max(judged[n].link for n in leading_to(found.drafts, left, beside))

    assert best(crowded) < best(lonely)
