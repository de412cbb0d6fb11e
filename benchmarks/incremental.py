"""Time to bring components, Betti numbers, centrelines, calibre, branches and ends, and the gaps, up to date.

    python benchmarks/incremental.py [--edits 300] [--masks FILE ...] [-o benchmarks/results/incremental.json]

Random edits of generated masks, broken and speckled as a segmentation's are, at three sizes; with ``--masks`` of masks
in files, too. Beside it the same from the whole mask. At the end of each row both must be the same, or it fails. Then
the gaps of generated pictures at two sizes, after such edits, and by a search of the whole mask.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, markdown_table, public_command, report_header, write_report
from numpy.typing import NDArray

from napari_vessel.completion.following import Following
from napari_vessel.completion.gap import Gap
from napari_vessel.completion.ranking import ranked
from napari_vessel.completion.search import gather, look_at
from napari_vessel.images.masks import read_mask
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.ridge import vesselness
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.topology import (
    centreline,
    find_end_points,
    label_components,
    local_radius,
    median_calibre,
    prune_spurs,
)
from napari_vessel.topology.labelling import Labelling
from napari_vessel.topology.metrics import betti_numbers
from napari_vessel.topology.skeleton import label_branches
from napari_vessel.topology.table import MaskTable

Mask = NDArray[np.bool_]

SIZES = ((584, 876), (1168, 1752), (2336, 3504))
BREAK_EVERY_PX = 100.0
"""Centreline for each break and, about, for each speck."""

GAP_SIZES = ((584, 565), (2336, 3504))

GOAL_MS = {"median": 16.0, "p99": 100.0}

PROTOCOL = (
    "An edit is, in turn: a bridge of 60 px from a random vessel pixel in a random direction, as wide as the mask's "
    "median calibre; a brush stroke along a random curve of about 150 px, twice as wide; an eraser's stroke of 30 "
    "px from a random vessel pixel; the deletion of a small component; and the last of these taken back. A cut is a "
    "square of twice the median calibre erased from the mask as it was before it was broken, or given back to it: "
    "the parts are large there; components alone are timed. Times are those of one core, in milliseconds by the "
    "process's processor time, so that waiting for the machine's other work is not in them. From scratch: "
    "cv2.connectedComponents and scikit-image's thinning of the whole mask, the median of some repetitions; for "
    "everything, distance transform, spurs, ends and branches, too. A ratio is of medians in one run. Gaps: of a "
    "generated fundus photograph, with the ridge model's probability and, for a completion map, its true vessels, "
    "blurred; missing tips are looked for, too. After each edit all gaps are listed in order. A whole search is that "
    "of the last mask, with the calibre and the evidence of the first; getting ready is done once, before any edit."
)


def broken(mask: Mask, rng: np.random.Generator) -> Mask:
    """Return a mask with short stretches of vessel missing and with specks, as a segmentation has them."""
    import cv2

    work = mask.astype(np.uint8)
    calibre = max(median_calibre(mask), 2.0)
    places = np.argwhere(mask)
    for _ in range(int(len(places) / calibre / BREAK_EVERY_PX)):
        y, x = places[rng.integers(len(places))].tolist()
        half = int(rng.integers(1, 8))
        work[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0
        start = rng.integers((0, 0), work.shape)[::-1]
        cv2.line(work, start.tolist(), (start + rng.integers(-12, 13, 2)).tolist(), 1, int(rng.integers(1, 4)))
    return work > 0


class Hand:
    """Makes random edits of a mask, and keeps the mask."""

    def __init__(self, mask: Mask, rng: np.random.Generator) -> None:
        self.mask, self._rng = mask.copy(), rng
        self._places = np.argwhere(mask)
        self._width = max(round(median_calibre(mask)), 1)
        self._before: tuple[tuple[int, int], Mask] = ((0, 0), mask[:1, :1].copy())

    def edit(self, number: int) -> tuple[str, tuple[int, int], Mask]:
        """Return the kind of the next edit, its origin and the patch it puts there."""
        kind = ("bridge", "brush", "eraser", "deletion", "undo")[number % 5]
        origin, patch = {
            "bridge": lambda: self._line(60, 1, self._width, True),
            "brush": lambda: self._line(150, 6, 2 * self._width, True),
            "eraser": lambda: self._line(30, 1, 2 * self._width, False),
            "deletion": self._deletion,
            "undo": lambda: self._before,
        }[kind]()
        (y, x), (height, width) = origin, patch.shape
        window = self.mask[y : y + height, x : x + width]
        self._before = (origin, window.copy())
        window[...] = patch
        return kind, origin, patch

    def _line(self, length: float, turns: int, width: int, value: bool) -> tuple[tuple[int, int], Mask]:
        import cv2

        y, x = self._places[self._rng.integers(len(self._places))].tolist()
        angles = self._rng.uniform(0, 2 * np.pi) + np.cumsum(self._rng.normal(0, 0.4, turns))
        steps = np.stack([np.cos(angles), np.sin(angles)], 1) * length / turns
        points = np.rint(np.cumsum(np.vstack([[x, y], steps]), 0)).astype(np.int32)
        low = np.maximum(points.min(0) - width, 0)
        high = np.minimum(points.max(0) + width + 1, self.mask.shape[::-1])
        patch = self.mask[low[1] : high[1], low[0] : high[0]].astype(np.uint8)
        cv2.polylines(patch, [points - low], False, int(value), width)
        return (int(low[1]), int(low[0])), patch > 0

    def _deletion(self) -> tuple[tuple[int, int], Mask]:
        import cv2

        # Some of the mask around a random place is enough to find a small component in.
        for y, x in self._rng.permutation(self._places)[:200].tolist():
            top, left = max(y - 40, 0), max(x - 40, 0)
            patch = self.mask[top : y + 40, left : x + 40]
            if not self.mask[y, x]:
                continue
            _, pieces = cv2.connectedComponents(patch.astype(np.uint8), connectivity=8)
            own = pieces == pieces[y - top, x - left]
            if not (own[0].any() or own[-1].any() or own[:, 0].any() or own[:, -1].any()):
                return (top, left), patch & ~own
        return self._line(30, 1, 2 * self._width, False)


def timed(work: Callable[[], object]) -> float:
    """Return the processor time of some work, ms."""
    start = time.process_time()
    work()
    return 1000.0 * (time.process_time() - start)


def everything(mask: Mask) -> None:
    """Work out from the whole mask what the table holds."""
    labels, _ = label_components(mask)
    betti_numbers(mask)
    radius = local_radius(mask)
    lines = prune_spurs(centreline(mask), radius)
    find_end_points(lines, radius, labels)
    label_branches(lines)


def check(table: MaskTable, components: Labelling, mask: Mask) -> None:
    """Fail if what followed the edits is not what the whole mask gives."""
    labels, _ = label_components(mask)
    radius = local_radius(mask)
    skeleton = centreline(mask)
    lines = prune_spurs(skeleton, radius)
    ends = find_end_points(lines, radius, table.labels)
    pairs = np.unique(labels[mask].astype(np.int64) * (int(table.labels.max()) + 1) + table.labels[mask])
    same = (
        table.betti == (components.b0, components.b1) == betti_numbers(mask)
        and len(pairs) == table.betti[0]
        and np.array_equal(table.labels > 0, mask)
        and np.array_equal(table.radius, radius)
        and np.array_equal(table.skeleton, skeleton)
        and np.array_equal(table.centrelines, lines)
        and [(end.point, end.tangent) for end in table.ends()] == [(end.point, end.tangent) for end in ends]
    )
    if not same:
        raise RuntimeError("What followed the edits is not what the whole mask gives.")


def cuts(mask: Mask, count: int) -> dict[str, float]:
    """Return the times for components alone of cutting an unbroken mask at random places, and of closing each cut."""
    rng = np.random.default_rng(0)
    half = max(round(median_calibre(mask)), 4)
    components, places, taken = Labelling(mask), np.argwhere(mask), []
    for _ in range(count):
        y, x = places[rng.integers(len(places))].tolist()
        origin = (max(y - half, 0), max(x - half, 0))
        whole = mask[origin[0] : y + half, origin[1] : x + half]
        for patch in (np.zeros_like(whole), whole):
            taken.append(timed(lambda o=origin, p=patch: components.change(o, p)))  # type: ignore[misc]
    return figures(taken)


def measure(name: str, mask: Mask, edits: int) -> dict[str, Any]:
    """Return the figures of one mask."""
    rng = np.random.default_rng(0)
    cut, mask = cuts(mask, edits), broken(mask, rng)
    hand = Hand(mask, rng)
    start = time.process_time()
    table = MaskTable(mask)
    build = 1000.0 * (time.process_time() - start)
    components = Labelling(mask)
    # Loops are followed from when they were asked for.
    check(table, components, mask)
    taken: dict[str, list[float]] = {}
    counted: list[float] = []
    for number in range(edits):
        kind, origin, patch = hand.edit(number)
        counted.append(timed(lambda o=origin, p=patch: components.change(o, p)))  # type: ignore[misc]
        taken.setdefault(kind, []).append(timed(lambda o=origin, p=patch: table.change(o, p)))  # type: ignore[misc]
    check(table, components, hand.mask)
    scratch = [timed(lambda: (label_components(hand.mask), centreline(hand.mask))) for _ in range(5)]
    whole = [timed(lambda: everything(hand.mask)) for _ in range(3)]
    labelled = [timed(lambda: betti_numbers(hand.mask)) for _ in range(5)]
    together = [value for values in taken.values() for value in values]
    return {
        "mask": name,
        "shape": list(mask.shape),
        "components": table.betti[0],
        "ends": len(table.ends()),
        "vessel_px": int(np.count_nonzero(mask)),
        "edits": edits,
        "build_ms": build,
        "table_ms": figures(together),
        "by_kind_ms": {kind: figures(values) for kind, values in taken.items()},
        "components_ms": figures(counted),
        "cut_ms": cut,
        "scratch_ms": float(np.median(scratch)),
        "scratch_everything_ms": float(np.median(whole)),
        "scratch_betti_ms": float(np.median(labelled)),
        "ratio": float(np.median(scratch) / np.median(together)),
        "ratio_everything": float(np.median(whole) / np.median(together)),
        "ratio_components": float(np.median(labelled) / np.median(counted)),
    }


def gap_figures(shape: tuple[int, int], edits: int) -> dict[str, Any]:
    """Return the figures of following the gaps of a picture; fail if they are not those of a whole search."""
    import cv2

    sample = make_sample("fundus", 3, shape)
    image, fov = sample.image, sample.image.fov
    probability, _ = run_job(vesselness(image))
    vessels = np.asarray(sample.truth.mask, np.float32)
    completion = np.clip(cv2.GaussianBlur(vessels, (0, 0), 1.0), 0.0, 1.0)
    rng = np.random.default_rng(0)
    mask = broken(np.asarray(sample.truth.mask, np.bool_), rng)
    hand = Hand(mask, rng)
    first = run_job(look_at(mask, image, probability, completion, fov, tips=True))
    assert first is not None
    listed = list(ranked(first))
    row = {"shape": list(shape), "starts": len(first.kept), "courses": len(first.drafts), "gaps": len(listed)}
    start = time.process_time()
    following = run_job(Following.begin(first, fov, True))
    begin = 1000.0 * (time.process_time() - start)
    taken: dict[str, list[float]] = {}
    for number in range(edits):
        kind, _, _ = hand.edit(number)
        start = time.process_time()
        found = run_job(following.change(hand.mask))
        assert found is not None
        listed = list(ranked(found))
        taken.setdefault(kind, []).append(1000.0 * (time.process_time() - start))
    start = time.process_time()
    whole = run_job(look_at(hand.mask, image, probability, completion, fov, tips=True, like=first))
    assert whole is not None
    expected = list(ranked(whole))
    # Evidence is gathered by a first search only.
    run_job(gather(whole.network, image, probability, completion, whole.inside))
    scratch = 1000.0 * (time.process_time() - start)
    if [told(gap) for gap in listed] != [told(gap) for gap in expected]:
        raise RuntimeError("The gaps that followed the edits are not those of the whole mask.")
    together = [value for values in taken.values() for value in values]
    return row | {
        "edits": edits,
        "edit_ms": figures(together),
        "by_kind_ms": {kind: figures(values) for kind, values in taken.items()},
        "whole_ms": scratch,
        "begin_ms": begin,
        "ratio": scratch / float(np.median(together)),
    }


def told(gap: Gap) -> dict[str, Any]:
    """Return what is said of a gap, but for the numbers of components."""
    found = gap.to_json()
    found.pop("joins")
    for end in found["ends"]:
        end.pop("component")
    return found | {"score": gap.score, "path": gap.path.tolist()}


def figures(values: list[float]) -> dict[str, float]:
    """Return median, 99th percentile and largest."""
    median, p99, most = np.percentile(values, [50, 99, 100]).tolist()
    return {"median": median, "p99": p99, "max": most}


def gap_table(rows: list[dict[str, Any]]) -> str:
    """Return the figures of the gaps as Markdown."""
    header = (
        "size", "starts", "courses", "gaps", "after an edit: median", "p99", "max", "whole search", "ratio",
        "getting ready",
    )  # fmt: skip
    lines = [
        [
            " x ".join(map(str, reversed(row["shape"]))),
            *(row[name] for name in ("starts", "courses", "gaps")),
            *(f"{row['edit_ms'][key]:.0f}" for key in ("median", "p99", "max")),
            f"{row['whole_ms']:.0f}",
            f"{row['ratio']:.0f}",
            f"{row['begin_ms']:.0f}",
        ]
        for row in rows
    ]
    kinds = [
        [" x ".join(map(str, reversed(row["shape"]))), kind, f"{of['median']:.0f}", f"{of['p99']:.0f}"]
        for row in rows
        for kind, of in row["by_kind_ms"].items()
    ]
    return f"{markdown_table(header, lines)}\n\n{markdown_table(('size', 'edit', 'median', 'p99'), kinds)}"


def tables(rows: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    header = (
        "mask", "size", "components", "ends", "edit: median", "p99", "max", "components alone: median", "p99",
        "a cut of the unbroken mask: median", "p99", "max",
        "from scratch: components and thinning", "ratio", "from scratch: everything", "ratio", "building the table",
    )  # fmt: skip
    lines = [
        [
            row["mask"],
            " x ".join(map(str, reversed(row["shape"]))),
            row["components"],
            row["ends"],
            *(f"{row['table_ms'][key]:.1f}" for key in ("median", "p99", "max")),
            *(f"{row['components_ms'][key]:.2f}" for key in ("median", "p99")),
            *(f"{row['cut_ms'][key]:.1f}" for key in ("median", "p99", "max")),
            f"{row['scratch_ms']:.0f}",
            f"{row['ratio']:.0f}",
            f"{row['scratch_everything_ms']:.0f}",
            f"{row['ratio_everything']:.0f}",
            f"{row['build_ms']:.0f}",
        ]
        for row in rows
    ]
    kinds = [
        [row["mask"], " x ".join(map(str, reversed(row["shape"]))), kind, f"{of['median']:.1f}", f"{of['p99']:.1f}"]
        for row in rows
        for kind, of in row["by_kind_ms"].items()
    ]
    first = markdown_table(header, lines)
    return f"{first}\n\nBy the kind of edit:\n\n{markdown_table(('mask', 'size', 'edit', 'median', 'p99'), kinds)}"


def main() -> None:
    """Measure, and write the tables."""
    import cv2

    parser = argparse.ArgumentParser(prog="incremental.py", description=__doc__)
    parser.add_argument("--edits", type=int, default=300)
    parser.add_argument("--masks", nargs="*", default=[], metavar="FILE", help="masks to edit, too")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "incremental.json")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    named = [("generated", make_sample("fundus", 3, size).truth.mask) for size in SIZES]
    named += [(Path(path).name, read_mask(path).mask) for path in options.masks]
    rows = []
    for name, mask in named:
        rows.append(measure(name, np.asarray(mask, np.bool_), options.edits))
        print(name, mask.shape, rows[-1]["table_ms"], flush=True)
    gaps = []
    for size in GAP_SIZES:
        gaps.append(gap_figures(size, options.edits))
        print("gaps", size, gaps[-1]["edit_ms"], flush=True)
    report = report_header(public_command(parser, options), PROTOCOL)
    report |= {"goal_ms": GOAL_MS, "rows": rows, "gap_rows": gaps}
    shown = f"{tables(rows)}\n\nGaps up to date after an edit, ms:\n\n{gap_table(gaps)}"
    write_report(options.out, "Following an edit", report, shown)


if __name__ == "__main__":
    main()
