"""How the window stands still while a fine-tuning goes on: the beats of the GUI's thread, at rest and at work."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from common import decimal, files_hash, markdown_table
from contenders import model_key
from finetune_runs import Budget, code, kept

import napari_vessel
from napari_vessel.segmentation.registry import ModelInfo

SHAPE = (584, 565)
IMAGES = 4
"""In the project; all but one are done, and that is under review."""

ROUNDS = 12
"""Of keys, before the training; while it goes on there are as many as it lasts for."""

PAUSE_SECONDS = 0.4
PATIENCE_SECONDS = 1800.0

PROTOCOL = (
    f"*Standstills*: a project of {IMAGES} synthetic photographs of 584 x 565 with broken masks, all but one done, in "
    "the real window, with the Fine-tune dock in front beside the others; its Start button is clicked, and the "
    "training runs in its own process on the same processor. A standstill is the longest time between two beats of a "
    "5 ms timer on the GUI's thread, by the clock and as what that thread computed in it; the first holds whatever "
    "other programs took of the processor, the training first of all. At work: A, Ctrl+Z and N, one after the other, "
    "on the open image's gaps. Software OpenGL computes in threads of its own."
)

PHASES = {
    "at rest, before": "nothing runs, nobody touches it",
    "at work, before": "keys, no training",
    "from Start to the first step": "what was decided is read and kept, images to rehearse are made",
    "training, at work": "keys, while it trains",
    "training, at rest": "nobody touches it, while it trains; curves are drawn",
    "to the verdict": "the gate, the version, the list of versions",
}


def stalls(budget: Budget, start: ModelInfo, device: str, make: bool = True, fresh: bool = False) -> Any:
    """Return the standstills of a run, by phases; None when it has to be made and is not to be."""
    name = f"stalls-{device}-{budget.steps}steps-{budget.rehearsal}rehearsed"

    def perform() -> dict[str, Any]:
        words = [str(budget.steps), str(budget.rehearsal), device]
        done = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
        return {"budget": asdict(budget), "device": device, **json.loads(done.stdout.splitlines()[-1])}

    gui = files_hash(sorted((Path(napari_vessel.__file__).parent / "gui").rglob("*.py")))[:12]
    key = {
        **asdict(budget),
        "device": device,
        "code": code(working=True),
        "gui": gui,
        "script": files_hash([Path(__file__)]),
    }
    return kept(name, {**key, "start": model_key(start)}, perform if make else None, fresh)


def stalls_table(result: dict[str, Any]) -> str:
    """Return a row for each phase, and whether the goal was reached."""
    phases = result["phases"]
    heads = ["phase", "", "seconds", "longest standstill, ms", "over 100 ms", "most computed in one, ms", "over 100 ms"]
    rows = [
        [
            name,
            PHASES[name],
            decimal(one["seconds"], 0),
            one["longest_ms"],
            one["stalls"],
            one["busiest_ms"],
            one["busy"],
        ]
        for name, one in phases.items()
    ]
    training = [one for name, one in phases.items() if "before" not in name]
    computed, clock = (sum(one[key] for one in training) for key in ("busy", "stalls"))
    waiting = f"{result['load']:.1f} processes waited for {result['cores']} cores"
    if computed:
        told = f"**not reached**: {computed} in which the GUI's thread itself computed as long, {clock} by the clock"
    elif clock:
        told = f"**not shown**: none in which the GUI's thread itself computed as long, {clock} by the clock"
    else:
        told = "reached"
    goal = "Goal, no standstill over 100 ms while a run goes on"
    return f"{result['steps']} steps. {goal}: {told}; {waiting}.\n\n{markdown_table(heads, rows)}"


# In a process of its own, with a window


class Meter:
    """Lets the event loop run, and notes the standstills of one phase after another."""

    def __init__(self) -> None:
        from latency_figures import Pulse

        self._heart = Pulse()
        self.phases: dict[str, dict[str, float]] = {}

    def run(self, seconds: float = 0.0, until: Callable[[], bool] = lambda: True) -> None:
        """Let the event loop run for a while, and then until something is so."""
        from qtpy.QtWidgets import QApplication

        now = time.perf_counter()
        end, patience = now + seconds, now + PATIENCE_SECONDS
        while now < end or not until():
            if now > patience:
                raise SystemExit("waited in vain")
            QApplication.processEvents()
            time.sleep(0.0005)
            now = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note the standstills of what is done meanwhile."""
        heart, begun = self._heart, time.perf_counter()
        heart.reset()
        yield
        self.phases[name] = {
            "seconds": round(time.perf_counter() - begun, 1),
            "longest_ms": round(1000 * heart.longest, 1),
            "stalls": heart.stalls,
            "busiest_ms": round(1000 * heart.busiest, 1),
            "busy": heart.busy,
        }


