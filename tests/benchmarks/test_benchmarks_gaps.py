"""The judge of the gap benchmark, and what it is given to judge."""

import cv2
import numpy as np
import pytest
from contenders import closing
from gap_image import ALONE, OURS, WITH, accepted, measure_cuts, measure_planted, plant_in, sample_of
from gap_judging import Connection, Judge, bridges_of, connections, dice_in_gap, planted_closed
from gap_methods import Candidate, candidates, drawn, geodesic, hysteresis, looked, lower_threshold
from gap_planting import Place, Planted, Planter, erase_from_image, grown, plant_false_bridges, turning, without
from gap_statistics import DRAWS, auc, kappa, mean, pooled, precision_at_recall, ratio
from gap_tables import cut_rows
from numpy.typing import NDArray

from napari_vessel.completion import complete, propose_gaps
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.topology import label_components
from napari_vessel.training.cases import Case

Mask = NDArray[np.bool_]


def canvas(*lines: tuple[int, int, int, int, int], shape: tuple[int, int] = (80, 120)) -> Mask:
    """Draw lines (y, x, y, x, width); OpenCV draws a thickness of 2 and 3 as 3 and 5 pixels."""
    mask = np.zeros(shape, np.uint8)
    for y0, x0, y1, x1, width in lines:
        cv2.line(mask, (x0, y0), (x1, y1), 1, (width + 1) // 2)
    return mask > 0


def row(y: int, x0: int, x1: int) -> NDArray[np.intp]:
    return np.stack([np.full(x1 - x0, y), np.arange(x0, x1)], axis=1)


def tree() -> Mask:
    """Two crossing vessels, one of them with a branch, and a ring."""
    mask = canvas((60, 5, 60, 234, 5), (5, 120, 115, 120, 3), (60, 60, 20, 30, 3), shape=(240, 240)).view(np.uint8)
    cv2.circle(mask, (120, 180), 40, 1, 3)
    return mask > 0


def picture(mask: Mask, seed: int = 0) -> VesselImage:
    noise = np.random.default_rng(seed).normal(0, 0.01, (*mask.shape, 3)).astype(np.float32)
    pixels = 0.6 - 0.25 * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)[..., None] + noise
    return VesselImage(np.clip(pixels, 0, 1).astype(np.float32), np.ones(mask.shape, np.bool_), Modality.FUNDUS)


class TestJudge:
    truth = canvas((20, 5, 20, 114, 3), (25, 5, 25, 114, 3))

    def judge(self, mask: Mask) -> tuple[Judge, NDArray[np.int32]]:
        labels, _ = label_components(mask)
        return Judge(self.truth, labels), labels

    def test_the_same_way_along_the_same_vessel_is_right(self) -> None:
        mask = self.truth.copy()
        mask[:23, 50:60] = False
        judge, labels = self.judge(mask)
        path = row(20, 49, 61)
        assert judge.right(Connection(path, (labels[20, 49], labels[20, 60])))

    def test_a_step_to_a_neighbouring_vessel_is_wrong_however_short_it_is(self) -> None:
        judge, labels = self.judge(self.truth)
        step = np.asarray([[21, 60], [22, 60], [23, 60], [24, 60]])
        assert labels[21, 60] != labels[24, 60]
        assert not judge.right(Connection(step, (labels[21, 60], labels[24, 60])))

    def test_a_bridge_to_a_piece_on_no_vessel_is_wrong(self) -> None:
        mask = self.truth.copy()
        mask[31, 55:65] = True
        judge, labels = self.judge(mask)
        away = np.asarray([[26, 60], [27, 60], [28, 60], [29, 60], [30, 60], [31, 60]])
        assert not judge.right(Connection(away, (labels[26, 60], labels[31, 60])))

    def test_a_detour_beyond_tolerance_is_wrong(self) -> None:
        mask = self.truth.copy()
        mask[:23, 40:70] = False
        judge, labels = self.judge(mask)
        detour = np.concatenate([row(20, 39, 41), row(14, 41, 69), row(20, 69, 71)])
        assert not judge.right(Connection(detour, (labels[20, 39], labels[20, 70])))

    def test_only_pieces_on_vessels_make_a_link(self) -> None:
        mask = self.truth.copy()
        mask[31, 50:70] = True
        judge, labels = self.judge(mask)
        assert judge.on_vessel(Connection(np.asarray([[21, 60], [24, 60]]), (labels[21, 60], labels[24, 60])))
        assert not judge.on_vessel(Connection(np.asarray([[26, 60], [31, 60]]), (labels[26, 60], labels[31, 60])))

    def test_natural_gaps_are_missing_stretches_between_two_pieces(self) -> None:
        mask = self.truth.copy()
        mask[:23, 50:60] = False
        mask[24:, 100:] = False
        judge, labels = self.judge(mask)
        (gap,) = judge.natural_gaps(None)
        assert gap.touches == {labels[20, 40], labels[20, 80]}
        assert gap.length == 10
        assert not judge.closed(gap, mask)
        assert judge.closed(gap, self.truth)

    def test_a_gap_closed_by_a_detour_is_not_closed(self) -> None:
        mask = self.truth.copy()
        mask[:23, 40:70] = False
        judge, labels = self.judge(mask)
        (gap,) = judge.natural_gaps(None)
        around = mask.copy()
        around[10:20, [38, 71]] = True
        around[10, 38:72] = True
        assert label_components(around)[1] == label_components(self.truth)[1]
        assert not judge.closed(gap, around)
        straight = Connection(row(20, 39, 71), (labels[20, 39], labels[20, 70]))
        assert judge.reached(gap, straight)
        assert not judge.reached(gap, Connection(np.argwhere(around & ~mask), straight.joins))


