"""Effort: an annotator who knows the truth, with a brush in plain napari and with the queue of gaps.

    python benchmarks/effort.py --drive DIR --chase-db1 DIR [--model NAME|FOLDER] [--lwnet DIR] \
        [--completion-model NAME|FOLDER|none] [--picture docs/images/effort.png] -o benchmarks/results/effort.json

The folders are the data sets as their owners give them out. An image that is finished is kept in runs/benchmarks, so an
interrupted run goes on where it was. The annotators' rules are in the report, under the tables.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    PREDICTING,
    cached,
    code_hash,
    decimal,
    images_key,
    markdown_table,
    public_command,
    report_header,
    write_report,
)
from contenders import Contender, Peer, own_model
from effort_forecast import forecasts
from effort_work import ARMS, BRUSH, BULK, QUEUE, SHOWN, measure
from gap_completion import CompletionModel, completion_model
from gap_image import CUT, sample_of
from gap_statistics import Figure, mean, pooled, ratio

from napari_vessel.errors import InputError
from napari_vessel.images.writing import replacing
from napari_vessel.training.cases import CaseFiles, find_cases, read_case
from napari_vessel.training.datasets import DATA_SETS

SETS = ("drive", "chase_db1")
QUICK = 1
GOAL = 10
TRUTHS = {"consensus": "Both observers", "first": "The first observer alone"}
ENDINGS = {"cldice": ("clDice", 3), "b0_error": ("b0 error", 1), "b1_error": ("b1 error", 1)}

SCRIPTS = ("effort_work", "gap_completion", "gap_image", "gap_judging", "gap_planting")
"""What annotators do, and what judges it."""

PROTOCOL = (
    "Masks: the segmenter's, with its own threshold and least size. The simulated annotators know the truth; finding "
    "a place costs them nothing, in either program. *Both observers*: a break is a missing stretch of the first "
    "observer's centreline of which the second drew nine tenths within 2 px, with two or more pieces of the mask on "
    "both observers' vessels around it, or with one piece that it meets at two places while leading more than 3 px "
    "away from it (a loop); wrong is what neither drew. *The first observer alone*: the same without the second. px "
    "are those of DRIVE, scaled by the field of view's diameter. The work is to delete the pieces of which less than "
    "half lies within 2 px of a vessel, and then to close every break and to leave no wrong bridge. *Brush*, plain "
    "napari: one action to choose the fill tool when there is a piece to delete, and a click for each; one to choose "
    "the brush; per break one stroke, one more for every 15 px when it is a tenth longer than the straight line "
    "between its ends, and at least one fewer than the pieces around it; the longest break first. No stroke fails, no "
    "undo, no change of brush size. *Queue*: pieces are deleted first with a key each; then find_gaps with image, "
    "probability and completion map, and every proposal is decided, best score first, also when no break is left: a "
    "key to accept it when the first observer's vessel joins the same two places within a tube of 2 px and nine "
    "tenths of the path lie within 2 px of that vessel; when it means a break but runs beside it, a key, the strokes "
    "of that break and Enter; else a key to reject it. So the queue also joins what the first observer alone drew, "
    "where the brush, by both observers, leaves it. Proposals that an earlier decision has closed leave by "
    "themselves. While a break is left the search is repeated without the rejected ones, four times at most, and all "
    "that is new decided; breaks that are never proposed are painted as with the brush. *Queue, one bulk accept "
    f"first*: the score, fixed beforehand at {CUT:g}, is set and Go pressed (two actions); whatever was wrong is then "
    "found in the list and rejected (two actions each), and the rest decided as before. Strokes paint the first "
    "observer's vessel. Mouse: actions that need the pointer. Moves of the view: one per painted break that was not "
    "proposed, per deleted piece and per wrong bridge looked up; the queue flies to its proposals by itself. They are "
    "not actions; the row *with moves* adds them. Wrong bridges left: of the shortest connections that join pieces in "
    "the final mask which were apart when the first bridge was drawn, those that are right by nobody. Edits go "
    "through a real ReviewSession. The curve is the mask after so many actions; who has finished stays there. Errors "
    "by the first observer inside the field of view. Intervals: 95 %, by drawing images."
)


def measure_image(files: CaseFiles, model: Contender, completion: CompletionModel | None) -> dict[str, dict[str, Any]]:
    """Predict one image, and let all annotators work on it, by every truth."""
    case = read_case(files, allow_test=True)
    if case.second is None:
        raise InputError(f"{case.name} has no second observer; give a set that has one.")
    probability, masks = model.predict(case)
    if probability is None:
        raise InputError(f"{model.name} gives no probability; name another model.")
    drawn = None if completion is None else completion.predict(case.image, probability, model.name)
    fov = case.image.fov
    mask = masks[model.name] if fov is None else masks[model.name] & fov
    sample = replace(sample_of(case, probability, CUT, drawn), mask=mask)
    return {name: measure(sample, name == "consensus") for name in TRUTHS}


def measure_all(
    cases: Sequence[CaseFiles], model: Contender, completion: CompletionModel | None, fresh: bool
) -> list[dict[str, dict[str, Any]]]:
    """Measure images one after the other; finished ones are taken from before."""
    found, begun = [], time.perf_counter()
    for files in cases:
        key = {
            "model": model.key(),
            "completion": None if completion is None else completion.key(),
            "image": images_key([files]),
            "scripts": code_hash((), SCRIPTS),
        }
        name = f"effort-{files.data_set}-{files.stem}-{model.name}"

        def compute(files: CaseFiles = files) -> dict[str, Any]:
            return measure_image(files, model, completion)

        found.append(cached(name, key, compute, fresh, (*PREDICTING, "completion")))
        print(f"{files.data_set}/{files.stem}: {time.perf_counter() - begun:.0f} s", flush=True)
    return found


def by_image(images: Sequence[dict[str, Any]], values: Sequence[Sequence[float]]) -> list[np.ndarray]:
    """Return one row of figures for each image, as the statistics take them."""
    return [np.asarray([row], float).reshape(1, -1) for _, row in zip(images, values, strict=True)]


def arm_figures(images: Sequence[dict[str, Any]], arm: str) -> dict[str, Figure]:
    """Return what one annotator's work cost, as means over images, and how often the brush's actions that is."""
    done = [image["arms"][arm] for image in images]
    brush = [image["arms"][BRUSH] for image in images]

    def average(values: Sequence[float]) -> Figure:
        return pooled(by_image(images, [[v] for v in values]), mean)

    def fewer(values: Sequence[float], theirs: Sequence[float]) -> Figure:
        return pooled(by_image(images, list(zip(theirs, values, strict=True))), ratio)

    with_moves = [one["actions"] + one["moves"] for one in done]
    return {
        "actions": average([one["actions"] for one in done]),
        "mouse": average([one["mouse"] for one in done]),
        "with_moves": average(with_moves),
        "times_fewer": fewer([one["actions"] for one in done], [one["actions"] for one in brush]),
        "times_fewer_with_moves": fewer(with_moves, [one["actions"] + one["moves"] for one in brush]),
        "times_fewer_mouse": fewer([one["mouse"] for one in done], [one["mouse"] for one in brush]),
        "breaks_left": average([one["breaks_left"] for one in done]),
        "wrong_bridges": average([one["wrong_bridges"] for one in done]),
        **{
            name: average([one[name] for one in done])
            for name in ("deleted", "accepted", "rejected", "repainted", "painted", "taken_back")
        },
    }


def curve_figures(images: Sequence[dict[str, Any]], arm: str) -> dict[str, dict[str, Figure]]:
    """Return clDice and the Betti errors after each number of actions, and at the end."""
    done = [image["arms"][arm] for image in images]
    points = {str(point["actions"]): [one["curve"][n] for one in done] for n, point in enumerate(done[0]["curve"])}
    points["end"] = [one["end"] for one in done]
    return {
        number: {name: pooled(by_image(images, [[p[name]] for p in found]), mean) for name in ENDINGS}
        for number, found in points.items()
    }


def summarise(images: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return all figures of some images by one truth, and their tables."""
    arms = {arm: arm_figures(images, arm) for arm in ARMS}
    curves = {arm: curve_figures(images, arm) for arm in ARMS}
    rows = [
        ["actions", *(_cell(arms[arm]["actions"]) for arm in ARMS)],
        ["of them with the mouse", *(_cell(arms[arm]["mouse"]) for arm in ARMS)],
        ["with moves of the view", *(_cell(arms[arm]["with_moves"]) for arm in ARMS)],
        ["times fewer actions than the brush", *(_cell(arms[arm]["times_fewer"], 2) for arm in ARMS)],
        ["the same with moves", *(_cell(arms[arm]["times_fewer_with_moves"], 2) for arm in ARMS)],
        ["breaks left", *(_cell(arms[arm]["breaks_left"], 2) for arm in ARMS)],
        ["wrong bridges left", *(_cell(arms[arm]["wrong_bridges"], 2) for arm in ARMS)],
    ]
    rows += [
        [name.replace("_", " "), *(decimal(arms[arm][name].value, 1) for arm in ARMS)]
        for name in ("deleted", "accepted", "rejected", "repainted", "painted", "taken_back")
    ]
    count = len(images)
    began = (
        f"{_per(images, 'components')} pieces an image, {_per(images, 'wrong_pieces')} of them on no vessel; "
        f"{_per(images, 'breaks')} breaks, {_per(images, 'loop_breaks')} of them in loops."
    )
    text = f"{began}\n\n{markdown_table(['per image, mean of ' + str(count), *ARMS], rows)}\n\n"
    bulk = [image["arms"][BULK]["after_bulk"] for image in images]
    bulk = [one for one in bulk if one is not None]
    after = {name: float(np.mean([one[name] for one in bulk])) for name in bulk[0]} if bulk else {}
    if after:
        text += (
            f"Right after the bulk accept, {after['actions']:.1f} actions an image: {after['accepted']:.1f} accepted, "
            f"{after['wrong']:.2f} of them wrong, {after['breaks_left']:.1f} breaks left, clDice "
            f"{decimal(after['cldice'])}, b0 error {after['b0_error']:.1f}, b1 error {after['b1_error']:.1f}.\n\n"
        )
    shown = [*(str(number) for number in SHOWN), "end"]
    for name, (title, digits) in ENDINGS.items():
        heads = [f"{title} after", *(f"{n} actions" if n != "end" else "the end" for n in shown)]
        cells = [[arm, *(_cell(curves[arm][n][name], digits) for n in shown)] for arm in ARMS]
        text += f"{markdown_table(heads, cells)}\n\n"
    foretold, table = forecasts(images)
    text += table
    figures = {
        "forecast": foretold,
        "images": [image["image"] for image in images],
        "arms": {arm: {name: figure.to_json() for name, figure in found.items()} for arm, found in arms.items()},
        "after_bulk": {name: round(value, 4) for name, value in after.items()},
        "curves": {
            arm: {n: {name: f.to_json() for name, f in point.items()} for n, point in found.items()}
            for arm, found in curves.items()
        },
    }
    return figures, text


