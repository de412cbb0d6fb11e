"""The rows of the gap report on real predictions, judged by two observers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from common import decimal, markdown_table, spread
from gap_image import CUT, OURS, WITH
from gap_rows import ALONG_TIP
from gap_statistics import Figure, Table, auc, boosted, kappa, mean, pooled, precision_at_recall
from gap_tables import Records, bin_name, column

from napari_vessel.completion.belief import Belief, Opinion
from napari_vessel.completion.scoring import Additive, scoring
from napari_vessel.topology.metrics import Bridge, BrushActions, Decision, PrecisionAtK, QueueActions

Listed = Sequence[Sequence[dict[str, Any]]]
"""Candidates, proposals or pieces, by image."""

Used = Sequence[Sequence[bool]]

LINK_BINS = ((0, 2), (2, 4), (4, 8), (8, 16), (16, 32), (32, 1000))
RANKED = (10, 20)
TAUGHT = (0, 10, 25, 50, 100, 200)
TURNS = 20

PUBLISHED_LINKS = (
    "Known, quoted and not run here: boosting on 27 hand features, on lwnet's DRIVE test predictions, cross-validated "
    "on them: AUC .985, precision .996 at recall .85 and .989 at .95."
)


def link_rows(images: Records) -> tuple[dict[str, Any], str]:
    """Return the figures of links between consensus pieces, and their tables."""
    offered = _by_finder(images)
    listed = [part["candidates"] for part in offered[OURS]]
    agreed = [_agreed(part) for part in listed]
    features = [[c["features"] for c in part] for part in listed]
    boosting = boosted(features, [[c["first"] for c in part] for part in listed], agreed)
    rankers: dict[str, tuple[Listed, Sequence[Any]]] = {}
    for finder, found in offered.items():
        every, shown = ([part[what] for part in found] for what in ("candidates", "shown"))
        rankers[f"{finder}, every candidate"] = every, _links(every)
        if finder == OURS and boosting is not None:
            rankers["boosting on hand features, cross-validated on these images"] = listed, boosting
        rankers[f"{finder}, proposals shown"] = shown, _links(shown)
    figures: dict[str, Any] = {
        name: _link_entry(used, scored, [_agreed(part) for part in used]) for name, (used, scored) in rankers.items()
    }
    table = []
    for name, entry in figures.items():
        cells = ("right", "auc", "precision_at_recall_85", "precision_at_recall_95")
        table.append([name, entry["auc"].count, *(str(entry[cell]) for cell in cells)])
    header = ["ranker", "links", "right", "AUC", "precision at recall .85", "precision at recall .95"]
    text = markdown_table(header, table) + "\n\n"
    disputed = sum(_is_link(c) and c["first"] != c["second"] for part in listed for c in part)
    strict = {
        name: pooled(_pairs(used, scored, [[_is_link(c) for c in p] for p in used], both=True), auc)
        for name, (used, scored) in rankers.items()
        if not name.endswith("proposals shown")
    }
    text += (
        f"{disputed} candidates that one observer drew and the other did not are left out; counted as wrong, AUC is "
    )
    text += ", ".join(f"{figure} ({name})" for name, figure in strict.items()) + ".\n\n"
    by = {
        name: entry["by_length"] for name, entry in figures.items() if isinstance(entry, dict) and "by_length" in entry
    }
    rows = [
        [f"{name}: {what}", *(cell(by[name][key]) for key in by[name])]
        for name in by
        for what, cell in (
            ("number, right", lambda e: f"{e['right'].count}, {decimal(e['right'].value, 2)}"),
            ("AUC", lambda e: decimal(e["auc"].value)),
            ("precision at recall .95", lambda e: decimal(e["precision_at_recall_95"].value)),
        )
    ]
    text += markdown_table(["by length, px", *next(iter(by.values()))], rows) + "\n\n"
    for finder, found in offered.items():
        recall = {
            name: pooled([column([float(v) for v in part["gaps_reached"][name]]) for part in found], mean)
            for name in ("first", "consensus")
        }
        figures["candidate_recall" if finder == OURS else "candidate_recall_with_completion"] = recall
        text += (
            f"Candidate recall of {finder}: {recall['consensus']} of the {recall['consensus'].count} gaps both "
            f"observers drew between pieces both drew; {recall['first']} of the {recall['first'].count} gaps of the "
            "first observer.\n\n"
        )
    return figures, text + PUBLISHED_LINKS + "\n"


def _by_finder(images: Records) -> dict[str, list[dict[str, Any]]]:
    """Return what was offered in each image, without and, where there is one, with a completion model."""
    names = images[0]["natural"]["offered"]
    return {name: [image["natural"]["offered"][name] for image in images] for name in names}


def tip_rows(images: Records) -> tuple[dict[str, Any], str]:
    """Return how many tips are proposed, how many are right, and how much of what is missing they reach."""
    figures: dict[str, Any] = {}
    table = []
    for finder, found in _by_finder(images).items():
        parts = [part["tips"] for part in found]
        each = float(np.mean([len(part["shown"]) for part in parts]))
        entry: dict[str, Any] = {"shown_per_image": round(each, 2)}
        for observer in ("first", "second"):
            right = [column([float(tip[observer] >= ALONG_TIP) for tip in part["shown"]]) for part in parts]
            reach = [np.asarray([[part["reached"][observer], part["missing"][observer]]], float) for part in parts]
            entry[observer] = {
                "right": pooled(right, mean),
                "missing_reached": pooled(reach, lambda rows: float(rows[:, 0].sum() / max(rows[:, 1].sum(), 1.0))),
            }
            cells = [str(entry[observer]["right"]), str(entry[observer]["missing_reached"])]
            table.append([finder, observer, decimal(each, 1), *cells])
        figures[finder] = entry
    header = ["finder", "observer", "tips shown an image", "right", "missing centreline reached"]
    text = markdown_table(header, table)
    return figures, text + (
        f"\n\nA tip goes on from one vessel and joins no other. Right: {ALONG_TIP} of it lies within 2 px of the "
        "observer's vessels. Missing: the observer's centreline more than 2 px from the mask, gaps included.\n"
    )


def _agreed(part: Sequence[dict[str, Any]]) -> list[bool]:
    return [_is_link(c) and c["first"] == c["second"] for c in part]


def _links(listed: Listed) -> list[Any]:
    return [np.asarray([c["link"] for c in part]) for part in listed]


def _is_link(candidate: dict[str, Any]) -> bool:
    return bool(candidate["on_vessels"]) and not candidate["loop"]


def _pairs(
    listed: Sequence[Sequence[dict[str, Any]]],
    scores: Sequence[Any],
    used: Sequence[Sequence[bool]],
    both: bool = False,
) -> list[Table]:
    return [
        np.asarray(
            [
                [score, float(c["first"] and (c["second"] or not both))]
                for c, score, keep in zip(part, scored, kept, strict=True)
                if keep
            ]
        ).reshape(-1, 2)
        for part, scored, kept in zip(listed, scores, used, strict=True)
    ]


def _link_entry(listed: Listed, scores: Sequence[Any], used: Used) -> dict[str, Any]:
    def entry(kept: Used) -> dict[str, Any]:
        pairs = _pairs(listed, scores, kept)
        return {
            "right": pooled([part[:, 1:] for part in pairs], mean),
            "auc": pooled(pairs, auc),
            "precision_at_recall_85": pooled(pairs, precision_at_recall(0.85)),
            "precision_at_recall_95": pooled(pairs, precision_at_recall(0.95)),
        }

    whole = entry(used)
    whole["by_length"] = {
        bin_name(low, high): entry(
            [
                [keep and low <= c["length"] < high for c, keep in zip(part, kept, strict=True)]
                for part, kept in zip(listed, used, strict=True)
            ]
        )
        for low, high in LINK_BINS
    }
    return whole


def fragment_rows(images: Records) -> tuple[dict[str, Any], str]:
    """Return how well simple measures tell pieces that are vessels from those that are not."""
    listed = [image["natural"]["fragments"] for image in images]
    opinions = [np.asarray([[f["first"], f["second"]] for f in part], float).reshape(-1, 2) for part in listed]
    agreement = pooled(opinions, lambda rows: float((rows[:, 0] == rows[:, 1]).mean()))
    chance_free = pooled(opinions, kappa)
    names = ("size", "contrast", "ridge", "probability")
    agreed = [[f["first"] == f["second"] for f in part] for part in listed]
    finders = [name for name in (OURS, WITH) if all(name in f["facts"] for part in listed for f in part)]
    scores = {name: [[f[name] for f in part] for part in listed] for name in names}
    scores |= {f"{name}: fragment score": _prior(listed, name) for name in finders}
    boosting = boosted(
        [[{name: f[name] for name in names} for f in part] for part in listed],
        [[f["first"] for f in part] for part in listed],
        agreed,
    )
    if boosting is not None:
        scores["boosting on the four"] = boosting
    figures: dict[str, Any] = {"observers_agree": agreement, "observers_kappa": chance_free, "auc": {}}
    table = []
    for name, scored in scores.items():
        figure = pooled(_pairs(listed, scored, agreed), auc)
        figures["auc"][name] = figure
        table.append([name, figure.count, str(figure)])
    taught = {name: _taught(listed, name) for name in finders}
    figures["after_decisions"] = taught
    real = pooled(
        [
            column([float(f["first"]) for f, keep in zip(p, k, strict=True) if keep])
            for p, k in zip(listed, agreed, strict=True)
        ],
        mean,
    )
    figures["vessels_where_observers_agree"] = real
    text = f"{agreement.count} pieces (all but the largest of each image); the observers agree on {agreement}, kappa "
    text += f"{chance_free}; where they agree, {real} are vessels.\n\n"
    text += markdown_table(["evidence", "pieces", "AUC against consensus"], table) + "\n\n"
    text += (
        f"After decisions on pieces of other images, drawn by chance ({TURNS} orders of the images), AUC against the "
        "same observer on the images not yet decided:\n\n"
    )
    rows = [
        [f"{name}, {observer} observer", *(decimal(by[observer][str(k)]) for k in TAUGHT)]
        for name, by in taught.items()
        for observer in by
    ]
    return figures, text + markdown_table(["decisions", *map(str, TAUGHT)], rows) + "\n"


def _known(facts: dict[str, float]) -> dict[str, float]:
    return {name: np.nan if value is None else value for name, value in facts.items()}


def _model(finder: str) -> Additive:
    return scoring("image+probability" + ("+completion" if finder == WITH else "")).fragment


def _prior(listed: Listed, finder: str) -> list[list[float]]:
    model = _model(finder)
    return [[model.logit(_known(f["facts"][finder])) for f in part] for part in listed]


def _average(values: list[float]) -> float | None:
    known = [value for value in values if not np.isnan(value)]
    return round(float(np.mean(known)), 4) if known else None


def _taught(listed: Listed, finder: str) -> dict[str, dict[str, float | None]]:
    """Return the AUC after so many decisions of one observer, on that observer's opinions of all later images."""
    found = {}
    for observer in ("first", "second"):
        values: dict[int, list[float]] = {k: [] for k in TAUGHT}
        for turn in range(TURNS):
            order = np.random.default_rng(turn).permutation(len(listed))
            for k in TAUGHT:
                belief = Belief(_model(finder))
                left, rest = k, []
                for n in order:
                    part = listed[n]
                    if left > 0:
                        chosen = part[:left]
                        belief.learn([Opinion(_known(f["facts"][finder]), f[observer]) for f in chosen])
                        left -= len(chosen)
                    else:
                        rest += [(belief.logit(_known(f["facts"][finder])), float(f[observer])) for f in part]
                if left <= 0 and rest:
                    values[k].append(auc(np.asarray(rest)))
        found[observer] = {str(k): _average(v) for k, v in values.items()}
    return found


