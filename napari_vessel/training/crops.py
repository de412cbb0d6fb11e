"""Batches of random crops, prepared beside the training."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from napari_vessel.training.augmentation import LEVELS, ONE_LEVEL, TARGETS, Level, random_crop
from napari_vessel.training.recipe import Recipe
from napari_vessel.training.terms import FORMER
from napari_vessel.training.topomask import Masking

log = logging.getLogger(__name__)

WEIGHT = TARGETS.index("weight")

AHEAD = 3
"""Batches prepared before they are needed."""


class CropSource:
    """Batches of random crops; batch `n` depends on the recipe's seed and `n` alone.

    Parameters
    ----------
    images : mapping of str to sequence of list of Level
        The images of every source, each at every level.
    weights : mapping of str to float
        How often each source is drawn.
    recipe : Recipe
        Crops, augmentation and seed.
    """

    def __init__(
        self, images: Mapping[str, Sequence[list[Level]]], weights: Mapping[str, float], recipe: Recipe
    ) -> None:
        self._images = images
        self._names = list(images)
        shares = np.array([weights[name] for name in self._names], float)
        self._shares = shares / shares.sum()
        self._recipe = recipe
        self._weighted = any(
            level.weights is not None for group in images.values() for levels in group for level in levels
        )
        self._former = any(term.name == FORMER for term in recipe.loss)
        self._rehearsed = {source.source for source in recipe.data if source.watched}

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return batch `number`: images (N, C, Y, X) and targets (N, 4 to 6, Y, X), both float32.

        Where a source has weights, every target has a fifth channel: the weight, 1 for those without. Where the loss
        asks for former answers, it has a fifth and a sixth: 1 in crops of images that are watched, 0 in others.
        """
        rng = np.random.default_rng([self._recipe.seed, number])
        masking = Masking.at(self._recipe.topomask, self._recipe.modality, number / self._recipe.schedule.steps)
        crops, rehearsed = [], []
        for source in self._sources(rng):
            group = self._images[self._names[source]]
            rehearsed.append(self._names[source] in self._rehearsed)
            levels = group[int(rng.integers(len(group)))]
            on_vessel = bool(rng.random() < self._recipe.crops.vessel_share)
            share = self._recipe.crops.correction_share
            on_correction = bool(share and levels[0].weights is not None and rng.random() < share)
            crops.append(
                random_crop(
                    levels,
                    self._recipe.crops.size,
                    rng,
                    self._recipe.augmentation,
                    on_vessel,
                    LEVELS if len(levels) > 1 else ONE_LEVEL,
                    masking,
                    on_correction,
                )
            )
        images, targets = zip(*crops, strict=True)
        plain = np.ones((1, *targets[0].shape[1:]), np.float32)
        if self._weighted or self._former:
            targets = tuple(one if len(one) > WEIGHT else np.concatenate([one, plain]) for one in targets)
        if self._former:
            targets = tuple(np.concatenate([one, plain * of]) for one, of in zip(targets, rehearsed, strict=True))
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))

    def _sources(self, rng: np.random.Generator) -> Iterator[int]:
        """Yield the source of each crop of a batch."""
        size = self._recipe.crops.batch
        if not self._recipe.crops.even:
            # Each drawn when its turn comes, as in the runs that shipped models came from.
            yield from (int(rng.choice(len(self._names), p=self._shares)) for _ in range(size))
            return
        # Equal steps along the shares laid end to end, from a random place on.
        places = (np.arange(size) + rng.random()) / size
        last = len(self._names) - 1
        yield from (min(int(n), last) for n in np.searchsorted(np.cumsum(self._shares), places, side="right"))

    def batches(self, start: int, threads: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches from number `start` on, prepared on `threads` threads a few ahead of their use."""
        ahead = AHEAD + threads - 1
        with ThreadPoolExecutor(threads) as pool:
            waiting = [pool.submit(self.batch, start + i) for i in range(ahead)]
            try:
                while True:
                    ready = waiting.pop(0).result()
                    waiting.append(pool.submit(self.batch, start + ahead))
                    start += 1
                    yield ready
            finally:
                for future in waiting:
                    future.cancel()
