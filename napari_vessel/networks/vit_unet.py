"""A vision transformer's features, brought back to single pixels by a convolutional decoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from napari_vessel.networks.parts import doubled, in_full_precision, padded
from napari_vessel.networks.unet import ConvBlock, JoiningBlock
from napari_vessel.networks.vit import ViTEncoder


class ViTUNet(nn.Module):
    """ViT encoder and convolutional decoder with skips, after UNETR (Hatamizadeh et al., 2022).

    The encoder is that of a masked autoencoder, whose weights it can begin with. Skips come from evenly spaced blocks,
    each token unfolded linearly into the pixels of a level, and at full resolution from two convolutions of the image.

    Parameters
    ----------
    in_channels : int
        Channels of the input image.
    channels : sequence of int
        Feature channels of the decoder per level, from full resolution down, and last the features of a token, a
        multiple of 64. Tokens are the level below the decoder's: of five channels, patches are 16 px wide.
    blocks : int
        Of the encoder. ``(32, 64, 96, 128, 384)`` and 12 are the size of ViT-Small.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (16, 32, 32, 64, 128),
        blocks: int = 4,
    ) -> None:
        super().__init__()
        levels, features = len(channels) - 1, channels[-1]
        if levels < 2 or blocks < levels:
            raise ValueError("A ViT U-Net needs at least three levels of channels, and no fewer blocks than one less.")
        self.channels = tuple(channels)
        self.encoder = ViTEncoder(in_channels, 2**levels, features, blocks)
        self.first = ConvBlock(in_channels, channels[0])
        self.skips = nn.ModuleList(
            nn.ConvTranspose2d(features, channels[level], 2 ** (levels - level), stride=2 ** (levels - level))
            for level in range(1, levels)
        )
        self.decoder = nn.ModuleList(JoiningBlock(deep, skip) for skip, deep in pairwise(channels))
        self.head = nn.Conv2d(channels[0], 1, 1)

    @property
    def stride(self) -> int:
        """Side of a patch, px; tile corners are multiples of it."""
        return self.encoder.patch

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape (N, 1, Y, X), for an image of shape (N, in_channels, Y, X)."""
        height, width = image.shape[-2:]
        image = padded(image, self.stride)
        grids = self.encoder.pyramid(image, len(self.channels) - 1)
        skips = [self.first(image), *(unfold(grid) for unfold, grid in zip(self.skips, grids[:-1], strict=True))]
        x = grids[-1]
        for block, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            x = block(doubled(x), skip)
        return in_full_precision(self.head, x)[..., :height, :width]
