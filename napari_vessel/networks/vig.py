"""A Vision-GNN that draws the vessels a segmenter has lost."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_vessel.networks.parts import ConvNorm, padded
from napari_vessel.networks.windows import cut_windows, join_windows

WINDOW = 20
"""Side of a graph's window, in nodes. Windows lie on one grid over the whole image, and every other block moves the
grid by half a window, so a node sees past every border."""

DISTANCE = 8.0
"""Nodes apart at which being far away weighs half as much as being unlike."""


class GraphConvolution(nn.Module):
    """Max-relative graph convolution (Li et al., ICCV 2019) among the nodes of each window.

    A node's neighbours are those most like it in direction of features, less a term that grows with their distance in
    the image; the term knows positions relative to the node only, so the same weights serve images of any size. Of the
    ``neighbours x dilation`` best, every ``dilation``-th is taken.

    Parameters
    ----------
    channels : int
        Feature channels.
    neighbours, dilation : int
        Neighbours of a node, and how thinly they are picked.
    shift : int
        Nodes by which the grid of windows is moved.
    """

    def __init__(self, channels: int, neighbours: int, dilation: int, shift: int) -> None:
        super().__init__()
        self.neighbours, self.dilation, self.shift = neighbours, dilation, shift
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1, groups=4, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, C, Y, X), from features of that shape."""
        count, channels, height, width = x.shape
        nodes, here = cut_windows(x, WINDOW, self.shift)
        with torch.no_grad():
            neighbours = self._choose(nodes.detach(), here)
        windows, places, _ = neighbours.shape
        flat = nodes.reshape(-1, channels)
        start = torch.arange(windows, device=x.device)[:, None, None] * places
        with torch.no_grad():
            source = _source_of_maximum(flat.detach(), (neighbours + start).flatten(0, 1))
        # max (x_j - x_i) is max x_j less x_i: one value a feature is fetched and learnt from, not one a neighbour.
        relative = (flat.gather(0, source) - flat).reshape(nodes.shape)
        # Interleaved, so that every group sees a feature beside how much the neighbours have more of it.
        both = torch.stack([nodes, relative], dim=-1).reshape(windows, places, 2 * channels)
        mixed: Tensor = self.mix(join_windows(both, (count, height, width), WINDOW, self.shift))
        return mixed

    def _choose(self, nodes: Tensor, here: Tensor) -> Tensor:
        """Return the neighbours of every node, shape (windows, nodes, neighbours)."""
        unit = functional.normalize(nodes.float(), dim=-1)
        likeness = unit @ unit.transpose(1, 2) - _distances(nodes.device)
        likeness.masked_fill_(~here[:, None, :], -1e4)
        best = likeness.topk(self.neighbours * self.dilation, dim=-1).indices[:, :, :: self.dilation]
        # Where a window holds few nodes, places outside the image are among the best: a node itself adds nothing.
        own = torch.arange(nodes.shape[1], device=nodes.device)[None, :, None]
        chosen: Tensor = torch.where(here.gather(1, best.flatten(1)).view_as(best), best, own)
        return chosen


def _source_of_maximum(nodes: Tensor, neighbours: Tensor) -> Tensor:
    """Return, for every node and feature, the neighbour with the largest value.

    Parameters
    ----------
    nodes : Tensor, shape (nodes, C)
        Features.
    neighbours : Tensor of int64, shape (nodes, K)
        Indices of each node's neighbours.
    """
    source = neighbours[:, :1].expand_as(nodes)
    largest = nodes.index_select(0, neighbours[:, 0])
    for column in neighbours.unbind(dim=1)[1:]:
        value = nodes.index_select(0, column)
        source = torch.where(value > largest, column[:, None], source)
        largest = torch.maximum(largest, value)
    return source


def _distances(device: torch.device) -> Tensor:
    """Return what distance takes off the likeness of two nodes of a window, shape (nodes, nodes)."""
    y, x = torch.meshgrid(*[torch.arange(WINDOW, device=device, dtype=torch.float32)] * 2, indexing="ij")
    places = torch.stack([y.flatten(), x.flatten()], dim=-1)
    return torch.cdist(places, places).square() / (2 * DISTANCE**2)


