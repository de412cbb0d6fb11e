"""The data engine: synthetic images with exact truth, as many as wanted.

Space colonisation conditioned on real masks, and images from the user's own backgrounds, as in UniVG.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.synthesis.appearance import Picture, blur
from napari_vessel.synthesis.backgrounds import Background
from napari_vessel.synthesis.breaks import plant_breaks
from napari_vessel.synthesis.likeness import Likeness
from napari_vessel.synthesis.scenes import Scene, lay_out

__all__ = ["MODALITIES", "Background", "Likeness", "SyntheticImage", "synthesize"]

MODALITIES = (Modality.FUNDUS, Modality.OCTA, Modality.XRAY, Modality.TWOPHOTON)
"""What can be imitated."""

SHAPES = {
    Modality.FUNDUS: (584, 565),
    Modality.OCTA: (400, 400),
    Modality.XRAY: (512, 512),
    Modality.TWOPHOTON: (512, 512),
}
"""Height and width, px, where nothing else says it."""

LEAST_SIDE = 128
"""Shortest side of an image, px."""

MOST_SIDE = 4096
"""Longest side, px: lines are drawn at four times the size."""

_STREAM = 7
"""Keeps the engine's random numbers apart from those of the samples with the same seed."""
_TRUE_BREAKS = (0, 3)
_HIDDEN = {
    Modality.FUNDUS: (4, 14),
    Modality.OCTA: (4, 14),
    Modality.XRAY: (1, 6),
    Modality.TWOPHOTON: (4, 12),
}
"""Fewest and most per image."""


@dataclass(frozen=True, eq=False, slots=True)
class SyntheticImage:
    """A synthetic image and everything that is true of it.

    Attributes
    ----------
    image : VesselImage
        The image with its modality and field of view.
    truth : ndarray of bool, shape (Y, X)
        Every vessel that is there, whole: also where it cannot be seen.
    hidden : ndarray of bool, shape (Y, X)
        Stretches that are there but cannot be seen; part of `truth`.
    ends : ndarray of float64, shape (N, 2)
        True breaks, (y, x) px: places where a vessel really ends and goes on beyond. They are no part of `truth`.
    """

    image: VesselImage
    truth: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    ends: NDArray[np.float64]


def synthesize(
    modality: Modality,
    seed: int,
    *,
    shape: tuple[int, int] | None = None,
    like: Likeness | None = None,
    backgrounds: Sequence[Background] = (),
) -> SyntheticImage:
    """Make an image.

    Parameters
    ----------
    modality : Modality
        What to imitate.
    seed : int
        The same arguments give the same image, on every machine.
    shape : tuple of int, optional
        Height and width, px; by default that of the background or of the masks, and the modality's own without.
    like : Likeness, optional
        Real masks whose vessels the tree follows.
    backgrounds : sequence of Background, optional
        Tissue to draw the vessels on; one is chosen at random. Without any, tissue is made up.

    Raises
    ------
    InputError
        If the modality cannot be imitated, or the shape is too small or too large.
    """
    if modality not in MODALITIES:
        raise InputError(f"There are no synthetic images of kind '{modality}'; choose one of {', '.join(MODALITIES)}.")
    if seed < 0:
        raise InputError(f"{seed} is no seed; give 0 or more.")
    rng = np.random.default_rng([_STREAM, MODALITIES.index(modality), seed])
    learnt = like.masks[int(rng.integers(len(like.masks)))] if like is not None else None
    ground = backgrounds[int(rng.integers(len(backgrounds)))] if len(backgrounds) else None
    if shape is None:
        shape = ground.shape if ground is not None else learnt.shape if learnt is not None else SHAPES[modality]
    if min(shape) < LEAST_SIDE:
        raise InputError(
            f"An image of {shape[0]} x {shape[1]} px is too small; make each side {LEAST_SIDE} px or more."
        )
    if max(shape) > MOST_SIDE:
        raise InputError(f"An image of {shape[0]} x {shape[1]} px is too large; make each side {MOST_SIDE} px or less.")
    scene = lay_out(rng, modality, shape, learnt, ground)
    whole = scene.drawing.truth if scene.fov is None else scene.drawing.truth & scene.fov
    truth, hidden, ends, share = _disturb(rng, scene, whole, modality)
    # What a file of 8 bits holds, so that the last bits of a processor's arithmetic do not show.
    pixels = np.asarray(np.rint(scene.render(share) * 255) / 255, np.float32)
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    image = VesselImage(
        pixels=pixels,
        fov=scene.fov,
        modality=modality,
        content_hash=digest.hexdigest(),
        notes=(f"synthetic {modality} image, seed {seed}",),
    )
    return SyntheticImage(image, truth, hidden, ends)


def _disturb(
    rng: np.random.Generator, scene: Scene, whole: NDArray[np.bool_], modality: Modality
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64], Picture]:
    """End some vessels, and hide others.

    Returns
    -------
    truth, hidden : ndarray of bool, shape (Y, X)
    ends : ndarray of float64, shape (N, 2)
    share : ndarray of float32, shape (Y, X)
        How much of the vessels is to be seen, 0 to 1.
    """
    import cv2

    unit = min(whole.shape) / 512.0
    lengths = (max(3.0, 4 * unit), max(16.0, 30 * unit))
    truth, breaks = plant_breaks(rng, scene.tree, whole, count=_TRUE_BREAKS, length=(2 * lengths[0], lengths[1]))
    ends = np.array([end for one in breaks for end in one.ends], np.float64).reshape(-1, 2)
    # Not where a vessel ends already: near a true break no other is planted.
    broken, _ = plant_breaks(rng, scene.tree, truth, count=_HIDDEN[modality], length=lengths)
    gone = truth & ~broken
    count, labels = cv2.connectedComponents(gone.astype(np.uint8), connectivity=8)
    # A stretch cannot be seen at all, or leaves a trace and is not hidden.
    trace = rng.random(count) < 0.35
    left = np.where(trace, rng.uniform(0.3, 0.65, count), rng.uniform(0.0, 0.08, count)).astype(np.float32)
    lost = 1 - left
    lost[0], trace[0] = 0.0, True
    hidden = gone & ~trace[labels]
    missing = np.where(whole & ~truth, np.float32(1), lost[labels])
    # Beyond the mask reaches the vessel's soft edge, which would give the stretch away.
    wide = cv2.dilate(missing, np.ones((7, 7), np.uint8))
    share = np.asarray(1 - np.clip(blur(wide, max(1.0, 1.6 * unit)), 0, 1), np.float32)
    return truth, hidden, ends, share
