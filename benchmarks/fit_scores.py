"""Fit the questions of the gap engine, link, fragment and tip, and write ``napari_vessel/completion/scores.json``.

    python benchmarks/fit_scores.py --chase-db1 DIR --hrf DIR [--predictors FOLDER,FOLDER] [--without SET] \
        [--scores napari_vessel/completion/scores.json] -o benchmarks/results/scores.json

Training and validation images only, never test images. A predictor is a model, by folder or name; it predicts only sets
that it was not trained on, so that its breaks are those of images it has never seen. Beside these natural breaks, gaps
are planted in true masks and erased from their images. What was learnt is checked on images left out, and the report
says how well, with the reliability of every question and of the score.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import cached, code_hash, decimal, markdown_table, public_command, report_header, write_report
from contenders import own_model
from gap_completion import completion_model
from gap_fitting import calibration_error, fitted
from gap_image import sample_of
from gap_rows import planted_in, rows_of
from gap_statistics import auc, precision_at_recall
from numpy.typing import NDArray
from scipy.optimize import minimize

from napari_vessel.completion.scoring import SOURCES, Additive, Scoring, chance
from napari_vessel.images.writing import write_json
from napari_vessel.jobs import run_job
from napari_vessel.segmentation import Completer
from napari_vessel.segmentation.registry import read_model
from napari_vessel.training.cases import CaseFiles, find_cases, read_case

SETS = ("chase_db1", "hrf")
ROUNDS = 2
EACH = 1
MOST = {"hrf": 12}
"""Images of a set, where not all: one of HRF takes as long as ten of CHASE_DB1."""

FOLDS = 5
PLANTED_WEIGHT = 0.5
"""Of a row from a planted gap, beside one from a natural break: where the two differ, what is natural counts more."""

RIDGE_WEIGHT = 0.1
"""Of a row from a ridge filter: it breaks vessels about ten times as often as a network does."""

SHAPE = (
    *("length", "reach", "turn", "turn_far", "facing", "meets_branch", "widths", "bends", "winding", "loop", "spot"),
    *("crosses", "stump"),
)
IMAGE = (
    *("ridge", "ridge_worst", "ridge_share", "contrast", "contrast_worst", "steadiness"),
    *("stump_ridge", "stump_contrast"),
)
PROBABILITY = ("likely", "likely_worst", "likely_least", "stump_likely")
COMPLETION = ("completion", "completion_worst", "completion_least")
COURSE = tuple(name for name in (*IMAGE, *PROBABILITY, *COMPLETION) if not name.startswith("stump"))
LINK = (*SHAPE, "size", *IMAGE, *PROBABILITY, *COMPLETION)
PIECE = ("piece_ridge", "piece_contrast", "piece_likely", "piece_surest", "piece_completion")
FRAGMENT = ("size", "area", "slender", *PIECE, "links")
# How a vessel is before it ends says nothing of whether what lies beyond is one.
TIP = ("length", "turn", "meets_branch", "widths", "bends", "winding", "size", *COURSE)
RISES = frozenset(["facing", "size", *COURSE, "area", "slender", *PIECE, "links"])
FALLS = frozenset(["length", "reach", "turn", "turn_far", "widths", "bends", "winding"])
"""What may only speak for, the more of it there is, and only against: reasons that make sense one by one."""

NEEDS = {
    "image": ("ridge", "contrast", "steadiness", "stump_ridge", "stump_contrast", "piece_ridge", "piece_contrast"),
    "probability": ("likely", "stump_likely", "piece_likely", "piece_surest"),
    "completion": ("completion", "piece_completion"),
}
KINDS = ("", "image", "image+probability+completion")
"""What the courses were drawn with. Models for other combinations learn from those drawn with everything."""

FINDING = (
    *("candidates", "connections", "drafts", "drawing", "drawn", "evidence", "measures", "paths", "pieces", "reads"),
    *("search", "tips"),
)
"""Modules of the finder that decide what there is to learn from."""

SCRIPTS = ("gap_completion", "gap_image", "gap_judging", "gap_methods", "gap_planting", "gap_rows")

PROTOCOL = (
    "Natural: predictions of models that never saw the set, cut at their own threshold; every course the finder draws. "
    "Links are learnt from every predictor, a ridge filter's rows counting a tenth, pieces from the networks among "
    "them, tips and the score from the first. "
    "Link: rows with both sides on vessels that the observers drew and, where there are two, on which both agree. "
    "Fragment: every piece, right when half of it lies within 1 px of a vessel, where the observers agree. Score: what "
    "annotators make of both, fitted with every observer of every set counting the same, against the first observer on "
    "every course. All figures by models that learnt from other images (five folds by image). ECE: "
    "expected calibration error over ten bins of equal width."
)


def collect(files: CaseFiles, predictor: Path, turns: Sequence[int], completer_folder: Path) -> dict[str, Any]:
    """Return the rows of one image and one predictor by kind: natural ones, and planted ones of every turn."""
    case = read_case(files)
    vig = read_model(completer_folder)
    rows: dict[str, list[Any]] = {kind: [] for kind in KINDS}

    def add(kind: str, weight: float, *given: Any) -> None:
        found = rows_of(*given)
        if found is not None:
            rows[kind].append({"weight": weight, **found})

    model = own_model(str(predictor))
    probability, _ = model.predict(case)
    assert probability is not None
    sample = sample_of(case, probability, model.info.threshold)
    completion = run_job(Completer(vig, "cpu").predict(case.image, probability)).probability
    add(KINDS[2], 1.0, sample.mask, sample, case.image, probability, completion)
    add(KINDS[1], 1.0, sample.mask, sample, case.image, None, None)
    add(KINDS[0], 1.0, sample.mask, sample, None, None, None)
    for turn in turns:
        broken, image = planted_in(sample, turn + 100, EACH)
        other = replace(case, image=image)
        again = sample_of(other, model.predict(other)[0], model.info.threshold)
        redrawn = run_job(Completer(vig, "cpu").predict(image, again.probability)).probability
        add(KINDS[2], PLANTED_WEIGHT, broken, sample, image, again.probability, redrawn)
        add(KINDS[1], PLANTED_WEIGHT, broken, sample, image, None, None)
        add(KINDS[0], PLANTED_WEIGHT, broken, sample, None, None, None)
    return rows


def combinations() -> list[str]:
    """Return every combination of what there may be to look at."""
    return ["+".join(c) for n in range(len(SOURCES) + 1) for c in itertools.combinations(SOURCES, n)]


def names_for(sources: str, names: Sequence[str]) -> list[str]:
    """Return the observations that there are with these sources."""
    missing = [prefix for source in SOURCES if source not in sources.split("+") for prefix in NEEDS[source]]
    return [name for name in names if not any(name.startswith(prefix) for prefix in missing)]


def learn(images: Sequence[dict[str, Any]], sources: str) -> Scoring:
    """Fit all questions, and what annotators make of link and fragment together, on the rows of some images."""
    parts = [part for image in images for part in image[kind_of(sources)]]
    asking = asked(parts, "link")
    used = [(link, part["weight"] * part["counts"]) for part in asking for link in part["links"] if _is_link(link)]
    link = fitted(
        [row["seen"] for row, _ in used],
        np.asarray([row["first"] for row, _ in used]),
        np.asarray([weight for _, weight in used]),
        names_for(sources, LINK),
        RISES,
        FALLS,
    )
    facts, right = [], []
    for part in asked(parts, "fragment"):
        # In a true mask every piece is a vessel: planted gaps teach nothing here.
        if part["weight"] == 1.0:
            for row, fact in zip(part["pieces"], piece_rows(part, link), strict=True):
                if row["first"] == row["second"]:
                    facts.append(fact)
                    right.append(row["first"])
    fragment = fitted(facts, np.asarray(right), np.ones(len(right)), names_for(sources, FRAGMENT), RISES, FALLS)
    model = Scoring(link, fragment, (0.0, 1.0, 0.0, 1.0), _tip(parts, sources))
    return replace(model, both=_together(images, sources, model))


def _tip(parts: Sequence[dict[str, Any]], sources: str) -> Additive | None:
    """Fit whether a vessel goes on, on natural breaks; every observer counts."""
    natural = [part for part in asked(parts, "tip") if part["weight"] == 1.0]
    rows = [row for part in natural for row in part["tips"]] if sources else []
    if not rows:
        return None
    right = np.asarray([row[observer] for observer in ("first", "second") for row in rows])
    # A long line is no less a vessel than a short one.
    falls = FALLS - {"length"}
    names = names_for(sources, TIP)
    return fitted([row["seen"] for row in rows] * 2, right, np.full(len(right), 0.5), names, RISES, falls)


def _together(images: Sequence[dict[str, Any]], sources: str, model: Scoring) -> tuple[float, float, float, float]:
    """Fit how the log-odds of the two questions make the score; every observer counts the same, whatever they saw."""
    by_observer: dict[str, list[NDArray[np.float64]]] = {}
    for image in images:
        rows = together_rows(image, sources, model)
        for n, observer in enumerate(("first", "second")):
            by_observer.setdefault(f"{image['set']}/{observer}", []).append(rows[:, [0, 1, 2, 3 + n]])
    tables = [np.concatenate(parts) for parts in by_observer.values()]
    tables = [table for table in tables if len(table)]

    def loss(x: NDArray[np.float64]) -> float:
        total = 0.0
        for table in tables:
            score = np.clip(together(table, tuple(x)), 1e-6, 1.0 - 1e-6)
            total -= float(np.log(np.where(table[:, 3] > 0, score, 1.0 - score)).mean())
        return total

    found = minimize(loss, np.asarray([0.0, 1.0, 0.0, 1.0]), bounds=[(None, None), (0.0, None)] * 2)
    a, b, c, d = (float(value) for value in found.x)
    return a, b, c, d


def together(rows: NDArray[np.float64], both: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the score of rows of log-odds, link and the two sides; NaN for the other side of a loop."""

    def likely(logits: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))

    sides = likely(both[2] + both[3] * rows[:, 1:3])
    return likely(both[0] + both[1] * rows[:, 0]) * np.nan_to_num(sides, nan=1.0).prod(axis=1)


