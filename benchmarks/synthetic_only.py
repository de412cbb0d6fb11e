"""How the models do that have learnt from synthetic images alone, beside the ridge filter.

    python benchmarks/synthetic_only.py [--two-photon DIR] [--models xray-small,twophoton-small,ridge] [--images 40]

X-ray angiograms: no labelled real ones are at hand, so on synthetic ones of other seeds. They say what a network has
kept of synthetic images, and nothing of real ones. Two-photon projections: real slabs, in a folder that
``two_photon.py`` made.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, decimal, markdown_table, public_command, report_header, spread, write_report
from contenders import FIGURES, OwnModel, own_model, score
from segmentation import summarise
from two_photon import recording_of

from napari_vessel.images.image import Modality
from napari_vessel.images.reading import read_image
from napari_vessel.synthesis.engine import synthesize
from napari_vessel.training.cases import Case, find_own_cases, read_case

FIRST_SEED = 6_000_000
"""Far from those of the training images (0 to 399)."""
SHOWN = ("dice", "cldice", "sensitivity", "betti0_error", "betti1_error")
PROTOCOL = (
    f"X-ray: synthetic angiograms of 512 x 512 px, seeds from {FIRST_SEED} on; the truth has every vessel that is "
    "there, also the stretches that cannot be seen. Two-photon: real slabs, none of them learnt from; slabs of one "
    "recording show the same vessels, so a recording counts once, with the mean of its slabs. Each model's own "
    "threshold and minimum size. In brackets 95 % intervals from drawing images (recordings) with replacement."
)


def angiograms(images: int) -> Iterator[tuple[str, Case]]:
    """Make synthetic angiograms; each is a group of its own."""
    for seed in range(FIRST_SEED, FIRST_SEED + images):
        made = synthesize(Modality.XRAY, seed)
        yield str(seed), Case(f"synthetic/{seed}", made.image, made.truth)


def projections(folder: Path) -> Iterator[tuple[str, Case]]:
    """Read real two-photon slabs, each with its recording."""
    for files in sorted(find_own_cases(folder, ()), key=lambda one: one.stem):
        case = read_case(files, allow_test=True)
        image = read_image(files.image, modality=Modality.TWOPHOTON)
        yield recording_of(files.stem), Case(case.name, image, case.vessels)


def measure(models: list[OwnModel], cases: Iterable[tuple[str, Case]]) -> dict[str, Any]:
    """Return the figures of every model on every group of images, with their means over the groups."""
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {model.name: {} for model in models}
    for group, case in cases:
        for model in models:
            probability, masks = model.predict(case)
            rows[model.name].setdefault(group, []).append(score(masks[model.name], case, probability))
    found = {}
    for model in models:
        means = [{"image": group, **_mean(several)} for group, several in rows[model.name].items()]
        found[model.name] = {"model": model.key(), "summary": summarise(means), "images": means}
    return found


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    known = {figure: [row[figure] for row in rows if row[figure] is not None] for figure in rows[0]}
    return {figure: float(np.mean(values)) if values else None for figure, values in known.items()}


def table(results: dict[str, Any]) -> str:
    """Return the means as Markdown."""
    lines = []
    for kind, entries in results.items():
        for name, entry in entries.items():
            found = entry["summary"]
            cells = [kind, name, found["images"]]
            for figure in SHOWN:
                one, digits = found[figure], FIGURES[figure][1]
                in_full = figure in ("dice", "cldice")
                cells.append(spread(one["mean"], one["low"], one["high"]) if in_full else decimal(one["mean"], digits))
            lines.append(cells)
    return markdown_table(["images", "who", "groups", *(FIGURES[figure][0] for figure in SHOWN)], lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--two-photon", type=Path, metavar="DIR", help="real slabs: images/ and masks/")
    parser.add_argument("--models", default="xray-small,twophoton-small,ridge", help="names and folders")
    parser.add_argument("--images", type=int, default=40, help="synthetic angiograms")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "synthetic_only.json")
    options = parser.parse_args()
    models = [own_model(name) for name in options.models.split(",")]
    results = {}
    kinds = [("synthetic angiograms", Modality.XRAY, angiograms(options.images))]
    if options.two_photon is not None:
        kinds.append(("real two-photon recordings", Modality.TWOPHOTON, projections(options.two_photon)))
    for title, modality, cases in kinds:
        results[title] = measure([model for model in models if model.takes(modality)], cases)
    body = table(results)
    report = report_header(public_command(parser, options), PROTOCOL) | {"results": results}
    write_report(options.out, "Learnt from synthetic images alone", report, body)
    print(body)


if __name__ == "__main__":
    main()
