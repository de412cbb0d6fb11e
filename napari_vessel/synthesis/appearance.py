"""How vessels look in each modality: from trees to pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.synthesis.colonisation import VesselTree

Picture = NDArray[np.float32]

_SHIFT = 4
_OVER = 4
"""Lines are drawn this many times larger and averaged down, so that edges are smooth."""


@dataclass(frozen=True, eq=False, slots=True)
class Drawing:
    """A tree on the pixel grid.

    Attributes
    ----------
    truth : ndarray of bool, shape (Y, X)
        Pixels at least half covered by a vessel, and those on a centreline.
    coverage : ndarray of float32, shape (Y, X)
        Share of each pixel that is covered, 0 to 1.
    depth : ndarray of float32, shape (Y, X)
        How much blood a ray meets, 0 to 1 of that in the widest vessel.
    core : ndarray of float32, shape (Y, X)
        The middle third of wide vessels, where the central light reflex is.
    """

    truth: NDArray[np.bool_]
    coverage: Picture
    depth: Picture
    core: Picture

    def seen(self, share: Picture) -> Drawing:
        """Return the drawing with only this share, 0 to 1, of it to be seen; the truth stays."""
        return replace(self, coverage=self.coverage * share, depth=self.depth * share, core=self.core * share)


def draw_tree(tree: VesselTree, shape: tuple[int, int], *, core_radius: float = 2.0) -> Drawing:
    """Draw a tree with smooth edges.

    Parameters
    ----------
    tree : VesselTree
        What to draw.
    shape : tuple of int
        Height and width.
    core_radius : float, optional
        Vessels of at least this radius, px, have a core.
    """
    import cv2

    size = (shape[0] * _OVER, shape[1] * _OVER)
    segments = np.flatnonzero(tree.parents >= 0)
    # Thin first, so that a wide vessel lies over the twig that leaves it.
    segments = segments[np.argsort(tree.radii[segments], kind="stable")]
    # Pixel centres are whole numbers: (0, 0) is the middle of the first pixel, which covers [-.5, .5).
    scaled = ((tree.points[:, ::-1] + 0.5) * _OVER - 0.5) * (1 << _SHIFT)
    ends = np.rint(scaled).astype(np.int64).tolist()
    largest = float(tree.radii.max(initial=1.0))
    solid, depth, core = (np.zeros(size, np.uint8) for _ in range(3))
    line = np.zeros(shape, np.uint8)
    plain = np.rint(tree.points[:, ::-1]).astype(np.int64).tolist()
    radii = tree.radii.tolist()
    # The chord through a round vessel: widest in the middle. Three nested lines come near enough after the blur.
    for share, level in ((1.0, 0.45), (0.8, 0.8), (0.5, 1.0)):
        for node in segments.tolist():
            parent = int(tree.parents[node])
            radius = radii[node]
            width = _width(radius * share)
            value = round(255 * level * (0.45 + 0.55 * min(radius / largest, 1.0)))
            cv2.line(depth, ends[parent], ends[node], value, width, cv2.LINE_8, _SHIFT)
    for node in segments.tolist():
        parent = int(tree.parents[node])
        radius = radii[node]
        cv2.line(solid, ends[parent], ends[node], 255, _width(radius), cv2.LINE_8, _SHIFT)
        cv2.line(line, plain[parent], plain[node], 1, 1, cv2.LINE_8)
        if radius >= core_radius:
            cv2.line(core, ends[parent], ends[node], 255, _width(0.275 * radius), cv2.LINE_8, _SHIFT)
    coverage = _shrink(solid, shape)
    truth = (coverage >= 0.5) | (line > 0)
    return Drawing(truth, coverage, _shrink(depth, shape), _shrink(core, shape))


def _width(radius: float) -> int:
    # OpenCV's thick lines are an odd number of pixels wide, one more than an even width asked for.
    return max(1, 2 * round(radius * _OVER - 0.5))


def _shrink(large: NDArray[np.uint8], shape: tuple[int, int]) -> Picture:
    import cv2

    small = cv2.resize(large, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def blur(picture: NDArray[Any], sigma: float) -> Picture:
    """Return a Gaussian blur with standard deviation `sigma`, px."""
    import cv2

    return np.asarray(cv2.GaussianBlur(np.asarray(picture, np.float32), (0, 0), sigma), np.float32)


def clouds(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Picture:
    """Return smooth noise with mean 0, standard deviation 1, and features about `scale` px wide."""
    import cv2

    coarse = (max(4, round(shape[0] / scale) + 3), max(4, round(shape[1] / scale) + 3))
    field = rng.standard_normal(coarse).astype(np.float32)
    large = cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray((large - large.mean()) / (large.std() + 1e-6), np.float32)


def distance_from(shape: tuple[int, int], centre: tuple[float, float]) -> Picture:
    """Return every pixel's distance from (y, x), px."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(y - centre[0], x - centre[1]), np.float32)


