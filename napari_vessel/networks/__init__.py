"""Networks as torch modules, by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_vessel.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

# Module and class by name: torch takes seconds to import, and listing models must not wait for it.
_HOMES = {"unet": ("unet", "UNet"), "vig": ("vig", "ViG"), "vig_published": ("vig_published", "PublishedViG")}

NETWORKS = tuple(_HOMES)

COMPLETION_NETWORKS = ("vig", "vig_published")
"""Those that read a segmenter's probability beside the image."""


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
    if name not in _HOMES:
        raise ModelError(f"There is no network named '{name}'; choose one of: {', '.join(NETWORKS)}.")
    module, kind = _HOMES[name]
    try:
        network: nn.Module = getattr(import_module(f"{__name__}.{module}"), kind)(**settings)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The settings of network '{name}' do not fit it ({error}); correct its config.") from error
    return network


__all__ = ["COMPLETION_NETWORKS", "NETWORKS", "build_network"]
