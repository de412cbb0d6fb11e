"""How much of the true vessels pre-training hides: guided by vesselness maps, against at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from common import cached, images_key, interval, markdown_table, spread

from napari_vessel.jobs import run_job
from napari_vessel.networks.vit import WINDOW
from napari_vessel.segmentation.preparation import normalise, resample, resample_fov
from napari_vessel.training.augmentation import ONE_LEVEL, Level, draw_target, random_crop
from napari_vessel.training.cases import CaseFiles, read_case
from napari_vessel.training.datasets import DATA_SETS
from napari_vessel.training.pretraining.images import UnlabelledFile, load_images
from napari_vessel.training.pretraining.masking import draw_hidden, guided_share, patch_distribution
from napari_vessel.training.pretraining.settings import WORKING_DIAMETER, PreTrain
from napari_vessel.training.pretraining.vesselness import vessel_map
from napari_vessel.training.recipe import NetworkRecipe

FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of a run at which is looked."""

PATCH = 16
LEAST_VESSEL = 0.1
"""Share of a patch that is vessel, from which on it counts as one with vessel."""

ROOMS = ("images", "segmentation", "training/pretraining")


def measure(key: str, cases: Sequence[CaseFiles], crops: int) -> dict[str, Any]:
    """Return a row for each image of a set, and the settings."""
    rows = cached(
        f"pretrain-masking-{key}",
        [images_key(cases), crops, FRACTIONS],
        lambda: [measure_image(files, crops, number) for number, files in enumerate(cases)],
        rooms=ROOMS,
    )
    return {"images": rows, "crops": crops}


def measure_image(files: CaseFiles, crops: int, seed: int) -> dict[str, Any]:
    """Return what of one image's true vessels is hidden, over random crops of it."""
    kind = DATA_SETS[files.data_set].modality
    colour = 3 if kind == "fundus" else 1
    settings = PreTrain(kind, NetworkRecipe("vit_unet", in_channels=colour, working_diameter=WORKING_DIAMETER[kind]))
    found = run_job(load_images([UnlabelledFile(files.name, files.image, None, files.fov)], settings, PATCH))
    size = min(found.size, WINDOW * PATCH)
    level, facts = with_truth(found.levels[0][0], files)
    rng = np.random.default_rng(seed)
    figures: dict[str, list[float]] = {}
    for _ in range(crops):
        _, target = random_crop([level], size, rng, settings.crops(size).augmentation, level_sizes=ONE_LEVEL)
        known, truth = target[0], target[1] >= 0.5
        if not truth.any():
            continue
        shares = patch_distribution(known, PATCH)
        amount = patch_distribution(truth, PATCH)
        vessel = amount * truth.sum() >= LEAST_VESSEL * PATCH**2
        for name, at in (("random", None), *((f"{fraction:g}", fraction) for fraction in FRACTIONS)):
            hidden = draw_hidden(shares, 0.0 if at is None else guided_share(at), rng)
            figures.setdefault(f"pixels {name}", []).append(float(amount[hidden].sum()))
            if vessel.any():
                figures.setdefault(f"patches {name}", []).append(float(hidden[vessel].mean()))
    means = {name: round(float(np.mean(values)), 5) for name, values in figures.items()}
    return {"image": files.stem, **facts, **means}


def with_truth(level: Level, files: CaseFiles) -> tuple[Level, dict[str, float]]:
    """Put the true vessels beside the vesselness map; return precision and recall of that map and of its first tree."""
    case = read_case(files)
    shape = (level.target.shape[0], level.target.shape[1])
    truth = draw_target(case.vessels, case.image.fov, shape)[..., 0] >= 0.5
    inside = resample_fov(case.image.fov, shape)
    truth = truth if inside is None else truth & inside
    channel = normalise(resample(case.image.vessel_channel(), shape), inside)[..., 0]
    first = vessel_map(channel, inside, case.image.modality, smallest_tree=np.inf)
    facts = {}
    for name, found in (("", level.target[..., 0] > 0), ("first_", first)):
        both = float((found & truth).sum())
        facts[f"{name}precision"] = round(both / max(float(found.sum()), 1.0), 5)
        facts[f"{name}recall"] = round(both / max(float(truth.sum()), 1.0), 5)
    target = level.target.copy()
    target[..., 1] = truth * np.uint8(255)
    return replace(level, target=target), facts


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return a line for each set and figure: what is hidden over a run."""
    header = ["set", "images", "hidden", "at random"]
    header += [f"guided, {fraction:.0%} of the run" for fraction in FRACTIONS]
    lines: list[list[object]] = []
    for key, found in results.items():
        rows = found["images"]
        for what in ("patches", "pixels"):
            names = [f"{what} random", *(f"{what} {fraction:g}" for fraction in FRACTIONS)]
            columns = [[row[name] for row in rows if name in row] for name in names]
            cells = [spread(float(np.mean(values)), *interval(values)) for values in columns]
            words = "patches with vessel" if what == "patches" else "vessel pixels"
            lines.append([DATA_SETS[key].title, len(rows), words, *cells])
    return markdown_table(header, lines)


def maps_table(results: dict[str, dict[str, Any]]) -> str:
    """Return a line for each set: how much of the vesselness map is vessel, and how much of the vessels it holds."""
    lines: list[list[object]] = []
    for key, found in results.items():
        names = ("precision", "recall", "first_precision", "first_recall")
        columns = [[row[name] for row in found["images"]] for name in names]
        cells = [spread(float(np.mean(values)), *interval(values)) for values in columns]
        lines.append([DATA_SETS[key].title, len(found["images"]), *cells])
    header = ["set", "images", "precision", "recall", "first tree alone: precision", "recall"]
    return markdown_table(header, lines)
