"""Kills the window with SIGKILL at random moments of work, and compares what is on the disk with what was acknowledged.

    xvfb-run -a python benchmarks/crash.py [--kills 200] [--minutes 60] [-o benchmarks/results/crash.json]

An annotator in a process of its own presses random keys in the real window: verdicts, repaints with the mouse, undo and
redo, deleted components, bulk accepts, image to image. Each change is acknowledged on a pipe when the session tells the
window of it. After the kill the project is opened again. Needs a screen or Xvfb, and POSIX.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, markdown_table, public_command, report_header, write_report

from napari_vessel.errors import ProjectError
from napari_vessel.review import Project, ReviewSession

PROTOCOL = (
    "A change counts as lost when the project, opened again, has neither the state acknowledged last nor the one after "
    "one more change, which was committed and killed before it could be told. Compared are, of every image, the mask, "
    "the verdicts on gaps and fragments, and the place in the history; each is opened, and must open. The moment of "
    "the kill is drawn evenly from the first seconds of work."
)
PATIENCE_SECONDS = 300.0
LONGEST_SECONDS = 12.0
State = dict[str, Any]


def state_of(session: ReviewSession) -> State:
    """Return what is compared."""
    return {
        "image": session.image_id,
        "labels": hashlib.sha256(session.labels.tobytes()).hexdigest(),
        "verdicts": {name: record.verdict.value for name, record in sorted(session.verdicts.items())},
        "fragments": {name: record.verdict.value for name, record in sorted(session.fragment_verdicts.items())},
        "position": session.history_position,
    }


# The annotator's process


def annotate(seed: int) -> None:
    """Work in a window until killed; the project's folder comes on standard input once the window can be used."""
    import napari
    from hands import CONTROL, SHIFT, Hands, settle
    from qtpy.QtCore import Qt

    from napari_vessel.gui.workspace import Workspace

    rng = random.Random(seed)
    pipe, sys.stdout = sys.stdout, sys.stderr  # napari writes to standard output, too

    def say(state: State) -> None:
        pipe.write(json.dumps(state) + "\n")
        pipe.flush()

    viewer = napari.Viewer()
    viewer.window.resize(1366, 768)
    viewer.window.add_plugin_dock_widget("napari-vessel", "Vessel gaps")
    workspace = Workspace.of(viewer)
    settle(0.5)
    say({"warm": True})
    workspace.open_project(Path(sys.stdin.readline().rstrip("\n")))
    told: list[ReviewSession] = []

    def listen() -> None:
        session = workspace.session
        if session is not None and session not in told:
            told.append(session)
            session.edited.connect(lambda edit, box: say(state_of(session)))

    hands = Hands(viewer, rng, before=listen)
    key = hands.key

    def bulk() -> None:
        listen()
        if workspace.session is not None:
            workspace.session.accept_above(rng.uniform(0.6, 1.0))

    actions = (
        (5, lambda: key(Qt.Key.Key_A)),
        (4, lambda: key(Qt.Key.Key_R)),
        (1, lambda: key(Qt.Key.Key_U)),
        (1, lambda: key(Qt.Key.Key_S)),
        (3, lambda: key(Qt.Key.Key_N)),
        (3, lambda: key(Qt.Key.Key_B)),
        (3, hands.repaint),
        (5, lambda: key(Qt.Key.Key_Z, CONTROL)),
        (3, lambda: key(Qt.Key.Key_Y, CONTROL)),
        (1, lambda: key(Qt.Key.Key_Delete)),
        (1, bulk),
        (1, lambda: key(Qt.Key.Key_N, SHIFT)),
    )
    end = time.monotonic() + PATIENCE_SECONDS
    while workspace.session is None:
        if time.monotonic() > end:
            sys.exit("waited in vain for the image")
        settle(0.02)
    listen()
    hands.canvas.setFocus()
    say({"ready": True})
    while True:
        rng.choices([do for _, do in actions], [weight for weight, _ in actions])[0]()


