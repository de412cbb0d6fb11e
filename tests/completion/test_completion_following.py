"""After any edits a search that is kept has found what a search of the whole mask finds."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from napari_vessel.completion import GapSearch, find_gaps
from napari_vessel.completion import gap_search as rooms
from napari_vessel.completion.belief import Opinion
from napari_vessel.completion.following import Following
from napari_vessel.completion.ranking import ranked
from napari_vessel.completion.search import look_at
from napari_vessel.errors import Cancelled
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.synthesis.samples import make_sample

MAPS = {"mask": "", "image": "i", "probability": "ip", "completion": "ipc"}


def blurred(mask, seed):
    """A map that follows a mask, with noise that goes on here and there beyond it."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random(mask.shape).astype(np.float32), (0, 0), 2.0) - 0.5
    return np.clip(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0) + 1.5 * noise, 0, 1).astype(np.float32)


def pictured(kind, seed, sources):
    """A broken mask, what there is to look at, and the field of view."""
    sample = make_sample(kind, seed, (130, 150))
    here = np.s_[20:110, 25:125]
    image, rng = sample.image, np.random.default_rng(seed)
    fov = None if image.fov is None else np.ascontiguousarray(image.fov[here])
    image = replace(image, pixels=np.ascontiguousarray(image.pixels[here]), fov=fov)
    mask, truth = sample.broken[here].copy(), sample.truth.mask[here] > 0
    for y, x in rng.permutation(np.argwhere(mask))[:10].tolist():
        mask[max(y - 3, 0) : y + 3, max(x - 3, 0) : x + 3] = False
    given = {
        "image": image if "i" in sources else None,
        "probability": blurred(mask, seed) if "p" in sources else None,
        "completion": blurred(truth, seed + 1) if "c" in sources else None,
        "fov": fov,
    }
    return mask, given


