"""Measurements: ours beside PVBM's on the same masks, and what completion does to them against the truth's.

    python benchmarks/measurements.py --drive DIR --chase-db1 DIR [--les-av DIR] [--pvbm DIR] \
        -o benchmarks/results/measurements.json

Beside PVBM stand training masks. Against the truth stand test images: the mask of the shipped segmenter, the same with
every proposal of a score of .5 or more drawn, and the same reviewed by somebody who knows the first observer's drawing.
The score was chosen beforehand, and nothing here on test images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from inspect import getsource
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import measurement_peer
import numpy as np
from common import (
    cached,
    code_hash,
    decimal,
    files_hash,
    images_key,
    interval,
    known,
    markdown_table,
    paired_interval,
    public_command,
    report_header,
    spread,
    write_report,
)
from contenders import OwnModel, own_model
from gap_completion import CompletionModel, completion_model
from gap_image import CUT, sample_of
from gap_judging import Judge
from gap_methods import of_gap
from gap_planting import grown
from measurement_peer import DIFFERENCES, PAIRS, PVBM, REPOSITORY
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import pearsonr, spearmanr

from napari_vessel.completion import draw_gap, find_gaps
from napari_vessel.jobs import run_job
from napari_vessel.topology import label_components
from napari_vessel.topology.measurement import FIGURES, Figure, dimension, measure
from napari_vessel.training.cases import CaseFiles, find_cases, read_case
from napari_vessel.training.datasets import DATA_SETS

SETS = ("drive", "chase_db1")
PEER_SETS = ("chase_db1", "les-av")
QUICK = 2
SCRIPTS = ("gap_completion", "gap_image", "gap_judging", "gap_methods", "gap_planting")
"""What judges the proposals."""

ROOMS = ("completion", "images", "networks", "segmentation", "topology")

SEGMENTED, COMPLETED, REVIEWED, SECOND = "segmented", "completed", "reviewed", "second observer"
SHOWN = {
    "vessel_area_density": 4,
    "skeleton_length_density": 5,
    "longest_component_length": 0,
    "components": 1,
    "ends_per_length": 5,
    "tortuosity_distance": 4,
    "tortuosity_inflection": 3,
    "tortuosity_angles": 5,
    "calibre_median": 3,
    "bifurcations": 1,
    "fractal_dimension": 4,
    "false_ends": 1,
}
"""Figures in the tables and their decimals; the JSON file has all."""

FALSE_ENDS = Figure("false_ends", "free ends where the observer has none")
END_PX = 5.0
"""How far apart two drawings of one end may be, px of DRIVE."""

PROTOCOL = (
    "Measurements as docs/measurements.md defines them, in px, inside the field of view at each image's own "
    "resolution. Segmented: the mask that the segmenter gives at its own threshold and least size. Completed: "
    "every gap proposed with a score of .5 or more is drawn, which needs nobody; the finder is given mask, image, "
    "probability and the map of the completion model for the modality. Reviewed: every proposal, whatever its "
    "score, is accepted if the first observer's vessel joins the same two pieces within 2 px (of DRIVE), and "
    "rejected otherwise; then every piece of which less than half lies within 2 px of that observer's vessels is "
    "deleted. Error: the absolute difference from the measurement of the first observer's drawing. Change: the "
    "error after less the error of the segmented mask, of the same image; below 0 is nearer to the truth. Free ends "
    "where the observer has none: no free end of that drawing within 5 px (of DRIVE). "
    "Intervals: 95 %, by drawing whole images 10,000 times with replacement, seeded."
)
Mask = NDArray[np.bool_]
Row = dict[str, float | None]


def inside_field(files: CaseFiles) -> tuple[str, Mask, Mask | None]:
    """Return the name, the vessels and the field of view of a training image."""
    case = read_case(files)
    mask = case.vessels if case.image.fov is None else case.vessels & case.image.fov
    return case.name, mask, case.image.fov


def measure_theirs(files: CaseFiles, peer: PVBM) -> dict[str, Any]:
    """Measure one mask with PVBM."""
    name, mask, fov = inside_field(files)
    return {"image": name, **peer.measure(mask, fov)}


def measure_ours(files: CaseFiles) -> dict[str, Any]:
    """Measure one mask as the product does."""
    name, mask, fov = inside_field(files)
    found = measure(mask, fov).figures
    return {"image": name, **found, "meeting_places": (found["bifurcations"] or 0.0) + (found["crossings"] or 0.0)}


def peer_rows(images: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return correlation and ratio of every figure that both have, and the table."""
    found, rows = {}, []
    for name, (theirs, ours) in PAIRS.items():
        pairs = np.asarray([(one["ours"][ours], one["theirs"][theirs]) for one in images], np.float64)
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        ratio = (pairs[:, 0] / pairs[:, 1]).tolist()
        low, high = interval(ratio)
        flat = bool((np.ptp(pairs, axis=0) == 0).any())
        pearson = float("nan") if flat else float(pearsonr(*pairs.T).statistic)
        spearman = float("nan") if flat else float(spearmanr(*pairs.T).statistic)
        found[name] = {
            "ours_mean": float(pairs[:, 0].mean()),
            "theirs_mean": float(pairs[:, 1].mean()),
            "ratio": float(np.mean(ratio)),
            "ratio_interval": [known(low), known(high)],
            "pearson": known(pearson),
            "spearman": known(spearman),
        }
        rows.append(
            [
                name,
                f"{pairs[:, 0].mean():.4g}",
                f"{pairs[:, 1].mean():.4g}",
                spread(float(np.mean(ratio)), low, high),
                decimal(pearson, 2),
                decimal(spearman, 2),
            ]
        )
    return found, markdown_table(["figure", "ours", "PVBM", "ratio", "Pearson", "Spearman"], rows)


