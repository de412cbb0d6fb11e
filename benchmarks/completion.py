"""What does a completion network draw where vessels were taken out of an image?

    python benchmarks/completion.py --chase-db1 DIR --hrf DIR --rossa DIR --models fundus-small-vig,octa-small-vig

Test images are brought to the model's working scale. There stretches of one length are taken out of the image over the
vessel's whole width (TopoMask, corrected: local background with its own grain), with as many decoys, pieces of
background treated alike. The segmenter reads what is left, and loses the vessel; the completion network reads that
image and the segmenter's probability. Beside it stand a lower threshold and a closing of the segmenter's mask.

What counts as lost is what the segmenter finds in the whole image and no longer finds in this one: a faint vessel that
it never saw is not what was broken, and nothing was taken from it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    DRAWS,
    RESULTS,
    cached,
    code_hash,
    images_key,
    known,
    markdown_table,
    public_command,
    report_header,
    spread,
    write_report,
)
from contenders import model_key
from numpy.typing import NDArray
from segmentation import add_folders, given_folders

from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.completer import Completer
from napari_vessel.segmentation.preparation import field_diameter, plan_resampling, resample, resample_fov
from napari_vessel.segmentation.registry import ModelInfo, completion_model_info, read_model, segmenter_of
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.topology.calibre import median_calibre
from napari_vessel.topology.components import label_components
from napari_vessel.training.cases import Case, CaseFiles, find_cases, read_case
from napari_vessel.training.datasets import DATA_SETS
from napari_vessel.training.topomask import DILATION, Masking, hide

LENGTHS = (5, 15, 30)
"""Lengths of what is taken out, px at the working scale."""

RATIO = 0.5
"""Share of the branches of which a stretch is taken out, where they are long enough for it."""

MARGIN = 5.0
"""What is left of a branch on both sides of a stretch, px at the working scale: a break has two ends."""

TOLERANCE = 1
"""How far beside a vessel an added pixel may lie, px at the working scale."""

FIGURES = {
    "recovered": "recovered",
    "filled": "filled",
    "bridged": "bridged",
    "false": "false",
    "false_2": "false, 2 px",
    "by_observer": "by the observer",
    "anywhere": "anywhere",
}
"""Columns of the table."""

PROTOCOL = (
    "Test images at the model's working scale; half of the branches, where they leave 5 px on both sides, lose a "
    "stretch of the given length in the image, and as many decoys are placed. Taken out: pixels of those stretches "
    "that are vessel in the truth and in the segmenter's mask of the whole image. Recovered: the share of them "
    "that the mask of the broken image has, with what the method adds. Filled: of those that the segmenter alone "
    "loses, the share that the method adds. Bridged: the share of the broken stretches whose surroundings are "
    "connected again. False: pixels of the mask of the broken image, the method's included, within a calibre of "
    "something taken out, decoys too, and more than one pixel (in the next column two) beside any vessel, as a "
    "share of the pixels recovered; vessels are those of the truth and those that the segmenter finds in the whole "
    "image. By the observer: what the method alone adds there, the truth alone as judge. Anywhere: what it adds in "
    "all of the image, the truth alone as judge; both as a share of the pixels recovered. Threshold: each model's "
    "own. In brackets 95 % intervals from drawing images with replacement. Goals: recovered .8, .7, .5 at 5, 15, "
    "30 px with false at most .05."
)


def at_working_scale(case: Case, info: ModelInfo) -> tuple[VesselImage, NDArray[np.bool_]]:
    """Return an image and its vessels at a model's working scale."""
    image = case.image
    plan = plan_resampling(image.shape, field_diameter(image.shape, image.fov), float(info.working_scale["px"]))
    small = replace(
        image,
        pixels=resample(image.pixels, plan.working_shape),
        fov=resample_fov(image.fov, plan.working_shape),
        modality=info.modalities[0],
    )
    truth = resample(case.vessels.astype(np.float32), plan.working_shape) >= 0.5
    return small, truth if small.fov is None else truth & small.fov


def take_out(
    image: VesselImage, truth: NDArray[np.bool_], length: int, seed: int
) -> tuple[VesselImage, NDArray[np.bool_]]:
    """Return an image without stretches of its vessels, and where it was changed."""
    modality = image.modality.value
    masking = Masking("corrected", RATIO, DILATION[modality], 0.01, 1, float(length), length + 1e-3, MARGIN)
    inside = np.ones(image.shape, np.bool_) if image.fov is None else image.fov
    pixels, changed = hide(
        np.atleast_3d(image.pixels), truth, inside, masking, median_calibre(truth), np.random.default_rng(seed)
    )
    return replace(image, pixels=pixels.reshape(image.pixels.shape), content_hash=""), changed


