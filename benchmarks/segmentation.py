"""Score our models, the peer and the second observer on test images.

    python benchmarks/segmentation.py --drive DIR --chase-db1 DIR --hrf DIR --rossa DIR --octa-500 DIR --lwnet DIR

Each data set in its owner's layout, or with images/, masks/ and, where there are any, fov/ and masks_2nd/. ``--lwnet``
is a checkout of https://github.com/agaldran/lwnet. ``--models`` takes names and folders. Writes the report as JSON and
Markdown; finished parts are kept in runs/benchmarks/ and not computed again unless ``--fresh`` is given.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    RESULTS,
    cached,
    decimal,
    images_key,
    interval,
    known,
    markdown_table,
    paired_interval,
    public_command,
    report_header,
    spread,
    write_report,
)
from contenders import FIGURES, PEER, Contender, Peer, SecondObserver, own_model, score

from napari_vessel.errors import InputError
from napari_vessel.training.cases import CaseFiles, find_cases, read_case
from napari_vessel.training.datasets import DATA_SETS

TESTED = ("drive", "chase_db1", "hrf", "rossa", "octa-500")
MODELS = "fundus-small,fundus,octa-small,ridge"
PROTOCOL = (
    "Test images only, inside the field of view, at each image's own resolution, one setting for all images of a set. "
    "Each model with the threshold and minimum size stored with it, chosen on validation images; a row 'NAME, ...' is "
    "NAME's probability cut at its threshold, if no other is given, and cleaned up in a way that costs nothing. Seen: "
    "'in-set' when training images of the tested set were trained on, 'cross' when none were. b0 and b1 err: "
    "differences in components and loops, in the whole image and as a mean over tiles of 64 px; CAL as in MaskVSC "
    "(Zhou et al., 2025); Betti matching 0 and 1: components and loops of both masks without a partner "
    "(docs/metrics.md). Means over images; in brackets 95 % intervals from drawing images with replacement."
)

Rows = dict[str, list[dict[str, Any]]]
"""For each row of the table the figures of every image."""


def measure(contender: Contender, files: Sequence[CaseFiles]) -> Rows:
    """Predict and score images one after the other."""
    rows: Rows = {}
    for one in files:
        case = read_case(one, allow_test=True)
        probability, masks = contender.predict(case)
        for name, mask in masks.items():
            row = {"image": one.stem, **score(mask, case, probability)}
            rows.setdefault(name, []).append(row)
        print(
            f"{one.name} {contender.name}", *(f"{name} {decimal(r[-1]['dice'])}" for name, r in rows.items()), sep=", "
        )
    return rows


def measure_in_processes(contender: Contender, files: Sequence[CaseFiles], jobs: int) -> Rows:
    """Share the images between processes; the rows come back in the images' order."""
    if jobs == 1 or len(files) < 2 * jobs:
        return measure(contender, files)
    # Each process has its share of the processor, or they would fight over it.
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(measure, [contender] * jobs, [files[start::jobs] for start in range(jobs)]))
    order = {one.stem: number for number, one in enumerate(files)}
    return {
        name: sorted((row for part in parts for row in part.get(name, [])), key=lambda row: order[row["image"]])
        for name in parts[0]
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and interval of every figure over the images that have it."""
    summary: dict[str, Any] = {"images": len(rows)}
    for figure in FIGURES:
        values = [row[figure] for row in rows if row.get(figure) is not None]
        if values:
            low, high = interval(values)
            summary[figure] = {"mean": float(np.mean(values)), "low": known(low), "high": known(high)}
    return summary


def differences(results: dict[str, Any], against: str) -> list[dict[str, Any]]:
    """Return Dice and clDice of every other row of a set minus those of the row `against`, paired by image."""
    if against not in results:
        return []
    theirs = {row["image"]: row for row in results[against]["images"]}
    found = []
    for name, entry in results.items():
        # Clean-ups have rows of their own, but no pairs: there would be more of them than of models.
        if name == against or entry["seen"] == "human" or ", " in name:
            continue
        ours = entry["images"]
        difference: dict[str, Any] = {"row": name, "against": against, "seen": entry["seen"]}
        for figure in ("dice", "cldice"):
            values = paired_interval([row[figure] for row in ours], [theirs[row["image"]][figure] for row in ours])
            difference[figure] = {name: known(v) for name, v in zip(("mean", "low", "high"), values, strict=True)}
        found.append(difference)
    return found


def tables(results: dict[str, Any], compared: dict[str, list[dict[str, Any]]]) -> str:
    """Return the results as Markdown."""
    rows, pairs = [], []
    for key, entries in results.items():
        for name, entry in entries.items():
            summary = entry["summary"]
            cells = [DATA_SETS[key].title, name, entry["seen"], summary["images"]]
            for figure, (_, digits) in FIGURES.items():
                found = summary.get(figure)
                if found is None:
                    cells.append("")
                elif figure in ("dice", "cldice"):
                    cells.append(spread(found["mean"], found["low"], found["high"]))
                else:
                    cells.append(decimal(found["mean"], digits))
            rows.append(cells)
        pairs += [
            [DATA_SETS[key].title, one["row"], one["seen"], one["against"]]
            + [spread(one[f]["mean"], one[f]["low"], one[f]["high"]) for f in ("dice", "cldice")]
            for one in compared[key]
        ]
    header = ["data set", "who", "seen", "images", *(title for title, _ in FIGURES.values())]
    text = markdown_table(header, rows)
    if pairs:
        paired = markdown_table(["data set", "who", "seen", "minus", "Dice difference", "clDice difference"], pairs)
        text += f"\n\n## Differences, paired by image\n\n{paired}"
    return text


def run(contenders: Sequence[Contender], folders: dict[str, Path], jobs: int, fresh: bool) -> dict[str, Any]:
    """Return the results of every contender on every data set it is made for."""
    results: dict[str, Any] = {}
    for key, folder in folders.items():
        files = find_cases(key, folder, "test")
        results[key] = {}
        for contender in contenders:
            if not contender.takes(DATA_SETS[key].modality):
                continue
            made_from = {"contender": contender.key(), "images": images_key(files)}
            rows: Rows = cached(
                f"segmentation-{key}-{contender.name}",
                made_from,
                lambda c=contender, f=files: measure_in_processes(c, f, jobs),
                fresh,
            )
            for name, images in rows.items():
                results[key][name] = {"seen": contender.seen(key), "summary": summarise(images), "images": images}
    return results


def kept_with(
    results: dict[str, Any], keys: list[dict[str, Any]], report: dict[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return results and contenders with those that a report has of others, in the report's order."""
    new = {key["name"]: key for key in keys}
    changed = {key["name"] for key in keys if key not in report["contenders"]}
    contenders = [new.pop(key["name"], key) for key in report["contenders"]] + list(new.values())
    merged: dict[str, Any] = {}
    for key in dict.fromkeys([*report["results"], *results]):
        before, now = report["results"].get(key, {}), results.get(key, {})
        names = {row["image"] for row in next(iter(before.values()))["images"]} if before else set()
        for who, row in now.items():
            if names and {one["image"] for one in row["images"]} != names:
                raise InputError(f"'{who}' was measured on other images of '{key}' than the report; leave out --keep.")
        # What an older version made goes; a contender's clean-ups have rows of their own, after its name and a comma.
        gone = {who for who in before if who.partition(",")[0] in changed and who not in now}
        rows = {who: now.get(who, row) for who, row in before.items() if who not in gone}
        merged[key] = rows | {who: row for who, row in now.items() if who not in rows}
    return merged, contenders


def made_before(results: dict[str, Any], now: str) -> str:
    """Say which rows were made by another command than this one; older reports do not say which."""
    others: dict[str, list[str]] = {}
    for key, entries in results.items():
        for name, entry in entries.items():
            command = entry.get("command")
            if command != now:
                by = "a command that the report did not keep" if command is None else f"`{command}`"
                others.setdefault(by, []).append(f"{name} on {DATA_SETS[key].title}")
    return "\n\n".join(f"Made before, by {by}: {'; '.join(rows)}." for by, rows in others.items())


def add_folders(parser: argparse.ArgumentParser, keys: Sequence[str] = TESTED) -> None:
    """Add one option for each data set's folder."""
    for key in keys:
        option = f"--{key.replace('_', '-')}"
        parser.add_argument(option, type=Path, dest=key, metavar="DIR", help=f"{DATA_SETS[key].title}, for its tests")


def given_folders(options: argparse.Namespace, keys: Sequence[str] = TESTED) -> dict[str, Path]:
    """Return the folders of the data sets that were given."""
    return {key: folder for key in keys if (folder := getattr(options, key)) is not None}


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folders(parser)
    parser.add_argument("--lwnet", type=Path, metavar="DIR", help="checkout of the peer's repository")
    parser.add_argument("--models", default=MODELS, help="names and folders, separated by commas")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the images")
    parser.add_argument("--fresh", action="store_true", help="compute finished parts again")
    parser.add_argument(
        "--keep", action="store_true", help="leave what the report has of contenders and sets that are not given"
    )
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "segmentation.json")
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    folders = given_folders(options)
    if not folders:
        parser.error("give the folder of at least one data set")
    contenders: list[Contender] = [own_model(name, options.device) for name in options.models.split(",") if name]
    if options.lwnet is not None:
        contenders.append(Peer(options.lwnet))
    contenders.append(SecondObserver())
    results = run(contenders, folders, options.jobs, options.fresh)
    command = public_command(parser, options)
    for entry in (entry for entries in results.values() for entry in entries.values()):
        entry["command"] = command
    keys = [contender.key() for contender in contenders]
    if options.keep:
        results, keys = kept_with(results, keys, json.loads(options.out.read_text(encoding="utf-8")))
    compared = {
        key: differences(entries, PEER) + differences(entries, SecondObserver().name)
        for key, entries in results.items()
    }
    report = report_header(command, PROTOCOL)
    report |= {"contenders": keys, "results": results, "differences": compared}
    body = f"{tables(results, compared)}\n\n{made_before(results, command)}".rstrip()
    write_report(options.out, "Segmentation", report, body)
    print(body)


if __name__ == "__main__":
    main()
