"""Measurements of drawn shapes whose answers are known."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from napari_vessel.errors import InputError
from napari_vessel.images.writing import write_mask
from napari_vessel.topology.measurement import FIGURES, NodeKind, intervals, measure, quadrants, read_regions, zones
from napari_vessel.topology.measurement.curves import LEAST_TURN, smooth, tortuosity, turning_points
from napari_vessel.topology.measurement.dimension import box_counts, box_dimension, box_parts
from napari_vessel.topology.measurement.figures import weighted_quantile
from napari_vessel.topology.measurement.tables import Measured, figure_columns, figure_rows, write_tables

SIDE = 240


def drawn(curves, width: float, shape: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Return a mask of every pixel within half a width of a curve, (y, x) px."""
    close = np.concatenate([_resampled(curve) for curve in curves])
    found = np.zeros(shape, bool)
    low = np.maximum(np.floor(close.min(axis=0) - width).astype(int), 0)
    high = np.minimum(np.ceil(close.max(axis=0) + width).astype(int) + 1, shape)
    pixels = np.stack(np.mgrid[low[0] : high[0], low[1] : high[1]], axis=-1)
    away, _ = cKDTree(close).query(pixels, distance_upper_bound=width / 2 + 1)
    found[low[0] : high[0], low[1] : high[1]] = away <= width / 2
    return found


def _resampled(curve: np.ndarray) -> np.ndarray:
    """Return a curve with a point at least every eighth of a pixel."""
    behind = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    along = np.linspace(0.0, behind[-1], int(8 * behind[-1]) + 2)
    return np.stack([np.interp(along, behind, curve[:, axis]) for axis in (0, 1)], axis=1)


def ray(angle: float, length: float = 85.0, at=(120.2, 120.3)) -> np.ndarray:
    heading = np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    return np.asarray(at) + np.linspace(0.0, length, 400)[:, None] * heading


def line(angle: float, length: float = 180.0) -> np.ndarray:
    return np.concatenate([ray(angle + 180, length / 2)[::-1], ray(angle, length / 2)])


def only(found):
    assert len(found.segments) == 1
    return found.segments[0]


@pytest.mark.parametrize("angle", [0, 3, 7, 15, 22.5, 33, 45, 80, 90])
@pytest.mark.parametrize("width", [1.2, 3, 4, 8])
def test_a_straight_line_is_straight_whichever_way_it_runs(angle, width):
    found = measure(drawn([line(angle)], width))
    segment = only(found)
    assert segment.length == pytest.approx(180, abs=0.75 * width + 2)
    assert segment.tortuosity is not None
    assert segment.tortuosity.distance == pytest.approx(1.0, abs=0.002)
    assert segment.tortuosity.inflections == 0
    assert segment.tortuosity.inflection == segment.tortuosity.distance
    # All that steps of pixels are worth is less than a bend with a radius of 600.
    assert segment.tortuosity.angles < 0.0015
    assert found.figures["ends"] == 2
    assert found.figures["components"] == 1


@pytest.mark.parametrize("angle", [0, 10, 22.5, 37, 60, 90])
@pytest.mark.parametrize("width", [2, 3, 4, 5, 8, 13])
def test_a_bar_is_as_wide_as_it_was_drawn(angle, width):
    mask = drawn([line(angle)], width)
    found = measure(mask).figures
    # So wide are its pixels, which are what there is to measure: of 120 px of its length, away from its ends.
    along = (np.mgrid[:SIDE, :SIDE].T - (120.2, 120.3)) @ [np.sin(np.radians(angle)), np.cos(np.radians(angle))]
    true = (mask & (np.abs(along.T) <= 60)).sum() / 120
    for name in ("calibre_mean", "calibre_median"):
        assert found[name] == pytest.approx(true, rel=0.04)
    assert found["calibre_p10"] == pytest.approx(true, rel=0.12)
    assert found["calibre_p90"] == pytest.approx(true, rel=0.12)


