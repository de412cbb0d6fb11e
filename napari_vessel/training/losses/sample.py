"""What every term of the loss reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sample:
    """A prediction beside its target; every tensor has shape (N, 1, Y, X) and type float32.

    Attributes
    ----------
    logits, probability : Tensor
        The network's output, and its sigmoid.
    vessel : Tensor
        Share of each pixel covered by vessels, in [0, 1].
    lines : Tensor
        The target's centreline, three pixels wide, in [0, 1].
    fov : Tensor
        1 inside the field of view, 0 outside and wherever else nothing counts.
    hidden : Tensor
        1 where the image was destroyed on purpose.
    weight : Tensor
        How much a pixel counts in cross-entropy, 1 or more inside `fov`, 0 outside. The other terms ask whether it
        counts, not how much: they are shares of all vessels, and one pixel counted threefold makes no share.
    rehearsed : Tensor
        1 in crops of what the network knew before the run.
    former : Tensor
        Its probability before the run; of no meaning where nothing is rehearsed.
    """

    logits: Tensor
    probability: Tensor
    vessel: Tensor
    lines: Tensor
    fov: Tensor
    hidden: Tensor
    weight: Tensor
    rehearsed: Tensor
    former: Tensor

    @classmethod
    def of(cls, logits: Tensor, target: Tensor, former: Tensor | None = None) -> Sample:
        """Take a target apart.

        Parameters
        ----------
        logits : Tensor, shape (N, 1, Y, X)
            The network's output.
        target : Tensor, shape (N, C, Y, X)
            The first C of :data:`napari_vessel.training.augmentation.TARGETS`, at least three: without the fourth
            nothing is hidden, without the fifth every pixel weighs the same, without the sixth nothing is rehearsed.
        former : Tensor, shape (N, 1, Y, X), optional
            The network's probability before the run; without it nothing is rehearsed.
        """
        logits = logits.float()
        vessel, lines, fov, *more = (target[:, i : i + 1].float() for i in range(target.shape[1]))
        hidden = more[0] if more else fov.new_zeros(fov.shape)
        weight = fov
        if len(more) > 1:
            weight = fov * more[1]
            # A term that looks at a pixel's surroundings would pull at neighbours that do not count.
            logits = torch.where(fov > 0, logits, logits.detach())
        nothing = fov.new_zeros(fov.shape)
        rehearsed = more[2] if len(more) > 2 and former is not None else nothing
        former = nothing if former is None else former.float()
        return cls(logits, logits.sigmoid(), vessel, lines, fov, hidden, weight, rehearsed, former)
