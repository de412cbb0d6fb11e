"""The published connectivity loss, which measures outlines and not connectedness."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_vessel.training.losses.centreline import soft_erode
from napari_vessel.training.losses.sample import Sample
from napari_vessel.training.terms import LossTerm


def smoothness(image: Tensor, fov: Tensor) -> Tensor:
    """Mean absolute difference along y plus that along x of each opened, steepened image: the length of its outlines.

    Parameters
    ----------
    image, fov : Tensor, shape (N, 1, Y, X)
        Values in [0, 1], and where they count.

    Returns
    -------
    Tensor, shape (N,)
    """
    eroded = soft_erode(image)
    opened = torch.maximum(
        functional.max_pool2d(eroded, (3, 1), 1, (1, 0)), functional.max_pool2d(eroded, (1, 3), 1, (0, 1))
    )
    steep = torch.sigmoid(10 * (opened - 0.5)) * fov
    down, across = steep.diff(dim=2).abs(), steep.diff(dim=3).abs()
    return down.mean(dim=(1, 2, 3)) + across.mean(dim=(1, 2, 3))


def connectivity_term(sample: Sample, term: LossTerm) -> Tensor:
    """L_C of MaskVSC (Zhou et al., IEEE TMI 2025), in the form that has a gradient; kept to compare with.

    Published is the difference in the number of connected components, over the number of pixels. Counting has no
    gradient, and what stands in for it is :func:`smoothness`: ``|S(prediction) - S(target)| / pixels``. That is the
    length of outlines. A break of length L in a vessel of width w changes it by 2 w - 2 L: it costs nothing where
    L = w, shrinks as it grows up to there, and sets in with the other sign beyond. Divided by all pixels, it is some
    1e-7 where cross-entropy is 1e-1; no weight that a recipe allows makes it count.
    """
    difference = smoothness(sample.probability, sample.fov) - smoothness(sample.vessel, sample.fov)
    return difference.abs().mean() / sample.vessel[0].numel()
