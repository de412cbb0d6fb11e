"""A model fine-tuned on what an annotator corrected, beside as much rehearsal, and the gate's decision on it.

After the one finding on which continual learning agrees: rehearsing old images beside new ones forgets least. Half of
every batch is the base domain's, batch normalisation keeps the statistics of the many images that the model was made
from, the learning rate is low, and the weights that did best on the guards are the ones that are judged, unless they
have forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import Modality
from napari_vessel.images.writing import write_json
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.lock import FolderLock
from napari_vessel.segmentation.preparation import field_diameter, working_diameter
from napari_vessel.segmentation.registry import ModelInfo, read_model
from napari_vessel.segmentation.segmentation import Segmentation
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.topology.metrics import betti_numbers, cl_dice, dice_coefficient
from napari_vessel.training.cases import Case, CaseFiles, find_own_cases, read_case
from napari_vessel.training.edges import GivenEdges, with_edges_of
from napari_vessel.training.finetuning.card import write_card
from napari_vessel.training.finetuning.folders import RESULT, read_result
from napari_vessel.training.finetuning.gate import Decision, Figures, judge, without_learning
from napari_vessel.training.finetuning.preparing import BASE_GUARDS, KNOWS, as_seen, read_record
from napari_vessel.training.finetuning.recipes import recipe_of
from napari_vessel.training.finetuning.settings import GUARD, REHEARSAL, START, FineTune, settings_of
from napari_vessel.training.labelled import store
from napari_vessel.training.recipe import Recipe
from napari_vessel.training.train import told, train

_OWN_TERMS = " Fine-tuned on own images: as their owner decides."

_GUARD_SEED = 4_000_000
"""Of the first synthetic guard."""


def finetune(out: Path, device: str = "auto", further: bool = True) -> Job[dict[str, Any]]:
    """Fine-tune as a run was prepared, judge what came out, and write both down; goes on where it was stopped.

    Parameters
    ----------
    out : Path
        A folder that :func:`~napari_vessel.training.finetuning.preparing.prepare_finetune` filled. Gets synthetic
        images in ``rehearsal/``, the model's folder, named as the model, all that
        :func:`napari_vessel.training.train.train` writes, and ``result.json``.
    device : str
        ``auto``, ``cuda``, ``cuda:N``, ``mps`` or ``cpu``.
    further : bool
        False: do not go on, and judge the best weights that the run has reached.

    Returns
    -------
    Job of dict
        What ``result.json`` holds: what ``train`` returns, ``learnt`` (whether there is anything new in the model),
        ``record`` and ``recipe`` of the run, and ``decision`` (``promote``, ``sentence``, ``figures``).

    Raises
    ------
    InputError
        If the folder was not prepared.
    ModelError
        As ``train``.
    ProjectError
        If another process is at work in `out`.
    """
    record = read_record(out)
    start = read_model(out / START / record["start"]["name"])
    # Held until the result is written: another process would write the model anew while it is judged.
    lock = FolderLock(out, "finetuning.lock", "fine-tuning run")
    try:
        return (yield from _finetune(record, start, out, device, further))
    finally:
        lock.release()


def _finetune(
    record: Mapping[str, Any], start: ModelInfo, out: Path, device: str, further: bool
) -> Job[dict[str, Any]]:
    recipe = recipe_of(record, start)
    reached = read_result(out)
    if further and reached is not None and not reached["stopped"]:
        return reached
    if further:
        yield from make_rehearsal(record, start, out, device)
    (out / RESULT).unlink(missing_ok=True)
    result = yield from told(train(recipe, out, out, device, {start.name: start.folder}, further))
    folder = Path(result["model"])
    _inherit(folder, start, record)
    decision = yield from judge_by_guards(start, read_model(folder), recipe, out, device)
    same_weights = (result["validation"] or {}).get("step") == 0
    if same_weights:
        decision = without_learning(decision)
    complete = {
        **result,
        "learnt": not same_weights or decision.promote is True,
        "decision": decision.to_json(),
        "record": record,
        "recipe": recipe.to_json(),
    }
    write_card(folder, complete)
    write_json(out / RESULT, complete)
    return complete


def synthetic_seeds(settings: FineTune) -> dict[str, int]:
    """Return the seed of each synthetic image of a run, by the stem of its files, the guards' first."""
    # The guards are the same for every run: the images to rehearse have seeds on both sides of theirs.
    first = 3_000_000 + 20_000 * settings.seed
    first += 20_000 * (first >= _GUARD_SEED)
    seeds = {f"{GUARD}_{n:02d}": _GUARD_SEED + n for n in range(BASE_GUARDS)}
    return seeds | {f"{n:05d}": first + n for n in range(settings.rehearsal)}


