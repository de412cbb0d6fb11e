"""From images without labels to weights that a training can begin with: one job, resumable at any moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_vessel.jobs import Job, Progress
from napari_vessel.review.lock import FolderLock
from napari_vessel.segmentation.devices import resolve_device
from napari_vessel.training.crops import CropSource
from napari_vessel.training.logs import RunLog
from napari_vessel.training.memory import reusing_memory
from napari_vessel.training.pretraining.card import write_card
from napari_vessel.training.pretraining.folders import write_pretrained
from napari_vessel.training.pretraining.images import UnlabelledFile, check_modality, load_images
from napari_vessel.training.pretraining.settings import PreTrain
from napari_vessel.training.pretraining.trainer import FIGURES, PreTrainer
from napari_vessel.training.train import LOG_EVERY, SAVE_EVERY

log = logging.getLogger(__name__)

ENCODER = "encoder"
"""Room of a run's folder that holds what came out."""


def pretrain(
    files: Sequence[UnlabelledFile], settings: PreTrain, out: Path, device: str = "auto"
) -> Job[dict[str, Any]]:
    """Pre-train an encoder on images without labels and write its folder.

    Goes on from the checkpoint in `out` when there is one. What was reached is saved when the job is closed.

    Parameters
    ----------
    files : sequence of UnlabelledFile
        At least one, as :func:`~napari_vessel.training.pretraining.images.find_unlabelled` lists them.
    settings : PreTrain
        Everything else that decides the run.
    out : Path
        Gets ``checkpoint.safetensors``, ``log.csv``, ``tensorboard/``, and ``encoder/`` with weights, configuration and
        card.
    device : str
        ``auto``, ``cuda``, ``cuda:N``, ``mps`` or ``cpu``.

    Returns
    -------
    Job of dict
        ``encoder`` (folder), ``steps``, ``seconds``, ``images`` (how many), ``data_sets``, ``figures``.

    Raises
    ------
    InputError
        If the images or settings cannot be used.
    ModelError
        If the checkpoint is damaged or of other images or settings, the network cannot be pre-trained, or the loss is
        no longer a number.
    ProjectError
        If another process is at work in `out`.
    """
    settings.check()
    check_modality(files, settings.modality)
    # Crops are drawn by number: folders named in another order are the same run.
    files = sorted(files, key=lambda file: file.name)
    device = resolve_device(device)
    trainer = PreTrainer(settings, out, device)
    out.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(out, "training.lock", "training run")
    try:
        images = yield from load_images(files, settings, trainer.network.patch)
        record = {"settings": settings.to_json(), "crop": images.size, "images": images.hashes}
        source = CropSource({"images": images.levels}, {"images": 1.0}, settings.crops(images.size))
        with reusing_memory(trainer.kind):
            if trainer.resume(record):
                log.info("going on at step %d of %d", trainer.step, settings.steps)
            else:
                if settings.consistency:
                    yield from trainer.train_segmenter(source)
                trainer.save(record)
            figures = yield from _train(trainer, source, record)
    finally:
        lock.release()
    told = {"steps_done": trainer.step, "seconds": round(trainer.seconds), **trainer.notes}
    network = settings.network
    config = {
        "network": network.settings,
        "working_diameter": network.working_diameter,
        "modalities": [settings.modality.value],
        "data_sets": sorted({file.data_set for file in files}),
        "training": {**record, **told},
    }
    folder = out / ENCODER
    write_pretrained(folder, trainer.network.weights(), config, write_card(settings, images, told))
    return {
        "encoder": str(folder),
        "steps": trainer.step,
        "seconds": round(trainer.seconds),
        "images": len(files),
        "data_sets": config["data_sets"],
        "figures": figures,
    }


def _train(trainer: PreTrainer, source: CropSource, record: dict[str, Any]) -> Job[dict[str, float]]:
    """Train to the end; return the last figures that were logged."""
    steps = trainer.settings.steps
    rows = RunLog(trainer.folder, trainer.step, ("step", "seconds", "rate", *FIGURES))
    batches = source.batches(trainer.step, threads=1 if trainer.kind == "cpu" else 8)
    saved = time.monotonic()
    seen: list[dict[str, float]] = []
    try:
        while trainer.step < steps:
            seen.append(trainer.train_step(*next(batches)))
            step = trainer.step
            if step % LOG_EVERY == 0 or step == steps:
                # Of random masking there are no vesselness maps.
                known = {name: [row[name] for row in seen if name in row] for name in FIGURES}
                means = {name: float(np.mean(values)) for name, values in known.items() if values}
                seen.clear()
                trainer.notes["figures"] = {name: round(value, 5) for name, value in means.items()}
                rows.write(step, seconds=trainer.seconds, rate=trainer.schedule.rate_at(step / steps), **means)
            if step == steps or time.monotonic() - saved >= SAVE_EVERY:
                trainer.save(record)
                saved = time.monotonic()
            yield Progress(step, steps, "Pre-training", trainer.notes.get("figures", {}))
    except GeneratorExit:
        # Closed between two steps. Any other exception may come in the middle of one, and half a step is not saved.
        trainer.save(record)
        raise
    finally:
        batches.close()  # type: ignore[attr-defined]
        rows.close()
    found: dict[str, float] = trainer.notes["figures"]
    return found
