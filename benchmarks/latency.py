"""Time from a key to the frame that shows its effect, in the window, beside napari alone in the same process.

    xvfb-run -a python benchmarks/latency.py [--rounds 100] [--strokes 30] [-o benchmarks/results/latency.json]

A generated fundus photograph with a broken mask is under review in the real window with its widgets docked. A second,
plain viewer has the same image and mask, the same canvas size and camera. Each round presses every key in one window,
then in the other, so that the load of the machine falls on both. One process for each size. Needs a screen or Xvfb.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, markdown_table, public_command, report_header, write_report
from window_job import Heart

SIZES = ((584, 565), (2336, 3504))
BESIDE = {
    "A": "napari: edit",
    "R": "napari: camera",
    "U": "napari: camera",
    "N": "napari: camera",
    "B": "napari: camera",
    "Ctrl+Z": "napari: edit",
    "T": "napari: hide or show",
    "C": "napari: add a layer",
    "brush stroke": "napari: brush stroke",
}
"""What of napari alone each action is compared with."""

PATIENCE_SECONDS = 60.0
QUIET_SECONDS = 0.12
SEARCH_SECONDS = 0.8
"""After a stroke gaps are looked for anew, when the hand has rested; that counts among the standstills."""

PROTOCOL = (
    "A figure is the time from the key, or the release of the mouse button, to the end of the first frame whose "
    "painting began after the action was done: composed with the docks and handed to the screen (frameSwapped). For a "
    "verdict or undo, done means written to the project's database; for a verdict, N and B, that the next gap is under "
    "review, too. Ctrl+Z takes back an accept. A ratio is of medians over the same rounds. A standstill is the longest "
    "time between two beats of a 5 ms timer on the GUI's thread, from the key until every job has ended; with software "
    "OpenGL, as under Xvfb, drawing is most of it. The machine's other work, see the load, is in all of the figures."
)


class Hand:
    """Presses keys in viewers, and notes when their effect was on the screen.

    Attributes
    ----------
    figures : dict
        By action: seconds to the frame, longest standstill in seconds, and number of stalls, of each time.
    """

    def __init__(self) -> None:
        self.figures: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
        self._heart = Heart()

    def rest(self, seconds: float) -> None:
        """Let the event loop run for a while, and then until no job is left."""
        from qtpy.QtWidgets import QApplication

        from napari_vessel.gui.workers import running_jobs

        now = time.perf_counter()
        quiet, patience = now + seconds, now + PATIENCE_SECONDS
        while now < quiet or running_jobs():
            if now > patience:
                raise SystemExit("waited in vain for a job to end")
            QApplication.processEvents()
            time.sleep(0.0005)
            now = time.perf_counter()

    def do(
        self, name: str, canvas: Any, act: Callable[[], None], done: Callable[[], bool] = lambda: True, rest: float = 0
    ) -> None:
        """Do something and note when a frame has shown it; with an empty name nothing is noted."""
        from qtpy.QtWidgets import QApplication

        self.rest(0.02)
        with frames(canvas, done) as shown:
            self._heart.reset()
            start = time.perf_counter()
            act()
            while not shown:
                if time.perf_counter() - start > PATIENCE_SECONDS:
                    raise SystemExit(f"waited in vain for a frame: {name}")
                QApplication.processEvents()
                time.sleep(0.0005)
        self.rest(rest or QUIET_SECONDS)
        if name:
            self.figures[name].append((shown[0] - start, self._heart.longest, self._heart.stalls))


@contextlib.contextmanager
def frames(canvas: Any, done: Callable[[], bool]) -> Iterator[list[float]]:
    """Give a list that gets the time of every frame whose painting began when `done` said yes."""
    from qtpy.QtCore import QEvent, QObject

    painted, shown = [False], list[float]()

    class Watch(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Paint and done():
                painted[0] = True
            return False

    def swapped() -> None:
        if painted[0]:
            shown.append(time.perf_counter())

    watch = Watch()
    canvas.installEventFilter(watch)
    canvas.frameSwapped.connect(swapped)
    try:
        yield shown
    finally:
        canvas.frameSwapped.disconnect(swapped)
        canvas.removeEventFilter(watch)


def clear(canvas: Any) -> None:
    """Close napari's notifications, which lie over the canvas and are drawn with every frame."""
    from qtpy.QtWidgets import QDialog

    for dialog in canvas.findChildren(QDialog):
        dialog.close()