def together_rows(image: dict[str, Any], sources: str, model: Scoring) -> NDArray[np.float64]:
    """Return log-odds of link and of each side being a vessel, and both observers' verdicts, of natural courses."""
    found = []
    for part in asked(image[kind_of(sources)], "score"):
        if part["weight"] < 1.0:
            continue
        facts = zip(part["pieces"], piece_rows(part, model.link), strict=True)
        vessel = {row["label"]: model.fragment.logit(fact) for row, fact in facts}
        for row in part["links"]:
            a, b = row["joins"]
            other = vessel[b] if a != b else np.nan
            found.append((model.link.logit(row["seen"]), vessel[a], other, row["first"], row["second"]))
    return np.asarray(found, np.float64).reshape(-1, 5)


def kind_of(sources: str) -> str:
    """Return which courses a model learns from."""
    return sources if sources in KINDS else KINDS[2]


def asked(parts: Sequence[dict[str, Any]], question: str) -> list[dict[str, Any]]:
    """Return the parts that a question learns from."""
    return [part for part in parts if question in part["asks"]]


def questions_of(number: int, kind: str) -> tuple[str, ...]:
    """Return what is learnt from a predictor, by its place and the kind of model.

    Whether two vessels are one is a question of the vessels, whoever broke them: the more ways of breaking, the better.
    Whether a piece is a vessel depends on who drew it, and a ridge filter draws other things than networks do. Where a
    mask stops short, and how often what joins two pieces is right, depends on that network alone: the first is the
    likest to those at work.
    """
    return ("link", *(("fragment",) if kind != "ridge" else ()), *(("tip", "score") if number == 0 else ()))


