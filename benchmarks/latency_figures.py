"""What the latency benchmark notes of each action, and the tables made of it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from common import markdown_table
from window_job import STALL_SECONDS, Heart

BESIDE = {
    "A": "edit",
    "Ctrl+Z": "edit",
    "Ctrl+Shift+Z": "edit",
    "R": "camera",
    "U": "camera",
    "N": "camera",
    "B": "camera",
    "T": "hide or show",
    "C": "hide or show",
    "A on a fragment": "camera",
    "R on a fragment": "edit",
    "E": "camera",
    "W, mouse moved": "camera",
    "W, click": "edit",
    "Enter": "camera",
    "brush stroke": "brush stroke",
}
"""What of napari alone each action is compared with."""


class Figure(NamedTuple):
    """What one action took.

    Attributes
    ----------
    seconds, computing : float
        To the frame, by the clock and of computing by the process.
    longest, stalls : float, int
        The longest standstill in seconds, and how many were over a tenth of one, by the clock.
    busiest, busy : float, int
        The same in computing by the GUI's thread.
    """

    seconds: float
    computing: float
    longest: float
    stalls: int
    busiest: float
    busy: int


class Pulse(Heart):
    """A heart that also knows how much of a standstill the GUI's thread itself computed."""

    def reset(self) -> None:
        """Forget what was."""
        super().reset()
        self._computed, self.busiest, self.busy = time.thread_time(), 0.0, 0

    def _beat(self) -> None:
        super()._beat()
        now = time.thread_time()
        self.busiest = max(self.busiest, now - self._computed)
        self.busy += now - self._computed > STALL_SECONDS
        self._computed = now


def summary(figures: Sequence[Figure]) -> dict[str, Any]:
    """Return medians and 99th percentiles in ms, the longest standstill and the stalls."""
    seconds, computing, longest, stalls, busiest, busy = (1000 * np.asarray(figures, float)).T
    return {
        "times": len(figures),
        "p50_ms": _percentile(seconds, 50),
        "p99_ms": _percentile(seconds, 99),
        "computing_p50_ms": _percentile(computing, 50),
        "computing_p99_ms": _percentile(computing, 99),
        "longest_standstill_ms": round(float(longest.max()), 1),
        "stalls_over_100_ms": round(float(stalls.sum()) / 1000),
        "most_computed_ms": round(float(busiest.max()), 1),
        "stalls_computed": round(float(busy.sum()) / 1000),
    }


def ratios(pairs: Sequence[tuple[Figure, Figure]], field: str) -> list[float]:
    """Return the median of the pairs' ratios in a field of :class:`Figure`, and its quartiles."""
    each = [getattr(ours, field) / getattr(beside, field) for ours, beside in pairs]
    return [round(float(np.percentile(each, share)), 2) for share in (50, 25, 75)]


def _percentile(values: Any, share: float) -> float:
    return round(float(np.percentile(values, share)), 1)


def summaries(pairs: dict[str, list[tuple[Figure, Figure]]]) -> dict[str, dict[str, Any]]:
    """Return the summary of every action, ours first, each beside what of napari it is compared with."""
    found: dict[str, dict[str, Any]] = {}
    alone: dict[str, list[Figure]] = defaultdict(list)
    for name, other in BESIDE.items():
        if name in pairs:
            found[name] = summary([ours for ours, _ in pairs[name]]) | {
                "beside": f"napari: {other}",
                "ratio": ratios(pairs[name], "seconds"),
                "computing_ratio": ratios(pairs[name], "computing"),
            }
            alone[f"napari: {other}"] += [beside for _, beside in pairs[name]]
    return found | {name: summary(figures) for name, figures in alone.items()}


COLUMNS = {
    "times": "times",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "computing_p50_ms": "computing p50, ms",
    "computing_p99_ms": "p99, ms",
    "beside": "beside",
    "ratio": "ratio (quartiles)",
    "computing_ratio": "ratio of computing (quartiles)",
    "longest_standstill_ms": "longest standstill, ms",
    "stalls_over_100_ms": "over 100 ms",
    "most_computed_ms": "most computed in one, ms",
    "stalls_computed": "over 100 ms",
}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the summaries of a size as a Markdown table."""

    def cell(value: Any) -> Any:
        return f"{value[0]} ({value[1]} to {value[2]})" if isinstance(value, list) else value

    rows = [[action, *(cell(one.get(name, "")) for name in COLUMNS)] for action, one in found.items()]
    return markdown_table(["action", *COLUMNS.values()], rows)
