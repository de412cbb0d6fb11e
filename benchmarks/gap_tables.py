"""The rows of the gap report on certain truths: planted gaps and planted false bridges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from common import decimal, markdown_table
from gap_planting import LENGTHS, Place
from gap_statistics import Figure, Table, mean, pooled, ratio

Records = Sequence[dict[str, Any]]

CALIBRES = ((0.0, 2.0), (2.0, 4.0), (4.0, 100.0))
SHORT = 16

PUBLISHED_PLANTED = (
    "Known, quoted and not run here: CREATIS on DRIVE's masks (mask only) closes .91 to .97 of gaps of 4 px, .80 to "
    ".93 of 8 px, .68 to .90 of 12 px and .63 to .85 of 16 px, with false additions of .04 to .25 of the gaps' pixels."
)


def planted_rows(images: Records) -> tuple[dict[str, Any], str]:
    """Return the figures of planted gaps, and their tables."""
    methods = list(images[0]["planted"][0]["methods"])
    lengths = [n for n in LENGTHS if n <= SHORT], [n for n in LENGTHS if n > SHORT]
    figures: dict[str, Any] = {}
    table = []
    for method in methods:
        short, long = (
            _planted(images, method, "closed", lambda gap, kept=kept: gap["length"] in kept) for kept in lengths
        )
        entry = {
            "recall_up_to_16_px": short,
            "recall_24_to_60_px": long,
            "dice_in_gap_up_to_16_px": _planted(images, method, "dice", lambda gap: gap["length"] <= SHORT),
            "false_beside_gaps": pooled([_false(image, method, near=True) for image in images], ratio),
            "false_everywhere": pooled([_false(image, method, near=False) for image in images], ratio),
            "false_everywhere_beyond_1_px": pooled(
                [_false(image, method, near=False, beyond=1) for image in images], ratio
            ),
        }
        table.append([method, *(str(entry[name]) for name in list(entry)[:5])])
        entry["by_length"] = {
            str(n): _planted(images, method, "closed", lambda gap, n=n: gap["length"] == n) for n in LENGTHS
        }
        entry["by_place"] = {
            **{p.value: _planted(images, method, "closed", lambda gap, p=p: gap["place"] == p.value) for p in Place},
            "closing a loop": _planted(images, method, "closed", lambda gap: gap["loop"]),
        }
        entry["by_calibre"] = {
            bin_name(a, b): _planted(images, method, "closed", lambda gap, a=a, b=b: a <= gap["calibre"] < b)
            for a, b in CALIBRES
        }
        entry["by_length_in_calibres"] = {
            bin_name(low, high): _planted(
                images, method, "closed", lambda gap, a=low, b=high: a <= gap["calibres_long"] < b
            )
            for low, high in ((0, 2), (2, 4), (4, 8), (8, 16), (16, 1000))
        }
        entry["false_beside_gaps_by_length"] = {
            str(n): pooled([_false(image, method, near=True, length=n) for image in images], ratio) for n in LENGTHS
        }
        figures[method] = entry
    header = ["method", "recall, 2 to 16 px", "recall, 24 to 60 px", "Dice in the gap, 2 to 16 px"]
    header += ["false additions beside gaps", "false additions everywhere"]
    text = markdown_table(header, table) + f"\n\n{PUBLISHED_PLANTED}\n\n"
    for title, name in (("length, px", "by_length"), ("calibre, px", "by_calibre"), ("place", "by_place")):
        keys = list(next(iter(figures.values()))[name])
        counts = [figures[methods[0]][name][key].count for key in keys]
        rows = [[m, *(decimal(figures[m][name][key].value, 2) for key in keys)] for m in methods]
        text += f"Recall by {title} (number of gaps in brackets):\n\n"
        heads = [f"{key} ({count})" for key, count in zip(keys, counts, strict=True)]
        text += markdown_table(["method", *heads], rows)
        text += "\n\n"
    return figures, text


def _planted(images: Records, method: str, what: str, chosen: Callable[[dict[str, Any]], bool]) -> Figure:
    parts = []
    for image in images:
        values = [
            float(value)
            for done in image["planted"]
            for gap, value in zip(done["gaps"], done["methods"][method][what], strict=True)
            if chosen(gap)
        ]
        parts.append(column(values))
    return pooled(parts, mean)


def _false(image: dict[str, Any], method: str, near: bool, beyond: int = 2, length: int | None = None) -> Table:
    """Return falsely added pixels and erased pixels of each round of planting."""
    rows = []
    for done in image["planted"]:
        result = done["methods"][method]
        kept = [length is None or gap["length"] == length for gap in done["gaps"]]
        erased = sum(gap["pixels"] for gap, keep in zip(done["gaps"], kept, strict=True) if keep)
        beside = sum(n for n, keep in zip(result[f"false_near_{beyond}"], kept, strict=True) if keep)
        rows.append([beside if near else result[f"false_{beyond}"], erased])
    return np.asarray(rows, float).reshape(-1, 2)


def cut_rows(images: Records) -> tuple[dict[str, Any], str]:
    """Return what became of planted false bridges."""
    total = {name: sum(image["cuts"][name] for image in images) for name in ("planted", "offered", "found", "right")}
    if total["offered"] == 0:
        return {**total, "recall": None, "precision": None}, (
            f"{total['planted']} false bridges planted between neighbouring vessels. Cut proposals: **not offered**.\n"
        )
    recall = pooled([np.asarray([[i["cuts"]["found"], i["cuts"]["planted"]]], float) for i in images], ratio)
    precision = pooled([np.asarray([[i["cuts"]["right"], i["cuts"]["offered"]]], float) for i in images], ratio)
    return {**total, "recall": recall, "precision": precision}, markdown_table(
        ["planted", "recall", "precision"], [[total["planted"], recall, precision]]
    )


def bin_name(low: float, high: float) -> str:
    return f"{low:g} and more" if high >= 100 else f"{low:g} to {high:g}"


def column(values: Sequence[float]) -> Table:
    return np.asarray(values, float).reshape(-1, 1)


def plain(figures: Any) -> Any:
    """Turn figures into JSON values."""
    if isinstance(figures, Figure):
        return figures.to_json()
    if isinstance(figures, dict):
        return {name: plain(value) for name, value in figures.items()}
    return figures
