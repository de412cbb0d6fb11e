"""CS2-Net: a U-Net of residual blocks with attention over places and over channels at its deepest level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_vessel.networks.parts import ConvNorm, UShaped, in_full_precision
from napari_vessel.networks.unet import JoiningBlock


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a 1 x 1 convolution, added.

    Parameters
    ----------
    in_channels, out_channels : int
        Feature channels before and after.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvNorm(in_channels, out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.beside = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, out_channels, Y, X), from features (N, in_channels, Y, X)."""
        return functional.relu(self.convs(x) + self.beside(x))


class SpatialAttention(nn.Module):
    """What every place gets from the places most like it.

    Queries come from a 1 x 3 and keys from a 3 x 1 convolution, since vessels run both ways.

    Parameters
    ----------
    channels : int
        Feature channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        fewer = max(channels // 8, 4)
        self.query, self.key = (
            nn.Sequential(
                nn.Conv2d(channels, fewer, size, padding=(size[0] // 2, size[1] // 2), bias=False),
                nn.BatchNorm2d(fewer),
                nn.ReLU(inplace=True),
            )
            for size in ((1, 3), (3, 1))
        )
        self.value = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, C, Y, X), from features of that shape."""
        query, key, value = (part(x).flatten(2).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        return mixed.transpose(1, 2).reshape(x.shape)


class ChannelAttention(nn.Module):
    """What every channel gets from the channels least like it."""

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, C, Y, X), from features of that shape."""
        flat = x.flatten(2)
        with torch.autocast(x.device.type, enabled=False):
            # The mean over the places, not their sum: crops that are trained on and whole images are to weigh alike.
            likeness = flat.float() @ flat.float().transpose(1, 2) / flat.shape[-1]
            weights = (-likeness).softmax(dim=-1)
        return (weights.to(flat.dtype) @ flat).reshape(x.shape)


class CS2Net(UShaped):
    """CS2-Net (Mou et al., Medical Image Analysis 67, 2021) for any image size.

    Each of the two attentions is added with a weight of its own that begins at 0, so that a network that has learnt
    nothing yet is a residual U-Net. Attention at the deepest level sees the whole image, or the whole tile of one.

    Parameters
    ----------
    in_channels : int
        Channels of the input image.
    channels : sequence of int
        Feature channels per level, from full resolution down; 32, 64, 128, 256, 512 as published.
    """

    def __init__(self, in_channels: int = 3, channels: Sequence[int] = (32, 64, 128, 256, 512)) -> None:
        super().__init__(channels)
        self.encoder = nn.ModuleList(ResidualBlock(a, b) for a, b in pairwise([in_channels, *channels]))
        self.places = SpatialAttention(channels[-1])
        self.kinds = ChannelAttention()
        self.weights = nn.Parameter(torch.zeros(2))
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, skip, 2, stride=2) for skip, deep in pairwise(channels))
        self.decoder = nn.ModuleList(JoiningBlock(skip, skip) for skip in channels[:-1])
        self.head = nn.Conv2d(channels[0], 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape (N, 1, Y, X), for an image of shape (N, in_channels, Y, X)."""
        height, width = image.shape[-2:]
        features = self.encoded(image)
        x = features.pop()
        x = x + self.weights[0] * self.places(x) + self.weights[1] * self.kinds(x)
        for up, block in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = block(up(x), features.pop())
        return in_full_precision(self.head, x)[..., :height, :width]