def test_the_calibre_is_weighted_by_length():
    rows = np.zeros((80, 420), bool)
    rows[20:23, 10:110] = True
    rows[50:57, 10:310] = True
    found = measure(rows).figures
    assert found["calibre_median"] == pytest.approx(7, abs=0.1)
    assert found["calibre_p10"] == pytest.approx(3, abs=0.1)
    assert found["calibre_mean"] == pytest.approx((100 * 3 + 300 * 7) / 400, rel=0.03)


def blocks(*sides: tuple[int, int, int, int]) -> np.ndarray:
    """Return a mask of rectangles, each from y0 to y1 and from x0 to x1."""
    mask = np.zeros((120, 300), bool)
    for y0, y1, x0, x1 in sides:
        mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(("trunk", "width", "length"), [(20, 3, 20), (12, 2, 40), (16, 4, 30), (5, 5, 40)])
def test_a_branch_is_as_wide_as_it_is_outside_its_trunk(trunk, width, length):
    found = measure(blocks((30, 30 + trunk, 20, 280), (30 + trunk, 30 + trunk + length, 150, 150 + width))).segments
    branch = min(found, key=lambda segment: segment.length)
    assert branch.calibre == pytest.approx(width, rel=0.05)
    assert np.nanmax(branch.calibres) <= width * 1.1
    assert sorted(segment.calibre for segment in found)[1:] == pytest.approx([trunk] * 2, rel=0.02)


def test_a_short_link_is_not_as_wide_as_what_it_links():
    found = measure(blocks((10, 30, 20, 280), (30, 38, 150, 153), (38, 58, 20, 280))).segments
    assert sorted(segment.calibre for segment in found) == pytest.approx([3, 20, 20, 20, 20], rel=0.05)


@pytest.mark.parametrize(("width", "length"), [(2, 4), (2, 5), (3, 4)])
@pytest.mark.parametrize("spacing", [None, (2.0, 2.0)])
def test_the_shortest_branch_too_is_as_wide_as_it_was_drawn(width, length, spacing):
    """Of so few pixels the distance to the background alone is a pixel short where the width is even."""
    found = measure(blocks((50, 50 + width, 20, 180), (50 - length, 50, 100, 100 + width)), spacing=spacing).segments
    branch = min(found, key=lambda segment: segment.length)
    assert not np.isfinite(branch.calibres).any()
    assert branch.calibre == pytest.approx(width * (spacing or (1, 1))[0], rel=0.2)


@pytest.mark.parametrize(("wide", "thin", "apart"), [(16, 3, 2), (20, 4, 3)])
def test_a_thin_vessel_beside_a_wide_one_takes_nothing_of_it(wide, thin, apart):
    found = measure(blocks((30, 30 + wide, 20, 280), (30 + wide + apart, 30 + wide + apart + thin, 20, 280)))
    assert sorted(segment.calibre for segment in found.segments) == pytest.approx([thin, wide], rel=0.02)


@pytest.mark.parametrize("span", [60, 90, 180])
@pytest.mark.parametrize("radius", [60, 100])
def test_an_arc_bends_one_way_by_its_curvature(radius, span):
    angles = np.radians(np.linspace(0, span, 2000)) - np.radians(span / 2)
    curve = np.stack([120 + radius * np.sin(angles), 30 + radius * np.cos(angles)], axis=1)
    segment = only(measure(drawn([curve], 3)))
    half = np.radians(span) / 2
    told = segment.tortuosity
    assert told is not None
    assert told.distance == pytest.approx(half / np.sin(half), rel=0.015)
    assert told.inflections == 0
    # Smoothing straightens a curve's ends, which are much of a short one.
    assert told.angles == pytest.approx(1 / radius, rel=0.05 + 8 / (radius * np.radians(span)))