class Annotator:
    """The process of an annotator, its window made and waiting for a project."""

    def __init__(self, seed: int) -> None:
        command = [sys.executable, __file__, "--worker", str(seed)]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{"ready"'):
                self._ready.set()
            # A line without its end was not acknowledged.
            elif line.endswith("\n") and not line.startswith('{"warm"'):
                self.lines.append(line)
        self._ready.set()

    def work(self, project: Path, seconds: float) -> list[State]:
        """Let them work on a project for a while, kill them, and return the states that were acknowledged."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{project}\n")
        self._process.stdin.flush()
        if not self._ready.wait(PATIENCE_SECONDS) or self._process.poll() is not None:
            self.end()
            raise SystemExit(f"the window did not come up: {self._said()}")
        time.sleep(seconds)
        if self._process.poll() is not None:
            raise SystemExit(f"the window ended by itself: {self._said()}")
        self.end()
        return [json.loads(line) for line in self.lines]

    def end(self) -> None:
        """Kill the process."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()

    def _said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()[-2000:]


# The parent


def make_project(folder: Path, side: int | None = None) -> dict[str, State]:
    """Make a project of two images with broken masks and their proposals, and return the state of each.

    With `side` the images have so many pixels in width and height, and fewer breaks.
    """
    from napari_vessel import propose_gaps
    from napari_vessel.images.image import VESSEL, VesselImage, VesselMask
    from napari_vessel.jobs import run_job
    from napari_vessel.synthesis.samples import make_sample

    sample = make_sample("fundus", shape=None if side is None else (side, side))
    expected = {}
    with Project.create(folder) as project:
        for number, turned in enumerate((slice(None), slice(None, None, -1))):
            pixels, mask = sample.image.pixels[turned].copy(), (sample.truth.labels[turned] > 0).copy()
            rows, columns = np.nonzero(mask)
            for chosen in np.random.default_rng(number).choice(len(rows), 60 if side is None else 20, replace=False):
                y, x = int(rows[chosen]), int(columns[chosen])
                mask[max(y - 5, 0) : y + 6, max(x - 5, 0) : x + 6] = False
            image = VesselImage(pixels, modality=sample.image.modality, content_hash=f"{number}" * 64)
            [record] = run_job(project.add([image], masks=VesselMask(mask.astype(np.uint8), (VESSEL,))))
            session = project.open_session(record.id, "ann", remember=number == 0)
            session.set_gaps(propose_gaps(mask))
            expected[record.id] = state_of(session)
    return expected


def compare(folder: Path, acknowledged: dict[str, State]) -> tuple[str, dict[str, State], bool]:
    """Open a project after a kill and compare every image with what was acknowledged last.

    Returns
    -------
    verdict : str
        ``as acknowledged``, ``one more``, ``lost`` or ``does not open``.
    found : dict
        The state of each image now.
    low : bool
        Whether an image has so few open gaps left that there is little to do.
    """
    try:
        with Project.open(folder) as project:
            verdict, found, low = "as acknowledged", {}, False
            for image_id, wanted in acknowledged.items():
                session = project.open_session(image_id, "ann", remember=False)
                found[image_id] = state_of(session)
                low = low or len(session.open_gaps) < 5
                if found[image_id] != wanted:
                    reached = is_next(session, wanted)
                    verdict = "one more" if reached and verdict != "lost" else "lost"
                    if state_of(session) != found[image_id]:
                        raise ProjectError("Undo and redo do not lead back to where they began.")
            return verdict, found, low
    except ProjectError as error:
        print(error, file=sys.stderr)
        return "does not open", {}, True


def is_next(session: ReviewSession, before: State) -> bool:
    """Whether a session is one change after a state: a new edit, an undo or a redo."""
    if session.history_position == before["position"] + 1 and taken_back(session) == before:
        return True
    for there, back in ((session.undo, session.redo), (session.redo, session.undo)):
        if there() is not None:
            same = state_of(session) == before
            back()
            if same:
                return True
    return False


def taken_back(session: ReviewSession) -> State:
    """Return the state before the last edit alone: undo would take all of a repaint back."""
    edit = next(session._history.back()).inverse()
    labels, state = session.labels.copy(), state_of(session)
    for mask in edit.masks:
        y0, x0, y1, x1 = mask.box
        labels[y0:y1, x0:x1] = mask.labels_after()
    changes = [("verdicts", change.gap.id, change.after) for change in edit.verdicts]
    changes += [("fragments", change.fragment.id, change.after) for change in edit.fragments]
    for kind, name, record in changes:
        state[kind].pop(name, None)
        if record is not None:
            state[kind][name] = record.verdict.value
    digest = hashlib.sha256(labels.tobytes()).hexdigest()
    return state | {"labels": digest, "position": state["position"] - 1}


def crash(kills: int, seed: int, folder: Path, minutes: float = float("inf")) -> dict[str, Any]:
    """Kill `kills` annotators, one after the other, or fewer when the time is over, and return what was found."""
    end = time.monotonic() + 60 * minutes
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    commits, silent, project, expected = 0, 0, folder, dict[str, State]()
    waiting, low = Annotator(seed * 100_000), True
    try:
        for number in range(kills):
            if number and time.monotonic() > end:
                break
            if low:
                project = folder / f"project{number}"
                expected = make_project(project)
            worker, waiting = waiting, Annotator(seed * 100_000 + number + 1)
            states = worker.work(project, rng.uniform(0, LONGEST_SECONDS))
            commits += len(states)
            silent += not states
            expected |= {state["image"]: state for state in states}
            outcome, expected, low = compare(project, expected)
            outcomes[outcome] += 1
            print(f"{number + 1}/{kills}: {len(states)} changes, {outcome}", flush=True)
    finally:
        waiting.end()
    names = ("as acknowledged", "one more", "lost", "does not open")
    return {
        "kills": outcomes.total(),
        "changes_acknowledged": commits,
        "kills_before_the_first_change": silent,
        "outcomes": {name: outcomes[name] for name in names},
    }


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after that long, with fewer kills")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "crash.json")
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    if options.worker is not None:
        annotate(options.worker)
        return
    if os.name == "nt":
        raise SystemExit("SIGKILL is POSIX: run this on Linux or macOS.")
    with tempfile.TemporaryDirectory() as folder:
        found = crash(options.kills, options.seed, Path(folder), options.minutes)
    report = report_header(public_command(parser, options), PROTOCOL) | {"results": found}
    rows = [[name, count] for name, count in found["outcomes"].items()]
    body = (
        f"{found['kills']} kills; {found['changes_acknowledged']} changes acknowledged; "
        f"{found['kills_before_the_first_change']} kills came before the first change.\n\n"
    )
    body += markdown_table(["the project, opened again", "kills"], rows)
    write_report(options.out, "Killed at random moments", report, body)
    print(body)


if __name__ == "__main__":
    main()
