"""Does a model find the same vessels when the image is half or twice as large?

    python benchmarks/scales.py --chase-db1 DIR --hrf DIR

The image and its field of view are resampled to 0.5 and 2 times their size and segmented. The probability is brought
back to the image's own size, cut with the model's own threshold and minimum size, and scored against the truth as it
is, so that only the model's way with scale is measured and not the resampling of a truth.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import (
    RESULTS,
    cached,
    files_hash,
    images_key,
    known,
    markdown_table,
    paired_interval,
    public_command,
    report_header,
    spread,
    write_report,
)
from contenders import OwnModel, own_model
from segmentation import add_folders, given_folders, summarise

from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.binarise import binarise
from napari_vessel.segmentation.preparation import resample, resample_fov
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.topology.metrics import Comparison, Dice
from napari_vessel.training.cases import CaseFiles, find_cases, read_case
from napari_vessel.training.datasets import DATA_SETS

FACTORS = (1.0, 0.5, 2.0)
PROTOCOL = (
    "Test images resampled to a multiple of their size; the probability brought back to the image's own size, cut with "
    "the model's threshold and minimum size, and scored there inside the field of view. In brackets 95 % intervals "
    "from drawing images with replacement; differences are paired by image. Goal: within .02 of 1x."
)


def rescale(image: VesselImage, factor: float) -> VesselImage:
    """Return an image and its field of view at a multiple of their size."""
    if factor == 1:
        return image
    shape = (round(image.shape[0] * factor), round(image.shape[1] * factor))
    return replace(image, pixels=resample(image.pixels, shape), fov=resample_fov(image.fov, shape))


def measure(model: OwnModel, files: list[CaseFiles]) -> list[dict[str, Any]]:
    """Return the Dice coefficients of every image, by factor."""
    segmenter = Segmenter(model.info, model.device)
    rows = []
    for one in files:
        case = read_case(one, allow_test=True)
        row: dict[str, Any] = {"image": one.stem}
        min_size = 0
        for factor in FACTORS:
            result = run_job(segmenter.predict(rescale(case.image, factor)))
            if factor == 1:
                # In pixels of the image as it is, where every factor's mask is cut.
                min_size = result.min_size
            probability = resample(result.probability, case.image.shape)
            mask = binarise(probability, result.threshold, min_size, case.image.fov)
            row[f"{factor:g}x"] = Dice().compute(Comparison(mask, case.vessels, case.image.fov))
        rows.append(row)
        print(one.name, *(f"{key} {row[key]:.3f}" for key in row if key != "image"), flush=True)
    return rows


def compare(rows: list[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return each factor's mean Dice coefficient, and its difference from 1x with its interval."""
    found = {}
    for factor in FACTORS:
        key = f"{factor:g}x"
        values = [row[key] for row in rows]
        entry = dict(summarise([{"dice": value} for value in values])["dice"])
        if factor != 1:
            mean, low, high = paired_interval(values, [row["1x"] for row in rows])
            entry |= {"difference": known(mean), "difference_low": known(low), "difference_high": known(high)}
        found[key] = entry
    return found


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows = []
    for key, models in results.items():
        for name, entry in models.items():
            for factor, one in entry["summary"].items():
                cells = [DATA_SETS[key].title, name, factor, len(entry["images"])]
                cells.append(spread(one["mean"], one["low"], one["high"]))
                away = [one.get(f"difference{part}") for part in ("", "_low", "_high")]
                rows.append([*cells, "" if away[0] is None else spread(*away)])
    return markdown_table(["data set", "model", "size", "images", "Dice", "minus 1x"], rows)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folders(parser)
    parser.add_argument("--models", default="fundus-small,fundus", help="names and folders, separated by commas")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, help="only this many of each set")
    parser.add_argument("--fresh", action="store_true", help="compute finished parts again")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "scales.json")
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
        results[key] = {}
        for model in (own_model(name, options.device) for name in options.models.split(",") if name):
            if not model.takes(DATA_SETS[key].modality):
                continue
            made_from = {"model": model.key(), "images": images_key(files), "factors": FACTORS}
            made_from["script"] = files_hash([Path(__file__)])
            name = f"scales-{key}-{model.name}"
            rows = cached(name, made_from, lambda m=model, f=files: measure(m, f), options.fresh)
            models[model.name] = model.key()
            results[key][model.name] = {"summary": compare(rows), "images": rows}
    report = report_header(public_command(parser, options), PROTOCOL) | {"models": models, "results": results}
    body = table(results)
    write_report(options.out, "Images at half and twice their size", report, body)
    print(body)


if __name__ == "__main__":
    main()
