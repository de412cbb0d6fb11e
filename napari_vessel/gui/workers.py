"""Runs a job on a thread of its own: progress, time left, cancelling, and errors, all told on the GUI's thread."""

from __future__ import annotations

import atexit
import itertools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal, Slot

from napari_vessel.errors import Cancelled
from napari_vessel.jobs import CancelToken, Job, Progress, run_job

_INTERVAL = 0.05

_SWITCH = 0.001
"""Seconds that a thread may keep the interpreter when another waits for it. Python's own 5 ms are paid by the window
each time that Qt hands back to Python beside a job: ten times in a frame.
"""
_numbers = itertools.count(1)
_running: set[JobHandle] = set()


class JobHandle(QObject):
    """One running job. Keep it to cancel; every callback comes on the thread that made it, after the call that did.

    Parameters
    ----------
    job : Job
        A generator that has not been started: its whole body runs on the thread.
    on_progress, on_done, on_error : callable, optional
        Called with the newest :class:`Progress`, the result, or the exception. Exactly one of the last two is called,
        once; a job that was cancelled ends with :class:`~napari_vessel.errors.Cancelled`.
    """

    _progressed = Signal(object, object)
    _ended = Signal(object, object)

    def __init__(
        self,
        job: Job[Any],
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Any], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        super().__init__()
        self._job = job
        self._on_progress, self._on_done, self._on_error = on_progress, on_done, on_error
        self._token = CancelToken()
        self._started = time.monotonic()
        self._told = 0.0
        self.seconds_left: float | None = None
        queued = Qt.ConnectionType.QueuedConnection
        self._progressed.connect(self._tell_progress, queued)
        self._ended.connect(self._tell_end, queued)
        self._thread = threading.Thread(target=self._work, name=f"napari-vessel-{next(_numbers)}", daemon=True)

    @property
    def running(self) -> bool:
        """Whether the end has not been told yet."""
        return self in _running

    def cancel(self) -> None:
        """Ask the job to stop at its next yield; returns at once."""
        self._token.cancel()

    def wait(self, seconds: float) -> bool:
        """Wait for the thread (not for the callbacks); return whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def abandon(self, seconds: float) -> None:
        """Cancel, wait, and never call back: for the end of a viewer, when no event loop may come any more."""
        self._on_progress = self._on_done = self._on_error = None
        self.cancel()
        if self.wait(seconds):
            _running.discard(self)

    def _start(self) -> None:
        _running.add(self)
        self._thread.start()

    def _work(self) -> None:
        result, error = None, None
        try:
            result = run_job(self._job, self._note_progress, self._token)
        except Exception as problem:  # noqa: BLE001 - the thread's edge: whatever it is must reach the annotator
            error = problem
        self._ended.emit(result, error)

    def _note_progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._told < _INTERVAL:
            return
        self._told = now
        share = progress.fraction
        left = (now - self._started) * (1.0 - share) / share if share else None
        self._progressed.emit(progress, left)

    @Slot(object, object)
    def _tell_progress(self, progress: Progress, left: float | None) -> None:
        self.seconds_left = left
        if self.running and not self._token.cancelled and self._on_progress is not None:
            self._on_progress(progress)

    @Slot(object, object)
    def _tell_end(self, result: Any, error: Exception | None) -> None:
        _running.discard(self)
        if error is None and self._token.cancelled:
            error = Cancelled("Cancelled; nothing was changed.")
        on_done, on_error = self._on_done, self._on_error
        self._on_progress = self._on_done = self._on_error = None
        if error is not None:
            if on_error is not None:
                on_error(error)
        elif on_done is not None:
            on_done(result)


class Mailbox(QObject):
    """Takes calls from any thread and makes them on the thread that made it, in the order in which they came."""

    _arrived = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._arrived.connect(self._call, Qt.ConnectionType.QueuedConnection)

    def hand_in(self, call: Callable[[], object]) -> None:
        """Take a call; those of a job come before its end is told."""
        self._arrived.emit(call)

    @Slot(object)
    def _call(self, call: Callable[[], object]) -> None:
        call()


def run_in_thread(
    job: Job[Any],
    on_progress: Callable[[Progress], None] | None = None,
    on_done: Callable[[Any], None] | None = None,
    on_error: Callable[[Exception], None] | None = None,
) -> JobHandle:
    """Start a job on a thread and return its handle; see :class:`JobHandle`. Call it on the GUI's thread."""
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH))
    handle = JobHandle(job, on_progress, on_done, on_error)
    handle._start()
    return handle


def running_jobs() -> list[JobHandle]:
    """Return the handles of all jobs whose end has not been told."""
    return list(_running)


def describe(progress: Progress, seconds_left: float | None = None) -> str:
    """Say in a few words how far a job is and how long it will take."""
    words = [progress.message] if progress.message else []
    if progress.fraction is not None:
        words.append(f"{progress.fraction:.0%}")
    if seconds_left is not None and seconds_left >= 1:
        minutes, seconds = divmod(round(seconds_left), 60)
        words.append(f"{minutes} min {seconds:02d} s left" if minutes else f"{seconds} s left")
    return ", ".join(words)


@atexit.register
def _stop_all() -> None:
    # A thread inside torch while the interpreter goes down crashes; a yield is never far.
    for handle in running_jobs():
        handle.cancel()
    for handle in running_jobs():
        handle.wait(5.0)
