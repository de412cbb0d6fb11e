"""Vessel trees by space colonisation, with radii by Murray's law.

Runions, Lane, Prusinkiewicz, "Modeling trees with a space colonization algorithm", 2007; Murray, PNAS 12, 1926.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_SHARPEST = 0.35


@dataclass(frozen=True, eq=False, slots=True)
class VesselTree:
    """One or more rooted trees.

    Attributes
    ----------
    points : ndarray of float64, shape (N, 2)
        Nodes, (y, x) in pixels.
    parents : ndarray of int64, shape (N,)
        Index of each node's parent, always smaller than its own; -1 for a root.
    radii : ndarray of float64, shape (N,)
        Vessel radius at each node, px.
    """

    points: Points
    parents: NDArray[np.int64]
    radii: NDArray[np.float64]

    def children(self) -> NDArray[np.int64]:
        """Return how many children each node has."""
        return np.bincount(self.parents[self.parents >= 0], minlength=len(self.parents)).astype(np.int64)

    def roots(self) -> NDArray[np.int64]:
        """Return the root of each node's tree."""
        found = np.arange(len(self.parents))
        for node in np.flatnonzero(self.parents >= 0).tolist():
            found[node] = found[self.parents[node]]
        return found


def colonise(
    points: Points,
    parents: NDArray[np.int64],
    attractors: Points,
    *,
    attraction: float = 20.0,
    kill: float = 10.0,
    segment: float = 4.0,
    inertia: float = 0.6,
    max_rounds: int = 600,
    obstacles: NDArray[np.bool_] | None = None,
    sharpest: float = _SHARPEST,
) -> tuple[Points, NDArray[np.int64]]:
    """Grow trees until every attractor in reach has been reached.

    Each round, every attractor pulls its nearest node, if that is nearer than `attraction`; a pulled node grows one
    segment towards the mean direction of its attractors; attractors nearer than `kill` to a node are used up.

    Parameters
    ----------
    points, parents : ndarray
        The trees to start from: roots, or whole trunks.
    attractors : ndarray of float64, shape (A, 2)
        (y, x) in pixels.
    attraction, kill : float, optional
        Distances, px.
    segment : float, optional
        Length of one segment, px. Must be no more than `kill`, or growth would jump over its attractors.
    inertia : float, optional
        Weight of the direction a branch already has; 0 gives crooked branches.
    max_rounds : int, optional
        Bound on the number of rounds.
    obstacles : ndarray of bool, shape (Y, X), optional
        Where nothing grows.
    sharpest : float, optional
        Cosine of the sharpest turn of a tip from one segment to the next; 70 degrees by default.

    Returns
    -------
    points, parents : ndarray
        The grown trees; the nodes given keep their indices.
    """
    from scipy.spatial import cKDTree

    points, parents = np.asarray(points, np.float64), np.asarray(parents, np.int64)
    left = np.asarray(attractors, np.float64)
    distance, nearest = cKDTree(points).query(left)
    heading = np.zeros_like(points)
    has_parent = parents >= 0
    heading[has_parent] = _unit(points[has_parent] - points[parents[has_parent]])
    for _ in range(max_rounds):
        alive = distance >= kill
        left, distance, nearest = left[alive], distance[alive], nearest[alive]
        near = distance < attraction
        if not near.any():
            break
        who = np.flatnonzero(near)
        pulled, index = np.unique(nearest[who], return_inverse=True)
        has_child = np.zeros(len(points), np.bool_)
        has_child[parents[parents >= 0]] = True
        by_distance = np.lexsort((distance[who], index))
        closest = who[by_distance[np.searchsorted(index[by_distance], np.arange(len(pulled)))]]
        hops = np.where(has_child[pulled], np.minimum(0.8 * distance[closest] / segment, 12), 0).astype(np.int64)
        origin = _upstream(parents, pulled, hops)
        pull = np.zeros((len(pulled), 2))
        np.add.at(pull, index, _unit(left[who] - points[origin[index]]))
        direction = _unit(_unit(pull) + inertia * heading[origin])
        new = points[origin] + segment * direction
        # A vessel does not turn back on itself, nor lie on another.
        least_cosine = np.where(has_child[origin], 0.0, sharpest)
        least_cosine[parents[origin] < 0] = -1.0
        tree = cKDTree(points)
        stuck = _stuck(tree, new, direction, heading[origin], least_cosine, segment, obstacles)
        # Attractors on opposite sides hold a node in place; there it follows the nearest one alone.
        alone = stuck.copy()
        if alone.any():
            direction[alone] = _unit(left[closest[alone]] - points[origin[alone]])
            new = points[origin] + segment * direction
            stuck = _stuck(tree, new, direction, heading[origin], least_cosine, segment, obstacles)
        grown = ~stuck
        # What a tip has passed may still be reached by a branch from further back; else it is given up.
        lost = closest[stuck]
        passed = ~has_child[pulled[stuck]] & (parents[pulled[stuck]] >= 0)
        nearest[lost[passed]] = parents[pulled[stuck][passed]]
        distance[lost[~passed]] = 0.0
        if not grown.any():
            continue
        first = len(points)
        points = np.concatenate([points, new[grown]])
        parents = np.concatenate([parents, origin[grown]])
        heading = np.concatenate([heading, direction[grown]])
        # An attractor follows the sprout it called for, even while the vessel that sprouted is nearer.
        sprout = np.full(len(pulled), -1)
        sprout[grown] = np.arange(first, len(points))
        follows = (sprout[index] >= 0) & (~alone[index] | (who == closest[index]))
        called = who[follows]
        nearest[called] = sprout[index[follows]]
        away = np.hypot(*(left[called] - points[nearest[called]]).T)
        distance[called] = np.minimum(away, np.nextafter(attraction, 0))
        closer, which = cKDTree(points[first:]).query(left)
        better = closer < distance
        distance = np.where(better, closer, distance)
        nearest = np.where(better, which + first, nearest)
    return points, parents


