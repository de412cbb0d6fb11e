"""How long the Betti matching error takes, and how far other orders of equal pixels would move it.

    python benchmarks/betti_matching.py --drive DIR [--model NAME|FOLDER]

Between a model's prediction and the first observer's vessels on every test image, and between the second observer's
and the first's. The published matching of loops in two masks comes down to an order of the union's holes
(docs/metrics.md); orders are drawn at random here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

import cv2
import numpy as np
from common import RESULTS, markdown_table, public_command, report_header, write_report
from contenders import own_model
from numpy.typing import NDArray

from napari_vessel.topology.components import label_holes
from napari_vessel.topology.metrics import betti_matching_error, betti_numbers
from napari_vessel.topology.metrics.matching import holes_in_both
from napari_vessel.training.cases import find_cases, read_case

Mask = NDArray[np.bool_]

ERRORS = ("betti0_error", "betti1_error", "betti_matching0", "betti_matching1")
ORDERS = 100
REPEATS = 5
PROTOCOL = (
    "DRIVE test images, inside the field of view, at their own resolution; means over images. Time: both errors of two "
    f"masks in memory, median of {REPEATS} after a warm-up; ratio to one cv2.connectedComponents of the first "
    "observer's mask; the slowest image in brackets. Any order: the lowest and the highest error of loops over "
    f"{ORDERS} random orders of equal pixels, each a mean over images."
)


def seconds(work: Callable[[], object]) -> float:
    """Return the median time of some work after a warm-up."""
    work()
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return median(taken)


def loops_in_orders(mask: Mask, truth: Mask, rng: np.random.Generator) -> list[int]:
    """Return the error of loops in random orders: a hole of the union makes a pair if it is the last in both its holes.

    Its holes are those of either mask that it lies in; one that lies outside every loop of one makes none.
    """
    ours, theirs = label_holes(mask), label_holes(truth)
    inside = holes_in_both(ours, theirs, label_holes(mask | truth))
    loops = betti_numbers(mask)[1] + betti_numbers(truth)[1]
    errors = []
    for _ in range(ORDERS):
        order = rng.permutation(inside.shape[1])
        last = [np.zeros(int(labels.max()) + 1, np.intp) for labels in (ours, theirs)]
        for side in (0, 1):
            np.maximum.at(last[side], inside[side], order)
        pairs = (inside > 0).all(axis=0) & (last[0][inside[0]] == order) & (last[1][inside[1]] == order)
        errors.append(loops - 2 * int(pairs.sum()))
    return errors


def measure(mask: Mask, truth: Mask, rng: np.random.Generator) -> dict[str, Any]:
    """Return times and errors of one pair of masks."""
    matching, loops = betti_matching_error(mask, truth), loops_in_orders(mask, truth, rng)
    numbers = np.abs(np.subtract(betti_numbers(mask), betti_numbers(truth)))
    whole = seconds(lambda: betti_matching_error(mask, truth))
    relabel = seconds(lambda: cv2.connectedComponents(truth.view(np.uint8), connectivity=8))
    return {
        "betti0_error": int(numbers[0]),
        "betti1_error": int(numbers[1]),
        "betti_matching0": matching[0],
        "betti_matching1": matching[1],
        "loops_any_order": [min(loops), max(loops)],
        "seconds": round(whole, 5),
        "ratio": round(whole / relabel, 2),
    }


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the results as Markdown."""
    rows = []
    for who, found in results.items():
        low, high = (mean(one["loops_any_order"][n] for one in found) for n in (0, 1))
        errors = [f"{mean(one[name] for one in found):.1f}" for name in ERRORS]
        times = [
            f"{mean(one[name] for one in found):.{digits}f} ({max(one[name] for one in found):.{digits}f})"
            for name, digits in (("seconds", 4), ("ratio", 1))
        ]
        rows.append([who, len(found), *errors, f"{low:.1f} to {high:.1f}", *times])
    header = ["against the first observer", "images", "b0 err", "b1 err", "Betti matching 0", "Betti matching 1"]
    return markdown_table([*header, "loops, any order", "s / image", "ratio to relabelling"], rows)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drive", type=Path, metavar="DIR", required=True)
    parser.add_argument("--model", default="fundus-small", help="name or folder of the model that predicts")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "betti_matching.json")
    options = parser.parse_args()
    model, rng = own_model(options.model), np.random.default_rng(0)
    results: dict[str, list[dict[str, Any]]] = {}
    for files in find_cases("drive", options.drive, "test"):
        case = read_case(files, allow_test=True)
        fov = np.ones(case.vessels.shape, np.bool_) if case.image.fov is None else case.image.fov
        masks = {model.name: model.predict(case)[1][model.name], "second observer": case.second}
        for who, mask in masks.items():
            if mask is not None:
                found = measure(mask & fov, case.vessels & fov, rng)
                results.setdefault(who, []).append({"image": files.stem, **found})
    report = report_header(public_command(parser, options), PROTOCOL)
    report |= {"model": model.key(), "results": results}
    body = table(results)
    write_report(options.out, "Betti matching error", report, body)
    print(body)


if __name__ == "__main__":
    main()
