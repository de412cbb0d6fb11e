"""How X-ray models do on synthetic angiograms that none has learnt from: all there is to measure without labelled ones.

    python benchmarks/angiograms.py [--models xray-small,ridge] [--images 40] [-o FILE]

Says what a network that learnt from synthetic images has kept of them, and nothing of real angiograms.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common import RESULTS, decimal, markdown_table, public_command, report_header, spread, write_report
from contenders import FIGURES, own_model, score
from segmentation import summarise

from napari_vessel.images.image import Modality
from napari_vessel.synthesis.engine import synthesize
from napari_vessel.training.datasets import Case

FIRST_SEED = 6_000_000
"""Far from those of the training images (0 to 399)."""
SHOWN = ("dice", "cldice", "sensitivity", "betti0_error", "betti1_error")
PROTOCOL = (
    f"Synthetic X-ray angiograms of 512 x 512 px, seeds from {FIRST_SEED} on; each model's own threshold and minimum "
    "size. The truth has every vessel that is there, also the stretches that cannot be seen. In brackets 95 % "
    "intervals from drawing images with replacement."
)


def measure(names: list[str], images: int) -> dict[str, Any]:
    """Return the figures of every model on every image, with their means."""
    models = [own_model(name) for name in names]
    rows: dict[str, list[dict[str, Any]]] = {model.name: [] for model in models}
    for seed in range(FIRST_SEED, FIRST_SEED + images):
        made = synthesize(Modality.XRAY, seed)
        case = Case(f"synthetic/{seed}", made.image, made.truth)
        for model in models:
            probability, masks = model.predict(case)
            rows[model.name].append({"image": str(seed), **score(masks[model.name], case, probability)})
    return {
        model.name: {"model": model.key(), "summary": summarise(rows[model.name]), "images": rows[model.name]}
        for model in models
    }


def table(results: dict[str, Any]) -> str:
    """Return the means as Markdown."""
    lines = []
    for name, entry in results.items():
        found = entry["summary"]
        cells = [name, found["images"]]
        for figure in SHOWN:
            one, digits = found[figure], FIGURES[figure][1]
            in_full = figure in ("dice", "cldice")
            cells.append(spread(one["mean"], one["low"], one["high"]) if in_full else decimal(one["mean"], digits))
        lines.append(cells)
    return markdown_table(["who", "images", *(FIGURES[figure][0] for figure in SHOWN)], lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="xray-small,ridge", help="names and folders, separated by commas")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "angiograms.json")
    options = parser.parse_args()
    results = measure(options.models.split(","), options.images)
    body = table(results)
    report = report_header(public_command(parser, options), PROTOCOL) | {"results": results}
    write_report(options.out, "Synthetic angiograms", report, body)
    print(body)


if __name__ == "__main__":
    main()
