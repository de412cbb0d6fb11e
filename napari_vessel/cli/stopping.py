"""Trainings that may be stopped, by Ctrl+C or by the program that started this one, and then keep the best so far."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from napari_vessel.cli.terminal import run
from napari_vessel.errors import Cancelled
from napari_vessel.jobs import Job

if TYPE_CHECKING:
    from napari_vessel.cli.parent import Parent

T = TypeVar("T")

JsonProgress = Annotated[
    bool,
    typer.Option(
        "--json-progress",
        help="For programs: progress and result as lines of JSON; 'stop' on standard input, or its end, stops.",
    ),
]


def parent_if(wanted: bool) -> "Parent | None":
    """Return the program that started this one, when it asked for lines of JSON."""
    if not wanted:
        return None
    from napari_vessel.cli.parent import Parent

    return Parent()


def typed(path: Path) -> str:
    """Return a path as it is typed in a command: in quotes where it has a space."""
    return f'"{path}"' if " " in str(path) else str(path)


def run_for(parent: "Parent | None", job: Job[T]) -> T:
    """Run a job with progress for a person, or for a program."""
    return run(job) if parent is None else parent.run(job)


def run_or_keep_best(
    parent: "Parent | None", make: Callable[[bool], Job[dict[str, Any]]], out: Path, again: str
) -> dict[str, Any]:
    """Run a training; stopped, make the model from what it has reached.

    Parameters
    ----------
    parent : Parent or None
        Who hears of the progress; None for a person.
    make : callable
        Makes the job; called with False, one that goes no further.
    out : Path
        The run's folder.
    again : str
        The command that goes on with it.

    Raises
    ------
    Cancelled
        If it was stopped before there was anything to keep.
    """
    try:
        return run_for(parent, make(True))
    except Cancelled as error:
        from napari_vessel.training.trainer import CHECKPOINT

        if (parent is not None and parent.gone) or not (out / CHECKPOINT).is_file():
            if parent is not None:
                parent.tell({"cancelled": True})
            raise Cancelled(f"Stopped; {again} goes on from there.") from error
        job = make(False)
        return run(job) if parent is None else parent.run(job, listen=False)