def _is_link(row: dict[str, Any]) -> bool:
    return bool(row["on_vessels"] and row["first"] == row["second"])


def piece_rows(part: dict[str, Any], link: Additive) -> list[dict[str, float]]:
    """Return the facts of each piece, with how well it would link at best."""
    best: dict[int, float] = {}
    for row in part["links"]:
        if row["joins"][0] != row["joins"][1]:
            logit = link.logit(row["seen"])
            for label in row["joins"]:
                best[label] = max(best.get(label, -np.inf), logit)
    return [{**piece["facts"], "links": best.get(piece["label"], np.nan)} for piece in part["pieces"]]


def applied(image: dict[str, Any], sources: str, model: Scoring) -> dict[str, NDArray[np.float64]]:
    """Return (chance, right) of each natural row of an image: of links, of pieces, of tips, and of the score."""
    parts = [part for part in image[kind_of(sources)] if part["weight"] == 1.0]
    pieces = [
        (chance(model.fragment.logit(fact)), row["first"])
        for part in asked(parts, "fragment")
        for row, fact in zip(part["pieces"], piece_rows(part, model.link), strict=True)
        if row["first"] == row["second"]
    ]
    links = [
        (chance(model.link.logit(row["seen"])), row["first"])
        for part in asked(parts, "link")
        for row in part["links"]
        if _is_link(row)
    ]
    tips = [
        (chance(model.tip.logit(row["seen"])), row["first"])
        for part in asked(parts, "tip")
        for row in part["tips"]
        if model.tip is not None
    ]
    rows = together_rows(image, sources, model)
    return {
        "link": np.asarray(links, np.float64).reshape(-1, 2),
        "fragment": np.asarray(pieces, np.float64).reshape(-1, 2),
        "score": np.stack([together(rows, model.both), rows[:, 3]], axis=1),
        "tip": np.asarray(tips, np.float64).reshape(-1, 2),
    }


