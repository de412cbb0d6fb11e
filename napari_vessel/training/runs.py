"""The folder of a run: what it was prepared with is there whole or not at all, and is never replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from napari_vessel.errors import InputError
from napari_vessel.images.writing import write_json
from napari_vessel.jobs import Job
from napari_vessel.review.lock import FolderLock
from napari_vessel.segmentation.registry import ModelInfo, model_info, read_model
from napari_vessel.untrusted import MALFORMED, read_json, shortened

_UNFINISHED = ".preparing"


def keep_run(
    out: Path,
    name: str,
    record: Mapping[str, Any],
    rooms: Collection[str],
    read: Callable[[Path], Mapping[str, Any]],
    fill: Callable[[Path], Job[None]],
) -> Job[None]:
    """Fill the folder of a run, unless it holds the same already.

    Parameters
    ----------
    out : Path
        The run's folder.
    name : str
        File name of its record, which is written last.
    record : mapping
        What decides the run.
    rooms : collection of str
        Folders that the run makes in `out`, now or later.
    read : callable
        Reads the record in a folder.
    fill : callable
        Writes what is to be kept into the folder it is given.

    Raises
    ------
    InputError
        If `out` is a file, or holds another run or something else in one of the rooms.
    ProjectError
        If another process is at work in `out`.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"'{out}' is a file; name a folder for the run.")
    if (out / name).is_file():
        if read(out) != record:
            raise InputError(f"'{out}' holds a run on other images or with other settings; name another folder.")
        return
    _check_rooms(out, rooms)
    out.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(out, "training.lock", "training run")
    try:
        # Another process may have finished here just before.
        _check_rooms(out, rooms)
        yield from _fill_run(out, name, record, rooms, fill)
    finally:
        lock.release()


def _check_rooms(out: Path, rooms: Collection[str]) -> None:
    """Raise InputError for folders that no interrupted preparation can have left."""
    taken = next((room for room in rooms if (out / room).exists()), None)
    if taken is not None and not (out / _UNFINISHED).is_dir():
        raise InputError(f"'{out}' holds a folder '{taken}' of something else; name another folder.")


def _fill_run(
    out: Path, name: str, record: Mapping[str, Any], rooms: Collection[str], fill: Callable[[Path], Job[None]]
) -> Job[None]:
    # Under another name until it is complete: what an interruption left of other images would be learnt from.
    fresh = out / _UNFINISHED
    for room in rooms:
        # It was moved there just before an interruption.
        if (out / room).exists():
            shutil.rmtree(out / room)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield from fill(fresh)
    for part in fresh.iterdir():
        part.rename(out / part.name)
    write_json(out / name, record)
    fresh.rmdir()


def read_record(out: Path, name: str, check: Callable[[Mapping[str, Any]], None], missing: str) -> dict[str, Any]:
    """Return the record of a run.

    Parameters
    ----------
    out : Path
        The run's folder.
    name : str
        File name of the record.
    check : callable
        Raises ValueError, KeyError or TypeError for a record that cannot be.
    missing : str
        What to do when there is none.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    try:
        found: dict[str, Any] = read_json(out / name)
        check(found)
    except FileNotFoundError as error:
        raise InputError(f"There is no run to go on with in '{out}'; {missing}.") from error
    except (OSError, *MALFORMED) as error:
        raise InputError(
            f"'{out / name}' is damaged ({shortened(error)}); delete the folder and start afresh."
        ) from error
    return found


def network_to_start(name: str, models: Mapping[str, Path]) -> ModelInfo:
    """Return the model that a training begins with.

    Parameters
    ----------
    name : str
        Its name.
    models : mapping of str to Path
        Folders of models that go before installed ones.

    Raises
    ------
    InputError
        If no training can begin with it.
    ModelError
        If there is none of that name, or it is damaged.
    """
    info = read_model(models[name]) if name in models else model_info(name)
    if info.kind != "network" or info.working_scale.get("kind") != "field_of_view":
        raise InputError(f"No training can begin with the model '{info.name}'; choose a network that segments.")
    return info
