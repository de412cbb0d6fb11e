"""From a recipe and folders of images to a model folder: one job, resumable at any moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_vessel.errors import ModelError
from napari_vessel.images.writing import write_json
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.lock import FolderLock
from napari_vessel.segmentation.devices import resolve_device
from napari_vessel.segmentation.loading import load_network, read_tensors
from napari_vessel.segmentation.registry import ModelInfo, model_info, read_model
from napari_vessel.training.checkpoint import load_weights, save_weights
from napari_vessel.training.crops import CropSource
from napari_vessel.training.datasets import DATA_SETS
from napari_vessel.training.export import export_model
from napari_vessel.training.logs import RunLog
from napari_vessel.training.memory import reusing_memory
from napari_vessel.training.pretraining.folders import Pretrained, begin_with, read_pretrained
from napari_vessel.training.recipe import FORGOTTEN, OWN, Recipe
from napari_vessel.training.sources import TrainingFiles, cut_files, find_training_files, load_crops, load_validation
from napari_vessel.training.topomask import Masking
from napari_vessel.training.trainer import CHECKPOINT, Trainer
from napari_vessel.training.validation import ValidationImage, ValidationScore, validate

log = logging.getLogger(__name__)

BEST = "best.safetensors"
SAVE_EVERY = 60.0
"""Seconds between checkpoints: what a kill can cost."""

LOG_EVERY = 20
"""Steps between two rows of the log."""


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    device: str = "auto",
    models: Mapping[str, Path] | None = None,
    further: bool = True,
) -> Job[dict[str, Any]]:
    """Train a network and write its model folder.

    Goes on from the checkpoint in `out` when there is one. What was reached is saved when the job is closed.

    Parameters
    ----------
    recipe : Recipe
        Everything that decides the run.
    data : Path
        The folder that holds the sets' folders.
    out : Path
        Gets ``checkpoint.safetensors``, ``best.safetensors``, ``log.csv``, ``tensorboard/``, ``validation.json`` and
        the model's folder, named as the model.
    device : str
        ``auto``, ``cuda``, ``cuda:N``, ``mps`` or ``cpu``.
    models : mapping of str to Path, optional
        Folders that the recipe may name as `start`, `segmenter` or `encoder`; they go before installed models and
        folders below `data`.
    further : bool
        False: do not train on, and make the model of the best weights that the run in `out` has reached.

    Returns
    -------
    Job of dict
        ``model`` (folder), ``steps``, ``stopped`` (before its end), ``seconds``, ``threshold``, ``min_size``,
        ``validation``.

    Raises
    ------
    InputError
        If the data cannot be used.
    ModelError
        If the checkpoint is damaged, another recipe's or from other images, the loss is no longer a number, or a model
        that the recipe names cannot be used; or, without `further`, no step has been taken in `out`.
    ProjectError
        If another process is training in `out`.
    """
    if not further and not (out / CHECKPOINT).is_file():
        raise ModelError(f"Nothing has been trained in '{out}' yet; start the run first.")
    device = resolve_device(device)
    given = _Given.find(recipe, models or {}, data)
    files = find_training_files(recipe, data)
    out.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(out, "training.lock", "training run")
    try:
        return (yield from _run(recipe, files, out, device, given, further))
    finally:
        lock.release()


def told(job: Job[dict[str, Any]]) -> Job[dict[str, Any]]:
    """Run :func:`train` with progress that a person can follow: a look at what is held out is part of the training."""
    training: Progress | None = None
    while True:
        try:
            progress = next(job)
        except StopIteration as stop:
            result: dict[str, Any] = stop.value
            return result
        if progress.message.partition(",")[0] == "Training":
            training = progress
            step = f"Training, step {progress.done:.0f} of {progress.total:.0f}"
            progress = replace(progress, message=progress.message.replace("Training", step, 1))
        elif progress.message.startswith("Validating") and training is not None:
            progress = replace(training, message="Training, looking at what is held out")
        try:
            yield progress
        except GeneratorExit:
            job.close()
            raise


@dataclass(frozen=True, slots=True)
class _Given:
    """What a recipe builds on."""

    start: ModelInfo | None
    segmenter: ModelInfo | None
    encoder: Pretrained | None

    @classmethod
    def find(cls, recipe: Recipe, models: Mapping[str, Path], data: Path) -> _Given:
        """Find them, and make sure that they fit, before any work is done."""

        def find(name: str) -> ModelInfo | None:
            if not name:
                return None
            return read_model(models[name]) if name in models else model_info(name)

        start, segmenter = find(recipe.start), find(recipe.segmenter)
        for info in (start, segmenter):
            if info is None:
                continue
            own = (recipe.network.in_channels, recipe.network.working_diameter)
            if info.kind == "ridge" or own != (info.network["in_channels"], info.working_scale.get("px")):
                raise ModelError(
                    f"The recipe cannot build on the model '{info.name}': give it the same 'in_channels' and "
                    "'working_diameter'."
                )
        if segmenter is not None and segmenter.kind != "network":
            raise ModelError(f"The model '{segmenter.name}' does not segment; name one that does as 'segmenter'.")
        encoder = None
        if recipe.encoder:
            encoder = read_pretrained(models.get(recipe.encoder, data / recipe.encoder))
            network = recipe.network
            if (network.settings, network.working_diameter) != (encoder.network, encoder.working_diameter):
                raise ModelError(
                    f"The recipe cannot begin with '{encoder.folder}': give it the [network] that its README.md names."
                )
        return cls(start, segmenter, encoder)

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of their weights."""
        found = {"start": self.start, "segmenter": self.segmenter, "encoder": self.encoder}
        return {role: info.sha256 for role, info in found.items() if info is not None}


