"""Sample pictures with exact truth, made on the spot: nothing to download, the same for everyone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import VESSEL, Modality, VesselImage, VesselMask
from napari_vessel.synthesis.appearance import (
    Picture,
    distance_from,
    draw_tree,
    render_fundus,
    render_octa,
    render_xray,
)
from napari_vessel.synthesis.breaks import Break, plant_breaks
from napari_vessel.synthesis.colonisation import VesselTree
from napari_vessel.synthesis.layouts import forest, fundus_layout, octa_layout, xray_layout

SAMPLES: tuple[str, ...] = ("fundus", "octa", "xray")

_SHAPES = {"fundus": (584, 565), "octa": (400, 400), "xray": (512, 512)}
_MIN_SIDE = 128


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """A synthetic picture.

    Attributes
    ----------
    image : VesselImage
        The picture.
    truth : VesselMask
        Every vessel that was drawn.
    broken : ndarray of bool, shape (Y, X)
        The truth with stretches missing, as a segmentation leaves it.
    breaks : tuple of Break
        The stretches.
    """

    image: VesselImage
    truth: VesselMask
    broken: NDArray[np.bool_]
    breaks: tuple[Break, ...] = field(default=())


def make_sample(kind: str, seed: int = 0, shape: tuple[int, int] | None = None) -> Sample:
    """Make a sample picture.

    Parameters
    ----------
    kind : {"fundus", "octa", "xray"}
        What to imitate.
    seed : int, optional
        The same seed gives the same picture.
    shape : tuple of int, optional
        Height and width; by default 584 x 565, 400 x 400 and 512 x 512.

    Returns
    -------
    Sample
        The picture, its truth, and a broken copy of the truth.

    Raises
    ------
    InputError
        If there is no such kind, or the shape is too small.
    """
    if kind not in SAMPLES:
        raise InputError(f"There is no sample called {kind!r}; choose one of {', '.join(SAMPLES)}.")
    height, width = shape or _SHAPES[kind]
    if min(height, width) < _MIN_SIDE:
        raise InputError(f"A sample of {height} x {width} px is too small; make each side {_MIN_SIDE} px or more.")
    rng = np.random.default_rng([SAMPLES.index(kind), seed])
    make = {"fundus": _fundus, "octa": _octa, "xray": _xray}[kind]
    pixels, tree, truth, fov = make(rng, (height, width))
    broken, breaks = plant_breaks(rng, tree, truth)
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}".encode())
    digest.update(pixels.data)
    image = VesselImage(
        pixels=pixels,
        fov=fov,
        modality=Modality(kind),
        content_hash=digest.hexdigest(),
        notes=(f"synthetic {kind} picture, seed {seed}",),
    )
    mask = VesselMask(truth.astype(np.uint8), (VESSEL,), "Drawn, not annotated: 255 is vessel.")
    return Sample(image, mask, broken, tuple(breaks))


_Made = tuple[Picture, VesselTree, NDArray[np.bool_], NDArray[np.bool_] | None]


def _fundus(rng: np.random.Generator, shape: tuple[int, int]) -> _Made:
    layout = fundus_layout(rng, shape)
    arteries, veins = draw_tree(layout.arteries, shape), draw_tree(layout.veins, shape)
    fov = distance_from(shape, layout.centre) < layout.radius
    pixels = render_fundus(
        rng,
        arteries,
        veins,
        disc=layout.disc,
        disc_radius=layout.disc_radius,
        fovea=layout.fovea,
        centre=layout.centre,
        radius=layout.radius,
    )
    return pixels, forest(layout), (arteries.truth | veins.truth) & fov, np.asarray(fov, np.bool_)


def _octa(rng: np.random.Generator, shape: tuple[int, int]) -> _Made:
    tree, centre, zone = octa_layout(rng, shape)
    drawing = draw_tree(tree, shape)
    rim = 1 / (1 + np.exp(-(distance_from(shape, centre) - zone) / (0.12 * zone)))
    return render_octa(rng, drawing, zone=np.asarray(rim, np.float32)), tree, drawing.truth, None


def _xray(rng: np.random.Generator, shape: tuple[int, int]) -> _Made:
    tree, catheter = xray_layout(rng, shape)
    drawing = draw_tree(tree, shape)
    return render_xray(rng, drawing, draw_tree(catheter, shape)), tree, drawing.truth, None