def make_project(folder: Path) -> None:
    """Make a project of photographs with broken masks, the last of them with the proposals for it."""
    from napari_vessel import propose_gaps
    from napari_vessel.images.image import VESSEL, VesselMask
    from napari_vessel.jobs import run_job
    from napari_vessel.review import ImageState, Project
    from napari_vessel.synthesis.samples import make_sample

    with Project.create(folder) as project:
        for seed in range(IMAGES):
            sample = make_sample("fundus", seed=seed, shape=SHAPE)
            mask = VesselMask(sample.broken.astype(np.uint8), (VESSEL,))
            [record] = run_job(project.add([sample.image], masks=mask))
            if seed < IMAGES - 1:
                project.set_state(record.id, ImageState.DONE)
        project.open_session(record.id, "ann", remember=True).set_gaps(propose_gaps(sample.broken))


def measure(steps: int, rehearsal: int, device: str) -> dict[str, Any]:
    """Train in a window and return the standstills by phases."""
    import os

    from latency import clear, press
    from napari.qt import get_qapp
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    from napari_vessel.gui.launch import PLUGIN, open_window
    from napari_vessel.gui.workers import running_jobs
    from napari_vessel.gui.workspace import Workspace

    get_qapp()  # without it a timer never beats
    meter = Meter()
    with tempfile.TemporaryDirectory() as work:
        make_project(Path(work) / "project")
        viewer = open_window(Path(work) / "project")
        viewer.window.resize(1366, 768)
        dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Fine-tune", tabify=True)
        workspace, tuning = Workspace.of(viewer), widget.tuning
        meter.run(2.0, lambda: not running_jobs() and workspace.session is not None)
        dock.raise_()
        canvas = viewer.window._qt_viewer.canvas.native
        clear(canvas)
        canvas.setFocus()
        keys = (
            (Qt.Key.Key_A, Qt.KeyboardModifier.NoModifier),
            (Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier),
            (Qt.Key.Key_N, Qt.KeyboardModifier.NoModifier),
        )
        edits = workspace.session.history_position

        def work_on(going: Callable[[], bool]) -> None:
            for key, modifiers in keys:
                if going():
                    press(canvas, key, modifiers)
                    meter.run(PAUSE_SECONDS)

        def training() -> bool:
            return tuning.running and tuning.text.startswith("Training, ")

        work_on(lambda: True)  # what is imported and compiled on the way does not count
        meter.run(1.0, lambda: not running_jobs())
        with meter.phase("at rest, before"):
            meter.run(5.0)
        with meter.phase("at work, before"):
            for _ in range(ROUNDS):
                work_on(lambda: True)
        widget.device.setCurrentIndex(widget.device.findData(device))
        widget.steps.setValue(steps)
        widget.rehearsal.setValue(rehearsal)
        meter.run(0.5, lambda: widget.start_button.isEnabled() and not running_jobs())
        with meter.phase("from Start to the first step"):
            QTest.mouseClick(widget.start_button, Qt.MouseButton.LeftButton)
            meter.run(0.0, lambda: training() or not tuning.running)
        if not tuning.running:
            raise SystemExit(f"it did not train: {tuning.text}")
        with meter.phase("training, at work"):
            while training() and tuning.progress.done < steps / 2:
                work_on(training)
        with meter.phase("training, at rest"):
            meter.run(0.0, lambda: not training())
        load = os.getloadavg()[0]
        with meter.phase("to the verdict"):
            meter.run(0.0, lambda: not tuning.running and not running_jobs())
            meter.run(2.0, lambda: not running_jobs())
        assert workspace.session.history_position >= edits
        told = {"text": tuning.text, "steps": steps, "load": load, "cores": os.cpu_count()}
        workspace.close()
        viewer.close()
        meter.run(0.5)
    return {**told, "phases": meter.phases}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
