"""Sample pictures with exact truth, made on the spot: nothing to download, the same for everyone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import VESSEL, Modality, VesselImage, VesselMask
from napari_vessel.synthesis.appearance import (
    Picture,
    blur,
    distance_from,
    draw_tree,
    render_fundus,
    render_octa,
    render_xray,
)
from napari_vessel.synthesis.breaks import Break, plant_breaks
from napari_vessel.synthesis.colonisation import VesselTree
from napari_vessel.synthesis.layouts import forest, fundus_layout, octa_layout, xray_layout
from napari_vessel.synthesis.scenes import lay_out

SAMPLES: tuple[str, ...] = ("fundus", "octa", "xray", "twophoton")

_SHAPES = {"fundus": (584, 565), "octa": (400, 400), "xray": (512, 512), "twophoton": (512, 512)}
_MIN_SIDE = 128

_LEFT = ((0.0, 0.15), (0.35, 0.7))
"""Share of a vessel that is left to be seen where it is broken: nearly nothing, or, as often, a trace."""


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """A synthetic picture.

    Attributes
    ----------
    image : VesselImage
        The picture; in it the vessels fade where they are broken.
    truth : VesselMask
        Every vessel that was drawn, whole.
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
    kind : {"fundus", "octa", "xray", "twophoton"}
        What to imitate.
    seed : int, optional
        The same seed gives the same picture.
    shape : tuple of int, optional
        Height and width; by default 584 x 565, 400 x 400, and twice 512 x 512.

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
    make = {"fundus": _fundus, "octa": _octa, "xray": _xray, "twophoton": _twophoton}[kind]
    scene = make(rng, (height, width))
    broken, breaks = plant_breaks(rng, scene.tree, scene.truth)
    pixels = scene.render(faded(rng, scene.truth & ~broken))
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}".encode())
    digest.update(pixels.data)
    image = VesselImage(
        pixels=pixels,
        fov=scene.fov,
        modality=Modality(kind),
        content_hash=digest.hexdigest(),
        notes=(f"synthetic {kind} picture, seed {seed}",),
    )
    mask = VesselMask(scene.truth.astype(np.uint8), (VESSEL,), "Drawn, not annotated: 255 is vessel.")
    return Sample(image, mask, broken, tuple(breaks))


@dataclass(frozen=True, eq=False, slots=True)
class _Scene:
    tree: VesselTree
    truth: NDArray[np.bool_]
    fov: NDArray[np.bool_] | None
    render: Callable[[Picture], Picture]
    """From the share of every vessel that is to be seen, shape (Y, X), to the picture."""


def faded(rng: np.random.Generator, gone: NDArray[np.bool_]) -> Picture:
    """Return the share of the vessels that can be seen, float32, shape (Y, X): little or nothing where they break.

    Each stretch fades by a share of its own, and softly: as under haze, a reflection, or a thrombus.
    """
    import cv2

    count, labels = cv2.connectedComponents(gone.astype(np.uint8), connectivity=8)
    low, high = np.array(_LEFT)[rng.integers(len(_LEFT), size=count - 1)].T
    hidden = np.concatenate([[0.0], 1 - rng.uniform(low, high)]).astype(np.float32)[labels]
    # Beyond the mask reaches the vessel's soft edge, which would give the stretch away.
    wide = cv2.dilate(hidden, np.ones((7, 7), np.uint8))
    return np.asarray(1 - np.clip(blur(wide, 1.0), 0, 1), np.float32)


def _fundus(rng: np.random.Generator, shape: tuple[int, int]) -> _Scene:
    layout = fundus_layout(rng, shape)
    arteries, veins = draw_tree(layout.arteries, shape), draw_tree(layout.veins, shape)
    fov = np.asarray(distance_from(shape, layout.centre) < layout.radius, np.bool_)

    def render(share: Picture) -> Picture:
        return render_fundus(
            rng,
            arteries.seen(share),
            veins.seen(share),
            disc=layout.disc,
            disc_radius=layout.disc_radius,
            fovea=layout.fovea,
            centre=layout.centre,
            radius=layout.radius,
        )

    return _Scene(forest(layout), (arteries.truth | veins.truth) & fov, fov, render)


def _octa(rng: np.random.Generator, shape: tuple[int, int]) -> _Scene:
    tree, centre, zone = octa_layout(rng, shape)
    drawing = draw_tree(tree, shape)
    rim = 1 / (1 + np.exp(-(distance_from(shape, centre) - zone) / (0.12 * zone)))

    def render(share: Picture) -> Picture:
        return render_octa(rng, drawing.seen(share), zone=np.asarray(rim, np.float32))

    return _Scene(tree, drawing.truth, None, render)


def _xray(rng: np.random.Generator, shape: tuple[int, int]) -> _Scene:
    tree, catheter = xray_layout(rng, shape)
    drawing = draw_tree(tree, shape)
    return _Scene(
        tree, drawing.truth, None, lambda share: render_xray(rng, drawing.seen(share), draw_tree(catheter, shape))
    )


def _twophoton(rng: np.random.Generator, shape: tuple[int, int]) -> _Scene:
    scene = lay_out(rng, Modality.TWOPHOTON, shape, None, None)
    return _Scene(scene.tree, scene.drawing.truth, scene.fov, scene.render)