@pytest.mark.parametrize(("height", "wave"), [(5, 60), (10, 80), (15, 100)])
@pytest.mark.parametrize("turn", [0, 90, 30])
def test_a_sine_has_its_length_and_its_inflections(height, wave, turn):
    x = np.linspace(-wave, wave, 6000)
    curve = np.stack([height * np.sin(2 * np.pi * x / wave), x], axis=1)
    steps = np.diff(curve, axis=0)
    length = np.hypot(*steps.T).sum()
    turned = np.abs(np.diff(np.arctan2(*steps.T))).sum()
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    segment = only(measure(drawn([curve @ np.array([[c, s], [-s, c]]) + 120], 3)))
    told = segment.tortuosity
    assert told is not None
    assert segment.length == pytest.approx(length, rel=0.02)
    assert told.distance == pytest.approx(length / (2 * wave), rel=0.01)
    assert told.inflections == 3
    assert told.inflection == pytest.approx(4 * told.distance)
    assert told.angles == pytest.approx(turned / length, rel=0.07)


def test_twice_the_size_is_as_tortuous():
    x = np.linspace(-50, 50, 4000)
    found = []
    for scale in (1, 2):
        curve = scale * np.stack([6 * np.sin(2 * np.pi * x / 50), x], axis=1) + 120
        found.append(only(measure(drawn([curve], 4 * scale))))
    small, large = found
    assert large.length == pytest.approx(2 * small.length, rel=0.03)
    assert large.calibre == pytest.approx(2 * small.calibre, rel=0.03)
    assert large.tortuosity.distance == pytest.approx(small.tortuosity.distance, rel=0.03)
    assert large.tortuosity.inflections == small.tortuosity.inflections == 3


@pytest.mark.parametrize("turn", [0, 20, 45, 90])
@pytest.mark.parametrize("angle", [40, 60, 90, 120])
@pytest.mark.parametrize("width", [2, 4, 8])
def test_a_y_has_one_bifurcation_with_its_angle(turn, angle, width):
    found = measure(drawn([ray(turn + 180), ray(turn + angle / 2), ray(turn - angle / 2)], width))
    (node,) = found.nodes
    assert node.kind is NodeKind.BIFURCATION
    assert node.point == pytest.approx((120, 120), abs=8 + width)
    assert node.angle == pytest.approx(angle, abs=7)
    assert (found.figures["bifurcations"], found.figures["crossings"], found.figures["ends"]) == (1, 0, 3)
    assert found.figures["branching_angle_mean"] == node.angle


def test_the_angle_of_the_thinnest_is_right_on_the_average():
    found = [measure(drawn([ray(t + 180), ray(t + 22.5), ray(t - 22.5)], 2)).nodes[0].angle for t in range(0, 180, 33)]
    assert np.mean(found) == pytest.approx(45, abs=3)
    assert found == pytest.approx([45] * 6, abs=10)


@pytest.mark.parametrize("angle", [45, 60, 90])
@pytest.mark.parametrize("width", [2, 4, 8])
def test_two_vessels_that_cross_do_not_branch(angle, width):
    found = measure(drawn([line(10), line(10 + angle)], width))
    assert [node.kind for node in found.nodes] == [NodeKind.CROSSING]
    assert (found.figures["bifurcations"], found.figures["ends"]) == (0, 4)


def test_a_bridge_between_two_vessels_is_no_crossing():
    rows = [np.stack([np.full(400, row), np.linspace(30, 210, 400)], axis=1) for row in (110.0, 130.0)]
    bridge = np.stack([np.linspace(110, 130, 100), np.full(100, 120.0)], axis=1)
    found = measure(drawn([*rows, bridge], 4))
    assert [node.kind for node in found.nodes] == [NodeKind.BIFURCATION] * 2
    assert all(node.angle == pytest.approx(90, abs=6) for node in found.nodes)


def test_a_ring_has_its_length_and_no_ends_and_no_tortuosity():
    angles = np.linspace(0, 2 * np.pi, 4000)
    ring = np.stack([120 + 60 * np.sin(angles), 120 + 60 * np.cos(angles)], axis=1)
    found = measure(drawn([ring], 4))
    assert only(found).tortuosity is None
    assert only(found).length == pytest.approx(2 * np.pi * 60, rel=0.02)
    assert found.figures["ends"] == 0
    assert found.figures["tortuosity_distance"] is None