def press(canvas: Any, key: Any, modifiers: Any = None) -> None:
    """Press and let go of a key."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    QTest.keyClick(canvas, key, Qt.KeyboardModifier.NoModifier if modifiers is None else modifiers)


def stroke(hand: Hand, name: str, canvas: Any, shift: int, done: Callable[[], bool], rest: float = 0) -> None:
    """Draw a stroke near the middle of the canvas; what counts begins with the last movement and the release."""
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    place = QPoint(canvas.width() // 2 - 60, canvas.height() // 2 + shift)
    QTest.mouseMove(canvas, place)
    QTest.mousePress(canvas, left, none, place)
    for _ in range(6):
        place += QPoint(16, 4)
        QTest.mouseMove(canvas, place)
        QApplication.processEvents()
    place += QPoint(16, 4)

    def release() -> None:
        QTest.mouseMove(canvas, place)
        QTest.mouseRelease(canvas, left, none, place)

    hand.do(name, canvas, release, done, rest)


class Ours:
    """The window with an image under review."""

    def __init__(self, hand: Hand, folder: Path, shape: tuple[int, int]) -> None:
        from napari_vessel.gui.launch import open_window
        from napari_vessel.gui.workspace import Workspace

        make_project(folder, shape)
        self.hand = hand
        self.viewer = open_window(folder)
        self.viewer.window.resize(1366, 768)
        self.workspace = Workspace.of(self.viewer)
        hand.rest(2.0)
        if not self.workspace.review.selected:
            raise SystemExit("no gap is under review")
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        clear(self.canvas)
        self.canvas.setFocus()

    def press(self, name: str, key: Any, waits: str = "", modifiers: Any = None) -> None:
        """Press a key and wait for what it changes: ``history``, ``selected``, both, or nothing in particular."""
        review, session = self.workspace.review, self.workspace.session
        selected, position = review.selected, session.history_position

        def done() -> bool:
            moved = "selected" not in waits or review.selected not in ("", selected)
            return moved and ("history" not in waits or session.history_position != position)

        self.hand.do(name, self.canvas, lambda: press(self.canvas, key, modifiers), done)

    def round(self) -> None:
        """Press every key once; verdicts are taken back, and the next round begins at the next gap."""
        from qtpy.QtCore import Qt

        key, control = Qt.Key, Qt.KeyboardModifier.ControlModifier
        for name, letter in (("A", key.Key_A), ("R", key.Key_R), ("U", key.Key_U)):
            self.press(name, letter, "history selected")
            self.press("Ctrl+Z" if name == "A" else "", key.Key_Z, "history", control)
        self.press("N", key.Key_N, "selected")
        self.press("B", key.Key_B, "selected")
        self.press("", key.Key_N, "selected")
        for name in ("T", ""):
            self.press(name, key.Key_T)
        for name in ("C", ""):
            self.press(name, key.Key_C)

    def stroke(self, shift: int) -> None:
        """Draw a stroke over the mask and take it back."""
        from qtpy.QtCore import Qt

        session = self.workspace.session
        layer = self.workspace.scene.mask_layer
        layer.brush_size, layer.mode = 9, "paint"
        stroke(self.hand, "brush stroke", self.canvas, shift, lambda: True, SEARCH_SECONDS)
        if not session.can_undo:
            raise SystemExit("the stroke was not taken into the review")
        layer.mode = "pan_zoom"
        self.hand.rest(QUIET_SECONDS)
        self.press("", Qt.Key.Key_Z, "history", Qt.KeyboardModifier.ControlModifier)
        self.hand.rest(SEARCH_SECONDS)

    def accepted(self) -> tuple[tuple[int, int], np.ndarray]:
        """Return what accepting the gap under review would draw: origin (y, x) and pixels."""
        from napari_vessel.completion import draw_gap

        return draw_gap(self.workspace.review.gap, self.workspace.session.shape)


class Plain:
    """A window with the same layers and nothing of the plugin's."""

    def __init__(self, hand: Hand, ours: Ours) -> None:
        import napari

        self.hand, self.ours, self.viewer, self._acts = hand, ours, napari.Viewer(), 0
        scene = ours.workspace.scene
        self.viewer.add_image(scene.image_layer.data, rgb=scene.image_layer.rgb)
        self.layer = self.viewer.add_labels(scene.mask_layer.data.copy(), opacity=scene.opacity)
        self.layer.contour = scene.contour
        self.viewer.window.resize(1366, 768)
        hand.rest(1.0)
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        more = ours.canvas.size() - self.canvas.size()
        self.viewer.window.resize(1366 + more.width(), 768 + more.height())
        hand.rest(1.0)
        clear(self.canvas)
        self.canvas.setFocus()
        for letter, act in (("F6", self._edit), ("F7", self._move), ("F8", self._hide), ("F9", self._add)):
            self.viewer.bind_key(letter, self._counted(act), overwrite=True)

    def _counted(self, act: Callable[[], None]) -> Callable[[Any], None]:
        def run(_: Any) -> None:
            act()
            self._acts += 1

        return run

    def look(self) -> None:
        """Look where the other window looks."""
        there = self.ours.workspace.scene._camera
        self._camera.center, self._camera.zoom = there.center, there.zoom

    @property
    def _camera(self) -> Any:
        scene = getattr(self.viewer, "scene", None)
        return self.viewer.camera if scene is None else scene.camera

    def _edit(self) -> None:
        (y, x), patch = self.ours.accepted()
        rows, columns = np.nonzero(patch)
        self.layer.data_setitem((rows + y, columns + x), 1 - self.layer.data[rows + y, columns + x])

    def _move(self) -> None:
        _, y, x = self._camera.center
        self._camera.center = (0.0, y + 7.0, x - 7.0)

    def _hide(self) -> None:
        self.layer.visible = not self.layer.visible

    def _add(self) -> None:
        if len(self.viewer.layers) > 2:
            del self.viewer.layers[2]
        else:
            self.viewer.add_labels(np.zeros_like(self.layer.data))
        self.viewer.layers.selection.active = self.layer

    def round(self) -> None:
        """Do everything once."""
        from qtpy.QtCore import Qt

        names = ("napari: edit", "napari: camera", "napari: hide or show", "napari: add a layer")
        keys = (Qt.Key.Key_F6, Qt.Key.Key_F7, Qt.Key.Key_F8, Qt.Key.Key_F9)
        for name, key in zip(names, keys, strict=True):
            # Twice is back again, but for the camera; the second time does not count.
            for noted in (name, ""):
                wanted = self._acts + 1
                done = partial(lambda number: self._acts == number, wanted)
                self.hand.do(noted, self.canvas, partial(press, self.canvas, key), done)

    def stroke(self, shift: int) -> None:
        """Draw a stroke over the mask and take it back."""
        self.layer.brush_size, self.layer.mode = 9, "paint"
        stroke(self.hand, "napari: brush stroke", self.canvas, shift, lambda: True)
        self.layer.mode = "pan_zoom"
        self.layer.undo()