class GraphBlock(nn.Module):
    """One block of ViG (Han et al., NeurIPS 2022): graph convolution, then a feed-forward net, each with its residual.

    Parameters
    ----------
    channels, neighbours, dilation, shift : int
        See :class:`GraphConvolution`.
    """

    def __init__(self, channels: int, neighbours: int, dilation: int, shift: int) -> None:
        super().__init__()
        # Tells a node what lies beside it: the graph alone does not know left from right.
        self.beside = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.before = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.graph = GraphConvolution(channels, neighbours, dilation, shift)
        self.after = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.feed = nn.Sequential(
            ConvNorm(channels, 2 * channels, 1),
            nn.Conv2d(2 * channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (N, C, Y, X), from features of that shape."""
        x = x + self.beside(x)
        x = x + self.after(self.graph(self.before(x)))
        fed: Tensor = x + self.feed(x)
        return fed


class ViG(nn.Module):
    """Completes a segmenter's probability at pixel level, reading the image beside it.

    Image and probability go down a convolutional stem to nodes of 8 x 8 pixels, through graph blocks, in which far
    pieces of one vessel find each other, and back up by pixel shuffling with what the stem saw. The result is added to
    the segmenter's own logits, so a network that has learnt nothing yet changes nothing.

    What differs from the completion network of MaskVSC (Zhou et al., IEEE TMI 2025): nodes see the image and not the
    probability alone, positions are relative, and the decoder keeps every node in its place, so that it can draw a
    vessel where there was none. See :class:`napari_vessel.networks.vig_published.PublishedViG` for the published form.

    Parameters
    ----------
    in_channels : int
        Channels of the image; the probability is one more.
    channels : sequence of int
        Feature channels at a half, a quarter and an eighth of the resolution; the last is a multiple of 4.
    blocks : int
        Graph blocks.
    neighbours : int
        Neighbours of a node in the first block; twice as many in the last.
    """

    completes = True
    """It reads a segmenter's probability as the last channel of its input."""

    def __init__(
        self, in_channels: int = 3, channels: Sequence[int] = (32, 64, 128), blocks: int = 4, neighbours: int = 9
    ) -> None:
        super().__init__()
        if len(channels) != 3 or channels[-1] % 4 or blocks < 1 or not 1 <= neighbours <= 32:
            raise ValueError(
                "A ViG needs three numbers of channels, the last a multiple of 4, a block, and 1 to 32 neighbours."
            )
        self.in_channels = in_channels
        self.channels = tuple(channels)
        half, quarter, eighth = channels
        self.stem = nn.ModuleList(
            nn.Sequential(ConvNorm(before, after, stride=2), ConvNorm(after, after))
            for before, after in ((in_channels + 1, half), (half, quarter), (quarter, eighth))
        )
        last = max(blocks - 1, 1)
        reach = [(round(neighbours * (1 + number / last)), 1 + number // 2) for number in range(blocks)]
        if max(count * dilation for count, dilation in reach) > WINDOW**2:
            raise ValueError(
                f"with {blocks} blocks and {neighbours} neighbours, its last block looks for more than the {WINDOW**2} "
                "nodes of a window; take fewer of either"
            )
        self.blocks = nn.Sequential(
            *(
                GraphBlock(eighth, count, dilation, shift=WINDOW // 2 if number % 2 else 0)
                for number, (count, dilation) in enumerate(reach)
            )
        )
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(deep, 4 * skip, 1), nn.PixelShuffle(2))
            for deep, skip in ((eighth, quarter), (quarter, half))
        )
        self.join = nn.ModuleList(
            nn.Sequential(ConvNorm(2 * skip, skip), ConvNorm(skip, skip)) for skip in (quarter, half)
        )
        self.shuffle = nn.Sequential(nn.Conv2d(half, 32, 1), nn.PixelShuffle(2))
        self.head = nn.Sequential(ConvNorm(8 + in_channels + 1, 16), nn.Conv2d(16, 1, 3, padding=1))
        nn.init.zeros_(self.head[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.head[-1].bias)  # type: ignore[arg-type]

    @property
    def stride(self) -> int:
        """Tile corners are multiples of it: the windows of the graphs then lie where they lie in the whole image."""
        return 8 * WINDOW

    def forward(self, image: Tensor) -> Tensor:
        """Return completed logits.

        Parameters
        ----------
        image : Tensor, shape (N, in_channels + 1, Y, X)
            The normalised image, and the segmenter's probability in [0, 1] as the last channel.

        Returns
        -------
        Tensor, shape (N, 1, Y, X)
            Logits of the completed probability.
        """
        height, width = image.shape[-2:]
        image = padded(image, 8)
        x = image
        features: list[Tensor] = []
        for part in self.stem:
            x = part(x)
            features.append(x)
        x = self.blocks(features.pop())
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([up(x), features.pop()], dim=1))
        x = self.head(torch.cat([self.shuffle(x), image.to(x.dtype)], dim=1))
        known = image[:, -1:].float().clamp(1e-3, 1 - 1e-3)
        logits: Tensor = x.float() + torch.logit(known)
        return logits[..., :height, :width]