def test_a_vessel_that_all_but_closes_has_no_tortuosity_and_does_not_outweigh_the_others():
    angles = np.linspace(0, np.radians(345), 4000)
    ring = np.stack([70 + 30 * np.sin(angles), 170 + 30 * np.cos(angles)], axis=1)
    hook = ring[: int(4000 * 280 / 345)]
    straight = np.stack([np.full(400, 200.0), np.linspace(20, 220, 400)], axis=1)
    closing, hooked = (measure(drawn([one, straight], 3)) for one in (ring, hook))
    assert sorted(segment.tortuosity is None for segment in closing.segments) == [False, True]
    assert closing.figures["tortuosity_distance"] == pytest.approx(1.0, abs=0.002)
    # 147 px over a chord of 39 and 200 px straight on.
    length, chord = 30 * np.radians(280), 60 * np.sin(np.radians(140))
    assert max(segment.tortuosity.distance for segment in hooked.segments) == pytest.approx(length / chord, rel=0.05)
    mean = hooked.figures["tortuosity_distance"]
    assert mean == pytest.approx((length + 200) / (chord + 200), rel=0.01)
    assert hooked.figures["tortuosity_inflection"] == pytest.approx(mean)
    bend = np.radians(280) / (length + 200)
    assert hooked.figures["tortuosity_angles"] == pytest.approx(bend, rel=0.1)


def test_a_pinhole_is_no_mesh():
    mask = np.zeros((80, 160), bool)
    mask[36:43, 20:140] = True
    whole = measure(mask).figures
    mask[39, 60:62] = mask[39, 100] = False
    found = measure(mask).figures
    assert (found["bifurcations"], found["segments"], found["components"]) == (0, 1, 1)
    assert found["skeleton_length"] == pytest.approx(whole["skeleton_length"], abs=0.1)
    assert found["vessel_area"] == whole["vessel_area"] - 3
    mask[38:41, 78:83] = False
    assert measure(mask).figures["bifurcations"] == 2


def test_the_smallest_ring_and_the_shortest_branch():
    ring = np.zeros((40, 40), bool)
    ring[[19, 20, 20, 21], [20, 19, 21, 20]] = True
    assert measure(ring).figures["ends"] == 0
    forked = np.zeros((60, 60), bool)
    forked[30, 10:50] = True
    forked[27:30, 30] = True
    assert measure(forked).figures["ends"] == 3


def test_densities_lengths_and_parts():
    mask = np.zeros((100, 200), bool)
    mask[48:51, 20:180] = True
    mask[80:83, 20:60] = True
    found = measure(mask, regions=quadrants((100, 200)))
    whole = found.figures
    assert whole["vessel_area_density"] == pytest.approx((160 * 3 + 40 * 3) / 20000)
    assert whole["skeleton_length"] == pytest.approx(200, abs=6)
    assert whole["skeleton_length_density"] == pytest.approx(whole["skeleton_length"] / 20000)
    assert whole["longest_component_length"] == pytest.approx(160, abs=3)
    assert (whole["components"], whole["ends"]) == (2, 4)
    assert whole["ends_per_length"] == pytest.approx(4 / whole["skeleton_length"])
    parts = found.regions
    for name in ("field_area", "vessel_area", "skeleton_length", "ends", "bifurcations"):
        assert sum(parts[region][name] for region in parts) == pytest.approx(whole[name])
    assert parts["lower left"]["ends"] == 2
    assert parts["upper right"]["components"] == 1
    assert set(found.region_of) == {"upper right", "lower left"} or set(found.region_of) == {"upper left", "lower left"}


