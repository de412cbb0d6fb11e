"""Running a model's network over an image of any size on any device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.jobs import Job, Progress
from napari_vessel.segmentation.devices import choose_precision, free_memory, processor_threads, resolve_device
from napari_vessel.segmentation.registry import ModelInfo
from napari_vessel.segmentation.tiles import Forward, predict_tiled

if TYPE_CHECKING:
    from torch import nn

LARGEST_TILE = {"cpu": 800, "mps": 768, "cuda": 1024}
"""Longest side of a tile: on a processor an image at the working scale of the models here is one, and cancelling is
still felt within a second or two."""

OVERLAP = 128
"""Overlap of neighbouring tiles in pixels at the working scale."""

BYTES_PER_PIXEL = 40
"""Memory for one pixel of a tile, per feature channel at full resolution."""


class NetworkRunner:
    """Keeps networks ready and runs them; weights are loaded when the first image needs them."""

    def __init__(self) -> None:
        self._networks: dict[str, nn.Module] = {}

    def run(
        self,
        info: ModelInfo,
        prepared: NDArray[np.float32],
        asked: str,
        outside: NDArray[np.bool_] | None,
        message: str,
    ) -> Job[tuple[NDArray[np.float32], dict[str, Any]]]:
        """Predict an image that was brought to the working scale.

        Parameters
        ----------
        info : ModelInfo
            A model with weights.
        prepared : ndarray of float32, shape (C, Y, X)
            The network's input.
        asked : str
            ``auto``, ``cuda``, ``mps`` or ``cpu``.
        outside : ndarray of bool, shape (Y, X), or None
            Where nothing needs to be predicted.
        message : str
            What progress is called.

        Returns
        -------
        Job of (ndarray, dict)
            Probability, float32, shape (Y, X); and ``device``, ``precision``, ``settings``.

        Raises
        ------
        DeviceError
            If the device is not there or has too little memory.
        ModelError
            If the weights are missing or damaged.
        """
        device = resolve_device(asked)
        precision = choose_precision(device)
        network = self._network(info, device)
        yield Progress(0, None, message)
        largest = LARGEST_TILE[device.partition(":")[0]]
        batch = _tiles_at_once(device, largest, int(info.network["channels"][0]))
        probability = yield from predict_tiled(
            prepared,
            make_forward(network, device, precision),
            stride=int(network.stride),  # type: ignore[arg-type]
            overlap=OVERLAP,
            largest=largest,
            batch=batch,
            skip=outside,
            message=message,
        )
        settings = {"tile": largest, "overlap": OVERLAP, "tiles_at_once": batch, "weights_sha256": info.sha256}
        return probability, {"device": device, "precision": precision, "settings": settings}

    def _network(self, info: ModelInfo, device: str) -> nn.Module:
        from napari_vessel.segmentation.loading import load_network

        key = f"{info.sha256}@{device}"
        if key not in self._networks:
            self._networks[key] = load_network(info, device)
        return self._networks[key]


def _tiles_at_once(device: str, largest: int, channels: int) -> int:
    """Return how many tiles fit into half of the free memory."""
    # A processor is busy with one tile, and a second at once would only delay a cancel.
    if device == "cpu":
        return 1
    free = free_memory(device)
    if free is None:
        return 2
    return int(min(max(free // 2 // (largest * largest * channels * BYTES_PER_PIXEL), 1), 16))


def make_forward(network: nn.Module, device: str, precision: str) -> Forward:
    """Return a function from images (N, C, Y, X) to probabilities (N, Y, X)."""
    import torch

    kind = device.partition(":")[0]
    dtype = getattr(torch, precision)

    def forward(stack: NDArray[np.float32]) -> NDArray[np.float32]:
        with (
            processor_threads(),
            torch.inference_mode(),
            torch.autocast(kind, dtype=dtype, enabled=precision != "float32"),
        ):
            images = torch.from_numpy(stack).to(device)
            if kind != "mps":
                images = images.contiguous(memory_format=torch.channels_last)
            return np.asarray(network(images)[:, 0].float().sigmoid().cpu().numpy(), np.float32)

    return forward
