"""What the gate makes of good and of spoilt corrections, and how long it takes to come to a decision."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from common import decimal, images_key, markdown_table
from contenders import model_key
from finetune_runs import (
    MODEL,
    NO_REHEARSAL,
    RUNS,
    TUNED,
    Budget,
    code,
    corrected,
    kept,
    parted,
    sample_of,
    trained,
)

from napari_vessel.completion import find_gaps
from napari_vessel.images.image import Modality
from napari_vessel.jobs import Job, run_job
from napari_vessel.review.guard import drawn
from napari_vessel.review.origins import Origin, judged_pixels
from napari_vessel.review.training_sample import TrainingSample
from napari_vessel.segmentation.registry import ModelInfo
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.training.cases import CaseFiles
from napari_vessel.training.finetuning.preparing import prepare_finetune
from napari_vessel.training.finetuning.running import finetune
from napari_vessel.training.finetuning.settings import STEPS, FineTune
from napari_vessel.training.recipe import Recipe

GUARDS = 5
"""Of the ten images of a draw; the others are learnt from."""

HIGH_RATE = 3e-3

CASES = {
    "real": ("the owner's masks", True),
    "shuffled": ("each image with the mask of the next", False),
    "inverted": ("vessels and background exchanged", False),
    "rejected": ("the model's own mask, every proposed gap rejected", False),
    "inverted-guards": ("vessels and background exchanged, on the guards too", False),
    "forgetting": (f"the owner's masks, no rehearsal, ten times the learning rate ({HIGH_RATE:g})", False),
}
"""What is learnt from in each, and whether the new model should take over."""

PROTOCOL = (
    "*Gate*: of the ten images that draw 0 sets aside, five are guards, the same in every case, and five are learnt "
    "from; but for one case the guards are the owner's masks. The decision is the product's, on the guards and on its "
    "own synthetic images of the base domain."
)

SHAPE = (584, 565)
SHOTS = 5
GOAL_SECONDS = 600

TIME_PROTOCOL = (
    "*Time*: five synthetic photographs of 584 x 565, corrected, of which a project's own rule makes one a guard, the "
    "package's own number of images to rehearse, nothing made before; from the samples to the decision, "
    "in one process. Processor seconds are those of all its threads together: on one core that is idle the wall clock "
    "shows no less, on two it may show fewer."
)


def spoilt(case: str, samples: Sequence[TrainingSample], start: ModelInfo, device: str) -> list[TrainingSample]:
    """Return the images of a case: the first `GUARDS` are guards, the others are learnt from."""
    guards = [replace(sample, guard=True) for sample in samples[:GUARDS]]
    learnt = [replace(sample, guard=False) for sample in samples[GUARDS:]]
    if case == "shuffled":
        turned = [*learnt[1:], learnt[0]]
        learnt = [_relabelled(one, other.vessels) for one, other in zip(learnt, turned, strict=True)]
    elif case.startswith("inverted"):
        learnt = [_relabelled(one, ~one.vessels) for one in learnt]
        if case == "inverted-guards":
            guards = [_relabelled(one, ~one.vessels) for one in guards]
    elif case == "rejected":
        segmenter = Segmenter(start, device)
        learnt = [_all_rejected(one, segmenter) for one in learnt]
    return [*guards, *learnt]


def _relabelled(sample: TrainingSample, vessels: np.ndarray) -> TrainingSample:
    origin = np.full(vessels.shape, Origin.BRUSH, np.uint8)
    return sample_of(sample.name, sample.image, vessels, origin, sample.patient, sample.guard, sample.model)


def _all_rejected(sample: TrainingSample, segmenter: Segmenter) -> TrainingSample:
    found = run_job(segmenter.predict(sample.image))
    labels = (found.mask > 0).astype(np.uint8)
    origin = np.full(labels.shape, Origin.MODEL, np.uint8)
    for gap in run_job(find_gaps(labels > 0, sample.image, found.probability)):
        (y0, x0, y1, x1), where = judged_pixels(gap, labels)
        origin[y0:y1, x0:x1][where] = Origin.REJECTED
    return sample_of(sample.name, sample.image, labels > 0, origin, sample.patient, False, sample.model)


def _hasty(recipe: Recipe) -> Recipe:
    return replace(recipe, schedule=replace(recipe.schedule, learning_rate=HIGH_RATE, look_first=False, patience=0))


def gate_case(
    case: str,
    key: str,
    cases: Sequence[CaseFiles],
    budget: Budget,
    start: ModelInfo,
    device: str,
    make: bool = True,
    fresh: bool = False,
) -> dict[str, Any] | None:
    """Return what the gate made of a case; None when it has to be made and is not to be."""
    shots, _ = parted(cases, key, 0, 1)
    name = f"gate-{case}-{key}-{budget.steps}steps-{budget.rehearsal}rehearsed"
    made_from = {"case": case, "key": key, **asdict(budget), "code": code(working=True), "start": model_key(start)}

    def perform() -> dict[str, Any]:
        samples = spoilt(case, corrected(shots, key, device, start), start, device)
        arm, change = (NO_REHEARSAL, _hasty) if case == "forgetting" else (TUNED, lambda recipe: recipe)
        made = trained(f"{name}-{code(working=True)}", samples, arm, budget, device, start, change, judged=True)
        return {"case": case, "key": key, "budget": asdict(budget), **{k: v for k, v in made.items() if k != "model"}}

    return kept(name, {**made_from, "images": images_key(shots)}, perform if make else None, fresh)


def gate_table(results: Sequence[dict[str, Any]]) -> str:
    """Return a row for each case."""
    rows: list[list[object]] = []
    for result in results:
        words, wanted = CASES[result["case"]]
        decision = result["decision"]
        found = decision["promote"]
        judged = decision["figures"]
        changes = [
            _change(judged["guards"], figure, digits)
            for figure, digits in (("dice", 3), ("cl_dice", 3), ("b0_error", 1))
        ]
        said = {True: "promoted", False: "refused", None: "left to the annotator"}[found]
        right = "" if (found is True) == wanted else " (**wrong**)"
        best = result.get("validation") or {}
        rows.append(
            [
                words,
                f"{said}{right}",
                *changes,
                _change(judged["base"], "dice", 3),
                f"{best.get('step', '')}",
                decision["sentence"],
            ]
        )
    heads = ["learnt from", "decision", "Dice", "clDice", "b0 error", "Dice on the base", "weights of step", "why"]
    return markdown_table(heads, rows)


def _change(means: dict[str, Any], figure: str, digits: int) -> str:
    if figure not in means:
        return ""
    return f"{decimal(means[figure]['old'], digits)} to {decimal(means[figure]['new'], digits)}"


# Time

_PARTS = {
    "Keeping": "keeping the samples",
    "Making images to rehearse": "making images to rehearse",
    "Reading": "reading images",
    "Training, looking": "looking at the guards while training",
    "Training": "training",
    "Judging": "judging both models by the guards",
}


class Clock:
    """Runs jobs, and adds up what each part of them took by the wall clock and by the processor's."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def run(self, job: Job[Any], part: str) -> Any:
        """Run a job to its end; `part` is what it does until it says something."""
        try:
            while True:
                wall, processor = time.perf_counter(), time.process_time()
                progress = next(job)
                self._add(part, wall, processor)
                part = next(
                    (words for known, words in _PARTS.items() if progress.message.startswith(known)),
                    "choosing threshold and smallest piece",
                )
        except StopIteration as stop:
            self._add(part, wall, processor)
            return stop.value

    def _add(self, part: str, wall: float, processor: float) -> None:
        self.seconds[part][0] += time.perf_counter() - wall
        self.seconds[part][1] += time.process_time() - processor