def make_project(folder: Path, shape: tuple[int, int]) -> None:
    """Make a project with one generated photograph of a size, its broken mask, and the proposals for it."""
    from napari_vessel import propose_gaps
    from napari_vessel.images.image import VESSEL, VesselMask
    from napari_vessel.jobs import run_job
    from napari_vessel.review import Project
    from napari_vessel.synthesis.samples import make_sample

    sample = make_sample("fundus", shape=shape)
    with Project.create(folder) as project:
        [record] = run_job(project.add([sample.image], masks=VesselMask(sample.broken.astype(np.uint8), (VESSEL,))))
        session = project.open_session(record.id, "ann", remember=True)
        session.set_gaps(propose_gaps(sample.broken))


def measure(shape: tuple[int, int], rounds: int, strokes: int) -> dict[str, list[tuple[float, float, int]]]:
    """Measure everything at one size and return what :attr:`Hand.figures` has."""
    from napari.qt import get_qapp

    get_qapp()  # without it a timer never beats
    hand = Hand()
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(hand, Path(folder) / "project", shape)
        plain = Plain(hand, ours)
        for number in range(rounds + 1):
            ours.round()
            plain.look()
            plain.round()
            if number == 0:
                hand.figures.clear()  # what is imported and compiled on the way does not count
        for number in range(strokes + 1):
            shift = 12 * (number % 9) - 48
            for window in (ours, plain):
                window.stroke(shift)
            if number == 0:
                for name in ("brush stroke", "napari: brush stroke"):
                    hand.figures[name].clear()
        figures = dict(hand.figures)
        ours.workspace.close()
        plain.viewer.close()
        ours.viewer.close()
        hand.rest(0.5)
    return figures


