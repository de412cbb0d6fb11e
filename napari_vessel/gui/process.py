"""A training of one viewer in a process of its own: started through the command line, stopped, left. No widgets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast
from weakref import WeakKeyDictionary, ref

from psygnal import Signal

from napari_vessel.errors import Cancelled, ModelError
from napari_vessel.gui.workers import JobHandle, describe, run_in_thread
from napari_vessel.jobs import Job, Progress

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace

LEFT = "seconds left"


class TrainingProcess:
    """A command that trains, in a process of its own.

    Parameters
    ----------
    command : str
        ``fewshot`` or ``finetune``.
    folder : Path
        Of a run that was prepared.
    device : str
        Where to compute.
    """

    def __init__(self, command: str, folder: Path, device: str) -> None:
        self._words = [command, "-o", str(folder), "--device", device, "--json-progress"]
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """Its number, once it runs."""
        return None if self._process is None else self._process.pid

    def stop(self) -> bool:
        """Ask it to stop and to keep the best so far; return whether there is anybody to ask."""
        if self._process is None or self._process.stdin is None:
            return False
        try:
            self._process.stdin.write("stop\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # it has just ended
            return False
        return True

    def leave(self) -> None:
        """Let it save what it has reached and end."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):  # it is gone already
                self._process.stdin.close()

    def run(self) -> Job[dict[str, Any]]:
        """Run it to its end; closed before, it is left to save what it has reached, and ends by itself.

        Raises
        ------
        Cancelled
            If it was stopped before there was anything to keep.
        ModelError
            If it fails, in its own words, or is killed.
        """
        yield Progress(0, None, "Starting the training")
        # No black window beside napari's; 0 anywhere but on Windows.
        hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        process = subprocess.Popen(
            # -P: what lies in the folder that napari was started in is not imported.
            [sys.executable, "-P", "-m", "napari_vessel.cli", *self._words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            encoding="utf-8",
            errors="replace",
            creationflags=hidden,
        )
        self._process = process
        assert process.stdout is not None
        assert process.stdin is not None
        result: dict[str, Any] | None = None
        last, pace, cancelled = "", _Pace(), False
        try:
            for line in process.stdout:
                told = _read_line(line)
                last = line.strip() if told is None else last
                if told is not None and "progress" in told:
                    yield pace.note(Progress(**told["progress"]))
                elif told is not None:
                    result, cancelled = told.get("result"), "cancelled" in told
            process.wait()
        finally:
            self.leave()
            process.stdout.close()
        if cancelled:
            raise Cancelled("Stopped before the training began.")
        if result is None:
            words = last.removeprefix("error: ") if last.startswith("error: ") else ""
            raise ModelError(
                words or f"The training ended before its time ({last or process.returncode}); start it again."
            )
        return result


class _Pace:
    """How long the present part of the work will take, by the time it took so far."""

    def __init__(self) -> None:
        self._part: tuple[str, float | None] = ("", None)
        self._since = (0.0, 0.0)

    def note(self, progress: Progress) -> Progress:
        """Return the progress with the seconds left among its figures, once there is something to tell by."""
        now, part = time.monotonic(), (progress.message.partition(",")[0], progress.total)
        if part != self._part:
            self._part, self._since = part, (now, progress.done)
        done = progress.done - self._since[1]
        if not progress.total or done <= 0:
            return progress
        left = (progress.total - progress.done) * (now - self._since[0]) / done
        return replace(progress, figures={**progress.figures, LEFT: left})


def _read_line(line: str) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


class ProcessRun:
    """What a viewer trains in a process of its own; it outlives the dock that started it. One of each kind a viewer.

    Attributes
    ----------
    dock : str
        Where it is started, and gone on with.
    name : str
        Of the run.
    progress : Progress or None
        How far it is; None when nothing runs.
    text : str
        The same in words, or how it ended.
    """

    changed = Signal()
    dock: ClassVar[str] = ""

    _all: ClassVar[WeakKeyDictionary[Any, dict[type, ProcessRun]]] = WeakKeyDictionary()

    def __init__(self, workspace: Workspace) -> None:
        # Weakly: the dictionary of all trainings would keep every workspace alive otherwise.
        self._workspace = ref(workspace)
        self._handle: JobHandle | None = None
        self._process: TrainingProcess | None = None
        self._stopping = False
        self.name = ""
        self.progress: Progress | None = None
        self.text = ""

    @classmethod
    def of(cls, workspace: Workspace) -> Self:
        """Return the one of this kind of a workspace, made on first use."""
        known = ProcessRun._all.setdefault(workspace, {})
        if cls not in known:
            known[cls] = cls(workspace)
        return cast(Self, known[cls])

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._handle is not None

    @property
    def pid(self) -> int | None:
        """The number of its process."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """Stop; what was best so far becomes the model."""
        if self._handle is None:
            return
        self._stopping = True
        if self._process is None or not self._process.stop():
            self._handle.cancel()
        self._say("Stopping: the best weights so far become the model.")

    def leave(self) -> None:
        """Let the process save what it has reached and end; nothing is told any more."""
        if self._handle is not None:
            if self._process is not None:
                self._process.leave()
            self._handle.abandon(0.0)
            self._handle = self._process = self.progress = None

    # For those that train

    def _begin(self, name: str, job: Job[dict[str, Any]]) -> None:
        """Run a job that ends with what the process told; see :meth:`_in_process`."""
        self._stopping = False
        self.name, self._process = name, None
        self._handle = run_in_thread(job, self._on_progress, self._on_done, self._on_error)
        self._on_progress(Progress(0, None, "Reading the images"))

    def _in_process(self, command: str, folder: Path, device: str) -> Job[dict[str, Any]]:
        self._process = TrainingProcess(command, folder, device)
        return (yield from self._process.run())

    def _ended(self, result: Mapping[str, Any]) -> str:
        """Take what came out, and return how to say it."""
        return (
            f"Stopped at step {result['steps']}: the best weights so far are the model, and it can go on."
            if result["stopped"]
            else f"Done: {result['steps']} steps."
        )

    def _say(self, text: str) -> None:
        self.text = text
        self.changed.emit()

    def _on_progress(self, progress: Progress) -> None:
        self.progress = progress
        if not self._stopping:
            self.text = describe(replace(progress, figures={}), progress.figures.get(LEFT))
        self.changed.emit()

    def _on_done(self, result: dict[str, Any]) -> None:
        self._handle = self._process = self.progress = None
        self._say(self._ended(result))

    def _on_error(self, error: Exception) -> None:
        self._handle = self._process = self.progress = None
        if isinstance(error, Cancelled):
            self._say("Stopped before the training began; it can be taken up where it was.")
            return
        self._say("✘ It did not end as it should.")
        workspace = self._workspace()
        if workspace is not None:
            workspace.report(error)
