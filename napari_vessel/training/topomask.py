"""TopoMask: branches of the vessel tree are destroyed in the image and stay in the target (Zhou et al., TMI 2025).

A network that is to see through a break has to meet breaks. In two forms:

* *faithful*, as published: Gaussian noise added along the centrelines of random branches. The noise goes on top of the
  vessel, so most of its contrast is still there; and it lies on vessels only, so that "noise" means "vessel".
* *corrected*: the vessel is taken out over its whole width. In its place comes the background around it, estimated
  from the pixels that are no vessel, with the background's own grain and a little noise. Pieces of background of the
  same shapes, *decoys*, are treated alike, so that nothing but the vessels that lead there tells what was one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.calibre import local_radius
from napari_vessel.topology.skeleton import centreline, label_branches
from napari_vessel.training.recipe import TopoMaskRecipe

DILATION = {"fundus": 2.7, "octa": 1.0, "twophoton": 2.7, "xray": 2.7}
"""Width destroyed along a vessel of typical calibre, in calibres (``docs/topomask.md`` says where they come from)."""

PUBLISHED_NOISE = {"fundus": 20 / 255, "octa": 100 / 255, "twophoton": 20 / 255, "xray": 20 / 255}
"""Standard deviation of the published noise, as a share of the intensity range; X-ray as fundus."""

CORRECTED_NOISE = {"fundus": 5 / 255, "octa": 10 / 255, "twophoton": 5 / 255, "xray": 5 / 255}
"""The largest one when corrected: with the vessel gone, noise has nothing left to drown."""

EDGE = 1.5
"""How far the blurred edge of a vessel reaches beyond its drawn width, px."""

APART = 60.0
"""Length of a branch, px, from which on a second stretch of it is hidden: what is left has to be seen as a vessel."""

PLACES = 8
"""Places tried for a decoy."""

ON_BACKGROUND = 0.6
"""Least share of a decoy's shape that has to lie on background; the rest of it is cut away."""


@dataclass(frozen=True, slots=True)
class Masking:
    """TopoMask as it is at one moment of a training run.

    Attributes
    ----------
    style : str
        ``none``, ``faithful`` or ``corrected``.
    ratio : float
        Share of the branches to hide.
    dilation : float
        Width destroyed along a vessel of typical calibre, in calibres.
    noise : float
        Standard deviation of the noise, as a share of the intensity range.
    decoys : int
        Decoys for every hidden piece.
    shortest, longest : float
        Lengths of the stretches hidden, px; whole branches when `longest` is 0.
    """

    style: str = "none"
    ratio: float = 0.0
    dilation: float = 2.0
    noise: float = 0.0
    decoys: int = 0
    shortest: float = 0.0
    longest: float = 0.0

    @classmethod
    def at(cls, recipe: TopoMaskRecipe, modality: str, fraction: float) -> Masking:
        """Return what a recipe asks for after this share of the run, the modality's own settings filled in."""
        noise = PUBLISHED_NOISE if recipe.style == "faithful" else CORRECTED_NOISE
        return cls(
            recipe.style,
            recipe.ratio_at(fraction),
            recipe.dilation or DILATION[modality],
            recipe.noise or noise[modality],
            recipe.decoys if recipe.style == "corrected" else 0,
            recipe.shortest,
            recipe.longest,
        )


@dataclass(frozen=True, eq=False, slots=True)
class Regions:
    """Where to destroy an image.

    Attributes
    ----------
    hidden : ndarray of bool, shape (Y, X)
        Over vessels.
    decoys : ndarray of bool, shape (Y, X)
        Over background.
    vessels : ndarray of bool, shape (Y, X)
        All vessels with their blurred edges: what the background must not be estimated from.
    branches, chosen : int
        Branches there are, and how many of them were chosen.
    """

    hidden: NDArray[np.bool_]
    decoys: NDArray[np.bool_]
    vessels: NDArray[np.bool_]
    branches: int
    chosen: int


