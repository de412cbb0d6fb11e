"""From a model's folder to a network ready to predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_vessel.errors import ModelError
from napari_vessel.networks import build_network
from napari_vessel.segmentation.registry import ModelInfo, model_info, read_weights

if TYPE_CHECKING:
    from torch import Tensor, nn


def verify_model(name: str) -> None:
    """Check a model's configuration, the SHA-256 of its weights, and that they fit its network.

    Raises
    ------
    ModelError
        If anything is wrong, in one sentence.
    """
    info = model_info(name)
    if info.kind != "ridge":
        load_network(info)


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
    tensors = read_tensors(info)
    import torch

    from napari_vessel.networks.folding import fold

    network = build_network(**info.network)
    try:
        network.load_state_dict(tensors)
    except (RuntimeError, KeyError, ValueError) as error:
        raise _unfit(info) from error
    network = fold(network.eval().requires_grad_(False))
    layout = torch.preserve_format if device == "mps" else torch.channels_last
    ready: nn.Module = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    return ready


def read_tensors(info: ModelInfo) -> dict[str, Tensor]:
    """Read a model's checked weights, by name.

    Raises
    ------
    ModelError
        If they are missing or damaged.
    """
    content = read_weights(info)
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(content))
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise _unfit(info) from error


def _unfit(info: ModelInfo) -> ModelError:
    return ModelError(
        f"The weights of model '{info.name}' do not fit its network; copy the whole folder again from its source."
    )
