"""Where vessels run in each modality: trunks as anatomy has them, branches by space colonisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.synthesis.colonisation import (
    Points,
    VesselTree,
    colonise,
    drop_spurs,
    join,
    keep_nodes,
    link_tips,
    murray_radii,
    smooth,
)

_SEGMENT = 4.0
_TIP_RADIUS = 0.72
_LEAST_BRANCH = 5
_CAPILLARY_RADIUS = 1.35

# Spacing of the attractors, attraction, kill distance, and the width of the ring around the fovea left bare: from few
# and far, which makes long branches, to many and near, which fills in between.
_FUNDUS_PASSES = ((84.0, 190.0, 22.0, 44.0), (48.0, 100.0, 16.0, 34.0), (31.0, 52.0, 12.0, 48.0))
_OCTA_PASSES = ((56.0, 120.0, 14.0, 20.0), (32.0, 64.0, 10.0, 6.0), (20.0, 32.0, 8.0, 10.0))


@dataclass(frozen=True, slots=True)
class FundusLayout:
    """Landmarks and the two trees of a fundus photograph; points are (y, x) in px."""

    arteries: VesselTree
    veins: VesselTree
    centre: tuple[float, float]
    radius: float
    disc: tuple[float, float]
    disc_radius: float
    fovea: tuple[float, float]


def walk(
    rng: np.random.Generator,
    start: tuple[float, float],
    headings: NDArray[np.float64],
    *,
    waviness: float,
    wavelength: float,
) -> Points:
    """Return points one segment apart that follow `headings` (radians, x to y) with a smooth wobble."""
    count = len(headings)
    knots = np.linspace(0, count - 1, max(4, round(count * _SEGMENT / wavelength * 2) + 2))
    wobble = np.interp(np.arange(count), knots, rng.standard_normal(len(knots)))
    width = max(3, round(wavelength / _SEGMENT / 4))
    wobble = np.convolve(np.pad(wobble, width, mode="edge"), np.ones(2 * width + 1) / (2 * width + 1), "valid")
    angle = headings + waviness * wobble
    steps = _SEGMENT * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return np.asarray(np.array(start) + np.concatenate([[[0.0, 0.0]], np.cumsum(steps, axis=0)]), np.float64)


def chains(trunks: list[Points]) -> tuple[Points, NDArray[np.int64]]:
    """Return several point sequences as nodes and parents, each sequence a tree without branches."""
    parents: list[NDArray[np.int64]] = []
    first = 0
    for trunk in trunks:
        own = np.arange(first - 1, first + len(trunk) - 1, dtype=np.int64)
        own[0] = -1
        parents.append(own)
        first += len(trunk)
    return np.concatenate(trunks), np.concatenate(parents)


def scatter(rng: np.random.Generator, shape: tuple[int, int], spacing: float) -> Points:
    """Return points on a grid `spacing` apart, each moved at random within its cell."""
    y, x = np.mgrid[0 : shape[0] : spacing, 0 : shape[1] : spacing]
    grid = np.stack([y.ravel(), x.ravel()], axis=1)
    return np.asarray(grid + rng.uniform(0, spacing, grid.shape), np.float64)


def _grow(
    rng: np.random.Generator,
    points: Points,
    parents: NDArray[np.int64],
    passes: list[tuple[Points, float, float]],
    unit: float,
) -> tuple[Points, NDArray[np.int64]]:
    for attractors, attraction, kill in passes:
        points, parents = colonise(
            points, parents, attractors, attraction=attraction * unit, kill=kill * unit, segment=_SEGMENT * unit
        )
    kept = drop_spurs(parents, _LEAST_BRANCH)
    index = np.cumsum(kept) - 1
    points, parents = points[kept], parents[kept]
    parents = np.where(parents >= 0, index[parents], -1)
    return meander(rng, smooth(points, parents), 1.6 * unit, 17.0 * unit), parents


def meander(rng: np.random.Generator, points: Points, amplitude: float, scale: float) -> Points:
    """Return points moved by a smooth random field, since no vessel runs quite straight; lengths in px."""
    from scipy.ndimage import map_coordinates

    low = points.min(axis=0)
    cells = np.ceil((points.max(axis=0) - low) / scale).astype(int) + 4
    where = ((points - low) / scale + 1).T
    field = rng.standard_normal((2, *cells))
    shift = np.stack([map_coordinates(field[axis], where, order=3, mode="nearest") for axis in (0, 1)], axis=1)
    return np.asarray(points + amplitude * shift, np.float64)


def fundus_layout(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    field: tuple[float, float, float] | None = None,
    disc: tuple[float, float] | None = None,
) -> FundusLayout:
    """Lay out a fundus photograph: two arcades above and below the fovea, shorter vessels on the nasal side.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides what is not given.
    shape : tuple of int
        Height and width, px.
    field : tuple of float, optional
        (y, x) and radius of the field of view, px.
    disc : tuple of float, optional
        (y, x) of the optic disc, px; right or left of it lies the fovea, whichever is nearer to the middle.
    """
    height, width = shape
    radius = 0.475 * min(height, width)
    centre = (0.5 * height - 0.5, 0.5 * width - 0.5)
    if field is not None:
        centre, radius = field[:2], field[2]
    unit = radius / 270.0
    side = 1.0 if rng.random() < 0.5 else -1.0
    placed = (centre[0] + rng.uniform(-12, 12) * unit, centre[1] - side * rng.uniform(158, 172) * unit)
    if disc is None:
        disc = placed
    elif abs(disc[1] - centre[1]) > 0.15 * radius:
        side = 1.0 if disc[1] < centre[1] else -1.0
    disc_radius = rng.uniform(37, 41) * unit
    fovea = (disc[0] + rng.uniform(8, 18) * unit, disc[1] + side * 5.1 * disc_radius)
    trees = []
    for artery in (True, False):
        points, parents = chains(_fundus_trunks(rng, disc, side, unit, artery))
        passes = []
        for spacing, attraction, kill, bare in _FUNDUS_PASSES:
            cloud = scatter(rng, shape, spacing * unit)
            to_fovea = np.hypot(*(cloud - fovea).T)
            to_disc = np.hypot(*(cloud - disc).T)
            inside = np.hypot(*(cloud - centre).T) < radius + 8 * unit
            keep = inside & (to_fovea > bare * unit) & (to_disc > 1.5 * disc_radius)
            keep &= rng.random(len(cloud)) < 0.8
            passes.append((cloud[keep], attraction, kill))
        points, parents = _grow(rng, points, parents, passes, unit)
        tip = _TIP_RADIUS * max(unit, 0.9)
        # Veins are about a quarter wider than arteries.
        radii = murray_radii(parents, tip, exponent=3.0, taper=0.012) * (0.94 if artery else 1.12)
        tree = VesselTree(points, parents, np.maximum(radii, 0.7))
        # What leaves the field does not come back into it: truth stays in one piece.
        from_centre = np.hypot(*(points - centre).T)
        trees.append(keep_nodes(tree, from_centre <= radius - 1.0))
    return FundusLayout(trees[0], trees[1], centre, radius, disc, disc_radius, fovea)


def _fundus_trunks(
    rng: np.random.Generator, disc: tuple[float, float], side: float, unit: float, artery: bool
) -> list[Points]:
    trunks: list[Points] = []
    # Veins lie outside the arteries on one side and inside on the other, and wave a little more.
    bend = rng.uniform(0.9, 1.0) if artery else rng.uniform(1.06, 1.2)
    for up in (-1.0, 1.0):
        for nasal in (False, True):
            length = rng.uniform(430, 500) if not nasal else rng.uniform(170, 230)
            s = np.arange(0.0, length, _SEGMENT)
            if nasal:
                angle = up * (np.pi - (rng.uniform(0.75, 1.15) + 0.25 * np.exp(-s / 60)))
            else:
                first = rng.uniform(1.30, 1.50)
                angle = up * (first * np.exp(-s / (118 * bend)) - 0.28 * (s / 420) ** 2)
            start = (disc[0] - up * rng.uniform(2, 5) * unit, disc[1] + rng.uniform(-3, 3) * unit)
            path = walk(
                rng,
                (0.0, 0.0),
                np.asarray(angle),
                waviness=0.26 if artery else 0.34,
                wavelength=rng.uniform(70, 110),
            )
            path[:, 1] *= side
            trunks.append(np.array(start) + path * unit)
    return trunks


def octa_layout(
    rng: np.random.Generator, shape: tuple[int, int], *, density: float = 1.0
) -> tuple[VesselTree, tuple[float, float], float]:
    """Lay out a macular OCT angiogram: vessels from beyond the right edge, none in the avascular zone.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    shape : tuple of int
        Height and width, px.
    density : float, optional
        More than 1 for more, and nearer, branches.

    Returns
    -------
    tree : VesselTree
    centre : tuple of float
        Of the avascular zone, (y, x) in px.
    radius : float
        Of the avascular zone, px.
    """
    height, width = shape
    unit = min(height, width) / 400.0
    centre = (0.5 * height + rng.uniform(-12, 12) * unit, 0.5 * width + rng.uniform(-12, 12) * unit)
    zone = rng.uniform(20, 26) * unit
    trunks: list[Points] = []
    edge = width + 6.0
    for up in (-1.0, 1.0):
        for offset, bend in ((rng.uniform(0.24, 0.34), 0.5), (rng.uniform(0.52, 0.66), 0.62)):
            s = np.arange(0.0, rng.uniform(400, 470), _SEGMENT)
            start = (centre[0] + up * offset * 0.5 * height, edge)
            angle = np.pi - up * (bend * np.exp(-s / 150) - 0.62 * (s / 400) ** 1.4)
            path = walk(rng, (0.0, 0.0), np.asarray(angle), waviness=0.32, wavelength=rng.uniform(60, 90))
            trunks.append(np.array(start) + path * unit)
    points, parents = chains(trunks)
    passes = []
    for spacing, attraction, kill, bare in _OCTA_PASSES:
        cloud = scatter(rng, shape, spacing / density * unit)
        keep = np.hypot(*(cloud - centre).T) > zone + bare * unit
        keep &= rng.random(len(cloud)) < 0.8
        passes.append((cloud[keep], attraction, kill))
    points, parents = _grow(rng, points, parents, passes, unit)
    radii = np.maximum(murray_radii(parents, 0.72 * max(unit, 0.95), taper=0.01), 0.7)
    tree = VesselTree(points, parents, radii)
    margin = 20.0
    inside = (points > -margin).all(axis=1) & (points[:, 0] < height + margin) & (points[:, 1] < width + margin)
    return keep_nodes(tree, inside), centre, zone


def xray_layout(
    rng: np.random.Generator, shape: tuple[int, int], *, density: float = 1.0
) -> tuple[VesselTree, VesselTree]:
    """Lay out a left coronary angiogram: the vessels, and the catheter that fills them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    shape : tuple of int
        Height and width, px.
    density : float, optional
        More than 1 for more branches.
    """
    height, width = shape
    unit = min(height, width) / 512.0
    origin = (rng.uniform(0.22, 0.26) * height, rng.uniform(0.30, 0.34) * width)
    trunks: list[Points] = []
    stem = walk(rng, (0.0, 0.0), np.full(7, 0.30), waviness=0.1, wavelength=60) * unit + np.array(origin)
    fork = (float(stem[-1, 0]), float(stem[-1, 1]))
    for first, turn, length in ((0.10, 1.30, 470.0), (1.25, 0.45, 380.0), (0.72, 0.55, 300.0)):
        s = np.arange(0.0, length * rng.uniform(0.92, 1.05), _SEGMENT)
        angle = first + rng.uniform(-0.08, 0.08) + turn * (s / length) ** 1.3
        trunks.append(
            walk(rng, (0.0, 0.0), np.asarray(angle), waviness=0.42, wavelength=rng.uniform(60, 95)) * unit
            + np.array(fork)
        )
    points, parents = chains([stem, *trunks])
    first_node = len(stem)
    for trunk in trunks:
        # Every trunk hangs on the end of the stem.
        parents[first_node] = len(stem) - 1
        first_node += len(trunk)
    y, x = scatter(rng, shape, 54 / density * unit).T
    heart = ((x / width - 0.58) / 0.36) ** 2 + ((y / height - 0.56) / 0.36) ** 2 < 1
    cloud = np.stack([y, x], axis=1)[heart & (rng.random(len(x)) < 0.75)]
    points, parents = _grow(rng, points, parents, [(cloud[::2], 190.0, 20.0), (cloud[1::2], 110.0, 16.0)], unit)
    radii = np.maximum(murray_radii(parents, 1.15 * unit, exponent=2.7, taper=0.05), 0.8)
    tree = VesselTree(points, parents, radii)
    inside = (points > -8).all(axis=1) & (points[:, 0] < height + 8) & (points[:, 1] < width + 8)
    return keep_nodes(tree, inside), catheter(shape, origin)


def twophoton_layout(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[VesselTree, list[VesselTree]]:
    """Lay out a projection of cortical vessels: wide ones on the pial surface, and nets of capillaries below.

    Returns
    -------
    pial : VesselTree
        Wide vessels that come in at one edge, and what branches off them; none on a deep projection.
    nets : list of VesselTree
        Capillaries, from the top down. Each is a forest, and all of them together are a net.
    """
    height, width = shape
    unit = min(shape) / 512.0
    trunks, widths = [], []
    for _ in range(int(rng.integers(0, 4))):
        wide = unit * float(np.exp(rng.uniform(np.log(6.0), np.log(30.0))))
        turn = rng.uniform(0, 2 * np.pi)
        middle = np.array([rng.uniform(0.2, 0.8) * height, rng.uniform(0.2, 0.8) * width])
        reach = 0.75 * float(np.hypot(height, width))
        count = max(8, round(2 * reach / (unit * _SEGMENT)))
        bend = turn + rng.uniform(-0.9, 0.9) * np.linspace(-1, 1, count)
        path = walk(rng, (0.0, 0.0), bend, waviness=0.3, wavelength=rng.uniform(90, 180)) * unit
        path += middle - path[len(path) // 2]
        inside = ((path > -wide) & (path < np.array(shape) + wide)).all(axis=1)
        path = path[inside]
        if len(path) > 8:
            trunks.append(path)
            along = np.interp(np.arange(len(path)), np.linspace(0, len(path), 9), rng.normal(0, 0.06, 9))
            widths.append(wide * np.exp(along))
    pial = VesselTree(np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(0))
    if trunks:
        points, parents = chains(trunks)
        given = len(points)
        cloud = scatter(rng, shape, 95 * unit)
        points, parents = colonise(points, parents, cloud, attraction=150 * unit, kill=22 * unit, segment=4 * unit)
        radii = murray_radii(parents, 2.6 * unit, taper=0.1)
        radii[:given] = np.concatenate(widths)
        children = np.arange(given, len(points))
        for node in children.tolist():
            radii[node] = min(
                radii[node], 0.75 * radii[parents[node]] if parents[node] < given else radii[parents[node]]
            )
        pial = VesselTree(meander(rng, points, 2.0 * unit, 24.0 * unit), parents, np.maximum(radii, 1.0))
    nets = []
    spacing = rng.uniform(22, 46)
    # No capillary runs through a large cell, or a plaque.
    obstacles = np.zeros(shape, np.bool_)
    y, x = np.ogrid[:height, :width]
    for _ in range(int(rng.integers(0, 4))):
        middle, reach = rng.uniform(0, shape), unit * rng.uniform(15, 55)
        obstacles |= np.hypot(y - middle[0], x - middle[1]) < reach
    for _ in range(int(rng.integers(1, 4))):
        start = scatter(rng, shape, 110 * unit)
        start = np.concatenate([start[rng.random(len(start)) < 0.6], [[-4.0 * unit, width / 2]]])
        cloud = scatter(rng, shape, spacing * unit)
        cloud = cloud[rng.random(len(cloud)) < rng.uniform(0.5, 0.95)]
        cloud, start = (found[~_inside(found, obstacles)] for found in (cloud, start))
        points, parents = colonise(
            start,
            np.full(len(start), -1, np.int64),
            cloud,
            attraction=3.2 * spacing * unit,
            kill=9 * unit,
            segment=4 * unit,
            inertia=0.9,
            obstacles=obstacles,
        )
        tree = VesselTree(points, parents, np.ones(len(points)))
        tree = keep_nodes(tree, drop_spurs(parents, 4))
        # Capillaries are all about as wide, and more crooked than any other vessel.
        radii = murray_radii(tree.parents, _CAPILLARY_RADIUS * unit * rng.uniform(0.8, 1.5), exponent=6.0)
        points = meander(rng, smooth(tree.points, tree.parents), 4.5 * unit, 14.0 * unit)
        tree = VesselTree(points, tree.parents, np.maximum(radii, 0.8))
        nets.append(link_tips(tree, 1.2 * spacing * unit, lambda middle: rng.random(len(middle)) < 0.8))
    return pial, nets


def _inside(points: Points, zone: NDArray[np.bool_]) -> NDArray[np.bool_]:
    y, x = np.clip(np.rint(points).astype(np.int64), 0, np.array(zone.shape) - 1).T
    return np.asarray(zone[y, x], np.bool_)


def catheter(shape: tuple[int, int], origin: tuple[float, float]) -> VesselTree:
    """Lay out a catheter that comes down the aorta and turns into the origin, (y, x) in px."""
    height, width = shape
    t = np.linspace(0, 1, 60)[:, None]
    ends = np.array([[-10.0, 0.10 * width], [0.16 * height, 0.05 * width], [0.30 * height, 0.20 * width], origin])
    curve = (1 - t) ** 3 * ends[0] + 3 * t * (1 - t) ** 2 * ends[1] + 3 * t**2 * (1 - t) * ends[2] + t**3 * ends[3]
    tube, parents = chains([np.asarray(curve, np.float64)])
    return VesselTree(tube, parents, np.full(len(tube), 4.2 * min(height, width) / 512.0))


def forest(layout: FundusLayout) -> VesselTree:
    """Return arteries and veins as one forest."""
    return join([layout.arteries, layout.veins])
