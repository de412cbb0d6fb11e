"""Train ``fundus-small``, the U-Net that ships as the default for fundus photographs.

One command, two cores, an hour::

    python -m napari_vessel.training.small_unet --chasedb1 DIR --hrf DIR --les-av DIR -o runs/fundus-small

It reads training splits only, holds out a fixed validation part of them, writes a checkpoint every minute,
and goes on from it with ``--resume``. The threshold and the minimum component size are chosen at the end, on
the validation images at their own resolution.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_vessel.errors import ModelError, VesselError
from napari_vessel.images.writing import write_json
from napari_vessel.networks import build_network
from napari_vessel.training.augmentation import Level, build_levels, random_crop
from napari_vessel.training.checkpoint import load_checkpoint, save_checkpoint
from napari_vessel.training.data import CHASEDB1, HRF, LES_AV, DataSet, read_case, split_stems
from napari_vessel.training.export import export_model
from napari_vessel.training.losses import vessel_loss

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
NAME = "fundus-small"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training run.

    Attributes
    ----------
    minutes : float
        Time to train for; the learning rate falls to zero at its end.
    steps : int
        Train for this many steps instead of by time, when above 0; such a run is repeatable.
    seed : int
        Seed of the weights and of every crop.
    crop, batch : int
        Side of a crop in pixels, and crops per step.
    learning_rate, weight_decay : float
        Peak rate of AdamW, and its decay.
    warm_up : float
        Share of the run over which the rate rises.
    average_decay : float
        Per-step decay of the averaged weights, the ones that are used.
    centreline_weight : float
        Weight of the soft clDice term, which starts after a tenth of the run.
    iterations : int
        Thinning steps of soft clDice: at least half the largest calibre at the working scale.
    working_diameter : float
        Width of the field of view in pixels that the network sees.
    channels : tuple of int
        Feature channels of the U-Net. Multiples of 32 are several times faster in bfloat16 on a CPU.
    """

    minutes: float = 55.0
    steps: int = 0
    seed: int = 0
    crop: int = 384
    batch: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warm_up: float = 0.06
    average_decay: float = 0.995
    centreline_weight: float = 0.5
    iterations: int = 8
    working_diameter: float = 800.0
    channels: tuple[int, ...] = (32, 32, 64, 64, 64)

    def rate_at(self, fraction: float) -> float:
        """Return the learning rate after this share of the run: linear rise, cosine fall."""
        if fraction < self.warm_up:
            return self.learning_rate * max(fraction / self.warm_up, 0.02)
        rest = (fraction - self.warm_up) / (1 - self.warm_up)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))


