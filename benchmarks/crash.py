"""Kills the window with SIGKILL at random moments of work, and compares what is on the disk with what was acknowledged.

    xvfb-run -a python benchmarks/crash.py [--kills 200] [--seed 0] [--minutes 60] [-o FILE]
    python benchmarks/crash.py --gather FILE... [-o benchmarks/results/crash.json]

An annotator in a process of its own presses random keys in the real window: verdicts, repaints with the mouse, undo and
redo, deleted components, bulk accepts, image to image. Each change is acknowledged on a pipe when the session tells the
window of it. After the kill the project is opened again. With --gather nothing is run: the reports of several runs, of
other seeds, become one. Needs a screen or Xvfb, and POSIX.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, gathered, markdown_table, public_command, report_header, write_report

from napari_vessel.errors import ProjectError
from napari_vessel.review import Project, ReviewSession

PROTOCOL = (
    "A change counts as lost when the project, opened again, has neither the state acknowledged last nor the one after "
    "one more change, which was committed and killed before it could be told. Compared are, of every image, the mask, "
    "the verdicts on gaps and fragments, and the place in the history; each is opened, and must open. The kill comes "
    "after a number of acknowledged changes drawn evenly from 0 to 6, at a moment drawn evenly from what follows: one "
    "kill in two within a second, the other within a twentieth of a second of the next key."
)
PATIENCE_SECONDS = 300.0
MOST_CHANGES = 6
IDLE_SECONDS = 60.0
"""So long is waited for the changes at most: on a project without open gaps they may never come."""
STARTED = ("napari._qt.qt_main_window", "napari_vessel.gui.gaps", "napari_vessel.gui.workspace", "cv2", "skimage.graph")
"""What the process imports that all annotators are forked from; a window none of them shares."""
OUTCOMES = ("as acknowledged", "one more", "lost", "does not open")
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


def annotate(seed: int, pipe: Connection, home: str) -> None:
    """Work in a window until killed; the project's folder comes through the pipe once the window can be used."""
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        os.environ[name] = home
    errors = os.open(Path(home) / f"{seed}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(errors, standard)

    import napari
    from hands import ALT, CONTROL, SHIFT, Hands, settle
    from qtpy.QtCore import Qt

    from napari_vessel.gui.workspace import Workspace

    rng = random.Random(seed)
    viewer = napari.Viewer()
    viewer.window.resize(1366, 768)
    viewer.window.add_plugin_dock_widget("napari-vessel", "Vessel gaps")
    workspace = Workspace.of(viewer)
    settle(0.5)
    workspace.open_project(pipe.recv())
    told: list[ReviewSession] = []

    def listen() -> None:
        session = workspace.session
        if session is not None and session not in told:
            told.append(session)
            session.edited.connect(lambda edit, box: pipe.send(state_of(session)))

    def before() -> None:
        listen()
        pipe.send("key")

    hands = Hands(viewer, rng, before=before)
    key = hands.key

    def bulk() -> None:
        before()
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
        (3, lambda: key(Qt.Key.Key_Z, CONTROL)),
        (3, lambda: key(Qt.Key.Key_Z, CONTROL | ALT)),
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
    pipe.send("ready")
    while True:
        rng.choices([do for _, do in actions], [weight for weight, _ in actions])[0]()


class Annotator:
    """The process of an annotator, its window made and waiting for a project.

    Parameters
    ----------
    seed : int
        Decides what it does.
    home : Path
        An empty folder, for what the program keeps for its user and for what the process says.
    """

    def __init__(self, seed: int, home: Path) -> None:
        # Forked from one that has imported everything: that is most of what a start takes.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*STARTED, __name__])
        self._pipe, theirs = context.Pipe()
        self._errors = home / f"{seed}.txt"
        self._process = context.Process(target=annotate, args=(seed, theirs, str(home)), daemon=True)
        self._process.start()
        theirs.close()
        self.states: list[State] = []
        self._keys, self._ready, self._ended = 0, False, False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                told = self._pipe.recv()
            except (EOFError, OSError):
                # What was cut off by the kill was not acknowledged.
                told = None
            with self._news:
                self._ended, self._ready = told is None, self._ready or told == "ready"
                self._keys += told == "key"
                if isinstance(told, dict):
                    self.states.append(told)
                self._news.notify_all()
            if told is None:
                return

    def work(self, project: Path, changes: int, seconds: float, after_key: bool) -> list[State]:
        """Let them work on a project, kill them, and return the states that were acknowledged.

        Parameters
        ----------
        project : Path
            Its folder.
        changes : int
            So many are waited for.
        seconds : float
            So long is waited then.
        after_key : bool
            Whether the next key is waited for in between.
        """
        self._pipe.send(project)
        with self._news:
            self._news.wait_for(lambda: self._ready or self._ended, PATIENCE_SECONDS)
            came = self._ready
            if came:
                self._news.wait_for(lambda: len(self.states) >= changes or self._ended, IDLE_SECONDS)
            keys = self._keys
            if came and after_key:
                self._news.wait_for(lambda: self._keys > keys or self._ended, IDLE_SECONDS)
        time.sleep(seconds)
        ended = self._ended
        self.end()
        if not came or ended:
            raise SystemExit(f"the window {'ended by itself' if came else 'did not come up'}: {self._said()}")
        return self.states

    def end(self) -> None:
        """Kill the process with SIGKILL."""
        self._process.kill()
        self._process.join()
        self._reader.join()

    def _said(self) -> str:
        return self._errors.read_text(encoding="utf-8", errors="replace")[-2000:] if self._errors.is_file() else ""


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


def crash(
    kills: int, seed: int, folder: Path, minutes: float = float("inf"), side: int | None = None
) -> dict[str, Any]:
    """Kill `kills` annotators, one after the other, or fewer when the time is over, and return what was found.

    With `side` the images have so many pixels in width and height.
    """
    end = time.monotonic() + 60 * minutes
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    commits, silent, project, expected = 0, 0, folder, dict[str, State]()
    home = folder / "home"
    home.mkdir()
    waiting, low = Annotator(seed * 100_000, home), True
    try:
        for number in range(kills):
            if number and time.monotonic() > end:
                break
            if low:
                project = folder / f"project{number}"
                expected = make_project(project, side)
            worker, waiting = waiting, Annotator(seed * 100_000 + number + 1, home)
            changes, after_key = rng.randint(0, MOST_CHANGES), rng.random() < 0.5
            states = worker.work(project, changes, rng.uniform(0.0, 0.05 if after_key else 1.0), after_key)
            commits += len(states)
            silent += not states
            expected |= {state["image"]: state for state in states}
            outcome, expected, low = compare(project, expected)
            outcomes[outcome] += 1
            print(f"{number + 1}/{kills}: {len(states)} changes, {outcome}", flush=True)
    finally:
        waiting.end()
    return {
        "seed": seed,
        "kills": outcomes.total(),
        "changes_acknowledged": commits,
        "kills_before_the_first_change": silent,
        "outcomes": {name: outcomes[name] for name in OUTCOMES},
    }


def body_of(runs: Sequence[dict[str, Any]]) -> str:
    """Return the text of a report: all runs together."""
    kills, changes, silent = (
        sum(run[name] for run in runs) for name in ("kills", "changes_acknowledged", "kills_before_the_first_change")
    )
    rows = [[name, sum(run["outcomes"][name] for run in runs)] for name in OUTCOMES]
    text = f"{kills} kills; {changes} changes acknowledged; {silent} kills came before the first change.\n\n"
    return text + markdown_table(["the project, opened again", "kills"], rows)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after that long, with fewer kills")
    parser.add_argument("--gather", type=Path, nargs="+", metavar="FILE", help="make one report of these, run nothing")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "crash.json")
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    command = public_command(parser, options)
    if options.gather:
        runs, command = gathered(options.gather)
    elif os.name == "nt":
        raise SystemExit("SIGKILL is POSIX: run this on Linux or macOS.")
    else:
        with tempfile.TemporaryDirectory() as folder:
            runs = [crash(options.kills, options.seed, Path(folder), options.minutes)]
    report = report_header(command, PROTOCOL) | {"results": runs}
    body = body_of(runs)
    write_report(options.out, "Killed at random moments", report, body)
    print(body)


if __name__ == "__main__":
    main()