def _run(
    recipe: Recipe, files: TrainingFiles, out: Path, device: str, given: _Given, further: bool
) -> Job[dict[str, Any]]:
    segmenter = None if given.segmenter is None else load_network(given.segmenter, device)
    trainer = Trainer(recipe, out, device, segmenter)
    if given.start is not None:
        trainer.begin_with(read_tensors(given.start))
    if given.encoder is not None:
        begin_with(given.encoder, trainer.network, trainer.average)
    # Of a run that has not begun; one that goes on has its own notes.
    trainer.notes["look"] = recipe.schedule.look_first
    if trainer.resume():
        if trainer.notes.get("given", given.hashes()) != given.hashes():
            raise ModelError(
                f"The run in '{out}' was started with other weights of the models it builds on; put them back, or "
                "train in another folder."
            )
        log.info("going on at step %d of %d", trainer.step, recipe.schedule.steps)
        if trainer.notes.get("split", files.to_json()) != files.to_json():
            raise ModelError(
                f"The run in '{out}' was started with other images than are there now; put them back, or train in "
                "another folder."
            )
    trainer.notes["split"] = files.to_json()
    trainer.notes["given"] = given.hashes()
    if further and not _is_over(trainer):
        source = yield from load_crops(recipe, files)
        images = yield from load_validation(recipe, files)
        watched = yield from load_validation(recipe, files, watched=True)
        with reusing_memory(trainer.kind):
            yield from _train(trainer, source, images, watched)
    best = out / BEST
    if best.is_file():
        load_weights(best, trainer.average)
    config = _config(recipe, files, trainer, given)
    judges = cut_files(recipe, files)
    if not judges and given.start is not None:
        config |= {"threshold": given.start.threshold, "min_size": given.start.min_size}
    masking = Masking.at(recipe.topomask, recipe.modality, 0.5)
    folder = out / recipe.name
    chosen = yield from export_model(trainer.average, folder, config, judges, device, given.segmenter, masking)
    write_json(out / "validation.json", chosen)
    return {
        "model": str(folder),
        "steps": trainer.step,
        "stopped": not _is_over(trainer),
        "seconds": round(trainer.seconds),
        "threshold": chosen["threshold"],
        "min_size": chosen["min_size"],
        "validation": trainer.notes.get("best"),
        **({"memory": trainer.smaller} if trainer.smaller else {}),
    }


def _is_over(trainer: Trainer) -> bool:
    done = trainer.step >= trainer.recipe.schedule.steps and not trainer.notes.get("look")
    return done or bool(trainer.notes.get("stopped"))


def _train(
    trainer: Trainer, source: CropSource, images: Sequence[ValidationImage], watched: Sequence[ValidationImage]
) -> Job[None]:
    """Train to the end of the schedule, or until validation has stopped improving."""
    recipe = trainer.recipe
    schedule = recipe.schedule
    record = RunLog(trainer.folder, trainer.step)
    batches = source.batches(trainer.step, threads=1 if trainer.kind == "cpu" else 8)
    saved = time.monotonic()
    losses: list[tuple[float, float]] = []
    figures: dict[str, float] = {}
    try:
        while not _is_over(trainer):
            # After an interruption the last step's look may be what is left to do.
            if not trainer.notes.get("look"):
                losses.append(trainer.train_step(*next(batches)))
            step = trainer.step
            if losses and (step % LOG_EVERY == 0 or step == schedule.steps):
                loss, dice = (float(v) for v in np.mean(losses, axis=0))
                losses.clear()
                rate = schedule.rate_at(trainer.fraction)
                record.write(step, seconds=trainer.seconds, rate=rate, loss=loss, dice_loss=dice)
                figures = {**figures, "loss": loss}
            if step % schedule.validate_every == 0 or step == schedule.steps:
                trainer.notes["look"] = True
                score, kept = yield from _look(trainer, images, watched)
                trainer.notes["look"] = False
                seen = {}
                if score is not None:
                    seen = {"validation_dice": score.dice, "validation_cldice": score.cl_dice}
                    figures = {**figures, "validation": score.value}
                    log.info("step %d: validation Dice %.4f, clDice %.4f", step, score.dice, score.cl_dice)
                    seen |= {"validation_b0": score.b0_error, "validation": score.value}
                if kept is not None:
                    seen |= {"watched_dice": kept.dice, "watched_cldice": kept.cl_dice}
                    figures = {**figures, "watched": kept.value}
                    log.info("step %d: watched Dice %.4f, clDice %.4f", step, kept.dice, kept.cl_dice)
                record.write(step, seconds=trainer.seconds, **seen)
                _keep_best(trainer, score, kept)
                trainer.save()
                saved = time.monotonic()
            elif time.monotonic() - saved >= SAVE_EVERY:
                trainer.save()
                saved = time.monotonic()
            yield Progress(step, schedule.steps, f"Training{trainer.smaller and ', '}{trainer.smaller}", figures)
    except GeneratorExit:
        # Closed between two steps. Any other exception may come in the middle of one, and half a step is not saved.
        trainer.save()
        raise
    finally:
        batches.close()  # type: ignore[attr-defined]
        record.close()


