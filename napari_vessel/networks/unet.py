"""A plain U-Net for any image size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from napari_vessel.networks.parts import UShaped, doubled, in_full_precision


class ConvBlock(nn.Sequential):
    """Two 3 x 3 convolutions, each followed by batch normalisation and ReLU.

    Parameters
    ----------
    in_channels, out_channels : int
        Feature channels before and after.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class JoiningBlock(ConvBlock):
    """A :class:`ConvBlock` that reads what comes up from the deeper level beside what the encoder found on its own.

    Parameters
    ----------
    deep, skip : int
        Feature channels of the two inputs; the second is also the number it returns.
    """

    def __init__(self, deep: int, skip: int) -> None:
        super().__init__(deep + skip, skip)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]
        """Return features, shape (N, skip, Y, X), of two inputs of the same height and width."""
        x = torch.cat([deep, skip], dim=1)
        for part in self:
            x = part(x)
        return x


class UNet(UShaped):
    """U-Net (Ronneberger et al., 2015) with batch normalisation and bilinear upsampling.

    Batch normalisation uses fixed statistics when predicting, so a pixel's result depends only on its
    surroundings (:attr:`reach` pixels) and not on how the image was cut into tiles.

    Parameters
    ----------
    in_channels : int
        Channels of the input image.
    channels : sequence of int
        Feature channels per level, from full resolution down; one pooling between each two.
    out_channels : int
        Logit maps to predict.
    """

    def __init__(self, in_channels: int = 3, channels: Sequence[int] = (32, 48, 64, 96), out_channels: int = 1) -> None:
        super().__init__(channels)
        self.in_channels = in_channels
        widths = [in_channels, *channels]
        self.encoder = nn.ModuleList(ConvBlock(a, b) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(JoiningBlock(deep, skip) for skip, deep in pairwise(channels))
        self.head = nn.Conv2d(channels[0], out_channels, 1)

    @property
    def reach(self) -> int:
        """Distance in pixels beyond which an input pixel cannot change an output pixel."""
        # Two 3 x 3 convolutions reach 2 pixels of their level, on the way down and up; pooling and
        # bilinear upsampling add at most one pixel of the deeper level each.
        levels = len(self.channels)
        return int(sum(4 * 2**level for level in range(levels - 1)) + 2 * self.stride + 2 * (2**levels - 2))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape (N, out_channels, Y, X), for an image of shape (N, in_channels, Y, X)."""
        height, width = image.shape[-2:]
        features = self.encoded(image)
        x = features.pop()
        for block in reversed(self.decoder):
            x = block(doubled(x), features.pop())
        return in_full_precision(self.head, x)[..., :height, :width]