def reliability(rows: NDArray[np.float64]) -> list[dict[str, float]]:
    """Return, for ten bins of chance, how many rows, their mean chance and the share of them that is right."""
    number = np.minimum((rows[:, 0] * 10).astype(np.intp), 9)
    return [
        {
            "rows": int((number == n).sum()),
            "chance": round(float(rows[number == n, 0].mean()), 4),
            "right": round(float(rows[number == n, 1].mean()), 4),
        }
        for n in range(10)
        if (number == n).any()
    ]


def checked(images: Sequence[dict[str, Any]], sources: str) -> dict[str, Any]:
    """Return how well every question and the score are answered on images left out."""
    fold = np.random.default_rng(0).permutation(len(images)) % FOLDS
    held: dict[str, list[NDArray[np.float64]]] = {"link": [], "fragment": [], "score": [], "tip": []}
    for number in range(FOLDS):
        model = learn([image for image, f in zip(images, fold, strict=True) if f != number], sources)
        for image, f in zip(images, fold, strict=True):
            if f == number:
                for name, rows in applied(image, sources, model).items():
                    held[name].append(rows)
    figures = {}
    for name, parts in held.items():
        rows = np.concatenate(parts)
        if not len(rows):
            continue
        figures[name] = {
            "rows": len(rows),
            "right": round(float(rows[:, 1].mean()), 4),
            "auc": round(auc(rows), 4),
            "precision_at_recall_95": round(precision_at_recall(0.95)(rows), 4),
            "ece": round(calibration_error(rows[:, 0], rows[:, 1] > 0), 4),
            "reliability": reliability(rows),
        }
    return figures


