"""Training state in one safetensors file, written so that a kill at any moment loses a minute at most."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_vessel.errors import InputError, ModelError
from napari_vessel.images.writing import replacing


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and a JSON header to a temporary name and rename it.

    Raises
    ------
    InputError
        If the file cannot be written; the old one stays.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary, {"state": json.dumps(metadata)})
        except SafetensorError as error:
            raise InputError(f"Cannot write {path}: {error}; free the space or choose another folder.") from error


def save_checkpoint(
    path: Path, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Write everything that :func:`load_checkpoint` needs to go on.

    Parameters
    ----------
    path : Path
        File to write or replace.
    modules : mapping of str to nn.Module
        What has weights, by names without dots: the network in training, its running average.
    optimiser : torch.optim.Optimizer
        Its per-parameter tensors are kept in the order of the parameters it was given.
    state : dict
        Plain numbers: step, seconds, settings.
    """
    tensors = {f"{name}.{k}": v for name, module in modules.items() for k, v in module.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    save_tensors(path, tensors, state)


def read_state(path: Path) -> dict[str, Any]:
    """Return the `state` alone of what :func:`save_checkpoint` wrote.

    Raises
    ------
    ModelError
        If the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state: dict[str, Any] = json.loads((file.metadata() or {})["state"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise _damaged(path, error) from error
    return state


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(f"Cannot resume from '{path}' ({error}); delete it to start afresh.")


def load_checkpoint(path: Path, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore what :func:`save_checkpoint` wrote and return its `state`.

    Raises
    ------
    ModelError
        If the file is damaged or belongs to another network.
    """
    from safetensors import SafetensorError, safe_open

    state = read_state(path)
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in (*modules, "optimiser")}
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (a safetensors file is not a mapping)
                group, _, name = key.partition(".")
                groups[group][name] = file.get_tensor(key)
        for name, module in modules.items():
            module.load_state_dict(groups[name])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in groups["optimiser"].items():
            index, _, field = name.partition(".")
            moments.setdefault(int(index), {})[field] = value
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    except (SafetensorError, KeyError, ValueError, RuntimeError, OSError) as error:
        raise _damaged(path, error) from error
    return state


def save_weights(path: Path, network: nn.Module) -> None:
    """Write a network's weights alone."""
    save_tensors(path, network.state_dict(), {})


def load_weights(path: Path, network: nn.Module) -> None:
    """Read what :func:`save_weights` wrote.

    Raises
    ------
    ModelError
        If the file is damaged or belongs to another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(f"The weights in '{path}' cannot be used ({error}); delete it and train again.") from error
