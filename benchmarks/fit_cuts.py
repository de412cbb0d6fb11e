"""Fit the audit of false bridges and write ``napari_vessel/completion/cuts.json``.

    python benchmarks/fit_cuts.py --chase-db1 DIR --hrf DIR [--predictor FOLDER] [--check DRIVE-DIR] \
        [--cuts napari_vessel/completion/cuts.json] -o benchmarks/results/fit-cuts.json

Training and validation images only, never test images. False bridges are planted between neighbouring vessels of true
masks, of masks predicted by a model that never saw the set, and of drawn capillary networks; every other connection is
a vessel, in predicted masks where an observer drew it. What was learnt is checked on images left out, and with
``--check`` on the training images of DRIVE, of which nothing is learnt.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    PREDICTING,
    cached,
    code_hash,
    decimal,
    markdown_table,
    public_command,
    report_header,
    write_report,
)
from contenders import own_model
from cut_meshes import mesh_rows
from cut_rows import Rows, check_rows, collect
from gap_fitting import calibration_error, fitted
from gap_statistics import Figure, auc, pooled, precision_at_recall, recall_at_precision
from numpy.typing import NDArray

from napari_vessel.completion.scoring import Additive, chance
from napari_vessel.images.writing import write_json
from napari_vessel.training.cases import find_cases

SETS = ("chase_db1", "hrf")
FOLDS = 5
KNOTS = 12
MESHES = 12
MESH_WEIGHT = 0.1
"""Of a connection of a drawn capillary network, beside one of a photograph."""

FINDING = ("candidates", "connections", "evidence", "paths", "reads", "search")
"""Modules of the finder that decide what there is to learn from."""

SCRIPTS = ("cut_meshes", "cut_rows", "gap_image", "gap_planting")

SHAPE = (
    *("length", "reach", "slender", "width", "width_other", "neck", "hosts", "thin"),
    *("slant", "slant_other", "bend", "bend_other", "onward", "onward_other", "parallel", "arms", "winding"),
    *("loop", "size", "way_round"),
)
IMAGE = (
    *("ridge", "ridge_dip", "contrast", "contrast_side", "contrast_worst", "contrast_best", "clear"),
    *("level", "level_worst", "dark", "dark_tee"),
)
MAP = ("likely", "likely_least", "likely_dip")
NAMES = {"": SHAPE, "image": (*SHAPE, *IMAGE), "map": (*SHAPE, *MAP), "image+map": (*SHAPE, *IMAGE, *MAP)}
RISES = frozenset(["ridge_dip", "likely_dip", "dark", "dark_tee"])
FALLS = frozenset(
    [
        *("slant", "slant_other", "bend", "bend_other", "onward", "onward_other", "winding"),
        *("ridge", "contrast", "contrast_side", "contrast_worst", "contrast_best", "clear", "level"),
        *("level_worst", "likely", "likely_least"),
    ]
)

PROTOCOL = (
    "Eight bridges planted in a mask, 3 to 15 px of DRIVE long, as wide as the thinner of the two vessels; the image "
    "is left as it is. True masks: every other connection between two vessels is right. Predicted masks: one is right "
    "when half of it lies within 2 px of either observer's vessels, and a natural false bridge when it lies between "
    "vessels of two observers and neither drew a fifth of it. Meshes: drawn capillary networks, which have no image; "
    "they are there to be left alone. All figures by models that learnt from other images (five folds by image). "
    "Intervals: 95 %, by drawing whole images. ECE: expected calibration error over ten bins."
)


def learn(images: Sequence[dict[str, Rows]], looked_at: str) -> Additive:
    """Fit the model on the rows of some images."""
    rows = [
        (row, MESH_WEIGHT if name == "mesh" else 1.0)
        for image in images
        for name, part in image.items()
        for row in part
    ]
    return fitted(
        [row["seen"] for row, _ in rows],
        np.asarray([row["false"] for row, _ in rows]),
        np.asarray([weight for _, weight in rows]),
        NAMES[looked_at],
        RISES,
        FALLS,
        balanced=True,
        count=KNOTS,
    )


def applied(model: Additive, rows: Rows) -> NDArray[np.float64]:
    """Return (chance, false) of each row."""
    return np.asarray([(chance(model.logit(row["seen"])), row["false"]) for row in rows], np.float64).reshape(-1, 2)


def held_out(images: Sequence[dict[str, Rows]], looked_at: str) -> dict[str, list[NDArray[np.float64]]]:
    """Return (chance, false) of the rows of each image, by models that learnt from others."""
    fold = np.random.default_rng(0).permutation(len(images)) % FOLDS
    found: dict[str, list[NDArray[np.float64]]] = {"truth": [], "predicted": [], "mesh": []}
    for number in range(FOLDS):
        model = learn([image for image, f in zip(images, fold, strict=True) if f != number], looked_at)
        for image, f in zip(images, fold, strict=True):
            if f == number:
                for name, rows in image.items():
                    found[name].append(applied(model, rows))
    return found


def figures_of(tables: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """Return how well false bridges are told, with intervals over images."""
    everything = np.concatenate(list(tables))
    measured: dict[str, Callable[[NDArray[np.float64]], float]] = {
        "auc": auc,
        "precision_at_recall_80": precision_at_recall(0.8),
        "recall_at_precision_90": recall_at_precision(0.9),
        "precision": lambda rows: float(rows[rows[:, 0] >= 0.5, 1].mean()),
        "recall": lambda rows: float((rows[rows[:, 1] > 0, 0] >= 0.5).mean()),
    }
    return {
        "rows": len(everything),
        "false": int(everything[:, 1].sum()),
        **{name: pooled(tables, statistic) for name, statistic in measured.items()},
        "ece": round(calibration_error(everything[:, 0], everything[:, 1] > 0), 4),
    }


def main() -> None:
    """Collect, fit, check, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SETS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, help=f"folder of {name}")
    parser.add_argument("--check", type=Path, help="folder of DRIVE, whose training images check what was learnt")
    parser.add_argument("--predictor", type=Path, default=Path("runs/drive/drive-small"), help="folder of a model")
    parser.add_argument("--cuts", type=Path, help="where to write the fitted models")
    parser.add_argument("--only", type=int, help="this many images of each set, for a try")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the report, JSON; a table is written beside it")
    options = parser.parse_args()
    own = own_model(str(options.predictor))
    code = code_hash([f"completion/{name}" for name in FINDING], SCRIPTS)
    images, learnt = [], {}
    for key in SETS:
        folder = getattr(options, key)
        if folder is None:
            continue
        if key in own.trained_on:
            parser.error(f"{own.name} was trained on {key}; give another predictor")
        cases = [one for split in ("training", "validation") for one in find_cases(key, folder, split)][: options.only]
        for files in cases:
            rows = cached(
                f"cuts-{key}-{files.stem}",
                [own.key(), code],
                lambda files=files: collect(files, options.predictor),
                rooms=PREDICTING,
            )
            images.append(rows)
            print(f"{key}/{files.stem}: {sum(len(part) for part in rows.values())} connections", flush=True)
        learnt[key] = len(cases)
    images += [
        {"mesh": cached(f"cuts-mesh-{number}", code, lambda number=number: mesh_rows(number), rooms=("topology",))}
        for number in range(MESHES)
    ]
    learnt["drawn capillary networks"] = MESHES
    checks = []
    for files in [] if options.check is None else find_cases("drive", options.check, "training")[: options.only]:
        checks.append(
            cached(f"cuts-check-{files.stem}", code, lambda files=files: check_rows(files), rooms=("topology",))
        )
    models = {looked_at: learn(images, looked_at) for looked_at in NAMES}
    figures: dict[str, dict[str, Any]] = {}
    for looked_at, model in models.items():
        by = {name: figures_of(tables) for name, tables in held_out(images, looked_at).items()}
        if checks and "map" not in looked_at:
            by["DRIVE, training images"] = figures_of([applied(model, image["truth"]) for image in checks])
        figures[looked_at or "mask only"] = by
    if options.cuts:
        write_json(
            options.cuts, {"learnt_from": learnt, "cut": {name: model.to_json() for name, model in models.items()}}
        )
    cells = ("auc", "precision_at_recall_80", "recall_at_precision_90", "precision", "recall")
    table = [
        [looked_at, name, entry["rows"], entry["false"], *(str(entry[cell]) for cell in cells), decimal(entry["ece"])]
        for looked_at, by in figures.items()
        for name, entry in by.items()
    ]
    header = ["looked at", "masks", "connections", "false", "AUC", "precision at recall .8", "recall at precision .9"]
    header += ["precision from .5 on", "recall from .5 on", "ECE"]
    report = {
        **report_header(public_command(parser, options), PROTOCOL),
        "learnt_from": learnt,
        "held_out": {
            looked_at: {
                name: {k: v.to_json() if isinstance(v, Figure) else v for k, v in entry.items()}
                for name, entry in by.items()
            }
            for looked_at, by in figures.items()
        },
    }
    write_report(options.out, "Cuts", report, markdown_table(header, table))
    print(markdown_table(header, table))


if __name__ == "__main__":
    main()
