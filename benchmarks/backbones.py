"""What MaskVSC adds to each network, on DRIVE, with how large and how fast the networks are.

    python benchmarks/backbones.py --drive DIR [--networks NAMES] [--seeds 0,1,2] [--steps N] [--device cuda]

Each network is trained by the recipes ``drive-small-NAME`` and ``drive-small-NAME-maskvsc`` that come with the package,
with the same steps, crops and seeds; threshold and smallest component are chosen on DRIVE's validation images, and the
test half is read once at the end. Runs are kept in runs/backbones/ and go on where they were stopped; finished ones are
not trained again. ``--networks`` says what is trained now: the table has every network and seed that is finished.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ablation import measure, train_recipe
from common import (
    DRAWS,
    RESULTS,
    cached,
    decimal,
    images_key,
    known,
    markdown_table,
    public_command,
    report_header,
    spread,
    write_report,
)
from contenders import FIGURES, own_model
from numpy.typing import NDArray
from speed import SHAPE, span

from napari_vessel.jobs import run_job
from napari_vessel.networks import SEGMENTERS, build_network
from napari_vessel.networks.folding import fold
from napari_vessel.segmentation.devices import choose_precision
from napari_vessel.segmentation.running import LARGEST_TILE, OVERLAP, make_forward
from napari_vessel.segmentation.tiles import predict_tiled
from napari_vessel.training.cases import find_cases
from napari_vessel.training.recipe import Recipe
from napari_vessel.training.recipe_reading import read_recipe, shipped_recipes

RUNS = Path(__file__).parents[1] / "runs" / "backbones"
ARMS = {"base": "", "+ MaskVSC": "-maskvsc"}
"""The arms, and how the names of their recipes end."""

SHOWN = ("dice", "cldice", "betti0_error")
ROUNDS = 5
SEEDS = range(10)
FIRST = "unet"
"""The network whose time is 1."""

PROTOCOL = (
    "DRIVE, training half without its validation images; every network in its reduced width, from random weights, with "
    "the same crops, augmentation and schedule. Base: cross-entropy and Dice; + MaskVSC: its first stage, corrected, "
    "which is TopoMask, and soft clDice too. Weights, threshold and smallest component are chosen on the validation "
    "images, on which the first Dice is measured, at the threshold chosen; the rest on the test half inside the field "
    "of view, at the images' resolution, once. Means over seeds and images; in brackets 95 % intervals from drawing "
    "both images and seeds with replacement, the seeds of the two arms apart; a single seed is not drawn. Time: the "
    f"network alone on one image of {SHAPE[0]} x {SHAPE[1]} px on the processor, with random weights, in turn with "
    "the U-Net; median of the ratios of the rounds, least and most; the processor's bfloat16 decides."
)


def name_of(network: str, arm: str) -> str:
    """Return the name of a recipe."""
    return f"drive-small-{network.replace('_', '-')}{ARMS[arm]}"


NETWORKS = tuple(name for name in SEGMENTERS if name_of(name, "base") in shipped_recipes())


def recipe_of(network: str, arm: str, steps: int | None = None, seed: int = 0) -> Recipe:
    """Return the recipe of one training; `steps` None leaves the recipe's own."""
    recipe = read_recipe(name_of(network, arm))
    schedule = recipe.schedule
    if steps is not None:
        schedule = replace(schedule, steps=steps, validate_every=max(steps // 25, 1))
    return replace(recipe, name=f"{recipe.name}-{seed}", seed=seed, schedule=schedule)


def finished(runs: Path, network: str, arm: str, seed: int) -> Path | None:
    """Return the folder of a model that is trained to its end, with its threshold chosen."""
    name = f"{name_of(network, arm)}-{seed}"
    # Written last.
    return runs / name / name if (runs / name / "validation.json").is_file() else None


def validation_dice(folder: Path) -> float:
    """Return the Dice on the validation images at the threshold that was chosen there."""
    chosen = json.loads((folder.parent / "validation.json").read_text(encoding="utf-8"))
    return float(chosen["dice_and_cldice_by_threshold"][str(chosen["threshold"])][0])


def drawn(values: NDArray[np.float64], images: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the means of draws of seeds, and of the images given.

    Parameters
    ----------
    values : ndarray of float64, shape (seeds, images)
        A figure of every test image.
    images : ndarray of int64, shape (draws, images)
        Which images each draw has.
    rng : numpy.random.Generator
        Draws the seeds.
    """
    seeds = rng.integers(len(values), size=(len(images), len(values)))
    means: NDArray[np.float64] = values[seeds[:, :, None], images[:, None, :]].mean(axis=(1, 2))
    return means


def bounds(means: NDArray[np.float64], images: int) -> dict[str, float | None]:
    """Return the 95 % interval of drawn means; a single image has none."""
    low, high = np.percentile(means, [2.5, 97.5]) if images > 1 else (np.nan, np.nan)
    return {"low": known(low), "high": known(high)}


def compare(arms: dict[str, list[list[dict[str, Any]]]]) -> dict[str, Any]:
    """Return every figure of each arm, and what the second has more than the first, with intervals.

    Parameters
    ----------
    arms : dict
        For each arm and seed a row for each test image.
    """
    found: dict[str, Any] = {arm: {} for arm in arms}
    for figure in SHOWN:
        means = {}
        for arm, seeds in arms.items():
            values = np.array([[row[figure] for row in rows] for rows in seeds], np.float64)
            rng = np.random.default_rng(0)
            # The same images for both arms: the difference is paired.
            images = rng.integers(values.shape[1], size=(DRAWS, values.shape[1]))
            means[arm] = drawn(values, images, np.random.default_rng(len(means) + 1))
            found[arm][figure] = {
                "mean": float(values.mean()),
                **bounds(means[arm], values.shape[1]),
                "by_seed": [round(float(v), 4) for v in values.mean(axis=1)],
            }
        if len(means) == len(ARMS):
            ours, theirs = means["+ MaskVSC"], means["base"]
            found.setdefault("difference", {})[figure] = {
                "mean": found["+ MaskVSC"][figure]["mean"] - found["base"][figure]["mean"],
                **bounds(ours - theirs, values.shape[1]),
            }
    return found


def sizes_and_times(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return width, parameters and time of every network; the ratio is to the U-Net's in the same round."""
    image = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)
    found, work = {}, {}
    for name in names:
        recipe = recipe_of(name, "base")
        network = build_network(**recipe.network.settings).eval()
        weights = sum(weight.numel() for weight in network.parameters())
        found[name] = {"channels": list(recipe.network.channels), "parameters": weights}
        work[name] = predictor(network)
    rounds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS + 1):
        for name, predict in work.items():
            start = time.perf_counter()
            predict(image)
            # The first round is a warm-up.
            if number:
                rounds[name].append(time.perf_counter() - start)
    for name, seconds in rounds.items():
        ratios = [own / first for own, first in zip(seconds, rounds[FIRST], strict=True)]
        found[name] |= {"seconds": span(seconds), "ratio": span(ratios)}
    return found


def predictor(network: Any) -> Callable[[NDArray[np.float32]], object]:
    """Return what predicts an image as a model of this network would, on the processor."""
    import torch

    ready = fold(network).to(memory_format=torch.channels_last)
    forward = make_forward(ready, "cpu", choose_precision("cpu"))
    tiles = {"stride": ready.stride, "overlap": OVERLAP, "largest": LARGEST_TILE["cpu"], "batch": 1}
    return lambda image: run_job(predict_tiled(image, forward, **tiles))


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown: a row for each arm of each network, and one for their difference."""
    rows: list[list[object]] = []
    for name, entry in results.items():
        ratio = spread(*(entry["ratio"][one] for one in ("median", "least", "most")), 2)
        about = [name, entry["channels"], f"{entry['parameters']:,}", ratio]
        for arm in ARMS:
            figures = entry["arms"].get(arm)
            if figures is None:
                rows.append([*about, arm, "not trained", *[""] * (1 + len(SHOWN))])
            else:
                validation = decimal(float(np.mean(figures["validation_dice"])))
                rows.append([*about, arm, len(figures["seeds"]), validation, *cells(figures)])
            about = [""] * len(about)
        if "difference" in entry["arms"]:
            rows.append([*about, "difference", "", "", *cells(entry["arms"]["difference"])])
    header = ["network", "channels", "parameters", "time beside the U-Net", "arm", "seeds", "validation Dice"]
    return markdown_table([*header, *(FIGURES[figure][0] for figure in SHOWN)], rows)


def cells(figures: dict[str, Any]) -> list[str]:
    """Return a cell for each figure."""
    return [spread(figures[f]["mean"], figures[f]["low"], figures[f]["high"], FIGURES[f][1]) for f in SHOWN]


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drive", type=Path, metavar="DIR", required=True, help="DRIVE in its owner's layout")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="to train now, separated by commas, or none")
    parser.add_argument("--seeds", default="0,1,2", help="to train now, separated by commas")
    parser.add_argument("--steps", type=int, default=5000, help="of every training")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "backbones.json")
    return parser


def report(options: argparse.Namespace, command: str, about: dict[str, dict[str, Any]]) -> str:
    """Score what is finished, write the report, and return its table."""
    files = find_cases("drive", options.drive, "test")
    runs = RUNS / str(options.steps)
    results: dict[str, Any] = {}
    for name, entry in about.items():
        arms: dict[str, list[list[dict[str, Any]]]] = {}
        told: dict[str, dict[str, list[Any]]] = {}
        for arm in ARMS:
            for seed in SEEDS:
                folder = finished(runs, name, arm, seed)
                if folder is None:
                    continue
                made_from = {"model": own_model(str(folder)).key(), "images": images_key(files)}
                part = f"backbones-{options.steps}-{folder.name}"
                arms.setdefault(arm, []).append(cached(part, made_from, lambda f=folder: measure(f, files)))
                one = told.setdefault(arm, {"seeds": [], "validation_dice": []})
                one["seeds"].append(seed)
                one["validation_dice"].append(validation_dice(folder))
        compared = compare(arms)
        results[name] = {**entry, "arms": {arm: told.get(arm, {}) | figures for arm, figures in compared.items()}}
    body = f"{options.steps:,} steps each.\n\n{table(results)}"
    made = report_header(command, PROTOCOL) | {"steps": options.steps, "results": results}
    write_report(options.out, "What MaskVSC adds to each network on DRIVE", made, body)
    return body


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    names = [] if options.networks == "none" else options.networks.split(",")
    if unknown := [name for name in names if name not in NETWORKS]:
        parser.error(f"there is no network '{unknown[0]}'; choose from {', '.join(NETWORKS)}")
    seeds = [int(text) for text in options.seeds.split(",")]
    if strange := [seed for seed in seeds if seed not in SEEDS]:
        parser.error(f"{strange[0]} is no seed; choose from {SEEDS[0]} to {SEEDS[-1]}")
    command = public_command(parser, options)
    about = sizes_and_times(NETWORKS)
    body = report(options, command, about)
    for seed in seeds:
        for name in names:
            for arm in ARMS:
                runs = RUNS / str(options.steps)
                if finished(runs, name, arm, seed) is None:
                    recipe = recipe_of(name, arm, options.steps, seed)
                    train_recipe(recipe, options.drive, runs, options.device)
                    # After every training: what is finished shows, whatever happens to the rest.
                    body = report(options, command, about)
    print(body)


if __name__ == "__main__":
    main()
