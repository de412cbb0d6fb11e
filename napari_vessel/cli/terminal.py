"""What every command shares: progress on the terminal, results on standard output, Ctrl+C."""

import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TypeVar

import typer

from napari_vessel.jobs import CancelToken, Job, Progress, run_job

T = TypeVar("T")

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")
]
Fov = Annotated[
    str,
    typer.Option(
        metavar="auto|none|FILE|DIR", help="Field of view: found by itself, everywhere, or a mask (or folder of masks)."
    ),
]


def run(job: Job[T]) -> T:
    """Run a job to its end with a progress bar, when standard error is a terminal.

    The first Ctrl+C stops the job at its next step, so that it can leave everything in order; the second at once.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with (
        closing(job),
        cancelling() as token,
        Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars,
    ):
        task = bars.add_task("", total=None)

        def show(progress: Progress) -> None:
            bars.update(task, completed=progress.done, total=progress.total, description=progress.message)

        return run_job(job, show, token)


@contextmanager
def cancelling() -> Iterator[CancelToken]:
    """Give a token that Ctrl+C cancels; pressed again, it interrupts at once."""
    token = CancelToken()
    if threading.current_thread() is not threading.main_thread():
        yield token
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if token.cancelled:
            raise KeyboardInterrupt
        token.cancel()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield token
    finally:
        signal.signal(signal.SIGINT, before)


def count_of(count: int, word: str) -> str:
    """Return a number and what it counts, ``1 mask`` or ``8 masks``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def say(text: str) -> None:
    """Tell the person something that is not a result: on standard error."""
    typer.echo(text, err=True)


def give(data: Mapping[str, Any], as_json: bool, lines: str) -> None:
    """Print a result: as one JSON object, or as lines for a person; what the terminal has no letters for is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    typer.echo(json.dumps(data) if as_json else lines.encode(encoding, "backslashreplace").decode(encoding))


def fov_argument(fov: str) -> str | Path:
    """Return ``"auto"``, ``"none"`` or the path that was typed."""
    return fov if fov in ("auto", "none") else Path(fov)