def _step(distance: Picture, edge: float, width: float) -> Picture:
    """Return 1 inside `edge`, 0 outside, with a soft rim."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip((distance - edge) / width, -30, 30))), np.float32)


def render_fundus(
    rng: np.random.Generator,
    arteries: Drawing,
    veins: Drawing,
    *,
    disc: tuple[float, float],
    disc_radius: float,
    fovea: tuple[float, float],
    centre: tuple[float, float],
    radius: float,
) -> Picture:
    """Render a colour fundus photograph, float32, shape (Y, X, 3)."""
    shape = (arteries.truth.shape[0], arteries.truth.shape[1])
    unit = radius / 270.0
    to_disc, to_fovea, to_rim = (distance_from(shape, p) for p in (disc, fovea, centre))
    # Choroid and retina: orange, brighter around the disc, darker at the fovea and towards the rim.
    light = 1.0 - 0.30 * (to_rim / radius) ** 2 + 0.12 * np.exp(-((to_disc / (1.1 * radius)) ** 2))
    light += 0.035 * clouds(rng, shape, 90 * unit) + 0.018 * clouds(rng, shape, 22 * unit)
    light += 0.012 * clouds(rng, shape, 6 * unit)
    macula = np.exp(-((to_fovea / (0.30 * radius)) ** 2))
    pit = np.exp(-((to_fovea / (0.055 * radius)) ** 2))
    red = 0.80 * light * (1 - 0.10 * macula - 0.05 * pit)
    green = 0.40 * light * (1 - 0.24 * macula - 0.10 * pit)
    blue = 0.17 * light * (1 - 0.20 * macula - 0.08 * pit)
    # The disc: a pale oval with a paler cup and a soft rim.
    wobble = 1.0 + 0.04 * clouds(rng, shape, 60 * unit)
    oval = np.hypot((np.arange(shape[0])[:, None] - disc[0]) / 1.07, np.arange(shape[1])[None, :] - disc[1]).astype(
        np.float32
    )
    rim = _step(oval * wobble, disc_radius, 2.4 * unit)
    cup = _step(oval * wobble, 0.46 * disc_radius, 3.5 * unit)
    halo = np.exp(-((np.maximum(oval - disc_radius, 0) / (0.5 * disc_radius)) ** 2)) * (1 - rim)
    for channel, pale, cupped in ((red, 0.16, 0.03), (green, 0.26, 0.13), (blue, 0.13, 0.16)):
        channel += rim * pale + cup * cupped + 0.035 * halo
    # Blood takes green light most; veins are darker and arteries have the stronger reflex.
    for drawing, strength, reflex in ((veins, 1.0, 0.10), (arteries, 0.74, 0.34)):
        # Round the core off so that the reflex is a soft streak, not a stripe.
        depth = blur(drawing.depth, 0.75) * strength
        streak = blur(drawing.core, 0.7) * reflex
        for channel, take, give in ((red, 0.40, 0.13), (green, 0.68, 0.34), (blue, 0.50, 0.25)):
            channel *= 1 - take * depth
            channel *= 1 + give * streak
    picture = np.stack([red, green, blue], axis=2)
    picture *= _step(to_rim, radius - 0.5, 0.8)[..., None]
    grain = rng.standard_normal((*shape, 3)).astype(np.float32)
    grain[..., 0] = 0.7 * grain[..., 0] + 0.3 * grain[..., 1]
    lit = (to_rim < radius)[..., None]
    noise = blur(grain, 0.6) * np.float32(0.02) * np.where(lit, 1.0, 0.25) + np.where(lit, 0.0, 0.012)
    return np.asarray(np.clip(picture + noise, 0, 1), np.float32)


def render_octa(rng: np.random.Generator, vessels: Drawing, *, zone: Picture) -> Picture:
    """Render an OCT angiogram, float32, shape (Y, X).

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the speckle.
    vessels : Drawing
        What flows.
    zone : ndarray of float32, shape (Y, X)
        0 in the foveal avascular zone, 1 outside, with a soft rim.
    """
    shape = (vessels.truth.shape[0], vessels.truth.shape[1])
    # Capillaries: where smooth noise crosses zero is a net of thin closed curves.
    mesh = np.zeros(shape, np.float32)
    for scale in (7.0, 5.0):
        mesh = np.maximum(mesh, np.exp(-((clouds(rng, shape, scale) / 0.22) ** 2)))
    patchy = np.clip(1 + 0.18 * clouds(rng, shape, 60) + 0.12 * clouds(rng, shape, 18), 0.4, 1.6)
    flow = zone * patchy * (0.10 + 0.28 * blur(mesh, 0.6))
    vessel = blur(vessels.coverage, 0.6) * (0.62 + 0.38 * blur(vessels.depth, 0.7))
    signal = np.maximum(flow, vessel * 0.92) + 0.025
    # Fully developed speckle, averaged over a few repeats.
    speckle = blur(rng.gamma(4.0, 1 / 4.0, shape), 0.55)
    picture = signal * speckle
    picture *= 1 + 0.05 * rng.standard_normal((shape[0], 1))
    for row in rng.integers(5, shape[0] - 5, 3):
        # Small eye movements show as bright lines.
        picture[row] += 0.10 * rng.random(shape[1])
    return np.asarray(np.clip(picture + 0.012 * rng.standard_normal(shape), 0, 1), np.float32)


def render_xray(
    rng: np.random.Generator,
    vessels: Drawing,
    catheter: Drawing,
    *,
    bones: float = 1.0,
    phase: float = 0.0,
    soft: float = 1.0,
    grain: float = 1.0,
) -> Picture:
    """Render an X-ray angiogram, float32, shape (Y, X): iodine, a catheter, ribs, spine, diaphragm, noise.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of tissue and noise.
    vessels, catheter : Drawing
        What is filled with iodine, and what brings it.
    bones : float
        How much of bones and tissue shows, as a share.
    phase : float
        Moves ribs and spine: by one rib for each 1.
    soft : float
        Blur of the vessels, px.
    grain : float
        How much of the noise shows, as a share.
    """
    height, width = shape = (vessels.truth.shape[0], vessels.truth.shape[1])
    y, x = np.mgrid[:height, :width].astype(np.float32)
    v, u = y / height, x / width
    # Optical thickness of the body: what is not named here is soft tissue.
    body = 0.35 + 0.06 * clouds(rng, shape, 0.4 * height) + 0.03 * clouds(rng, shape, 0.1 * height)
    body += 0.016 * clouds(rng, shape, 14) + 0.01 * clouds(rng, shape, 6)
    heart = ((u - 0.55) / 0.42) ** 2 + ((v - 0.55) / 0.42) ** 2
    body += 0.16 / (1 + np.exp((heart - 1) * 9))
    spine = np.exp(-(((u - 0.13 - 0.03 * v - 0.8 * (phase % 1)) / 0.085) ** 2))
    body += 0.16 * spine * (1 + 0.22 * np.sin(2 * np.pi * (v * 4.2 + 0.1)))
    for start in np.arange(-0.35, 1.25, 0.235):
        middle = start + 0.235 * (phase % 1) + 0.42 * u - 0.20 * (u - 0.4) ** 2
        band = (v - middle) / 0.035
        body += 0.075 * np.exp(-(band**4)) + 0.045 * np.exp(-(((np.abs(band) - 1.0) / 0.22) ** 2))
    dome = 0.93 - 0.13 * np.exp(-(((u - 0.72) / 0.38) ** 2))
    body += 0.20 / (1 + np.exp(-(v - dome) * 55))
    if bones != 1.0:
        body = 0.35 + bones * (body - 0.35)
    iodine = 0.62 * blur(vessels.depth, soft) + 0.05 * blur(vessels.coverage, 3.0)
    tube = 0.34 * blur(catheter.coverage, 0.9) - 0.14 * blur(catheter.core, 0.9)
    light = np.exp(-1.15 * (body + iodine + tube))
    # Quantum noise falls with the square root of the light; the detector smooths it a little.
    noise = blur(rng.standard_normal(shape), 0.7) * grain * 0.036 * np.sqrt(light)
    vignette = 1 - 0.16 * ((u - 0.5) ** 2 + (v - 0.5) ** 2) * 2
    picture = (light + noise) * vignette
    low, high = np.percentile(picture, (0.1, 99.9))
    return np.asarray(np.clip(0.06 + 0.86 * (picture - low) / (high - low), 0, 1), np.float32)


def render_twophoton(rng: np.random.Generator, layers: list[tuple[Drawing, float]]) -> Picture:
    """Render a projection of two-photon microscopy, float32, shape (Y, X).

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides brightness, cells and noise.
    layers : list of tuple of (Drawing, float)
        What is filled with dye, and how deep it lies: 0 at the top, 1 at the bottom, where it is dim and blurred.
    """
    shape = (layers[0][0].truth.shape[0], layers[0][0].truth.shape[1])
    unit = min(shape) / 512.0
    # Dark tissue, hazy where light scatters, and brighter where much dye is near.
    signal = rng.uniform(0.02, 0.10) * np.clip(1 + 0.35 * clouds(rng, shape, 90 * unit), 0.2, 2)
    signal += 0.015 * clouds(rng, shape, 10 * unit)
    for drawing, depth in layers:
        bright = rng.uniform(0.55, 1.0) * np.exp(-1.1 * depth)
        uneven = np.clip(1 + 0.18 * clouds(rng, shape, 40 * unit) + 0.08 * clouds(rng, shape, 5 * unit), 0.3, 1.7)
        # Cells that rush by leave streaks along the lines of the scan.
        streaks = blur(rng.standard_normal(shape), 0.7) * 0.12
        filled = blur(0.75 * drawing.coverage + 0.25 * drawing.depth, 0.6 + 1.8 * depth)
        signal += 0.10 * bright * blur(drawing.coverage, 14 * unit)
        signal = np.maximum(signal, bright * filled * uneven * (1 + streaks))
    for _ in range(int(rng.integers(0, 45))):
        # Cell bodies, and pieces of dead ones.
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        size = unit * float(np.exp(rng.uniform(np.log(1.2), np.log(5.0))))
        reach = round(4 * size) + 2
        rows = slice(max(0, round(y) - reach), min(shape[0], round(y) + reach + 1))
        columns = slice(max(0, round(x) - reach), min(shape[1], round(x) + reach + 1))
        dy, dx = np.arange(shape[0])[rows, None] - y, np.arange(shape[1])[None, columns] - x
        turn, long = rng.uniform(0, np.pi), rng.uniform(1.0, 1.8)
        u, v = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
        body = rng.uniform(0.15, 0.75) * np.exp(-(((u / (size * long)) ** 2 + (v / size) ** 2) ** 2))
        signal[rows, columns] = np.maximum(signal[rows, columns], body)
    # The animal moves: some lines are dimmer.
    gain = 1 + 0.03 * rng.standard_normal((shape[0], 1))
    for row in rng.integers(0, shape[0], int(rng.integers(0, 5))).tolist():
        gain[row : row + int(rng.integers(1, 4))] *= rng.uniform(0.4, 0.8)
    photons = float(np.exp(rng.uniform(np.log(25), np.log(400))))
    counted = rng.poisson(np.clip(signal * gain, 0, 2) * photons) / photons
    picture = blur(counted, rng.uniform(0.4, 0.8))
    high = float(np.percentile(picture, rng.uniform(98.5, 99.9)))
    return np.asarray(np.clip(picture / max(high, 1e-3), 0, 1), np.float32)
