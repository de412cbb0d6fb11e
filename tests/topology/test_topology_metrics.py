"""One class for each metric, on drawings small enough to check by eye."""

import numpy as np
import pytest

from napari_vessel.errors import InputError
from napari_vessel.topology.metrics import (
    METRICS,
    Accuracy,
    AreaUnderCurve,
    BettiError,
    Cal,
    CalArea,
    CalConnectivity,
    CalLength,
    CentrelineDice,
    Comparison,
    Dice,
    Jaccard,
    MatthewsCorrelation,
    Precision,
    Sensitivity,
    Specificity,
    TiledBettiError,
    area_under_curve,
    betti_numbers,
    cl_dice,
    dice_coefficient,
    mean_interval,
    score_mask,
    score_row,
)


def draw(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


RING = draw(".....", ".###.", ".#.#.", ".###.", ".....")
DIAGONAL = draw("#...", ".#..", "..#.", "...#")
TWO = draw("##..", "....", "..##")
CORNER_LOOP = draw(".#.", "#.#", ".#.")
LINE = draw(*["." * 12] * 4, ".##########.", *["." * 12] * 4)
NOTHING = np.zeros((4, 6), bool)
ALL = np.ones((4, 6), bool)

# 4 pixels found, 1 missed, 1 false, 12 background.
PREDICTION = draw("###...", "......", "....##")
TRUTH = draw("####..", "......", "....#.")
PAIR = Comparison(PREDICTION, TRUTH)


def moved(mask, down, right=0):
    """Shift a drawing that does not touch its edges."""
    return np.roll(mask, (down, right), (0, 1))


class TestDice:
    def test_of_a_drawing(self):
        assert Dice().compute(PAIR) == pytest.approx(2 * 4 / (5 + 5))

    def test_of_empty_masks(self):
        assert Dice().compute(Comparison(NOTHING, NOTHING)) == 1
        assert Dice().compute(Comparison(ALL, NOTHING)) == 0
        assert Dice().compute(Comparison(NOTHING, ALL)) == 0

    def test_as_a_function(self):
        assert dice_coefficient(PREDICTION, TRUTH) == Dice().compute(PAIR)


class TestJaccard:
    def test_of_a_drawing(self):
        assert Jaccard().compute(PAIR) == pytest.approx(4 / 6)

    def test_of_empty_masks(self):
        assert Jaccard().compute(Comparison(NOTHING, NOTHING)) == 1
        assert Jaccard().compute(Comparison(ALL, NOTHING)) == 0


class TestSensitivity:
    def test_of_a_drawing(self):
        assert Sensitivity().compute(Comparison(PREDICTION, PREDICTION | TRUTH)) == pytest.approx(5 / 6)

    def test_without_vessel_nothing_is_missed(self):
        assert Sensitivity().compute(Comparison(ALL, NOTHING)) == 1
        assert Sensitivity().compute(Comparison(NOTHING, ALL)) == 0


class TestSpecificity:
    def test_of_a_drawing(self):
        assert Specificity().compute(PAIR) == pytest.approx(12 / 13)

    def test_without_background_none_is_called_vessel(self):
        assert Specificity().compute(Comparison(NOTHING, ALL)) == 1
        assert Specificity().compute(Comparison(ALL, NOTHING)) == 0


class TestPrecision:
    def test_of_a_drawing(self):
        assert Precision().compute(Comparison(PREDICTION | TRUTH, PREDICTION)) == pytest.approx(5 / 6)

    def test_of_an_empty_prediction_no_claim_is_wrong(self):
        assert Precision().compute(Comparison(NOTHING, ALL)) == 1
        assert Precision().compute(Comparison(ALL, NOTHING)) == 0


class TestAccuracy:
    def test_of_a_drawing(self):
        assert Accuracy().compute(PAIR) == pytest.approx(16 / 18)

    def test_of_no_pixels(self):
        assert Accuracy().compute(Comparison(ALL, ALL, NOTHING)) == 1


class TestMatthewsCorrelation:
    def test_of_a_drawing(self):
        assert MatthewsCorrelation().compute(PAIR) == pytest.approx((4 * 12 - 1) / (5 * 13))

    def test_where_it_is_nothing_by_nothing(self):
        correlation = MatthewsCorrelation().compute
        assert correlation(Comparison(NOTHING, NOTHING)) == 1
        assert correlation(Comparison(ALL, ALL)) == 1
        assert correlation(Comparison(ALL, NOTHING)) == -1
        assert correlation(Comparison(draw("#."), draw("##"))) == 0


class TestAreaUnderCurve:
    @pytest.mark.parametrize(
        ("probability", "expected"),
        [
            ([0.1, 0.2, 0.8, 0.9], 1),
            ([0.9, 0.8, 0.2, 0.1], 0),
            ([0.5, 0.5, 0.5, 0.5], 0.5),
            ([0.1, 0.6, 0.4, 0.9], 0.75),
            ([0.0, 0.5, 0.5, 1.0], 3.5 / 4),
            ([-0.0, 0.0, 0.0, 1.0], 0.75),
        ],
    )
    def test_of_two_and_two_pixels(self, probability, expected):
        truth = np.array([False, False, True, True])
        assert area_under_curve(np.array(probability, np.float32), truth) == expected

    def test_tells_probabilities_apart_that_differ_in_the_last_place(self):
        low = np.float32(0.7)
        pair = np.array([low, np.nextafter(low, np.float32(1))])
        assert area_under_curve(pair, np.array([False, True])) == 1

    def test_is_not_defined_for_one_class_or_without_a_probability(self):
        half = np.full(TRUTH.shape, 0.5, np.float32)
        assert AreaUnderCurve().compute(Comparison(TRUTH, TRUTH)) is None
        assert AreaUnderCurve().compute(Comparison(TRUTH, TRUTH, ~TRUTH, half)) is None
        assert AreaUnderCurve().compute(Comparison(TRUTH, TRUTH, TRUTH, half)) is None

    def test_counts_inside_the_field_of_view(self):
        truth, fov = draw("#..#"), draw("###.")
        probability = np.array([[0.9, 0.1, 0.2, 0.0]], np.float32)
        assert AreaUnderCurve().compute(Comparison(truth, truth, fov, probability)) == 1
        assert AreaUnderCurve().compute(Comparison(truth, truth, None, probability)) == 0.5


class TestCentrelineDice:
    def test_of_a_line_with_two_pixels_missing(self):
        broken = LINE.copy()
        broken[4, 5:7] = False
        # A line one pixel wide is its own centreline: all of it is right, eight tenths of it are there.
        assert CentrelineDice().compute(Comparison(broken, LINE)) == pytest.approx(2 * 1.0 * 0.8 / 1.8)

    def test_of_empty_masks(self):
        for metric in (cl_dice, lambda p, g: CentrelineDice().compute(Comparison(p, g))):
            assert metric(NOTHING, NOTHING) == 1
            assert metric(ALL, NOTHING) == 0
            assert metric(NOTHING, ALL) == 0
            assert metric(ALL, ALL) == 1

    def test_sees_a_lost_vessel_that_dice_hardly_sees(self):
        bar = np.zeros((40, 200), bool)
        bar[10:20] = True
        line = np.zeros_like(bar)
        line[30] = True
        assert dice_coefficient(bar, bar | line) > 0.93
        assert cl_dice(bar, bar | line) < 0.75

    def test_takes_a_skeleton_that_is_known(self):
        assert cl_dice(LINE, LINE, truth_skeleton=LINE) == 1
        # One whose pixels lie elsewhere shows that it is really used.
        assert cl_dice(LINE, LINE, truth_skeleton=moved(LINE, 2)) == 0


class TestBettiError:
    @pytest.mark.parametrize(
        ("mask", "expected"),
        [
            (RING, (1, 1)),
            (DIAGONAL, (1, 0)),
            (TWO, (2, 0)),
            (CORNER_LOOP, (1, 1)),
            (np.zeros((3, 3), bool), (0, 0)),
            (np.ones((3, 3), bool), (1, 0)),
        ],
    )
    def test_betti_numbers_of_drawings(self, mask, expected):
        assert betti_numbers(mask) == expected

    @pytest.mark.parametrize("density", [0.1, 0.2, 0.4, 0.6, 0.9])
    def test_betti_numbers_agree_with_persistent_homology(self, density):
        gudhi = pytest.importorskip("gudhi")
        rng = np.random.default_rng(0)
        for _ in range(5):
            mask = rng.random((24, 31)) < density
            # Top-dimensional cells that share a corner touch, which is 8-connectivity.
            complex_ = gudhi.CubicalComplex(top_dimensional_cells=np.pad(1.0 - mask, 1, constant_values=1.0))
            complex_.compute_persistence()
            assert betti_numbers(mask) == tuple(complex_.persistent_betti_numbers(0.5, 0.5)[:2])

    def test_of_a_broken_loop(self):
        cut = RING.copy()
        cut[1, 2] = False
        assert BettiError(0).compute(Comparison(cut, RING)) == 0
        assert BettiError(1).compute(Comparison(cut, RING)) == 1

    def test_of_a_line_in_pieces(self):
        pieces = LINE & ~(np.arange(12) % 4 == 0)
        assert BettiError(0).compute(Comparison(pieces, LINE)) == 2
        assert BettiError(0).compute(Comparison(LINE, pieces)) == 2
        assert BettiError(1).compute(Comparison(pieces, LINE)) == 0

    def test_a_missing_and_a_false_loop_cancel_out(self):
        left = np.hstack([RING, np.zeros_like(RING)])
        assert BettiError(1).compute(Comparison(left, left[:, ::-1])) == 0


class TestTiledBettiError:
    """A picture of 70 x 130 has six tiles: 64 and 6 rows, 64, 64 and 2 columns."""

    SHAPE = (70, 130)

    def with_ring(self, y, x):
        mask = np.zeros(self.SHAPE, bool)
        mask[y : y + 5, x : x + 5] = RING
        return mask

    def test_is_the_mean_over_all_tiles_also_those_cut_off_by_the_edge(self):
        pair = Comparison(np.zeros(self.SHAPE, bool), self.with_ring(10, 10))
        assert len(pair.tile_errors) == 6
        assert TiledBettiError(0).compute(pair) == pytest.approx(1 / 6)
        assert TiledBettiError(1).compute(pair) == pytest.approx(1 / 6)

    def test_starts_at_the_first_pixel_of_the_image(self):
        across = self.with_ring(10, 62)
        # Columns 62 and 63 are in one tile, 64 to 66 in the next: a piece in each, and no closed loop in either.
        pair = Comparison(np.zeros(self.SHAPE, bool), across)
        assert sorted(pair.tile_errors[:, 0]) == [0, 0, 0, 0, 1, 1]
        assert TiledBettiError(1).compute(pair) == 0

    def test_leaves_out_tiles_without_field_of_view_and_sees_background_outside_of_it(self):
        fov = np.zeros(self.SHAPE, bool)
        fov[:64, :12] = True
        pair = Comparison(np.zeros(self.SHAPE, bool), self.with_ring(10, 9) | self.with_ring(10, 80), fov)
        assert len(pair.tile_errors) == 1
        assert TiledBettiError(0).compute(pair) == 1
        assert TiledBettiError(1).compute(pair) == 0  # the field of view cuts the ring open

    def test_sees_mistakes_that_cancel_out_in_the_whole_image(self):
        pair = Comparison(self.with_ring(10, 10), self.with_ring(10, 80))
        assert BettiError(1).compute(pair) == 0
        assert TiledBettiError(1).compute(pair) == pytest.approx(2 / 6)

    def test_of_no_tile(self):
        assert TiledBettiError(0).compute(Comparison(RING, RING, np.zeros_like(RING))) == 0


class TestCalConnectivity:
    def test_of_a_line_in_pieces(self):
        pieces = LINE & ~(np.arange(12) % 4 == 0)
        # Three components in place of one, ten true vessel pixels.
        assert CalConnectivity().compute(Comparison(pieces, LINE)) == pytest.approx(1 - 2 / 10)

    def test_does_not_fall_below_nothing(self):
        dots = np.zeros((9, 9), bool)
        dots[::2, ::2] = True
        one = np.zeros_like(dots)
        one[4, 4] = True
        assert CalConnectivity().compute(Comparison(dots, one)) == 0

    def test_without_true_vessel(self):
        assert CalConnectivity().compute(Comparison(NOTHING, NOTHING)) == 1
        assert CalConnectivity().compute(Comparison(ALL, NOTHING)) == 0


class TestCalArea:
    def test_tolerates_two_steps_along_rows_and_columns(self):
        assert CalArea().compute(Comparison(moved(LINE, 2), LINE)) == 1
        assert CalArea().compute(Comparison(moved(LINE, 3), LINE)) == 0

    def test_the_tolerance_is_a_diamond(self):
        dot = np.zeros((9, 9), bool)
        dot[4, 4] = True
        assert CalArea().compute(Comparison(moved(dot, 1, 1), dot)) == 1
        assert CalArea().compute(Comparison(moved(dot, 2, 1), dot)) == 0

    def test_of_a_prediction_with_something_false(self):
        speck = LINE.copy()
        speck[0, 0] = True
        assert CalArea().compute(Comparison(speck, LINE)) == pytest.approx(10 / 11)


class TestCalLength:
    def test_of_lines_is_that_of_their_areas(self):
        assert CalLength().compute(Comparison(moved(LINE, 2), LINE)) == 1
        assert CalLength().compute(Comparison(moved(LINE, 3), LINE)) == 0

    def test_dilates_the_centrelines_not_the_masks(self):
        bar = np.zeros((30, 60), bool)
        bar[8:17, 5:55] = True
        # Four rows apart, each centreline runs inside the other bar: the classic length would forgive that.
        assert CalLength().compute(Comparison(moved(bar, 4), bar)) < 0.2
        assert cl_dice(moved(bar, 4), bar) > 0.8


class TestCal:
    def test_is_the_product_of_the_three(self):
        pieces = LINE & ~(np.arange(12) % 4 == 0)
        pieces[0, 0] = True
        pair = Comparison(pieces, LINE)
        c, a, length = (metric.compute(pair) for metric in (CalConnectivity(), CalArea(), CalLength()))
        assert (c, a) == pytest.approx((1 - 3 / 10, 10 / 11))
        assert Cal().compute(pair) == pytest.approx(c * a * length)
        assert 0 < length < 1


class TestComparison:
    def test_counts_inside_the_field_of_view_only(self):
        truth = np.zeros((20, 20), bool)
        truth[5] = True
        mask = truth.copy()
        mask[15] = True
        fov = np.zeros_like(truth)
        fov[:10] = True
        inside, everywhere = score_mask(mask, truth, fov), score_mask(mask, truth)
        assert (inside.dice, inside.b0_error) == (1, 0)
        assert everywhere.dice == pytest.approx(2 / 3)
        assert everywhere.b0_error == 1
        assert everywhere.sensitivity == 1
        assert everywhere.specificity == pytest.approx(1 - 20 / 380)

    def test_takes_numbers_for_vessel(self):
        assert Comparison(PREDICTION * np.uint8(255), TRUTH.astype(int) * 2).counts == PAIR.counts

    @pytest.mark.parametrize("part", ["truth", "fov", "probability"])
    def test_refuses_another_shape(self, part):
        arrays = {"truth": TRUTH, "fov": None, "probability": None, part: np.zeros((2, 2), np.float32)}
        with pytest.raises(InputError, match="shape"):
            Comparison(PREDICTION, **arrays)

    @pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
    def test_refuses_what_is_no_probability(self, value):
        with pytest.raises(InputError, match="from 0 to 1"):
            Comparison(PREDICTION, TRUTH, probability=np.full(TRUTH.shape, value))


class TestRow:
    def test_has_every_metric_by_name_in_order(self):
        row = score_row(PAIR)
        assert list(row) == [metric.name for metric in METRICS]
        assert row["dice"] == 0.8
        assert row["auc"] is None

    def test_score_is_the_same_figures(self):
        probability = np.where(PREDICTION, 0.9, 0.1).astype(np.float32)
        score, row = score_mask(PREDICTION, TRUTH, None, probability), score_row(Comparison(PREDICTION, TRUTH))
        assert (score.dice, score.cl_dice, score.b0_error, score.b1_error) == (
            row["dice"],
            row["cldice"],
            row["betti0_error"],
            row["betti1_error"],
        )
        assert score.to_json()["auc"] == pytest.approx((4 * 12 + 0.5 * (4 * 1 + 1 * 12)) / (5 * 13))


class TestMeanInterval:
    def test_is_the_same_every_time_and_holds_the_mean(self):
        values = list(np.random.default_rng(1).normal(0.8, 0.05, 20))
        mean, (low, high) = mean_interval(values)
        assert (mean, (low, high)) == mean_interval(values)
        assert low < mean < high
        # The normal approximation is close for twenty images.
        assert high - low == pytest.approx(2 * 1.96 * np.std(values) / np.sqrt(20), rel=0.1)

    def test_one_image_says_nothing_about_others(self):
        assert mean_interval([0.7]) == (0.7, None)
