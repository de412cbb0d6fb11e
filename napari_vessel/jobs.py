"""Long work as plain generators: whoever runs a job shows its progress and may stop it.

A job yields :class:`Progress` often (at least once a second, and once per tile or image) and returns its
result. It does not know about threads, progress bars or Qt. Closing the generator cancels it, so a job
changes nothing that outlives it before its last yield, or undoes it in ``finally``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from napari_vessel.errors import Cancelled

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    done : float
        Units of work finished so far.
    total : float or None
        Units of work in all; None while that is unknown.
    message : str
        What is being done now, for a person to read.
    figures : mapping of str to float
        Numbers worth showing (a loss, a Dice coefficient).
    """

    done: float = 0.0
    total: float | None = None
    message: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def fraction(self) -> float | None:
        """Share of the work done, 0 to 1, or None when the total is unknown."""
        if not self.total:
            return None
        return min(max(self.done / self.total, 0.0), 1.0)


Job = Generator[Progress, None, T]
"""A generator of :class:`Progress` that returns a ``T``."""


class CancelToken:
    """A flag that any thread may raise to stop a running job."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the job to stop at its next yield."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether stopping has been asked for."""
        return self._event.is_set()


def run_job(
    job: Job[T],
    on_progress: Callable[[Progress], None] | None = None,
    cancel: CancelToken | None = None,
) -> T:
    """Run a job to its end on the calling thread and return its result.

    Parameters
    ----------
    job : Job
        The generator to run.
    on_progress : callable, optional
        Called with each :class:`Progress`, on the calling thread.
    cancel : CancelToken, optional
        Looked at after every yield.

    Raises
    ------
    Cancelled
        If `cancel` was raised before the job finished.
    """
    while True:
        if cancel is not None and cancel.cancelled:
            job.close()
            raise Cancelled("Cancelled; nothing was changed.")
        try:
            progress = next(job)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if on_progress is not None:
            on_progress(progress)


def as_share(job: Job[T], begun: float, part: float, count: float, message: str = "") -> Job[T]:
    """Run a job as part of a longer one.

    Parameters
    ----------
    job : Job
        The part.
    begun : float
        Units of the whole that are finished before it.
    part : float
        Units of the whole that it makes up.
    count : float
        Units of the whole in all.
    message : str
        What to say meanwhile; the job's own words when left out.
    """
    while True:
        try:
            progress = next(job)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield Progress(begun + part * (progress.fraction or 0.0), count, message or progress.message)
