"""A U-Net whose encoder is EfficientNet-B0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_vessel.networks.parts import doubled, in_full_precision, padded
from napari_vessel.networks.unet import ConvBlock

STAGES = (
    # expansion, kernel, stride, channels, blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""EfficientNet-B0 after its first convolution, which has 32 channels and a stride of 2."""

SKIPPED = (0, 1, 2, 4, 6)
"""The last stages at a half, a quarter, ... of the resolution: what the decoder reads."""

FULL_WIDTH = 256
"""The decoder's deepest channels beside which the encoder is B0."""


class ConvNormAct(nn.Sequential):
    """A convolution without bias, batch normalisation and SiLU.

    Parameters
    ----------
    in_channels, out_channels : int
        Feature channels before and after.
    size, stride, groups : int
        Of the convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.SiLU(inplace=True),
        )


class Squeeze(nn.Module):
    """Weighs each channel by all channels' means over the image (Hu et al., CVPR 2018).

    Parameters
    ----------
    channels, fewer : int
        Feature channels, and those between the two layers.
    """

    def __init__(self, channels: int, fewer: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, fewer, 1), nn.SiLU(inplace=True), nn.Conv2d(fewer, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, C, Y, X), from features of that shape."""
        weighed: Tensor = x * self.weigh(x.mean(dim=(2, 3), keepdim=True))
        return weighed


class InvertedBlock(nn.Module):
    """A mobile inverted bottleneck: wider, a depthwise convolution, and narrow again.

    Parameters
    ----------
    in_channels, out_channels : int
        Feature channels before and after.
    expansion, size, stride : int
        How much wider, and the depthwise convolution's kernel and steps.
    """

    def __init__(self, in_channels: int, out_channels: int, expansion: int, size: int, stride: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.adds = stride == 1 and in_channels == out_channels
        self.layers = nn.Sequential(
            *([ConvNormAct(in_channels, wide, 1)] if expansion > 1 else []),
            ConvNormAct(wide, wide, size, stride, groups=wide),
            Squeeze(wide, max(in_channels // 4, 1)),
            nn.Conv2d(wide, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, out_channels, Y / stride, X / stride), from features (N, in_channels, Y, X)."""
        changed: Tensor = self.layers(x)
        return x + changed if self.adds else changed


class EfficientUNet(nn.Module):
    """A U-Net with EfficientNet-B0 (Tan & Le, ICML 2019) as its encoder, for any image size.

    Levels and widths are those of MONAI's FlexibleUNet with ``efficientnet-b0``, which returns another size for odd
    inputs. Weights are random, and no block is left out at random while training.

    Parameters
    ----------
    in_channels : int
        Channels of the input image.
    channels : sequence of int
        Five numbers: feature channels of the decoder, from full resolution down; 16, 32, 64, 128, 256 as in
        FlexibleUNet. The encoder is B0 when the last is 256, and as much narrower as that is smaller.
    """

    def __init__(self, in_channels: int = 3, channels: Sequence[int] = (16, 32, 64, 128, 256)) -> None:
        super().__init__()
        if len(channels) != len(SKIPPED):
            raise ValueError(f"An EfficientNet U-Net needs {len(SKIPPED)} numbers of channels.")
        self.channels = tuple(channels)
        share = channels[-1] / FULL_WIDTH
        before = scaled(32, share)
        self.stem = ConvNormAct(in_channels, before, 3, stride=2)
        stages, widths = [], []
        for expansion, size, stride, full, count in STAGES:
            width = scaled(full, share)
            blocks = [
                InvertedBlock(width if number else before, width, expansion, size, 1 if number else stride)
                for number in range(count)
            ]
            stages.append(nn.Sequential(*blocks))
            widths.append(width)
            before = width
        self.stages = nn.ModuleList(stages)
        # At full resolution there are no features of the encoder to join.
        skips = [0, *(widths[stage] for stage in SKIPPED[:-1])]
        deeper = [*channels[1:], widths[-1]]
        self.decoder = nn.ModuleList(
            ConvBlock(deep + skip, out) for deep, skip, out in zip(deeper, skips, channels, strict=True)
        )
        self.head = nn.Conv2d(channels[0], 1, 3, padding=1)

    @property
    def stride(self) -> int:
        """Pixels between two neighbours on the deepest level; tile corners are multiples of it."""
        return int(2 ** len(SKIPPED))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape (N, 1, Y, X), for an image of shape (N, in_channels, Y, X)."""
        height, width = image.shape[-2:]
        x = self.stem(padded(image, self.stride))
        features: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in SKIPPED[:-1]:
                features.append(x)
        for block in reversed(self.decoder):
            x = doubled(x)
            x = block(torch.cat([x, features.pop()], dim=1) if features else x)
        return in_full_precision(self.head, x)[..., :height, :width]


def scaled(channels: int, share: float) -> int:
    """Return a share of some channels as a multiple of 8, and at least nine tenths of what was asked for."""
    nearest = max(8, int(channels * share + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels * share else nearest
