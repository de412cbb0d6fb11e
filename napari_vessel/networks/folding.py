"""The same network with less to do: for predicting, not for training."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_vessel.networks.unet import UNet


class FoldedJoiningBlock(nn.Module):
    """A joining block that convolves its two inputs apart and adds the results.

    A convolution of two stacks of channels is the sum of the convolutions of each, so the stacks need not be copied
    into one, which takes a processor longer than the addition.

    Parameters
    ----------
    block : nn.Module
        A joining block in evaluation mode.
    deep : int
        Feature channels that come up from the deeper level.
    """

    def __init__(self, block: nn.Module, deep: int) -> None:
        super().__init__()
        first, _, self.second, _ = _fold(block)
        assert isinstance(first, nn.Conv2d)
        self.bias = first.bias
        self.deep_weight = nn.Parameter(first.weight[:, :deep].clone(), requires_grad=False)
        self.skip_weight = nn.Parameter(first.weight[:, deep:].clone(), requires_grad=False)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Return what the unfolded block returns."""
        x = functional.conv2d(deep, self.deep_weight, self.bias, padding=1)
        x += functional.conv2d(skip, self.skip_weight, padding=1)
        return functional.relu_(self.second(functional.relu_(x)))


def fold(network: nn.Module) -> nn.Module:
    """Return a network with the same predictions that is faster, and can no longer be trained.

    Batch normalisation with fixed statistics multiplies and adds, as the convolution before it does: it is folded
    into its weights. Networks other than :class:`UNet` come back as they are.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; left as it is.
    """
    if not isinstance(network, UNet):
        return network
    folded = copy.deepcopy(network)
    folded.encoder = nn.ModuleList(nn.Sequential(*_fold(block)) for block in network.encoder)
    folded.decoder = nn.ModuleList(
        FoldedJoiningBlock(block, deep) for block, deep in zip(network.decoder, network.channels[1:], strict=True)
    )
    return folded.eval().requires_grad_(False)


def _fold(block: nn.Module) -> list[nn.Module]:
    """Return a block's convolutions with their normalisations folded in, each followed by its ReLU."""
    parts = list(block.children())
    folded: list[nn.Module] = []
    for conv, norm, relu in zip(parts[0::3], parts[1::3], parts[2::3], strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        folded += [fuse_conv_bn_eval(conv, norm), relu]
    return folded