def test_only_the_field_of_view_counts_and_what_leaves_it_does_not_end():
    mask = np.zeros((120, 120), bool)
    mask[59:62] = True
    fov = np.hypot(*(np.mgrid[:120, :120] - 60)) <= 45
    inside = measure(mask, fov).figures
    assert inside["vessel_area"] == (mask & fov).sum()
    assert inside["field_area"] == fov.sum()
    assert inside["ends"] == 0
    mask[:, 70:] = False
    assert measure(mask, fov).figures["ends"] == 1
    assert measure(mask).figures["ends"] == 1
    # Who draws a vessel that leaves the field stops a little before its edge.
    mask[:, :19] = False
    assert measure(mask, fov).figures["ends"] == 1
    mask[:, :30] = False
    assert measure(mask, fov).figures["ends"] == 2


def test_micrometres_with_pixels_that_are_not_square():
    across, down = np.zeros((200, 200), bool), np.zeros((200, 200), bool)
    across[100:105, 20:180] = True
    down[20:180, 100:105] = True
    slanting = drawn([line(45, 160)], 5, (240, 240))
    spacing = (3.0, 2.0)
    found = {name: measure(mask, spacing=spacing) for name, mask in (("across", across), ("down", down))}
    assert found["across"].unit == "um"
    assert found["across"].figures["calibre_median"] == pytest.approx(5 * 3, rel=0.01)
    assert found["down"].figures["calibre_median"] == pytest.approx(5 * 2, rel=0.01)
    assert found["across"].figures["skeleton_length"] == pytest.approx(160 * 2, rel=0.03)
    assert found["down"].figures["skeleton_length"] == pytest.approx(160 * 3, rel=0.03)
    assert found["across"].figures["vessel_area"] == 160 * 5 * 6
    assert found["across"].figures["fractal_dimension"] == measure(across).figures["fractal_dimension"]
    # Area over length: 5 px across a slanting vessel are 5 * 6 / |(3, 2)| * root 2 micrometres.
    figures = measure(slanting, spacing=spacing).figures
    assert figures["skeleton_length"] == pytest.approx(160 * np.hypot(3, 2) / np.sqrt(2), rel=0.03)
    width = measure(slanting).figures["calibre_mean"]
    assert figures["calibre_mean"] == pytest.approx(width * 6 * np.sqrt(2) / np.hypot(3, 2), rel=0.01)


def test_an_angle_is_that_of_the_tissue_and_not_of_the_pixels():
    # Drawn in a picture with pixels twice as high as wide, 90 degrees of tissue are fewer in pixels.
    half = np.degrees(np.arctan2(0.5, 1.0))
    mask = drawn([ray(180), ray(half), ray(-half)], 4)
    (node,) = measure(mask, spacing=(2.0, 1.0)).nodes
    assert node.angle == pytest.approx(90, abs=6)


def sierpinski(side: int) -> np.ndarray:
    rows = np.arange(side)
    return (rows[:, None] & rows[None]) == 0


def carpet(rounds: int) -> np.ndarray:
    """Sierpinski's carpet, 3 ** rounds px wide."""
    found = np.ones((1, 1), bool)
    for _ in range(rounds):
        found = np.kron(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool), found)
    return found


@pytest.mark.parametrize(
    ("mask", "dimension", "within"),
    [
        (sierpinski(512), np.log(3) / np.log(2), 0.01),
        (carpet(6), np.log(8) / np.log(3), 0.03),
        (np.ones((512, 512), bool), 2.0, 0.001),
        (np.ones((584, 565), bool), 2.0, 0.02),
        (np.eye(512, dtype=bool), 1.0, 0.001),
        (np.arange(512)[:, None] * np.ones((1, 512)) == 200, 1.0, 0.001),
        (drawn([line(30, 235)], 1.5), 1.0, 0.05),
        (np.arange(512)[:, None] + np.arange(512)[None] == 200, 1.0, 0.05),
    ],
)
def test_the_dimension_of_what_has_one(mask, dimension, within):
    assert box_dimension(mask) == pytest.approx(dimension, abs=within)


