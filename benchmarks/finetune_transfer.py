"""A few corrected images of another kind for the fundus model, beside no rehearsal and beside random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import decimal, images_key, markdown_table
from contenders import model_key
from fewshot import TWO_PHOTON, cell
from finetune_runs import (
    ARMS,
    AS_IT_IS,
    FIGURES,
    SCRATCH,
    TUNED,
    XRAY,
    Budget,
    code,
    corrected,
    kept,
    mean_of,
    parted,
    score,
    trained,
)

from napari_vessel.segmentation.registry import ModelInfo, read_model
from napari_vessel.training.cases import CaseFiles
from napari_vessel.training.datasets import DATA_SETS

GOAL = 0.01
"""Of Dice, the most that may be lost on the base domain."""

PROTOCOL = (
    "*Transfer*: ten images of a set are drawn at random by Python's random.sample with the seed SET-DRAW, whatever "
    "their owner's split, and the first N of them are corrected; all others, or so many of them as are named, evenly "
    "spaced, are the test, the same ones for every N. Two-photon images are drawn by recording: the ten come from "
    "five of them, the test images from the others. Synthetic angiograms, to learn from and to test on, are made by "
    "the same engine with other seeds. Corrected means here: the owner's mask, and as drawn with the brush counts "
    "every pixel in which the model's mask differs from it. Of the N a project's own rule makes a fifth guards, none "
    "of one image: they choose the weights, they are not learnt from. *No rehearsal* is the same recipe without images "
    "of the base domain and without a look at them, in half the steps, which show as many of the new images. *Scratch* "
    "is a network of random weights on the same images, its working scale from their calibres, with the few-shot "
    "command's schedule, threshold and smallest piece chosen on "
    "the images that it learns from, as in the other arms. Scored inside the field of view at the images' own "
    "resolution: the mean over test images, then mean and standard deviation (n - 1) over the draws; of b0 the "
    "absolute error per image. Base domain: test images, by their owners' splits, of photographs that neither the "
    "shipped model nor its choice nor any run has seen, evenly spaced; lost is Dice of the shipped model minus that of "
    "the run."
)


@dataclass(frozen=True, slots=True)
class Run:
    """One training, or the model to begin with as it is.

    Attributes
    ----------
    key, arm : str
        Of the set, and one of ``ARMS``.
    draw, shots, tests : int
        Which ten images, how many of them, how many test images (0 for all).
    budget : Budget
        How long.
    """

    key: str
    arm: str
    draw: int
    shots: int
    tests: int
    budget: Budget

    @property
    def name(self) -> str:
        """Of its file and folder."""
        steps = self.budget.scratch_steps if self.arm == SCRATCH else self.budget.steps
        length = "" if self.arm == AS_IT_IS else f"-{self.shots}images-{steps}steps"
        if self.arm == TUNED:
            length += f"-{self.budget.rehearsal}rehearsed"
        return f"{self.key}-{self.arm}-draw{self.draw}{length}"


def planned(
    keys: Sequence[str], arms: Sequence[str], counts: Sequence[int], draws: Sequence[int], tests: int, budget: Budget
) -> list[Run]:
    """Return every run, draw by draw, so that every arm has the same draws early.

    Without rehearsal half the steps show as many of the new images.
    """
    halved = replace(budget, steps=max(1, budget.steps // 2))
    runs = []
    for draw in draws:
        for key in keys:
            for count in counts:
                for arm in arms:
                    # The model as it is has learnt from none, and is the same beside every number.
                    given = budget if arm == TUNED else halved
                    run = Run(key, arm, draw, 0 if arm == AS_IT_IS else count, tests, given)
                    if run not in runs:
                        runs.append(run)
    return runs


def find_or_make(
    run: Run,
    cases: Sequence[CaseFiles],
    bases: Sequence[CaseFiles],
    start: ModelInfo,
    device: str,
    make: bool = True,
    fresh: bool = False,
) -> dict[str, Any] | None:
    """Return a run's result; None when it has to be made and is not to be."""
    shots, rest = parted(cases, run.key, run.draw, run.tests)
    shots = shots[: run.shots]
    key = {
        **asdict(run),
        "code": code(),
        "start": model_key(start),
        "images": images_key(shots),
        "tests": images_key(rest),
        "base": images_key(bases),
    }

    def perform() -> dict[str, Any]:
        made: dict[str, Any] = {}
        info = start
        if run.arm != AS_IT_IS:
            samples = corrected(shots, run.key, device, start)
            made = trained(f"{run.name}-{code()}", samples, run.arm, run.budget, device, start)
            made["guards"] = [sample.name for sample in samples if sample.guard]
            info = read_model(Path(made.pop("model")))
        # What the weights have lost is seen where both models see photographs at one width.
        as_wide = replace(info, working_scale=start.working_scale)
        return {
            **asdict(run),
            **made,
            "learnt_from": [files.stem for files in shots],
            "images": score(info, rest, device),
            # Random weights have forgotten nothing.
            "base": [] if run.arm == SCRATCH else score(as_wide, bases, device),
        }

    return kept(run.name, key, perform if make else None, fresh)


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return a row for each set, number of images and arm."""
    known = {(r["key"], r["draw"]): r for r in results if r["arm"] == AS_IT_IS}
    rows: list[list[object]] = []
    for key in dict.fromkeys(result["key"] for result in results):
        of_set = [r for r in results if r["key"] == key]
        for count in sorted({r["shots"] for r in of_set}):
            for arm in ARMS:
                group = [r for r in of_set if (r["shots"], r["arm"]) == (count, arm)]
                if not group:
                    continue
                lost = [
                    mean_of(known[key, r["draw"]]["base"], "dice") - mean_of(r["base"], "dice")
                    for r in group
                    if (key, r["draw"]) in known and r["base"] and arm not in (AS_IT_IS, SCRATCH)
                ]
                steps = [r["steps"] for r in group if "steps" in r]
                rows.append(
                    [
                        title_of(key),
                        count or "",
                        arm.replace("-", " "),
                        len(group),
                        len(group[0]["images"]),
                        *(cell(spread_of([mean_of(r["images"], figure) for r in group])) for figure in FIGURES),
                        cell(spread_of(lost)) if lost else "",
                        decimal(float(np.mean(steps)), 0) if steps else "",
                    ]
                )
    heads = ["set", "corrected", "arm", "draws", "test images", "Dice", "clDice", "b0 error", "lost on the base, Dice"]
    return markdown_table([*heads, "steps"], rows)


def verdict(results: Sequence[dict[str, Any]]) -> str:
    """Say how much was lost on the base domain at most, and whether the goal was reached."""
    known = {(r["key"], r["draw"]): mean_of(r["base"], "dice") for r in results if r["arm"] == AS_IT_IS and r["base"]}
    lost = [
        (known[r["key"], r["draw"]] - mean_of(r["base"], "dice"), r)
        for r in results
        if r["arm"] == TUNED and r["base"] and (r["key"], r["draw"]) in known
    ]
    if not lost:
        return "The base domain was not measured."
    most, worst = max(lost, key=lambda pair: pair[0])
    reached = "reached" if most <= GOAL else "**not reached**"
    return (
        f"Goal, at most {GOAL} of Dice lost on the base domain: {reached} in the worst of {len(lost)} runs "
        f"({most:.4f}, {title_of(worst['key'])}, {worst['shots']} images, draw {worst['draw']}); "
        f"{sum(value <= GOAL for value, _ in lost)} of {len(lost)} runs within it."
    )


def spread_of(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (n - 1), the latter NaN for one value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def title_of(key: str) -> str:
    """Return a set's name for people."""
    return {TWO_PHOTON: "two-photon", XRAY: "X-ray, synthetic"}.get(key) or DATA_SETS[key].title
