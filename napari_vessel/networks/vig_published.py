"""The completion network as it was published: kept to be measured beside ours, not to be used."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 16
"""Side of a patch in pixels."""


class PublishedGraphBlock(nn.Module):
    """Max-relative graph convolution over all patches, then a feed-forward net, each with its residual.

    Parameters
    ----------
    channels, neighbours : int
        Features of a patch, and neighbours of one.
    """

    def __init__(self, channels: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.before = nn.Linear(channels, channels)
        self.mix = nn.Linear(2 * channels, channels)
        self.after = nn.Linear(channels, channels)
        self.feed = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, patches, C), from features of that shape."""
        nodes = self.before(self.norm(x))
        with torch.no_grad():
            unit = functional.normalize(nodes.detach().float(), dim=-1)
            chosen = (unit @ unit.transpose(1, 2)).topk(self.neighbours, dim=-1).indices
        batch = torch.arange(len(x), device=x.device)[:, None, None]
        relative = (nodes[batch, chosen] - nodes[:, :, None]).amax(dim=2)
        x = x + self.after(functional.gelu(self.mix(torch.cat([nodes, relative], dim=-1))))
        fed: Tensor = x + self.feed(x)
        return fed


class PublishedViG(nn.Module):
    """The completion network of MaskVSC (Zhou et al., IEEE TMI 2025), from its description.

    The segmenter's probability alone is cut into patches of 16 x 16 pixels. After the graph blocks the index of a patch
    is made a channel, and a map of 16 x 16 values, the same for all places, is enlarged to the whole image: it can
    shift where a probability is cut, smoothly, and cannot draw a vessel.

    Parameters
    ----------
    in_channels : int
        Channels of the image, which it is given and does not read.
    channels : sequence of int
        Not used: a patch's pixels are its features.
    blocks, neighbours : int
        Graph blocks (16 as published) and neighbours of a patch.
    size : int
        Side in pixels of the one size it can read; larger images are cut into such parts.
    """

    completes = True

    def __init__(
        self,
        in_channels: int = 3,
        channels: tuple[int, ...] = (),
        blocks: int = 16,
        neighbours: int = 9,
        size: int = 320,
    ) -> None:
        super().__init__()
        patches = (size // PATCH) ** 2
        if size % PATCH or blocks < 1 or not 1 <= neighbours <= patches:
            raise ValueError(
                f"The size must be a multiple of {PATCH}, with a block, and no more neighbours than patches."
            )
        self.in_channels, self.size = in_channels, size
        features = PATCH * PATCH
        self.position = nn.Parameter(torch.zeros(1, patches, features))
        self.embed = nn.Linear(features, features)
        self.blocks = nn.Sequential(*(PublishedGraphBlock(features, neighbours) for _ in range(blocks)))
        self.head = nn.Conv2d(patches, 1, 1)

    @property
    def stride(self) -> int:
        """Tile corners are multiples of the one size it can read."""
        return self.size

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, shape (N, 1, Y, X), for image and probability, shape (N, in_channels + 1, Y, X)."""
        height, width = image.shape[-2:]
        known = image[:, -1:].float()
        padded = functional.pad(known, (0, -width % self.size, 0, -height % self.size))
        count, _, tall, wide = padded.shape
        rows, columns = tall // self.size, wide // self.size
        parts = padded.reshape(count, rows, self.size, columns, self.size).permute(0, 1, 3, 2, 4)
        parts = parts.reshape(-1, 1, self.size, self.size)
        patches = functional.unfold(parts, PATCH, stride=PATCH).transpose(1, 2)
        x = self.blocks(self.embed(patches) + self.position)
        maps = x.reshape(len(x), -1, PATCH, PATCH)
        small = self.head(maps).float()
        smooth = functional.interpolate(small, size=(self.size, self.size), mode="bilinear", align_corners=False)
        whole = smooth.reshape(count, rows, columns, self.size, self.size).permute(0, 1, 3, 2, 4)
        logits = whole.reshape(count, 1, tall, wide)[..., :height, :width]
        return logits + torch.logit(known.clamp(1e-3, 1 - 1e-3))