class TestBridgesOf:
    def test_pieces_that_became_one_count_one_bridge_fewer(self) -> None:
        mask = canvas((20, 5, 20, 30, 3), (20, 40, 20, 60, 3), (20, 70, 20, 100, 3), (60, 5, 60, 100, 3))
        labels, count = label_components(mask)
        completed = mask | canvas((20, 5, 20, 100, 9))
        bridges = bridges_of(labels, completed)
        assert count == 4
        assert len(bridges) == 2
        assert {frozenset(b.joins) for b in bridges} == {
            frozenset((labels[20, 20], labels[20, 50])),
            frozenset((labels[20, 50], labels[20, 80])),
        }
        assert all(labels[tuple(b.path[0])] == b.joins[0] and labels[tuple(b.path[-1])] == b.joins[1] for b in bridges)
        assert all(b.length == pytest.approx(7, abs=2) for b in bridges)

    def test_a_thicker_mask_that_joins_nothing_has_no_bridge(self) -> None:
        mask = canvas((20, 5, 20, 100, 3), (60, 5, 60, 100, 3))
        assert bridges_of(label_components(mask)[0], grown(mask, 5)) == []
        assert bridges_of(label_components(mask)[0], mask) == []
        assert bridges_of(np.zeros((9, 9), np.int32), np.zeros((9, 9), np.bool_)) == []

    def test_the_cheapest_of_two_ways_is_found(self) -> None:
        labels, _ = label_components(canvas((20, 5, 20, 30, 3), (20, 60, 20, 90, 3)))
        cost = np.where(canvas((20, 5, 20, 90, 5)), 5.0, -1.0)
        cost[canvas((19, 25, 19, 65, 1))] = 1.0
        ((total, bridge),) = connections(labels, cost)
        assert (bridge.path[2:-2, 0] == 19).all()
        assert total == pytest.approx(bridge.length, rel=0.1)