def summary(times: list[tuple[float, float, int]], beside: list[tuple[float, float, int]] | None) -> dict[str, Any]:
    """Return median and 99th percentile in ms, their ratios to napari's, the longest standstill and the stalls."""
    half, most = (float(np.percentile([time for time, _, _ in times], share)) for share in (50, 99))
    found: dict[str, Any] = {
        "times": len(times),
        "p50_ms": round(1000 * half, 1),
        "p99_ms": round(1000 * most, 1),
        "longest_standstill_ms": round(1000 * max(longest for _, longest, _ in times), 1),
        "stalls_over_100_ms": sum(stalls for _, _, stalls in times),
    }
    if beside is not None:
        middle, end = (float(np.percentile([time for time, _, _ in beside], share)) for share in (50, 99))
        found |= {"p50_ratio": round(half / middle, 2), "p99_ratio": round(most / end, 2)}
    return found


def summaries(figures: dict[str, list[tuple[float, float, int]]]) -> dict[str, dict[str, Any]]:
    """Return the summary of every action, ours first, each beside what of napari it is compared with."""
    found = {}
    for name, other in BESIDE.items():
        found[name] = summary(figures[name], figures[other]) | {"beside": other}
    return found | {name: summary(figures[name], None) for name in dict.fromkeys(BESIDE.values())}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the summaries of a size as a Markdown table."""
    header = ["action", "times", "p50, ms", "p99, ms", "beside", "ratio of p50", "ratio of p99"]
    header += ["longest standstill, ms", "stalls over 100 ms"]
    names = ("times", "p50_ms", "p99_ms", "beside", "p50_ratio", "p99_ratio", "longest_standstill_ms")
    names = (*names, "stalls_over_100_ms")
    return markdown_table(header, [[action, *(one.get(name, "") for name in names)] for action, one in found.items()])


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--strokes", type=int, default=30)
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "latency.json")
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    if options.worker is not None:
        print(json.dumps(measure(tuple(options.worker), options.rounds, options.strokes)))
        return
    results, parts = {}, []
    report = report_header(public_command(parser, options), PROTOCOL)
    for height, width in SIZES:
        command = [sys.executable, __file__, "--worker", str(height), str(width)]
        command += ["--rounds", str(options.rounds), "--strokes", str(options.strokes)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        size = f"{height} x {width}"
        results[size] = summaries(json.loads(done.stdout.splitlines()[-1]))
        parts.append(f"## {size} (height x width)\n\n{table(results[size])}")
        print(parts[-1], flush=True)
    body = "\n\n".join(parts) + f"\n\nLoad of the machine at the beginning: {report['machine']['load']}."
    write_report(options.out, "From the key to the drawn frame", report | {"results": results}, body)


if __name__ == "__main__":
    main()
