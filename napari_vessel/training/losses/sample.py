"""What every term of the loss reads."""

from __future__ import annotations

from dataclasses import dataclass

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
        1 inside the field of view, 0 outside, where nothing counts.
    hidden : Tensor
        1 where the image was destroyed on purpose.
    """

    logits: Tensor
    probability: Tensor
    vessel: Tensor
    lines: Tensor
    fov: Tensor
    hidden: Tensor

    @classmethod
    def of(cls, logits: Tensor, target: Tensor) -> Sample:
        """Take a target of shape (N, 4, Y, X) apart; one of three channels has nothing hidden."""
        logits = logits.float()
        vessel, lines, fov, *hidden = (target[:, i : i + 1].float() for i in range(target.shape[1]))
        return cls(logits, logits.sigmoid(), vessel, lines, fov, hidden[0] if hidden else fov.new_zeros(fov.shape))
