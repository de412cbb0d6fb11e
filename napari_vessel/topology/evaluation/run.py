"""Read the pairs, compute every metric, and write a table with a companion that says how."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_vessel.errors import InputError
from napari_vessel.images.decoding import count_planes
from napari_vessel.images.fov import read_fov
from napari_vessel.images.masks import read_mask
from napari_vessel.images.probability import read_probability
from napari_vessel.images.writing import replacing
from napari_vessel.jobs import Job, Progress
from napari_vessel.topology.evaluation.pairs import Pair
from napari_vessel.topology.metrics import CONNECTIVITY, METRICS, TILE_PX, Comparison, mean_interval
from napari_vessel.topology.metrics.score import DRAWS, SEED
from napari_vessel.untrusted import MALFORMED, read_text
from napari_vessel.version import __version__

COLUMNS = ("image", *(metric.name for metric in METRICS))
"""Of the table; new ones only at the end."""

KIND = "napari-vessel evaluation"
_LIBRARIES = ("numpy", "opencv-python-headless", "scikit-image")


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """The figures of one image.

    Attributes
    ----------
    pair : Pair
        Its files.
    shape : tuple of int
        Height and width, px.
    figures : dict
        By metric; None where one is not defined.
    rules : dict
        How the values of the two mask files became vessel and background.
    """

    pair: Pair
    shape: tuple[int, int]
    figures: dict[str, float | None]
    rules: dict[str, str]


def evaluate(pairs: Sequence[Pair]) -> Job[list[Row]]:
    """Compare every prediction with its truth.

    Parameters
    ----------
    pairs : sequence of Pair
        Their files.

    Returns
    -------
    list of Row
        One for each pair, in their order.

    Raises
    ------
    InputError
        If a file cannot be read, has several pages, or has another shape than its truth.
    """
    # From the headers alone, so that a wrong file among a thousand shows at once.
    for number, pair in enumerate(pairs):
        yield Progress(number, len(pairs), f"Checking {pair.image}")
        for file in (pair.prediction, pair.truth, pair.fov, pair.probability):
            if file is not None and (pages := count_planes(file)) > 1:
                raise InputError(f"{file} has {pages} pages; save the page to compare as a file of its own.")
    rows = []
    for number, pair in enumerate(pairs):
        rows.append((yield from _compare(pair, number, len(pairs))))
    return rows


def _compare(pair: Pair, number: int, count: int) -> Job[Row]:
    label = f"{pair.image} ({number + 1} of {count})"
    yield Progress(number, count, label)
    ours, theirs = read_mask(pair.prediction), read_mask(pair.truth)
    shape = (int(theirs.labels.shape[0]), int(theirs.labels.shape[1]))
    if ours.labels.shape != shape:
        height, width = ours.labels.shape
        raise InputError(
            f"The prediction {pair.prediction} is {height} x {width} px but its truth {pair.truth} is "
            f"{shape[0]} x {shape[1]} px (height x width); compare at the image's own resolution."
        )
    fov = None if pair.fov is None else read_fov(pair.fov, shape)
    probability = None if pair.probability is None else read_probability(pair.probability, shape)
    comparison = Comparison(ours.mask, theirs.mask, fov, probability)
    figures: dict[str, float | None] = {}
    for done, metric in enumerate(METRICS):
        yield Progress(number + done / len(METRICS), count, label)
        figures[metric.name] = metric.compute(comparison)
    return Row(pair, shape, figures, {"prediction": ours.rule, "truth": theirs.rule})


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return mean, 95 % interval and number of images of every metric that any image has."""
    summary = {}
    for metric in METRICS:
        known = [value for row in rows if (value := row.figures[metric.name]) is not None]
        if known:
            mean, interval = mean_interval(known)
            summary[metric.name] = {"mean": mean, "interval_95": interval, "images": len(known)}
    return summary


def settings(rows: Sequence[Row]) -> dict[str, str]:
    """Return how the figures were computed, in words, by what they are about."""
    within = sum(row.pair.fov is not None for row in rows)
    field = f"given for {within} of {len(rows)} images; elsewhere the whole image counts"
    if within in (0, len(rows)):
        field = "given: only what is inside counts" if within else "none given: the whole image counts"
    return {
        "connectivity": CONNECTIVITY,
        "field of view": field,
        "betti0_error, betti1_error": "difference in the number of components, of loops, of the whole image",
        "betti0_error_64, betti1_error_64": f"the same, mean over tiles of {TILE_PX} x {TILE_PX} px from the image's "
        "top left corner; tiles cut off by the image's edge are kept as they are, tiles without any field of view are "
        "left out, and in the others what is outside of it is background",
        "cal_c, cal_a, cal_l, cal": "MaskVSC's variant: #G is the truth's vessel pixels, tolerance a 5 x 5 diamond, "
        "L dilates the centrelines (the classic L dilates the masks)",
        "betti_matching0, betti_matching1": "components, loops of both masks without a partner in the other, as few as "
        "any choice of partners leaves; partners lie in one component of the union, around one hole of the union",
        "empty masks": "a share of nothing is 1; overlap is 1 when both are empty, 0 when one is",
        "resolution": "the files' own",
        "interval": f"95 % of the mean, {DRAWS} draws of images with replacement, seed {SEED}",
    }


def report(rows: Sequence[Row], unused: Sequence[Path] = ()) -> dict[str, Any]:
    """Return what the table's companion holds: settings, versions, means, and the files of every image."""
    files = []
    for row in rows:
        pair = row.pair
        places = {key: getattr(pair, key) for key in ("prediction", "truth", "fov", "probability")}
        files.append(
            {
                "image": pair.image,
                **{key: None if place is None else str(place) for key, place in places.items()},
                "matched_by": pair.matched_by,
                "shape": list(row.shape),
                "rules": row.rules,
            }
        )
    return {
        "kind": KIND,
        "program": f"napari-vessel {__version__}",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        "settings": settings(rows),
        "columns": list(COLUMNS),
        "images": len(rows),
        "mean": summarise(rows),
        "files": files,
        "truths_without_prediction": [str(path) for path in unused],
    }


def check_output(out: Path) -> None:
    """Raise InputError if the table or its companion would replace a file that is no evaluation."""
    for file in (out, out.with_suffix(".json")):
        if file.exists() and not _is_own(file):
            raise InputError(f"{file} is there and is no evaluation; name another file after -o.")


def _is_own(file: Path) -> bool:
    try:
        text = read_text(file)
        return text.startswith(",".join(COLUMNS[:5])) if file.suffix != ".json" else json.loads(text)["kind"] == KIND
    except (OSError, *MALFORMED):
        return False


def write_evaluation(out: Path, rows: Sequence[Row], unused: Sequence[Path] = ()) -> None:
    """Write a table, and the JSON file that says how it was made beside it: both or neither.

    Parameters
    ----------
    out : Path
        A ``.csv`` file. Figures have six decimals; one that is not defined is an empty cell.
    rows : sequence of Row
        One for each image.
    unused : sequence of Path
        Truths that no prediction belonged to.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    text = json.dumps({**report(rows, unused), "table": out.name}, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(out) as table, replacing(out.with_suffix(".json")) as companion:
        companion.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        with table.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in rows:
                writer.writerow([row.pair.image, *(_cell(row.figures[name]) for name in COLUMNS[1:])])


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if value == int(value) else f"{value:.6f}".rstrip("0").rstrip(".")
