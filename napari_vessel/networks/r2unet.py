"""R2U-Net: a U-Net of recurrent residual blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_vessel.networks.parts import ConvNorm, UShaped, doubled, in_full_precision

STEPS = 2
"""How often a recurrent convolution goes over its own result, after once over its input (t = 2)."""


class RecurrentConv(nn.Module):
    """One 3 x 3 convolution over its input, then over the sum of its input and its last result.

    Each pass is normalised with statistics of its own: those of a first pass do not fit a later one.

    Parameters
    ----------
    channels : int
        Feature channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(STEPS + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, C, Y, X), from features of that shape."""
        state = x
        for number, norm in enumerate(self.norms):
            state = functional.relu(norm(self.conv(x + state if number else x)))
        return state


class RecurrentResidualBlock(nn.Module):
    """A 1 x 1 convolution, and two recurrent convolutions of what it returns, added to it.

    Parameters
    ----------
    in_channels, out_channels : int
        Feature channels before and after.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(in_channels, out_channels, 1)
        self.convs = nn.Sequential(RecurrentConv(out_channels), RecurrentConv(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, out_channels, Y, X), from features (N, in_channels, Y, X)."""
        x = self.narrow(x)
        added: Tensor = x + self.convs(x)
        return added


class R2UNet(UShaped):
    """R2U-Net (Alom et al., arXiv 1802.06955, 2018), t = 2, for any image size.

    Parameters
    ----------
    in_channels : int
        Channels of the input image.
    channels : sequence of int
        Feature channels per level, from full resolution down; 64, 128, 256, 512, 1024 as published.
    """

    def __init__(self, in_channels: int = 3, channels: Sequence[int] = (64, 128, 256, 512, 1024)) -> None:
        super().__init__(channels)
        self.encoder = nn.ModuleList(RecurrentResidualBlock(a, b) for a, b in pairwise([in_channels, *channels]))
        self.up = nn.ModuleList(ConvNorm(deep, skip) for skip, deep in pairwise(channels))
        self.decoder = nn.ModuleList(RecurrentResidualBlock(2 * skip, skip) for skip in channels[:-1])
        self.head = nn.Conv2d(channels[0], 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape (N, 1, Y, X), for an image of shape (N, in_channels, Y, X)."""
        height, width = image.shape[-2:]
        features = self.encoded(image)
        x = features.pop()
        for up, block in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = block(torch.cat([up(doubled(x)), features.pop()], dim=1))
        return in_full_precision(self.head, x)[..., :height, :width]
