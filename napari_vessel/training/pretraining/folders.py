"""Pre-trained weights as a folder: weights, configuration, card; and how a network begins with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_vessel.errors import ModelError
from napari_vessel.images.writing import replacing, write_json
from napari_vessel.segmentation.registry import LARGEST_WEIGHTS
from napari_vessel.training.datasets import DATA_SETS
from napari_vessel.training.recipe import OWN
from napari_vessel.untrusted import MALFORMED, read_bytes, read_json, shortened
from napari_vessel.version import __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

_WEIGHTS = "model.safetensors"
_KIND = "pretrained"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Pre-trained weights that a training can begin with.

    Attributes
    ----------
    folder : Path
        Where they lie.
    network : mapping
        Name and settings of the network they belong to.
    working_diameter : float
        Width of the field of view at which it saw images, px.
    sha256 : str
        Of the weights.
    data_sets : tuple of str
        Keys of the public sets whose images it saw; ``own`` for others.
    """

    folder: Path
    network: Mapping[str, Any]
    working_diameter: float
    sha256: str
    data_sets: tuple[str, ...]


def write_pretrained(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any], card: str) -> str:
    """Write weights, card and, last, configuration; return the weights' SHA-256."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    content = save({name: value.detach().cpu().contiguous() for name, value in weights.items()})
    digest = hashlib.sha256(content).hexdigest()
    with replacing(folder / _WEIGHTS) as temporary:
        temporary.write_bytes(content)
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(card, encoding="utf-8")
    count = sum(value.numel() for value in weights.values())
    head = {"format": 1, "kind": _KIND, "program": f"napari-vessel {__version__}", "parameters": count}
    write_json(folder / "config.json", {**head, "sha256": digest, **config})
    return digest


def read_pretrained(folder: Path) -> Pretrained:
    """Return what is known of pre-trained weights, without reading them.

    Raises
    ------
    ModelError
        If there are none, or their configuration is damaged.
    """
    path = folder / "config.json"
    try:
        config = read_json(path)
        if config["format"] != 1 or config["kind"] != _KIND:
            raise ValueError("it is not of pre-trained weights")
        if not re.fullmatch(r"[0-9a-f]{64}", config["sha256"]) or not isinstance(config["network"]["name"], str):
            raise ValueError("an entry is out of range")
        sets = tuple(config["data_sets"])
        if not set(sets) <= {*DATA_SETS, OWN}:
            raise ValueError("data_sets names a set that is not known")
        return Pretrained(folder, config["network"], float(config["working_diameter"]), config["sha256"], sets)
    except FileNotFoundError as error:
        raise ModelError(
            f"There are no pre-trained weights in '{folder}'; make them with napari-vessel pretrain."
        ) from error
    except (OSError, *MALFORMED) as error:
        raise ModelError(f"'{path}' cannot be used ({shortened(error)}); pre-train again.") from error


def read_pretrained_tensors(found: Pretrained) -> dict[str, Tensor]:
    """Read the weights by name, and check them against the configuration.

    Raises
    ------
    ModelError
        If they are missing, damaged or were replaced.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = found.folder / _WEIGHTS
    try:
        content = read_bytes(path, LARGEST_WEIGHTS)
        if hashlib.sha256(content).hexdigest() != found.sha256:
            raise ValueError("it does not have the SHA-256 in its config.json")
        return dict(load(content))
    except (OSError, SafetensorError, RuntimeError, *MALFORMED) as error:
        raise ModelError(
            f"The pre-trained weights '{path}' cannot be used ({shortened(error)}); copy them again."
        ) from error


def begin_with(found: Pretrained, *networks: nn.Module) -> None:
    """Put pre-trained weights into networks; what they do not have stays as it is.

    Raises
    ------
    ModelError
        If they are missing, damaged, or of another network.
    """
    weights = read_pretrained_tensors(found)
    for network in networks:
        own = network.state_dict()
        wrong = [name for name, value in weights.items() if name not in own or own[name].shape != value.shape]
        if wrong or not weights:
            what = f"'{wrong[0][:80]}' does not fit" if wrong else "they are empty"
            raise ModelError(
                f"The pre-trained weights in '{found.folder}' are of another network ({what}); give the recipe the "
                "network that their README.md names."
            )
        network.load_state_dict({**own, **weights})
