"""Real tissue without its vessels, for synthetic ones to be drawn on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import VesselImage
from napari_vessel.synthesis.appearance import Drawing, Picture, blur, clouds, distance_from
from napari_vessel.synthesis.likeness import LONGEST

_WIDEST_FILL = 6
"""Holes are filled from their surroundings, near ones first: standard deviations of 1.5 px and its doubles."""
_DETAIL = 2.0
"""What is finer than this standard deviation, px, is grain: it is copied from beside a vessel to where it was."""


@dataclass(frozen=True, eq=False, slots=True)
class Background:
    """A real image with its vessels inpainted away, and how they looked in it.

    Attributes
    ----------
    pixels : ndarray of float32, shape (Y, X, C)
        Intensities in [0, 1], of one channel or three.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view; None means everywhere.
    dark : bool
        Whether vessels are darker than their surroundings.
    contrast : ndarray of float64, shape (2, C)
        Contrast of thin and of wide vessels, per channel: the share of the light that they take where they are dark,
        and how much they add where they are bright.
    radii : tuple of float
        Median radius, px, of the thin and of the wide ones.
    softness : float
        Standard deviation of the blur at their edges, px.
    grain, uneven : float
        Standard deviation of the vessels' contrast, as a share of it: from pixel to pixel, and from place to place.
    disc : tuple of float
        (y, x) px of the brightest place: the optic disc on a fundus photograph.
    """

    pixels: Picture
    fov: NDArray[np.bool_] | None
    dark: bool
    contrast: NDArray[np.float64]
    radii: tuple[float, float]
    softness: float
    grain: float
    uneven: float
    disc: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (int(self.pixels.shape[0]), int(self.pixels.shape[1]))

    @classmethod
    def of(cls, image: VesselImage, vessels: NDArray[np.bool_] | None = None) -> Background:
        """Take the vessels out of an image.

        Parameters
        ----------
        image : VesselImage
            Any image; one longer than 1024 px is made smaller.
        vessels : ndarray of bool, shape (Y, X), optional
            Where they are; found by a multi-scale ridge filter when left out.

        Raises
        ------
        InputError
            If `vessels` has another shape than the image.
        """
        import cv2

        if vessels is not None and vessels.shape != image.shape:
            raise InputError(f"The mask is {vessels.shape} and the image {image.shape}; give a mask of its size.")
        scale = min(1.0, LONGEST / max(image.shape))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        pixels = np.asarray(cv2.resize(image.pixels, size, interpolation=cv2.INTER_AREA), np.float32)
        pixels = pixels.reshape(size[1], size[0], -1)
        fov = None
        if image.fov is not None:
            fov = cv2.resize(image.fov.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        dark = image.modality.dark_vessels
        if vessels is None:
            channel = cv2.resize(image.vessel_channel(), size, interpolation=cv2.INTER_AREA)
            found = find_ridges(np.asarray(channel, np.float32), fov, dark)
        else:
            found = cv2.resize(vessels.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
        reach = 2 * max(1, round(min(size) / 256)) + 1
        hole = cv2.dilate(found.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
        plain = _fill(pixels, hole, fov)
        return cls(plain, fov, dark, *_measure(pixels, plain, found, hole, fov, dark), _brightest(plain, fov))

    def fit(self, shape: tuple[int, int], mirror: bool) -> Background:
        """Return the background at another size: the middle part that has its form."""
        import cv2

        height, width = self.shape
        scale = max(shape[0] / height, shape[1] / width)
        step = np.array([(height * scale - shape[0]) / 2, (width * scale - shape[1]) / 2]) / scale
        sign = -1.0 if mirror else 1.0
        # From a pixel of the result to one of the background.
        x = np.array([sign / scale, 0.0, step[1] + (0.5 / scale - 0.5)])
        if mirror:
            x[2] = width - 1 - x[2]
        y = np.array([0.0, 1.0 / scale, step[0] + (0.5 / scale - 0.5)])
        there = np.stack([x, y])
        size = (shape[1], shape[0])
        smaller = max(0.0, 0.4 * (1 / scale - 1))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        planes = [
            cv2.warpAffine(
                blur(plane, smaller) if smaller > 0.2 else plane,
                there,
                size,
                flags=flags,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for plane in np.moveaxis(self.pixels, 2, 0)
        ]
        fov = None
        if self.fov is not None:
            nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
            fov = cv2.warpAffine(self.fov.astype(np.uint8), there, size, flags=nearest) > 0
        disc = ((self.disc[0] - y[2]) / y[1], (self.disc[1] - x[2]) / x[0])
        softness = max(0.5, self.softness * scale)
        radii = (self.radii[0] * scale, self.radii[1] * scale)
        return replace(self, pixels=np.stack(planes, axis=2), fov=fov, radii=radii, softness=softness, disc=disc)

    def render(self, rng: np.random.Generator, drawing: Drawing, widest: float, share: Picture) -> Picture:
        """Draw vessels on it as the real ones looked.

        Parameters
        ----------
        rng : numpy.random.Generator
            Decides how much fainter or stronger they are than the real ones.
        drawing : Drawing
            The vessels, shape (Y, X) as the background's.
        widest : float
            Radius of the widest of them, px.
        share : ndarray of float32, shape (Y, X)
            How much of them is to be seen, 0 to 1.

        Returns
        -------
        ndarray of float32, shape (Y, X) or (Y, X, 3)
            In [0, 1].
        """
        import cv2

        shape = self.shape
        soft = blur(drawing.coverage, self.softness)
        # The contrast was measured on centrelines, so there the profile is 1, however thin and blurred the vessel.
        reach = 2 * int(np.ceil(2 * self.softness)) + 1
        profile = soft / np.maximum(cv2.dilate(soft, np.ones((reach, reach), np.uint8)), 0.25)
        # What `depth` is in a vessel's middle tells its radius: .45 for none, 1 for the widest.
        radius = widest * (1.1 * blur(drawing.depth, self.softness) / np.maximum(soft, 1e-3) - 0.45) / 0.55
        thin, wide = self.radii
        wide_share = np.clip((radius - thin) / max(wide - thin, 0.5), 0, 1)
        strength = rng.uniform(0.75, 1.2) * np.clip(1 + self.uneven * clouds(rng, shape, min(shape) / 9), 0.6, 1.5)
        shown = profile * strength * share
        out = np.empty_like(self.pixels)
        texture = 1.0 + self.grain * blur(rng.standard_normal(shape), 0.6) / 0.42
        for channel in range(self.pixels.shape[2]):
            thin_one, wide_one = self.contrast[:, channel]
            amount = shown * (thin_one + (wide_one - thin_one) * wide_share)
            plane = self.pixels[..., channel]
            out[..., channel] = plane * (1 - np.clip(amount, 0, 0.95)) if self.dark else plane + amount * texture
        if self.fov is not None:
            out = np.where(self.fov[..., None], out, self.pixels)
        clipped = np.asarray(np.clip(out, 0, 1), np.float32)
        return clipped[..., 0] if clipped.shape[2] == 1 else clipped


def find_ridges(channel: Picture, fov: NDArray[np.bool_] | None, dark: bool) -> NDArray[np.bool_]:
    """Return what a multi-scale ridge filter takes for vessels, bool, shape (Y, X): the strongest fifth.

    Too much does little harm, since what is taken for a vessel is filled with what is around it.
    """
    import cv2

    unit = max(0.5, min(channel.shape) / 512)
    signed = channel if dark else -channel
    best = np.zeros(channel.shape, np.float32)
    for sigma in (1.5, 3.0, 5.0):
        smooth = blur(signed, sigma * unit)
        xx, yy = cv2.Sobel(smooth, cv2.CV_32F, 2, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 2)
        xy = cv2.Sobel(smooth, cv2.CV_32F, 1, 1)
        best = np.maximum(best, sigma**2 * ((xx + yy) / 2 + np.sqrt(((xx - yy) / 2) ** 2 + xy**2)))
    inside = np.ones(channel.shape, np.bool_)
    if fov is not None:
        # The rim of the field of view is an edge, and looks like a vessel.
        inside = cv2.erode(fov.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if not inside.any():
        return inside
    return np.asarray((best > np.percentile(best[inside], 80)) & inside, np.bool_)


def _fill(pixels: Picture, hole: NDArray[np.bool_], fov: NDArray[np.bool_] | None) -> Picture:
    """Return the image with its holes filled: smoothly from around, and with the grain from beside."""
    known = ~hole if fov is None else ~hole & fov
    out = pixels.copy()
    inside = hole if fov is None else hole & fov
    # Where the grain of a pixel is taken from: the first of a few shifts that leads out of the hole.
    rows, columns = np.nonzero(inside)
    from_y, from_x = rows.copy(), columns.copy()
    missing = np.ones(len(rows), np.bool_)
    for distance in (7, 12, 20, 33, 54):
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)):
            y = np.clip(rows + distance * dy, 0, hole.shape[0] - 1)
            x = np.clip(columns + distance * dx, 0, hole.shape[1] - 1)
            use = missing & known[y, x]
            from_y[use], from_x[use] = y[use], x[use]
            missing &= ~use
    for channel in range(pixels.shape[2]):
        plane = pixels[..., channel]
        smooth = np.full(plane.shape, float(plane[known].mean()) if known.any() else 0.0, np.float32)
        for power in range(_WIDEST_FILL, -1, -1):
            sigma = 1.5 * 2**power
            weight = _wide_blur(known, sigma)
            near = _wide_blur(plane * known, sigma) / np.maximum(weight, 1e-6)
            share = np.clip(weight / 0.15, 0, 1)
            smooth = share * near + (1 - share) * smooth
        low = blur(np.where(known, plane, smooth), _DETAIL)
        detail = np.where(missing, 0.0, (plane - low)[from_y, from_x])
        out[rows, columns, channel] = np.clip(smooth[rows, columns] + detail, 0, 1)
    return out


def _wide_blur(picture: NDArray[Any], sigma: float) -> Picture:
    """Return a Gaussian blur; a wide one is computed on a small copy."""
    import cv2

    if sigma <= 6.0:
        return blur(picture, sigma)
    height, width = picture.shape
    size = (max(8, round(width * 4 / sigma)), max(8, round(height * 4 / sigma)))
    small = cv2.resize(np.asarray(picture, np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(blur(small, 4.0), (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _measure(
    pixels: Picture,
    plain: Picture,
    found: NDArray[np.bool_],
    hole: NDArray[np.bool_],
    fov: NDArray[np.bool_] | None,
    dark: bool,
) -> tuple[NDArray[np.float64], tuple[float, float], float, float, float]:
    """Return contrast, radii, softness, grain and unevenness of the vessels that were taken out."""
    import cv2

    from napari_vessel.topology.skeleton import centreline

    channels = pixels.shape[2]
    seen = found if fov is None else found & fov
    line = centreline(seen)
    if int(line.sum()) < 20:
        return np.full((2, channels), 0.2), (1.0, 3.0), 0.8, 0.1, 0.1
    taken = 1 - pixels / np.maximum(plain, 0.02) if dark else pixels - plain
    radius = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    on_line, at = taken[line], radius[line]
    middle = float(np.quantile(at, 0.6))
    groups = (at <= middle, at > middle)
    contrast = np.array([np.median(on_line[g] if g.any() else on_line, axis=0) for g in groups], np.float64)
    contrast = np.maximum(contrast, 0.0)
    thin, wide = (float(np.median(at[g])) - 0.5 if g.any() else middle for g in groups)
    main = int(np.argmax(contrast.sum(axis=0)))
    if contrast[:, main].max() < 0.02:
        contrast[:, main] = 0.1
    # The edge of the mask is where half of the contrast is; how fast it falls from there is the blur.
    outside = cv2.distanceTransform((~seen).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    rim = (outside >= 0.9) & (outside < 1.6) & hole
    core = contrast[:, main].mean()
    share = float(np.median(taken[rim][:, main]) / max(core, 1e-3)) if rim.any() else 0.3
    softness = float(np.clip(0.6 + 1.6 * share, 0.5, 1.8))
    # From pixel to pixel against the mean of a few calibres around along the vessel, and that mean from place to place.
    along = line.astype(np.float32)
    mean = blur(taken[..., main] * along, 6.0) / np.maximum(blur(along, 6.0), 1e-6)
    grain = float(np.clip(np.std(taken[..., main][line] - mean[line]) / max(core, 1e-3), 0.0, 0.3))
    uneven = float(np.clip(np.std(mean[line]) / max(core, 1e-3), 0.05, 0.2))
    return contrast, (thin, wide), softness, grain, uneven


def _brightest(pixels: Picture, fov: NDArray[np.bool_] | None) -> tuple[float, float]:
    light = blur(pixels[..., min(1, pixels.shape[2] - 1)], 0.03 * min(pixels.shape[:2]))
    if fov is not None and fov.any():
        rows, columns = np.nonzero(fov)
        middle = (float(rows.mean()), float(columns.mean()))
        inside = distance_from((light.shape[0], light.shape[1]), middle) < 0.85 * np.sqrt(fov.sum() / np.pi)
        light = np.where(inside & fov, light, 0)
    y, x = np.unravel_index(int(np.argmax(light)), light.shape)
    return (float(y), float(x))
