"""The training loop: network, averaged network, optimiser, checkpoint."""

from __future__ import annotations

import copy
import gc
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_vessel.errors import DeviceError, ModelError
from napari_vessel.jobs import run_job
from napari_vessel.networks import build_network
from napari_vessel.segmentation.devices import choose_precision, is_out_of_memory
from napari_vessel.segmentation.tiles import predict_tiled
from napari_vessel.training.augmentation import TARGETS
from napari_vessel.training.checkpoint import load_checkpoint, save_checkpoint
from napari_vessel.training.losses import total_loss
from napari_vessel.training.recipe import Recipe
from napari_vessel.training.terms import FORMER

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"

LOOK_TILE, LOOK_OVERLAP = 512, 128
"""Side and overlap of the tiles in which whole images are looked at for lack of memory, px; halved down to 256 px."""

REHEARSED = TARGETS.index("rehearsed")

SMALLEST_CROP = 64
"""Side of the smallest crop that is trained on for lack of memory, px."""


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
        self._former: nn.Module | None = None
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
    def _modules(self) -> dict[str, nn.Module]:
        return {"network": self.network, "average": self.average}

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
        if self.recipe.schedule.former_share or any(term.name == FORMER for term in self.recipe.loss):
            self._former = copy.deepcopy(self.network).eval().requires_grad_(False)

    def resume(self) -> bool:
        """Go on from the checkpoint when there is one.

        Raises
        ------
        ModelError
            If it is damaged or was made by another recipe.
        """
        if not self.checkpoint.is_file():
            return False
        state = load_checkpoint(self.checkpoint, self._modules, self.optimiser)
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
        save_checkpoint(self.checkpoint, self._modules, self.optimiser, state)

    def train_step(self, images: Tensor, target: Tensor) -> tuple[float, float]:
        """Take one step and return the loss and its Dice term.

        With the recipe's `step_down`, a step for which memory runs out is taken again in twice as many parts, whose
        gradients are added up, and once its parts are single crops, on crops of half the side; so are all later ones. A
        part's loss is that of its own crops: terms over a whole batch, such as Dice, become the mean of the parts'.

        Parameters
        ----------
        images : Tensor, shape (N, C, Y, X)
            Normalised crops.
        target : Tensor, shape (N, 4 to 6, Y, X)
            See :data:`napari_vessel.training.augmentation.TARGETS`.

        Raises
        ------
        ModelError
            If the loss is no longer a number, or the crops are too few and too small for the network.
        DeviceError
            If memory is too short for the smallest crop.
        """
        started = time.perf_counter()
        while True:
            try:
                result = self._take_step(*self._cropped(images, target))
                break
            except (RuntimeError, MemoryError) as error:
                if not (self.recipe.schedule.step_down and is_out_of_memory(error)):
                    raise
            except ValueError as error:
                # Batch normalisation over a single value: the deepest level is one pixel of one crop.
                if "more than 1 value" not in str(error):
                    raise
                raise ModelError(
                    f"At the deepest level of '{self.recipe.network.name}' a batch is a single pixel, of which nothing "
                    "can be learnt; make 'crops.size' or 'crops.batch' larger."
                ) from error
            # Out here the error is gone, and with it what it held on to.
            self._step_down(len(images), images.shape[-1])
        self.step += 1
        self._update_average()
        self.seconds += time.perf_counter() - started
        return result

    def _take_step(self, images: Tensor, target: Tensor) -> tuple[float, float]:
        schedule = self.recipe.schedule
        for group in self.optimiser.param_groups:
            group["lr"] = schedule.rate_at(self.fraction)
        self.network.train()
        if schedule.freeze_statistics:
            for layer in self.network.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        self.optimiser.zero_grad(set_to_none=True)
        sums = [0.0, 0.0]
        parts = min(int(self.notes.get("parts", 1)), len(images))
        for some, of_them in zip(images.tensor_split(parts), target.tensor_split(parts), strict=True):
            loss, dice = self._loss(some, of_them)
            share = len(some) / len(images)
            self._scaler.scale(loss if parts == 1 else loss * share).backward()  # type: ignore[no-untyped-call]
            sums = [sums[0] + share * float(loss.detach()), sums[1] + share * dice]
        self._scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        return sums[0], sums[1]

    def _loss(self, images: Tensor, target: Tensor) -> tuple[Tensor, float]:
        """Return the loss of some crops, and its Dice term."""
        images = images.to(self.device, non_blocking=True, memory_format=self._layout)
        target = target.to(self.device, non_blocking=True)
        with torch.autocast(self.kind, self.precision, enabled=self.precision is not torch.float32):
            logits = self.network(self._input(images))
            former = self._former_answers(images, target)
        loss, terms = total_loss(logits, target, self.recipe.loss, self.fraction, former)
        if not torch.isfinite(loss):
            raise ModelError(
                f"The loss is no longer a number at step {self.step + 1}; lower the learning rate and start afresh."
            )
        return loss, terms["dice"]

    def _former_answers(self, images: Tensor, target: Tensor) -> Tensor | None:
        """Return what the network answered before the run, 0 in crops in which nothing is rehearsed."""
        if self._former is None or target.shape[1] <= REHEARSED:
            return None
        found = target.new_zeros(len(images), 1, *images.shape[2:])
        rehearsed = target[:, REHEARSED].flatten(1).any(dim=1)
        if bool(rehearsed.any()):
            with torch.no_grad():
                found[rehearsed] = self._former(self._input(images[rehearsed])).float().sigmoid().to(found.dtype)
        return found

    def _cropped(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the middle of crops, where memory is too short for all of them."""
        side = images.shape[-1]
        size = min(int(self.notes.get("size", side)), side)
        inner = slice((side - size) // 2, (side - size) // 2 + size)
        return (images, target) if size == side else (images[..., inner, inner], target[..., inner, inner])

    def _step_down(self, batch: int, side: int) -> None:
        """Ask for less memory from here on."""
        parts, size = int(self.notes.get("parts", 1)), min(int(self.notes.get("size", side)), side)
        if parts < batch:
            self.notes["parts"] = min(2 * parts, batch)
        elif size > SMALLEST_CROP:
            self.notes["size"] = max(size // 64 * 32, SMALLEST_CROP)
        else:
            raise DeviceError(
                "The device has too little memory to train on even one small crop; close other programs or choose "
                "another device."
            )
        self._free()
        log.warning("step %d: memory is short; going on %s", self.step + 1, self.smaller)

    def _free(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        gc.collect()
        if self.kind == "cuda":
            torch.cuda.empty_cache()

    @property
    def smaller(self) -> str:
        """How steps are taken since memory ran out, in words; empty if it never did."""
        words = []
        if "parts" in self.notes:
            words.append(f"in {self.notes['parts']} parts")
        if "size" in self.notes:
            words.append(f"on crops of {self.notes['size']} px")
        if "tile" in self.notes:
            words.append("with looks in tiles")
        return f"{' '.join(words)} for lack of memory" if words else ""

    def predict(self, images: Tensor) -> Tensor:
        """Return the averaged network's probability, shape (N, 1, Y, X), for images (N, C, Y, X)."""
        with (
            torch.inference_mode(),
            torch.autocast(self.kind, self.precision, enabled=self.precision is not torch.float32),
        ):
            logits: Tensor = self.average(self._input(images.to(self.device)))
        return logits.float().sigmoid()

    def look(self, images: Tensor) -> Tensor:
        """Return what :meth:`predict` does, for whole images.

        With the recipe's `step_down`, an image for which memory runs out is predicted in tiles, and so are all later
        ones.

        Raises
        ------
        DeviceError
            If memory is too short for one small tile.
        """
        if "tile" not in self.notes:
            try:
                return self.predict(images)
            except (RuntimeError, MemoryError) as error:
                if not (self.recipe.schedule.step_down and is_out_of_memory(error)):
                    raise
            # Out here the error is gone, and with it what it held on to.
            self.notes["tile"] = LOOK_TILE
            self._free()
            log.warning("step %d: memory is short; going on %s", self.step, self.smaller)

        def forward(stack: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(self.predict(torch.from_numpy(stack))[:, 0].cpu().numpy(), np.float32)

        stride, largest = int(self.average.stride), int(self.notes["tile"])  # type: ignore[arg-type]
        maps = [
            run_job(predict_tiled(one.numpy(), forward, stride=stride, overlap=LOOK_OVERLAP, largest=largest, batch=1))
            for one in images
        ]
        return torch.from_numpy(np.stack(maps))[:, None]

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
        share, former = self.recipe.schedule.former_share, self._former or self.network
        with torch.no_grad():
            states = (network.state_dict().values() for network in (self.average, self.network, former))
            for mean, value, begun in zip(*states, strict=True):
                if mean.dtype.is_floating_point:
                    # The average of mixtures is the mixture of the average.
                    mean.lerp_(value.lerp(begun, share) if share else value, 1 - decay)
                else:
                    mean.copy_(value)
