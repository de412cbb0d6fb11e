"""How long ``napari-vessel --help`` takes, and each dock widget to open once napari is up.

    python benchmarks/startup.py [-o benchmarks/results/startup.json]

Medians of five, after a warm-up; ``--help`` also as a ratio to a bare Python. Each widget opens in a process of its
own, with napari already up. Needs a screen or Xvfb.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from common import RESULTS, public_command, report_header

from napari_vessel.images.writing import write_json

WIDGETS = (
    *("Vessel project", "Segment vessels", "Vessel gaps", "Measurements", "Export vessels", "Vessel training"),
    "Fine-tune",
)
PROTOCOL = (
    "Medians of five by the wall clock. Help: whole processes, after one that does not count; beside a bare Python "
    "that does nothing. Widgets: each in a process of its own with napari already up, from the call to the end of "
    "the events that it causes."
)
OPEN = """
import sys, time, napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
QApplication.processEvents()
start = time.perf_counter()
viewer.window.add_plugin_dock_widget("napari-vessel", sys.argv[1])
QApplication.processEvents()
print("seconds", time.perf_counter() - start)
viewer.close()
QApplication.processEvents()
"""


def wall(command: list[str], runs: int = 5) -> float:
    """Return the median wall time of a command in seconds, after one run that does not count."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return median(times[1:])


def opening(name: str, runs: int = 5) -> float:
    """Return the median time a widget takes to open, in seconds."""
    times = []
    for _ in range(runs):
        done = subprocess.run([sys.executable, "-c", OPEN, name], check=True, capture_output=True, text=True)
        times.append(float(done.stdout.split("seconds")[1]))
    return median(times)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "startup.json")
    options = parser.parse_args()
    bare = wall([sys.executable, "-c", "pass"])
    help_ = wall([sys.executable, "-m", "napari_vessel.cli", "--help"])
    header = report_header(public_command(parser, options), PROTOCOL)
    header["versions"] |= {name: version(name) for name in ("napari", "typer", "qtpy")}
    report = {
        **header,
        "help": {"seconds": round(help_, 3), "ratio_to_bare_python": round(help_ / bare, 1)},
        "widgets": {name: {"seconds": round(opening(name), 3)} for name in WIDGETS},
    }
    print(json.dumps(report, indent=1))
    write_json(options.output, report)


if __name__ == "__main__":
    main()