def end_to_end_rows(images: Records) -> tuple[dict[str, Any], str]:
    """Return bridges by each method on real predictions, judged by either observer."""
    figures: dict[str, Any] = {}
    for method in images[0]["natural"]["methods"]:
        found = [image["natural"]["methods"][method] for image in images]
        figures[method] = {
            observer: {
                "recall": pooled([column([float(v) for v in f[observer]["closed"]]) for f in found], mean),
                "precision": pooled([column([float(v) for v in f[observer]["right"]]) for f in found], mean),
            }
            for observer in ("first", "second")
        }
    boosting = _boosted_end_to_end(images)
    if boosting is not None:
        figures["boosting on hand features, score .5, cross-validated on these images"] = boosting
    table = [
        [
            method,
            entry["first"]["precision"].count,
            *(
                str(entry[observer][what]) if observer in entry else ""
                for observer in ("first", "second")
                for what in ("recall", "precision")
            ),
        ]
        for method, entry in figures.items()
    ]
    header = ["method", "bridges", "recall", "precision", "recall by the second observer", "precision by the second"]
    listed = [part["candidates"] for part in _by_finder(images)[OURS]]
    verdicts = [
        np.asarray([[c["second"], c["first"]] for c in part if not c["loop"]], float).reshape(-1, 2) for part in listed
    ]
    human = {
        "precision": pooled(verdicts, lambda rows: float(rows[rows[:, 0] > 0, 1].mean())),
        "recall": pooled(verdicts, lambda rows: float(rows[rows[:, 1] > 0, 0].mean())),
        "agreement": pooled(verdicts, lambda rows: float((rows[:, 0] == rows[:, 1]).mean())),
    }
    figures["second observer's verdicts on all candidates, judged by the first"] = human
    counts = {name: sum(len(i["natural"]["gaps"][name]) for i in images) for name in ("first", "second")}
    lengths = np.asarray([n for i in images for n in i["natural"]["gaps"]["first"]])
    percentiles = np.percentile(lengths, [10, 25, 50, 75, 90, 100]) if lengths.size else []
    text = (
        f"{counts['first']} natural gaps by the first observer, {counts['second']} by the second; lengths (first) at "
    )
    text += f"percentiles 10, 25, 50, 75, 90, 100: {', '.join(f'{p:.0f}' for p in percentiles)} px.\n\n"
    text += markdown_table(header, table)
    text += (
        f"\n\nThe second observer's verdict on every candidate, judged by the first: precision {human['precision']}, "
    )
    text += f"recall {human['recall']}, agreement {human['agreement']}.\n"
    return {"natural_gaps": counts, "length_percentiles": [round(float(p), 1) for p in percentiles], **figures}, text