def test_the_dimension_is_that_of_the_field_and_not_of_the_picture():
    mask = np.eye(200, dtype=bool) | (np.arange(200) % 37 == 5)
    alone = box_dimension(mask)
    assert box_dimension(np.kron(mask, np.ones((3, 3), bool))) == pytest.approx(alone, abs=0.01)
    larger, field = np.zeros((300, 400), bool), np.zeros((300, 400), bool)
    larger[40:240, 101:301], field[40:240, 101:301] = mask, True
    assert measure(larger, field).figures["fractal_dimension"] == alone
    assert measure(larger, regions={"here": field}).regions["here"]["fractal_dimension"] == alone


def test_boxes_are_counted_where_fewest_are_met():
    mask = np.zeros((256, 256), bool)
    mask[63:65, 63:65] = True
    assert box_counts(mask, [4, 8, 16]) == [1, 1, 1]
    assert box_parts(4000) == [4, 8, 16, 32, 64, 128]
    assert box_parts(128) == [4, 8, 16, 32]
    assert box_dimension(np.ones((127, 100), bool)) is None
    speck = np.zeros((256, 256), bool)
    speck[3, 3] = True
    assert str(box_dimension(speck)) == "0.0"


@pytest.mark.parametrize("shape", [(100, 80), (16, 16)])
def test_an_empty_mask_has_numbers_and_no_nan(shape):
    found = measure(np.zeros(shape, np.uint8), regions=quadrants(shape))
    nothing = {"calibre", "tortuosity", "inflections", "branching", "fractal"}
    for figures in (found.figures, *found.regions.values()):
        assert list(figures) == [figure.name for figure in FIGURES]
        for name, value in figures.items():
            undefined = name.split("_")[0] in nothing or name == "ends_per_length"
            assert (value is None) == undefined, name
            assert value is None or name == "field_area" or value == 0
    assert found.segments == () == found.nodes


def test_a_field_of_view_without_a_pixel_has_no_density():
    found = measure(np.ones((40, 40), bool), np.zeros((40, 40), bool)).figures
    assert found["vessel_area_density"] is None
    assert found["field_area"] == 0


@pytest.mark.parametrize("spots", [[(5, 5)], [(5, 5), (5, 6)], [(5, 5), (5, 6), (6, 5), (6, 6)]])
def test_specks_are_measured_too(spots):
    mask = np.zeros((64, 64), bool)
    mask[tuple(np.transpose(spots))] = True
    found = measure(mask).figures
    assert found["components"] == 1
    assert found["vessel_area"] == len(spots)
    assert found["tortuosity_distance"] is None


def test_noise_is_measured_without_a_complaint():
    rng = np.random.default_rng(4)
    for density in (0.05, 0.3, 0.6, 1.0):
        figures = measure(rng.random((90, 70)) < density).figures
        assert all(value is None or np.isfinite(value) for value in figures.values())


def test_the_interval_is_between_the_measurements():
    open_, closed = np.zeros((60, 100), bool), np.zeros((60, 100), bool)
    closed[30:33, 10:90] = True
    open_[:] = closed
    open_[:, 45:55] = False
    found = intervals([measure(open_), measure(closed), measure(np.zeros((60, 100)))])
    assert found["components"] == (0, 2)
    assert found["vessel_area"] == (0, 240)
    assert found["calibre_median"] is None


def test_a_curve_turns_back_when_it_comes_back_far_enough():
    values = np.array([0.0, 0.1, 0.5, 0.45, 0.9, 0.2, 0.3, 0.25])
    assert turning_points(values, 0.3) == [0.0, 0.9, 0.2]
    assert turning_points(np.array([0.0, 0.1, 0.05]), 0.3) == [0.0, 0.05]
    assert tortuosity(np.array([[0.0, 0.0]])) is None
    assert tortuosity(np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])) is None
    assert pytest.approx(np.pi / 12) == LEAST_TURN


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 40])
def test_smoothing_leaves_a_straight_line_alone(count):
    points = np.stack([np.arange(count), 2.0 * np.arange(count)], axis=1)
    curve, along = smooth(points, 20.0)
    assert len(curve) == len(along)
    np.testing.assert_allclose(curve[:, 1], 2 * curve[:, 0], atol=1e-9)
    np.testing.assert_allclose(curve[[0, -1]], points[[0, -1]], atol=1e-9)