def main() -> None:
    """Collect, fit, check, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SETS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, help=f"folder of {name}")
    parser.add_argument(
        "--predictors",
        default="runs/drive/drive-small,runs/fundus-synthetic/fundus-synthetic,ridge",
        help="models, by folder or name: links are learnt from all, pieces from the networks, the rest from the first",
    )
    parser.add_argument("--without", default="", help="a set to leave out, for testing on it")
    parser.add_argument("--completion-model", help="name or folder of the completion model")
    parser.add_argument("--scores", type=Path, help="where to write the fitted models")
    parser.add_argument("--only", type=int, help="this many images of each set, for a try")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the report, JSON; a table is written beside it")
    options = parser.parse_args()
    vig = completion_model(options.completion_model)
    if vig is None:
        parser.error("there is no completion model; name one with --completion-model")
    code = code_hash([f"completion/{name}" for name in FINDING], SCRIPTS)
    images = []
    learnt: dict[str, int] = {}
    for key in SETS:
        folder = getattr(options, key)
        if folder is None or key == options.without:
            continue
        chosen = [Path(p) for p in options.predictors.split(",") if key not in own_model(p).trained_on]
        cases = [file for split in ("training", "validation") for file in find_cases(key, folder, split)]
        cases = cases[: MOST.get(key)]
        for files in cases[: options.only]:
            rows: dict[str, list[Any]] = {kind: [] for kind in KINDS}
            for number, folder_of in enumerate(chosen):
                model = own_model(str(folder_of))
                # Planted gaps are shared out among the predictors.
                turns = range(number, ROUNDS, len(chosen))
                found = cached(
                    f"scores-{key}-{files.stem}-{model.info.name}",
                    [model.key(), vig.key(), list(turns), EACH, code],
                    functools.partial(collect, files, folder_of, turns, vig.folder),
                    rooms=("segmentation", "networks", "topology", "images"),
                )
                asks = questions_of(number, model.info.kind)
                counts = RIDGE_WEIGHT if model.info.kind == "ridge" else 1.0
                for kind in KINDS:
                    rows[kind] += [{**part, "asks": asks, "counts": counts} for part in found[kind]]
            images.append({**rows, "set": key})
            print(f"{key}/{files.stem}: {sum(len(p['links']) for p in rows[KINDS[2]])} courses", flush=True)
        learnt[key] = len(cases[: options.only])
    figures = {sources: checked(images, sources) for sources in (KINDS[0], KINDS[1], "image+probability", KINDS[2])}
    models = {sources: learn(images, sources) for sources in combinations()}
    if options.scores:
        write_json(
            options.scores,
            {
                "learnt_from": learnt,
                "looking_at": {
                    sources: {
                        "link": model.link.to_json(),
                        "fragment": model.fragment.to_json(),
                        "tip": None if model.tip is None else model.tip.to_json(),
                        "both": [round(value, 4) for value in model.both],
                    }
                    for sources, model in models.items()
                },
            },
        )
    cells = ("right", "auc", "precision_at_recall_95", "ece")
    table = [
        [sources or "mask only", name, entry["rows"], *(decimal(entry[cell]) for cell in cells)]
        for sources, by in figures.items()
        for name, entry in by.items()
    ]
    header = ["looked at", "question", "rows", "right", "AUC", "precision at recall .95", "ECE"]
    report = {
        **report_header(public_command(parser, options), PROTOCOL),
        "learnt_from": learnt,
        "held_out": {sources or "mask only": by for sources, by in figures.items()},
    }
    body = markdown_table(header, table) + "\n\nReliability of the score with everything to look at:\n\n"
    bins = figures[KINDS[2]]["score"]["reliability"]
    body += markdown_table(["rows", "chance", "share right"], [[b["rows"], b["chance"], b["right"]] for b in bins])
    write_report(options.out, "Scores of gaps", report, body)


if __name__ == "__main__":
    main()
