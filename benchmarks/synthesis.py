"""How near synthetic vessels are to real ones, and how long an image takes.

    python benchmarks/synthesis.py [--chase-db1 DIR] [--hrf DIR] [--drive DIR] [--rossa DIR] [--octa-500 DIR]

Training images only. Real masks, trees grown freely and trees conditioned on these masks are measured in the same way,
from their pixels: nothing that the engine knows of its trees is used.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from common import RESULTS, decimal, markdown_table, public_command, report_header, write_report
from numpy.typing import NDArray

from napari_vessel.images.image import Modality
from napari_vessel.images.writing import replacing
from napari_vessel.synthesis.conditioned import draw_move, follow
from napari_vessel.synthesis.engine import MODALITIES, SHAPES, Background, Likeness, synthesize
from napari_vessel.synthesis.layouts import fundus_layout, octa_layout, twophoton_layout, xray_layout
from napari_vessel.synthesis.likeness import LONGEST
from napari_vessel.topology.calibre import local_radius
from napari_vessel.topology.skeleton import centreline, label_branches, prune_spurs
from napari_vessel.training.cases import find_cases, read_case
from napari_vessel.training.datasets import DATA_SETS

SETS = ("chase_db1", "hrf", "drive", "rossa", "octa-500")
PLOT = Path(__file__).parents[1] / "docs" / "images" / "synthesis-statistics.png"
REACH = 12
"""How far along a branch its calibre and direction are taken, px."""

MEASURES = {
    "murray": "Murray compliance, %",
    "angle": "angle between branches, degrees",
    "length": "branch length, % of the field",
    "calibre": "calibre, % of the field",
    "density": "vessel density, %",
    "dimension": "fractal dimension",
}
PROTOCOL = (
    "All from masks of at most 1024 px: centrelines without spurs; branches between branchings and ends. Murray "
    "compliance of a branching of three: the smaller over the larger of r0^3 and r1^3 + r2^3, r the mean radius of a "
    "branch over its first 12 px, r0 the widest. Angle: between the chords of the two thinner ones over 12 px. Length "
    "and calibre: over the width of the field of view. Dimension: slope of the number of boxes of 2 to 64 px that the "
    "centrelines meet. Conditioned: each image follows a mask of the set; free: none. Differs: Kolmogorov-Smirnov, 0 "
    "the same distribution, 1 nothing in common; its last column is between two halves of the real masks. Times: "
    "processor time on one core, median."
)
Mask = NDArray[np.bool_]
Figures = dict[str, list[float]]


def measure(mask: Mask, fov: Mask | None) -> Figures:
    """Return what is measured of one mask: values per branching, branch, or mask."""
    radius = local_radius(mask)
    lines = prune_spurs(centreline(mask), radius)
    field = float(np.sqrt(mask.size if fov is None else fov.sum() * 4 / np.pi))
    labels, count = label_branches(lines)
    found: Figures = {name: [] for name in MEASURES}
    pixels = np.argwhere(labels > 0)
    order = np.argsort(labels[labels > 0], kind="stable")
    branches = np.split(pixels[order], np.cumsum(np.bincount(labels[labels > 0], minlength=count + 1)[1:])[:-1])
    for branch in branches:
        if len(branch) >= 4:
            found["length"].append(100 * len(branch) / field)
            found["calibre"].append(100 * 2 * float(radius[branch[:, 0], branch[:, 1]].mean()) / field)
    meeting = (lines & (labels == 0)).astype(np.uint8)
    meets, _, _, centres = cv2.connectedComponentsWithStats(meeting, connectivity=8)
    for number in range(1, meets):
        centre = centres[number][::-1]
        low = np.maximum(np.floor(centre - 5).astype(int), 0)
        window = labels[low[0] : low[0] + 11, low[1] : low[1] + 11]
        around = [n for n in np.unique(window) if n > 0 and len(branches[n - 1]) >= 6]
        if len(around) == 3:
            one = branching(centre, [branches[n - 1] for n in around], radius)
            if one is not None:
                found["murray"].append(one[0])
                found["angle"].append(one[1])
    found["density"].append(100 * float(mask.mean() if fov is None else mask[fov].mean()))
    found["dimension"].append(box_dimension(lines))
    return found


def branching(
    centre: NDArray[np.float64], branches: Sequence[NDArray[np.intp]], radius: NDArray[np.float32]
) -> tuple[float, float] | None:
    """Return compliance, percent, and angle, degrees, where three branches meet."""
    widths, directions = [], []
    for branch in branches:
        away = np.hypot(*(branch - centre).T)
        near = branch[away <= REACH]
        if len(near) < 4:
            return None
        widths.append(float(radius[near[:, 0], near[:, 1]].mean()))
        step = near[int(np.argmax(np.hypot(*(near - centre).T)))] - centre
        directions.append(step / max(float(np.hypot(*step)), 1e-6))
    parent = int(np.argmax(widths))
    first, second = (k for k in range(3) if k != parent)
    whole, parts = widths[parent] ** 3, widths[first] ** 3 + widths[second] ** 3
    angle = np.degrees(np.arccos(np.clip(directions[first] @ directions[second], -1, 1)))
    return 100 * min(whole, parts) / max(whole, parts), float(angle)


def box_dimension(lines: Mask) -> float:
    """Return the box-counting dimension of centrelines."""
    sizes = np.array([2, 4, 8, 16, 32, 64])
    counts = []
    for size in sizes:
        height, width = (-(-side // size) * size for side in lines.shape)
        padded = np.zeros((height, width), np.bool_)
        padded[: lines.shape[0], : lines.shape[1]] = lines
        counts.append(max(1, int(padded.reshape(height // size, size, width // size, size).any(axis=(1, 3)).sum())))
    return float(-np.polyfit(np.log(sizes), np.log(counts), 1)[0])


def smaller(mask: Mask) -> Mask:
    """Return a mask of at most 1024 px."""
    scale = min(1.0, LONGEST / max(mask.shape))
    if scale == 1.0:
        return mask
    size = (round(mask.shape[1] * scale), round(mask.shape[0] * scale))
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5, np.bool_)


def together(parts: Sequence[Figures]) -> Figures:
    """Return the values of several masks as one."""
    return {name: [value for part in parts for value in part[name]] for name in MEASURES}


def difference(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the Kolmogorov-Smirnov distance between two samples."""
    if len(first) == 0 or len(second) == 0:
        return float("nan")
    values = np.sort(np.concatenate([first, second]))
    shares = [np.searchsorted(np.sort(one), values, side="right") / len(one) for one in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def judge(key: str, folder: Path, count: int) -> tuple[dict[str, Any], dict[str, Figures]]:
    """Return the figures of one set, and the values behind them."""
    modality = DATA_SETS[key].modality
    cases = [read_case(files) for files in find_cases(key, folder, "training")]
    step = max(1, len(cases) // count)
    cases = cases[::step][:count]
    masks = [smaller(case.vessels) for case in cases]
    fovs = [None if case.image.fov is None else smaller(case.image.fov) for case in cases]
    like = Likeness.of(masks, fovs)
    real = [measure(*pair) for pair in zip(masks, fovs, strict=True)]
    kinds = {"real": real}
    for name, given in (("free", None), ("conditioned", like)):
        made = [synthesize(modality, seed, shape=like.shape, like=given) for seed in range(len(cases))]
        kinds[name] = [measure(one.truth, one.image.fov) for one in made]
    values = {name: together(parts) for name, parts in kinds.items()}
    halves = together(real[::2]), together(real[1::2])
    figures: dict[str, Any] = {"images": len(cases), "modality": modality.value}
    for name in MEASURES:
        figures[name] = {kind: quartiles(values[kind][name]) for kind in kinds}
        figures[name]["mean"] = {kind: float(np.mean(values[kind][name])) for kind in kinds}
        figures[name]["difference"] = {
            "free": difference(values["real"][name], values["free"][name]),
            "conditioned": difference(values["real"][name], values["conditioned"][name]),
            "real halves": difference(halves[0][name], halves[1][name]),
        }
    return figures, values


def quartiles(values: Sequence[float]) -> list[float]:
    """Return lower quartile, median and upper quartile."""
    return [float(value) for value in np.percentile(values, (25, 50, 75))]


def timing(rounds: int) -> dict[str, dict[str, float]]:
    """Return the processor time, s, of a tree and of a whole image at 512 x 512 px."""
    shape = (512, 512)
    trees: dict[Modality, Callable[[np.random.Generator], object]] = {
        Modality.FUNDUS: lambda rng: fundus_layout(rng, shape),
        Modality.OCTA: lambda rng: octa_layout(rng, shape, density=1.4),
        Modality.XRAY: lambda rng: xray_layout(rng, shape, density=1.7),
        Modality.TWOPHOTON: lambda rng: twophoton_layout(rng, shape),
    }
    found = {}
    for modality in MODALITIES:
        given = synthesize(modality, 0, shape=shape)
        like = Likeness.of([given.truth], [given.image.fov])
        ground = Background.of(given.image, given.truth)

        def conditioned(seed: int, modality: Modality = modality, like: Likeness = like) -> None:
            rng = np.random.default_rng(seed)
            follow(rng, like.masks[0], draw_move(rng, like.masks[0], shape, mirror=None, upright=True), modality)

        def own(seed: int, modality: Modality = modality, like: Likeness = like, on: Background = ground) -> None:
            synthesize(modality, seed, shape=shape, like=like, backgrounds=[on])

        def free(seed: int, modality: Modality = modality) -> None:
            trees[modality](np.random.default_rng(seed))

        def image(seed: int, modality: Modality = modality) -> None:
            synthesize(modality, seed, shape=shape)

        found[modality.value] = {
            name: typical(work, rounds)
            for name, work in (("free", free), ("conditioned", conditioned), ("image", image), ("own", own))
        }
    return found


def typical(work: Callable[[int], None], rounds: int) -> float:
    """Return the median processor time, s, of some rounds after a first one."""
    times = []
    for seed in range(rounds + 1):
        begun = time.process_time()
        work(seed)
        times.append(time.process_time() - begun)
    return median(times[1:])


def plot(values: dict[str, dict[str, Figures]], out: Path) -> None:
    """Draw the distributions: a row per measure, a column per set."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(MEASURES), len(values), figsize=(2.9 * len(values), 1.75 * len(MEASURES)), squeeze=False, dpi=110
    )
    colours = {"real": "0.72", "free": "tab:orange", "conditioned": "tab:blue"}
    for column, (key, kinds) in enumerate(values.items()):
        for row, (name, words) in enumerate(MEASURES.items()):
            axis = axes[row, column]
            everything = np.concatenate([kinds[kind][name] for kind in colours])
            bins = np.linspace(*np.percentile(everything, (0, 98)), 22 if len(kinds["real"][name]) > 40 else 9)
            for kind, colour in colours.items():
                style = {"histtype": "stepfilled"} if kind == "real" else {"histtype": "step", "linewidth": 1.6}
                axis.hist(kinds[kind][name], bins, density=True, color=colour, label=kind, **style)
            axis.set_yticks([])
            axis.tick_params(labelsize=7)
            axis.spines[["top", "right", "left"]].set_visible(False)
            if row == 0:
                axis.set_title(DATA_SETS[key].title, fontsize=10)
            if column == 0:
                axis.set_ylabel(words.replace(", ", ",\n"), fontsize=8)
    axes[0, 0].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    with replacing(out) as temporary:
        figure.savefig(temporary)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for key in SETS:
        parser.add_argument(f"--{key.replace('_', '-')}", type=Path, dest=key, metavar="DIR")
    parser.add_argument("--images", type=int, default=20, help="most training images of a set")
    parser.add_argument("--rounds", type=int, default=9, help="images timed")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "synthesis.json")
    parser.add_argument("--plot", type=Path, default=PLOT)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    report = report_header(public_command(parser, options), PROTOCOL)
    report["time"] = timing(options.rounds)
    judged = {key: judge(key, folder, options.images) for key in SETS if (folder := getattr(options, key)) is not None}
    report["sets"] = {DATA_SETS[key].title: figures for key, (figures, _) in judged.items()}
    if judged:
        plot({key: values for key, (_, values) in judged.items()}, options.plot)
    write_report(options.out, "Synthetic vessels beside real ones", report, tables(report))


def tables(report: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    rows = []
    for title, figures in report["sets"].items():
        for name, words in MEASURES.items():
            one = figures[name]
            digits = 2 if name in ("calibre", "dimension", "length") else 0
            rows.append(
                (
                    title,
                    words,
                    *(
                        f"{decimal(one[kind][1], digits)} ({decimal(one[kind][0], digits)} to "
                        f"{decimal(one[kind][2], digits)})"
                        for kind in ("real", "free", "conditioned")
                    ),
                    *(decimal(one["difference"][kind], 2) for kind in ("free", "conditioned", "real halves")),
                )
            )
    header = (
        "set",
        "median (quartiles) of",
        "real",
        "free",
        "conditioned",
        "free differs",
        "conditioned",
        "real halves",
    )
    murray = markdown_table(
        ("set", "images", "real", "free", "conditioned"),
        [
            (
                title,
                figures["images"],
                *(decimal(figures["murray"]["mean"][kind], 1) for kind in ("real", "free", "conditioned")),
            )
            for title, figures in report["sets"].items()
        ],
    )
    times = markdown_table(
        ("modality", "tree, free", "tree, conditioned", "whole image", "on one's own background"),
        [
            (kind, *(f"{one[name]:.2f} s" for name in ("free", "conditioned", "image", "own")))
            for kind, one in report["time"].items()
        ],
    )
    shapes = ", ".join(f"{kind} {shape[0]} x {shape[1]}" for kind, shape in SHAPES.items())
    parts = [f"A tree, and an image with its tree, at 512 x 512 px (by default images are {shapes} px).", times]
    if rows:
        parts += ["Mean Murray compliance, %.", murray, markdown_table(header, rows)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