def test_smoothing_halves_a_wave_of_its_period():
    x = np.arange(400.0)
    for period, share in ((20, 0.5), (40, 16 / 17), (80, 256 / 257)):
        curve, _ = smooth(np.stack([0.05 * np.sin(2 * np.pi * x / period), x], axis=1), 20.0)
        assert np.ptp(curve[100:300, 0]) / 0.1 == pytest.approx(share, abs=0.02)


def test_quantiles_are_weighted():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 8.0])
    assert [weighted_quantile(values, weights, share) for share in (0.05, 0.5, 0.95)] == [1, 2, 3]


def test_regions_from_a_file_and_around_a_disc(tmp_path):
    labels = np.zeros((100, 120), np.uint8)
    labels[:, :60], labels[:, 60:90] = 1, 7
    write_mask(tmp_path / "parts.tif", (labels > 0).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "parts.png"), labels)
    found = read_regions(tmp_path / "parts.png", (100, 120))
    assert {name: int(region.sum()) for name, region in found.items()} == {"region 1": 6000, "region 7": 3000}
    with pytest.raises(InputError, match="100 x 90 px"):
        read_regions(tmp_path / "parts.png", (100, 90))
    cv2.imwrite(str(tmp_path / "none.png"), labels * 0)
    with pytest.raises(InputError, match="hold 0 values"):
        read_regions(tmp_path / "none.png", (100, 120))
    rings = zones((200, 200), (100, 100), 10)
    assert rings["zone B"][100, 125]
    assert not rings["zone B"][100, 115]
    assert rings["zone A"][100, 115]
    assert rings["zone C"][100, 145]
    assert not rings["zone C"][100, 155]
    with pytest.raises(InputError, match="radius"):
        zones((10, 10), (5, 5), 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mask": np.zeros((3, 4, 5))}, "two axes"),
        ({"mask": np.zeros((0, 4))}, "0 x 4 px"),
        ({"mask": np.zeros((30, 40)), "fov": np.ones((40, 30), bool)}, "field of view"),
        ({"mask": np.zeros((30, 40)), "regions": {"a": np.ones((3, 3), bool)}}, "region 'a'"),
        ({"mask": np.zeros((30, 40)), "spacing": (0.0, 1.0)}, "above 0"),
        ({"mask": np.zeros((30, 40)), "spacing": (float("nan"), 1.0)}, "above 0"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        measure(**arguments)


def test_tables_have_a_cell_for_everything(tmp_path):
    mask = np.zeros((60, 100), bool)
    mask[30:33, 10:90] = True
    whole, none = measure(mask, regions=quadrants((60, 100))), measure(mask & False)
    rows = [Measured("a", "before", none), Measured("a", "after", whole, {"whole": intervals([whole, none])})]
    write_tables(tmp_path / "m.csv", rows, tmp_path / "s.csv")
    with (tmp_path / "m.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0]) == figure_columns(rows)
    assert [(row["mask"], row["region"]) for row in table][:3] == [
        ("before", "whole"),
        ("after", "whole"),
        ("after", "upper left"),
    ]
    assert (table[0]["calibre_mean"], table[0]["components"], table[1]["components"]) == ("", "0", "1")
    assert (table[1]["vessel_area_low"], table[1]["vessel_area_high"]) == ("0", "240")
    assert table[0]["vessel_area_low"] == ""
    assert len(figure_rows(rows)) == len(table)
    with (tmp_path / "s.csv").open(newline="") as stream:
        (segment,) = list(csv.DictReader(stream))
    assert (segment["segment"], segment["inflections"], segment["unit"]) == ("1", "0", "px")
    assert float(segment["length"]) == pytest.approx(80, abs=3)