def _boosted_end_to_end(images: Records) -> dict[str, Any] | None:
    """Accept candidates by boosting, surest first, none that joins what is already one."""
    listed = [image["natural"]["offered"][OURS]["candidates"] for image in images]
    scores = boosted(
        [[c["features"] for c in part] for part in listed],
        [[c["first"] for c in part] for part in listed],
        [[not c["loop"] for c in part] for part in listed],
    )
    if scores is None:
        return None
    recalls, verdicts = [], []
    for image, part, scored in zip(images, listed, scores, strict=True):
        group: dict[int, int] = {}

        def root(label: int, group: dict[int, int] = group) -> int:
            while group.setdefault(label, label) != label:
                label = group[label]
            return label

        taken = []
        for n in np.argsort(-scored):
            first, second = (root(label) for label in part[n]["joins"])
            if scored[n] >= CUT and first != second:
                group[first] = second
                taken.append(part[n])
        closed = {n for c in taken for n in c["closes"]}
        recalls.append(column([float(n in closed) for n in range(len(image["natural"]["gaps"]["first"]))]))
        verdicts.append(np.asarray([[c["first"], c["second"]] for c in taken], float).reshape(-1, 2))
    return {
        "first": {"recall": pooled(recalls, mean), "precision": pooled(verdicts, mean)},
    }


