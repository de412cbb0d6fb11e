"""The data engine: synthetic images with exact truth, as many as wanted.

Space colonisation conditioned on real masks, and images from the user's own backgrounds, as in UniVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.synthesis.backgrounds import Background
from napari_vessel.synthesis.likeness import Likeness
from napari_vessel.synthesis.samples import make_sample

__all__ = ["MODALITIES", "Background", "Likeness", "SyntheticImage", "synthesize"]

MODALITIES = (Modality.FUNDUS, Modality.OCTA, Modality.XRAY, Modality.TWOPHOTON)
"""What can be imitated."""


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
        If the modality cannot be imitated, or the shape is too small.
    """
    if modality not in MODALITIES:
        raise InputError(f"There are no synthetic images of kind '{modality}'; choose one of {', '.join(MODALITIES)}.")
    kind = Modality.OCTA if modality is Modality.TWOPHOTON else modality
    sample = make_sample(kind.value, seed, shape or (like.shape if like is not None else None))
    truth = sample.truth.mask
    image = replace(sample.image, modality=modality)
    return SyntheticImage(image, truth, truth & ~sample.broken, np.zeros((0, 2)))
