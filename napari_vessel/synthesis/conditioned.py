"""Trees that run where the vessels of a real mask run, though never quite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import Modality
from napari_vessel.synthesis.appearance import clouds
from napari_vessel.synthesis.colonisation import (
    Points,
    VesselTree,
    colonise,
    drop_spurs,
    keep_nodes,
    link_tips,
    murray_radii,
    smooth,
)
from napari_vessel.synthesis.layouts import meander, scatter
from napari_vessel.synthesis.likeness import Learnt

SIDE = 512.0
"""Shorter side of the image, px, for which the distances below are."""

# Share of the real vessels, the widest, and attraction and kill distance: trunks first, or twigs would grow into their
# place; then as published; then nearer, for what was gone past.
_PASSES = ((0.35, 20.0, 6.0), (1.0, 20.0, 10.0), (1.0, 14.0, 4.0))
_SEGMENT = 4.0
"""No longer than the kill distances, so that growth does not jump over attractors and vessels keep their bends."""
_SPACING = 4.0
_LEAST_COMPONENT = 12.0
_SHARPEST = 0.7
_LEAST_BRANCH = 4
_LEAST_TREE = 5
_TAPER = 0.02
_FORGOTTEN = (0.0, 0.05)
"""Share of the real vessels that a tree leaves out."""


@dataclass(frozen=True, eq=False, slots=True)
class Move:
    """How a real mask is turned into another one: mirrored, turned, stretched and bent.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the result, px.
    middle : ndarray of float64, shape (2,)
        Of the real mask.
    matrix : ndarray of float64, shape (2, 2)
        About the middle.
    bend : ndarray of float32, shape (2, Y, X)
        How far to move then, px.
    camera : ndarray of float64, shape (2, 2)
        The matrix for the field of view, which is mirrored and scaled only: a camera hangs upright.
    """

    shape: tuple[int, int]
    middle: NDArray[np.float64]
    matrix: NDArray[np.float64]
    bend: NDArray[np.float32]
    camera: NDArray[np.float64]

    @property
    def scale(self) -> float:
        """How much longer a vessel becomes."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def __call__(self, points: Points) -> Points:
        """Return where points come to lie."""
        half = (np.array(self.shape) - 1) / 2
        flat = (points - self.middle) @ self.matrix.T + half
        y, x = np.clip(np.rint(flat).astype(np.int64), 0, np.array(self.shape) - 1).T
        return np.asarray(flat + self.bend[:, y, x].T, np.float64)

    def field(self, fov: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return where a field of view comes to lie."""
        import cv2

        half = (np.array(self.shape) - 1) / 2
        back = np.linalg.inv(self.camera)[::-1, ::-1]
        offset = self.middle[::-1] - back @ half[::-1]
        there = cv2.warpAffine(
            fov.astype(np.uint8),
            np.column_stack([back, offset]),
            (self.shape[1], self.shape[0]),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        )
        return np.asarray(there > 0, np.bool_)


def draw_move(
    rng: np.random.Generator, learnt: Learnt, shape: tuple[int, int], *, mirror: bool | None, upright: bool
) -> Move:
    """Draw a random move.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides what is not given.
    learnt : Learnt
        The mask.
    shape : tuple of int
        Height and width of the result, px.
    mirror : bool or None
        Whether to swap left and right; None leaves it to chance.
    upright : bool
        Whether top stays top.
    """
    height, width = learnt.shape
    ratios = (shape[0] / height, shape[1] / width)
    # A field of view stays whole; without one, or with one of the whole frame, the picture is filled.
    scale = max(ratios) * rng.uniform(1.0, 1.15) if learnt.fov is None or learnt.fov.all() else min(ratios)
    turn = rng.uniform(-0.12, 0.12)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    swap = rng.random() < 0.5 if mirror is None else mirror
    flip = np.diag([1.0 if upright or rng.random() < 0.5 else -1.0, -1.0 if swap else 1.0])
    side = min(shape)
    bend = np.stack([0.012 * side * clouds(rng, shape, 0.2 * side) for _ in range(2)])
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    return Move(shape, middle, scale * rotation @ flip, bend, scale * flip)


def follow(rng: np.random.Generator, learnt: Learnt, move: Move, modality: Modality) -> VesselTree:
    """Grow trees to the centrelines of a real mask and, sparsely, to points beside them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides what is left out and what is added.
    learnt : Learnt
        The mask.
    move : Move
        Where its points come to lie.
    modality : Modality
        It decides where vessels begin.

    Returns
    -------
    VesselTree
        A forest. Its radii are between Murray's law and those of the mask.
    """
    from scipy.spatial import cKDTree

    unit = min(move.shape) / SIDE
    there = move(learnt.points)
    lines = cKDTree(there)
    radii = learnt.radii * move.scale
    # Whole stretches are forgotten, not single pixels.
    gone = clouds(rng, move.shape, 26 * unit)
    y, x = np.clip(np.rint(there).astype(np.int64), 0, np.array(move.shape) - 1).T
    share = rng.uniform(*_FORGOTTEN)
    kept = (gone[y, x] >= np.quantile(gone[y, x], share)) | (radii >= np.quantile(radii, 0.75))
    chosen = np.flatnonzero(kept)[_thin(there[kept], _SPACING * unit)]
    grid = scatter(rng, move.shape, 40 * unit)
    roots = _roots(learnt, chosen, modality)
    near, nearest = lines.query(grid)
    # Only as many more as the mask is dense, beside a vessel and within reach of it.
    near -= radii[nearest]
    grid = grid[(near > 12 * unit) & (near < 34 * unit) & (rng.random(len(grid)) < 0.3)]
    if learnt.fov is not None:
        field = move.field(learnt.fov)
        gy, gx = np.clip(np.rint(grid).astype(np.int64), 0, np.array(move.shape) - 1).T
        grid = grid[field[gy, gx]]
    points, parents = there[roots], np.full(len(roots), -1, np.int64)
    for share, attraction, kill in _PASSES:
        wide = radii[chosen] >= np.quantile(radii[chosen], 1.0 - share)
        attractors = there[chosen] if share < 1.0 else np.concatenate([there[chosen], grid])
        attractors = attractors[wide] if share < 1.0 else attractors
        points, parents = _grow(points, parents, attractors, attraction * unit, kill * unit, unit)
    points, parents = _reach(points, parents, there[chosen], unit)
    tree = VesselTree(points, parents, np.ones(len(points)))
    tree = keep_nodes(tree, drop_spurs(parents, _LEAST_BRANCH))
    large = _large(tree)
    # Of a mask with one short vessel a speck is all there is.
    tree = keep_nodes(tree, large | ~large.any())
    tree = VesselTree(tree.points, tree.parents, _radii(rng, tree, there, radii, learnt.width * move.scale, unit))
    tree = keep_nodes(tree, ~_stubs(tree))
    points = meander(rng, smooth(tree.points, tree.parents, 2), 0.8 * unit, 20.0 * unit)
    # Growth stops short of a vessel, but real vessels cross and form loops.
    return link_tips(
        VesselTree(points, tree.parents, tree.radii), 16.0 * unit, lambda middle: lines.query(middle)[0] < 3.0 * unit
    )


def _grow(
    points: Points, parents: NDArray[np.int64], attractors: Points, attraction: float, kill: float, unit: float
) -> tuple[Points, NDArray[np.int64]]:
    # A tip that turned sharply would go on along the next vessel, and come back on it.
    return colonise(
        points, parents, attractors, attraction=attraction, kill=kill, segment=_SEGMENT * unit, sharpest=_SHARPEST
    )


def _large(tree: VesselTree) -> NDArray[np.bool_]:
    """Return which nodes are of a tree that is more than a speck."""
    root = tree.roots()
    return np.asarray(np.bincount(root, minlength=len(root))[root] >= _LEAST_TREE, np.bool_)


def _stubs(tree: VesselTree) -> NDArray[np.bool_]:
    """Return the nodes of side branches that hardly leave the vessel they stand on."""
    count = tree.children()
    found = np.zeros(len(count), np.bool_)
    for tip in np.flatnonzero((count == 0) & (tree.parents >= 0)).tolist():
        branch, node = [tip], int(tree.parents[tip])
        while tree.parents[node] >= 0 and count[node] == 1:
            branch.append(node)
            node = int(tree.parents[node])
        if count[node] > 1 and np.hypot(*(tree.points[tip] - tree.points[node])) < 1.6 * tree.radii[node]:
            found[branch] = True
    return found


def _reach(points: Points, parents: NDArray[np.int64], wanted: Points, unit: float) -> tuple[Points, NDArray[np.int64]]:
    """Return trees grown to what a first growth left: vessels that leave at a blunt angle, or begin by themselves."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    nodes = cKDTree(points)
    left = wanted[nodes.query(wanted)[0] > 9.0 * unit]
    if len(left) == 0:
        return points, parents
    pairs = cKDTree(left).query_pairs(2.2 * _SPACING * unit, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(left), len(left)))
    count, piece = connected_components(links, directed=False)
    away, nearest = nodes.query(left)
    roots, origins = [], []
    for number in range(count):
        members = np.flatnonzero(piece == number)
        if len(members) * _SPACING < _LEAST_COMPONENT:
            continue
        first = members[int(np.argmin(away[members]))]
        roots.append(left[first])
        origins.append(int(nearest[first]) if away[first] < 16.0 * unit else -1)
    if not roots:
        return points, parents
    points = np.concatenate([points, np.asarray(roots)])
    parents = np.concatenate([parents, np.asarray(origins, np.int64)])
    return _grow(points, parents, left, 20.0 * unit, 6.0 * unit, unit)


