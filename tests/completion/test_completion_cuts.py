"""Connections that join what is not one vessel are proposed as cuts; vessels, crossings and capillaries are not."""

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest

from napari_vessel.completion import Gap, GapKind, cut_gap, effect_now, find_cuts, propose_cuts
from napari_vessel.errors import Cancelled, InputError
from napari_vessel.images import Modality, VesselImage
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.topology import label_components, local_radius

SIZE = (200, 260)


def drawn(scale: float, *lines: tuple[tuple[float, float], tuple[float, float], float]) -> np.ndarray:
    """Draw lines, each from (y, x) to (y, x) and so wide, px at scale 1."""
    mask = np.zeros([round(side * scale) for side in SIZE], np.uint8)
    for (y0, x0), (y1, x1), width in lines:
        ends = [(round(x * scale * 16), round(y * scale * 16)) for y, x in ((y0, x0), (y1, x1))]
        cv2.line(mask, ends[0], ends[1], 1, max(round(width * scale), 1), cv2.LINE_8, 4)
    return mask > 0


def two_bars(scale: float = 1.0, apart: float = 18.0, bar: float = 5.0, top: float = 70.0) -> np.ndarray:
    """Two parallel vessels and a short bar between them, at x = 130."""
    return drawn(
        scale,
        ((top, 20), (top, 240), 6),
        ((top + apart, 20), (top + apart, 240), 6),
        ((top, 130), (top + apart, 130), bar),
    )


def cut(mask: np.ndarray, gap: Gap) -> np.ndarray:
    left = mask.copy()
    (y, x), patch = cut_gap(gap, mask.shape)
    left[y : y + patch.shape[0], x : x + patch.shape[1]] &= ~patch
    return left


def loops(mask: np.ndarray) -> int:
    _, holes = cv2.connectedComponents(np.pad(~mask, 1, constant_values=True).view(np.uint8), connectivity=4)[:2]
    return int(holes.max()) - 1


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("apart", "bar"), [(13, 5), (18, 5), (18, 3), (30, 5)])
def test_a_bar_between_two_parallel_vessels_is_cut(scale, apart, bar):
    mask = two_bars(scale, apart, bar)
    first = propose_cuts(mask)[0]
    assert first.kind is GapKind.CUT
    assert first.score > 0.5
    assert np.hypot(*(np.asarray(first.centre) / scale - (70 + apart / 2, 130))) < 4
    assert all(end.component == 1 and not end.is_end_point for end in first.ends)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("apart", "bar"), [(13, 5), (18, 8), (30, 3)])
def test_a_cut_parts_the_two_and_takes_nothing_else(scale, apart, bar):
    mask = two_bars(scale, apart, bar)
    gap = propose_cuts(mask)[0]
    left = cut(mask, gap)
    labels, count = label_components(left)
    effect = gap.effect
    assert (effect.components_before, effect.components_after, effect.cycles, count) == (1, 2, 0, 2)
    x = round(20 * scale) + 2
    assert labels[round(70 * scale), x] != labels[round((70 + apart) * scale), x]
    # Both vessels as they were without the bar, but for a pixel's thickness where it stood.
    bare = drawn(scale, ((70, 20), (70, 240), 6), ((70 + apart, 20), (70 + apart, 240), 6))
    assert (bare & ~left).sum() <= 0.3 * bar * scale + 2
    assert effect.connected_px == pytest.approx(220 * scale, rel=0.1)


