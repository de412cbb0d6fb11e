"""Gaps planted where the truth is known are found; what is no gap is not."""

import cv2
import numpy as np
import pytest

from napari_vessel.completion import Gap, GapKind, complete, draw_gap, find_gaps, propose_gaps
from napari_vessel.completion.refresh import refresh_effects
from napari_vessel.completion.search import without_border
from napari_vessel.errors import Cancelled, InputError
from napari_vessel.images import Modality, VesselImage
from napari_vessel.jobs import CancelToken, Progress, run_job
from napari_vessel.topology import label_components


def broken_bar(width: int, gap: int, pad: int = 30, arm: int = 60) -> np.ndarray:
    mask = np.zeros((width + 2 * pad, 2 * arm + gap + 2 * pad), bool)
    mask[pad : pad + width, pad : pad + arm] = True
    mask[pad : pad + width, pad + arm + gap : pad + 2 * arm + gap] = True
    return mask


def arc(width: int, gap: float, radius: float = 90.0, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, float]:
    """A half circle with a gap in the middle; returns the mask, the circle's centre and its radius."""
    size = round((2 * radius + 60) * scale)
    centre = np.array([size / 2, size / 2])
    yy, xx = np.mgrid[:size, :size] - centre[:, None, None]
    away, angle = np.hypot(yy, xx), np.arctan2(xx, -yy)
    mask = (abs(away - radius * scale) < width * scale / 2) & (abs(angle) < 1.4)
    return mask & (abs(angle) > gap / radius / 2), centre, radius * scale