def judge(
    drawn: NDArray[np.bool_],
    before: NDArray[np.bool_],
    whole: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    changed: NDArray[np.bool_],
) -> dict[str, float]:
    """Count what was drawn where, px.

    Parameters
    ----------
    drawn, before : ndarray of bool, shape (Y, X)
        Mask of the broken image with and without what a method adds.
    whole : ndarray of bool, shape (Y, X)
        The segmenter's mask of the image before anything was taken out.
    truth, changed : ndarray of bool, shape (Y, X)
        Vessels, and where the image was changed.
    """
    added = drawn & ~before
    taken = truth & changed & whole
    lost = taken & ~before
    near_change = grown(changed, round(median_calibre(truth)))
    broken, bridged = bridges(drawn, before, lost)
    by_observer = added & ~grown(truth, TOLERANCE)
    return {
        "taken": float(taken.sum()),
        "recovered": float((drawn & taken).sum()),
        "lost": float(lost.sum()),
        "filled": float((added & lost).sum()),
        "false": float((drawn & ~grown(truth | whole, TOLERANCE) & near_change).sum()),
        "false_2": float((drawn & ~grown(truth | whole, TOLERANCE + 1) & near_change).sum()),
        "by_observer": float((by_observer & near_change).sum()),
        "anywhere": float(by_observer.sum()),
        "broken": float(broken),
        "bridged": float(bridged),
    }


