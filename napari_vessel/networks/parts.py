"""What several networks are made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNorm(nn.Sequential):
    """A convolution without bias, batch normalisation and ReLU.

    Parameters
    ----------
    in_channels, out_channels : int
        Feature channels before and after.
    size, stride : int
        Of the kernel, and of its steps.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class UShaped(nn.Module):
    """What networks share whose encoder halves the resolution from level to level.

    Attributes
    ----------
    channels : tuple of int
        Feature channels per level, from full resolution down; at least two.
    encoder : nn.ModuleList
        A block for each level.
    """

    channels: tuple[int, ...]
    encoder: nn.ModuleList

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        if len(channels) < 2:
            raise ValueError(f"A {type(self).__name__} needs at least two levels of channels.")
        self.channels = tuple(channels)

    @property
    def stride(self) -> int:
        """Pixels between two neighbours on the deepest level; tile corners are multiples of it."""
        return int(2 ** (len(self.channels) - 1))

    def encoded(self, image: Tensor) -> list[Tensor]:
        """Return the features of each level, of an image, shape (N, C, Y, X), continued to multiples of the stride."""
        x = padded(image, self.stride)
        features: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(functional.max_pool2d(x, 2) if level else x)
            features.append(x)
        return features


def padded(image: Tensor, multiple: int) -> Tensor:
    """Return images, shape (N, C, Y, X), continued below and on the right until both sides are multiples."""
    pad = (-image.shape[-1] % multiple, -image.shape[-2] % multiple)
    return functional.pad(image, (0, pad[0], 0, pad[1]), mode="replicate") if any(pad) else image


def doubled(x: Tensor) -> Tensor:
    """Return features, shape (N, C, 2 Y, 2 X), interpolated linearly."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def in_full_precision(head: nn.Module, x: Tensor) -> Tensor:
    """Return the logits of a network's last layer: half precision would round them to three digits.

    The layer is too small for half precision to save time.
    """
    with torch.autocast(x.device.type, enabled=False):
        logits: Tensor = head(x.float())
    return logits