def hide(
    pixels: NDArray[np.float32],
    vessel: NDArray[np.bool_],
    fov: NDArray[np.bool_],
    masking: Masking,
    calibre: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Destroy random branches in an image.

    Parameters
    ----------
    pixels : ndarray of float32, shape (Y, X, C)
        Intensities in [0, 1]; not changed.
    vessel, fov : ndarray of bool, shape (Y, X)
        Vessels, and field of view.
    masking : Masking
        What to do.
    calibre : float
        Typical width of the vessels, px.
    rng : numpy.random.Generator
        Source of every random choice.

    Returns
    -------
    pixels : ndarray of float32, shape (Y, X, C)
        The image, destroyed in places.
    hidden : ndarray of bool, shape (Y, X)
        Where: over hidden vessels and over decoys. Nothing else has changed.
    """
    if masking.style == "none" or masking.ratio <= 0:
        return pixels, np.zeros(vessel.shape, np.bool_)
    regions = choose_regions(vessel, fov, masking, calibre, rng)
    everywhere = regions.hidden | regions.decoys
    if not everywhere.any():
        return pixels, everywhere
    if masking.style == "faithful":
        return _add_noise(pixels, everywhere, masking.noise, rng), everywhere
    background = fov & ~regions.vessels & ~everywhere
    return _fill(pixels, everywhere, background, calibre, masking.noise, rng), everywhere


def choose_regions(
    vessel: NDArray[np.bool_],
    fov: NDArray[np.bool_],
    masking: Masking,
    calibre: float,
    rng: np.random.Generator,
) -> Regions:
    """Choose branches, and decide which pixels have to go to hide them.

    Parameters
    ----------
    vessel, fov : ndarray of bool, shape (Y, X)
        Vessels, and field of view.
    masking : Masking
        What to do.
    calibre : float
        Typical width of the vessels, px.
    rng : numpy.random.Generator
        Source of every random choice.
    """
    import cv2

    nothing = np.zeros(vessel.shape, np.bool_)
    vessel = vessel & fov
    skeleton = centreline(vessel)
    labels, count = label_branches(skeleton)
    chosen = int(masking.ratio * count)
    if not chosen:
        return Regions(nothing, nothing, vessel, count, 0)
    is_chosen = np.zeros(count + 1, np.bool_)
    is_chosen[1 + rng.permutation(count)[:chosen]] = True
    pixels = np.argwhere(skeleton)
    branch = labels[pixels[:, 0], pixels[:, 1]]
    picked = is_chosen[branch] if masking.longest <= 0 else _stretches(pixels, branch, is_chosen, masking, rng)
    if masking.style == "faithful":
        side = 2 * int(max(round((masking.dilation * calibre - 1) / 2), 1)) + 1
        line = np.zeros(vessel.shape, np.uint8)
        inner = pixels[picked & ~_free_ends(skeleton, pixels)]
        line[inner[:, 0], inner[:, 1]] = 1
        wide = cv2.dilate(line, np.ones((side, side), np.uint8)) > 0
        return Regions(wide & fov, nothing, vessel, count, chosen)

    radius = local_radius(vessel)[pixels[:, 0], pixels[:, 1]] + np.float32(0.5)
    pad = max((masking.dilation - 1) / 2 * calibre, EDGE)
    distance, nearest = _nearest(vessel.shape, pixels)
    outline = distance <= radius[nearest] + EDGE
    # Inside the wide vessel it comes from, a branch's own centreline is as far from the wall as the wide one's.
    half = np.minimum(radius, 1.3 * _median_by(branch, radius, count + 1)[branch]) + pad
    hidden = picked[nearest] & (distance <= half[nearest]) & fov
    others = ~is_chosen[branch]
    if others.any():
        away, other = _nearest(vessel.shape, pixels[others])
        hidden &= away > radius[others][other] + 0.5
    decoys = nothing
    if masking.decoys and hidden.any():
        free = fov & ~outline & ~hidden
        decoys = _place_decoys(hidden, branch[nearest], free, masking.decoys, rng)
    return Regions(hidden, decoys, outline | vessel, count, chosen)


def _nearest(shape: tuple[int, ...], pixels: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return every pixel's distance to the nearest of `pixels`, and which of them that is."""
    import cv2

    off = np.ones(shape, np.uint8)
    off[pixels[:, 0], pixels[:, 1]] = 0
    distance, ids = cv2.distanceTransformWithLabels(off, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    order = np.zeros(len(pixels) + 1, np.intp)
    order[ids[pixels[:, 0], pixels[:, 1]]] = np.arange(len(pixels))
    return np.asarray(distance, np.float32), order[ids]


def _median_by(groups: NDArray[np.int32], values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return the median of `values` in each group 0 to `count` - 1; 0 where a group is empty."""
    order = np.lexsort((values, groups))
    starts = np.searchsorted(groups[order], np.arange(count + 1))
    middle = np.minimum((starts[:-1] + starts[1:]) // 2, len(values) - 1)
    return np.where(starts[1:] > starts[:-1], values[order][middle], np.float32(0))


def _free_ends(skeleton: NDArray[np.bool_], pixels: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which centreline pixels have one neighbour or none."""
    import cv2

    around = cv2.boxFilter(
        skeleton.astype(np.uint8), cv2.CV_8U, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(around[pixels[:, 0], pixels[:, 1]] <= 2)


def _stretches(
    pixels: NDArray[np.intp],
    branch: NDArray[np.int32],
    is_chosen: NDArray[np.bool_],
    masking: Masking,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Pick stretches of the chosen branches: one each, and more where a branch is long (`APART`)."""
    picked = np.zeros(len(pixels), np.bool_)
    order = np.argsort(branch, kind="stable")
    starts = np.searchsorted(branch[order], np.arange(len(is_chosen) + 1))
    low, high = np.log(masking.shortest), np.log(masking.longest)
    for number in np.flatnonzero(is_chosen):
        members = order[starts[number] : starts[number + 1]]
        path = members[_along(pixels[members])]
        at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(pixels[path], axis=0).T))])
        places = 1 + int(at[-1] // max(2 * masking.longest, APART))
        room = (at[-1] + 1) / places
        for place in range(places):
            length = min(float(np.exp(rng.uniform(low, high))), room)
            start = place * room + float(rng.uniform(0, room - length)) - 0.5
            picked[path[(at >= start) & (at < start + length)]] = True
    return picked


def _along(pixels: NDArray[np.intp]) -> list[int]:
    """Return a branch's pixels in their order from one end to the other."""
    index = {(int(y), int(x)): i for i, (y, x) in enumerate(pixels)}
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))

    def ways(y: int, x: int) -> list[tuple[int, int]]:
        return [(y + dy, x + dx) for dy, dx in steps if (y + dy, x + dx) in index]

    here = min(index, key=lambda p: len(ways(*p)))
    path = [index.pop(here)]
    while following := ways(*here):
        here = following[0]
        path.append(index.pop(here))
    return path


def _place_decoys(
    hidden: NDArray[np.bool_],
    owner: NDArray[np.int32],
    free: NDArray[np.bool_],
    each: int,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Move the hidden shapes, turned or mirrored, to places where there is background."""
    open_pixels = np.argwhere(free)
    pixels = np.argwhere(hidden)
    if not len(open_pixels):
        return np.zeros(hidden.shape, np.bool_)
    owners = owner[pixels[:, 0], pixels[:, 1]]
    pixels = pixels[np.argsort(owners, kind="stable")]
    sizes = np.bincount(owners)
    sizes = sizes[sizes > 0]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    middles = np.rint(np.add.reduceat(pixels, starts) / sizes[:, None]).astype(np.intp)
    shapes = pixels - np.repeat(middles, sizes, axis=0)
    is_free = np.pad(free, 1)
    decoys = np.zeros(is_free.shape, np.bool_)

    def frame(points: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Index into `is_free`; what lies outside the picture comes to lie on its border."""
        y, x = points.T
        return np.clip(y + 1, 0, is_free.shape[0] - 1), np.clip(x + 1, 0, is_free.shape[1] - 1)

    for _ in range(each):
        # Flips and quarter turns keep a shape exact; the crop as a whole was turned by any angle before.
        turned = np.repeat(rng.random(len(sizes)) < 0.5, sizes)
        moved = np.where(turned[:, None], shapes[:, ::-1], shapes)
        moved = moved * np.repeat(rng.choice((-1, 1), (len(sizes), 2)), sizes, axis=0)
        best = np.zeros(len(sizes))
        place = np.zeros((len(sizes), 2), np.intp)
        for _ in range(PLACES):
            trial = open_pixels[rng.integers(len(open_pixels), size=len(sizes))]
            fits = is_free[frame(moved + np.repeat(trial, sizes, axis=0))]
            share = np.add.reduceat(fits.astype(np.intp), starts) / sizes
            place[share > best] = trial[share > best]
            best = np.maximum(best, share)
        pieces = np.split(moved + np.repeat(place, sizes, axis=0), starts[1:])
        for piece in (piece for piece, share in zip(pieces, best, strict=True) if share >= ON_BACKGROUND):
            y, x = frame(piece)
            fits = is_free[y, x]
            # Another decoy may have come to lie there first, and two of them in a heap have the shape of no vessel.
            if fits.mean() >= ON_BACKGROUND:
                decoys[y[fits], x[fits]] = True
                is_free[y[fits], x[fits]] = False
    return decoys[1:-1, 1:-1]


def _add_noise(
    pixels: NDArray[np.float32], where: NDArray[np.bool_], sigma: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add noise in whole steps of an 8-bit image, as published."""
    out = pixels.copy()
    found = np.rint(pixels[where] * 255)
    noise = np.asarray(rng.normal(0.0, sigma * 255, found.shape), np.float32)
    out[where] = np.clip(np.rint(found + noise), 0, 255) / np.float32(255)
    return out


def _fill(
    pixels: NDArray[np.float32],
    where: NDArray[np.bool_],
    background: NDArray[np.bool_],
    calibre: float,
    sigma: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Put the local background with its own grain, and noise, in place of what is there."""
    level = _local_mean(pixels, background, max(1.5 * calibre, 3.0))
    y, x = np.nonzero(where)
    grain = _borrow_grain(pixels, level, background, y, x, calibre, rng)
    noise = np.asarray(rng.normal(0.0, 1.0, grain.shape), np.float32) * np.float32(sigma * rng.random())
    out = pixels.copy()
    out[y, x] = np.clip(level[y, x] + grain + noise, 0.0, 1.0)
    return out


def _local_mean(pixels: NDArray[np.float32], weight: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    """Blur an image with the pixels outside `weight` left out; (Y, X, C) in and out."""
    import cv2

    height, width, channels = pixels.shape
    stack = np.empty((height, width, channels + 1), np.float32)
    stack[..., -1] = weight
    np.multiply(pixels, stack[..., -1:], out=stack[..., :-1])
    total = np.full(stack.shape, 1e-12, np.float32)
    # Where there is hardly any background near, in the middle of the widest vessels, a wider look decides.
    for spread, share in ((1, 1.0), (3, 1e-2), (9, 1e-4)):
        # A wide Gaussian is slow, and its result is smooth: it is taken on a smaller picture.
        shrink = max(sigma * spread / 2, 1.0)
        small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        stack = cv2.resize(stack, small, interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(stack, (0, 0), sigma * spread / shrink, borderType=cv2.BORDER_REFLECT)
        total += np.float32(share) * cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(total[..., :-1] / total[..., -1:], np.float32)


def _borrow_grain(
    pixels: NDArray[np.float32],
    level: NDArray[np.float32],
    background: NDArray[np.bool_],
    y: NDArray[np.intp],
    x: NDArray[np.intp],
    calibre: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return how background pixels near (y, x) differ from their local mean, float32, shape (N, C)."""
    height, width = background.shape
    # A border that is no background takes what lies outside the picture.
    usable = np.pad(background, 1)
    grain = np.zeros((len(y), pixels.shape[2]), np.float32)
    missing = np.arange(len(y))
    # Whole patches from one place, so that the grain keeps its size; the next place for what was no background there.
    for attempt in range(10):
        if not len(missing):
            break
        angle, reach = rng.uniform(0, 2 * np.pi), (3 + attempt) * max(calibre, 3.0)
        from_y = np.clip(y[missing] + round(reach * np.sin(angle)), -1, height)
        from_x = np.clip(x[missing] + round(reach * np.cos(angle)), -1, width)
        good = usable[from_y + 1, from_x + 1]
        from_y, from_x = from_y[good], from_x[good]
        grain[missing[good]] = pixels[from_y, from_x] - level[from_y, from_x]
        missing = missing[~good]
    return grain
