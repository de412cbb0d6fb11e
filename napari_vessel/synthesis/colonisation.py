"""Vessel trees by space colonisation, with radii by Murray's law.

Runions, Lane, Prusinkiewicz, "Modeling trees with a space colonization algorithm", 2007; Murray, PNAS 12, 1926.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


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
        Length of one segment, px. Must be less than `kill`, or growth would jump over its attractors.
    inertia : float, optional
        Weight of the direction a branch already has; 0 gives crooked branches.
    max_rounds : int, optional
        Bound on the number of rounds.

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
        pulled, index = np.unique(nearest[near], return_inverse=True)
        pull = np.zeros((len(pulled), 2))
        np.add.at(pull, index, _unit(left[near] - points[nearest[near]]))
        direction = _unit(_unit(pull) + inertia * heading[pulled])
        new = points[pulled] + segment * direction
        # Two attractors on opposite sides can hold a node in place for ever: drop what does not get away.
        gap, _ = cKDTree(points).query(new)
        grown = gap > 0.5 * segment
        if not grown.any():
            break
        first = len(points)
        points = np.concatenate([points, new[grown]])
        parents = np.concatenate([parents, pulled[grown]])
        heading = np.concatenate([heading, direction[grown]])
        closer, which = cKDTree(points[first:]).query(left)
        better = closer < distance
        distance = np.where(better, closer, distance)
        nearest = np.where(better, which + first, nearest)
    return points, parents


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