def make_rehearsal(record: Mapping[str, Any], start: ModelInfo, out: Path, device: str) -> Job[None]:
    """Make the synthetic images to rehearse, and those that watch forgetting, as far as they are missing.

    Those to rehearse get the edges that the model gives their vessels (Robins, 1995, rehearses a network's own answers
    alone); those that watch keep their truth.
    """
    if record["base"]["kind"] != "synthetic":
        return
    from napari_vessel.synthesis.engine import synthesize

    settings = settings_of(record)
    seeds = synthetic_seeds(settings)
    modality, colour = Modality(record["base"]["modality"]), start.network["in_channels"] == 3
    segmenter = Segmenter(start, device)
    for number, (stem, seed) in enumerate(seeds.items()):
        if (out / REHEARSAL / "images" / f"{stem}.png").is_file():
            continue
        progress = Progress(number, len(seeds), "Making images to rehearse")
        yield progress
        made = synthesize(modality, seed)
        vessels = made.truth
        if not stem.startswith(GUARD):
            found = yield from _under(progress, segmenter.predict(made.image))
            vessels = with_edges_of(vessels, found.mask > 0)
        store(out / REHEARSAL, stem, as_seen(made.image, colour), vessels)


def judge_by_guards(old: ModelInfo, new: ModelInfo, recipe: Recipe, out: Path, device: str) -> Job[Decision]:
    """Segment the guards with both models, as the product does, and ask the gate."""
    figures: list[list[Figures]] = []
    learnt: list[Figures] = []
    scales = (old.working_scale, new.working_scale)
    for source in recipe.data:
        cases = find_own_cases(out / source.folder, source.validation, source.weighted)
        guards = [files for files in cases if files.split == "validation"]
        # Led on to other images, a model sees them at other widths. Whether it has forgotten those that it knew is
        # asked of its weights, at the width that was found best for them.
        led_on = replace(new, working_scale=old.working_scale) if source.watched else new
        for info in (old, led_on):
            figures.append((yield from _measure(info, guards, scales, device)))
        if not source.watched:
            done = [files for files in cases if files.split != "validation" and files.stem in source.cut]
            learnt = yield from _measure(new, done, scales, device)
    guards_old, guards_new, base_old, base_new = figures
    return judge(guards_old, guards_new, base_old, base_new, learnt)


def _measure(
    info: ModelInfo, guards: Sequence[CaseFiles], scales: Sequence[Mapping[str, Any]], device: str
) -> Job[list[Figures]]:
    segmenter = Segmenter(info, device)
    found = []
    for number, files in enumerate(guards):
        progress = Progress(number, len(guards), f"Judging {info.name} by the guards")
        yield progress
        case = read_case(files)
        # The images have the channels that a network sees already.
        predicted = yield from _under(progress, segmenter.predict(replace(case.image, modality=info.modalities[0])))
        found.append(measured(predicted.mask > 0, case, *scales))
    return found


def measured(mask: NDArray[np.bool_], case: Case, *scales: Mapping[str, Any]) -> Figures:
    """Return how well a mask does on a guard; edges that the annotator took over from a model do not count.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        What a model found.
    case : Case
        The guard.
    *scales : mapping
        Working scales of all models that are compared, at least one: half a pixel of what the coarsest sees is as near
        to an edge as it can be, and is forgiven all of them.
    """
    mask, truth = mask & case.inside, case.vessels & case.inside
    wrong = float(abs(betti_numbers(mask)[0] - betti_numbers(truth)[0]))
    if case.weights is not None:
        diameter = field_diameter(case.image.shape, case.image.fov)
        reach = max(1, round(0.5 * diameter / min(working_diameter(scale, diameter) for scale in scales)))
        mask = GivenEdges.of(truth, case.weights * case.inside, reach).settle(mask)
    return Figures(dice_coefficient(mask, truth), cl_dice(mask, truth), wrong)


def _under(progress: Progress, job: Job[Segmentation]) -> Job[Segmentation]:
    """Run a job as part of another."""
    try:
        while True:
            next(job)
            yield progress
    except StopIteration as stop:
        result: Segmentation = stop.value
        return result
    finally:
        job.close()


def _inherit(folder: Path, start: ModelInfo, record: Mapping[str, Any]) -> None:
    """Write into the model's configuration what it has from the one it began with, and what else it is for."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    licence = f"{start.licence.removesuffix(_OWN_TERMS)}{_OWN_TERMS}"[:2000]
    # No training is for images of no known kind, but what learnt from them is.
    others = [Modality.OTHER.value] if record.get("other") else []
    inherited = {
        "licence": licence,
        "modalities": [*config["modalities"], *others],
        "settings": {**config["settings"], KNOWS: record["base"]["modality"]},
    }
    write_json(path, {**config, **inherited})