def completed(mask: Mask, accepted: Sequence[Any]) -> Mask:
    """Return a mask with gaps drawn."""
    done = mask.copy()
    for gap in accepted:
        (y, x), patch = draw_gap(gap, (done.shape[0], done.shape[1]))
        done[y : y + patch.shape[0], x : x + patch.shape[1]] |= patch
    return done


@cache
def _model(name: str) -> OwnModel:
    return own_model(name)


def measure_case(files: CaseFiles, name: str, model: CompletionModel | None) -> dict[str, Any]:
    """Measure the truth, the segmented, completed and reviewed mask, and the second observer's, of one test image."""
    case = read_case(files, allow_test=True)
    probability, masks = _model(name).predict(case)
    assert probability is not None
    completion = None if model is None else model.predict(case.image, probability, name)
    sample = sample_of(case, probability, _model(name).info.threshold, completion)
    inside = np.ones(case.vessels.shape, np.bool_) if case.image.fov is None else case.image.fov
    mask = masks[name] & inside
    gaps = run_job(find_gaps(mask, case.image, probability, completion=completion, fov=case.image.fov))
    labels, _ = label_components(mask)
    judge = Judge(sample.first, labels, sample.scale)
    right = [gap for gap in gaps if judge.right(of_gap(gap, mask.shape))]
    reviewed = kept(completed(mask, right), sample.first, sample.scale)
    arms = {
        "truth": sample.first,
        SEGMENTED: mask,
        COMPLETED: completed(mask, [gap for gap in gaps if gap.score >= CUT]),
        REVIEWED: reviewed,
    }
    if case.second is not None:
        arms[SECOND] = sample.second
    found = {arm: measure(one, case.image.fov) for arm, one in arms.items()}
    ends = {arm: np.asarray([end for segment in one.segments for end in segment.ends]) for arm, one in found.items()}
    return {
        "image": case.name,
        "proposals": len(gaps),
        "accepted": sum(gap.score >= CUT for gap in gaps),
        "right": len(right),
        "figures": {
            arm: {**one.figures, FALSE_ENDS.name: false_ends(ends[arm], ends["truth"], END_PX * sample.scale)}
            for arm, one in found.items()
        },
    }


def false_ends(ends: NDArray[np.float64], truth: NDArray[np.float64], reach: float) -> float:
    """Count the ends, (y, x) in rows, that are further than `reach` from every end of the truth."""
    if not len(ends) or not len(truth):
        return float(len(ends))
    return float((cKDTree(truth).query(ends)[0] > reach).sum())


def kept(mask: Mask, truth: Mask, scale: float) -> Mask:
    """Return a mask without the pieces of which less than half lies on the truth."""
    labels, _ = label_components(mask)
    areas = np.bincount(labels.ravel())
    on = np.bincount(labels[grown(truth, 2.0 * scale)].ravel(), minlength=len(areas))
    wrong = 2 * on < areas
    return np.asarray(mask & ~wrong[labels])


