"""Which ends of vessels might be joined to what: candidates by distance and direction alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology import EndPoint, centreline, label_components, local_radius, prune_spurs
from napari_vessel.topology.calibre import typical_calibre
from napari_vessel.topology.skeleton import centreline_lengths, iterate_end_points, label_branches

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

REACH_LOCAL = 17.0
"""Longest jump from an end, in calibres of the vessel that ends."""

REACH_MEDIAN = (8.0, 17.0)
"""Bounds of that jump, in median calibres of the mask."""

REACH_FACING = 30.0
"""Longest jump between two ends that point at each other, in median calibres of the mask."""

REACH_AHEAD = 24.0
"""Longest jump from an end to what it points at, in median calibres of the mask."""

FACING_CONE = np.cos(np.radians(35.0))
FACING_PER_END = 2
CANDIDATES_PER_END = 4
CONE = np.cos(np.radians(75.0))
LOOP_CONE = np.cos(np.radians(40.0))


@dataclass(frozen=True, eq=False, slots=True)
class Network:
    """A mask taken apart.

    Attributes
    ----------
    mask : ndarray of bool, shape (Y, X)
        Vessels.
    labels : ndarray of int32, shape (Y, X)
        8-connected components, `count` of them.
    count : int
        Number of components.
    skeleton : ndarray of bool, shape (Y, X)
        Centrelines without spurs.
    radius : ndarray of float32, shape (Y, X)
        Local radius, px.
    pixels : ndarray of int, shape (P, 2)
        (y, x) of the centreline pixels.
    owners : ndarray of int32, shape (P,)
        Their components.
    lengths : ndarray of float, shape (count + 1,)
        Centreline length of each component, px.
    calibre : float
        Median calibre, px.
    ends : tuple of EndPoint
        Where centrelines end.
    tree : cKDTree
        Over `pixels`.
    end_tree : cKDTree or None
        Over the points of `ends`; None when there are none.
    end_reach : float
        The largest :func:`end_reach` of any end, px.
    branches : ndarray of int32, shape (Y, X)
        Which branch each vessel pixel belongs to, numbered through all components; 0 off the vessels.
    """

    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    count: int
    skeleton: NDArray[np.bool_]
    radius: NDArray[np.float32]
    pixels: NDArray[np.intp]
    owners: NDArray[np.int32]
    lengths: NDArray[np.float64]
    calibre: float
    ends: tuple[EndPoint, ...]
    tree: cKDTree
    end_tree: cKDTree | None
    end_reach: float
    branches: NDArray[np.int32]


@dataclass(frozen=True, eq=False, slots=True)
class Start:
    """Where a proposal begins: the end of a vessel, or a spot that has no end.

    Attributes
    ----------
    point : tuple of int
        (y, x) of the centreline pixel that paths start from.
    tangent : tuple of float or None
        Direction out of the vessel; None for a spot.
    trust : float
        How well the tangent is known, 0 to 1.
    radius : float
        Vessel radius, px.
    component : int
        Label.
    end : int
        Index into ``Network.ends``; -1 for a spot.
    """

    point: tuple[int, int]
    tangent: tuple[float, float] | None
    trust: float
    radius: float
    component: int
    end: int


def end_reach(radius: float) -> float:
    """How far from an end of the centreline a spot still belongs to that end of the vessel, px."""
    return 2.5 * radius + 1.5


def trust_of(end: EndPoint) -> float:
    """How well the direction of an end is known, 0 to 1: a stub two pixels long points nowhere."""
    length = float(np.hypot(*(end.branch[0] - end.branch[-1])))
    return min(1.0, length / (3.0 * end.radius + 3.0))


def analyse(mask: NDArray[np.bool_]) -> Iterator[Network | None]:
    """Take a mask apart; yields None between steps and the :class:`Network` last (nothing more for an empty mask)."""
    from scipy.spatial import cKDTree

    labels, count = label_components(mask)
    yield None
    if count == 0:
        return
    skeleton = centreline(mask)
    yield None
    radius = local_radius(mask)
    yield None
    skeleton = prune_spurs(skeleton, radius)
    yield None
    pixels = np.argwhere(skeleton)
    if not len(pixels):
        return
    ends: list[EndPoint] = []
    for end in iterate_end_points(skeleton, radius, labels):
        ends.append(end)
        if len(ends) % 32 == 0:
            yield None
    yield None
    y, x = pixels.T
    lengths = centreline_lengths(skeleton, labels, count)
    branches = _branches(skeleton, labels)
    yield None
    yield Network(
        mask=mask,
        labels=labels,
        count=count,
        skeleton=skeleton,
        radius=radius,
        pixels=pixels,
        owners=labels[y, x],
        lengths=lengths,
        calibre=max(typical_calibre(radius[y, x], int(np.count_nonzero(mask)), float(lengths.sum())), 1.0),
        ends=tuple(ends),
        tree=cKDTree(pixels),
        end_tree=cKDTree([end.point for end in ends]) if ends else None,
        end_reach=max((end_reach(end.radius) for end in ends), default=0.0),
        branches=branches,
    )


def _branches(skeleton: NDArray[np.bool_], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give every vessel pixel the branch whose centreline is nearest; a component without any is one by itself."""
    import cv2

    lines, count = label_branches(skeleton)
    y, x = np.nonzero(lines)
    alone = np.ones(int(labels.max()) + 1, np.bool_)
    alone[labels[y, x]] = False
    found = np.zeros_like(labels)
    if len(y):
        apart = (lines == 0).view(np.uint8)
        _, nearest = cv2.distanceTransformWithLabels(apart, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        of = np.zeros(int(nearest.max()) + 1, np.int32)
        of[nearest[y, x]] = lines[y, x]
        found = of[nearest]
    found[labels == 0] = 0
    return np.where(alone[labels] & (labels > 0), count + labels, found)


def starts(network: Network, inside: NDArray[np.bool_] | None) -> list[Start]:
    """List every end of a vessel, and one spot for every component without an end.

    Ends at the frame or at the border of the field of view are no breaks: the vessel leaves the picture there.

    Parameters
    ----------
    network : Network
        The mask.
    inside : ndarray of bool, shape (Y, X), or None
        Field of view, its border left out.
    """
    height, width = network.mask.shape
    found = []
    with_end = np.zeros(network.count + 1, np.bool_)
    for index, end in enumerate(network.ends):
        with_end[end.component] = True
        y, x = end.point
        margin = end.radius + 1.5
        if min(y, x, height - 1 - y, width - 1 - x) < margin or (inside is not None and not inside[y, x]):
            continue
        found.append(Start(end.root, end.tangent, trust_of(end), end.radius, end.component, index))
    order = np.argsort(network.owners, kind="stable")
    firsts = np.searchsorted(network.owners[order], np.arange(1, network.count + 1))
    for label, first in enumerate(firsts, start=1):
        if with_end[label] or first >= len(order) or network.owners[order[first]] != label:
            continue
        y, x = (int(v) for v in network.pixels[order[first]])
        if inside is not None and not inside[y, x]:
            continue
        found.append(Start((y, x), None, 0.0, max(float(network.radius[y, x]), 0.5), label, -1))
    return found


def targets(network: Network, start: Start) -> list[tuple[int, int]]:
    """Return up to a handful of centreline pixels (y, x) that a start may be joined to, likeliest first."""
    low, high = (m * network.calibre for m in REACH_MEDIAN)
    reach = min(max(REACH_LOCAL * 2.0 * start.radius, low), high)
    near = np.asarray(network.tree.query_ball_point(start.point, reach), np.intp)
    if not near.size:
        return []
    offset = network.pixels[near] - np.asarray(start.point)
    distance = np.hypot(offset[:, 0], offset[:, 1])
    foreign = network.owners[near] != start.component
    if start.tangent is None:
        allowed = foreign
        effort = distance
    else:
        cosine = (offset @ np.asarray(start.tangent)) / np.maximum(distance, 1e-9)
        close = distance < 3.0 * start.radius + 2.0
        # A stub's direction is a guess: the less it is trusted, the wider it may look.
        cone = CONE * start.trust - (1.0 - start.trust)
        allowed = foreign & ((cosine > cone) | (close & (cosine > -0.3)))
        own = ~foreign & (cosine > LOOP_CONE) & (start.trust > 0.9)
        if own.any():
            branch = network.ends[start.end].branch
            width = network.mask.shape[1]
            own &= ~np.isin(network.pixels[near] @ (width, 1), branch @ (width, 1))
        allowed |= own
        effort = distance * (1.0 + 2.0 * start.trust * (1.0 - cosine))
    chosen: list[tuple[int, int]] = []
    taken: list[tuple[int, int, int]] = []
    order = np.flatnonzero(allowed)
    order = order[np.argsort(effort[order], kind="stable")]
    apart = 3.0 * network.calibre
    while order.size and len(chosen) < CANDIDATES_PER_END:
        best = near[order[0]]
        y, x = (int(v) for v in network.pixels[best])
        owner = int(network.owners[best])
        # At most two places on one component.
        chosen.append((y, x))
        taken.append((owner, y, x))
        gone = (network.owners[near[order]] == owner) & (
            (np.hypot(*(network.pixels[near[order]] - (y, x)).T) < apart)
            | (sum(1 for other, _, _ in taken if other == owner) >= 2)
        )
        order = order[~gone]
    return chosen + _facing(network, start, chosen) + _ahead(network, start, reach)


def _ahead(network: Network, start: Start, reach: float) -> list[tuple[int, int]]:
    """Return the vessel, farther away than others are looked for, that a start points at; one pixel of it, or none."""
    if start.tangent is None or start.trust <= 0.5:
        return []
    away = np.arange(reach, REACH_AHEAD * network.calibre)[:, None]
    ray = np.rint(np.asarray(start.point) + away * np.asarray(start.tangent)).astype(np.intp)
    ray = ray[((ray >= 0) & (ray < network.mask.shape)).all(axis=1)]
    met = np.flatnonzero(network.labels[ray[:, 0], ray[:, 1]])
    if not met.size:
        return []
    _, nearest = network.tree.query(ray[met[0]])
    y, x = network.pixels[nearest]
    return [(int(y), int(x))]


def _facing(network: Network, start: Start, known: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ends, farther away than others are looked for, that a start points at and that point back at it."""
    if start.tangent is None or start.trust <= 0.5 or network.end_tree is None:
        return []
    out = np.asarray(start.tangent)
    found = []
    for index in network.end_tree.query_ball_point(start.point, REACH_FACING * network.calibre):
        end = network.ends[index]
        chord = np.subtract(end.point, start.point)
        distance = float(np.hypot(*chord))
        if index == start.end or distance < 1.0 or trust_of(end) <= 0.5:
            continue
        there, back = float(out @ chord) / distance, -float(np.dot(end.tangent, chord)) / distance
        near = any(np.hypot(*np.subtract(end.point, point)) <= end_reach(end.radius) for point in known)
        if min(there, back) > FACING_CONE and not near:
            found.append((distance * (1.0 + 2.0 * (2.0 - there - back)), end.point))
    return [point for _, point in sorted(found)[:FACING_PER_END]]