def connects(mask: np.ndarray, gap: Gap) -> bool:
    closed = mask.copy()
    (y, x), patch = draw_gap(gap, mask.shape)
    closed[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
    return label_components(closed)[1] == gap.effect.components_after


@pytest.mark.parametrize("width", [3, 5, 8, 15])
@pytest.mark.parametrize("length", [2, 8, 20, 40])
def test_a_gap_in_a_bar_is_found(width, length):
    mask = broken_bar(width, length)
    (gap,) = propose_gaps(mask)
    assert gap.kind is GapKind.BRIDGE
    assert gap.score > 0.5
    assert sorted(gap.joins) == [1, 2]
    assert all(end.is_end_point for end in gap.ends)
    assert abs(gap.path[:, 0] - (30 + (width - 1) / 2)).max() <= 2
    assert gap.widths.mean() == pytest.approx(width, abs=1)
    assert (gap.effect.components_before, gap.effect.components_after, gap.effect.cycles) == (2, 1, 0)
    assert gap.effect.connected_px == pytest.approx(60, abs=width + 2)
    # Nothing but the mask to go by: its pieces are taken for vessels.
    assert (gap.calibrated, gap.link, gap.fragment) == (True, gap.score, None)
    assert connects(mask, gap)


@pytest.mark.parametrize("width", [3, 7, 13])
@pytest.mark.parametrize("length", [6, 20, 40])
def test_a_gap_in_a_curve_is_bridged_along_the_curve(width, length):
    mask, centre, radius = arc(width, length)
    (gap,) = propose_gaps(mask)
    assert gap.score > 0.4
    assert abs(np.hypot(*(gap.path - centre).T) - radius).max() <= max(2.0, width / 2)
    assert abs(np.hypot(*(gap.path[len(gap.path) // 2] - centre)) - radius) <= 2.5
    assert connects(mask, gap)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_same_gaps_are_found_at_every_scale(scale):
    mask, centre, radius = arc(6, 16, scale=scale)
    (gap,) = propose_gaps(mask)
    assert gap.score > 0.5
    assert abs(np.hypot(*(gap.path - centre).T) - radius).max() <= 2.5 * max(scale, 1)


def test_parallel_neighbours_are_not_joined():
    mask = np.zeros((80, 200), bool)
    for top in (20, 32, 44):
        mask[top : top + 5, 30:170] = True
    assert [gap for gap in propose_gaps(mask) if gap.score >= 0.3] == []


def test_two_broken_neighbours_are_joined_each_to_itself():
    mask = np.zeros((80, 220), bool)
    for top in (25, 45):
        mask[top : top + 5, 30:100] = True
        mask[top : top + 5, 112:190] = True
    gaps = [gap for gap in propose_gaps(mask) if gap.score >= 0.5]
    assert len(gaps) == 2
    for gap in gaps:
        assert np.ptp(gap.path[:, 0]) <= 2


def test_a_branch_that_lost_its_trunk_finds_its_side():
    mask = np.zeros((120, 160), bool)
    mask[20:29, 20:140] = True
    mask[37:100, 78:83] = True
    gap = propose_gaps(mask)[0]
    assert gap.score > 0.5
    own, trunk = gap.ends
    assert own.is_end_point
    assert not trunk.is_end_point
    assert trunk.tangent is None
    assert 28 <= trunk.point[0] <= 29
    assert gap.widths.max() <= 6
    assert connects(mask, gap)


def test_a_vessel_that_ends_on_both_sides_of_another_goes_on_across_it():
    mask = broken_bar(5, 24, pad=40)
    mask[10:75, 110:115] = True
    (gap,) = propose_gaps(mask)
    labels, count = label_components(mask)
    assert count == 3
    assert labels[40, 112] not in gap.joins
    assert (gap.effect.components_before, gap.effect.components_after, gap.effect.cycles) == (3, 1, 0)
    assert label_components(complete(mask, min_score=gap.score))[1] == 1
    assert refresh_effects([gap], labels, count)[0].effect == gap.effect


def test_a_vessel_in_between_ends_a_proposal_that_does_not_go_on_beyond_it():
    mask = broken_bar(5, 24, pad=40)
    mask[10:75, 110:115] = True
    mask[:, 115:] = np.roll(mask[:, 115:], 25, axis=0)
    mask[10:75, 110:115] = True
    labels, _ = label_components(mask)
    gaps = propose_gaps(mask)
    assert gaps
    for gap in gaps:
        inner = np.rint(gap.path[1:-1]).astype(int)
        assert not labels[tuple(inner.T)].any()
        assert labels[40, 112] in gap.joins


def test_a_ring_with_a_gap_is_closed_as_a_loop():
    yy, xx = np.mgrid[:120, :120] - 60.0
    away, angle = np.hypot(yy, xx), np.arctan2(yy, xx)
    mask = (abs(away - 40) < 3) & (abs(angle) > 0.12)
    gap = propose_gaps(mask)[0]
    assert (gap.effect.cycles, gap.effect.components_before, gap.effect.components_after) == (1, 1, 1)
    assert gap.effect.connected_px == 0
    assert connects(mask, gap)


@pytest.mark.parametrize("gap", [2, 3, 6])
@pytest.mark.parametrize("width", [4, 6])
def test_a_branch_that_just_misses_its_own_wide_trunk_closes_the_loop(width, gap):
    mask = np.zeros((190, 240), bool)
    mask[20:40, 10:230] = True
    mask[40:150, 40 : 40 + width] = True
    mask[150 - width : 150, 40 : 180 + width] = True
    # Its tip is nearer to the trunk's wall than the wall is to the trunk's middle.
    mask[40 + gap : 150, 180 : 180 + width] = True
    best = propose_gaps(mask)[0]
    assert best.joins == (1, 1)
    assert best.score > 0.5
    assert best.effect.cycles == 1
    assert best.length <= gap + 2
    assert connects(mask, best)


def test_a_dot_is_joined_to_its_neighbour():
    mask = broken_bar(3, 13)
    mask[30:33, 95:98] = True
    gaps = [gap for gap in propose_gaps(mask) if gap.score > 0.3]
    closed = mask.copy()
    for gap in gaps:
        (y, x), patch = draw_gap(gap, mask.shape)
        closed[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
    assert label_components(closed)[1] == 1


@pytest.mark.parametrize(
    "mask",
    [np.zeros((50, 50), bool), np.ones((50, 50), bool), np.eye(1, dtype=bool), np.zeros((0, 0), bool)],
    ids=["empty", "full", "1 x 1", "0 x 0"],
)
def test_masks_without_vessels_have_no_gaps(mask):
    assert propose_gaps(mask) == []


def test_a_single_pixel_has_no_gap():
    mask = np.zeros((30, 30), bool)
    mask[12, 17] = True
    assert propose_gaps(mask) == []


def test_vessels_that_leave_the_picture_are_not_broken():
    mask = np.zeros((60, 100), bool)
    mask[20:25, :] = True
    mask[35:40, :] = True
    assert propose_gaps(mask) == []


def test_vessels_that_leave_the_field_of_view_are_not_broken():
    mask = np.zeros((60, 140), bool)
    mask[28:33, 20:70] = True
    mask[28:33, 76:120] = True
    fov = np.ones(mask.shape, bool)
    assert len(propose_gaps(mask, fov=fov)) == 1
    fov[:, 68:80] = False
    assert propose_gaps(mask, fov=fov) == []


def faint_detour() -> tuple[np.ndarray, VesselImage, np.ndarray]:
    """Two facing ends, and a picture in which the vessel between them swings aside."""
    mask = broken_bar(5, 40)
    course = np.array([[x, 32 + 8 * np.sin(np.pi * (x - 90) / 40) ** 2] for x in range(90, 131)])
    shown = mask.astype(np.uint8)
    cv2.polylines(shown, [np.rint(course * 16).astype(np.int32).reshape(-1, 1, 2)], False, 1, 5, cv2.LINE_8, 4)
    pixels = 0.6 - 0.2 * cv2.GaussianBlur(shown.astype(np.float32), (0, 0), 1)
    pixels += np.random.default_rng(0).normal(0, 0.01, pixels.shape).astype(np.float32)
    return mask, VesselImage(pixels.astype(np.float32), modality=Modality.FUNDUS), course[:, ::-1]


def test_the_path_follows_the_vessel_in_the_picture():
    mask, image, course = faint_detour()
    gap = propose_gaps(mask, image)[0]
    away = np.hypot(*(gap.path[:, None, :] - course[None]).transpose(2, 0, 1)).min(axis=1)
    assert away[3:-3].max() <= 2
    assert any("ridge along" in reason.text for reason in gap.reasons)
    strengths = [abs(reason.contribution) for reason in gap.reasons]
    assert strengths == sorted(strengths, reverse=True)


def test_a_probability_guides_the_path_too():
    mask, image, course = faint_detour()
    probability = np.clip((0.62 - image.pixels) * 2, 0, 1)
    gap = propose_gaps(mask, None, probability)[0]
    away = np.hypot(*(gap.path[:, None, :] - course[None]).transpose(2, 0, 1)).min(axis=1)
    assert away[3:-3].max() <= 2
    assert any("probability" in reason.text for reason in gap.reasons)


def test_a_vessel_that_shows_scores_above_one_that_does_not():
    mask = broken_bar(5, 24)
    seen = mask.copy()
    seen[30:35, 30:174] = True
    noise = np.random.default_rng(1).normal(0, 0.01, mask.shape)

    def picture(vessels):
        soft = cv2.GaussianBlur(vessels.astype(np.float32), (0, 0), 1)
        return VesselImage((0.6 - 0.2 * soft + noise).astype(np.float32), modality=Modality.FUNDUS)

    assert propose_gaps(mask, picture(seen))[0].score > propose_gaps(mask, picture(mask))[0].score + 0.1


def test_where_every_piece_is_a_vessel_only_the_link_is_in_question():
    mask, image, _ = faint_detour()
    asked, told = (propose_gaps(mask, image, all_vessels=all_vessels)[0] for all_vessels in (False, True))
    assert told.score == told.link > asked.score
    assert asked.fragment is not None
    assert told.fragment is None
    assert any("is a vessel" in reason.text for reason in asked.reasons)
    assert not any("is a vessel" in reason.text for reason in told.reasons)
    between = (asked.score + told.score) / 2
    drawn = [complete(mask, image, min_score=between, all_vessels=told) for told in (False, True)]
    assert [label_components(closed)[1] for closed in drawn] == [2, 1]


def test_polarity_follows_the_modality():
    mask, image, _ = faint_detour()
    bright = VesselImage(1 - image.pixels, modality=Modality.OCTA)
    dark, light = propose_gaps(mask, image)[0], propose_gaps(mask, bright)[0]
    assert light.score == pytest.approx(dark.score, abs=0.02)
    np.testing.assert_allclose(light.path, dark.path, atol=1)
    plain = propose_gaps(mask, 1 - image.pixels)[0]
    assert plain.score == pytest.approx(light.score, abs=0.02)


def many_gaps(seed: int = 0) -> np.ndarray:
    mask = np.zeros((200, 240), np.uint8)
    rng = np.random.default_rng(seed)
    for _ in range(9):
        a, b = rng.integers(15, [225, 185], (2, 2))
        cv2.line(mask, a.tolist(), b.tolist(), 1, int(rng.integers(2, 8)))
        middle = ((a + b) // 2).tolist()
        cv2.circle(mask, middle, 6, 0, -1)
    return mask > 0


@pytest.mark.parametrize("seed", range(4))
def test_each_end_is_used_once_and_drawing_joins(seed):
    mask = many_gaps(seed)
    gaps = propose_gaps(mask)
    assert len(gaps) >= 5
    assert [gap.score for gap in gaps] == sorted((gap.score for gap in gaps), reverse=True)
    tips = [end.point for gap in gaps for end in gap.ends if end.is_end_point]
    assert len(tips) == len(set(tips))
    labels, count = label_components(mask)
    for gap in gaps:
        assert gap.effect.components_before == count
        assert labels[tuple(np.rint(gap.path[0]).astype(int))] == gap.joins[0]
        assert labels[tuple(np.rint(gap.path[-1]).astype(int))] == gap.joins[1]
        assert connects(mask, gap)


def test_ids_are_stable_and_different():
    mask = many_gaps()
    first = propose_gaps(mask)
    again = propose_gaps(mask)
    assert [gap.id for gap in first] == [gap.id for gap in again]
    assert len({gap.id for gap in first}) == len(first)
    # An edit far away leaves the others their names.
    best = first[0]
    (y, x), patch = draw_gap(best, mask.shape)
    mask[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
    later = {gap.id for gap in propose_gaps(mask)}
    assert best.id not in later
    assert len(later & {gap.id for gap in first[1:]}) >= len(first) // 2


def test_rejected_gaps_are_not_proposed_again():
    mask = broken_bar(5, 10)
    (gap,) = propose_gaps(mask)
    assert run_job(find_gaps(mask, rejected=[gap])) == []
    back = Gap.from_json(gap.to_json())
    assert run_job(find_gaps(mask, rejected=[back])) == []


def test_proposals_survive_json():
    mask = many_gaps()
    for gap in propose_gaps(mask):
        assert connects(mask, Gap.from_json(gap.to_json()))


def test_class_labels_are_all_vessel():
    mask = broken_bar(5, 10)
    labels = mask.astype(np.uint8)
    labels[:, 95:] *= 2
    assert [gap.id for gap in propose_gaps(labels)] == [gap.id for gap in propose_gaps(mask)]


def test_the_job_reports_and_can_be_stopped():
    mask = many_gaps()
    seen: list[Progress] = []
    gaps = run_job(find_gaps(mask), seen.append)
    assert gaps
    assert len(seen) >= 4
    token = CancelToken()
    with pytest.raises(Cancelled):
        run_job(find_gaps(mask), lambda _: token.cancel(), token)


def test_arrays_of_other_sizes_are_refused_in_one_sentence():
    mask = np.zeros((20, 30), bool)
    with pytest.raises(InputError, match=r"image is 10 x 10 pixels and the mask 20 x 30"):
        propose_gaps(mask, np.zeros((10, 10), np.float32))
    with pytest.raises(InputError, match="probability"):
        propose_gaps(mask, None, np.zeros((30, 20), np.float32))
    with pytest.raises(InputError, match="two axes"):
        propose_gaps(np.zeros((4, 20, 30), bool))


def test_values_that_make_no_sense_are_refused() -> None:
    mask = broken_bar(5, 8)
    probability = np.where(mask, 0.9, 0.1).astype(np.float32)
    with pytest.raises(InputError, match="0 to 1"):
        propose_gaps(mask, None, probability * 255)
    probability[0, 0] = np.nan
    with pytest.raises(InputError, match="0 to 1"):
        propose_gaps(mask, None, probability)
    with pytest.raises(InputError, match="not numbers"):
        propose_gaps(np.full(mask.shape, np.nan, np.float32))
    with pytest.raises(InputError, match="from 0 to 1"):
        complete(mask, min_score=7)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", [[float("nan"), 1.0], [2.0, 3.0]]),
        ("path", [[1e30, 1.0], [2.0, 3.0]]),
        ("path", []),
        ("widths", [1.0]),
        ("widths", [float("inf"), 1.0]),
        ("widths", [-5.0, 1.0]),
        ("link", "high"),
        ("fragment", [1]),
        ("link", float("nan")),
        ("linked", float("inf")),
        ("score", float("nan")),
        ("facts", {"size": float("nan")}),
    ],
)
def test_a_stored_proposal_that_cannot_be_drawn_or_placed_is_damaged(key, value):
    end = {"component": 1, "point": [1, 1], "tangent": None, "radius": 1.0, "is_end_point": True}
    effect = dict.fromkeys(("components_before", "components_after", "centreline_px", "connected_px", "cycles"), 1)
    whole = {"id": "a", "kind": "bridge", "ends": [end, end], "path": [[1, 1], [2, 2]], "widths": [1, 1]}
    whole |= {"score": 0.5, "reasons": [], "effect": effect}
    assert Gap.from_json(whole).id == "a"
    with pytest.raises((ValueError, TypeError)):
        Gap.from_json({**whole, key: value})


def test_a_mask_that_is_all_vessel_takes_no_kernel_as_wide_as_the_image():
    fov = cv2.circle(np.zeros((600, 620), np.uint8), (310, 300), 280, 1, -1) > 0
    near, far = (without_border(fov, calibre) for calibre in (62.0, 63.0))
    # The distance takes over from the kernel, and leaves out a pixel more or less.
    assert 0 <= near.sum() - far.sum() < 3 * 2 * np.pi * 217
    assert propose_gaps(fov, fov=fov) == []