def truth_rows(images: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return errors before and after with their paired differences, and the table."""
    found: dict[str, Any] = {}
    rows = []
    for figure in (*FIGURES, FALSE_ENDS):
        name = figure.name

        def values(arm: str, name: str = name) -> NDArray[np.float64]:
            read = [one["figures"].get(arm, {}).get(name) for one in images]
            return np.asarray([np.nan if value is None else value for value in read], np.float64)

        truth = values("truth")
        errors = {arm: np.abs(values(arm) - truth) for arm in (SEGMENTED, COMPLETED, REVIEWED, SECOND)}
        entry: dict[str, Any] = {"mean": {arm: known(_mean(values(arm))) for arm in ("truth", *errors)}}
        entry["error"] = {arm: known(_mean(error)) for arm, error in errors.items()}
        for arm in (COMPLETED, REVIEWED):
            change, low, high = paired_interval(errors[arm].tolist(), errors[SEGMENTED].tolist())
            entry[f"change_{arm}"] = {"mean": known(change), "interval": [known(low), known(high)]}
            entry[f"nearer_{arm}"] = int((errors[arm] < errors[SEGMENTED]).sum())
            entry[f"farther_{arm}"] = int((errors[arm] > errors[SEGMENTED]).sum())
        found[name] = entry
        if name in SHOWN:
            rows.append(_truth_row(figure.title, entry, SHOWN[name]))
    header = ["figure", "truth", "segmented", "completed", "reviewed", "error segmented", "error completed"]
    header += [
        "change by completing",
        "nearer / farther",
        "error reviewed",
        "change by review",
        "error second observer",
    ]
    return found, markdown_table(header, rows)


def _truth_row(title: str, entry: dict[str, Any], digits: int) -> list[str]:
    cells = [title, *(decimal(entry["mean"][arm], digits) for arm in ("truth", SEGMENTED, COMPLETED, REVIEWED))]
    cells += [decimal(entry["error"][arm], digits) for arm in (SEGMENTED, COMPLETED)]
    for arm in (COMPLETED, REVIEWED):
        change = entry[f"change_{arm}"]
        cells.append(spread(change["mean"], *change["interval"], digits))
        if arm == COMPLETED:
            cells.append(f"{entry['nearer_completed']} / {entry['farther_completed']}")
            cells.append(decimal(entry["error"][REVIEWED], digits))
    return [*cells, decimal(entry["error"][SECOND], digits)]


def _mean(values: NDArray[np.float64]) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for key in dict.fromkeys((*SETS, *PEER_SETS)):
        parser.add_argument(
            f"--{key.replace('_', '-')}", type=Path, help=f"{DATA_SETS[key].title}, as its owner has it"
        )
    parser.add_argument("--pvbm", type=Path, metavar="DIR", help=f"folder with the package PVBM ({REPOSITORY})")
    parser.add_argument("--model", default="fundus-small", help="name or folder of the model that segments")
    parser.add_argument("--completion-model", metavar="NAME|FOLDER|none", help="by default the one for the modality")
    parser.add_argument("--quick", action="store_true", help=f"the first {QUICK} images of each set only")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="compute everything again")
    parser.add_argument("-o", "--out", type=Path, required=True)
    return parser


def run_all(work: Any, cases: Sequence[CaseFiles], workers: int) -> list[dict[str, Any]]:
    """Measure images side by side, in order."""
    begun = time.perf_counter()
    results = []
    # Not forked: a process with threads, torch's for one, may leave a lock behind in its children.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for result in pool.map(work, cases):
            results.append(result)
            print(f"{result['image']}: {time.perf_counter() - begun:.0f} s", flush=True)
    return results


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    first = QUICK if options.quick else None
    here = "".join(getsource(part) for part in (measure_case, completed, kept, false_ends)) + code_hash((), SCRIPTS)
    report = report_header(public_command(parser, options), PROTOCOL)
    model, completion = _model(options.model), completion_model(options.completion_model)
    report["predictor"] = {**model.key(), "completion_model": None if completion is None else completion.key()}
    report["completion"], report["pvbm"] = {}, {}
    body = "## Before and after completion, against the truth\n\n"
    for key in SETS:
        folder = getattr(options, key.replace("-", "_"))
        if folder is None:
            continue
        cases = find_cases(key, folder, "test")[:first]
        work = partial(measure_case, name=options.model, model=completion)
        depends = {"images": images_key(cases), "predictor": report["predictor"], "script": here}
        images = cached(
            f"measurements-{key}", depends, lambda work=work, cases=cases: run_all(work, cases, options.workers),
            options.fresh, ROOMS,
        )  # fmt: skip
        figures, table = truth_rows(images)
        report["completion"][key] = {"images": images, "figures": figures}
        seen = model.seen(key)
        counts = ", ".join(f"{sum(one[what] for one in images)} {what}" for what in ("proposals", "accepted", "right"))
        body += f"### {DATA_SETS[key].title}: {len(images)} test images ({seen}; {counts})\n\n{table}\n\n"
    for key in PEER_SETS:
        folder = getattr(options, key.replace("-", "_"))
        if folder is None or options.pvbm is None:
            continue
        cases = find_cases(key, folder, "training")[:first]
        depends = {"images": images_key(cases)}
        peer = files_hash([Path(module.__file__) for module in (measurement_peer, dimension)])
        theirs = cached(
            f"measurements-pvbm-{key}", {**depends, "peer": peer},
            lambda cases=cases: run_all(partial(measure_theirs, peer=PVBM(options.pvbm)), cases, options.workers),
            options.fresh, (),
        )  # fmt: skip
        ours = cached(
            f"measurements-ours-{key}", depends, lambda cases=cases: run_all(measure_ours, cases, options.workers),
            options.fresh, ROOMS,
        )  # fmt: skip
        images = [{"image": a["image"], "ours": a, "theirs": b} for a, b in zip(ours, theirs, strict=True)]
        figures, table = peer_rows(images)
        report["pvbm"][key] = {"images": images, "figures": figures}
        body += f"## Beside PVBM: {len(images)} training masks of {DATA_SETS[key].title}\n\n{table}\n\n"
    if report["pvbm"]:
        body += "What is defined otherwise:\n\n" + "".join(f"- {name}: {how}.\n" for name, how in DIFFERENCES.items())
    write_report(options.out, "Measurements", report, body.rstrip())
    print(body)


if __name__ == "__main__":
    main()
