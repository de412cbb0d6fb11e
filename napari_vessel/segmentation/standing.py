"""A model's place among the models that come with the package: figures on images that none of them has seen."""

from __future__ import annotations

from typing import Any

from napari_vessel.segmentation.registry import ModelInfo, shipped_folder
from napari_vessel.untrusted import read_json

FILE = "standing.json"
"""Beside the models; ``benchmarks/all.py`` writes it from the tables of its parts."""

_SEEN = {
    "in-set": "this set",
    "cross": "other sets",
    "synthetic": "synthetic images",
    "untrained": "nothing",
    "human": "a person",
}


def place_among_others(info: ModelInfo) -> str:
    """Return a Markdown table of every shipped model on the test images of a model's modalities, the best first.

    Parameters
    ----------
    info : ModelInfo
        The model; its own rows are bold. One that has not been measured, such as a fine-tuned one, has none, and a
        sentence says so.

    Returns
    -------
    str
        Empty where nothing has been measured for its modalities.
    """
    sets = [one for one in read_json(shipped_folder() / FILE)["sets"] if one["modality"] in info.modalities]
    if not sets or info.kind == "completion":
        return ""
    lines = ["| test images | who | Dice | clDice | trained on |", "|---|---|---|---|---|"]
    measured = False
    for one in sets:
        title = f"{one['title']}, {one['images']}"
        for row in sorted(one["rows"], key=lambda row: -row["dice"][0]):
            own = (row["who"], row["version"]) == (info.name, info.version) and info.shipped
            measured |= own
            mark = "**" if own else ""
            cells = [title, _who(row), _interval(row["dice"]), _interval(row["cldice"]), _SEEN[row["seen"]]]
            lines.append(f"| {' | '.join(f'{mark}{_unbroken(cell)}{mark}' for cell in cells)} |")
    unknown = "" if measured else f"\n\n{info.title}, version {info.version}, has not been measured on these images."
    return "\n".join(lines) + unknown


def _who(row: dict[str, Any]) -> str:
    return f"{row['who']} {row['version']}".strip()


def _interval(found: list[float]) -> str:
    mean, low, high = (f"{value:.3f}".removeprefix("0") for value in found)
    return f"{mean} ({low} to {high})"


def _unbroken(text: str) -> str:
    """Return a cell that stays in one line: Qt breaks between words and before a point."""
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace(".", "\N{WORD JOINER}.\N{WORD JOINER}")
