"""The record of a training run: a CSV file, and TensorBoard's event files when that is installed."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_vessel.images.writing import replacing

log = logging.getLogger(__name__)

COLUMNS = (
    "step",
    "seconds",
    "rate",
    "loss",
    "dice_loss",
    "validation_dice",
    "validation_cldice",
    "validation_b0",
    "validation",
    "watched_dice",
    "watched_cldice",
)


class RunLog:
    """Appends one row at a time; a run that goes on from a checkpoint drops the rows after it.

    Parameters
    ----------
    folder : Path
        Gets ``log.csv`` and, with TensorBoard, ``tensorboard/``.
    step : int
        The step the run goes on from.
    columns : sequence of str
        Names of the figures, the step's first.
    """

    def __init__(self, folder: Path, step: int = 0, columns: Sequence[str] = COLUMNS) -> None:
        self._path, self._columns = folder / "log.csv", columns
        rows = [row for row in self._read() if int(row["step"]) <= step]
        with replacing(self._path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
        self._board: Any = _open_board(folder / "tensorboard", step)

    def _read(self) -> list[dict[str, str]]:
        try:
            with self._path.open(newline="", encoding="utf-8") as file:
                # A kill in the middle of a row leaves it short.
                return [row for row in csv.DictReader(file) if (row.get("step") or "").isdigit() and None not in row]
        except (OSError, UnicodeDecodeError, csv.Error):
            return []

    def write(self, step: int, **figures: float) -> None:
        """Add one row; figures are named as the columns."""
        row = {"step": step, **{name: f"{value:.6g}" for name, value in figures.items()}}
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("TensorBoard is not installed; the run is recorded in log.csv alone.")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
