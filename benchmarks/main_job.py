"""Time and peak memory of the whole job on real photographs, by the command line.

    python benchmarks/main_job.py --chasedb1 DIR --hrf DIR [-o benchmarks/results/main_job.json] [--keep DIR]

Each step is a process of its own, as a user starts it, so that its time holds start-up and its memory is the
operating system's account of that process alone (``ru_maxrss``). The test images of both sets are used whole:
children 11 to 14 of CHASE_DB1, images 06 to 15 of each group of HRF.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from common import RESULTS, public_command, report_header
from contenders import own_model

from napari_vessel.images.image import Modality
from napari_vessel.images.writing import write_json
from napari_vessel.segmentation.registry import default_model

PROTOCOL = (
    "Test images, whole, one data set after the other; each step is a process of its own, with its start-up. Seconds "
    "by the wall clock and of the processor, peak memory as the operating system counts it for that process. Gaps and "
    "completion: one image each, medians. Gaps are drawn from a score of .8 on."
)
TESTS = {"chasedb1": re.compile(r"Image_1[1-4][LR]$"), "hrf": re.compile(r"(0[6-9]|1[0-5])_(h|dr|g)$")}


def measure(arguments: list[str]) -> dict[str, float]:
    """Run ``napari-vessel ARGUMENTS`` and return its wall time (s), CPU time (s) and peak memory (MiB).

    Raises
    ------
    SystemExit
        If the command fails; its own message has been printed.
    """
    command = [sys.executable, "-m", "napari_vessel.cli", *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"failed: napari-vessel {' '.join(arguments)}")
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
    }


def main_job(images: list[Path], work: Path) -> dict[str, object]:
    """Segment, list gaps, complete, make a project and export; return what each step took."""
    segmented, completed, project = work / "segmented", work / "completed", work / "project"
    completed.mkdir()
    steps: dict[str, object] = {"images": len(images)}
    paths = [str(path) for path in images]
    whole = measure(["segment", *paths, "-o", str(segmented)])
    one = measure(["segment", paths[0], "-o", str(work / "one")])
    steps["segment, all images"] = whole
    steps["segment, one image"] = one
    gaps, completions, counts = [], [], []
    for path in images:
        mask = str(segmented / f"{path.stem}_mask.png")
        common = [mask, "--image", str(path), "--probability", str(segmented / f"{path.stem}_probability.tif")]
        listed = work / f"{path.stem}.json"
        gaps.append(measure(["gaps", *common, "-o", str(listed)]))
        found = json.loads(listed.read_text())
        counts.append({"image": path.stem, "components": found["components"], "gaps": len(found["gaps"])})
        output = str(completed / f"{path.stem}.png")
        completions.append(measure(["complete", *common, "--min-score", "0.8", "-o", output]))
    for name, rows in (("gaps, median of the images", gaps), ("complete, median of the images", completions)):
        steps[name] = {key: round(median(row[key] for row in rows), 2) for key in rows[0]}
    steps["project create"] = measure(["project", "create", str(project), *paths, "--masks", str(completed)])
    steps["export"] = measure(
        ["export", str(project), "--format", "folder", "-o", str(work / "export"), "--state", "segmented"]
    )
    steps["found"] = counts
    return steps


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chasedb1", type=Path)
    parser.add_argument("--hrf", type=Path)
    parser.add_argument("--keep", type=Path, help="keep the outputs in this folder")
    parser.add_argument("--limit", type=int, help="only the first N images of each set")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "main_job.json")
    options = parser.parse_args()
    report: dict[str, object] = report_header(public_command(parser, options), PROTOCOL)
    report["model"] = own_model(default_model(Modality.FUNDUS)).key()
    with tempfile.TemporaryDirectory() as temporary:
        for name, pattern in TESTS.items():
            folder = getattr(options, name)
            if folder is None:
                continue
            images = sorted(p for p in (folder / "images").iterdir() if pattern.match(p.stem))[: options.limit]
            work = (options.keep or Path(temporary)) / name
            work.mkdir(parents=True)
            report[name] = main_job(images, work)
            print(name, json.dumps({k: v for k, v in report[name].items() if k != "found"}, indent=1))  # type: ignore[attr-defined]
    write_json(options.output, report)


if __name__ == "__main__":
    main()
