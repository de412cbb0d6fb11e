"""What the gaps dock says of a proposal: its effect, its reasons, and the reasons in a word or two for the table."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from napari_vessel.completion.gap import Gap, GapKind, Reason
from napari_vessel.completion.scoring import short
from napari_vessel.gui.theme import STATE_MARKS

_CUT_SHORT: tuple[tuple[str, str | Callable[[Any], str]], ...] = (
    (r"meets both vessels at about right angles", "square-on"),
    (r"leaves a vessel at an acute angle", "acute"),
    (r"both vessels run straight on without it", "both run on"),
    (r"a vessel bends where it leaves", "bends off"),
    (r"a vessel runs on from it", "runs on"),
    (r"no vessel runs on from it", "leads nowhere"),
    (r"between parallel vessels", "parallel"),
    (r"between vessels at an angle", "at an angle"),
    (r"\d+ px long", "length"),
    (r"[\d.]+ px wide", "width"),
    (r"closes a loop", "in a loop"),
    (r"the only connection", "only link"),
    (r"ridge ([\d.]+) along it", lambda m: f"ridge {m[1]}"),
)
_ORDINARY = "most connections are vessels"

_SHORT: tuple[tuple[str, str | Callable[[Any], str]], ...] = (
    (r"the two ends point at each other", "facing"),
    (r"runs straight on", "straight"),
    (r"runs on with a slight bend", "slight bend"),
    (r"turns sharply", "sharp turn"),
    (r"no ridge", "no ridge"),
    (r"(?:faint )?ridge along (\d+) %", lambda m: f"ridge {m[1]}%"),
    (r"stands out", "contrast"),
    (r"hardly stands out", "faint"),
    (r"(?:mean )?probability ([\d.]+)", lambda m: f"p {m[1].removeprefix('0')}"),
    (r"widths ([\d.]+) and ([\d.]+)", lambda m: f"widths {float(m[1]):.0f}/{float(m[2]):.0f}"),
    (r"width ([\d.]+) px meets a vessel of ([\d.]+)", lambda m: f"widths {float(m[1]):.0f}/{float(m[2]):.0f}"),
    (r"long for its width", "long"),
    (r"short for its width", "short"),
    (r"meets the side of a vessel", "side-on"),
    (r"runs from side to side", "side to side"),
    (r"makes a detour", "detour"),
    (r"closes a loop", "loop"),
    (r"a spot without a direction", "spot"),
    (r"joins a small fragment", "small piece"),
    (r"joins a long piece", "long piece"),
    (r"the less certain side is a vessel: ([\d.]+)", lambda m: f"vessel {m[1]}"),
    (r"meets an end", "end to end"),
    (r"ends while still wide", "wide end"),
    (r"has thinned out before it ends", "thin end"),
    (r"clear up to where it ends", "clear end"),
    (r"fades before it ends", "fades out"),
    (r"goes on beyond another vessel", "across"),
    (r"goes on for ([\d.]+) calibres", "length"),
    (r"leaves the side of a vessel", "side branch"),
    (r"goes on from an end", "from an end"),
    (r"turns where it begins", "turns"),
    (r"about as wide as the vessel", "width"),
    (r"of another width", "width"),
    (r"beyond a small piece", "small piece"),
    (r"beyond a long vessel", "long vessel"),
)

_ROOM = 18
"""Characters that the table's column has room for."""

_ROOM_BESIDE_VIG = 11
"""The same, where the completion model has a column too."""


_KINDS = {GapKind.BRIDGE: "gap", GapKind.VIG: "gap drawn by the ViG", GapKind.TIP: "tip", GapKind.CUT: "false bridge?"}


def kind_words(gap: Gap) -> str:
    """Say what kind of proposal it is."""
    return _KINDS[gap.kind]


def state_words(state: str, gap: Gap) -> str:
    """Say what was decided, with its mark; of a cut in its own words."""
    words = STATE_MARKS.get(state, state)
    if gap.kind is not GapKind.CUT:
        return words
    own = {"accepted": "cut", "rejected": "kept as a vessel", "repainted": "erased by hand"}
    return f"{words.split()[0]} {own[state]}" if state in own else words


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


def _cut_lines(gap: Gap) -> list[str]:
    effect = gap.effect
    before, after = effect.components_before, effect.components_after
    if after > before:
        parted = f" · {effect.connected_px:.0f} px parted" if effect.connected_px >= 1 else ""
        words = "separates 2 vessels"
        return [
            f"cut: {words} · components {before} → {after}{parted}",
            f"cut: {words} · components {before} → {after}",
            f"cut: {words} · {before} → {after}",
        ]
    if effect.cycles < 0:
        return [f"cut: opens a loop · components stay {before}", f"cut: opens a loop · {before} → {after}"]
    return ["cut: nothing is joined here any more"]


def _effect_lines(gap: Gap) -> list[str]:
    if gap.kind is GapKind.CUT:
        return _cut_lines(gap)
    effect = gap.effect
    if gap.kind is GapKind.TIP:
        more = f"+{effect.centreline_px:.0f} px"
        return [f"goes on · {more} · joins nothing", f"goes on · {more}"]
    components = f"components {effect.components_before} → {effect.components_after}"
    loop = "closes a loop" if effect.cycles > 0 else "no loop"
    shortest = [f"{components} · {loop}", f"{components.removeprefix('components ')} · {loop}"]
    if effect.connected_px < 1:
        return [f"{components} · +{effect.centreline_px:.0f} px · {loop}", *shortest]
    more = f"+{effect.connected_px:.0f} px"
    return [f"{components} · {more} joined · {loop}", f"{components} · {more} · {loop}", *shortest]


def reason_lines(gap: Gap) -> list[str]:
    """Say why, strongest first, each with a mark for or against."""
    return [f"{'+' if reason.contribution >= 0 else '−'} {reason.text}" for reason in gap.reasons]


def why(gap: Gap, beside_vig: bool = False) -> str:
    """Say in a few words what counts most for a proposal, and what most against it: ``ridge 90%, −side-on``.

    The completion model has a column of its own; a proposal that it alone makes says so here: ``ViG alone``. With
    `beside_vig` that column is shown, and there is less room.
    """
    if gap.kind is GapKind.VIG:
        return "ViG alone"
    reasons = [reason for reason in gap.reasons if not reason.text.startswith(("completion ", _ORDINARY))]
    supporting = [reason for reason in reasons if reason.contribution >= 0]
    opposing = [reason for reason in reasons if reason.contribution < 0]
    told = [*supporting[:1], *opposing[:1]] if opposing else supporting[:2]
    if not supporting:
        told = opposing[:2]
    told.sort(key=lambda reason: -abs(reason.contribution))
    known = _CUT_SHORT + _SHORT if gap.kind is GapKind.CUT else _SHORT
    words = [("−" if reason.contribution < 0 else "") + _short(reason, known) for reason in told]
    both = ", ".join(words)
    room = _ROOM_BESIDE_VIG if beside_vig else _ROOM
    return both if len(both) <= room else words[0]


def _short(reason: Reason, known: tuple[tuple[str, str | Callable[[Any], str]], ...]) -> str:
    for pattern, words in known:
        match = re.match(pattern, reason.text)
        if match:
            return words if isinstance(words, str) else words(match)
    return reason.text
