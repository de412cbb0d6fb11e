"""Time, peak memory and the longest standstill of the whole job on real photographs, in the window.

    python benchmarks/window_job.py --chasedb1 DIR --hrf DIR [-o benchmarks/results/window_job.json] [--pictures DIR]

Drives the real window with its widgets docked, one process for each set: adds the first test image, segments it, lists
its gaps, gives ten verdicts, paints a stroke, undoes and redoes, saves, exports. Needs a screen or Xvfb. A standstill
is the longest time between two beats of a 5 ms timer on the GUI's thread during a step, drawing included: with software
OpenGL, as under Xvfb, drawing is most of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROTOCOL = (
    "The first test image of each set in the real window with its widgets docked, one process for each set. Seconds "
    "by the wall clock from an action to what it leads to; the longest standstill is the longest time between two "
    "beats of a 5 ms timer on the GUI's thread meanwhile, drawing included; peak memory so far of the whole process."
)
FIRST_TEST = {"chasedb1": "Image_11L.jpg", "hrf": "06_h.jpg"}
PATIENCE_SECONDS = 300.0
STALL_SECONDS = 0.1


class Heart:
    """A timer on the GUI's thread; the longest time between its beats is the longest standstill.

    Attributes
    ----------
    longest : float
        Seconds between two beats, at most, since the last reset.
    stalls : int
        How often since then it was more than a tenth of a second.
    """

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self._timer = QTimer()
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._beat)
        self.reset()
        self._timer.start()

    def reset(self) -> None:
        """Forget what was."""
        self._last, self.longest, self.stalls = time.perf_counter(), 0.0, 0

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self.stalls += now - self._last > STALL_SECONDS
        self._last = now


def do_job(photograph: Path, work: Path, picture: Path | None) -> dict[str, Any]:
    """Do the job on one photograph and return what each step took."""
    from qtpy.QtWidgets import QApplication

    from napari_vessel.gui.launch import open_window
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.edits import Verdict

    steps: dict[str, Any] = {}
    viewer = open_window(work / "project")
    viewer.window.resize(1366, 768)
    workspace = Workspace.of(viewer)
    heart = Heart()

    def settle(seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            QApplication.processEvents()
            time.sleep(0.001)

    def step(name: str, action: Callable[[], Any], reached: Callable[[], bool]) -> None:
        settle(0.5)
        heart.reset()
        start = time.perf_counter()
        action()
        while not reached():
            if time.perf_counter() - start > PATIENCE_SECONDS:
                raise SystemExit(f"waited in vain: {name}")
            settle(0.005)
        seconds = time.perf_counter() - start
        settle(0.3)
        steps[name] = {
            "seconds": round(seconds, 3),
            "longest_standstill_ms": round(1000 * heart.longest, 1),
            "peak_mib_so_far": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        }

    def verdicts() -> None:
        for number in range(10):
            workspace.decide(Verdict.ACCEPTED if number % 2 == 0 else Verdict.REJECTED)
            settle(0.02)

    def paint() -> None:
        layer = workspace.scene.mask_layer
        y, x = workspace.session.shape[0] // 2, workspace.session.shape[1] // 2
        for offset in range(0, 60, 3):
            layer.paint((y, x + offset), 1)

    exported: list[Path] = []
    step("add and open", lambda: workspace.add_paths([photograph]), lambda: workspace.session is not None)
    step(
        "segment and list the gaps",
        workspace.segment,
        lambda: bool(workspace.session.open_gaps) and bool(workspace.review.selected),
    )
    steps["open gaps"] = len(workspace.session.open_gaps)
    steps["components"] = workspace.session.components.count
    before = workspace.session.history_position
    step("ten verdicts", verdicts, lambda: workspace.session.history_position >= before + 10)
    before = workspace.session.history_position
    step("a brush stroke", paint, lambda: workspace.session.history_position > before)
    step("undo", workspace.undo, lambda: workspace.session.history_position == before)
    step("redo", workspace.redo, lambda: workspace.session.history_position == before + 1)
    if picture is not None:
        viewer.screenshot(path=str(picture), canvas_only=False, flash=False)
    step("save the mask", lambda: workspace.save_mask(work / "mask.png"), (work / "mask.png").is_file)
    step("mark as done", workspace.mark_done, lambda: workspace.record.state == "done")
    step("export", lambda: workspace.export(work / "out", on_done=exported.append), lambda: bool(exported))
    workspace.close()
    viewer.close()
    settle(0.5)
    return steps


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chasedb1", type=Path)
    parser.add_argument("--hrf", type=Path)
    parser.add_argument("--pictures", type=Path, help="write a screenshot of each set to this folder")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "window_job.json")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        with tempfile.TemporaryDirectory() as work:
            print(json.dumps(do_job(options.one, Path(work), options.pictures)))
        return
    # Not before: the process that is measured should load what the window loads, and nothing else.
    from common import public_command, report_header
    from contenders import own_model

    from napari_vessel.images.image import Modality
    from napari_vessel.images.writing import write_json
    from napari_vessel.segmentation.registry import default_model

    report: dict[str, Any] = report_header(public_command(parser, options), PROTOCOL)
    report["model"] = own_model(default_model(Modality.FUNDUS)).key()
    for name, file in FIRST_TEST.items():
        folder = getattr(options, name)
        if folder is None:
            continue
        command = [sys.executable, __file__, "--one", str(folder / "images" / file)]
        if options.pictures is not None:
            command += ["--pictures", str(options.pictures / f"window_{name}.png")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        report[name] = {"image": file, **json.loads(done.stdout.splitlines()[-1])}
        print(name, json.dumps(report[name], indent=1))
    write_json(options.output, report)


if __name__ == "__main__":
    main()
