"""The peer that reconnects: Carneiro-Esteves, Vacavant and Merveille, "A plug-and-play framework for curvilinear
structure segmentation based on a learned reconnecting regularization", Neurocomputing 2024.

Its code and weights stay in its own repository, https://github.com/creatis-myriad/plug-and-play-reco-regularization:
every function here takes the folder of a checkout. The network is MONAI's residual U-Net, built again here so that its
weights fit; around it is done what its ``post_treatement.py`` does to a segmentation. MONAI is not needed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_vessel.errors import InputError
from napari_vessel.segmentation.devices import processor_threads

REPOSITORY = "https://github.com/creatis-myriad/plug-and-play-reco-regularization"

MODELS = {
    "CREATIS, trained on OpenCCO": Path("modeles/2D_model_cco"),
    "CREATIS, trained on STARE": Path("modeles/2D_model_stare"),
}
"""Both of its models of 2-D vessels, by the names of their rows."""

WEIGHTS = "best_metric_model.pth"
"""Of the two it keeps, those that its script loads."""

ROUNDS = 10
"""How often its script applies the network to what it has made."""

THRESHOLD = 0.5
OVERLAP = 0.5
BATCH = 16
"""Windows at a time; each is predicted by itself."""

_CHANNELS = (16, 32, 64, 128)


class Reconnecter:
    """Reconnects and cleans masks as the peer's own script does.

    Parameters
    ----------
    checkout : Path
        Folder of the peer's repository.
    model : Path
        One of its models, from that folder.

    Raises
    ------
    InputError
        If the folder is not a checkout of the peer's repository.
    """

    def __init__(self, checkout: Path, model: Path) -> None:
        self._network = load_network(checkout / model)
        config = json.loads((checkout / model / "config_training.json").read_text(encoding="utf-8"))
        self._side = int(config["patch_size"][0])

    def __call__(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return what becomes of a mask, shape (Y, X): pixels are added, and taken away too."""
        done = mask
        for _ in range(ROUNDS):
            if not done.any() or done.all():
                return done
            before, done = done, self._probability(done) >= THRESHOLD
            if np.array_equal(before, done):
                return done
        return done

    def _probability(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Average the network's output over windows that overlap, the middle of each counting most."""
        side = self._side
        room = [(max(side - n, 0) // 2, max(side - n, 0) - max(side - n, 0) // 2) for n in mask.shape]
        padded = torch.from_numpy(np.pad(mask, room).astype(np.float32))
        total, weights = torch.zeros_like(padded), torch.zeros_like(padded)
        weight = _weight(side)
        rows, columns = (_starts(n, side) for n in padded.shape)
        boxes = [(slice(y, y + side), slice(x, x + side)) for y in rows for x in columns]
        with processor_threads(), torch.inference_mode():
            for n in range(0, len(boxes), BATCH):
                part = boxes[n : n + BATCH]
                outputs = self._network(torch.stack([padded[box] for box in part])[:, None])[:, 0]
                for box, output in zip(part, outputs, strict=True):
                    total[box] += weight * output
                    weights[box] += weight
        (top, _), (left, _) = room
        found: NDArray[np.float32] = (total / weights).sigmoid().numpy()
        return found[top : top + mask.shape[0], left : left + mask.shape[1]]


def load_network(folder: Path) -> nn.Module:
    """Build the peer's network and load its weights, without unpickling any object.

    Raises
    ------
    InputError
        If the folder is not one of the peer's models.
    """
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise InputError(f"There is no {WEIGHTS} in '{folder}'; clone {REPOSITORY} and give that folder.")
    network = make_network()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)


def make_network() -> nn.Module:
    """Build the peer's network without its weights."""
    return nn.Sequential(OrderedDict(model=_level(1, 1, _CHANNELS, top=True)))


def weights_hashes(checkout: Path) -> dict[str, str]:
    """Return the SHA-256 of each model's weights, by the names of their rows."""
    return {
        name: hashlib.sha256((checkout / model / WEIGHTS).read_bytes()).hexdigest() for name, model in MODELS.items()
    }


def _starts(length: int, side: int) -> list[int]:
    """Return where windows begin along one axis; the last one ends with the image."""
    step = int(side * (1 - OVERLAP))
    count = math.ceil((length - side) / step) + 1
    return [min(n * step, length - side) for n in range(count)]


def _weight(side: int) -> torch.Tensor:
    """Return how much each pixel of a window counts: a Gaussian of an eighth of its side, at least 0.001."""
    offset = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    line = torch.exp(-(offset**2) / (2 * (0.125 * side) ** 2))
    return torch.outer(line, line).clamp(min=1e-3)


def _level(inputs: int, outputs: int, channels: tuple[int, ...], top: bool = False) -> nn.Sequential:
    """Return one level of the network with all below it; the names are those of the peer's weights."""
    here, below = channels[:2]
    deepest = len(channels) == 2
    inner = _Residual(here, below) if deepest else _level(here, here, channels[1:])
    back = here + (below if deepest else here)
    up = nn.Sequential(_unit(back, outputs, 2, up=True), _Residual(outputs, outputs, units=1, bare=top))
    return nn.Sequential(_Residual(inputs, here, 2), _Skip(inner), up)


def _unit(inputs: int, outputs: int, stride: int = 1, up: bool = False, bare: bool = False) -> nn.Sequential:
    """Return a convolution, and unless it is bare its normalisation and activation."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.ConvTranspose2d(inputs, outputs, 3, stride, 1, output_padding=stride - 1)
        if up
        else nn.Conv2d(inputs, outputs, 3, stride, 1)
    )
    if not bare:
        parts["adn"] = nn.Sequential(OrderedDict(N=nn.BatchNorm2d(outputs), A=nn.PReLU()))
    return nn.Sequential(parts)


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1, units: int = 2, bare: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        self.residual: nn.Module = nn.Identity()
        if stride != 1:
            self.residual = nn.Conv2d(inputs, outputs, 3, stride, 1)
        elif inputs != outputs:
            self.residual = nn.Conv2d(inputs, outputs, 1)
        for n in range(units):
            self.conv.add_module(f"unit{n}", _unit(inputs, outputs, stride, bare=bare and n == units - 1))
            inputs, stride = outputs, 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv(x) + self.residual(x)
        return found


class _Skip(nn.Module):
    def __init__(self, submodule: nn.Module) -> None:
        super().__init__()
        self.submodule = submodule

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.submodule(x)], dim=1)
