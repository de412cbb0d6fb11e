"""Betti matching error: drawings, and persistence computed from its definition on small random images."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_vessel.topology.metrics import (
    BettiError,
    BettiMatchingError,
    Comparison,
    betti_matching_error,
    betti_numbers,
)


def draw(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


LADDER = draw("#########", "#...#...#", "#########")
BROKEN = draw("###.#####", "#...#...#", "#########")
FRAME = draw("#########", "#.......#", "#########")
NOTHING = np.zeros_like(FRAME)


class TestBettiMatchingError:
    def test_of_a_mask_with_itself_is_nothing(self):
        assert betti_matching_error(LADDER, LADDER) == (0, 0)
        assert betti_matching_error(NOTHING, NOTHING) == (0, 0)

    def test_of_an_empty_mask_is_all_that_the_other_has(self):
        assert betti_matching_error(NOTHING, LADDER) == betti_matching_error(LADDER, NOTHING) == (1, 2)
        assert betti_matching_error(np.zeros((0, 4), bool), np.zeros((0, 4), bool)) == (0, 0)

    def test_of_a_full_mask(self):
        # All of it lies in one component, and no loop is left in the union.
        assert betti_matching_error(np.ones_like(LADDER), LADDER) == (0, 2)

    def test_of_a_broken_loop(self):
        assert betti_matching_error(BROKEN, LADDER) == (0, 1)

    def test_of_two_pieces_and_the_bridge_between_them(self):
        line, pieces = draw("#########"), draw("####.####")
        # One piece is the line's partner, the other has none.
        assert betti_matching_error(pieces, line) == betti_matching_error(line, pieces) == (1, 0)

    def test_of_a_false_loop(self):
        spur = draw("..###..", "..#.#..", "#######")
        assert betti_matching_error(spur, draw(".......", ".......", "#######")) == (0, 1)

    def test_of_a_bar_that_makes_two_loops_of_one(self):
        # Either of the two is the large loop's partner.
        assert betti_matching_error(LADDER, FRAME) == (0, 1)

    def test_sees_a_component_elsewhere_that_betti_numbers_miss(self):
        mask, truth = draw("###....##"), draw("###.##...")
        assert BettiError(0).compute(Comparison(mask, truth)) == 0
        assert betti_matching_error(mask, truth) == (2, 0)

    def test_sees_a_missing_and_a_false_loop(self):
        left, right = draw("###......", "#.#......", "#########"), draw("......###", "......#.#", "#########")
        assert BettiError(1).compute(Comparison(left, right)) == 0
        assert betti_matching_error(left, right) == (0, 2)

    def test_touching_at_a_corner_is_touching(self):
        # Vessel is 8-connected: both lie in one component of the union, though they share no pixel.
        assert betti_matching_error(draw("##..", "...."), draw("....", "..##")) == (0, 0)
        # Background is 4-connected: the diagonal parts the hole, as two vessels would.
        hole = draw("####", "#..#", "#..#", "####")
        parted = draw("####", "##.#", "#.##", "####")
        assert betti_matching_error(parted, hole) == (0, 1)

    def test_a_sliver_between_two_drawings_of_one_vessel_costs_nothing(self):
        side, ends = "#...#...#", "#########"
        straight = draw(ends, side, side, side, side, side, ends)
        bent = draw(ends, side, "#....#..#", "#.....#.#", "#....#..#", side, ends)
        # The sliver is a hole of the union, in the left loop of one and the right loop of the other.
        assert betti_numbers(bent | straight)[1] == 3
        assert betti_matching_error(bent, straight) == betti_matching_error(straight, bent) == (0, 0)

    def test_as_metrics_inside_the_field_of_view(self):
        fov = np.ones_like(LADDER)
        fov[:, 5:] = False
        pair = Comparison(BROKEN, LADDER, fov)
        assert [BettiMatchingError(d).name for d in (0, 1)] == ["betti_matching0", "betti_matching1"]
        assert [BettiMatchingError(d).compute(pair) for d in (0, 1)] == [0, 1]
        assert [BettiMatchingError(d).compute(Comparison(LADDER, FRAME, fov)) for d in (0, 1)] == [0, 1]


@st.composite
def two_masks(draw_from):
    masks = arrays(np.bool_, draw_from(array_shapes(min_dims=2, max_dims=2, max_side=14)), elements=st.booleans())
    return draw_from(masks), draw_from(masks)


@given(two_masks())
@settings(max_examples=100, deadline=None)
def test_is_symmetric_turns_with_the_image_and_is_at_least_the_betti_error(pair):
    mask, truth = pair
    error = betti_matching_error(mask, truth)
    assert error == betti_matching_error(truth, mask)
    assert error == betti_matching_error(mask[::-1].T, truth[::-1].T)
    assert betti_matching_error(mask, mask) == (0, 0)
    for dimension, (ours, theirs) in enumerate(zip(betti_numbers(mask), betti_numbers(truth), strict=True)):
        assert abs(ours - theirs) <= error[dimension] <= ours + theirs
        assert (ours + theirs - error[dimension]) % 2 == 0


# From here on: persistent homology over Z/2 from its definition, on the cells of a cubical complex.


def cells_of(shape):
    """Return every vertex, edge and pixel of a picture as (y, x) on a grid twice as fine, and its dimension."""
    return {(y, x): y % 2 + x % 2 for y in range(2 * shape[0] + 1) for x in range(2 * shape[1] + 1)}


def boundary(cell):
    y, x = cell
    return [(y - 1, x), (y + 1, x)] * (y % 2) + [(y, x - 1), (y, x + 1)] * (x % 2)


def filtration(mask, order):
    """Return the cells as they enter: vessel pixels in `order`, then the others; a pixel brings what bounds it."""
    shape = mask.shape
    rank = {}
    pixels = sorted(np.ndindex(shape), key=lambda p: (not mask[p], order[p]))
    for n, (i, j) in enumerate(pixels):
        for y, x in itertools.product(range(2 * i, 2 * i + 3), range(2 * j, 2 * j + 3)):
            rank.setdefault((y, x), n)
    cells = cells_of(shape)
    vessel = {cell: n < int(mask.sum()) for cell, n in rank.items()}
    return sorted(cells, key=lambda c: (rank[c], cells[c], c)), vessel


def reduce(rows, columns):
    """Return (birth, death) cells by reducing the boundary matrix with its rows and columns in these orders."""
    place = {cell: n for n, cell in enumerate(rows)}
    pivots = {}
    for cell in columns:
        column = {place[c] for c in boundary(cell)}
        while column and max(column) in pivots:
            column ^= pivots[max(column)][0]
        if column:
            pivots[max(column)] = column, cell
    return {(rows[low], death) for low, (_, death) in pivots.items()}


def bars(cells, vessel, pairs):
    """Return the bars that are born in the vessel and die outside of it, per dimension; death None is never."""
    paired = {c for pair in pairs for c in pair}
    dimension = {c: c[0] % 2 + c[1] % 2 for c in cells}
    everything = [(b, d) for b, d in pairs] + [(c, None) for c in cells if c not in paired]
    return [
        {(b, d) for b, d in everything if dimension[b] == k and vessel[b] and not (d and vessel[d])} for k in (0, 1)
    ]


def persistent_matches(mask, truth, order):
    """Match the bars of two masks through image persistence into their union; return how many pairs, per dimension.

    Two bars are partners when the images of both in the union end with the same bar of the union (Stucki et al., 2023).
    """
    masks = [np.pad(m, 1) for m in (mask, truth, mask | truth)]
    order = np.pad(order, 1, constant_values=-1)
    (ours, in_ours), (theirs, in_theirs), (common, in_common) = (filtration(m, order) for m in masks)
    target = bars(common, in_common, reduce(common, common))
    reached = []
    for cells, vessel in ((ours, in_ours), (theirs, in_theirs)):
        own = bars(cells, vessel, reduce(cells, cells))
        through = reduce(cells, common)
        paired = {c for pair in through for c in pair}
        through |= {(c, None) for c in cells if c not in paired}
        ends = [{d for b, d in through if any(b == birth for birth, _ in own[k])} for k in (0, 1)]
        reached.append([ends[k] & {d for _, d in target[k]} for k in (0, 1)])
    return tuple(len(reached[0][k] & reached[1][k]) for k in (0, 1))


def flood(mask, neighbours):
    """Return the regions of a mask as sets of pixels."""
    left, regions = {tuple(map(int, p)) for p in np.argwhere(mask)}, []
    while left:
        todo, region = [left.pop()], set()
        while todo:
            y, x = todo.pop()
            region.add((y, x))
            near = {(y + a, x + b) for a, b in neighbours} & left
            left -= near
            todo += near
        regions.append(region)
    return regions


CROSS = [(-1, 0), (1, 0), (0, -1), (0, 1)]
SQUARE = [*CROSS, (-1, -1), (-1, 1), (1, -1), (1, 1)]


def components(mask):
    return flood(mask, SQUARE)


def holes(mask):
    return [r for r in flood(np.pad(~mask, 1, constant_values=True), CROSS) if (0, 0) not in r]


def most(triples):
    """Return the size of the largest set of triples that share nothing, by trying all."""
    if not triples:
        return 0
    first, *others = triples
    free = [t for t in others if all(a != b for a, b in zip(t, first, strict=True))]
    return max(most(others), 1 + most(free))


def defined_matches(mask, truth):
    """Count the pairs by the definition: sets of pixels, and every way to pair them."""
    counts = []
    for find, is_in in ((components, lambda part, whole: part <= whole), (holes, lambda part, whole: part >= whole)):
        ours, theirs, common = find(mask), find(truth), find(mask | truth)
        triples = [
            (p, u, g)
            for u, union in enumerate(common)
            for p, part in enumerate(ours)
            for g, other in enumerate(theirs)
            if is_in(part, union) and is_in(other, union)
        ]
        counts.append(most(triples))
    return tuple(counts)


def pairs_found(mask, truth):
    error = betti_matching_error(mask, truth)
    return tuple((a + b - e) // 2 for a, b, e in zip(betti_numbers(mask), betti_numbers(truth), error, strict=True))


def random_pair(seed):
    """Return two masks that share a part, as a prediction and its truth do; sides of 5 to 9 pixels."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(5, 10, 2))
    truth = rng.random(shape) < rng.choice([0.2, 0.4, 0.6, 0.7])
    flip = rng.random(shape) < rng.choice([0.05, 0.15, 0.4])
    return truth ^ flip, truth


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_its_definition_by_trying_all_pairs(seed):
    mask, truth = random_pair(seed)
    assert pairs_found(mask, truth) == defined_matches(mask, truth)