def time_run(budget: Budget, start: ModelInfo, device: str, make: bool = True, fresh: bool = False) -> Any:
    """Return what a run takes, by parts; None when it has to be made and is not to be."""
    name = f"time-{device}-{budget.steps}steps-{budget.rehearsal}rehearsed"

    def perform() -> dict[str, Any]:
        folder = RUNS / f"{name}-{code()}"
        # What an interrupted run had made would be missing from its time.
        shutil.rmtree(folder, ignore_errors=True)
        samples = _synthetic(start, device)
        settings = FineTune(MODEL, start.name, budget.steps, budget.rehearsal, budget.seed)
        clock = Clock()
        packed = [one.pack() for one in samples]
        clock.run(prepare_finetune(packed, settings, folder, models={start.name: start.folder}), _PARTS["Keeping"])
        result = clock.run(finetune(folder, device), _PARTS["Reading"])
        shutil.rmtree(folder)
        return {
            "budget": asdict(budget),
            "device": device,
            "steps": result["steps"],
            "decision": result["decision"]["sentence"],
            "parts": {part: [round(value, 1) for value in both] for part, both in clock.seconds.items()},
        }

    key = {**asdict(budget), "device": device, "code": code(), "start": model_key(start)}
    return kept(name, key, perform if make else None, fresh)


def _synthetic(start: ModelInfo, device: str) -> list[TrainingSample]:
    """Return five synthetic photographs as they are when they are corrected."""
    from napari_vessel.synthesis.engine import synthesize

    made = [synthesize(Modality.FUNDUS, 6_000_000 + n, shape=SHAPE) for n in range(SHOTS)]
    sides = drawn({}, {one.image.content_hash: str(n) for n, one in enumerate(made)})
    segmenter = Segmenter(start, device)
    found = []
    for number, one in enumerate(made):
        mask = run_job(segmenter.predict(one.image)).mask > 0
        origin = np.where(mask != one.truth, Origin.BRUSH, Origin.MODEL).astype(np.uint8)
        side = sides[one.image.content_hash]
        found.append(sample_of(f"photograph {number}", one.image, one.truth, origin, side.patient, side.guard, ""))
    return found


def time_table(result: dict[str, Any]) -> str:
    """Return a row for each part, and whether the goal was reached."""
    rows = [[part, decimal(wall, 0), decimal(processor, 0)] for part, (wall, processor) in result["parts"].items()]
    wall, processor = (sum(both[n] for both in result["parts"].values()) for n in (0, 1))
    rows.append(["together", decimal(wall, 0), decimal(processor, 0)])
    given = result["budget"]["steps"]
    told = f"{result['steps']} of {given} steps. "
    if given < STEPS:
        # A run may stop early; to be sure it is taken not to.
        processor += result["parts"]["training"][1] * (STEPS / result["steps"] - 1)
        wall = float("inf")
        told += f"With all of the package's {STEPS} it would be {processor:.0f} processor seconds. "
    if processor <= GOAL_SECONDS:
        within = "reached: one core alone would do it"
    else:
        within = "reached by the wall clock" if wall <= GOAL_SECONDS else "**not shown here**"
    told += f"Goal, {GOAL_SECONDS // 60} minutes on two cores: {within}."
    heads = ["part", "seconds by the wall clock", "processor seconds"]
    return f"{told}\n\n{markdown_table(heads, rows)}\n\nThe gate: {result['decision']}"
