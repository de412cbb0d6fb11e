"""A vision transformer that can leave patches out, and goes over images of any size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_vessel.networks.windows import cut_windows, join_windows

WINDOW = 16
"""Longest side, in patches, of what attention sees at once. Larger images are cut into equal windows of at most this
size, so a patch's place is never one that training on single crops has not met."""

HEAD = 64
"""Features of an attention head."""


def sine_positions(height: int, width: int, features: int, device: torch.device) -> Tensor:
    """Return fixed codes of the places in a grid, shape (height * width, features): half for rows, half for columns.

    Sines and cosines as in masked autoencoders (He et al., 2022).
    """
    rates = 10_000 ** -(torch.arange(features // 4, device=device, dtype=torch.float32) / (features // 4))

    def code(length: int) -> Tensor:
        angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    rows, columns = code(height)[:, None].expand(-1, width, -1), code(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def _initialise(module: nn.Module) -> None:
    """Give every linear layer weights that keep variance (Glorot & Bengio, 2010); an embedding of patches is one too.

    As masked autoencoders do. With torch's own, patches are faint beside the codes of their places, and learning to
    reconstruct sets in later.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(part.weight.flatten(1))
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class Transformer(nn.Module):
    """Blocks of self-attention and a two-layer perceptron four times as wide, each after a layer normalisation.

    Parameters
    ----------
    features, depth : int
        Features of a token, a multiple of :data:`HEAD`, and blocks.
    """

    def __init__(self, features: int, depth: int) -> None:
        super().__init__()
        if features < HEAD or features % HEAD:
            raise ValueError(f"{features} features of a token are no multiple of {HEAD}")
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                features,
                features // HEAD,
                4 * features,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(features)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens, shape (N, L, features), from tokens of that shape."""
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.norm(tokens)
        return out


class ViTEncoder(Transformer):
    """A vision transformer (Dosovitskiy et al., 2021) without class token.

    Parameters
    ----------
    in_channels : int
        Channels of the image.
    patch : int
        Side of a patch, px.
    features, depth : int
        See :class:`Transformer`; 384 and 12 are ViT-Small.
    """

    def __init__(self, in_channels: int, patch: int, features: int, depth: int) -> None:
        super().__init__(features, depth)
        self.patch, self.features = patch, features
        self.embed = nn.Conv2d(in_channels, features, patch, stride=patch)
        _initialise(self)

    def encode(self, image: Tensor, seen: Tensor) -> Tensor:
        """Encode some patches of crops no larger than a window, as if the others did not exist.

        Parameters
        ----------
        image : Tensor, shape (N, in_channels, Y, X)
            Crops, whole numbers of patches, at most :data:`WINDOW` of them along each axis.
        seen : Tensor of int64, shape (N, K)
            Indices of the patches that are seen, row by row.

        Returns
        -------
        Tensor, shape (N, K, features)
            Normalised tokens.
        """
        grid = self.embed(image)
        tokens = grid.flatten(2).transpose(1, 2)
        tokens = tokens + sine_positions(grid.shape[2], grid.shape[3], self.features, grid.device)
        found: Tensor = super().forward(tokens.gather(1, seen[..., None].expand(-1, -1, self.features)))
        return found

    def forward(self, image: Tensor) -> Tensor:
        """Return the normalised last of :meth:`pyramid`."""
        return self.pyramid(image, 1)[0]

    def pyramid(self, image: Tensor, count: int) -> list[Tensor]:
        """Return features after evenly spaced blocks, the last of them after the last block and normalised.

        Parameters
        ----------
        image : Tensor, shape (N, in_channels, Y, X)
            Whole numbers of patches, any size.
        count : int
            How many, at most as many as there are blocks.

        Returns
        -------
        list of Tensor, each (N, features, Y / patch, X / patch)
            From the first to the last.
        """
        grid = self.embed(image)
        shape = (len(grid), grid.shape[2], grid.shape[3])
        side = max(-(-length // -(-length // WINDOW)) for length in shape[1:])
        tokens, here = cut_windows(grid, side, 0)
        tokens = tokens + sine_positions(side, side, self.features, grid.device)
        # What lies beyond the image is in a window, but no token attends to it.
        ignored = None if here.all() else ~here
        found = []
        wanted = {len(self.blocks) * (n + 1) // count for n in range(count)}
        for number, block in enumerate(self.blocks, 1):
            tokens = block(tokens, src_key_padding_mask=ignored)
            if number in wanted:
                last = self.norm(tokens) if number == len(self.blocks) else tokens
                found.append(join_windows(last, shape, side, 0))
        return found


class ViTDecoder(nn.Module):
    """The light decoder of a masked autoencoder: what was seen, and a learnt token for all that was not, to pixels.

    Parameters
    ----------
    encoder_features, features, depth : int
        Features of the encoder's tokens, and the decoder's own and its blocks.
    outputs : int
        Values to predict per patch.
    """

    def __init__(self, encoder_features: int, features: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Linear(encoder_features, features)
        self.unseen = nn.Parameter(torch.zeros(features))
        nn.init.normal_(self.unseen, std=0.02)
        self.transformer = Transformer(features, depth)
        self.leave = nn.Linear(features, outputs)
        _initialise(self)

    def forward(self, tokens: Tensor, seen: Tensor, rows: int, columns: int) -> Tensor:
        """Return predictions, shape (N, rows * columns, outputs), for every patch.

        Parameters
        ----------
        tokens : Tensor, shape (N, K, encoder_features)
            Of the patches that were seen.
        seen : Tensor of int64, shape (N, K)
            Their indices.
        rows, columns : int
            Of the grid of patches.
        """
        known = self.enter(tokens)
        # Of the tokens' own number format, which autocast makes narrower than the weights'.
        full = self.unseen.to(known.dtype).expand(len(tokens), rows * columns, -1)
        full = full.scatter(1, seen[..., None].expand_as(known), known)
        full = full + sine_positions(rows, columns, known.shape[-1], known.device)
        out: Tensor = self.leave(self.transformer(full))
        return out