def _look(
    trainer: Trainer, images: Sequence[ValidationImage], watched: Sequence[ValidationImage]
) -> Job[tuple[ValidationScore | None, ValidationScore | None]]:
    """Return how good the averaged weights are on the images for validation, and on those that are watched."""
    score = (yield from validate(trainer.look, images)) if images else None
    kept = (yield from validate(trainer.look, watched)) if watched else None
    return score, kept


def _keep_best(trainer: Trainer, score: ValidationScore | None, kept: ValidationScore | None) -> None:
    """Keep the averaged weights when they are the best so far, and count the looks since anything became better.

    Weights that are better than the beginning and have forgotten nothing go before all that have forgotten: whoever
    judges the run refuses those, and can say why. Without images to judge by, the latest are the best.
    """
    notes, value = trainer.notes, float(trainer.step) if score is None else score.value
    told = {"value": None if score is None else round(value, 5), "step": trainer.step}
    remembers = True
    if kept is not None:
        first = notes.setdefault("first", {"dice": kept.dice, "value": value})
        lost = first["dice"] - kept.dice
        if lost > FORGOTTEN:
            log.info("step %d: Dice %.4f of what is watched has been forgotten", trainer.step, lost)
        remembers = lost <= FORGOTTEN and value > first["value"]
        told["remembers"] = remembers
    best = notes.get("best")
    so_far = -1.0 if best is None else float(best["step"] if best["value"] is None else best["value"])
    better = best is None or (remembers, value) > (best.get("remembers", True), so_far)
    if better:
        save_weights(trainer.folder / BEST, trainer.average)
        notes["best"] = told
    if better or value > notes.get("top", so_far):
        notes["top"], notes["waited"] = round(value, 5), 0
        return
    notes["waited"] = notes.get("waited", 0) + 1
    patience = trainer.recipe.schedule.patience
    if patience and notes["waited"] >= patience:
        log.info("no better result in %d looks at the validation images; stopping early", patience)
        notes["stopped"] = True


def _config(recipe: Recipe, files: TrainingFiles, trainer: Trainer, given: _Given) -> dict[str, Any]:
    """Return the model's configuration, but for threshold, minimum size and hash."""
    sets = [d.set for d in recipe.data] + list(given.encoder.data_sets if given.encoder else ())
    used = [DATA_SETS[key] for key in dict.fromkeys(sets) if key in DATA_SETS]
    terms = [f"{known.title} ({known.citation}): {known.licence}" for known in used]
    if OWN in sets:
        terms.append("own images: as their owner decides")
    closed = "" if all(known.shippable for known in used) else "Research use only. "
    licence = f"{closed}Trained on {'; '.join(terms)}."
    # Weights that are led on stay under the terms of those they were.
    if given.start is not None and given.start.licence != licence:
        licence += f" Begun with {given.start.name}: {given.start.licence}"
    return {
        "format": 1,
        "name": recipe.name,
        "title": recipe.title,
        "kind": "completion" if recipe.segmenter else "network",
        "version": recipe.version,
        "modalities": [recipe.modality],
        "licence": licence[:2000],
        "network": recipe.network.settings,
        # Which other widths may stay as they are was looked at for the kind of image that the first model is for.
        "working_scale": dict(given.start.working_scale)
        if given.start is not None and recipe.modality in given.start.modalities
        else {"kind": "field_of_view", "px": recipe.network.working_diameter},
        "settings": {
            "input": f"{'red, green, blue' if recipe.network.in_channels == 3 else 'one channel'}; "
            "local background subtracted, contrast scaled over the whole image",
            **({"segmenter": recipe.segmenter} if recipe.segmenter else {}),
        },
        "training": {
            "recipe": recipe.to_json(),
            "builds_on": trainer.notes["given"],
            "steps_done": trainer.step,
            "seconds": round(trainer.seconds),
            "best": trainer.notes.get("best"),
            "split": files.to_json(),
        },
    }
