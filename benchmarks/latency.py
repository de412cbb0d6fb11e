"""Time from a key to the frame that shows its effect, in the window, beside napari alone in the same process.

    xvfb-run -a python benchmarks/latency.py [--rounds 100] [--strokes 30] [-o benchmarks/results/latency.json]

A generated fundus photograph with a broken mask is under review in the real window with its widgets docked. A second,
plain viewer has the same image and mask, the same canvas size and camera. After each action in one window the nearest
thing that napari alone does follows in the other, at once, so that the load of the machine falls on both. One process
for each size. Needs a screen or Xvfb.
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
from common import RESULTS, public_command, report_header, write_report
from latency_figures import BESIDE, Figure, Pulse, summaries, table

SIZES = ((584, 565), (2336, 3504))
PATIENCE_SECONDS = 60.0
QUIET_SECONDS = 0.12
SEARCH_SECONDS = 0.8
"""After a stroke gaps are looked for anew, when the hand has rested; that counts among the standstills."""

PROTOCOL = (
    "A figure is the time from the key, or the release of the mouse button, to the end of the first frame whose "
    "painting began after the action was done: composed with the docks and handed to the screen (frameSwapped). For a "
    "verdict, undo or redo, done means written to the project's database; for a verdict, N and B, that the next gap is "
    "under review, too. Ctrl+Z takes back an accept. W, mouse moved: the live wire's way to the mouse; W, click: its "
    "stroke; Enter: the end of that repaint. E changes nothing on the canvas: its frame is the first that the window "
    "put together with what the docks say. Each time is followed at once by the same of napari alone; the ratio is "
    "the median of the pairs' ratios, with the quartiles. Computing time is that of the process, all threads, software "
    "OpenGL among them, in the same span: unlike the clock it hardly depends on what else the machine does. A "
    "standstill is the longest time between two beats of a 5 ms timer on the GUI's thread, from the key until every "
    "job has ended, by the clock and as what the GUI's thread computed in it; the first holds whatever other programs "
    "took of the processor."
)


class Hand:
    """Does things in viewers, and notes when their effect was on the screen.

    Attributes
    ----------
    pairs : dict
        By action: what each time took, and what the same of napari alone took right after it.
    """

    def __init__(self) -> None:
        self.pairs: dict[str, list[tuple[Figure, Figure]]] = defaultdict(list)
        self._heart = Pulse()

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
        self,
        name: str,
        canvas: Any,
        act: Callable[[], None],
        done: Callable[[], bool] = lambda: True,
        rest: float = 0,
        docks: bool = False,
    ) -> Figure:
        """Do something and return what it took until a frame has shown it, on the canvas or with `docks` beside it."""
        from qtpy.QtWidgets import QApplication

        self.rest(0.02)
        with frames(canvas, done, docks) as shown:
            self._heart.reset()
            start, computed = time.perf_counter(), time.process_time()
            act()
            while not shown:
                if time.perf_counter() - start > PATIENCE_SECONDS:
                    raise SystemExit(f"waited in vain for a frame: {name}")
                QApplication.processEvents()
                time.sleep(0.0005)
        at, by_then = shown[0]
        self.rest(rest or QUIET_SECONDS)
        heart = self._heart
        return Figure(at - start, by_then - computed, heart.longest, heart.stalls, heart.busiest, heart.busy)


@contextlib.contextmanager
def frames(canvas: Any, done: Callable[[], bool], docks: bool = False) -> Iterator[list[tuple[float, float]]]:
    """Give a list that gets both clocks, as of every frame whose painting began when `done` said yes.

    The painting of the canvas, or with `docks` of anything in its window.
    """
    from qtpy.QtCore import QEvent, QObject

    painted, shown = [False], list[tuple[float, float]]()

    class Watch(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == begins and done():
                painted[0] = True
            return False

    def swapped() -> None:
        if painted[0]:
            shown.append((time.perf_counter(), time.process_time()))

    begins = QEvent.Type.UpdateRequest if docks else QEvent.Type.Paint
    watched = canvas.window() if docks else canvas
    watch = Watch()
    watched.installEventFilter(watch)
    canvas.frameSwapped.connect(swapped)
    try:
        yield shown
    finally:
        canvas.frameSwapped.disconnect(swapped)
        watched.removeEventFilter(watch)


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


_sent: list[Any] = []


def mouse(canvas: Any, kind: str, place: Any, pressed: bool = False) -> None:
    """Send a canvas ``MouseMove``, ``MouseButtonPress`` or ``MouseButtonRelease``.

    Qt's own helper moves the pointer, which the other window may lie under, and its events do not live: vispy keeps the
    last, and would take the next key, at the same address, for it.
    """
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    what = (none if kind == "MouseMove" else left, left if pressed else none, Qt.KeyboardModifier.NoModifier)
    event = QMouseEvent(getattr(QEvent.Type, kind), QPointF(place), QPointF(canvas.mapToGlobal(place)), *what)
    _sent.append(event)
    QApplication.sendEvent(canvas, event)


def click(canvas: Any, place: Any) -> None:
    """Click into a canvas."""
    mouse(canvas, "MouseButtonPress", place, True)
    mouse(canvas, "MouseButtonRelease", place)


def stroke(hand: Hand, canvas: Any, shift: int, rest: float = 0) -> Figure:
    """Draw a stroke near the middle of the canvas; what counts begins with the last movement and the release."""
    from qtpy.QtCore import QPoint
    from qtpy.QtWidgets import QApplication

    place = QPoint(canvas.width() // 2 - 60, canvas.height() // 2 + shift)
    mouse(canvas, "MouseMove", place)
    mouse(canvas, "MouseButtonPress", place, True)
    for _ in range(6):
        place += QPoint(16, 4)
        mouse(canvas, "MouseMove", place, True)
        QApplication.processEvents()
    place += QPoint(16, 4)

    def release() -> None:
        mouse(canvas, "MouseMove", place, True)
        mouse(canvas, "MouseButtonRelease", place)

    return hand.do("brush stroke", canvas, release, rest=rest)


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

    def press(self, name: str, key: Any, waits: str = "", modifiers: Any = None) -> Figure:
        """Press a key and wait for what it changes: ``history``, ``selected``, both, or nothing in particular."""
        workspace, session = self.workspace, self.workspace.session
        before, position = self._selected(), session.history_position

        def done() -> bool:
            moved = "selected" not in waits or self._selected() not in ("", before)
            painting = "repaint" not in waits or workspace.review.repainting == (name == "E")
            return moved and painting and ("history" not in waits or session.history_position != position)

        return self.hand.do(name, self.canvas, lambda: press(self.canvas, key, modifiers), done, docks=name == "E")

    def _selected(self) -> str:
        fragments = self.workspace.fragments
        return fragments.selected if fragments.active else self.workspace.review.selected

    def _undo(self, name: str = "") -> Figure:
        from qtpy.QtCore import Qt

        return self.press(name, Qt.Key.Key_Z, "history", Qt.KeyboardModifier.ControlModifier)

    def keys(self) -> Iterator[tuple[str, Figure]]:
        """Press every key once; verdicts are taken back, and the next round begins at the next gap."""
        from qtpy.QtCore import Qt

        key = Qt.Key
        review = self.workspace.review
        if review.selected not in review.walk()[:-1]:
            # A search after a stroke may have found another gap in the place of the one under review; and from the last
            # one N goes to the first, where B has nowhere to go.
            review.select_first()
            self.hand.rest(QUIET_SECONDS)
        yield "A", self.press("A", key.Key_A, "history selected")
        yield "Ctrl+Z", self._undo("Ctrl+Z")
        both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        yield "Ctrl+Shift+Z", self.press("Ctrl+Shift+Z", key.Key_Z, "history", both)
        self._undo()
        for name, letter in (("R", key.Key_R), ("U", key.Key_U)):
            yield name, self.press(name, letter, "history selected")
            self._undo()
        yield "N", self.press("N", key.Key_N, "selected")
        yield "B", self.press("B", key.Key_B, "selected")
        self.press("N", key.Key_N, "selected")
        for name, letter in (("T", key.Key_T), ("C", key.Key_C)):
            yield name, self.press(name, letter)
            self.press(name, letter)

    def fragments(self) -> Iterator[tuple[str, Figure]]:
        """Keep and delete a fragment, and take both back."""
        from qtpy.QtCore import Qt

        self._show("fragments")
        if self.workspace.fragments.selected:
            for name, letter in (("A on a fragment", Qt.Key.Key_A), ("R on a fragment", Qt.Key.Key_R)):
                yield name, self.press(name, letter, "history selected")
                self._undo()
        self._show("gaps")

    def _show(self, queue: str) -> None:
        self.workspace.queues.show(queue)
        self.hand.rest(QUIET_SECONDS)

    def repaint(self) -> Iterator[tuple[str, Figure]]:
        """Repaint a gap with the live wire, and take it back."""
        from qtpy.QtCore import QPoint, Qt

        canvas = self.canvas
        middle = QPoint(canvas.width() // 2, canvas.height() // 2)
        yield "E", self.press("E", Qt.Key.Key_E, "repaint")
        self.hand.rest(SEARCH_SECONDS)
        press(canvas, Qt.Key.Key_W)
        self.hand.rest(QUIET_SECONDS)
        click(canvas, middle - QPoint(40, 0))
        self.hand.rest(QUIET_SECONDS)
        mouse(canvas, "MouseMove", middle + QPoint(20, 6))
        self.hand.rest(QUIET_SECONDS)
        name = "W, mouse moved"
        yield name, self.hand.do(name, canvas, lambda: mouse(canvas, "MouseMove", middle + QPoint(40, 12)))
        session, name = self.workspace.session, "W, click"
        position = session.history_position

        end = partial(click, canvas, middle + QPoint(40, 12))
        yield name, self.hand.do(name, canvas, end, lambda: session.history_position != position)
        yield "Enter", self.press("Enter", Qt.Key.Key_Return, "repaint history")
        self._undo()
        self.hand.rest(SEARCH_SECONDS)

    def stroke(self, shift: int) -> Iterator[tuple[str, Figure]]:
        """Draw a stroke over the mask and take it back."""
        session = self.workspace.session
        layer = self.workspace.scene.mask_layer
        layer.brush_size, layer.mode = 9, "paint"
        yield "brush stroke", stroke(self.hand, self.canvas, shift, SEARCH_SECONDS)
        if not session.can_undo:
            raise SystemExit("the stroke was not taken into the review")
        layer.mode = "pan_zoom"
        self.hand.rest(QUIET_SECONDS)
        self._undo()
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
        self._keys = {"edit": "F6", "camera": "F7", "hide or show": "F8"}
        acts = (self._edit, self._move, self._hide)
        for letter, act in zip(self._keys.values(), acts, strict=True):
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

    def do(self, name: str, shift: int = 0) -> Figure:
        """Do what an action is compared with, and take it back."""
        from qtpy.QtCore import Qt

        if name == "brush stroke":
            self.layer.brush_size, self.layer.mode = 9, "paint"
            figure = stroke(self.hand, self.canvas, shift)
            self.layer.mode = "pan_zoom"
            self.layer.undo()
            return figure
        key = getattr(Qt.Key, f"Key_{self._keys[name]}")
        figures = []
        # Twice is back again, but for the camera; the second time does not count.
        for wanted in (self._acts + 1, self._acts + 2):
            done = partial(lambda number: self._acts == number, wanted)
            figures.append(self.hand.do(name, self.canvas, partial(press, self.canvas, key), done))
        return figures[0]


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


def measure(shape: tuple[int, int], rounds: int, strokes: int) -> dict[str, list[tuple[Figure, Figure]]]:
    """Measure everything at one size and return what :attr:`Hand.pairs` has."""
    from napari.qt import get_qapp

    get_qapp()  # without it a timer never beats
    hand = Hand()
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(hand, Path(folder) / "project", shape)
        plain = Plain(hand, ours)
        try:
            alternate(hand, ours, plain, rounds, strokes)
        finally:
            # A process that ends with two of napari's windows open may end in a segmentation fault.
            ours.workspace.close()
            plain.viewer.close()
            ours.viewer.close()
            hand.rest(0.5)
    return dict(hand.pairs)


def alternate(hand: Hand, ours: Ours, plain: Plain, rounds: int, strokes: int) -> None:
    """Do everything in one window and what it is compared with in the other, round after round."""

    def pair(actions: Iterator[tuple[str, Figure]], shift: int = 0) -> None:
        for name, figure in actions:
            plain.look()
            hand.pairs[name].append((figure, plain.do(BESIDE[name], shift)))

    for number in range(rounds + 1):
        pair(ours.keys())
        if number <= strokes:
            pair(ours.fragments())
            pair(ours.repaint())
            shift = 12 * (number % 9) - 48
            pair(ours.stroke(shift), shift)
        if number == 0:
            hand.pairs.clear()  # what is imported and compiled on the way does not count
        print(f"{ours.workspace.session.shape}: round {number}", file=sys.stderr)


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
        pairs = json.loads(done.stdout.splitlines()[-1])
        results[size] = summaries({n: [(Figure(*o), Figure(*b)) for o, b in both] for n, both in pairs.items()})
        parts.append(f"## {size} (height x width)\n\n{table(results[size])}")
        print(parts[-1], flush=True)
    body = "\n\n".join(parts) + f"\n\nLoad of the machine at the beginning: {report['machine']['load']}."
    write_report(options.out, "From the key to the drawn frame", report | {"results": results}, body)


if __name__ == "__main__":
    main()
