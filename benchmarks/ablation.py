"""What each part of MaskVSC adds, on DRIVE: the same network, steps, crops and seeds, one thing changed at a time.

    python benchmarks/ablation.py --drive DIR [--steps N] [--seeds 0,1,2] [--device cuda]

Every arm is trained from random weights on DRIVE's training half by ``napari-vessel train``'s own job; threshold and
smallest component are chosen on its validation images; the test half is read once at the end. Runs are kept in
runs/ablation/ and go on where they were stopped; finished ones are not trained again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    RESULTS,
    cached,
    images_key,
    interval,
    known,
    markdown_table,
    public_command,
    report_header,
    spread,
    write_report,
)
from completion import hiding_hash, pooled_interval
from completion import measure as take_stretches
from contenders import FIGURES, own_model, score

from napari_vessel.jobs import run_job
from napari_vessel.segmentation.registry import USER_FOLDER_VARIABLE, read_model
from napari_vessel.training.cases import CaseFiles, find_cases, read_case
from napari_vessel.training.recipe import NetworkRecipe, Recipe, TopoMaskRecipe
from napari_vessel.training.recipe_reading import read_recipe
from napari_vessel.training.terms import LossTerm
from napari_vessel.training.train import train

RUNS = Path(__file__).parents[1] / "runs" / "ablation"
SHOWN = ("dice", "cldice", "betti0_error", "betti1_error", "betti_matching0", "betti_matching1", "cal")
BROKEN = ("recovered", "false")
LENGTH = 15
"""Of the stretches taken out of the test images, px."""

PLAIN = (LossTerm("cross-entropy"), LossTerm("dice"))
CENTRELINE = LossTerm("soft-cldice", weight=0.5, after=0.2)
PUBLISHED = LossTerm("connectivity")

PROTOCOL = (
    "DRIVE, training half without its validation images, `drive-small`'s network, crops and schedule with the steps "
    "given, every arm from random weights; threshold and smallest component chosen on the validation images; scored on "
    "the test half inside the field of view. Base: cross-entropy and Dice. The ViG is trained on the arm `cldice` "
    "with the same steps. Recovered, false: as in `completion.py`, 15 px taken out of vessels of the test images: the "
    "share of their pixels that is drawn all the same, and what is drawn there beside every vessel as a share of it. "
    "Means over seeds of the mean over images; in brackets 95 % intervals from drawing images "
    "with replacement, each image's figure being its mean over the seeds."
)


def masked(style: str, ratio: float) -> TopoMaskRecipe:
    """Return the masking of an arm."""
    return TopoMaskRecipe(style=style, ratio=ratio) if ratio else TopoMaskRecipe()  # type: ignore[arg-type]


ARMS: dict[str, tuple[TopoMaskRecipe, tuple[LossTerm, ...]]] = {
    "base": (masked("none", 0), PLAIN),
    "faithful-40": (masked("faithful", 0.4), PLAIN),
    "corrected-20": (masked("corrected", 0.2), PLAIN),
    "corrected-40": (masked("corrected", 0.4), PLAIN),
    "corrected-60": (masked("corrected", 0.6), PLAIN),
    "corrected-40-lc": (masked("corrected", 0.4), (*PLAIN, PUBLISHED)),
    "cldice": (masked("none", 0), (*PLAIN, CENTRELINE)),
    "corrected-40-cldice": (masked("corrected", 0.4), (*PLAIN, CENTRELINE)),
}
"""Masking and loss of every arm."""

COMPLETED = "cldice"
"""The arm that gets a completion network."""

VIG = f"{COMPLETED}-vig"


def recipe_of(arm: str, steps: int, seed: int) -> Recipe:
    """Return the recipe of one arm."""
    base = read_recipe("drive-small")
    schedule = replace(base.schedule, steps=steps, validate_every=max(steps // 5, 1))
    named = replace(base, name=f"{arm}-{seed}", title=f"Ablation, {arm}", seed=seed, schedule=schedule)
    if arm != VIG:
        masking, loss = ARMS[arm]
        return replace(named, topomask=masking, loss=loss)
    vig = read_recipe("fundus-small-vig")
    network = NetworkRecipe("vig", vig.network.channels, 3, base.network.working_diameter)
    return replace(named, segmenter=f"{COMPLETED}-{seed}", network=network, topomask=vig.topomask, loss=vig.loss)


def train_recipe(
    recipe: Recipe, drive: Path, runs: Path, device: str, models: Mapping[str, Path] | None = None
) -> Path:
    """Train on DRIVE in a folder of `runs`, unless it is trained already; return the model's folder."""
    print(f"== {recipe.name}", flush=True)
    here = replace(recipe, data=(replace(recipe.data[0], folder=drive.name),))
    return Path(run_job(train(here, drive.parent, runs / recipe.name, device, models))["model"])


