"""Trees grow to their attractors, and their radii obey Murray's law."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from napari_vessel.synthesis.colonisation import (
    VesselTree,
    colonise,
    drop_spurs,
    join,
    keep_nodes,
    link_tips,
    murray_radii,
    smooth,
)

ROOT = np.array([[0.0, 100.0]])
NO_PARENT = np.array([-1])


def cloud(seed: int, count: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 200, (count, 2))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_grown_trees_are_trees(seed: int) -> None:
    points, parents = colonise(ROOT, NO_PARENT, cloud(seed))
    assert parents[0] == -1
    assert np.array_equal(points[0], ROOT[0])
    children = np.arange(1, len(parents))
    assert (parents[1:] >= 0).all()
    assert (parents[1:] < children).all()
    lengths = np.hypot(*(points[1:] - points[parents[1:]]).T)
    np.testing.assert_allclose(lengths, 4.0, atol=1e-9)


def test_most_of_a_dense_cloud_is_reached() -> None:
    attractors = cloud(3)
    points, _ = colonise(ROOT, NO_PARENT, attractors)
    distance, _ = cKDTree(points).query(attractors)
    assert (distance < 20).mean() > 0.9


def test_the_same_cloud_gives_the_same_tree() -> None:
    first, second = (colonise(ROOT, NO_PARENT, cloud(1))[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_attractors_out_of_reach_grow_nothing() -> None:
    points, parents = colonise(ROOT, NO_PARENT, np.array([[190.0, 100.0]]))
    assert len(points) == len(parents) == 1


def test_a_trunk_between_two_attractors_sprouts_to_both() -> None:
    trunk = np.stack([np.arange(0, 80, 4.0), np.full(20, 100.0)], axis=1)
    points, _ = colonise(trunk, np.arange(-1, 19), np.array([[40.0, 85.0], [40.0, 115.0]]))
    distance, _ = cKDTree(points).query(np.array([[40.0, 85.0], [40.0, 115.0]]))
    assert (distance < 10).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(2.0, 4.0))
def test_radii_obey_murray(seed: int, exponent: float) -> None:
    _, parents = colonise(ROOT, NO_PARENT, cloud(seed))
    radii = murray_radii(parents, 0.8, exponent=exponent)
    sums = np.zeros(len(parents))
    np.add.at(sums, parents[1:], radii[1:] ** exponent)
    inner = sums > 0
    np.testing.assert_allclose(radii[inner] ** exponent, sums[inner], rtol=1e-9)
    np.testing.assert_allclose(radii[~inner], 0.8)


def test_taper_thins_a_branch_towards_its_tip() -> None:
    radii = murray_radii(np.arange(-1, 49), 1.0, taper=0.1)
    assert (np.diff(radii) < 0).all()


def chain(*parents: int) -> np.ndarray:
    return np.array(parents)


def test_smoothing_keeps_ends_and_forks() -> None:
    #  0 - 1 - 2 - 3, and 2 - 4
    points = np.array([[0.0, 0], [3, 1], [0, 2], [0, 3], [1, 3]])
    moved = smooth(points, chain(-1, 0, 1, 2, 2))
    assert np.array_equal(moved[[0, 2, 3, 4]], points[[0, 2, 3, 4]])
    assert 0 < moved[1, 0] < 3


def test_short_side_branches_are_dropped_long_ones_kept() -> None:
    #  0 - 1 - 2 - 3 - 4 - 5 - 10 with 6 off 1, and 7 - 8 - 9 off 2
    parents = chain(-1, 0, 1, 2, 3, 4, 1, 2, 7, 8, 5)
    keep = drop_spurs(parents, 3)
    assert np.flatnonzero(~keep).tolist() == [6]
    assert drop_spurs(parents, 4)[[7, 8, 9]].tolist() == [False] * 3


def test_what_grows_from_a_dropped_node_goes_too() -> None:
    tree = VesselTree(np.zeros((5, 2)), chain(-1, 0, 1, 2, 0), np.arange(5.0))
    left = keep_nodes(tree, np.array([True, False, True, True, True]))
    assert left.parents.tolist() == [-1, 0]
    assert left.radii.tolist() == [0.0, 4.0]


def test_joined_trees_keep_their_parents() -> None:
    tree = VesselTree(np.zeros((3, 2)), chain(-1, 0, 0), np.ones(3))
    both = join([tree, tree])
    assert both.parents.tolist() == [-1, 0, 0, -1, 3, 3]
    assert both.children().tolist() == [2, 0, 0, 2, 0, 0]


def test_nothing_grows_in_an_obstacle() -> None:
    wall = np.zeros((200, 200), np.bool_)
    wall[60:140, 60:140] = True
    attractors = cloud(5, 800)
    free, _ = colonise(ROOT, NO_PARENT, attractors)
    points, _ = colonise(ROOT, NO_PARENT, attractors, obstacles=wall)

    def inside(nodes: np.ndarray) -> int:
        y, x = np.clip(np.rint(nodes), 0, 199).astype(int).T
        return int(wall[y, x].sum())

    assert inside(free) > 50
    assert inside(points) == 0


def test_a_tip_is_led_on_to_the_vessel_ahead_only_where_it_may() -> None:
    #  a vessel up the side, and another that stops 9 px before it
    upright = VesselTree(np.stack([np.arange(0, 80, 4.0), np.full(20, 60.0)], 1), np.arange(-1, 19), np.full(20, 3.0))
    along = np.stack([np.full(12, 40.0), np.arange(7, 55, 4.0)], 1)
    both = join([upright, VesselTree(along, np.arange(-1, 11), np.full(12, 1.5))])
    linked = link_tips(both, 12.0, lambda middle: np.ones(len(middle), np.bool_))
    assert len(linked.points) == len(both.points) + 1
    assert linked.points[-1].tolist() == [40.0, 60.0]
    assert linked.parents[-1] == 31
    assert linked.radii[-1] == 1.5
    assert link_tips(both, 12.0, lambda middle: np.zeros(len(middle), np.bool_)) is both
    assert len(link_tips(both, 6.0, lambda middle: np.ones(len(middle), np.bool_)).points) == len(both.points)