class TestPlanting:
    planter = Planter(tree())
    planted = planter.plant(np.random.default_rng(3), 2)

    def test_every_gap_cuts_its_vessel_where_it_was_planted(self) -> None:
        truth = tree()
        broken = without(truth, self.planted)
        assert len(self.planted) >= 6
        for gap in self.planted:
            assert (truth & gap.erased).sum() == gap.erased.sum() > 0
            assert not planted_closed(gap, broken, broken, 1.0)
            assert planted_closed(gap, broken, truth, 1.0)
            assert planted_closed(gap, broken, broken | gap.erased, 1.0)
            assert dice_in_gap(gap, broken, truth, 1.0) == 1.0
            assert dice_in_gap(gap, broken, broken, 1.0) == 0.0
            assert abs(len(gap.middle) - gap.length) <= 1

    def test_gaps_do_not_touch(self) -> None:
        assert (sum(grown(gap.erased, 2).astype(int) for gap in self.planted) <= 1).all()

    def test_gaps_lie_at_crossings_and_in_loops_too(self) -> None:
        places = {gap.place for seed in range(6) for gap in self.planter.plant(np.random.default_rng(seed), 2)}
        assert places >= {Place.STRAIGHT, Place.CURVED, Place.CROSSING}
        ring = [gap for gap in self.planted if gap.middle[:, 0].min() > 130]
        assert ring
        assert sum(gap.loop for gap in ring) >= 1

    def test_the_other_vessel_of_a_crossing_stays(self) -> None:
        planted = [gap for seed in range(9) for gap in self.planter.plant(np.random.default_rng(seed))]
        crossing = next(gap for gap in planted if gap.place is Place.CROSSING and not gap.loop)
        pieces = label_components(without(tree(), [crossing]))[1]
        assert pieces == label_components(tree())[1] + 2

    def test_the_way_around_a_loop_does_not_close_a_gap(self) -> None:
        ring = np.zeros((60, 60), np.uint8)
        cv2.circle(ring, (30, 30), 20, 1, 3)
        erased = (ring > 0) & canvas((0, 30, 20, 30, 8), shape=(60, 60))
        gap = Planted(8, 3.0, Place.CURVED, True, np.argwhere(erased), erased, ((11, 22), (11, 38)))
        broken = (ring > 0) & ~erased
        assert label_components(broken)[1] == 1
        assert not planted_closed(gap, broken, broken, 1.0)
        assert planted_closed(gap, broken, ring > 0, 1.0)

    def test_the_finder_with_a_completion_map_and_the_map_alone_are_judged_too(self) -> None:
        # As large as DRIVE's field of view, or gaps would be planted and judged at another scale.
        truth = cv2.resize(tree().view(np.uint8), (540, 540), interpolation=cv2.INTER_NEAREST) > 0
        sample = sample_of(Case("drive/x", picture(truth), truth, truth), truth.astype(np.float32), 0.5)
        planted, pixels = plant_in(sample, 2)
        assert len(planted) >= 4
        without_one = measure_planted(sample, planted, pixels, None)["methods"]
        assert WITH not in without_one
        methods = measure_planted(sample, planted, pixels, None, truth.astype(np.float32) * 0.9)["methods"]
        assert all(methods[ALONE]["closed"])
        assert sum(methods[WITH]["closed"]) > sum(methods[f"{OURS}, mask and image"]["closed"])
        assert methods[f"{OURS}, mask and image"] == without_one[f"{OURS}, mask and image"]

    def test_the_vessel_is_gone_from_the_image_and_nothing_else(self) -> None:
        truth = tree()
        image = picture(truth)
        gap = next(g for g in self.planted if g.length >= 12)
        changed = erase_from_image(image.pixels, truth, [gap], 1.0, np.random.default_rng(0))
        background = image.pixels[~grown(truth, 4)]
        assert changed[gap.erased].mean() == pytest.approx(background.mean(), abs=0.02)
        assert changed[gap.erased].std() == pytest.approx(background.std(), rel=0.5)
        far = ~grown(gap.erased, 6)
        np.testing.assert_array_equal(changed[far], image.pixels[far])
        stays = truth & ~gap.erased
        np.testing.assert_array_equal(changed[stays], image.pixels[stays])

    def test_curves_turn(self) -> None:
        assert turning(row(3, 0, 30)) == 0.0
        quarter = np.asarray([[round(30 * np.sin(t)), round(30 * np.cos(t))] for t in np.linspace(0, np.pi / 2, 40)])
        assert turning(quarter) > np.radians(45)

    def test_false_bridges_join_two_vessels_that_are_apart(self) -> None:
        truth = canvas((20, 5, 20, 114, 3), (30, 5, 30, 114, 3))
        bridges = plant_false_bridges(truth, 1.0, np.random.default_rng(0), 3)
        assert bridges
        for bridge in bridges:
            assert not (bridge.pixels & truth).any()
            assert label_components(truth | bridge.pixels)[1] == 1