def grown(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return a mask grown by a square of this half side."""
    import cv2

    side = 2 * radius + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0)


def bridges(drawn: NDArray[np.bool_], before: NDArray[np.bool_], lost: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many lost stretches lie between two components of the mask, and how many are connected when drawn."""
    pieces, count = label_components(lost)
    components, _ = label_components(before)
    joined, _ = label_components(drawn)
    broken = bridged = 0
    for number in range(1, count + 1):
        ring = grown(pieces == number, 2)
        sides = np.unique(components[ring & before])
        if len(sides) < 2:
            continue
        broken += 1
        after = {int(joined[ring & (components == side)][0]) for side in sides}
        bridged += len(after) == 1
    return broken, bridged


def closed(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return a mask closed with a disk."""
    import cv2

    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, disk) > 0)


def measure(
    info: ModelInfo | None, segmenter: ModelInfo, files: list[CaseFiles], length: int, device: str
) -> dict[str, list[dict[str, float]]]:
    """Return the counts of every image, by method; without a completion model, of the segmenter alone."""
    first = Segmenter(segmenter, device)
    completer = None if info is None else Completer(info, device, first)
    rows: dict[str, list[dict[str, float]]] = {}
    for number, one in enumerate(files):
        image, truth = at_working_scale(read_case(one, allow_test=True), info or segmenter)
        inside = truth_area(image)
        whole = (run_job(first.predict(image)).probability >= segmenter.threshold) & inside
        broken, changed = take_out(image, truth, length, seed=number)
        if completer is None or info is None:
            before = (run_job(first.predict(broken)).probability >= segmenter.threshold) & inside
            methods = {segmenter.name: before}
        else:
            result = run_job(completer.predict(broken))
            before = (result.segmented >= segmenter.threshold) & inside
            methods = {
                segmenter.name: before,
                info.name: result.probability >= info.threshold,
                "threshold .3": result.segmented >= 0.3,
                "closing, disk 4": closed(before, 4),
            }
        for name, drawn in methods.items():
            rows.setdefault(name, []).append(judge((drawn & inside) | before, before, whole, truth, changed))
        print(one.name, length, {name: round(found[-1]["recovered"]) for name, found in rows.items()}, flush=True)
    return rows


def truth_area(image: VesselImage) -> NDArray[np.bool_]:
    """Return the field of view, or all of the image."""
    return np.ones(image.shape, np.bool_) if image.fov is None else image.fov


def pooled_interval(pairs: list[tuple[float, float]], draws: int = DRAWS) -> tuple[float, float]:
    """Return the 95 % interval of a share pooled over images, by drawing images with replacement."""
    counts = np.asarray(pairs)
    drawn = counts[np.random.default_rng(0).integers(len(counts), size=(draws, len(counts)))].sum(axis=1)
    drawn = drawn[drawn[:, 1] > 0]
    if len(counts) < 2 or not len(drawn):
        return float("nan"), float("nan")
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return float(low), float(high)


def summarise(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return shares over all images, with intervals over images."""
    found: dict[str, Any] = {"images": len(rows)}
    total = {key: sum(row[key] for row in rows) for key in rows[0]}
    for name, part, whole in (
        ("recovered", "recovered", "taken"),
        ("filled", "filled", "lost"),
        ("bridged", "bridged", "broken"),
        ("false", "false", "recovered"),
        ("false_2", "false_2", "recovered"),
        ("by_observer", "by_observer", "recovered"),
        ("anywhere", "anywhere", "recovered"),
    ):
        value = total[part] / total[whole] if total[whole] else float("nan")
        low, high = pooled_interval([(row[part], row[whole]) for row in rows])
        found[name] = {"value": known(value), "low": known(low), "high": known(high)}
    return found


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows = []
    for key, models in results.items():
        for lengths in models.values():
            for length, methods in lengths.items():
                for name, entry in methods.items():
                    cells = [DATA_SETS[key].title, length, name, entry["images"]]
                    for figure in FIGURES:
                        one = entry[figure]
                        cells.append("" if one["value"] is None else spread(one["value"], one["low"], one["high"], 2))
                    rows.append(cells)
    head = ["data set", "taken out, px", "method", "images", *FIGURES.values()]
    return markdown_table(head, rows)


def model_of(text: str) -> ModelInfo:
    """Return a completion model by its name or its folder."""
    return read_model(Path(text)) if Path(text).is_dir() else completion_model_info(text)


def hiding_hash() -> str:
    """Return the SHA-256 of what hides vessels and judges what is drawn there."""
    return code_hash(("training/topomask", "training/erasing"), ("completion",))


def key_of(info: ModelInfo) -> list[dict[str, Any]]:
    """Return what decides what a completion model draws."""
    return [model_key(info), model_key(segmenter_of(info))]


def kept_with(results: dict[str, Any], before: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return results with those that a report has of other models and sets, in its order, and what those are."""
    sets = list(dict.fromkeys([*before, *results]))
    merged = {key: before.get(key, {}) | results.get(key, {}) for key in sets}
    kept = [
        f"{name} on {DATA_SETS[key].title}" for key in sets for name in merged[key] if name not in results.get(key, {})
    ]
    return merged, kept


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folders(parser)
    parser.add_argument("--models", default="fundus-small-vig", help="names and folders, separated by commas")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, help="only this many of each set")
    parser.add_argument("--fresh", action="store_true", help="compute finished parts again")
    parser.add_argument("--keep", action="store_true", help="leave what the report has of models and sets not given")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "completion.json")
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    folders = given_folders(options)
    if not folders:
        parser.error("give the folder of at least one data set")
    results: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for key, folder in folders.items():
        files = find_cases(key, folder, "test")[: options.images]
        for info in (model_of(text) for text in options.models.split(",")):
            if DATA_SETS[key].modality not in info.modalities:
                continue
            segmenter = segmenter_of(info)
            for length in LENGTHS:
                made_from = {
                    "model": key_of(info),
                    "images": images_key(files),
                    "length": length,
                    "script": hiding_hash(),
                }
                rows = cached(
                    f"completion-{key}-{info.name}-{length}",
                    made_from,
                    lambda i=info, s=segmenter, f=files, n=length: measure(i, s, f, n, options.device),
                    options.fresh,
                )
                summary = {name: summarise(found) for name, found in rows.items()}
                results.setdefault(key, {}).setdefault(info.name, {})[str(length)] = summary
            models.setdefault(key, {})[info.name] = key_of(info)
    kept: list[str] = []
    if options.keep:
        before = json.loads(options.out.read_text(encoding="utf-8"))
        results, kept = kept_with(results, before["results"])
        models, _ = kept_with(models, before.get("models", {}))
    report = report_header(public_command(parser, options), PROTOCOL)
    report |= {"models": models, "results": results, "kept": kept}
    body = table(results)
    if kept:
        body += f"\n\nOf an earlier run with the same command but for its sets and models: {', '.join(kept)}."
    write_report(options.out, "Vessels taken out of the image", report, body)
    print(body)


if __name__ == "__main__":
    main()