def verdict(images: Sequence[dict[str, Any]]) -> str:
    """Say in one sentence whether the goal was reached."""
    found = {arm: arm_figures(images, arm)["times_fewer"] for arm in (QUEUE, BULK)}
    best = max(found, key=lambda arm: found[arm].value)
    reached = "reached" if found[best].value >= GOAL else "**not reached**"
    return (
        f"Goal, {GOAL} times fewer actions than with the brush: {reached}; {_cell(found[QUEUE], 2)} times with the "
        f"queue and {_cell(found[BULK], 2)} times with one bulk accept first. Below 1: more than the brush needs."
    )


def without_curves(image: dict[str, Any]) -> dict[str, Any]:
    """Return an image's record without its curves, of which the means are reported."""
    arms = {arm: {name: v for name, v in one.items() if name != "curve"} for arm, one in image["arms"].items()}
    return {**image, "arms": arms}


def _per(images: Sequence[dict[str, Any]], name: str) -> str:
    return decimal(float(np.mean([image[name] for image in images])), 1)


def _cell(figure: Figure, digits: int = 1) -> str:
    if np.isnan(figure.value):
        return ""
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def draw_curves(path: Path, groups: dict[str, Sequence[dict[str, Any]]]) -> None:
    """Draw clDice and the Betti errors against actions, one column for each set."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    styles = {BRUSH: ("#555555", "--", "s"), QUEUE: ("#0072B2", "-", "o"), BULK: ("#D55E00", "-", "^")}
    figure, axes = pyplot.subplots(
        len(ENDINGS), len(groups), figsize=(4.2 * len(groups), 6.6), sharex=True, squeeze=False, layout="constrained"
    )
    for column, (title, images) in enumerate(groups.items()):
        for arm in ARMS:
            points = {int(n): found for n, found in curve_figures(images, arm).items() if n != "end"}
            numbers = [n for n in sorted(points) if n <= 100]
            colour, line, mark = styles[arm]
            for row, (name, (label, _)) in enumerate(ENDINGS.items()):
                values = [points[n][name].value for n in numbers]
                axes[row][column].plot(numbers, values, line, color=colour, marker=mark, markersize=3.5, label=arm)
                axes[row][0].set_ylabel(label)
        axes[0][column].set_title(f"{title}, {len(images)} images", fontsize=10)
        axes[-1][column].set_xlabel("actions")
    axes[0][0].legend(fontsize=7, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=90)
    pyplot.close(figure)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for key in SETS:
        title = DATA_SETS[key].title
        parser.add_argument(f"--{key.replace('_', '-')}", type=Path, help=f"{title}, as its owner gives it out")
    parser.add_argument("--model", default="fundus-small", help="name or folder of the model whose masks are reviewed")
    parser.add_argument(
        "--completion-model",
        metavar="NAME|FOLDER|none",
        help="the model that completes; by default the one for the modality, when there is one",
    )
    parser.add_argument("--picture", type=Path, help="where to draw the curves (PNG)")
    parser.add_argument(
        "--lwnet", type=Path, metavar="DIR", help="checkout of agaldran/lwnet, to review its masks instead"
    )
    parser.add_argument("--quick", action="store_true", help=f"the first {QUICK} of each set only")
    parser.add_argument("--fresh", action="store_true", help="measure finished images again")
    parser.add_argument("-o", "--out", type=Path, required=True)
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    folders = {key: getattr(options, key) for key in SETS if getattr(options, key) is not None}
    if not folders:
        parser.error("give --drive DIR, --chase-db1 DIR, or both")
    model: Contender = own_model(options.model) if options.lwnet is None else Peer(options.lwnet)
    completion = completion_model(options.completion_model)
    parts = {
        DATA_SETS[key].title: measure_all(
            find_cases(key, folder, "test")[: QUICK if options.quick else None], model, completion, options.fresh
        )
        for key, folder in folders.items()
    }
    if len(parts) > 1:
        parts = {" and ".join(parts): [image for part in parts.values() for image in part], **parts}
    report = report_header(public_command(parser, options), PROTOCOL)
    report["model"] = model.key()
    report["completion_model"] = None if completion is None else completion.key()
    report["goal_times_fewer"] = GOAL
    report["results"] = {}
    helped = "no completion model" if completion is None else f"completion model {completion.key()['name']}"
    body = f"Masks of {model.name}, {helped}.\n\n"
    for title, images in parts.items():
        report["results"][title] = {}
        body += f"## {title}: {len(images)} images\n\n"
        for name, heading in TRUTHS.items():
            chosen = [image[name] for image in images]
            report["results"][title][name], text = summarise(chosen)
            body += f"### {heading}\n\n{verdict(chosen)}\n\n{text}"
    everything = next(iter(parts.values()))
    report["by_image"] = {name: [without_curves(image[name]) for image in everything] for name in TRUTHS}
    if options.picture is not None:
        draw_curves(options.picture, {title: [i["consensus"] for i in part] for title, part in parts.items()})
    write_report(options.out, "Effort", report, body.rstrip())
    print(body)


if __name__ == "__main__":
    main()