class CropSource:
    """Batches of random crops, prepared on a second thread; batch `n` depends on seed and `n` alone.

    Parameters
    ----------
    cases : dict of str to list of list of Level
        Training images per data set; every data set is drawn with the weight `shares` gives it.
    shares : dict of str to float
        Probability of each data set.
    recipe : Recipe
        Crop size, batch size and seed.
    """

    def __init__(self, cases: dict[str, list[list[Level]]], shares: dict[str, float], recipe: Recipe) -> None:
        self._cases = cases
        self._names = list(cases)
        weights = np.array([shares[name] for name in self._names], float)
        self._shares = weights / weights.sum()
        self._recipe = recipe

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return batch `number`: images (N, 3, Y, X) and targets (N, 3, Y, X)."""
        rng = np.random.default_rng([self._recipe.seed, number])
        crops = []
        for _ in range(self._recipe.batch):
            group = self._cases[self._names[int(rng.choice(len(self._names), p=self._shares))]]
            crops.append(random_crop(group[int(rng.integers(len(group)))], self._recipe.crop, rng))
        images, targets = zip(*crops, strict=True)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))

    def batches(self, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches from number `start` on, two ahead of their use."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self.batch, start + i) for i in range(2)]
            try:
                while True:
                    start += 1
                    ready = waiting.pop(0).result()
                    waiting.append(pool.submit(self.batch, start + 1))
                    yield ready
            finally:
                for future in waiting:
                    future.cancel()


class Trainer:
    """One training run: network, averaged network, optimiser and clock.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    source : CropSource
        Where batches come from.
    folder : Path
        Where the checkpoint and the log go.
    device : str
        ``cpu`` or ``cuda``.
    """

    def __init__(self, recipe: Recipe, source: CropSource, folder: Path, device: str = "cpu") -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.source, self.folder, self.device = recipe, source, folder, device
        network = build_network("unet", in_channels=3, channels=recipe.channels)
        self.network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step = 0
        self.seconds = 0.0

    @property
    def checkpoint(self) -> Path:
        """The file that :meth:`resume` reads."""
        return self.folder / CHECKPOINT

    @property
    def fraction(self) -> float:
        """Share of the run done, 0 to 1."""
        done = self.step / self.recipe.steps if self.recipe.steps else self.seconds / (60 * self.recipe.minutes)
        return min(done, 1.0)

    def resume(self) -> bool:
        """Go on from the checkpoint when there is one."""
        if not self.checkpoint.is_file():
            return False
        state = load_checkpoint(self.checkpoint, self.network, self.average, self.optimiser)
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        return True

    def save(self) -> None:
        """Write the checkpoint."""
        state: dict[str, Any] = {"step": self.step, "seconds": self.seconds, "recipe": asdict(self.recipe)}
        save_checkpoint(self.checkpoint, self.network, self.average, self.optimiser, state)

    def train_step(self, images: Tensor, target: Tensor) -> tuple[float, float]:
        """Take one step and return the loss and its Dice term."""
        recipe = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate_at(self.fraction)
        self.network.train()
        images = images.to(self.device).contiguous(memory_format=torch.channels_last)
        target = target.to(self.device)
        with torch.autocast(self.device, torch.bfloat16):
            logits = self.network(images)
        weight = recipe.centreline_weight if self.fraction >= 0.1 else 0.0
        loss, dice = vessel_loss(logits, target, centreline_weight=weight, iterations=recipe.iterations)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimiser.step()
        self.step += 1
        self._update_average()
        return float(loss.detach()), float(dice)

    def _update_average(self) -> None:
        # Early weights are far from good, so the average forgets faster at the start.
        decay = min(self.recipe.average_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
            for mean, value in pairs:
                if mean.dtype.is_floating_point:
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)

    def run(self, until: float = 1.0, save_every: float = 60.0) -> list[float]:
        """Train until this share of the run is done and return the losses.

        Parameters
        ----------
        until : float
            Share of the run, 0 to 1.
        save_every : float
            Seconds between checkpoints.
        """
        losses: list[float] = []
        saved = logged = time.monotonic()
        last = saved
        window: list[tuple[float, float]] = []
        batches = self.source.batches(self.step)
        try:
            while self.fraction < until:
                images, target = next(batches)
                window.append(self.train_step(images, target))
                losses.append(window[-1][0])
                now = time.monotonic()
                self.seconds += now - last
                last = now
                if now - saved >= save_every:
                    self.save()
                    saved = now
                if now - logged >= 30.0:
                    loss, dice = np.mean(window, axis=0)
                    log.info(
                        "step %d, %.1f min, loss %.4f, soft Dice %.4f, rate %.2e",
                        self.step, self.seconds / 60, loss, 1 - dice, self.recipe.rate_at(self.fraction),
                    )  # fmt: skip
                    window.clear()
                    logged = now
        finally:
            batches.close()  # type: ignore[attr-defined]
        self.save()
        return losses


def load_sources(
    folders: dict[str, tuple[DataSet, Path]], recipe: Recipe
) -> tuple[CropSource, dict[str, list[str]], dict[str, list[str]]]:
    """Read and resample every training image; return the crops' source and the stems used and held out."""
    cases: dict[str, list[list[Level]]] = {}
    used: dict[str, list[str]] = {}
    held: dict[str, list[str]] = {}
    for name, (data_set, folder) in folders.items():
        used[name], held[name] = split_stems(data_set, folder)
        cases[name] = [build_levels(read_case(data_set, folder, stem), recipe.working_diameter) for stem in used[name]]
        log.info("%s: %d images to train on, held out: %s", name, len(used[name]), ", ".join(held[name]))
    # LES-AV leaves many thin vessels unlabelled, so it counts for less.
    wanted = {CHASEDB1.name: 0.4, HRF.name: 0.4, LES_AV.name: 0.2}
    return CropSource(cases, {name: wanted[name] for name in cases}, recipe), used, held