class TestMethods:
    mask = canvas((20, 5, 20, 50, 3), (20, 60, 20, 114, 3))
    truth = canvas((20, 5, 20, 114, 3))

    def test_simple_methods_close_a_short_break(self) -> None:
        probability = np.where(self.truth, 0.25, 0.01).astype(np.float32)
        short = canvas((20, 5, 20, 50, 3), (20, 55, 20, 114, 3))
        assert label_components(closing(short, 6))[1] == 1
        assert label_components(closing(short, 1))[1] == 2
        assert label_components(hysteresis(self.mask, probability))[1] == 1
        assert label_components(lower_threshold(self.mask, probability))[1] == 2
        assert label_components(lower_threshold(self.mask, probability + 0.1))[1] == 1

    def test_hysteresis_adds_nothing_that_is_not_connected(self) -> None:
        probability = np.where(canvas((60, 5, 60, 100, 3)), 0.9, 0.0).astype(np.float32)
        np.testing.assert_array_equal(hysteresis(self.mask, probability), self.mask)

    def test_geodesic_joins_every_piece_to_the_nearest_within_reach(self) -> None:
        labels, _ = label_components(self.mask)
        probability = np.full(self.mask.shape, 0.1, np.float32)
        (bridge,) = geodesic(labels, probability, None, 1.0)
        assert label_components(drawn(self.mask, [bridge]))[1] == 1
        assert geodesic(labels, probability, None, 0.05) == []

    def test_candidates_hold_the_true_bridge(self) -> None:
        image = picture(self.truth)
        probability = self.truth.astype(np.float32) * 0.4
        judge = Judge(self.truth, label_components(self.mask)[0])
        found = candidates(looked(self.mask, image, probability), probability)
        assert any(judge.right(c.connection) for c in found)
        assert all(np.isfinite(list(c.features.values())).all() for c in found)

    def test_candidates_hold_what_a_completion_map_draws(self) -> None:
        # Side by side and without ends between them: nothing there for two ends to be paired.
        mask = canvas((20, 5, 20, 114, 3), (60, 5, 60, 114, 3))
        drawn_one = canvas((20, 50, 60, 50, 3))
        image, probability = picture(mask | drawn_one), mask.astype(np.float32)
        completion = np.where(drawn_one, 0.9, 0.01).astype(np.float32)

        def across(found: list[Candidate]) -> int:
            return sum(c.connection.length > 30 and (abs(c.connection.path[:, 1] - 50) < 5).all() for c in found)

        assert across(candidates(looked(mask, image, probability), probability)) == 0
        assert across(candidates(looked(mask, image, probability, completion), probability)) == 1

    def test_accepting_what_was_found_is_what_complete_does(self) -> None:
        image = picture(self.truth)
        gaps = propose_gaps(self.mask, image)
        np.testing.assert_array_equal(accepted(self.mask, gaps, 0.5), complete(self.mask, image, min_score=0.5))
        assert label_components(accepted(self.mask, gaps, 0.5))[1] == 1

    def test_planted_false_bridges_are_offered_as_cuts(self) -> None:
        truth = canvas((20, 5, 20, 500, 3), (30, 5, 30, 500, 3), shape=(60, 540))
        sample = sample_of(Case("drive/x", picture(truth), truth, truth), truth.astype(np.float32), 0.5)
        result = measure_cuts(sample)
        assert result["planted"] > 0
        for found in result["methods"].values():
            numbers = [number for _, number in found["cuts"]]
            assert len(set(numbers) - {0}) >= 0.8 * result["planted"]
            assert found["vessel"] <= 0.1 * found["erased"]
        figures, text = cut_rows([{"cuts": result}])
        seen = figures[f"{OURS}, mask and image"]
        assert seen["recall"].value >= 0.8
        assert seen["precision"].value == 1.0
        assert "precision at recall .8" in text

    def test_a_bridge_that_is_not_offered_is_not_found(self) -> None:
        cuts = {
            "planted": 4,
            "methods": {"m": {"cuts": [(0.9, 1), (0.8, 0), (0.7, 1), (0.6, 2)], "erased": 9, "vessel": 3}},
        }
        figures, _ = cut_rows([{"cuts": cuts}])
        # Bridges 1 and 2 of 4 are found, by three proposals: the second one of bridge 1 is neither right nor wrong.
        assert figures["m"]["recall"].value == 0.5
        assert figures["m"]["precision"].value == pytest.approx(2 / 3)
        assert figures["m"]["recall_at_precision_90"].value == 0.25
        assert figures["m"]["vessel_in_what_is_erased"].value == pytest.approx(1 / 3)


class TestStatistics:
    def test_auc(self) -> None:
        assert auc(np.asarray([[0.9, 1], [0.8, 1], [0.1, 0]])) == 1.0
        assert auc(np.asarray([[0.5, 1], [0.5, 0]])) == 0.5
        assert auc(np.asarray([[0.9, 0], [0.8, 1], [0.1, 0]])) == 0.5
        assert np.isnan(auc(np.asarray([[0.9, 1.0]])))

    def test_precision_at_recall(self) -> None:
        rows = np.asarray([[0.9, 1], [0.8, 0], [0.7, 1], [0.6, 0]], float)
        assert precision_at_recall(0.5)(rows) == 1.0
        assert precision_at_recall(0.95)(rows) == pytest.approx(2 / 3)

    def test_kappa(self) -> None:
        assert kappa(np.asarray([[1, 1], [0, 0]], float)) == 1.0
        assert kappa(np.asarray([[1, 1], [1, 0], [0, 1], [0, 0]], float)) == 0.0

    def test_interval_draws_images_not_rows(self) -> None:
        same = [np.ones((50, 1)), np.zeros((50, 1))] * 4
        mixed = [np.asarray([[0.0], [1.0]] * 25)] * 8
        assert pooled(same, mean).value == pooled(mixed, mean).value == 0.5
        assert pooled(mixed, mean).high - pooled(mixed, mean).low == 0.0
        assert pooled(same, mean).high - pooled(same, mean).low > 0.4

    def test_sums_give_what_rows_give(self) -> None:
        rng = np.random.default_rng(0)
        images = [rng.random((n, 2)) for n in (3, 9, 4, 7)]
        for quick, slow in (
            (mean, lambda rows: float(rows[:, 0].mean())),
            (ratio, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum())),
        ):
            one, other = pooled(images, quick), pooled(images, slow)
            assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
        assert DRAWS >= 1000

    def test_no_rows_no_figure(self) -> None:
        empty = pooled([np.empty((0, 1))], mean)
        assert empty.to_json() == {"value": None, "low": None, "high": None, "count": 0}
        assert str(empty) == ""
