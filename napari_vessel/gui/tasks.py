"""Jobs of one viewer, one per lane: a newer one replaces an older one, and stale results are dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from napari_vessel.errors import Cancelled
from napari_vessel.gui.workers import JobHandle, describe, run_in_thread
from napari_vessel.jobs import Job, Progress

OnBusy = Callable[[Progress | None, str], None]


class Tasks:
    """Starts jobs and tells how far they are.

    Parameters
    ----------
    on_busy : callable
        Called with (progress, text) while a job of a shown lane runs, and with (None, "") when none is left.
    on_error : callable
        Called with the exception of a job that failed.
    on_cancelled : callable
        Called with a sentence when the annotator cancelled.
    """

    def __init__(
        self, on_busy: OnBusy, on_error: Callable[[Exception], None], on_cancelled: Callable[[str], None]
    ) -> None:
        self._on_busy, self._on_error, self._on_cancelled = on_busy, on_error, on_cancelled
        self._handles: dict[str, JobHandle] = {}
        # Told to stop, on their way to the next yield.
        self._stopping: list[JobHandle] = []
        self._shown: dict[str, str] = {}
        self._generation: Counter[str] = Counter()
        self._waiting: dict[str, list[Callable[[], object]]] = {}

    def start(
        self,
        lane: str,
        job: Job[Any],
        on_done: Callable[[Any], None],
        title: str = "",
        on_end: Callable[[], None] | None = None,
        so_far: Callable[[], str] = lambda: "nothing was changed",
    ) -> JobHandle:
        """Run a job in a lane; whatever runs there is cancelled and its result never used.

        Parameters
        ----------
        lane : str
            Jobs of one lane replace each other.
        job : Job
            Not started yet.
        on_done : callable
            Called with the result, on the GUI's thread, unless the job has become stale.
        title : str
            Shown with the progress; an empty title keeps the job in the background, unseen.
        on_end : callable, optional
            Called after success, failure and cancelling by the annotator alike, unless stale.
        so_far : callable, optional
            Says what a cancelled job has changed.
        """
        self._stop(lane)
        generation = self._generation[lane]

        def current() -> bool:
            return self._generation[lane] == generation

        def progressed(progress: Progress) -> None:
            if current() and lane in self._shown:
                words = describe(progress, handle.seconds_left)
                # Some jobs say first what they are, as their title does.
                named = words if words.startswith(title) else f"{title}: {words}"
                self._on_busy(progress, named if words else title)

        def done(result: Any) -> None:
            if current():
                self._forget(lane)
                on_done(result)
                if on_end is not None:
                    on_end()
                self._begin_next(lane)

        def failed(error: Exception) -> None:
            if not current():
                return
            self._forget(lane)
            if isinstance(error, Cancelled):
                if title:
                    self._on_cancelled(f"{title}: cancelled; {so_far()}.")
            else:
                self._on_error(error)
            if on_end is not None:
                on_end()
            self._begin_next(lane)

        handle = run_in_thread(job, progressed, done, failed)
        self._handles[lane] = handle
        if title:
            self._shown[lane] = title
            self._on_busy(Progress(), title)
        return handle

    def in_turn(
        self,
        lane: str,
        job: Job[Any],
        on_done: Callable[[Any], None],
        title: str = "",
        so_far: str = "nothing was changed",
    ) -> None:
        """Start a job in a lane now, or else when what runs there, and what waits before it, has ended."""
        begin = partial(self.start, lane, job, on_done, title, so_far=lambda: so_far)
        if self.is_running(lane):
            self._waiting.setdefault(lane, []).append(begin)
        else:
            begin()

    def is_running(self, lane: str) -> bool:
        """Whether a job runs in the lane."""
        return lane in self._handles

    def drop(self, lane: str) -> None:
        """Cancel what runs in a lane, and what waits for it, without a word, and never use its result."""
        self._waiting.pop(lane, None)
        self._stop(lane)

    def _stop(self, lane: str) -> None:
        self._generation[lane] += 1
        handle = self._handles.get(lane)
        if handle is not None:
            handle.cancel()
            self._stopping = [*(one for one in self._stopping if one.running), handle]
            self._forget(lane)

    def cancel(self) -> None:
        """Cancel every job that is shown, and what waits for it; each ends with a word when its thread has stopped."""
        for lane in list(self._shown):
            self._waiting.pop(lane, None)
            self._handles[lane].cancel()

    def close(self, seconds: float = 3.0) -> None:
        """Cancel everything and wait for the threads, also of jobs that were dropped before."""
        self._waiting.clear()
        for lane in list(self._handles):
            self.drop(lane)
        stopping, self._stopping = self._stopping, []
        for handle in stopping:
            handle.abandon(seconds)

    def _begin_next(self, lane: str) -> None:
        # What has just ended may have begun another itself.
        while self._waiting.get(lane) and not self.is_running(lane):
            self._waiting[lane].pop(0)()

    def _forget(self, lane: str) -> None:
        self._handles.pop(lane, None)
        if self._shown.pop(lane, None) is not None:
            left = next(iter(self._shown.values()), None)
            self._on_busy(None if left is None else Progress(), left or "")
