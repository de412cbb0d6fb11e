"""What the *Fine-tune* dock says: what there is to learn from, whether it is enough, and figures old against new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from napari_vessel.review.edits import Verdict
from napari_vessel.review.samples import WhatToLearn
from napari_vessel.review.version_records import Version, VersionState
from napari_vessel.training.finetuning.gate import FEWEST_GUARDS

STATE_WORDS = {
    VersionState.BASE: "◇ beginning",
    VersionState.CANDIDATE: "? undecided",
    VersionState.PROMOTED: "✔ was in use",
    VersionState.REFUSED: "✘ refused",
    VersionState.ROLLED_BACK: "↶ left",
}
"""Each state by a shape and a word, never by colour alone."""

IN_USE = "● in use"

_DECIDED = (
    (Verdict.ACCEPTED, "accepted"),
    (Verdict.REJECTED, "rejected"),
    (Verdict.REPAINTED, "repainted"),
    (Verdict.UNSURE, "unsure"),
)
_FIGURES = (("guards", "dice", "Dice", 3), ("guards", "cl_dice", "clDice", 3), ("guards", "b0_error", "b0 error", 1))
_KNOWN = ("base", "dice", "Dice, what it knew", 3)


class Row(NamedTuple):
    """One figure, old against new, in words; `better` is None where they are the same."""

    name: str
    old: str
    new: str
    better: bool | None


def count_of(count: int, word: str) -> str:
    """Return ``1 image``, ``2 images``."""
    return f"{count} {word}{'s' * (count != 1)}"


def images_lines(found: WhatToLearn) -> list[str]:
    """Say which images there are, and by how many a new model is judged, in full first, then in fewer words."""
    judged = f" ({found.guards} to judge by)" if found.guards else ""
    return [
        f"{found.done} done{judged}, {found.in_review} in review",
        f"{found.done} done, {found.in_review} in review",
    ]


def decisions_lines(found: WhatToLearn) -> list[str]:
    """Say what was decided, in full first, then in fewer words."""
    gaps = [f"{found.verdicts[verdict.value]} {word}" for verdict, word in _DECIDED if found.verdicts[verdict.value]]
    fragments = found.kept + found.deleted
    others = [
        *([count_of(found.strokes, "stroke")] if found.strokes else []),
        *([count_of(fragments, "fragment")] if fragments else []),
    ]
    verdicts = sum(found.verdicts[verdict.value] for verdict, _ in _DECIDED)
    short = ", ".join([*([count_of(verdicts, "verdict")] if verdicts else []), *others])
    return [", ".join([*gaps, *others]) or "nothing was decided yet", short]


def readiness(found: WhatToLearn | None, model: str) -> str:
    """Say whether there is enough to learn from, and who will decide."""
    if found is None:
        return "No project is open. Open one in Vessel project: this learns from what you decide in it."
    if not found.anything:
        return (
            "Too little to learn from: finish an image (D in Vessel gaps), or decide some gaps in one, then come back."
        )
    new = f"{count_of(found.new, 'finished image')} {'is' if found.new == 1 else 'are'} new to {model}."
    if found.guards < FEWEST_GUARDS:
        few = f"{count_of(found.guards, 'image')} to judge by, of {FEWEST_GUARDS} needed"
        return f"{new} With {few}, you decide whether the new model is used."
    return f"{new} The new model is used if it is better on the {found.guards} to judge by."


def figure_rows(figures: Mapping[str, Any]) -> list[Row]:
    """Return a version's figures, old against new; those of the guards, and what was kept of what the model knew."""
    rows = []
    for part, key, name, digits in (*_FIGURES, _KNOWN):
        means = figures.get(part, {}).get(key)
        if not means:
            rows.append(Row(name, "–", "–", None))
            continue
        old, new = (f"{means[side]:.{digits}f}" for side in ("old", "new"))
        less_is_better = key == "b0_error"
        better = None if old == new else (means["new"] < means["old"]) == less_is_better
        rows.append(Row(name, old, new, better))
    return rows


def guards_in(figures: Mapping[str, Any]) -> int:
    """Return on how many images a version was judged."""
    return int(figures.get("guards", {}).get("images", 0))


def state_words(version: Version, in_use: bool) -> str:
    """Return what became of a version."""
    return IN_USE if in_use or version.current else STATE_WORDS[version.state]