def test_a_cut_in_a_loop_opens_it():
    mask = two_bars() | drawn(1, ((70, 20), (88, 20), 6), ((70, 240), (88, 240), 6))
    gap = max(propose_cuts(mask), key=lambda gap: -abs(gap.centre[1] - 130))
    assert gap.score > 0.5
    assert (gap.effect.components_before, gap.effect.components_after, gap.effect.cycles) == (1, 1, -1)
    left = cut(mask, gap)
    assert label_components(left)[1] == 1
    assert loops(left) == loops(mask) - 1


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_vessels_that_branch_and_cross_are_left_alone(scale):
    branching = drawn(
        scale,
        ((70, 20), (70, 240), 6),
        ((70, 100), (120, 150), 4),
        ((120, 150), (125, 220), 4),
        ((120, 150), (180, 165), 4),
    )
    crossing = drawn(scale, ((20, 40), (180, 220), 6), ((170, 30), (30, 230), 6))
    for mask in (branching, crossing):
        assert [gap for gap in propose_cuts(mask) if gap.score > 0.5] == []


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_loops_of_capillaries_are_left_alone(scale):
    lines = []
    for row, y in enumerate(range(20, 180, 40)):
        for x in range(20 + 23 * (row % 2), 240, 46):
            lines += [
                ((y, x), (y + 14, x + 23), 5),
                ((y, x), (y + 14, x - 23), 5),
                ((y + 14, x + 23), (y + 40, x + 23), 5),
            ]
    mask = drawn(scale, *lines)
    assert loops(mask) > 5
    assert [gap for gap in propose_cuts(mask) if gap.score > 0.5] == []


@pytest.mark.parametrize("top", [2.0, 180.0])
def test_a_bar_at_the_border_is_cut(top):
    mask = two_bars(top=top)
    gap = propose_cuts(mask)[0]
    assert gap.score > 0.5
    assert label_components(cut(mask, gap))[1] == 2


def test_a_bar_that_the_image_does_not_show_is_surer_than_one_it_shows():
    mask = two_bars()
    vessels = drawn(1, ((70, 20), (70, 240), 6), ((88, 20), (88, 240), 6))
    noise = np.random.default_rng(0).normal(0, 0.02, mask.shape)
    chance = {}
    for name, shown in (("bare", vessels), ("seen", mask)):
        pixels = cv2.GaussianBlur(np.where(shown, 0.3, 0.6) + noise, (0, 0), 1).astype(np.float32)
        image = VesselImage(np.clip(pixels, 0, 1), None, Modality.FUNDUS)
        likely = np.where(shown, 0.9, 0.05).astype(np.float32)
        for looked_at in ({}, {"image": image}, {"probability": likely}, {"completion": likely}):
            found = [gap for gap in propose_cuts(mask, **looked_at) if abs(gap.centre[1] - 130) < 5]
            chance[(name, *looked_at)] = found[0].score if found else 0.0
    assert chance[("bare",)] == chance[("seen",)]
    # A segmenter that has drawn a false bridge was sure enough of it to do so: a map says less than the image.
    for looked_at, less in (("image", 0.4), ("probability", 0.05), ("completion", 0.05)):
        assert chance[("bare", looked_at)] > 0.7
        assert chance[("seen", looked_at)] < chance[("bare", looked_at)] - less


def test_what_the_reasons_add_is_the_score():
    for gap in propose_cuts(two_bars()):
        total = sum(reason.contribution for reason in gap.reasons)
        assert total == pytest.approx(np.log(gap.score / (1 - gap.score)), abs=1e-6)
        strengths = [abs(reason.contribution) for reason in gap.reasons[:-1]]
        assert strengths == sorted(strengths, reverse=True)
        assert Gap.from_json(gap.to_json()).kind is GapKind.CUT


def test_names_last_when_the_mask_changes_elsewhere():
    mask = two_bars()
    before = propose_cuts(mask)[0]
    assert propose_cuts(mask)[0].id == before.id
    elsewhere = mask | drawn(1, ((150, 30), (150, 230), 5))
    assert before.id in {gap.id for gap in propose_cuts(elsewhere)}
    assert run_job(find_cuts(mask, rejected=[before])) == [gap for gap in propose_cuts(mask) if gap.id != before.id]


def test_a_cut_stays_open_until_it_is_made():
    mask = two_bars()
    gap = propose_cuts(mask)[0]
    elsewhere = mask | drawn(1, ((10, 30), (10, 230), 5))
    now = effect_now(gap, *label_components(elsewhere))
    assert now is not None
    assert (now.effect.components_before, now.effect.components_after) == (2, 3)
    assert all(end.component == label_components(elsewhere)[0][70, 30] for end in now.ends)
    assert effect_now(gap, *label_components(cut(mask, gap))) is None


