"""Swin-Unet: a U-Net of transformer blocks with shifted windows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_vessel.networks.parts import in_full_precision, padded
from napari_vessel.networks.windows import cut_windows, join_windows

WINDOW = 7
"""Side of a window of attention, in patches."""

HEAD = 32
"""Features of one head of attention."""

DEEPEST = 32
"""Pixels between two neighbours on the deepest level."""


class WindowAttention(nn.Module):
    """Self-attention among the patches of each window, with a learnt bias for their relative position.

    Parameters
    ----------
    channels : int
        Features, a multiple of 32.
    shift : int
        By how many patches the grid of windows is moved.
    """

    index: Tensor

    def __init__(self, channels: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = channels // HEAD, shift
        self.bias = nn.Parameter(torch.zeros(self.heads, (2 * WINDOW - 1) ** 2))
        nn.init.trunc_normal_(self.bias, std=0.02)
        place = torch.arange(WINDOW)
        apart = place[:, None] - place[None, :] + WINDOW - 1
        index = apart[:, None, :, None] * (2 * WINDOW - 1) + apart[None, :, None, :]
        self.register_buffer("index", index.reshape(WINDOW**2, WINDOW**2), persistent=False)
        self.read = nn.Linear(channels, 3 * channels)
        self.mix = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, Y, X, C), from features of that shape."""
        count, height, width = x.shape[:3]
        nodes, here = cut_windows(x.permute(0, 3, 1, 2), WINDOW, self.shift)
        query, key, value = (
            self.read(nodes).reshape(len(nodes), -1, 3, self.heads, HEAD).permute(2, 0, 3, 1, 4).unbind()
        )
        bias = self.bias[:, self.index][None]
        if self.shift or height % WINDOW or width % WINDOW:
            # What lies outside the image is nobody's neighbour.
            bias = bias.masked_fill(~here[:, None, None, :], float("-inf"))
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        mixed = self.mix(mixed.transpose(1, 2).reshape(nodes.shape))
        return join_windows(mixed, (count, height, width), WINDOW, self.shift).permute(0, 2, 3, 1)


class SwinBlock(nn.Module):
    """One block of Swin (Liu et al., ICCV 2021): window attention, then a feed-forward net, each with its residual.

    Parameters
    ----------
    channels, shift : int
        See :class:`WindowAttention`.
    """

    def __init__(self, channels: int, shift: int) -> None:
        super().__init__()
        self.attend = nn.Sequential(nn.LayerNorm(channels), WindowAttention(channels, shift))
        self.feed = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, Y, X, C), from features of that shape."""
        x = x + self.attend(x)
        fed: Tensor = x + self.feed(x)
        return fed


class SwinUnet(nn.Module):
    """Swin-Unet (Cao et al., arXiv 2105.05537, 2021) for any image size.

    Two blocks per level, the second with its windows shifted by half a window; patches are merged and expanded by
    linear layers. Windows that reach beyond the image leave out what is not there, where the published network needs
    images of 224 x 224 pixels. No path is left out at random while training.

    Parameters
    ----------
    in_channels : int
        Channels of the input image.
    channels : sequence of int
        Features per level, multiples of 32; the deepest level is always at 1/32 of the resolution. Four numbers make
        patches of 4 x 4 pixels (96, 192, 384, 768 as published), five patches of 2 x 2.
    """

    def __init__(self, in_channels: int = 3, channels: Sequence[int] = (96, 192, 384, 768)) -> None:
        super().__init__()
        if not 3 <= len(channels) <= 5 or any(c % HEAD for c in channels):
            raise ValueError(f"A Swin-Unet needs three to five numbers of channels, each a multiple of {HEAD}.")
        self.channels = tuple(channels)
        self.patch = DEEPEST >> (len(channels) - 1)
        first = channels[0]
        self.embed = nn.Conv2d(in_channels, first, self.patch, stride=self.patch)
        self.start = nn.LayerNorm(first)
        self.encoder = nn.ModuleList(_two_blocks(c) for c in channels)
        self.merge = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(4 * a), nn.Linear(4 * a, b, bias=False)) for a, b in pairwise(channels)
        )
        self.middle = nn.LayerNorm(channels[-1])
        self.expand = nn.ModuleList(nn.Linear(deep, 4 * skip, bias=False) for skip, deep in pairwise(channels))
        self.spread = nn.ModuleList(nn.LayerNorm(skip) for skip in channels[:-1])
        self.join = nn.ModuleList(nn.Linear(2 * skip, skip) for skip in channels[:-1])
        self.decoder = nn.ModuleList(_two_blocks(skip) for skip in channels[:-1])
        self.end = nn.LayerNorm(first)
        self.enlarge = nn.Linear(first, self.patch**2 * first, bias=False)
        self.large = nn.LayerNorm(first)
        self.head = nn.Conv2d(first, 1, 1)

    @property
    def stride(self) -> int:
        """Tile corners are multiples of it: the windows then lie where they lie in the whole image."""
        return DEEPEST * WINDOW

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape (N, 1, Y, X), for an image of shape (N, in_channels, Y, X)."""
        height, width = image.shape[-2:]
        x = self.start(self.embed(padded(image, DEEPEST)).permute(0, 2, 3, 1))
        features: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            if level:
                x = self.merge[level - 1](_merged(x))
            x = blocks(x)
            features.append(x)
        x = self.middle(features.pop())
        parts = (reversed(part) for part in (self.expand, self.spread, self.join, self.decoder))
        for expand, spread, join, blocks in zip(*parts, strict=True):
            x = spread(_expanded(expand(x), 2))
            x = blocks(join(torch.cat([x, features.pop()], dim=-1)))
        x = self.large(_expanded(self.enlarge(self.end(x)), self.patch))
        return in_full_precision(self.head, x.permute(0, 3, 1, 2))[..., :height, :width]


def _two_blocks(channels: int) -> nn.Sequential:
    return nn.Sequential(SwinBlock(channels, 0), SwinBlock(channels, WINDOW // 2))


def _merged(x: Tensor) -> Tensor:
    """Return the features of 2 x 2 patches as one, shape (N, Y / 2, X / 2, 4 C), of features (N, Y, X, C)."""
    count, height, width, channels = x.shape
    parts = x.reshape(count, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
    return parts.reshape(count, height // 2, width // 2, 4 * channels)


def _expanded(x: Tensor, times: int) -> Tensor:
    """Return features of more patches, shape (N, times Y, times X, C), of features (N, Y, X, times^2 C)."""
    count, height, width, channels = x.shape
    fewer = channels // times**2
    parts = x.reshape(count, height, width, times, times, fewer).permute(0, 1, 3, 2, 4, 5)
    return parts.reshape(count, height * times, width * times, fewer)
