"""Networks as torch modules, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_vessel.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

NETWORKS = ("unet",)


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
    # torch takes seconds to import, and listing models must not wait for it.
    from napari_vessel.networks.unet import UNet

    try:
        return UNet(**settings)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The settings of network '{name}' do not fit it ({error}); correct its config.") from error


__all__ = ["NETWORKS", "build_network"]