def effort_rows(images: Records) -> tuple[dict[str, Any], str]:
    """Return the precision of the first proposals and an annotator's actions, who knows what both observers drew."""
    by = {finder: _effort([part["shown"] for part in found]) for finder, found in _by_finder(images).items()}
    figures: dict[str, Any] = dict(by[OURS])
    if WITH in by:
        figures["with_completion"] = by[WITH]
    rows = [
        [name.replace("_", " "), *(spread(f[name].value, f[name].low, f[name].high, 2) for f in by.values())]
        for name in by[OURS]
    ]
    return figures, markdown_table(["per image, mean", *by], rows) + "\n"


def _effort(listed: Listed) -> dict[str, Figure]:
    early: dict[str, list[Table]] = {f"precision_at_{k}": [] for k in RANKED}
    queue, brush = [], []
    for shown in listed:
        bridges = [Bridge(c["length"], c["first"], c["score"]) for c in shown if c["first"] == c["second"]]
        for k in RANKED:
            value = PrecisionAtK(k).compute(bridges)
            early[f"precision_at_{k}"].append(column([] if value is None else [value]))
        decisions = [Decision(c["length"], c["distance"], _decision(c)) for c in shown]
        queue.append(column([QueueActions().compute(decisions)]))
        brush.append(column([BrushActions().compute(decisions)]))
    figures = {name: pooled(parts, mean) for name, parts in early.items()}
    return figures | {"queue_actions": pooled(queue, mean), "brush_actions": pooled(brush, mean)}


def _decision(proposal: dict[str, Any]) -> Any:
    if proposal["first"] != proposal["second"]:
        return "unsure"
    return "accept" if proposal["first"] else "reject"
