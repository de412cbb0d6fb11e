"""TopoMask: branches of the vessel tree are destroyed in the image and stay in the target (Zhou et al., TMI 2025).

A network that is to see through a break has to meet breaks. In two forms:

* *faithful*, as published: Gaussian noise added along the centrelines of random branches. The noise goes on top of the
  vessel, so most of its contrast is still there; and it lies on vessels only, so that "noise" means "vessel".
* *corrected*: the vessel is taken out over its whole width. In its place comes the background around it, estimated
  from the pixels that are no vessel, with the background's own grain and a little noise. Pieces of background of the
  same shapes, *decoys*, are treated alike, so that nothing but the vessels that lead there tells what was one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.calibre import local_radius
from napari_vessel.topology.skeleton import centreline, label_branches
from napari_vessel.training.erasing import add_noise, fill_in
from napari_vessel.training.terms import in_range

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
class TopoMaskRecipe:
    """Vessels hidden in the image and left in the target.

    Attributes
    ----------
    style : {"none", "faithful", "corrected"}
        Off; as published; or with the vessel really taken out, and decoys.
    ratio : float
        Largest share of the branches that is hidden.
    schedule : {"ramp", "constant"}
        Ramp: none in the first and last tenth of the run, the whole ratio in the middle of it. Constant: the whole
        ratio all the time.
    dilation : float
        Width of what is destroyed along a vessel of typical calibre, in calibres; 0: the modality's own.
    noise : float
        Standard deviation of the noise, as a share of the intensity range; 0: the style's and modality's own.
    decoys : int
        Pieces of background destroyed alike for every hidden piece of vessel; only when corrected.
    shortest, longest : float
        When `longest` is not 0, stretches of the chosen branches are hidden and not the whole of them: from
        `shortest` to `longest` px at the working scale, uniform in the logarithm.
    margin : float
        What is left of a branch on both sides of a stretch, px: a break has two ends. Where that leaves no room for
        the shortest one, the branch stays whole. With `longest` only.
    """

    style: Literal["none", "faithful", "corrected"] = "none"
    ratio: float = 0.4
    schedule: Literal["ramp", "constant"] = "ramp"
    dilation: float = 0.0
    noise: float = 0.0
    decoys: int = 1
    shortest: float = 3.0
    longest: float = 0.0
    margin: float = 0.0

    def ratio_at(self, fraction: float) -> float:
        """Return the share of the branches that is hidden after this share of the run."""
        if self.style == "none":
            return 0.0
        if self.schedule == "constant":
            return self.ratio
        return self.ratio * min(max(min(fraction - 0.1, 0.9 - fraction) / 0.4, 0.0), 1.0)


def check_topomask(recipe: TopoMaskRecipe) -> None:
    """Raise ValueError for settings out of range."""
    for name, low, high in (("ratio", 0.0, 1.0), ("dilation", 0.0, 20.0), ("noise", 0.0, 1.0), ("decoys", 0.0, 20.0)):
        in_range(f"topomask.{name}", getattr(recipe, name), low, high)
    in_range("topomask.shortest", recipe.shortest, 1.0, 1000.0)
    in_range("topomask.longest", recipe.longest, 0.0, 1000.0)
    in_range("topomask.margin", recipe.margin, 0.0, 1000.0)
    if 0 < recipe.longest < recipe.shortest:
        raise ValueError("'topomask.longest' is less than 'topomask.shortest'")


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
    margin : float
        What is left of a branch on both sides of a stretch, px.
    """

    style: str = "none"
    ratio: float = 0.0
    dilation: float = 2.0
    noise: float = 0.0
    decoys: int = 0
    shortest: float = 0.0
    longest: float = 0.0
    margin: float = 0.0

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
            recipe.margin,
        )

    def scaled(self, factor: float) -> Masking:
        """Return the same for an image with `factor` times as many pixels a side."""
        return replace(
            self, shortest=self.shortest * factor, longest=self.longest * factor, margin=self.margin * factor
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
        return add_noise(pixels, everywhere, masking.noise, rng), everywhere
    background = fov & ~regions.vessels & ~everywhere
    return fill_in(pixels, everywhere, background, calibre, masking.noise, rng), everywhere


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
    """Pick stretches of the chosen branches: one each, more where one is long (`APART`), none where one is short."""
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
        within = room - 2 * masking.margin
        if masking.margin and within < masking.shortest:
            continue
        for place in range(places):
            length = min(float(np.exp(rng.uniform(low, high))), within)
            start = place * room + masking.margin + float(rng.uniform(0, within - length)) - 0.5
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
