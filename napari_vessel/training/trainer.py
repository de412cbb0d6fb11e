"""The training loop: network, averaged network, optimiser, checkpoint."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_vessel.errors import ModelError
from napari_vessel.networks import build_network
from napari_vessel.segmentation.devices import choose_precision
from napari_vessel.training.checkpoint import load_checkpoint, save_checkpoint
from napari_vessel.training.losses import total_loss
from napari_vessel.training.recipe import Recipe

CHECKPOINT = "checkpoint.safetensors"


class Trainer:
    """One training run.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    folder : Path
        Where the checkpoint goes.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    segmenter : nn.Module, optional
        For a completion network: what makes the probability it completes; on `device`, and never trained.

    Attributes
    ----------
    step : int
        Steps done.
    seconds : float
        Time they took, over all restarts.
    notes : dict
        Whatever else has to survive a restart; plain JSON.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: str = "cpu", segmenter: nn.Module | None = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.folder, self.device = recipe, folder, device
        self.kind = device.partition(":")[0]
        self.precision: torch.dtype = getattr(torch, choose_precision(device))
        self._segmenter = segmenter
        network = build_network(**recipe.network.settings)
        # As in prediction: Metal is slower with this order, everything else faster.
        self._layout = torch.preserve_format if self.kind == "mps" else torch.channels_last
        self.network = network.to(device=device, memory_format=self._layout)  # type: ignore[call-overload]
        self.average: nn.Module = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), recipe.schedule.learning_rate, weight_decay=recipe.schedule.weight_decay
        )
        # bfloat16 has the range of float32; only float16, on older graphics cards, needs its gradients scaled.
        self._scaler = torch.amp.GradScaler(self.kind, enabled=self.precision is torch.float16)
        self.step = 0
        self.seconds = 0.0
        self.notes: dict[str, Any] = {}

    @property
    def checkpoint(self) -> Path:
        """The file that :meth:`resume` reads."""
        return self.folder / CHECKPOINT

    @property
    def fraction(self) -> float:
        """Share of the run done, 0 to 1."""
        return min(self.step / self.recipe.schedule.steps, 1.0)

    def begin_with(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with the weights of another run instead of random ones.

        Raises
        ------
        ModelError
            If they belong to another network.
        """
        try:
            for network in (self.network, self.average):
                network.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(
                f"The weights of '{self.recipe.start}' are of another network; give the recipe the same channels."
            ) from error

    def resume(self) -> bool:
        """Go on from the checkpoint when there is one.

        Raises
        ------
        ModelError
            If it is damaged or was made by another recipe.
        """
        if not self.checkpoint.is_file():
            return False
        state = load_checkpoint(self.checkpoint, self.network, self.average, self.optimiser)
        if not self.recipe.is_of(state.get("recipe")):
            raise ModelError(f"'{self.checkpoint}' was made by another recipe; choose another folder or delete it.")
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.notes = dict(state.get("notes", {}))
        return True

    def save(self) -> None:
        """Write the checkpoint."""
        state: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "recipe": self.recipe.to_json(),
            "notes": self.notes,
        }
        save_checkpoint(self.checkpoint, self.network, self.average, self.optimiser, state)

    def train_step(self, images: Tensor, target: Tensor) -> tuple[float, float]:
        """Take one step and return the loss and its Dice term.

        Parameters
        ----------
        images : Tensor, shape (N, C, Y, X)
            Normalised crops.
        target : Tensor, shape (N, 4, Y, X)
            Vessel, centreline, field of view, and what was hidden on purpose.
        """
        started = time.perf_counter()
        schedule = self.recipe.schedule
        for group in self.optimiser.param_groups:
            group["lr"] = schedule.rate_at(self.fraction)
        self.network.train()
        images = images.to(self.device, non_blocking=True, memory_format=self._layout)
        target = target.to(self.device, non_blocking=True)
        with torch.autocast(self.kind, self.precision, enabled=self.precision is not torch.float32):
            logits = self.network(self._input(images))
        loss, parts = total_loss(logits, target, self.recipe.loss, self.fraction)
        if not torch.isfinite(loss):
            raise ModelError(
                f"The loss is no longer a number at step {self.step + 1}; lower the learning rate and start afresh."
            )
        self.optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        self.step += 1
        self._update_average()
        result = float(loss.detach()), parts["dice"]
        self.seconds += time.perf_counter() - started
        return result

    def predict(self, images: Tensor) -> Tensor:
        """Return the averaged network's probability, shape (N, 1, Y, X), for images (N, C, Y, X)."""
        with (
            torch.inference_mode(),
            torch.autocast(self.kind, self.precision, enabled=self.precision is not torch.float32),
        ):
            logits: Tensor = self.average(self._input(images.to(self.device)))
        return logits.float().sigmoid()

    def _input(self, images: Tensor) -> Tensor:
        """Return what the network reads: the images, for a completion network with the segmenter's probability."""
        if self._segmenter is None:
            return images
        with torch.no_grad():
            known = self._segmenter(images).float().sigmoid()
        return torch.cat([images, known.to(images.dtype)], dim=1)

    def _update_average(self) -> None:
        # Early weights are far from good, so the average forgets faster at the start.
        decay = min(self.recipe.schedule.average_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
            for mean, value in pairs:
                if mean.dtype.is_floating_point:
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)