def edits(mask, seed, count):
    """Yield masks, each an edit away from the one before: painted, erased, a piece deleted, a blot, one taken back."""
    rng = np.random.default_rng(seed)
    before = mask
    for number in range(count):
        now = mask.astype(np.uint8)
        y, x = rng.permutation(np.argwhere(mask))[0].tolist()
        far = np.clip(np.asarray([x, y]) + rng.integers(-40, 41, 2), 0, np.asarray(mask.shape[::-1]) - 1)
        kind = (number + seed) % 5
        if kind in (0, 1):
            cv2.line(now, (x, y), far.tolist(), 1 - kind, int(rng.integers(1, 6)))
        elif kind == 2:
            cv2.floodFill(now, None, (x, y), 0, flags=8)
            if 2 * np.count_nonzero(now) < np.count_nonzero(mask):
                now = mask.astype(np.uint8)
                now[max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 0
        elif kind == 3:
            cv2.circle(now, (x, y), int(rng.integers(3, 9)), int(rng.integers(0, 2)), -1)
        else:
            now = before.astype(np.uint8)
        before, mask = mask, now > 0
        yield mask


def told(gap):
    """All that is said of a proposal, but for the numbers of components."""
    found = gap.to_json()
    found.pop("joins")
    for end in found["ends"]:
        end.pop("component")
    exact = {"score": gap.score, "link": gap.link, "fragment": gap.fragment, "facts": dict(gap.facts)}
    return found | exact | {"path": gap.path.tolist(), "widths": gap.widths.tolist()}


def pairs(gap, labels):
    """Whether the numbers of a proposal's ends are those of the components there."""
    ends = [tuple(np.rint(gap.path[at]).astype(int)) for at in (0, -1)][: len(gap.ends)]
    return [end.component for end in gap.ends] == [int(labels[end]) for end in ends]


@pytest.mark.parametrize(("kind", "seed"), [("fundus", 1), ("octa", 2)])
@pytest.mark.parametrize("sources", MAPS)
def test_after_every_edit_the_gaps_are_those_of_the_whole_mask(kind, sources, seed):
    mask, given = pictured(kind, seed, MAPS[sources])
    first = run_job(look_at(mask, *given.values(), tips=True))
    list(ranked(first))
    following = run_job(Following.begin(first, given["fov"], tips=True))
    courses, again = set(first.drafts), 0
    for edited in edits(mask, seed, 4):
        found = run_job(following.change(edited))
        whole = run_job(look_at(edited, *given.values(), tips=True, like=first))
        gaps = list(ranked(found))
        assert [told(gap) for gap in gaps] == [told(gap) for gap in ranked(whole)]
        assert all(pairs(gap, found.network.labels) for gap in gaps)
        assert found.network.count == whole.network.count
        again += len(courses & set(found.drafts))
        courses = set(found.drafts)
    # Not all of it was looked for anew.
    assert gaps
    assert again


def test_what_is_joined_far_away_makes_a_loop_of_a_gap():
    mask = np.zeros((400, 600), bool)
    mask[50:54, 20:580] = True
    mask[350:354, 20:300] = True
    mask[350:354, 312:580] = True
    search = GapSearch()
    before = run_job(search.find(mask))
    assert [gap.effect.cycles for gap in before] == [0]
    # The way round leads over the other end of the picture.
    joined = mask.copy()
    joined[50:354, 20:23] = True
    run_job(search.find(joined))
    joined[50:354, 577:580] = True
    (after,) = [gap for gap in run_job(search.find(joined)) if gap.id == before[0].id]
    assert after.effect.cycles == 1
    assert run_job(search.find(mask))[0].effect.cycles == 0


def counted(monkeypatch):
    """Count the searches of a whole mask."""
    calls = []

    def look(*args, **kwargs):
        calls.append(args)
        return look_at(*args, **kwargs)

    monkeypatch.setattr(rooms, "look_at", look)
    return calls


def test_a_whole_search_comes_first_and_after_large_edits(monkeypatch):
    whole = counted(monkeypatch)
    mask, given = pictured("octa", 3, "ip")
    search = GapSearch(given["image"], given["probability"], tips=True)
    assert run_job(search.find(np.zeros_like(mask))) == []
    first = run_job(search.find(mask))
    assert len(whole) == 2
    expected = run_job(find_gaps(mask, given["image"], given["probability"], tips=True))
    assert [told(gap) for gap in first] == [told(gap) for gap in expected]
    small = mask.copy()
    small[tuple(np.argwhere(mask)[0])] = False
    run_job(search.find(small))
    assert [told(gap) for gap in run_job(search.find(mask))] == [told(gap) for gap in expected]
    assert len(whole) == 2
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    found = run_job(search.find(wide))
    assert len(whole) == 3
    expected = run_job(find_gaps(wide, given["image"], given["probability"], tips=True))
    assert [told(gap) for gap in found] == [told(gap) for gap in expected]
    # Nothing is left, and then something again.
    assert run_job(search.find(np.zeros_like(mask))) == []
    assert run_job(search.find(mask))


def test_small_edits_that_add_up_are_searched_as_a_whole_in_the_end(monkeypatch):
    whole = counted(monkeypatch)
    mask = np.zeros((120, 300), bool)
    mask[40:44, 10:290] = True
    search = GapSearch()
    for column in range(20, 60, 4):
        mask[40:44, column : column + 4] = False
        run_job(search.find(mask))
    assert 2 <= len(whole) <= 4


def test_refused_gaps_and_opinions_count_after_an_edit_as_well():
    mask, given = pictured("octa", 4, "ip")
    search = GapSearch(given["image"], given["probability"])
    run_job(search.find(mask))
    for edited in edits(mask, 0, 2):
        gaps = run_job(search.find(edited))
    gap = next(gap for gap in gaps if gap.facts)
    assert gap.id not in {other.id for other in run_job(search.find(edited, rejected=[gap]))}
    opinions = [Opinion(gap.facts, right=False)] * 5
    (after,) = [other for other in run_job(search.find(edited, opinions=opinions)) if other.id == gap.id]
    assert after.fragment < gap.fragment
    assert [told(one) for one in run_job(search.find(edited))] == [told(one) for one in gaps]


def test_a_search_that_was_stopped_is_gone_on_with():
    mask, given = pictured("octa", 5, "ip")
    search, other = (GapSearch(given["image"], given["probability"], tips=True) for _ in range(2))
    for one in (search, other):
        run_job(one.find(mask))
    (edited,) = edits(mask, 5, 1)
    token = CancelToken()
    with pytest.raises(Cancelled):
        run_job(search.find(edited), lambda _: token.cancel(), token)
    assert [told(gap) for gap in run_job(search.find(edited))] == [told(gap) for gap in run_job(other.find(edited))]
