"""Gaps and false bridges that are certain: made by us in a true mask, and in its image.

A gap is a stretch of one vessel. Its length is measured along the centreline; lengths are those of DRIVE and are
scaled by the width of the field of view, so that a gap is as many calibres long in every set.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_vessel.topology import centreline, label_components, local_radius, prune_spurs
from napari_vessel.topology.skeleton import _degrees  # gaps are planted where branches are, as the finder sees them

Mask = NDArray[np.bool_]
Points = NDArray[np.intp]

LENGTHS = (2, 4, 8, 12, 16, 24, 32, 45, 60)
BEND = np.radians(30.0)
"""A stretch that turns by more than this from its first third to its last is a curved one."""


class Place(StrEnum):
    """Where a gap was planted."""

    STRAIGHT = "straight"
    CURVED = "curved"
    JUNCTION = "at a junction"
    CROSSING = "at a crossing"


@dataclass(frozen=True, eq=False, slots=True)
class Planted:
    """An erased stretch.

    Attributes
    ----------
    length : int
        Along the centreline, px of DRIVE.
    calibre : float
        Width of the vessel there, px of DRIVE.
    place : Place
        Where.
    loop : bool
        Whether the vessel is still one component without the stretch: closing the gap closes a loop.
    middle : ndarray of int, shape (N, 2)
        Its centreline, (y, x).
    erased : ndarray of bool, shape (Y, X)
        Its pixels.
    sides : tuple of tuple of int
        A pixel (y, x) of the vessel on either side.
    """

    length: int
    calibre: float
    place: Place
    loop: bool
    middle: Points
    erased: Mask
    sides: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, eq=False, slots=True)
class _Stretch:
    middle: Points
    sides: tuple[tuple[int, int], tuple[int, int]]
    place: Place
    keep: Points | None = None
    """Centreline of the other vessel of a crossing, which stays."""


class Planter:
    """Plants gaps in one true mask.

    Parameters
    ----------
    truth : ndarray of bool, shape (Y, X)
        Vessels.
    scale : float
        Pixels for each pixel of DRIVE.
    """

    def __init__(self, truth: Mask, scale: float = 1.0) -> None:
        self.truth = truth
        self.scale = scale
        self.radius = local_radius(truth)
        self.skeleton = prune_spurs(centreline(truth), self.radius)
        pixels = np.argwhere(self.skeleton)
        degrees = _degrees(np.pad(self.skeleton, 1).astype(np.uint8), pixels)
        meeting = pixels[degrees >= 3]
        branches = self.skeleton.copy()
        around_meeting = np.zeros_like(truth)
        for y, x in meeting:
            reach = int(np.ceil(self.radius[y, x])) + 1
            around_meeting[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = True
        branches &= ~around_meeting
        labels, count = label_components(branches)
        found = ndimage.find_objects(labels)
        self.branches = [
            ordered(np.argwhere(labels[box] == label) + np.asarray([box[0].start, box[1].start]))
            for label, box in zip(range(1, count + 1), found, strict=True)
        ]
        self.ends = [np.asarray([branch[at] for branch in self.branches]).reshape(-1, 2) for at in (0, -1)]
        nodes, number = label_components(around_meeting)
        self.nodes = [np.argwhere((nodes == n) & self.skeleton) for n in range(1, number + 1)]
        self.nearest = ndimage.distance_transform_edt(~self.skeleton, return_distances=False, return_indices=True)

    def plant(self, rng: np.random.Generator, each: int = 2) -> list[Planted]:
        """Choose gaps apart from one another: `each` of every length along branches, as many where branches meet."""
        planted: list[Planted] = []
        clear = np.zeros_like(self.truth)
        # Long ones first, while there is room for them.
        for length in sorted(LENGTHS, reverse=True):
            size = max(round(length * self.scale), 2)
            for pool in (self._at_nodes(size), self._along(size, rng)):
                done = 0
                for number in rng.permutation(len(pool)):
                    if done == each:
                        break
                    gap = self._cut(pool[number], length, clear)
                    if gap is not None:
                        planted.append(gap)
                        done += 1
        return planted

    def _along(self, size: int, rng: np.random.Generator) -> list[_Stretch]:
        """Return a stretch at a random place of every branch that is long enough."""
        found = []
        for branch in self.branches:
            room = self._room(branch)
            if len(branch) < size + 2 * room:
                continue
            first = int(rng.integers(room, len(branch) - size - room + 1))
            middle = branch[first : first + size]
            sides = (_pixel(branch[first - room // 2 - 1]), _pixel(branch[first + size + room // 2]))
            place = Place.CURVED if turning(middle) > BEND else Place.STRAIGHT
            found.append(_Stretch(middle, sides, place))
        return found

    def _at_nodes(self, size: int) -> list[_Stretch]:
        """Return stretches that begin where a branch leaves another vessel, or run through a crossing."""
        found = []
        for node in self.nodes:
            if not len(node):
                continue
            centre = node.mean(axis=0)
            core = _pixel(node[np.hypot(*(node - centre).T).argmin()])
            arms = self._arms(node)
            if len(arms) == 3:
                side = min(arms, key=lambda arm: float(np.median(self.radius[arm[:, 0], arm[:, 1]])))
                room = self._room(side)
                if len(side) >= size + room:
                    found.append(_Stretch(side[:size], (core, _pixel(side[size + room // 2])), Place.JUNCTION))
            elif len(arms) == 4:
                found += self._through(arms, size)
        return found

    def _through(self, arms: list[Points], size: int) -> list[_Stretch]:
        """Pair the four arms of a crossing as straight as they go, and take either vessel out of it."""
        ways = [arm[min(8, len(arm) - 1)] - arm[0].astype(float) for arm in arms]
        unit = [way / max(float(np.hypot(*way)), 1e-9) for way in ways]
        pairs = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
        best = min(pairs, key=lambda p: sum(float(unit[a] @ unit[b]) for a, b in p))
        if any(float(unit[a] @ unit[b]) > -0.7 for a, b in best):
            return []
        found = []
        for (a, b), (c, d) in (best, best[::-1]):
            joined, other = _joined(arms[a], arms[b]), _joined(arms[c], arms[d])
            middle_at = len(arms[a]) + (len(joined) - len(arms[a]) - len(arms[b])) // 2
            first, last = middle_at - size // 2, middle_at - size // 2 + size
            room = max(self._room(arms[a]), self._room(arms[b]))
            if first < room or last + room > len(joined):
                continue
            sides = (_pixel(joined[first - room // 2 - 1]), _pixel(joined[last + room // 2]))
            found.append(_Stretch(joined[first:last], sides, Place.CROSSING, other))
        return found

    def _arms(self, node: Points) -> list[Points]:
        """Return the branches that meet at a node, each from the node outwards."""
        low, high = node.min(axis=0) - 2, node.max(axis=0) + 2
        begins, stops = (((ends >= low) & (ends <= high)).all(axis=1) for ends in self.ends)
        return [self.branches[n] if begins[n] else self.branches[n][::-1] for n in np.flatnonzero(begins | stops)]

    def _room(self, branch: Points) -> int:
        return int(np.ceil(2.0 * 2.0 * float(np.median(self.radius[branch[:, 0], branch[:, 1]])))) + 4

    def _cut(self, stretch: _Stretch, length: int, clear: Mask) -> Planted | None:
        """Erase a stretch; None where it would not cut the vessel in two, or is too near another gap."""
        middle = stretch.middle
        width = 2.0 * float(np.median(self.radius[middle[:, 0], middle[:, 1]]))
        reach = int(np.ceil(width + 8.0 * self.scale)) + 3
        low = np.maximum(middle.min(axis=0) - reach, 0)
        high = middle.max(axis=0) + reach + 1
        box = (slice(low[0], high[0]), slice(low[1], high[1]))
        line = np.zeros(self.truth[box].shape, np.bool_)
        line[tuple((middle - low).T)] = True
        if stretch.keep is None:
            y = np.clip(self.nearest[0][box] - low[0], -1, line.shape[0])
            x = np.clip(self.nearest[1][box] - low[1], -1, line.shape[1])
            gone = self.truth[box] & np.pad(line, 1)[y + 1, x + 1]
        else:
            gone = self.truth[box] & grown(line, width / 2 + 1.0) & ~self._other(stretch.keep, low, line.shape)
        if not gone.any() or (clear[box] & grown(gone, 4)).any():
            return None
        left = self.truth[box] & ~gone
        parts, _ = label_components(left & grown(gone, 5.0 * self.scale + width))
        whole, _ = label_components(self.truth & ~_placed(gone, low, self.truth.shape))
        near = [_nearest_label(parts, np.asarray(side) - low) for side in stretch.sides]
        # A short stretch of a wide, slanting vessel may not cut it in two.
        if 0 in near or near[0] == near[1]:
            return None
        far = [int(whole[side]) for side in stretch.sides]
        if 0 in far:
            return None
        clear[box] |= grown(gone, 8.0 * self.scale + width)
        return Planted(
            length,
            width / self.scale,
            stretch.place,
            far[0] == far[1],
            middle,
            _placed(gone, low, self.truth.shape),
            stretch.sides,
        )

    def _other(self, keep: Points, low: Points, shape: tuple[int, ...]) -> Mask:
        """Draw the vessel of a crossing that stays, as wide as it is on either side."""
        radius = float(np.median(self.radius[keep[:, 0], keep[:, 1]]))
        line = np.zeros(shape, np.uint8)
        cv2.polylines(line, [(keep - low)[:, ::-1].astype(np.int32).reshape(-1, 1, 2)], False, 1, 1)
        return grown(line > 0, radius)


def turning(path: Points) -> float:
    """Return by how much a path turns between its first and last third, radians; 0 for one too short to tell."""
    if len(path) < 9:
        return 0.0
    third = len(path) // 3
    first, last = (path[third] - path[0]).astype(float), (path[-1] - path[-1 - third]).astype(float)
    cosine = float(first @ last) / max(float(np.hypot(*first) * np.hypot(*last)), 1e-9)
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def without(truth: Mask, planted: list[Planted]) -> Mask:
    """Return a mask without the planted stretches."""
    left = truth.copy()
    for gap in planted:
        left &= ~gap.erased
    return left


def erase_from_image(
    pixels: NDArray[np.float32], truth: Mask, planted: list[Planted], scale: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Replace planted stretches by the background around them, and by the image's own grain.

    The background is averaged over the pixels of no vessel; filling in from the border would carry the vessel's own
    stumps on into the gap and give it away.
    """
    left = without(truth, planted)
    gone = truth & ~left
    area = grown(gone, 2.0 * scale) & ~grown(left & ~grown(gone, 2.0 * scale), 1.0) & ~left
    bare = (~grown(truth, 2.0 * scale)).astype(np.float32)
    sigma = 6.0 * scale
    weight = cv2.GaussianBlur(bare, (0, 0), sigma)
    layers = pixels if pixels.ndim == 3 else pixels[..., None]
    filled = layers.copy()
    soft = cv2.GaussianBlur((area | gone).astype(np.float32), (0, 0), 0.5 * scale)
    soft[gone] = 1.0
    soft[left] = 0.0
    near = grown(truth, 10.0 * scale)
    # One grain for all channels: noise of a photograph is mostly brightness.
    grain = cv2.GaussianBlur(rng.normal(0, 1, truth.shape).astype(np.float32), (0, 0), max(0.5 * scale, 0.3))
    grain /= max(float(grain.std()), 1e-6)
    for channel in range(layers.shape[2]):
        layer = np.ascontiguousarray(layers[..., channel])
        background = cv2.GaussianBlur(layer * bare, (0, 0), sigma) / np.maximum(weight, 1e-3)
        bare_layer = np.where(bare > 0, layer, background)
        fine = bare_layer - cv2.GaussianBlur(bare_layer, (0, 0), 2.0 * scale)
        beside = (bare > 0) & near
        spread = float(np.std(fine[beside])) if beside.any() else 0.0
        filled[..., channel] = (1 - soft) * layer + soft * (background + spread * grain)
    return np.asarray(np.clip(filled.reshape(pixels.shape), 0, 1), np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class FalseBridge:
    """A planted connection between two vessels that are not one: its line, shape (N, 2), and its pixels."""

    path: Points
    pixels: Mask


def plant_false_bridges(truth: Mask, scale: float, rng: np.random.Generator, count: int = 8) -> list[FalseBridge]:
    """Join neighbouring vessels that run apart: 3 to 15 px (of DRIVE) of background between two branches."""
    planter = Planter(truth, scale)
    inner = slice(round(5 * scale), -round(5 * scale))
    long_ones = [branch[inner] for branch in planter.branches if len(branch) > 15 * scale]
    if len(long_ones) < 2:
        return []
    points = np.concatenate(long_ones)
    owners = np.repeat(np.arange(len(long_ones)), [len(branch) for branch in long_ones])
    tree = cKDTree(points)
    bridges: list[FalseBridge] = []
    taken = np.zeros_like(truth)
    for number in rng.permutation(len(points))[: count * 40]:
        if len(bridges) == count:
            break
        start = points[number]
        near = np.asarray(tree.query_ball_point(start, 25 * scale), np.intp)
        near = near[owners[near] != owners[number]]
        if not len(near):
            continue
        goal = points[near[np.hypot(*(points[near] - start).T).argmin()]]
        line = np.zeros(truth.shape, np.uint8)
        cv2.line(line, (int(start[1]), int(start[0])), (int(goal[1]), int(goal[0])), 1, 1)
        between = (line > 0) & ~truth
        empty = int(between.sum())
        if not 3 * scale <= empty <= 15 * scale or label_components(between)[1] != 1:
            continue
        thin = 2 * min(planter.radius[tuple(start)], planter.radius[tuple(goal)])
        pixels = grown(between, max(float(thin) / 2 - 0.5, 0.0)) & ~truth
        if taken[grown(pixels, 3)].any() or _touched(pixels, truth) != 2:
            continue
        taken |= grown(pixels, 8.0 * scale)
        bridges.append(FalseBridge(np.argwhere(between), pixels))
    return bridges


def _touched(pixels: Mask, truth: Mask) -> int:
    """Count the pieces of vessel around a bridge, seen locally."""
    near = truth & grown(pixels, 6)
    labels, _ = label_components(near)
    return len(set(np.unique(labels[grown(pixels, 1)]).tolist()) - {0})


def grown(mask: Mask, radius: float) -> Mask:
    """Dilate by a disc."""
    size = int(radius)
    if size < 1 or not mask.any():
        return mask.copy()
    if size > 5:
        far = cv2.distanceTransform(np.ascontiguousarray(~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(far <= radius)
    y, x = np.ogrid[-size : size + 1, -size : size + 1]
    disc = (y * y + x * x <= radius * radius).astype(np.uint8)
    return np.asarray(cv2.dilate(np.ascontiguousarray(mask).view(np.uint8), disc) > 0)


def ordered(pixels: Points) -> Points:
    """Sort the pixels of one branch along it."""
    left = {(int(y), int(x)) for y, x in pixels}
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]

    def near(p: tuple[int, int]) -> list[tuple[int, int]]:
        ways = [(p[0] + dy, p[1] + dx) for dy, dx in around if (p[0] + dy, p[1] + dx) in left]
        return sorted(ways, key=lambda q: abs(q[0] - p[0]) + abs(q[1] - p[1]))

    here = min(left, key=lambda p: len(near(p)))
    path = [here]
    left.discard(here)
    while ways := near(here):
        here = ways[0]
        for way in ways:
            left.discard(way)
        path.append(here)
    return np.asarray(path, np.intp)


def _joined(first: Points, second: Points) -> Points:
    """Join two arms, both given from the crossing outwards, by a straight line through it."""
    a, b = first[0].astype(float), second[0].astype(float)
    steps = max(int(np.abs(b - a).max()), 1)
    through = np.rint(a + (b - a) * np.linspace(0, 1, steps + 1)[1:-1, None]).astype(np.intp)
    return np.concatenate([first[::-1], through, second])


def _pixel(point: NDArray[np.generic]) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _nearest_label(labels: NDArray[np.int32], point: Points) -> int:
    y, x = np.clip(point, 0, np.asarray(labels.shape) - 1)
    return int(labels[y, x])


def _placed(patch: Mask, low: Points, shape: tuple[int, ...]) -> Mask:
    whole = np.zeros(shape, np.bool_)
    whole[low[0] : low[0] + patch.shape[0], low[1] : low[1] + patch.shape[1]] = patch
    return whole