def test_the_reference_has_the_betti_numbers_of_gudhi():
    gudhi = pytest.importorskip("gudhi")
    for seed in range(10):
        mask, _ = random_pair(seed)
        padded = np.pad(mask, 1)
        order = np.random.default_rng(seed).permutation(padded.size).reshape(padded.shape)
        cells, vessel = filtration(padded, order)
        complex_ = gudhi.CubicalComplex(top_dimensional_cells=1.0 - padded)
        complex_.compute_persistence()
        numbers = [len(b) for b in bars(cells, vessel, reduce(cells, cells))]
        assert numbers == list(complex_.persistent_betti_numbers(0.5, 0.5)[:2])


@pytest.mark.parametrize("seed", range(15))
def test_no_order_of_equal_pixels_pairs_fewer_components_or_more_loops(seed):
    mask, truth = random_pair(seed)
    most_components, most_loops = pairs_found(mask, truth)
    rng = np.random.default_rng(seed)
    scan = np.arange(mask.size)
    for order in (scan, *(rng.permutation(mask.size) for _ in range(2))):
        found = persistent_matches(mask, truth, order.reshape(mask.shape))
        assert found[0] >= most_components
        assert found[1] <= most_loops


@pytest.mark.parametrize("seed", [s for s in range(100, 130) if 2 <= len(holes(np.logical_or(*random_pair(s)))) <= 3])
def test_some_order_of_equal_pixels_gives_the_same_pairs_of_loops(seed):
    mask, truth = random_pair(seed)
    best = 0
    for turn in itertools.permutations(holes(mask | truth)):
        order = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), int)
        for n, hole in enumerate(turn):
            order[tuple(zip(*hole, strict=True))] = n + 1
        best = max(best, persistent_matches(mask, truth, order[1:-1, 1:-1])[1])
    assert best == pairs_found(mask, truth)[1]


