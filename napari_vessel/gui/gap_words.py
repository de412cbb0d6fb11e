"""What the gaps dock says of a proposal: its effect, its reasons, and the reasons in a word or two for the table."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from napari_vessel.completion.gap import Gap, GapKind, Reason

_SHORT: tuple[tuple[str, str | Callable[[Any], str]], ...] = (
    (r"the two ends point at each other", "facing"),
    (r"runs straight on", "straight"),
    (r"runs on with a slight bend", "slight bend"),
    (r"turns sharply", "sharp turn"),
    (r"no ridge", "no ridge"),
    (r"(?:faint )?ridge along (\d+) %", lambda m: f"ridge {m[1]}%"),
    (r"stands out", "contrast"),
    (r"hardly stands out", "faint"),
    (r"mean probability ([\d.]+)", lambda m: f"p {m[1].removeprefix('0')}"),
    (r"widths ([\d.]+) and ([\d.]+)", lambda m: f"widths {float(m[1]):.0f}/{float(m[2]):.0f}"),
    (r"width ([\d.]+) px meets a vessel of ([\d.]+)", lambda m: f"widths {float(m[1]):.0f}/{float(m[2]):.0f}"),
    (r"long for its width", "long"),
    (r"short gap", "short"),
    (r"length", "length"),
    (r"meets the side of a vessel", "side-on"),
    (r"runs from side to side", "side to side"),
    (r"makes a detour", "detour"),
    (r"closes a loop", "loop"),
    (r"a spot without a direction", "spot"),
    (r"joins a small fragment", "small piece"),
    (r"joins a long piece", "long piece"),
)

_ROOM = 18
"""Characters that the table's column has room for."""

_ROOM_BESIDE_VIG = 11
"""The same, where the completion model has a column too."""


_KINDS = {GapKind.BRIDGE: "gap", GapKind.VIG: "gap drawn by the ViG", GapKind.TIP: "tip", GapKind.CUT: "cut"}


def short(share: float) -> str:
    """Write a share of 1 in two decimals, as little as there can be: ``.93``."""
    return f"{share:.2f}".removeprefix("0")


def kind_words(gap: Gap) -> str:
    """Say what kind of proposal it is."""
    return _KINDS[gap.kind]


def vig_lines(gap: Gap) -> list[str]:
    """Say what the completion model thinks of a proposal; nothing when none was asked."""
    if gap.completion is None:
        return []
    if gap.kind is GapKind.VIG:
        return [f"ViG alone {short(gap.completion)}"]
    return [f"ViG {short(gap.completion)}"]


def effect_lines(gap: Gap) -> list[str]:
    """Say what accepting does, in full first, then in fewer words for where that is too long; then the ViG's word."""
    return [" · ".join([words, *vig_lines(gap)]) for words in _effect_lines(gap)]


def _effect_lines(gap: Gap) -> list[str]:
    effect = gap.effect
    components = f"components {effect.components_before} → {effect.components_after}"
    loop = "closes a loop" if effect.cycles > 0 else "opens a loop" if effect.cycles < 0 else "no loop"
    shortest = [f"{components} · {loop}", f"{components.removeprefix('components ')} · {loop}"]
    if effect.connected_px < 1:
        return [f"{components} · +{effect.centreline_px:.0f} px · {loop}", *shortest]
    more = f"+{effect.connected_px:.0f} px"
    return [f"{components} · {more} joined · {loop}", f"{components} · {more} · {loop}", *shortest]


def reason_lines(gap: Gap) -> list[str]:
    """Say why, strongest first, each with a mark for or against."""
    return [f"{'+' if reason.contribution >= 0 else '−'} {reason.text}" for reason in gap.reasons]


def why(gap: Gap) -> str:
    """Say in a few words what counts most for a proposal, and what most against it: ``ridge 90%, −side-on``.

    The completion model has a column of its own; a proposal that it alone makes says so here: ``ViG alone``.
    """
    if gap.kind is GapKind.VIG:
        return "ViG alone"
    reasons = [reason for reason in gap.reasons if not reason.text.startswith("completion ")]
    supporting = [reason for reason in reasons if reason.contribution >= 0]
    opposing = [reason for reason in reasons if reason.contribution < 0]
    told = [*supporting[:1], *opposing[:1]] if opposing else supporting[:2]
    if not supporting:
        told = opposing[:2]
    told.sort(key=lambda reason: -abs(reason.contribution))
    words = [("−" if reason.contribution < 0 else "") + _short(reason) for reason in told]
    both = ", ".join(words)
    room = _ROOM if gap.completion is None else _ROOM_BESIDE_VIG
    return both if len(both) <= room else words[0]


def _short(reason: Reason) -> str:
    for pattern, words in _SHORT:
        match = re.match(pattern, reason.text)
        if match:
            return words if isinstance(words, str) else words(match)
    return reason.text
