"""Networks as torch modules, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_vessel.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class NetworkKind:
    """What is known of a network without torch, which takes seconds to import.

    Attributes
    ----------
    module, type : str
        Where its class is.
    channels : tuple of int
        Feature channels per level, of a width that can be trained on a processor.
    options : mapping of str to int
        Settings it takes beside channels: whole numbers from 1 to this.
    completes : bool
        Whether it reads a segmenter's probability beside the image.
    """

    module: str
    type: str
    channels: tuple[int, ...]
    options: Mapping[str, int] = field(default_factory=dict)
    completes: bool = False


NETWORKS = {
    "unet": NetworkKind("unet", "UNet", (32, 32, 64, 64, 48)),
    "cs2net": NetworkKind("cs2net", "CS2Net", (32, 32, 64, 64, 96)),
    "swin_unet": NetworkKind("swin_unet", "SwinUnet", (32, 64, 64, 96)),
    "r2unet": NetworkKind("r2unet", "R2UNet", (16, 32, 64, 64, 64)),
    "efficient_unet": NetworkKind("efficient_unet", "EfficientUNet", (16, 32, 32, 64, 96)),
    "vit_unet": NetworkKind("vit_unet", "ViTUNet", (16, 32, 32, 64, 128), {"blocks": 24}),
    "vig": NetworkKind("vig", "ViG", (32, 64, 128), {"blocks": 64, "neighbours": 32}, completes=True),
    "vig_published": NetworkKind(
        "vig_published", "PublishedViG", (32, 32), {"blocks": 64, "neighbours": 32}, completes=True
    ),
}

COMPLETION_NETWORKS = tuple(name for name, kind in NETWORKS.items() if kind.completes)
"""Those that read a segmenter's probability beside the image."""

SEGMENTERS = tuple(name for name, kind in NETWORKS.items() if not kind.completes)
"""Those that read the image alone."""


def build_network(name: str, **settings: Any) -> nn.Module:
    """Build a network with random weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    **settings
        What the network's class takes, by name.

    Raises
    ------
    ModelError
        If there is no such network, or a setting does not fit it.
    """
    if name not in NETWORKS:
        raise ModelError(f"There is no network named '{name}'; choose one of: {', '.join(NETWORKS)}.")
    kind = NETWORKS[name]
    try:
        network: nn.Module = getattr(import_module(f"{__name__}.{kind.module}"), kind.type)(**settings)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The settings of network '{name}' do not fit it ({error}); correct its config.") from error
    return network


__all__ = ["COMPLETION_NETWORKS", "NETWORKS", "SEGMENTERS", "NetworkKind", "build_network"]