def test_the_published_matching_hangs_on_the_order_of_equal_pixels():
    mask, truth = draw("#....", ".....", "....#"), draw("..#..", ".....", "....#")
    scan = np.arange(mask.size).reshape(mask.shape)
    # From the top, background joins the two pieces that lie apart before it meets the common one, and from below not.
    assert persistent_matches(mask, truth, scan) == (2, 0)
    assert persistent_matches(mask[::-1], truth[::-1], scan) == (1, 0)
    assert pairs_found(mask, truth) == pairs_found(mask[::-1], truth[::-1]) == (1, 0)


@pytest.mark.parametrize("seed", range(200, 212))
def test_background_that_grows_from_a_common_component_pairs_no_other_components(seed):
    mask, truth = random_pair(seed)
    shared = [u for u in components(mask | truth) if all(any(m[p] for p in u) for m in (mask, truth))]
    start = shared[0] if shared else components(mask | truth)[0]
    distance = dict.fromkeys(start, 0)
    edge = list(start)
    for y, x in edge:
        for p in ((y + a, x + b) for a, b in SQUARE):
            if p not in distance and 0 <= p[0] < mask.shape[0] and 0 <= p[1] < mask.shape[1]:
                distance[p] = distance[y, x] + 1
                edge.append(p)
    order = np.array([[distance[y, x] for x in range(mask.shape[1])] for y in range(mask.shape[0])])
    # Persistence always pairs one of each, wherever they lie.
    expected = max(1, pairs_found(mask, truth)[0])
    assert persistent_matches(mask, truth, order)[0] == expected
