"""Does thousands of random things in a real window, and checks after each that nothing failed and nothing disagrees.

    xvfb-run -a python benchmarks/monkey.py [--actions 10000] [--seed 0] [--minutes 60] [-o FILE]
    python benchmarks/monkey.py --gather FILE... [-o benchmarks/results/monkey.json]

Every widget is docked; keys, clicks, brush strokes and buttons are real events, drawn by a seed. At the first failure
it says the seed and the last actions and ends with 1; with --verbose each action is said before it is done, for what
ends the whole process. With --gather nothing is run: the reports of several runs, of
other seeds or another Qt binding, become one. Needs a screen or Xvfb.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, gathered, markdown_table, public_command, report_header, write_report
from crash import State, make_project, state_of
from ears import Ears
from hands import ALT, CONTROL, LEFT, NONE, SHIFT, Hands, settle
from numpy.typing import NDArray
from qtpy import API_NAME, QT_VERSION
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox, QTableView, QWidget

from napari_vessel.gui.workspace import Workspace
from napari_vessel.review import Edit, Project, ReviewSession

PROTOCOL = (
    "After every action: no exception in any thread, no warning from Qt, no error shown, no dialog left open; the "
    "layer shows the session's mask; undo and redo are offered where there is something to undo and redo. After every "
    "25th: undo in this image and redo lead back to the same state. After every 50th and before the project is closed: "
    "mask, verdicts, proposals and place in the history, read anew from the database, are the session's. At the end: "
    "the first mask with every applied edit of the database on top, no snapshot used, is the session's mask."
)
UNDO_EVERY, REPLAY_EVERY, REMEMBERED = 25, 50, 20
PATIENCE_SECONDS = 120.0
WINDOW = (1000, 700)
"""Width and height of the window, px: to draw it takes half as long as at 1366 x 768."""
DOCKS = (
    "Vessel gaps",
    "Segment vessels",
    "Vessel project",
    "Measurements",
    "Export vessels",
    "Vessel training",
    "Fine-tune",
)


class MonkeyError(Exception):
    """What a random action has broken; the message says the seed and the last actions."""


class Monkey:
    """A random annotator in a viewer with every widget docked.

    Parameters
    ----------
    viewer : napari.Viewer
        On the screen.
    folder : Path
        A project with images.
    seed : int
        Decides everything but what the threads' timing decides.
    verbose : bool
        Print each action.
    """

    def __init__(self, viewer: Any, folder: Path, seed: int, verbose: bool = False) -> None:
        self.seed, self.done, self.edits = seed, Counter[str](), 0
        """Its seed, how often it did what, and how many edits, undos and redos that made."""
        self.on_progress: Callable[[], None] = lambda: None
        """Called after every 50th action."""
        self._rng = random.Random(seed)
        self._folder, self._viewer, self._verbose = folder, viewer, verbose
        self._ears = Ears()
        self._last: deque[str] = deque(maxlen=REMEMBERED)
        self._heard: ReviewSession | None = None
        self.workspace = Workspace.of(viewer)
        viewer.window.resize(*WINDOW)
        docked = [
            viewer.window.add_plugin_dock_widget("napari-vessel", name, tabify=bool(number))
            for number, name in enumerate(DOCKS)
        ]
        settle(0.2)
        self._docks = [dock for dock, _ in docked]
        self._gaps, _, self._project, self._measurements, *_ = (widget for _, widget in docked)
        self._show(0)
        self._hands = Hands(viewer, self._rng)
        self._actions = self._make_actions()
        self.workspace.image_opened.connect(self._listen)

    # What it does

    def _make_actions(self) -> list[tuple[int, str, Callable[[], object]]]:
        keys = [
            *((weight, name, getattr(Qt.Key, f"Key_{name}"), NONE) for name, weight in _KEYS.items()),
            (4, "Ctrl+Z", Qt.Key.Key_Z, CONTROL),
            (16, "Ctrl+Alt+Z", Qt.Key.Key_Z, CONTROL | ALT),
            (8, "Ctrl+Shift+Z", Qt.Key.Key_Z, CONTROL | SHIFT),
            (2, "Ctrl+Y", Qt.Key.Key_Y, CONTROL),
            (1, "Shift+N", Qt.Key.Key_N, SHIFT),
            (1, "Shift+B", Qt.Key.Key_B, SHIFT),
        ]
        presses = [
            (weight, f"key {name}", lambda c=code, m=mods: self._press(c, m)) for weight, name, code, mods in keys
        ]
        gaps, fragments = self._gaps, self._gaps.fragments
        return [
            *presses,
            (8, "repaint", self._hands.repaint),
            (8, "stroke", self._hands.drag),
            (8, "click in the canvas", self._hands.click),
            (6, "tab", self._click_tab),
            (6, "row", lambda: self._click_row(fragments.table if self.workspace.fragments.active else gaps.table)),
            (1, "image of the project", self._open_row),
            (2, "measure", self._measure),
            (2, "segment", self._click_segment),
            (8, "button", self._click_button),
            (4, "bulk", self._bulk),
            (2, "filter", self._filter),
            (2, "score", self._type_score),
            (2, "find again", lambda: self._click(gaps.find_button)),
            (2, "undo many", self._undo_many),
            (4, "wait", lambda: settle(self._rng.uniform(0.0, 1.0))),
            (1, "close and open", self._reopen),
        ]

    def _press(self, code: Qt.Key, modifiers: Any) -> str:
        places = {"canvas": self._hands.canvas, "gaps": self._gaps.table, "fragments": self._gaps.fragments.table}
        name = self._rng.choices(list(places), (4, 1, 1))[0]
        self._hands.key(code, modifiers, on=places[name])
        return f"on the {name}"

    def _click(self, widget: QWidget, at: QPoint | None = None) -> None:
        if widget.isVisible() and widget.isEnabled():
            QTest.mouseClick(widget, LEFT, NONE, widget.rect().center() if at is None else at)
        self._hands.pause()

    def _click_tab(self) -> str:
        tabs, number = self._gaps.tabs, self._rng.randint(0, 2)
        self._click(tabs, tabs.tabRect(number).center())
        return tabs.tabText(number)

    def _click_row(self, table: QTableView, twice: bool = False) -> str:
        count = table.model().rowCount()
        if not count:
            return "none"
        row = self._rng.randrange(count)
        index = table.model().index(row, 0)
        table.scrollTo(index)
        self._click(table.viewport(), table.visualRect(index).center())
        if twice:
            QTest.mouseDClick(table.viewport(), LEFT, NONE, table.visualRect(index).center())
        return str(row)

    def _show(self, dock: int) -> None:
        self._docks[dock].raise_()
        settle(0.02)

    def _open_row(self) -> str:
        self._show(2)
        said = self._click_row(self._project.table, twice=True)
        self._show(0)
        return said

    def _measure(self) -> None:
        self._show(3)
        self._click(self._measurements.measure_button)
        self._show(0)

    def _click_segment(self) -> str:
        self._show(3)
        said = self._click_row(self._measurements.segments)
        self._show(0)
        return said

    def _click_button(self) -> str:
        # Looking for breaks with a network takes longer than everything else; all other buttons act at once.
        buttons = [
            button
            for button in self._gaps.findChildren(QAbstractButton)
            if button.isVisible() and button.isEnabled() and not self._gaps.completion.isAncestorOf(button)
        ]
        button = self._rng.choice(buttons)
        text = button.text()
        self._click(button, QPoint(8, button.height() // 2))
        return text

    def _bulk(self) -> str:
        panel = self._gaps.fragments if self.workspace.fragments.active else self._gaps
        box = self._gaps.fragments.size if self.workspace.fragments.active else self._gaps.bulk_score
        for _ in range(self._rng.randint(0, 3)):
            QTest.keyClick(box, self._rng.choice((Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageDown)))
        self._click(panel.bulk.button)
        code = self._rng.choice((Qt.Key.Key_Return, Qt.Key.Key_Escape, Qt.Key.Key_A, Qt.Key.Key_N))
        self._press(code, NONE)
        return f"{box.value()}, then {chr(code) if code < 256 else hex(code)}"

    def _filter(self) -> str:
        box: QComboBox = (
            self._gaps.fragments.state_filter if self.workspace.fragments.active else self._gaps.state_filter
        )
        # Mostly everything: what no list shows is no work.
        for _ in range(self._rng.randint(0, 4)):
            QTest.keyClick(box, self._rng.choice((Qt.Key.Key_Down, Qt.Key.Key_Home)))
        self._hands.pause()
        return box.currentText()

    def _type_score(self) -> str:
        box, text = self._gaps.score_filter, self._rng.choice(("0.00", "0.00", "0.30", "0.90"))
        if not box.isVisible():
            return "not shown"
        box.setFocus()
        box.selectAll()
        QTest.keyClicks(box, text)
        QTest.keyClick(box, Qt.Key.Key_Return)
        self._hands.pause()
        return text

    def _undo_many(self) -> str:
        count = self._rng.randint(5, 40)
        for _ in range(count):
            QTest.keyClick(self._hands.canvas, Qt.Key.Key_Z, CONTROL | ALT)
        return str(count)

    def _reopen(self) -> None:
        self.workspace.flush()
        self._compare_with_journal()
        before = self._state()
        self.workspace.close_project()
        settle(0.05)
        self._project.open_existing(self._folder)
        self._wait_for_image()
        after = self._state()
        # Closed while another image was about to open, it may be that one's turn now.
        same = before is None or after is None or after["image"] != before["image"] or after == before
        self._demand(same, "the project opened again is not as it was closed")

    # What it checks

    def run(self, actions: int, minutes: float = float("inf")) -> int:
        """Do so many actions, or fewer when the time is over, and return how many were done.

        Raises
        ------
        MonkeyError
            If one breaks something.
        """
        end, number = time.monotonic() + 60 * minutes, 0
        names = [(name, do) for _, name, do in self._actions]
        weights = [weight for weight, _, _ in self._actions]
        # napari collects garbage whenever a layer goes: what is there by now need not be looked through each time.
        gc.collect()
        gc.freeze()
        try:
            with self._ears.listening():
                self._project.open_existing(self._folder)
                self._wait_for_image()
                while number < actions and time.monotonic() < end:
                    number += 1
                    name, do = self._rng.choices(names, weights)[0]
                    self._last.append(f"{number}: {name}")
                    if self._verbose:
                        print(self._last[-1], flush=True)
                    more = do()
                    self._last[-1] += f" ({more})" if more else ""
                    self._check(number)
                    self.done[name] += 1
                    if number % REPLAY_EVERY == 0:
                        self.on_progress()
                self.workspace.flush()
                self._compare_with_journal()
                self._replay()
        finally:
            gc.unfreeze()
        return number

    def _listen(self) -> None:
        session = self.workspace.session
        if session is not None and session is not self._heard:
            self._heard = session
            session.edited.connect(self._on_edited)

    def _on_edited(self, edit: Edit, box: object) -> None:
        self.edits += 1

    def _wait_for_image(self) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while self.workspace.session is None:
            self._demand(time.monotonic() < end, "waited in vain for the image")
            settle(0.02)
        self._hands.canvas.setFocus()

    def _state(self) -> State | None:
        session = self.workspace.session
        return None if session is None else state_of(session)

    def _check(self, number: int) -> None:
        QApplication.processEvents()
        self._compare_layer()
        if number % UNDO_EVERY == 0:
            self._undo_and_redo()
            self._compare_layer()
        if number % REPLAY_EVERY == 0:
            self._compare_with_journal()
        self._demand(not self._ears.heard, "\n".join(self._ears.heard))

    def _compare_layer(self) -> None:
        self.workspace.flush()
        session, layer = self.workspace.session, self.workspace.scene.mask_layer
        if session is None:
            # Between two projects, or while another image is read.
            self._demand(layer is None, "no image is open, but its mask is shown")
            return
        self._demand(np.array_equal(layer.data, session.labels), "the layer shows another mask than the session's")
        self._demand(
            (session.can_undo, bool(session.undo_text)) == (session.history_position > 0,) * 2,
            f"undo is offered wrongly at edit {session.history_position}: {session.undo_text!r}",
        )
        buttons, timeline = self._gaps.buttons, self.workspace.timeline
        offered = (bool(timeline.undo_text), bool(timeline.redo_text))
        self._demand(
            (buttons["undo"].isEnabled(), buttons["redo"].isEnabled()) == offered,
            "the undo and redo buttons are not what the project's history says",
        )
        self._demand(offered[0] or not session.can_undo, "what can be undone here is not offered")

    def _undo_and_redo(self) -> None:
        session, before = self.workspace.session, self._state()
        if session is None or before is None or not session.can_undo:
            return
        QTest.keyClick(self._hands.canvas, Qt.Key.Key_Z, CONTROL | ALT)
        # Another image may have opened meanwhile.
        if self.workspace.session is not session:
            return
        self._demand(session.history_position < before["position"], f"undo did nothing: {session.undo_text!r}")
        self._demand(session.can_redo, "what was undone cannot be redone")
        QTest.keyClick(self._hands.canvas, Qt.Key.Key_Z, CONTROL | SHIFT)
        if self.workspace.session is session:
            self._demand(self._state() == before, "undo and redo do not lead back to where they began")

    def _compare_with_journal(self) -> None:
        project, session = self.workspace.project, self.workspace.session
        if project is None or session is None:
            return
        stored = project.open_session(session.image_id, session.annotator, remember=False)
        self._demand(state_of(stored) == state_of(session), "the database has another state than the session")
        offered = (session.undo_text, session.redo_text)
        self._demand((stored.undo_text, stored.redo_text) == offered, "the database has another history")
        same = [gap.id for gap in stored.gaps] == [gap.id for gap in session.gaps]
        self._demand(same, "the database has other proposals than the session")

    def _replay(self) -> None:
        project, session = self.workspace.project, self.workspace.session
        if project is None or session is None:
            return
        self._demand(np.array_equal(replayed(project, session), session.labels), "the edits do not make the mask")

    def _demand(self, holds: bool, what: str) -> None:
        if not holds:
            heard = "".join(f"\n{text}" for text in self._ears.heard if text not in what)
            last = "\n".join(self._last)
            raise MonkeyError(f"{what}{heard}\nbinding {API_NAME}, seed {self.seed}, the last actions:\n{last}")


_KEYS = {
    "A": 12, "R": 10, "E": 6, "U": 4, "S": 4, "N": 8, "B": 6, "T": 2, "G": 2, "C": 2, "D": 1, "Delete": 2, "W": 4,
    "X": 4, "Return": 6, "Escape": 6, "P": 4, "Q": 3, "1": 2, "2": 2, "4": 2, "6": 4,
}  # fmt: skip
"""How often each key is pressed; P and the digits take napari's own tools. What opens an image is rare: it takes as
long as twenty other things."""


def replayed(project: Project, session: ReviewSession) -> NDArray[np.uint8]:
    """Return the mask that the first one and all applied edits of the database make, no snapshot used."""
    stored = project.open_session(session.image_id, session.annotator, remember=False)
    labels = project._base(project.record(session.image_id)).copy()
    for edit in reversed(list(stored._history.back())):
        for mask in edit.masks:
            y0, x0, y1, x1 = mask.box
            labels[y0:y1, x0:x1] = mask.labels_after()
    return labels


def monkey(
    viewer: Any,
    folder: Path,
    actions: int,
    seed: int,
    minutes: float = float("inf"),
    side: int | None = None,
    verbose: bool = False,
    keep: Callable[[dict[str, Any]], None] = lambda run: None,
) -> dict[str, Any]:
    """Make a project of two images, `side` px wide and high, let a monkey at it, and return what it did.

    When it breaks something, the run ends there and ``failure`` says what, with the last actions. After every 50th
    action `keep` is given what would be the result if the process ended there.
    """
    make_project(folder, side)
    animal, began = Monkey(viewer, folder, seed, verbose), time.monotonic()

    def so_far(failure: str) -> dict[str, Any]:
        return {
            "binding": API_NAME,
            "qt": QT_VERSION,
            "seed": seed,
            "side": side,
            "actions": animal.done.total(),
            "edits": animal.edits,
            "minutes": round((time.monotonic() - began) / 60, 1),
            "failure": failure,
            "kinds": dict(sorted(animal.done.items())),
        }

    animal.on_progress = lambda: keep(so_far(f"The process ended within {REPLAY_EVERY} actions of this one."))
    try:
        animal.run(actions, minutes)
    except MonkeyError as error:
        return so_far(str(error))
    return so_far("")


def body_of(runs: Sequence[dict[str, Any]]) -> str:
    """Return the table of a report, one row for each binding."""
    rows = []
    for name in sorted({f"{run['binding']} ({run['qt']})" for run in runs}):
        mine = [run for run in runs if name == f"{run['binding']} ({run['qt']})"]
        sums = [sum(run[key] for run in mine) for key in ("actions", "edits")]
        rows.append([name, len(mine), *sums, sum(bool(run["failure"]) for run in mine)])
    return markdown_table(["binding (Qt)", "seeds", "actions", "edits made", "failures"], rows)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after that long, with fewer actions")
    parser.add_argument("--side", type=int, help="width and height of the images, px; 584 x 565 when left out")
    parser.add_argument("--verbose", action="store_true", help="print each action")
    parser.add_argument("--gather", type=Path, nargs="+", metavar="FILE", help="make one report of these, run nothing")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "monkey.json")
    return parser


def run_here(options: argparse.Namespace, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run one monkey in a window of its own and return what it did; see :func:`monkey` for `keep`."""
    with tempfile.TemporaryDirectory() as folder:
        # What the program keeps for its user is not to be filled with a monkey's projects.
        for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            os.environ[name] = str(Path(folder) / "home")
        import napari

        viewer, project = napari.Viewer(), Path(folder) / "project"
        try:
            done = (options.actions, options.seed, options.minutes, options.side, options.verbose)
            return monkey(viewer, project, *done, keep)
        finally:
            Workspace.of(viewer).close()
            viewer.close()


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    command = public_command(parser, options)

    def write(runs: Sequence[dict[str, Any]]) -> None:
        report = report_header(command, PROTOCOL) | {"results": runs}
        write_report(options.out, "Random actions", report, body_of(runs))

    if options.gather:
        runs, command = gathered(options.gather)
    else:
        runs = [run_here(options, lambda run: write([run]))]
    write(runs)
    print(body_of(runs))
    failures = [run["failure"] for run in runs if run["failure"]]
    if failures:
        raise SystemExit("\n\n".join(failures))


if __name__ == "__main__":
    main()
