"""Metrics of proposals: how many breaks are found, how many bridges are right, and what it costs the annotator.

They work on plain records, so that whoever plants or judges gaps decides what "found" and "right" mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

LENGTH_BINS = (4.0, 8.0, 16.0, 30.0, 60.0)
"""Upper ends of the bins of length, px; longer ones share the last bin."""

CURVED = 1.1
STROKE_PX = 15.0


@dataclass(frozen=True, slots=True)
class TrueGap:
    """A break that is known to be one.

    Attributes
    ----------
    length_px : float
        Length of the missing centreline.
    found : bool
        Whether a bridge closes it.
    """

    length_px: float
    found: bool


@dataclass(frozen=True, slots=True)
class Bridge:
    """A proposed completion that was judged.

    Attributes
    ----------
    length_px : float
        Length of its path.
    right : bool
        Whether it joins what is one vessel.
    score : float
        The higher, the surer.
    """

    length_px: float
    right: bool
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What an annotator did with one gap.

    Attributes
    ----------
    length_px : float
        Length of the path that was drawn, or would have been.
    distance_px : float
        Straight distance between its ends.
    verdict : str
        ``accept``, ``reject``, ``unsure`` or ``repaint``.
    """

    length_px: float
    distance_px: float
    verdict: Literal["accept", "reject", "unsure", "repaint"]


class _HasLength(Protocol):
    @property
    def length_px(self) -> float: ...


_Record = TypeVar("_Record", bound=_HasLength)


@dataclass(frozen=True)
class GapRecall:
    """Share of the true gaps that a bridge closes; None without any."""

    name: str = "gap_recall"
    best: float = 1.0

    def compute(self, gaps: Sequence[TrueGap]) -> float | None:
        """Return the figure, 0 to 1."""
        return sum(gap.found for gap in gaps) / len(gaps) if gaps else None

    def by_length(self, gaps: Sequence[TrueGap], bins: Sequence[float] = LENGTH_BINS) -> dict[str, float | None]:
        """Return the figure by bin of length, see :func:`split_by_length`."""
        return {name: self.compute(part) for name, part in split_by_length(gaps, bins).items()}


@dataclass(frozen=True)
class BridgePrecision:
    """Share of the bridges that are right; None without any."""

    name: str = "bridge_precision"
    best: float = 1.0

    def compute(self, bridges: Sequence[Bridge]) -> float | None:
        """Return the figure, 0 to 1."""
        return sum(bridge.right for bridge in bridges) / len(bridges) if bridges else None

    def by_length(self, bridges: Sequence[Bridge], bins: Sequence[float] = LENGTH_BINS) -> dict[str, float | None]:
        """Return the figure by bin of length, see :func:`split_by_length`."""
        return {name: self.compute(part) for name, part in split_by_length(bridges, bins).items()}


@dataclass(frozen=True)
class PrecisionAtK:
    """Share of the k bridges with the highest scores that are right.

    Bridges whose score ties with the k-th count in proportion, so that the order of the list does not matter. Fewer
    than k bridges are all counted; None without any.
    """

    k: int
    best: float = 1.0

    @property
    def name(self) -> str:
        """``precision_at_K``."""
        return f"precision_at_{self.k}"

    def compute(self, bridges: Sequence[Bridge]) -> float | None:
        """Return the figure, 0 to 1."""
        count = min(self.k, len(bridges))
        if count < 1:
            return None
        last = sorted((bridge.score for bridge in bridges), reverse=True)[count - 1]
        above = [bridge.right for bridge in bridges if bridge.score > last]
        tied = [bridge.right for bridge in bridges if bridge.score == last]
        return (sum(above) + (count - len(above)) * sum(tied) / len(tied)) / count


@dataclass(frozen=True)
class QueueActions:
    """Actions of an annotator who decides on a queue: one key a gap, and for a repaint its strokes and Enter."""

    name: str = "queue_actions"
    best: float = 0.0

    def compute(self, decisions: Sequence[Decision]) -> float:
        """Return the number of actions."""
        keys = len(decisions)
        painted = [d for d in decisions if d.verdict == "repaint"]
        return float(keys + sum(strokes(d.length_px, d.distance_px) + 1 for d in painted))


@dataclass(frozen=True)
class BrushActions:
    """Actions of an annotator with a brush alone: choosing it once, then the strokes of every gap that is closed."""

    name: str = "brush_actions"
    best: float = 0.0

    def compute(self, decisions: Sequence[Decision]) -> float:
        """Return the number of actions; 0 when there is nothing to paint."""
        painted = [d for d in decisions if d.verdict in ("accept", "repaint")]
        return float(bool(painted) + sum(strokes(d.length_px, d.distance_px) for d in painted))


def strokes(length_px: float, distance_px: float) -> int:
    """Return the brush strokes that a path takes: one, and one more for every 15 px of a curved path.

    A path is curved when it is more than a tenth longer than the straight line between its ends.
    """
    curved = length_px > CURVED * distance_px
    return 1 + (int(length_px // STROKE_PX) if curved else 0)


def split_by_length(records: Sequence[_Record], bins: Sequence[float] = LENGTH_BINS) -> dict[str, list[_Record]]:
    """Sort records into bins of length.

    Parameters
    ----------
    records : sequence
        Anything with a ``length_px``.
    bins : sequence of float
        Upper ends, px, ascending and inclusive.

    Returns
    -------
    dict
        By ``"0-4"``, ``"4-8"``, … and ``">60"``; every bin is there, also when it is empty.
    """
    names = [f"{low:g}-{high:g}" for low, high in zip((0.0, *bins[:-1]), bins, strict=True)] + [f">{bins[-1]:g}"]
    parts: dict[str, list[_Record]] = {name: [] for name in names}
    for record in records:
        parts[names[sum(record.length_px > high for high in bins)]].append(record)
    return parts
