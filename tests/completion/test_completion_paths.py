"""Ways through the evidence: to whatever is reached at the least cost, on masks of any scale."""

import numpy as np
import pytest

from napari_vessel.completion.paths import cheapest_ways, field_of


def scene(scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Branch 1 ends; 2 is near, to one side; 3 is far, at the end of a visible way."""
    branches = np.zeros((60 * scale, 140 * scale), np.int32)
    support = np.zeros(branches.shape, np.float32)

    def at(y0: int, y1: int, x0: int, x1: int) -> tuple[slice, slice]:
        return np.s_[y0 * scale : y1 * scale, x0 * scale : x1 * scale]

    branches[at(29, 32, 5, 40)] = 1
    branches[at(5, 8, 20, 70)] = 2
    branches[at(10, 50, 110, 113)] = 3
    support[at(29, 32, 38, 112)] = 0.9
    return support, branches


@pytest.mark.parametrize("scale", [1, 4])
def test_the_way_that_shows_is_followed_however_far_it_leads(scale):
    support, branches = scene(scale)
    field = field_of(support, branches, 3.0 * scale)
    assert field.factor == scale
    start = (30 * scale, 38 * scale)

    first, *others = cheapest_ways(field, start, (0.0, 1.0), 3.0 * scale, 3)

    y, x = np.rint(first).astype(int).T
    assert branches[y[0], x[0]] == 1
    assert branches[y[-1], x[-1]] == 3
    assert (abs(first[:, 0] - (30.5 * scale - 0.5)) <= 1.5 * scale).all()
    assert [branches[tuple(np.rint(path[-1]).astype(int))] for path in others] == [2]


def test_a_way_ends_at_the_first_vessel_it_meets():
    support, branches = scene()
    branches[20:40, 80:83] = 4
    field = field_of(support, branches, 3.0)

    paths = list(cheapest_ways(field, (30, 38), (0.0, 1.0), 3.0, 5))

    ends = [int(branches[tuple(np.rint(path[-1]).astype(int))]) for path in paths]
    assert ends[0] == 4
    # What lies behind it is reached around it, if at all.
    for path in paths[1:]:
        if path[-1, 1] > 85:
            assert abs(path[:, 0] - 30).max() > 8


def test_nothing_is_found_where_every_way_is_too_dear():
    support, branches = scene()
    branches[branches == 2] = 0
    field = field_of(np.zeros_like(support), branches, 3.0)
    assert list(cheapest_ways(field, (30, 38), (0.0, 1.0), 3.0, 3)) == []


def test_no_more_branches_are_found_than_asked_for():
    support, branches = scene()
    field = field_of(support, branches, 3.0)
    assert len(list(cheapest_ways(field, (30, 38), None, 3.0, 1))) == 1


def test_ways_leave_a_block_that_another_branch_has_a_pixel_of():
    branches = np.zeros((60, 120), np.int32)
    branches[30:32, :42] = 2
    branches[33:36, :42] = 1
    branches[20:50, 78:82] = 3
    support = np.zeros(branches.shape, np.float32)
    support[33:36] = 1.0
    field = field_of(support, branches, 18.0)
    start = (34, 41)
    # The block of the start is counted to the branch beside it.
    assert branches[start] == 1
    assert field.branches[start[0] // field.factor, start[1] // field.factor] == 2

    ways = cheapest_ways(field, start, (0.0, 1.0), 18.0, 3)

    assert 3 in [branches[tuple(np.rint(way[-1]).astype(int))] for way in ways]
