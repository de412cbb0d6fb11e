"""The runs that were started in the window, as they lie on the disk: what each learns from, its curve, its model."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_vessel.errors import InputError
from napari_vessel.segmentation.registry import NAME

RECORD = "fewshot.json"

_STEP_SECONDS, _IMAGE_SECONDS = 0.8, 0.5
"""Of one step of the small U-Net, and of one synthetic image, on two cores of a processor; measured, and rounded up."""

_START_SECONDS = 20.0

_LEAST_STEPS = 100
"""Of a run that tells the pace: in a shorter one most of the time went into starting."""


def runs_folder() -> Path:
    """Return the folder of the runs that were started in the window; it need not exist."""
    from platformdirs import user_data_dir

    return Path(user_data_dir("napari-vessel", appauthor=False)) / "training"


Points = tuple[tuple[int, float], ...]
"""Values, each with its step."""


@dataclass(frozen=True, slots=True)
class Curve:
    """How a run went, as (step, value)."""

    loss: Points = ()
    dice: Points = ()
    steps: int = 0
    """Of the whole run."""


def read_run(name: str) -> dict[str, Any] | None:
    """Return what a run was prepared with; None when there is none of that name."""
    if not NAME.fullmatch(name):
        return None
    try:
        found = json.loads((runs_folder() / name / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "images" in found and "settings" in found else None


def read_curve(name: str) -> Curve:
    """Return how a run went so far."""
    run = read_run(name)
    loss, dice = read_columns(runs_folder() / name / "log.csv", ("loss", "validation_dice"))
    return Curve(loss, dice, int(run["settings"].get("steps", 0)) if run else 0)


@dataclass(frozen=True, slots=True)
class TuningCurves:
    """How fine-tuning went, as (step, value): figures of the guards begin with those of the old model, at step 0."""

    loss: Points = ()
    dice: Points = ()
    cl_dice: Points = ()
    b0_error: Points = ()
    steps: int = 0
    """Of the whole run."""


def read_tuning(run: Path, steps: int) -> TuningCurves:
    """Return how the run in a folder went so far."""
    names = ("loss", "validation_dice", "validation_cldice", "validation_b0")
    loss, dice, cl_dice, b0_error = read_columns(run / "log.csv", names)
    return TuningCurves(loss, dice, cl_dice, b0_error, steps)


def read_columns(log: Path, names: Sequence[str]) -> list[Points]:
    """Return columns of a run's log, each as (step, value), where it has one."""
    found: list[list[tuple[int, float]]] = [[] for _ in names]
    for row in _rows(log):
        for points, name in zip(found, names, strict=True):
            # Of the row that is being written something may be missing.
            with suppress(KeyError, TypeError, ValueError):
                points.append((int(row["step"]), float(row[name])))
    return [tuple(points) for points in found]


def read_result(name: str) -> dict[str, Any] | None:
    """Return the configuration of the model that a run has made; None before it has."""
    try:
        found = json.loads((runs_folder() / name / name / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def seconds_per_step(folder: Path | None = None) -> float | None:
    """Return the pace of the newest run of 100 steps or more in a folder, by default of those of this machine."""
    logs = sorted((folder or runs_folder()).glob("*/log.csv"), key=lambda path: path.stat().st_mtime)
    for path in reversed(logs):
        for row in reversed(_rows(path)):
            try:
                steps, seconds = int(row["step"]), float(row["seconds"])
            except (KeyError, TypeError, ValueError):
                continue
            if steps >= _LEAST_STEPS:
                return seconds / steps
            break
    return None


def seconds_for(steps: int, pace: float | None, images: int) -> float:
    """Return how long a run will take, about.

    Parameters
    ----------
    steps : int
        At most.
    pace : float or None
        Seconds for a step; None where none was measured.
    images : int
        Synthetic images to make first.
    """
    return _START_SECONDS + steps * (_STEP_SECONDS if pace is None else pace) + images * _IMAGE_SECONDS


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def free_name() -> str:
    """Return a name that no run and no model has, or that of the newest run that has made no model yet."""
    from napari_vessel.segmentation.registry import model_names

    runs = sorted(runs_folder().glob(f"*/{RECORD}"), key=lambda path: path.stat().st_mtime)
    if runs and read_result(runs[-1].parent.name) is None:
        return runs[-1].parent.name
    taken = {path.parent.name for path in runs} | set(model_names())
    return next(name for name in (f"vessels-{n}" for n in range(1, 10_000)) if name not in taken)


def check_name(name: str) -> None:
    """Raise InputError unless a new run may be called so."""
    from napari_vessel.segmentation.registry import model_names

    if not NAME.fullmatch(name):
        raise InputError(f"A model cannot be called '{name}'; use lower-case letters, digits, '.', '_' and '-'.")
    if name in model_names():
        raise InputError(f"There is a model named '{name}' already; give this one another name.")
