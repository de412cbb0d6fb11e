"""From a model's folder to a network ready to predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_vessel.errors import ModelError
from napari_vessel.networks import build_network
from napari_vessel.segmentation.registry import ModelInfo, read_weights

if TYPE_CHECKING:
    from torch import nn


def load_network(info: ModelInfo, device: str = "cpu") -> nn.Module:
    """Build a model's network and load its checked weights.

    Parameters
    ----------
    info : ModelInfo
        A model of kind ``network``.
    device : str
        Where to put it.

    Returns
    -------
    nn.Module
        In evaluation mode, without gradients, and folded: for predicting only.

    Raises
    ------
    ModelError
        If the weights are missing or damaged, or do not fit the network.
    """
    content = read_weights(info)
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from napari_vessel.networks.folding import fold

    settings = dict(info.network)
    network = build_network(settings.pop("name"), **settings)
    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(
            f"The weights of model '{info.name}' do not fit its network; copy the whole folder again from its source."
        ) from error
    network = fold(network.eval().requires_grad_(False))
    layout = torch.preserve_format if device == "mps" else torch.channels_last
    ready: nn.Module = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    return ready
