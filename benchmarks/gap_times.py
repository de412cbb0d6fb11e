"""How long a search for gaps takes, and how that grows with the picture.

    python benchmarks/gap_times.py [--runs 3] [-o benchmarks/results/gap_times.json]

Generated fundus photographs at five sizes, their masks broken and speckled as a segmentation's are (`incremental.py`),
with more and more to look at.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, markdown_table, public_command, report_header, write_report
from incremental import broken, timed

from napari_vessel.completion.ranking import ranked
from napari_vessel.completion.search import look_at
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.ridge import vesselness
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.topology import label_components

SIZES = ((292, 283), (584, 565), (1168, 1130), (2336, 2260), (2336, 3504))
LOOKING_AT = ("mask", "image and probability", "image, probability and completion map")
GOAL = "500 candidates in 0.5 s"

PROTOCOL = (
    "A search takes the mask apart, gathers the evidence, draws every course and ranks the proposals; reading files "
    "and networks are not in it. Candidates are the courses that are judged. Processor time of one core, median of "
    "some runs. Completion map: the true vessels, blurred; probability: the ridge model's. Relabelling: components "
    "of the whole mask, by cv2.connectedComponents. Growth: the slope of the logarithm of the time over that of the "
    "pixels from 584 x 565 on: 1 is as the picture grows."
)


def measure(shape: tuple[int, int], runs: int) -> list[dict[str, Any]]:
    """Return one row for each thing there is to look at."""
    import cv2

    sample = make_sample("fundus", 3, shape)
    image, truth = sample.image, np.asarray(sample.truth.mask, np.bool_)
    mask = broken(truth, np.random.default_rng(0))
    probability, _ = run_job(vesselness(image))
    completion = np.clip(cv2.GaussianBlur(truth.astype(np.float32), (0, 0), 1.0), 0.0, 1.0)
    given = ((None, None, None), (image, probability, None), (image, probability, completion))
    relabel = float(np.median([timed(lambda: label_components(mask)) for _ in range(runs)]))
    rows = []
    for words, (picture, likely, drawn) in zip(LOOKING_AT, given, strict=True):
        search = partial(found_in, mask, picture, likely, drawn, image.fov)
        counted = search()
        taken = float(np.median([timed(search) for _ in range(runs)]))
        rows.append({"shape": list(shape), "looking_at": words, **counted, "ms": taken, "relabel_ms": relabel})
    return rows


def found_in(mask: Any, image: Any, probability: Any, completion: Any, fov: Any) -> dict[str, int]:
    """Search a mask whole, and return the numbers of starts, candidates and gaps."""
    found = run_job(look_at(mask, image, probability, completion, fov))
    assert found is not None
    return {"starts": len(found.kept), "candidates": len(found.drafts), "gaps": len(list(ranked(found)))}


def growth(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return how the time grows with the pixels, for each thing there is to look at."""
    slopes = {}
    for words in LOOKING_AT:
        of = [row for row in rows if row["looking_at"] == words and row["shape"][0] >= SIZES[1][0]]
        pixels = np.log([np.prod(row["shape"]) for row in of])
        slopes[words] = float(np.polyfit(pixels, np.log([row["ms"] for row in of]), 1)[0])
    return slopes


def table(rows: list[dict[str, Any]], slopes: dict[str, float]) -> str:
    """Return the figures as Markdown."""
    header = ("size", "looking at", "starts", "candidates", "gaps", "ms", "ms per 500 candidates", "times relabelling")
    lines = [
        [
            " x ".join(map(str, row["shape"])),
            row["looking_at"],
            *(row[name] for name in ("starts", "candidates", "gaps")),
            f"{row['ms']:.0f}",
            f"{500.0 * row['ms'] / max(row['candidates'], 1):.0f}",
            f"{row['ms'] / row['relabel_ms']:.0f}",
        ]
        for row in rows
    ]
    grown = markdown_table(("looking at", "growth"), [[words, f"{slope:.2f}"] for words, slope in slopes.items()])
    return f"Goal: {GOAL}.\n\n{markdown_table(header, lines)}\n\n{grown}"


def main() -> None:
    """Measure, and write the table."""
    import cv2

    parser = argparse.ArgumentParser(prog="gap_times.py", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "gap_times.json")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for size in SIZES:
        rows += measure(size, options.runs)
        print(size, [round(row["ms"]) for row in rows[-3:]], flush=True)
    slopes = growth(rows)
    report = report_header(public_command(parser, options), PROTOCOL) | {"goal": GOAL, "rows": rows, "growth": slopes}
    write_report(options.out, "Time of a search for gaps", report, table(rows, slopes))


if __name__ == "__main__":
    main()
