"""How long an image with a long history takes to reopen, and how much memory, beside reading its file.

    python benchmarks/reopen.py [--edits 10000] [-o benchmarks/results/reopen.json]

A generated photograph of DRIVE's size gets a history of strokes, verdicts, deleted components and new masks, in a
project of its own. Each reopening is a process of its own. What cannot be undercut is reading the image's file, in the
same process just before: ratios are to that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import RESULTS, markdown_table, peak_mib, public_command, report_header, write_report

from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind
from napari_vessel.images.inputs import ImageInput
from napari_vessel.images.writing import write_mask
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, ReviewSession, Verdict

SHAPE = (584, 565)
PROTOCOL = (
    "Of a hundred edits about 86 are brush strokes, ten verdicts, three deleted components and one a new mask. Seconds "
    "from a project folder to its session: opening the project with its integrity check, and opening the image. Median "
    "of the reopenings, and least to most; ratio to reading the image's file in the same process. Memory: the "
    "process's peak by the operating system's accounting, Python and libraries included."
)


def proposals(rng: np.random.Generator, count: int = 200) -> list[Gap]:
    """Return gaps all over the image, each ten pixels long."""
    found = []
    for number in range(count):
        y, x = rng.integers(10, SHAPE[0] - 10), rng.integers(10, SHAPE[1] - 30)
        path = np.stack([np.full(11, y, np.float32), np.arange(x, x + 11, dtype=np.float32)], 1)
        ends = tuple(GapEnd(n, (float(y), float(x + 10 * n)), (0.0, 1.0), 1.5, True) for n in (0, 1))
        widths = np.full(11, 3, np.float32)
        found.append(
            Gap(f"g{number}", GapKind.BRIDGE, ends, path, widths, 1 - number / count, (), Effect(2, 1, 11, 22, 0))
        )
    return found


def edit_once(session: ReviewSession, number: int, rng: np.random.Generator) -> None:
    """Make one edit."""
    if number % 100 == 99:
        noise = rng.random((SHAPE[0] // 8 + 1, SHAPE[1] // 8 + 1)) > 0.8
        session.set_segmentation(np.kron(noise, np.ones((8, 8), bool))[: SHAPE[0], : SHAPE[1]], "a new mask")
    elif number % 10 == 3:
        session.decide(session.gaps[int(rng.integers(200))].id, list(Verdict)[int(rng.integers(5))], 1.0)
    elif number % 33 == 5 and session.labels.any():
        rows, columns = np.nonzero(session.labels)
        chosen = int(rng.integers(len(rows)))
        session.delete_component(int(rows[chosen]), int(columns[chosen]))
    else:
        size = rng.integers(5, 40, 2)
        y, x = (int(rng.integers(0, whole - part)) for whole, part in zip(SHAPE, size, strict=True))
        session.stroke((rng.random(size) > 0.5).astype(np.uint8), (y, x))


def make_project(folder: Path, edits: int) -> dict[str, Any]:
    """Make a project with one image and its history, and return how large it is."""
    import cv2

    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (*SHAPE, 3), dtype=np.uint8), (0, 0), 2)
    cv2.imwrite(str(folder / "eye.png"), picture)
    write_mask(folder / "mask.png", rng.random(SHAPE) > 0.95)
    with Project.create(folder / "project") as project:
        [record] = run_job(project.add([ImageInput(folder / "eye.png")], masks=folder / "mask.png"))
        session = project.open_session(record.id, "ann")
        session.set_gaps(proposals(rng))
        number, start = 0, time.perf_counter()
        while session.history_position < edits:
            edit_once(session, number, rng)
            number += 1
        seconds = time.perf_counter() - start
    size = (folder / "project" / "project.sqlite").stat().st_size
    return {"edits": edits, "seconds_an_edit": round(seconds / edits, 5), "database_mib": round(size / 2**20, 1)}


def reopen(folder: Path) -> dict[str, float]:
    """Read the image's file, reopen the project and its image, then undo to the first edit; return what it took."""
    from napari_vessel.images.reading import read_image

    read_image(folder / "eye.png")  # what is imported on the way does not count
    before = peak_mib()
    times = [time.perf_counter()]
    read_image(folder / "eye.png")
    times.append(time.perf_counter())
    with Project.open(folder / "project") as project:
        times.append(time.perf_counter())
        last = project.last_image
        assert last is not None
        session = project.open_session(last, "ann")
        times.append(time.perf_counter())
        peak = peak_mib()
        edits = session.history_position
        while session.undo() is not None:
            pass
        times.append(time.perf_counter())
        while session.redo() is not None:
            pass
        assert session.history_position == edits
    read, check, opened, undone = np.diff(times)
    return {
        "reading the image": float(read),
        "opening the project": float(check),
        "opening the image": float(opened),
        "both": float(check + opened),
        "one undo, of all": float(undone / edits),
        "peak_mib_before": before,
        "peak_mib": peak,
        "peak_mib_after_undoing_all": peak_mib(),
    }


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "reopen.json")
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    if options.worker is not None:
        print(json.dumps(reopen(options.worker)))
        return
    runs = []
    with tempfile.TemporaryDirectory() as temporary:
        made = make_project(Path(temporary), options.edits)
        for _ in range(options.runs):
            command = [sys.executable, __file__, "--worker", temporary]
            runs.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    rows, results = [], {}
    for name in runs[0]:
        values = [run[name] for run in runs]
        if name.startswith("peak"):
            results[name] = round(max(values), 1)
            continue
        ratios = [run[name] / run["reading the image"] for run in runs]
        results[name] = {"seconds": span(values), "ratio": span(ratios)}
        rows.append([name, *(f"{s['median']} ({s['least']} to {s['most']})" for s in results[name].values())])
    report = report_header(public_command(parser, options), PROTOCOL) | made | {"results": results}
    body = f"{made['edits']} edits on {SHAPE[0]} x {SHAPE[1]} pixels; a database of {made['database_mib']} MiB.\n\n"
    body += markdown_table(["what", "seconds", "ratio to reading the image"], rows)
    body += (
        f"\n\nPeak memory: {results['peak_mib_before']} MiB before, {results['peak_mib']} MiB reopened, "
        f"{results['peak_mib_after_undoing_all']} MiB after every edit was undone and done again."
    )
    write_report(options.out, "Reopening an image with a long history", report, body)
    print(body)


def span(values: list[float]) -> dict[str, float]:
    """Return median, least and most, to four significant digits."""
    least, middle, most = (float(f"{value:.4g}") for value in (min(values), median(values), max(values)))
    return {"median": middle, "least": least, "most": most}


if __name__ == "__main__":
    main()
