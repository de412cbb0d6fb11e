"""A completion map: what it draws is proposed, paths follow it, and scores rise and fall with it."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from napari_vessel.completion import Gap, GapKind, complete_with_gaps, draw_gap, find_gaps, propose_gaps
from napari_vessel.errors import Cancelled, InputError
from napari_vessel.images import Modality, VesselImage
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.topology import label_components

SHAPE = (120, 170)


def drawn(mask: np.ndarray, *lines: list[tuple[int, int]], width: int = 4, level: float = 0.95) -> np.ndarray:
    """A completion map: the mask, and lines through (x, y) points."""
    field = mask.astype(np.float32) * np.float32(0.97)
    for line in lines:
        shown = np.zeros(mask.shape, np.float32)
        cv2.polylines(shown, [np.asarray(line, np.int32)], False, level, width)
        field = np.maximum(field, shown)
    return np.clip(cv2.GaussianBlur(field, (0, 0), 0.8), 0, 1)


def trunks() -> np.ndarray:
    """Two vessels that leave the picture at both sides, so that neither has an end."""
    mask = np.zeros(SHAPE, bool)
    mask[18:27, :] = True
    mask[88:96, :] = True
    return mask


BEND = [(60, 24), (62, 40), (85, 52), (88, 70), (78, 90)]


def closed(mask: np.ndarray, *gaps: Gap) -> np.ndarray:
    after = mask.copy()
    for gap in gaps:
        (y, x), patch = draw_gap(gap, mask.shape)
        after[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
    return after


def test_what_the_map_draws_between_vessels_without_ends_is_proposed():
    mask = trunks()
    assert propose_gaps(mask) == []

    (gap,) = propose_gaps(mask, completion=drawn(mask, BEND))

    assert gap.kind is GapKind.VIG
    assert sorted(gap.joins) == [1, 2]
    assert not any(end.is_end_point for end in gap.ends)
    assert (gap.effect.components_before, gap.effect.components_after, gap.effect.cycles) == (2, 1, 0)
    assert label_components(closed(mask, gap))[1] == 1
    # Ends on the vessels, and nowhere else.
    under = mask[tuple(np.rint(gap.path).astype(int).T)]
    assert under[0]
    assert under[-1]
    assert not under[1:-1].any()
    # Along the bend, as wide as it.
    course = np.concatenate([np.linspace(a, b, 40) for a, b in pairwise(BEND)])[:, ::-1]
    away = np.hypot(*(gap.path[:, None, :] - course[None]).transpose(2, 0, 1)).min(axis=1)
    assert away.max() <= 2
    assert gap.widths.mean() == pytest.approx(4, abs=1.5)
    assert gap.widths.max() <= 9
    assert gap.completion > 0.8
    assert f"completion {gap.completion:.2f} along the way".replace(" 0.", " .") in [r.text for r in gap.reasons]
    assert not any("spot" in reason.text for reason in gap.reasons)


def test_a_broad_piece_is_drawn_no_broader_than_its_neighbours():
    mask = trunks()

    (gap,) = propose_gaps(mask, completion=drawn(mask, [(80, 20), (80, 92)], width=21))

    assert gap.widths.max() <= 9


def test_a_ring_is_joined_where_the_map_joins_it():
    mask = np.zeros(SHAPE, np.uint8)
    cv2.circle(mask, (120, 60), 30, 1, 5)
    mask[:, 20:26] = 1
    mask = mask > 0

    (gap,) = [gap for gap in propose_gaps(mask, completion=drawn(mask, [(24, 60), (92, 60)])) if gap.kind == "vig"]

    assert abs(gap.path[:, 0] - 60).max() <= 2
    assert label_components(closed(mask, gap))[1] == 1


def test_a_loop_is_flagged_and_a_rim_is_none():
    mask = trunks()
    mask[18:96, 20:27] = True
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) * np.float32(0.9)

    assert propose_gaps(mask, completion=rim) == []
    (gap,) = propose_gaps(mask, completion=np.maximum(rim, drawn(mask, [(140, 22), (140, 92)])))

    assert gap.kind is GapKind.VIG
    assert (gap.effect.cycles, gap.effect.components_before, gap.effect.components_after) == (1, 1, 1)
    assert gap.effect.connected_px == 0
    assert "closes a loop" in [reason.text for reason in gap.reasons]


def test_the_space_between_two_neighbours_is_no_vessel():
    mask = np.zeros(SHAPE, bool)
    mask[30:36, :] = True
    mask[39:45, :] = True
    filled = np.zeros(SHAPE, np.float32)
    filled[28:47] = 0.9

    assert propose_gaps(mask, completion=filled) == []


def test_a_piece_at_one_vessel_is_left_alone():
    mask = trunks()

    assert propose_gaps(mask, completion=drawn(mask, [(80, 22), (80, 60)])) == []
    assert propose_gaps(mask, completion=drawn(mask, [(40, 45), (120, 65)])) == []


def test_a_lost_junction_is_joined_on_all_sides():
    mask = np.zeros(SHAPE, bool)
    mask[18:25, :] = True
    mask[95:102, :] = True
    mask[:, 150:157] = True
    mask[18:102, 149:158] = False
    mask[25:95, 140:] = False
    mask[57:64, 140:170] = True
    map_ = drawn(mask, [(60, 22), (80, 60), (60, 98)], [(80, 60), (142, 60)])

    gaps = [gap for gap in propose_gaps(mask, completion=map_) if gap.kind is GapKind.VIG]

    before, after = label_components(mask)[1], label_components(closed(mask, *gaps))[1]
    assert len(gaps) == 2
    assert before - after == 2


def broken_bar() -> np.ndarray:
    mask = np.zeros((70, 220), bool)
    mask[32:37, 30:90] = True
    mask[32:37, 130:190] = True
    return mask


def test_where_ends_are_paired_nothing_is_proposed_twice():
    mask = broken_bar()

    (gap,) = propose_gaps(mask, completion=drawn(mask, [(88, 34), (132, 34)], width=5))

    assert gap.kind is GapKind.BRIDGE
    assert gap.completion > 0.8


def test_the_path_follows_the_map():
    mask = broken_bar()
    course = np.array([[x, 34 + 9 * np.sin(np.pi * (x - 90) / 40) ** 2] for x in range(90, 131)])
    noise = np.random.default_rng(0).normal(0.6, 0.01, mask.shape).astype(np.float32)
    image = VesselImage(np.where(mask, noise - 0.2, noise).astype(np.float32), modality=Modality.FUNDUS)
    map_ = drawn(mask, np.rint(course).astype(int).tolist(), width=5)

    gap = propose_gaps(mask, image, completion=map_)[0]

    away = np.hypot(*(gap.path[:, None, :] - course[None, :, ::-1]).transpose(2, 0, 1)).min(axis=1)
    # Within the five pixels that are drawn.
    assert away[3:-3].max() <= 2.5
    mask[32:37, 100:130] = True
    straight = propose_gaps(mask, image)[0]
    assert np.ptp(straight.path[:, 0]) <= 4


def test_the_score_rises_with_the_map_and_falls_where_it_says_nothing():
    mask = broken_bar()
    mask[32:37, 104:130] = True
    noise = np.random.default_rng(0).normal(0.6, 0.01, mask.shape).astype(np.float32)
    image = VesselImage(np.where(mask, noise - 0.2, noise).astype(np.float32), modality=Modality.FUNDUS)
    line = [(88, 34), (106, 34)]

    scores = [
        propose_gaps(mask, image, completion=drawn(mask, line, width=5, level=level))[0].score
        for level in (0.0, 0.3, 0.6, 0.95)
    ]
    without = propose_gaps(mask, image)[0]
    broken = drawn(mask, line, width=5)
    broken[:, 94:100] = 0

    assert scores == sorted(scores)
    assert scores[0] < without.score < scores[-1]
    assert propose_gaps(mask, image, completion=broken)[0].score < scores[-1]
    assert without.completion is None
    assert not any("along the way" in reason.text for reason in without.reasons)


@pytest.mark.parametrize("kind", ["fundus", "octa"])
def test_proposals_of_both_kinds_share_one_list(kind):
    sample = make_sample(kind, seed=2, shape=(300, 300))
    rng = np.random.default_rng(0)
    field = cv2.GaussianBlur(sample.truth.mask.astype(np.float32), (0, 0), 1.0)
    for _ in range(12):
        a, b = rng.integers(20, 280, (2, 2))
        cv2.line(field, a.tolist(), b.tolist(), 0.8, 2)

    gaps = propose_gaps(sample.broken, sample.image, completion=field)

    assert {gap.kind for gap in gaps} == {GapKind.BRIDGE, GapKind.VIG}
    assert [gap.score for gap in gaps] == sorted((gap.score for gap in gaps), reverse=True)
    assert len({gap.id for gap in gaps}) == len(gaps)
    labels, count = label_components(sample.broken)
    pixels: dict[tuple[int, int], GapKind] = {}
    for gap in gaps:
        assert label_components(closed(sample.broken, gap))[1] == gap.effect.components_after
        assert gap.effect.components_before == count
        assert gap.joins == tuple(labels[tuple(np.rint(end).astype(int))] for end in (gap.path[0], gap.path[-1]))
        own = {tuple(pixel) for pixel in np.rint(gap.path).astype(int).tolist()}
        # Two kinds never share a pixel; two ways along one piece may.
        assert all(pixels.get(pixel, gap.kind) is gap.kind for pixel in own)
        if gap.kind is GapKind.BRIDGE:
            assert not own & pixels.keys()
        pixels |= dict.fromkeys(own, gap.kind)


def test_a_refused_piece_is_not_proposed_again_and_survives_json():
    mask = trunks()
    map_ = drawn(mask, BEND)
    (gap,) = propose_gaps(mask, completion=map_)

    back = Gap.from_json(gap.to_json())

    assert (back.kind, back.completion) == (GapKind.VIG, pytest.approx(gap.completion, abs=1e-5))
    assert back.id == gap.id == propose_gaps(mask, completion=map_)[0].id
    assert run_job(find_gaps(mask, completion=map_, rejected=[back])) == []


def test_a_description_without_the_map_is_read():
    (gap,) = propose_gaps(broken_bar())
    data = gap.to_json()
    del data["completion"]

    assert Gap.from_json(data).completion is None


def test_complete_draws_pieces_of_the_map():
    mask = trunks()

    after, accepted = complete_with_gaps(mask, completion=drawn(mask, BEND), min_score=0.2)

    assert [gap.kind for gap in accepted] == [GapKind.VIG]
    assert label_components(after)[1] == 1
    assert (after & mask).sum() == mask.sum()


def test_nothing_outside_the_field_of_view_counts_as_drawn():
    mask = trunks()
    fov = np.ones(SHAPE, bool)
    fov[50:56] = False

    assert propose_gaps(mask, completion=drawn(mask, BEND), fov=fov) == []


@pytest.mark.parametrize("level", [0.0, 0.49, 1.0])
def test_a_map_of_one_value_draws_nothing(level):
    mask = trunks()
    gaps = propose_gaps(mask, completion=np.full(SHAPE, level, np.float32))
    assert [gap for gap in gaps if gap.score >= 0.5] == []


def test_a_map_of_noise_can_be_stopped():
    mask = make_sample("fundus", seed=2, shape=(200, 200)).broken
    noise = np.random.default_rng(0).random(mask.shape).astype(np.float32)
    seen: list[str] = []
    token = CancelToken()

    def watch(progress) -> None:
        seen.append(progress.message)
        if progress.message == "Following completions":
            token.cancel()

    with pytest.raises(Cancelled):
        run_job(find_gaps(mask, completion=noise), watch, token)
    assert seen[-1] == "Following completions"


def test_maps_that_do_not_fit_are_refused_in_one_sentence():
    mask = trunks()
    with pytest.raises(InputError, match=r"completion is 10 x 10 pixels and the mask 120 x 170"):
        propose_gaps(mask, completion=np.zeros((10, 10), np.float32))
    with pytest.raises(InputError, match="completion has values outside 0 to 1"):
        propose_gaps(mask, completion=np.full(SHAPE, 255.0))
    broken = np.zeros(SHAPE, np.float32)
    broken[3, 4] = np.nan
    with pytest.raises(InputError, match="completion has values outside 0 to 1"):
        propose_gaps(mask, completion=broken)
