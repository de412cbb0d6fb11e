"""Centrelines as branches: no connection is lost, and no end is made up."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_vessel.topology.calibre import local_radius
from napari_vessel.topology.components import fill_holes
from napari_vessel.topology.graph import Graph
from napari_vessel.topology.measurement import measure
from napari_vessel.topology.metrics.comparison import betti_numbers
from napari_vessel.topology.skeleton import centreline, label_branches, prune_spurs

AROUND_A_HOLE = """
................######
.............###......
............#.........
.......#...#..........
........###...........
.......#..#...........
......#...#...........
....##...#............
...#..###.............
..#.....#.............
.#......#.............
#.......#.............
......##..............
.....#.#..............
........#.............
.........#............
.........#............
.........#............
"""


def loops_of(graph: Graph) -> int:
    """Count the independent cycles of the branches alone."""
    group: dict[int, int] = {}

    def root(place: int) -> int:
        while (above := group.setdefault(place, place)) != place:
            place = above
        return place

    found = 0
    for branch in graph.branches:
        first, second = branch.places
        if first and second:
            found += root(first) == root(second)
            group[root(first)] = root(second)
        elif not first and not second and len(branch.points) > 3:
            found += float(np.abs(branch.points[0] - branch.points[-1]).max()) <= 1.0
    return found


def test_a_pixel_with_one_meeting_place_at_both_its_sides_is_no_end():
    drawn = np.asarray([[c == "#" for c in row] for row in AROUND_A_HOLE.split()])
    mask = np.pad(drawn, 10)
    assert betti_numbers(mask) == (1, 1)
    assert measure(mask).figures["ends"] == 4
    assert loops_of(Graph(mask)) == 1


@pytest.mark.parametrize("seed", range(6))
def test_the_branches_have_the_loops_of_their_centrelines(seed):
    rng = np.random.default_rng(seed)
    for _ in range(4):
        noise = cv2.GaussianBlur(rng.standard_normal((160, 160)), (0, 0), 1.0)
        mask = fill_holes(noise > rng.uniform(-0.2, 0.2) * noise.std(), 4)
        lines = prune_spurs(centreline(mask), local_radius(mask))
        zones = lines & (label_branches(lines)[0] == 0)
        assert loops_of(Graph(lines)) + betti_numbers(zones)[1] == betti_numbers(lines)[1]