def _stuck(
    tree: Any,
    new: Points,
    direction: Points,
    heading: Points,
    least_cosine: NDArray[np.float64],
    segment: float,
    obstacles: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """Whether new nodes turn too sharply, or come to lie on an old one or in an obstacle."""
    turned = (direction * heading).sum(axis=1) < least_cosine
    if obstacles is not None:
        last = np.array(obstacles.shape) - 1
        y, x = np.clip(np.rint(new).astype(np.int64), 0, last).T
        turned |= obstacles[y, x]
    return np.asarray(turned | (tree.query(new)[0] <= 0.5 * segment), np.bool_)


def _upstream(parents: NDArray[np.int64], nodes: NDArray[np.int64], hops: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where nodes sprout: so many nodes towards the root, so that branches leave at an acute angle."""
    origin = nodes.copy()
    for hop in range(int(hops.max(initial=0))):
        up = parents[origin]
        origin = np.where((hop < hops) & (up >= 0), up, origin)
    return origin


def _unit(vectors: Points) -> Points:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float64)


def murray_radii(
    parents: NDArray[np.int64], tip_radius: float, *, exponent: float = 3.0, taper: float = 0.0
) -> NDArray[np.float64]:
    """Return radii from the tips down: r_parent^e = sum of r_child^e.

    Parameters
    ----------
    parents : ndarray of int64, shape (N,)
        Each smaller than the node's own index; -1 for a root.
    tip_radius : float
        Radius of every tip, px.
    exponent : float, optional
        3 in Murray's law.
    taper : float, optional
        Added to r^e per node, as a share of a tip's: twigs too thin to be drawn, which make a branch taper.
    """
    unit = tip_radius**exponent
    cubes = np.zeros(len(parents))
    tips = np.bincount(parents[parents >= 0], minlength=len(parents)) == 0
    cubes[tips] = unit
    # Children come after their parents, so one backward pass sees every child before its parent.
    for node in range(len(parents) - 1, -1, -1):
        cubes[node] += taper * unit
        if parents[node] >= 0:
            cubes[parents[node]] += cubes[node]
    return np.asarray(cubes ** (1.0 / exponent), np.float64)


def smooth(points: Points, parents: NDArray[np.int64], rounds: int = 4) -> Points:
    """Return nodes moved towards the middle of their neighbours; roots, tips and branch points stay."""
    count = np.bincount(parents[parents >= 0], minlength=len(parents))
    child = np.full(len(parents), -1, np.int64)
    has_parent = np.flatnonzero(parents >= 0)
    child[parents[has_parent]] = has_parent
    middle = np.flatnonzero((count == 1) & (parents >= 0))
    points = points.copy()
    for _ in range(rounds):
        points[middle] = 0.5 * points[middle] + 0.25 * (points[parents[middle]] + points[child[middle]])
    return points


def drop_spurs(parents: NDArray[np.int64], least: int) -> NDArray[np.bool_]:
    """Return which nodes to keep so that no side branch has fewer than `least` nodes."""
    height = np.ones(len(parents), np.int64)
    for node in range(len(parents) - 1, -1, -1):
        if parents[node] >= 0:
            height[parents[node]] = max(height[parents[node]], height[node] + 1)
    tallest = np.zeros(len(parents), np.int64)
    has_parent = parents >= 0
    np.maximum.at(tallest, parents[has_parent], height[has_parent])
    keep = np.ones(len(parents), np.bool_)
    for node in range(len(parents)):
        parent = parents[node]
        if parent >= 0:
            # The tallest child goes on; a lower one is a side branch, and stays when it is long enough.
            keep[node] = keep[parent] and (height[node] == tallest[parent] or height[node] >= least)
    return keep


def link_tips(tree: VesselTree, reach: float, between: Callable[[Points], NDArray[np.bool_]]) -> VesselTree:
    """Return the trees with tips led on to the vessel before them, so that vessels form loops.

    Parameters
    ----------
    tree : VesselTree
        Trees, whose growth stops short of every vessel.
    reach : float
        Longest link, px.
    between : callable
        From the middles of possible links, shape (N, 2), to whether each may be.
    """
    from scipy.spatial import cKDTree

    nodes = cKDTree(tree.points)
    tips = np.flatnonzero((tree.children() == 0) & (tree.parents >= 0))
    starts: list[int] = []
    ends: list[int] = []
    for tip in tips.tolist():
        own = {tip}
        node = tip
        for _ in range(8):
            node = int(tree.parents[node])
            if node < 0:
                break
            own.add(node)
        near = np.array([n for n in nodes.query_ball_point(tree.points[tip], reach) if n not in own], np.int64)
        if len(near) == 0:
            continue
        ahead = tree.points[tip] - tree.points[tree.parents[tip]]
        steps = tree.points[near] - tree.points[tip]
        may = (_unit(steps) @ _unit(ahead[None])[0] > _SHARPEST) & between(tree.points[tip] + 0.5 * steps)
        if may.any():
            starts.append(tip)
            ends.append(int(near[may][np.argmin(np.hypot(*steps[may].T))]))
    if not starts:
        return tree
    return VesselTree(
        np.concatenate([tree.points, tree.points[ends]]),
        np.concatenate([tree.parents, np.asarray(starts, np.int64)]),
        np.concatenate([tree.radii, np.minimum(tree.radii[starts], tree.radii[ends])]),
    )


def keep_nodes(tree: VesselTree, keep: NDArray[np.bool_]) -> VesselTree:
    """Return the tree without the nodes not in `keep` and everything that grows from them."""
    kept = keep.copy()
    for node in range(len(kept)):
        parent = tree.parents[node]
        if parent >= 0 and not kept[parent]:
            kept[node] = False
    index = np.cumsum(kept) - 1
    parents = tree.parents[kept]
    return VesselTree(tree.points[kept], np.where(parents >= 0, index[parents], -1), tree.radii[kept])


def join(trees: list[VesselTree]) -> VesselTree:
    """Return several trees as one forest."""
    offsets = np.cumsum([0] + [len(t.parents) for t in trees[:-1]])
    return VesselTree(
        np.concatenate([t.points for t in trees]),
        np.concatenate([np.where(t.parents >= 0, t.parents + o, -1) for t, o in zip(trees, offsets, strict=True)]),
        np.concatenate([t.radii for t in trees]),
    )
