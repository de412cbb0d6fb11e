"""Networks that fill in what is hidden, and what their reconstruction costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_vessel.networks import build_network
from napari_vessel.networks.vit import ViTDecoder
from napari_vessel.networks.vit_unet import ViTUNet

if TYPE_CHECKING:
    from napari_vessel.training.recipe import NetworkRecipe

PATCH = 16
"""Side of a patch, px, where the network has none of its own."""


class Reconstructor(nn.Module, ABC):
    """A network in pre-training.

    Attributes
    ----------
    patch : int
        Side of a patch, px.
    """

    patch: int

    @abstractmethod
    def forward(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Return the images as they are thought to be, shape (N, C, Y, X).

        Parameters
        ----------
        images : Tensor, shape (N, C, Y, X)
            Whole crops; of what is hidden nothing is read.
        hidden : Tensor of bool, shape (N, Y / patch, X / patch)
            Patches that are hidden, as many in every crop.
        """

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """Return what a network of the same settings can begin with, by its own names."""


class MaskedAutoencoder(Reconstructor):
    """A transformer that is given the patches that are seen alone, and a light decoder (He et al., 2022).

    Parameters
    ----------
    network : ViTUNet
        Its encoder is trained; all else of it has no part.
    channels : int
        Of an image.
    """

    def __init__(self, network: ViTUNet, channels: int) -> None:
        super().__init__()
        self.encoder = network.encoder
        self.patch, features = self.encoder.patch, self.encoder.features
        outputs = channels * self.patch**2
        # Half as wide and half as deep, in whole heads: what it knows is lost with it.
        self.decoder = ViTDecoder(
            features, max(features // 128 * 64, 64), max(len(self.encoder.blocks) // 2, 1), outputs
        )

    def forward(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Return the images as they are thought to be; see :meth:`Reconstructor.forward`."""
        rows, columns = hidden.shape[1:]
        seen = (~hidden.flatten(1)).nonzero()[:, 1].view(len(hidden), -1)
        values = self.decoder(self.encoder.encode(images, seen), seen, rows, columns)
        pixels: Tensor = functional.pixel_shuffle(
            values.transpose(1, 2).unflatten(2, (rows, columns)).contiguous(), self.patch
        )
        return pixels

    def weights(self) -> dict[str, Tensor]:
        """Return the encoder's weights."""
        return {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}


class MaskedInput(Reconstructor):
    """Any other network, whose input is blank where patches are hidden (after SimMIM, Xie et al., 2022).

    Parameters
    ----------
    network : nn.Module
        Its last layer, the convolution ``head``, is replaced by one that returns pixels.
    channels : int
        Of an image.
    """

    patch = PATCH

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network = network
        old = network.head
        assert isinstance(old, nn.Conv2d)
        size, edge = old.kernel_size, old.padding
        network.head = nn.Conv2d(old.in_channels, channels, size, padding=edge)  # type: ignore[arg-type]

    def forward(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Return the images as they are thought to be; see :meth:`Reconstructor.forward`."""
        # 0 is the local background: preparation subtracts it.
        pixels: Tensor = self.network(images.masked_fill(in_pixels(hidden, self.patch), 0))
        return pixels

    def weights(self) -> dict[str, Tensor]:
        """Return all weights but the last layer's."""
        return {name: value for name, value in self.network.state_dict().items() if not name.startswith("head.")}


def make_reconstructor(recipe: NetworkRecipe) -> Reconstructor:
    """Return a network with random weights, ready to be pre-trained.

    Raises
    ------
    ModelError
        If there is no such network, or its settings do not fit it.
    """
    network = build_network(**recipe.settings)
    if isinstance(network, ViTUNet):
        return MaskedAutoencoder(network, recipe.in_channels)
    return MaskedInput(network, recipe.in_channels)


def in_pixels(hidden: Tensor, patch: int) -> Tensor:
    """Return hidden patches, shape (N, rows, columns), as hidden pixels, shape (N, 1, Y, X)."""
    return hidden.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, None]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a reconstruction costs, as scalars.

    Attributes
    ----------
    pixels : Tensor
        Mean squared difference where it was hidden, inside the field of view.
    consistency : Tensor
        Anatomical consistency; 0 without a light segmenter.
    """

    pixels: Tensor
    consistency: Tensor


def cost_of(images: Tensor, predicted: Tensor, hidden: Tensor, inside: Tensor, segmenter: nn.Module | None) -> Cost:
    """Return what a reconstruction costs.

    Consistency is the binary cross-entropy between what a frozen segmenter sees in the original and in the
    reconstruction, and reaches the reconstruction through it. A reconstruction is the original with what was predicted
    in place of what was hidden: elsewhere nothing was to be filled in.

    Parameters
    ----------
    images, predicted : Tensor, shape (N, C, Y, X)
        The originals, and what :class:`Reconstructor` returned.
    hidden, inside : Tensor of bool, shape (N, 1, Y, X)
        Pixels that were hidden, and the field of view.
    segmenter : nn.Module or None
        Images to logits (N, 1, Y, X); frozen.
    """
    predicted = predicted.float()
    counts = hidden & inside
    different = (predicted - images).square().mean(dim=1, keepdim=True)
    pixels = (different * counts).sum() / counts.sum().clamp(min=1)
    if segmenter is None:
        return Cost(pixels, pixels.new_zeros(()))
    with torch.no_grad():
        known = segmenter(images).float().sigmoid()
    again = segmenter(torch.where(hidden, predicted, images)).float()
    entropy = functional.binary_cross_entropy_with_logits(again, known, reduction="none")
    return Cost(pixels, (entropy * inside).sum() / inside.sum().clamp(min=1))