def test_masks_without_connections_have_none():
    for mask in (np.zeros((50, 60), bool), np.ones((50, 60), bool), np.zeros((0, 5), bool), np.eye(40, dtype=bool)):
        assert propose_cuts(mask) == []


def test_arrays_of_other_sizes_are_refused():
    with pytest.raises(InputError, match="one size"):
        propose_cuts(two_bars(), probability=np.zeros((5, 5), np.float32))


def test_looking_for_cuts_can_be_stopped():
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        run_job(find_cuts(two_bars()), cancel=token)


def planted(truth: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Join vessels that run past one another, apart, by straight bars; returns the mask and the bars' numbers."""
    radius = local_radius(truth)
    far = cv2.distanceTransform((~truth).view(np.uint8), cv2.DIST_L2, 5)
    joined, numbers = truth.copy(), np.zeros(truth.shape, np.int32)
    middles = np.argwhere(truth & (radius >= 1))
    done = 0
    for y, x in middles[rng.permutation(len(middles))]:
        angle = rng.uniform(0, 2 * np.pi)
        way = np.stack([np.sin(angle), np.cos(angle)])
        points = np.rint((y, x) + np.arange(40)[:, None] * way).astype(int)
        if (points < 8).any() or (points >= np.asarray(truth.shape) - 8).any():
            continue
        under = truth[points[:, 0], points[:, 1]]
        out = int(np.argmin(under)) if not under.all() else 39
        back = out + int(np.argmax(under[out:])) if out < 39 and under[out:].any() else 99
        if not 6 <= back - out <= 14 or far[tuple(points[(out + back) // 2])] < (back - out) / 2 - 1:
            continue
        bar = np.zeros(truth.shape, np.uint8)
        cv2.line(
            bar, (int(points[out - 1, 1]), int(points[out - 1, 0])), (int(points[back, 1]), int(points[back, 0])), 1, 2
        )
        fresh = (bar > 0) & ~truth
        if (cv2.dilate(fresh.view(np.uint8), np.ones((25, 25), np.uint8)) * (numbers > 0)).any():
            continue
        done += 1
        joined |= fresh
        numbers[cv2.dilate(fresh.view(np.uint8), np.ones((5, 5), np.uint8)) > 0] = done
        if done == count:
            break
    return joined, numbers


@pytest.mark.parametrize("kind", ["fundus", "xray"])
def test_planted_bridges_in_sample_images_are_found(kind):
    planted_in_all = found = offered = right = 0
    for seed in (3, 4):
        sample = make_sample(kind, seed)
        joined, numbers = planted(sample.truth.mask, 8, np.random.default_rng(seed))
        gaps = [gap for gap in propose_cuts(joined, sample.image) if gap.score > 0.5]
        hits = [int(numbers[tuple(np.rint(gap.centre).astype(int))]) for gap in gaps]
        planted_in_all += int(numbers.max())
        found += len(set(hits) - {0})
        offered += len(hits)
        right += sum(hit > 0 for hit in hits)
    assert planted_in_all >= 8
    assert found >= 0.6 * planted_in_all
    assert right >= 0.8 * offered


@pytest.mark.parametrize("kind", ["fundus", "octa"])
def test_effects_are_what_happens(kind):
    joined, _ = planted(make_sample(kind, 5).truth.mask, 8, np.random.default_rng(5))
    gaps = propose_cuts(joined)
    assert len(gaps) >= 5
    before = label_components(joined)[1], loops(joined)
    for gap in gaps:
        left = cut(joined, gap)
        assert gap.effect.components_before == before[0]
        assert gap.effect.components_after == label_components(left)[1]
        assert gap.effect.cycles == loops(left) - before[1]
        assert abs(gap.effect.cycles) + gap.effect.components_after - before[0] == 1


def test_a_long_slanting_cut_takes_no_memory_by_its_length_times_its_box():
    gap = propose_cuts(two_bars())[0]
    along = np.linspace(10.0, 180.0, 200, dtype=np.float32)
    long = replace(gap, path=np.stack([along, along], axis=1), widths=np.full(200, 7.0, np.float32))
    tracemalloc.start()
    _, patch = cut_gap(long, SIZE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6
    assert abs(patch.sum() - 7.0 * 170 * 2**0.5) < 200