def train_arm(arm: str, data: Path, steps: int, seed: int, device: str) -> Path:
    """Train one arm, unless it is trained already; return its model folder."""
    runs = RUNS / str(steps)
    recipe = recipe_of(arm, steps, seed)
    models = {recipe.segmenter: runs / recipe.segmenter / recipe.segmenter} if recipe.segmenter else {}
    return train_recipe(recipe, data, runs, device, models)


def measure(folder: Path, files: list[CaseFiles]) -> list[dict[str, Any]]:
    """Return the figures of every test image."""
    model = own_model(str(folder))
    rows = []
    for one in files:
        case = read_case(one, allow_test=True)
        probability, masks = model.predict(case)
        rows.append({"image": one.stem, **score(masks[model.name], case, probability)})
    return rows


def measure_broken(folder: Path, runs: Path, files: list[CaseFiles], device: str) -> list[dict[str, float]]:
    """Return what is drawn of every test image's vessels where stretches were taken out."""
    info = read_model(folder)
    if info.kind != "completion":
        return take_stretches(None, info, files, LENGTH, device)[info.name]
    segmenter = str(info.settings["segmenter"])
    return take_stretches(info, read_model(runs / segmenter / segmenter), files, LENGTH, device)[info.name]


def summarise(seeds: list[list[dict[str, Any]]], broken: list[list[dict[str, float]]]) -> dict[str, Any]:
    """Return each figure's mean over seeds and images, its interval over images, and the spread over seeds."""
    found: dict[str, Any] = {}
    for figure in SHOWN:
        values = np.array([[row[figure] for row in rows] for rows in seeds], float)
        low, high = interval(values.mean(axis=0))
        found[figure] = {
            "mean": float(values.mean()),
            "low": known(low),
            "high": known(high),
            "by_seed": [round(float(v), 4) for v in values.mean(axis=1)],
        }
    for figure, whole in zip(BROKEN, ("taken", "recovered"), strict=True):
        shares = [sum(row[figure] for row in rows) / max(sum(row[whole] for row in rows), 1) for rows in broken]
        low, high = pooled_interval([(row[figure], row[whole]) for rows in broken for row in rows])
        found[figure] = {
            "mean": float(np.mean(shares)),
            "low": known(low),
            "high": known(high),
            "by_seed": [round(share, 4) for share in shares],
        }
    return found


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows = []
    for arm, entry in results.items():
        cells: list[object] = [arm, len(entry["dice"]["by_seed"])]
        for figure in SHOWN:
            one = entry[figure]
            cells.append(spread(one["mean"], one["low"], one["high"], FIGURES[figure][1]))
        cells += [spread(entry[f]["mean"], entry[f]["low"], entry[f]["high"], 2) for f in BROKEN]
        rows.append(cells)
    return markdown_table(["arm", "seeds", *(FIGURES[figure][0] for figure in SHOWN), *BROKEN], rows)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drive", type=Path, metavar="DIR", required=True, help="DRIVE in its owner's layout")
    parser.add_argument("--steps", type=int, default=800, help="of every arm")
    parser.add_argument("--seeds", default="0", help="separated by commas")
    parser.add_argument("--arms", default=",".join((*ARMS, VIG)), help="separated by commas")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "ablation.json")
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    arms = options.arms.split(",")
    if unknown := [arm for arm in arms if arm not in (*ARMS, VIG)]:
        parser.error(f"there is no arm '{unknown[0]}'; choose from {', '.join((*ARMS, VIG))}")
    files = find_cases("drive", options.drive, "test")
    seeds = [int(text) for text in options.seeds.split(",")]
    results: dict[str, Any] = {}
    for arm in arms:
        rows, broken = [], []
        runs = RUNS / str(options.steps)
        for seed in seeds:
            folder = train_arm(arm, options.drive, options.steps, seed, options.device)
            # Where a completion model's segmenter is looked for by name.
            os.environ[USER_FOLDER_VARIABLE] = str(runs / f"{COMPLETED}-{seed}")
            made_from = {"model": own_model(str(folder)).key(), "images": images_key(files)}
            rows.append(cached(f"ablation-{options.steps}-{arm}-{seed}", made_from, lambda f=folder: measure(f, files)))
            broken.append(
                cached(
                    f"ablation-{options.steps}-{arm}-{seed}-broken",
                    made_from | {"script": hiding_hash()},
                    lambda f=folder, r=runs: measure_broken(f, r, files, options.device),
                )
            )
        results[arm] = summarise(rows, broken) | {
            "thresholds": [read_model(runs / f"{arm}-{s}" / f"{arm}-{s}").threshold for s in seeds]
        }
        report = report_header(public_command(parser, options), PROTOCOL) | {"results": results}
        # After every arm: what is finished shows, whatever happens to the rest.
        write_report(options.out, "What each part of MaskVSC adds on DRIVE", report, table(results))
    print(table(results))


if __name__ == "__main__":
    main()
