"""The rows of the gap report on certain truths: planted gaps and planted false bridges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from common import decimal, markdown_table
from gap_planting import LENGTHS, Place
from gap_statistics import Figure, Table, auc, mean, pooled, precision_at_recall, ratio, recall_at_precision

Records = Sequence[dict[str, Any]]

CALIBRES = ((0.0, 2.0), (2.0, 4.0), (4.0, 100.0))
SHORT = 16


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
    text = markdown_table(header, table) + "\n\n"
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
    """Return how well planted false bridges are told from the vessels of true masks."""
    total = sum(image["cuts"]["planted"] for image in images)
    figures: dict[str, Any] = {"planted": total}
    table = []
    for method in images[0]["cuts"]["methods"]:
        found = [_offered(image["cuts"], method) for image in images]
        taken = [[image["cuts"]["methods"][method][name] for name in ("vessel", "erased")] for image in images]
        entry = {
            "precision_at_recall_80": pooled(found, precision_at_recall(0.8)),
            "recall_at_precision_90": pooled(found, recall_at_precision(0.9)),
            "auc_of_offered": pooled([rows[rows[:, 0] > 0] for rows in found], auc),
            "precision": pooled(found, lambda rows: ratio(np.asarray([[_right(rows), (rows[:, 0] >= 0.5).sum()]]))),
            "recall": pooled(found, lambda rows: ratio(np.asarray([[_right(rows), rows[:, 1].sum()]]))),
            "vessel_in_what_is_erased": pooled([np.asarray([pair], float) for pair in taken], ratio),
        }
        figures[method] = entry
        table.append([method, *map(str, entry.values())])
    header = ["method", "precision at recall .8", "recall at precision .9", "AUC of what is offered"]
    header += ["precision from .5 on", "recall from .5 on", "vessel in what is erased"]
    return figures, f"{total} false bridges planted between neighbouring vessels.\n\n" + markdown_table(header, table)


def _offered(cuts: dict[str, Any], method: str) -> Table:
    """Return (score, right) of each proposal, a bridge found twice once, and (0, 1) of each bridge not found."""
    rows, met = [], set()
    for score, number in cuts["methods"][method]["cuts"]:
        if number not in met:
            rows.append((score, float(number > 0)))
        met |= {number} - {0}
    return np.asarray([*rows, *[(0.0, 1.0)] * (cuts["planted"] - len(met))], float).reshape(-1, 2)


def _right(rows: Table) -> int:
    return int(((rows[:, 0] >= 0.5) & (rows[:, 1] > 0)).sum())


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
