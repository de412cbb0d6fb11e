"""The pre-training loop: network, frozen light segmenter, optimiser, checkpoint."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_vessel.errors import ModelError
from napari_vessel.jobs import Job, Progress
from napari_vessel.networks.unet import UNet
from napari_vessel.segmentation.devices import choose_precision
from napari_vessel.training.checkpoint import load_checkpoint, read_state, save_checkpoint
from napari_vessel.training.crops import CropSource
from napari_vessel.training.losses import total_loss
from napari_vessel.training.pretraining.masking import draw_hidden, guided_share, patch_distribution
from napari_vessel.training.pretraining.reconstruction import cost_of, in_pixels, make_reconstructor
from napari_vessel.training.pretraining.settings import PreTrain
from napari_vessel.training.terms import LossTerm
from napari_vessel.training.trainer import CHECKPOINT

LIGHT = (8, 16, 24)
"""Feature channels of the light segmenter, a U-Net of 23,500 weights."""

LIGHT_LOSS = (LossTerm("cross-entropy"), LossTerm("dice"))
LIGHT_RATE = 5e-3
"""Peak learning rate of the light segmenter."""

FIGURES = ("loss", "pixels", "consistency", "hidden_vessel")
"""Of a step: what is minimised, its two terms without weight, and the share of the vesselness map that was hidden."""


class PreTrainer:
    """One pre-training run.

    Parameters
    ----------
    settings : PreTrain
        What to do.
    folder : Path
        Where the checkpoint goes.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Attributes
    ----------
    step : int
        Steps done.
    seconds : float
        Time they took, over all restarts.
    segmenter : nn.Module or None
        The light segmenter, frozen; None without anatomical consistency, and before it was trained.
    notes : dict
        Whatever else has to survive a restart; plain JSON.
    """

    def __init__(self, settings: PreTrain, folder: Path, device: str = "cpu") -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.folder, self.device = settings, folder, device
        self.kind = device.partition(":")[0]
        # The range of float16 is too small for gradients; cards that have no other half precision do without.
        self._half = choose_precision(device) == "bfloat16"
        self._layout = torch.preserve_format if self.kind == "mps" else torch.channels_last
        self.network = make_reconstructor(settings.network)
        self._place(self.network)
        self.segmenter: nn.Module | None = None
        self.schedule = settings.crops(0).schedule
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), self.schedule.learning_rate, (0.9, 0.95), weight_decay=self.schedule.weight_decay
        )
        self.step = 0
        self.seconds = 0.0
        self.notes: dict[str, Any] = {}

    @property
    def checkpoint(self) -> Path:
        """The file that :meth:`resume` reads."""
        return self.folder / CHECKPOINT

    def resume(self, record: dict[str, Any]) -> bool:
        """Go on from the checkpoint when there is one.

        Parameters
        ----------
        record : dict
            Settings and images, as plain JSON.

        Raises
        ------
        ModelError
            If it is damaged, or of another record.
        """
        if not self.checkpoint.is_file():
            return False
        if read_state(self.checkpoint).get("record") != record:
            raise ModelError(
                f"'{self.folder}' holds a pre-training on other images or with other settings; name another folder."
            )
        if self.settings.consistency:
            self.segmenter = self._freeze(self._light())
        state = load_checkpoint(self.checkpoint, self._modules, self.optimiser)
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.notes = dict(state["notes"])
        return True

    def save(self, record: dict[str, Any]) -> None:
        """Write the checkpoint."""
        state = {"record": record, "step": self.step, "seconds": self.seconds, "notes": self.notes}
        save_checkpoint(self.checkpoint, self._modules, self.optimiser, state)

    @property
    def _modules(self) -> dict[str, nn.Module]:
        known = {"network": self.network, "segmenter": self.segmenter}
        return {name: module for name, module in known.items() if module is not None}

    def _place(self, module: nn.Module) -> None:
        module.to(device=self.device, memory_format=self._layout)  # type: ignore[call-overload]

    def _light(self) -> UNet:
        torch.manual_seed(self.settings.seed)
        light = UNet(self.settings.network.in_channels, LIGHT)
        self._place(light)
        return light

    def _freeze(self, light: nn.Module) -> nn.Module:
        return light.eval().requires_grad_(False)

    def train_segmenter(self, source: CropSource) -> Job[None]:
        """Train the light segmenter on vesselness maps, and freeze it."""
        steps, light = self.settings.segmenter_steps, self._light()
        optimiser = torch.optim.AdamW(light.parameters(), LIGHT_RATE)
        rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, LIGHT_RATE, total_steps=max(steps, 2))
        batches = source.batches(0, threads=1 if self.kind == "cpu" else 8)
        dice = 1.0
        try:
            for step in range(steps):
                yield Progress(step, steps, "Training the light segmenter", {"loss": dice})
                images, target = (tensor.to(self.device) for tensor in next(batches))
                with self._autocast():
                    logits = light(images)
                loss, parts = total_loss(logits, target, LIGHT_LOSS, step / steps)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                rates.step()
                dice = parts["dice"]
        finally:
            batches.close()  # type: ignore[attr-defined]
        self.notes["segmenter"] = {"steps": steps, "last_dice_loss": round(dice, 4)}
        self.segmenter = self._freeze(light)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.kind, torch.bfloat16, enabled=self._half)

    def train_step(self, images: Tensor, target: Tensor) -> dict[str, float]:
        """Take one step and return its figures.

        Parameters
        ----------
        images : Tensor, shape (N, C, Y, X)
            Normalised crops.
        target : Tensor, shape (N, 4, Y, X)
            As a :class:`CropSource` gives it; the vessels are those of the vesselness map.

        Raises
        ------
        ModelError
            If the loss is no longer a number.
        """
        began = time.perf_counter()
        settings = self.settings
        fraction = self.step / settings.steps
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.rate_at(fraction)
        hidden, vessel = self._hide(target[:, 0].numpy(), guided_share(fraction) if settings.guided else 0.0)
        images = images.to(self.device, memory_format=self._layout)
        inside = target[:, 2:3].to(self.device) >= 0.5
        hidden = hidden.to(self.device)
        self.network.train()
        with self._autocast():
            predicted = self.network(images, hidden)
            cost = cost_of(images, predicted, in_pixels(hidden, self.network.patch), inside, self.segmenter)
        loss = cost.pixels + settings.consistency * cost.consistency
        if not torch.isfinite(loss):
            raise ModelError(f"The loss is no longer a number at step {self.step + 1}; start afresh with another seed.")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimiser.step()
        self.step += 1
        self.seconds += time.perf_counter() - began
        values = (float(value.detach()) for value in (loss, cost.pixels, cost.consistency))
        figures = dict(zip(FIGURES, values, strict=False))
        return figures if vessel is None else {**figures, FIGURES[-1]: vessel}

    def _hide(self, vessels: np.ndarray[Any, np.dtype[np.float32]], guided: float) -> tuple[Tensor, float | None]:
        """Draw what this step hides; return it, and the share of the vesselness maps that it covers, if any."""
        # By the step alone: a run that goes on hides what it would have hidden.
        rng = np.random.default_rng([self.settings.seed, self.step, 1])
        maps = [patch_distribution(one, self.network.patch) for one in vessels]
        hidden = np.stack([draw_hidden(one, guided, rng) for one in maps])
        known = [float(one[where].sum()) for one, where in zip(maps, hidden, strict=True) if one.any()]
        return torch.from_numpy(hidden), float(np.mean(known)) if known else None
