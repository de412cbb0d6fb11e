"""Gaps in a vessel network: found, ranked, explained and drawn."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind, Reason

if TYPE_CHECKING:
    from napari_vessel.completion.cuts import find_cuts, propose_cuts
    from napari_vessel.completion.drawing import completion_class, cut_gap, draw_gap, draw_gap_labels
    from napari_vessel.completion.gap_search import GapSearch
    from napari_vessel.completion.propose import complete, complete_with_gaps, find_gaps, propose_gaps
    from napari_vessel.completion.refresh import effect_now, refresh_effects

__all__ = [
    "Effect",
    "Gap",
    "GapEnd",
    "GapKind",
    "GapSearch",
    "Reason",
    "complete",
    "complete_with_gaps",
    "completion_class",
    "cut_gap",
    "draw_gap",
    "draw_gap_labels",
    "effect_now",
    "find_cuts",
    "find_gaps",
    "propose_cuts",
    "propose_gaps",
    "refresh_effects",
]

_HOMES = {
    "complete": "propose",
    "complete_with_gaps": "propose",
    "effect_now": "refresh",
    "GapSearch": "gap_search",
    "find_gaps": "propose",
    "propose_gaps": "propose",
    "refresh_effects": "refresh",
    "completion_class": "drawing",
    "cut_gap": "drawing",
    "find_cuts": "cuts",
    "propose_cuts": "cuts",
    "draw_gap": "drawing",
    "draw_gap_labels": "drawing",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"napari_vessel.completion.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