def model_config(name: str, recipe: Recipe, split: dict[str, Any], step: int) -> dict[str, Any]:
    """Return the configuration of the model, but for threshold, minimum size and hash."""
    return {
        "format": 1,
        "name": name,
        "title": "Small U-Net for fundus photographs",
        "kind": "network",
        "version": "1.0.0",
        "modalities": ["fundus"],
        "licence": "CC BY 4.0 to the best of our knowledge, as are the images it was trained on: CHASE_DB1 "
        "(Fraz et al. 2012, Kingston University), HRF (Budai et al. 2013, FAU Erlangen), LES-AV (Orlando et al. 2018).",
        "network": {"name": "unet", "in_channels": 3, "channels": list(recipe.channels)},
        "working_scale": {"kind": "field_of_view", "px": recipe.working_diameter},
        "settings": {"input": "red, green, blue; local background subtracted, contrast scaled over the whole image"},
        "training": {"recipe": asdict(recipe), "steps_done": step, "split": split},
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m napari_vessel.training.small_unet", description=__doc__)
    parser.add_argument("--chasedb1", type=Path, help="folder of CHASE_DB1 (images/, masks/, fov/)")
    parser.add_argument("--hrf", type=Path, help="folder of HRF")
    parser.add_argument("--les-av", type=Path, help="folder of LES-AV")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the checkpoint and the model")
    parser.add_argument("--minutes", type=float, default=55.0, help="time to train for")
    parser.add_argument("--steps", type=int, default=0, help="train for this many steps instead of by time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default=NAME, help="name of the model")
    parser.add_argument("--working-diameter", type=float, default=800.0, help="width of the field of view, px")
    parser.add_argument("--channels", default="32,32,64,64,64", help="feature channels per level of the U-Net")
    parser.add_argument("--crop", type=int, default=384, help="side of a crop, px")
    parser.add_argument("--batch", type=int, default=4, help="crops per step")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    parser.add_argument("--export-only", action="store_true", help="choose threshold and export; train no more")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    recipe = Recipe(
        minutes=options.minutes,
        steps=options.steps,
        seed=options.seed,
        crop=options.crop,
        batch=options.batch,
        working_diameter=options.working_diameter,
        channels=tuple(int(c) for c in options.channels.split(",")),
    )
    given = {CHASEDB1: options.chasedb1, HRF: options.hrf, LES_AV: options.les_av}
    folders = {data_set.name: (data_set, folder) for data_set, folder in given.items() if folder is not None}
    if not folders:
        log.error("Give at least one of --chasedb1, --hrf, --les-av.")
        return 2
    try:
        source, used, held = load_sources(folders, recipe)
        trainer = Trainer(recipe, source, options.out, options.device)
        if options.resume or options.export_only:
            found = trainer.resume()
            if options.export_only and not found:
                raise ModelError(f"There is no checkpoint in '{options.out}' to export; train first.")
            log.info("%s", f"resumed at step {trainer.step}" if found else "no checkpoint yet; starting afresh")
        if not options.export_only:
            trainer.run()
        split = {name: {"training": used[name], "validation": held[name]} for name in used}
        # The images in memory are read again at their own resolution: what is published is measured there.
        cases = [
            read_case(data_set, folder, stem) for name, (data_set, folder) in folders.items() for stem in held[name]
        ]
        config = model_config(options.name, recipe, split, trainer.step)
        chosen = export_model(trainer.average, options.out / options.name, config, cases)
        write_json(options.out / "validation.json", chosen)
    except VesselError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