def _radii(
    rng: np.random.Generator, tree: VesselTree, there: Points, real: NDArray[np.float64], width: float, unit: float
) -> NDArray[np.float64]:
    """Return radii half way, in their logarithm, between Murray's law and the nearest real vessel's."""
    from scipy.spatial import cKDTree

    tips = murray_radii(tree.parents, 1.0, exponent=1.0, taper=_TAPER)
    thin, wide = np.quantile(real, (0.15, 0.95))
    flow = float(np.quantile(tips, 0.95))
    exponent = float(np.clip(np.log(max(flow, 2.0)) / np.log(max(wide / thin, 1.2)), 2.0, 4.0))
    murray = thin * tips ** (1.0 / exponent)
    murray *= np.median(real) / max(float(np.median(murray)), 1e-6) if len(murray) else 1.0
    distance, nearest = cKDTree(there).query(tree.points)
    weight = 0.8 * np.exp(-((distance / (8.0 * unit)) ** 2))
    blend = murray ** (1 - weight) * real[nearest] ** weight
    # Where a twig leaves a wide vessel, the distance to its wall is still that of the wide one.
    run = np.arange(len(tree.parents))
    count = tree.children()
    for node in np.flatnonzero(tree.parents >= 0).tolist():
        parent = tree.parents[node]
        run[node] = run[parent] if count[parent] == 1 else node
    order = np.lexsort((blend, run))
    first = np.searchsorted(run[order], run)
    length = np.bincount(run, minlength=len(run))[run]
    blend = np.minimum(blend, 1.3 * blend[order[first + (length - 1) // 2]])
    # A distance on the pixel grid jitters along the vessel; the calibre of a vessel does not.
    inner = np.flatnonzero(tree.parents >= 0)
    single = inner[count[tree.parents[inner]] == 1]
    for _ in range(4):
        before = blend.copy()
        blend[single] = 0.5 * before[single] + 0.5 * before[tree.parents[single]]
    # Vessels are as wide in the mean as the real ones, give or take an observer's hand.
    steps = np.hypot(*(tree.points[inner] - tree.points[tree.parents[inner]]).T)
    mean = 2 * float(np.average(blend[inner], weights=steps)) if len(inner) else width
    shift = 0.5 * (width * np.exp(rng.uniform(-0.1, 0.1)) - mean)
    return np.asarray(np.maximum(blend + np.clip(shift, -1.0, 1.0) * np.minimum(1.0, blend), 0.55), np.float64)


def _thin(points: Points, spacing: float) -> NDArray[np.int64]:
    """Return one point of each cell of a grid."""
    cells = np.floor(points / spacing).astype(np.int64)
    _, first = np.unique(cells, axis=0, return_index=True)
    return np.sort(first)


def _roots(learnt: Learnt, chosen: NDArray[np.int64], modality: Modality) -> NDArray[np.int64]:
    """Return which points vessels begin at: where the modality has them, and one in every piece left without."""
    side = min(learnt.shape)
    points, radii = learnt.points[chosen], learnt.radii[chosen]
    if modality is Modality.FUNDUS:
        away = np.hypot(*(points - learnt.origin).T)
        start = away < max(0.03 * side, float(away.min()) + 1.0)
    elif modality is Modality.XRAY:
        # The catheter lies in the widest vessel's beginning.
        start = np.zeros(len(points), np.bool_)
        start[int(np.argmax(radii))] = True
    else:
        edge = np.minimum(points, np.array(learnt.shape) - 1 - points).min(axis=1)
        start = edge < 0.015 * side
    picked = chosen[start][_thin(points[start], 0.03 * side)]
    have = np.unique(learnt.pieces[picked])
    rest = [
        members[int(np.argmax(learnt.radii[members]))]
        for piece in np.setdiff1d(np.unique(learnt.pieces[chosen]), have)
        if len(members := chosen[learnt.pieces[chosen] == piece]) * _SPACING >= _LEAST_COMPONENT
    ]
    if len(picked) + len(rest) == 0:
        rest = [int(chosen[int(np.argmax(radii))])]
    return np.concatenate([picked, np.asarray(rest, np.int64)])
