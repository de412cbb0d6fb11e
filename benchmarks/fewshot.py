"""Five labelled images of a data set, drawn at random, make a model; the rest of the set is the test.

    python benchmarks/fewshot.py [--drive DIR] [--chase-db1 DIR] [--hrf DIR] [--rossa DIR] [--octa-500 DIR]
        [--two-photon DIR] [--arms ...] [--draws 0,1,2,3,4] [--steps N] [--synthetic N] [--counts 0,10,50,200,1000]
        [--test-images N] [--start SET=DIR]

UniVG's protocol, with the command ``fewshot`` as it is: of the five one is held out to choose weights, threshold and
smallest piece. Every single run is kept in runs/fewshot/ as JSON, and goes on where it was stopped; ``--report`` makes
the tables of what is there. ``--counts`` repeats the arm *backgrounds* with other numbers of synthetic images.
``--two-photon`` takes a folder that ``two_photon.py`` made, or any other with images/ and masks/.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    RESULTS,
    decimal,
    files_hash,
    finished_run,
    markdown_table,
    public_command,
    report_header,
    write_report,
)
from two_photon import recording_of

import napari_vessel
from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality
from napari_vessel.images.writing import write_json
from napari_vessel.jobs import Progress, run_job
from napari_vessel.segmentation.registry import read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.topology.metrics import cl_dice, dice_coefficient
from napari_vessel.topology.skeleton import centreline
from napari_vessel.training.cases import CaseFiles, find_cases, find_own_cases, read_case
from napari_vessel.training.datasets import DATA_SETS, SPLITS
from napari_vessel.training.fewshot import fewshot
from napari_vessel.training.labelled import Labelled
from napari_vessel.training.preparing import FewShot, prepare

RUNS = Path(__file__).parents[1] / "runs" / "fewshot"
SHOTS = 5
TWO_PHOTON = "two-photon"

ARMS: dict[str, dict[str, Any]] = {
    "scratch": {"synthetic": 0},
    "synthesis": {"conditioned": False, "own_backgrounds": False},
    "conditioned": {"own_backgrounds": False},
    "backgrounds": {},
    "shipped": {},
}
"""What each arm changes in the settings of ``fewshot``; the last one begins with a model."""

WORDS = {
    "scratch": "five images alone",
    "synthesis": "+ synthetic images",
    "conditioned": "+ trees like the labelled masks",
    "backgrounds": "+ on their own tissue",
    "shipped": "the same, from a shipped model",
}

STARTS = {Modality.FUNDUS: "fundus-small", Modality.OCTA: "octa-small"}

UNIVG = {
    "drive": {"dice": 0.803},
    "chase_db1": {"dice": 0.854, "cldice": 0.889},
    "hrf": {"dice": 0.822},
    "octa-500": {"dice": 0.817},
}
"""As published; whether inside the field of view is not said there."""

PROTOCOL = (
    "Five labelled images drawn at random from the whole set, whatever its owner's split, by Python's random.sample "
    "with the seed SET-DRAW; all others, or so many of them as are named, evenly spaced, are the test. Of the five, "
    "four are learnt from and one, by the same rule as for everybody, chooses weights, threshold and smallest piece. "
    "Scored inside the field of view at the images' own resolution: the mean over test images, then mean and standard "
    "deviation (n - 1) over the draws. As in UniVG, nothing keeps two images of one person apart. Two-photon images "
    "are drawn by recording: the five come from five, the test images from the others."
)


@dataclass(frozen=True, slots=True)
class Run:
    """One training.

    Attributes
    ----------
    key : str
        Of the data set.
    arm : str
        One of `ARMS`.
    draw, steps, synthetic, tests : int
        Which five images, how long, how many synthetic images, how many test images (0 for all).
    start : str
        Model to begin with, or empty.
    """

    key: str
    arm: str
    draw: int
    steps: int
    synthetic: int
    tests: int
    start: str = ""

    @property
    def name(self) -> str:
        """Of its folder and file."""
        start = f"-{self.start}" if self.start else ""
        return f"{self.key}-{self.arm}{start}-draw{self.draw}-{self.steps}steps-{self.synthetic}synthetic"

    @property
    def made_by(self) -> str:
        """Hash of the data engine's code, where the run has synthetic images."""
        return engine() if self.synthetic else ""

    def find(self) -> dict[str, Any] | None:
        """Return its result; None when it has to be made, or was made by another data engine or on other images."""
        return finished_run(RUNS / f"{self.name}.json", made_by=self.made_by, tests=self.tests)


@cache
def engine() -> str:
    """Return the hash of the data engine's code."""
    # Once: the code may change on the disk while a run goes on with what was loaded.
    return files_hash(sorted((Path(napari_vessel.__file__).parent / "synthesis").glob("*.py")))[:12]


def all_cases(key: str, folder: Path) -> list[CaseFiles]:
    """Return every image of a set, whatever its split."""
    if key == TWO_PHOTON:
        return [replace(files, patient=recording_of(files.stem)) for files in find_own_cases(folder, ())]
    found = []
    for split in SPLITS:
        try:
            found += find_cases(key, folder, split)
        except InputError:  # a set without that split
            continue
    return found


def parted(cases: Sequence[CaseFiles], key: str, draw: int, tests: int) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """Return the five images of a draw, and those to test on.

    Raises
    ------
    InputError
        If too few two-photon recordings are there to learn from five and test on others.
    """
    ordered = sorted(cases, key=lambda files: files.stem)
    chance = random.Random(f"{key}-{draw}")
    if key == TWO_PHOTON:
        # Slabs of one recording show the same vessels: none may be learnt from when another is tested on.
        recordings = sorted({files.patient for files in ordered})
        if len(recordings) <= SHOTS:
            raise InputError(f"There are images of {len(recordings)} recordings; give a folder with more than {SHOTS}.")
        chosen = chance.sample(recordings, SHOTS)
        five = [chance.choice([files for files in ordered if files.patient == one]) for one in chosen]
        rest = [files for files in ordered if files.patient not in chosen]
    else:
        five = chance.sample(ordered, SHOTS)
        rest = [files for files in ordered if files not in five]
    step = max(1, -(-len(rest) // tests)) if tests else 1
    return five, rest[::step]


def labelled(files: CaseFiles) -> Labelled:
    """Read one of the five; its name is no test image's: that rule is for models that are passed on."""
    case = read_case(files, allow_test=True)
    return Labelled(f"shot-{files.stem}", case.image, case.vessels)


def modality_of(key: str) -> Modality:
    """Return how a set's images were taken."""
    return Modality.TWOPHOTON if key == TWO_PHOTON else DATA_SETS[key].modality


class Spent:
    """What a run has cost, over all the processes that it took.

    Parameters
    ----------
    folder : Path
        Of the run; ``spent.json`` in it is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "spent.json"
        before = {"seconds": 0.0, "processor_seconds": 0.0}
        if self._path.is_file():
            before = json.loads(self._path.read_text(encoding="utf-8"))
        self._from = before["seconds"] - time.monotonic(), before["processor_seconds"] - time.process_time()

    def now(self) -> dict[str, float]:
        """Return seconds, of the clock and of the processor."""
        return {"seconds": self._from[0] + time.monotonic(), "processor_seconds": self._from[1] + time.process_time()}

    def keep(self) -> float:
        """Write it down, and return the processor's."""
        write_json(self._path, self.now())
        return self.now()["processor_seconds"]


def perform(
    run: Run, cases: Sequence[CaseFiles], device: str, starts: dict[str, Path], fresh: bool = False
) -> dict[str, Any]:
    """Train and score; goes on where it was stopped, unless it is to be made afresh."""
    five, rest = parted(cases, run.key, run.draw, run.tests)
    folder = RUNS / f"{run.name}-{run.made_by}"
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    spent = Spent(folder)
    finished = folder / "done.json"
    if not finished.is_file() and not (folder / "fewshot.json").is_file():
        settings = replace(
            FewShot(
                "few", modality_of(run.key), start=run.start, steps=run.steps, synthetic=run.synthetic, seed=run.draw
            ),
            **ARMS[run.arm] | ({"synthetic": run.synthetic} if run.arm != "scratch" else {}),
        )
        run_job(prepare([labelled(files) for files in five], settings, folder, models=starts))
    if not finished.is_file():
        result = run_job(fewshot(folder, device, starts), partial(_show, run.name, [0.0], spent))
        write_json(finished, result | {"processor_seconds": spent.keep()})
        # Pictures that the same seed makes again, thousands of them over all runs.
        for room in ("synthetic", "labelled"):
            shutil.rmtree(folder / room, ignore_errors=True)
    made = json.loads(finished.read_text(encoding="utf-8"))
    rows = [score(Path(made["model"]), files, device) for files in rest]
    result = {
        **{name: getattr(run, name) for name in Run.__slots__},
        "made_by": run.made_by,
        "five": [files.stem for files in five],
        "threshold": made["threshold"],
        "min_size": made["min_size"],
        "held_out": made["validation"],
        "seconds": round(spent.now()["seconds"]),
        "seconds_of_steps": made["seconds"],
        "processor_seconds": round(spent.now()["processor_seconds"]),
        "processor_seconds_training": round(made["processor_seconds"]),
        "images": rows,
    }
    write_json(RUNS / f"{run.name}.json", result)
    return result


def _show(name: str, told: list[float], spent: Spent, progress: Progress) -> None:
    if time.monotonic() - told[0] > 30:
        told[0] = time.monotonic()
        spent.keep()
        figures = " ".join(f"{key} {value:.3f}" for key, value in progress.figures.items())
        print(f"{name}: {progress.message} {figures}", flush=True)


def score(folder: Path, files: CaseFiles, device: str) -> dict[str, Any]:
    """Return Dice and clDice of one test image."""
    info = read_model(folder)
    case = read_case(files, allow_test=True)
    image = replace(case.image, modality=info.modalities[0])
    mask = run_job(Segmenter(info, device).predict(image)).mask
    inside = np.ones(image.shape, np.bool_) if image.fov is None else image.fov
    truth = case.vessels & inside
    mask = (mask > 0) & inside
    return {
        "image": files.stem,
        "dice": round(dice_coefficient(mask, truth), 5),
        "cldice": round(cl_dice(mask, truth, centreline(truth)), 5),
    }


def known_to(start: str, key: str, starts: dict[str, Path]) -> bool:
    """Whether a model was trained on images of a set."""
    from napari_vessel.segmentation.registry import model_info

    info = read_model(starts[start]) if start in starts else model_info(start)
    config = json.loads((info.folder / "config.json").read_text(encoding="utf-8"))
    return key in config["training"]["split"]


def summary(results: Sequence[dict[str, Any]], figure: str) -> tuple[float, float]:
    """Return mean and standard deviation over draws of the mean over images."""
    means = [float(np.mean([row[figure] for row in result["images"]])) for result in results]
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")


def cell(value: tuple[float, float]) -> str:
    """Return mean and standard deviation as one cell."""
    return decimal(value[0]) if np.isnan(value[1]) else f"{decimal(value[0])} ± {decimal(value[1])}"


def arms_table(results: Sequence[dict[str, Any]], familiar: Callable[[str, str], bool]) -> str:
    """Return a row for each set and arm, beside UniVG's published figures."""
    rows: list[list[object]] = []
    for key in dict.fromkeys(result["key"] for result in results):
        for arm in ARMS:
            for start in dict.fromkeys(r["start"] for r in results if (r["key"], r["arm"]) == (key, arm)):
                group = [r for r in results if (r["key"], r["arm"], r["start"]) == (key, arm, start)]
                words = WORDS[arm]
                if start:
                    seen = familiar(start, key)
                    words += f" ({start}{', which was trained on images of this set: no new kind of image' * seen})"
                rows.append(
                    [
                        _title(key),
                        words,
                        len(group),
                        len(group[0]["images"]),
                        cell(summary(group, "dice")),
                        cell(summary(group, "cldice")),
                        round(np.mean([r["processor_seconds"] for r in group]) / 60, 1),
                    ]
                )
        if key in UNIVG:
            published = [decimal(UNIVG[key].get(figure)) for figure in ("dice", "cldice")]
            rows.append([_title(key), "UniVG, as published", 5, "", *published, ""])
    return markdown_table(["set", "arm", "draws", "test images", "Dice", "clDice", "processor min"], rows)


def curve_table(results: Sequence[dict[str, Any]]) -> str:
    """Return Dice by the number of synthetic images."""
    rows: list[list[object]] = []
    for key in dict.fromkeys(result["key"] for result in results):
        for count in sorted({r["synthetic"] for r in results if r["key"] == key}):
            group = [r for r in results if (r["key"], r["synthetic"]) == (key, count)]
            cells = [cell(summary(group, figure)) for figure in ("dice", "cldice")]
            rows.append([_title(key), count, len(group), *cells])
    return markdown_table(["set", "synthetic images", "draws", "Dice", "clDice"], rows)


def _title(key: str) -> str:
    return "two-photon" if key == TWO_PHOTON else DATA_SETS[key].title


def planned(options: argparse.Namespace, keys: Sequence[str], starts: dict[str, str]) -> tuple[list[Run], list[Run]]:
    """Return the runs of the arms, and those of the curve; draw by draw, so that every arm has the same draws early."""
    draws = [int(text) for text in options.draws.split(",")]
    common = {"steps": options.steps, "tests": options.test_images}
    arms, curve = [], []
    for draw in draws:
        for key in keys:
            for arm in options.arms.split(","):
                start = starts.get(key, STARTS.get(modality_of(key), "")) if arm == "shipped" else ""
                if arm == "shipped" and not start:
                    continue
                arms.append(
                    Run(key, arm, draw, synthetic=ARMS[arm].get("synthetic", options.synthetic), start=start, **common)
                )
            for text in options.counts.split(",") if options.counts else []:
                count = int(text)
                curve.append(Run(key, "backgrounds" if count else "scratch", draw, synthetic=count, **common))
    return arms, curve


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for key in (*DATA_SETS, TWO_PHOTON):
        if key != "les-av":
            parser.add_argument(f"--{key.replace('_', '-')}", type=Path, metavar="DIR", help=_title(key))
    parser.add_argument("--only", default="", help="of the sets given, these, separated by commas")
    parser.add_argument("--arms", default=",".join(ARMS), help="separated by commas")
    parser.add_argument("--draws", default="0,1,2,3,4", help="separated by commas")
    parser.add_argument("--steps", type=int, default=1500, help="of every run")
    parser.add_argument("--synthetic", type=int, default=200, help="synthetic images of every run that has any")
    parser.add_argument("--counts", default="", help="numbers of synthetic images for the curve, separated by commas")
    parser.add_argument("--test-images", type=int, default=0, help="at most so many, evenly spaced; 0 for all")
    parser.add_argument(
        "--start", default=[], action="append", metavar="SET=DIR", help="begin with the model in a folder for that set"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", action="store_true", help="train nothing; make the tables of what is there")
    parser.add_argument("--fresh", action="store_true", help="make every run again")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "fewshot.json")
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    if unknown := [arm for arm in options.arms.split(",") if arm not in ARMS]:
        parser.error(f"there is no arm '{unknown[0]}'; choose from {', '.join(ARMS)}")
    folders = {key: getattr(options, key.replace("-", "_"), None) for key in (*DATA_SETS, TWO_PHOTON)}
    wanted = options.only.split(",") if options.only else list(folders)
    keys = [key for key in wanted if folders.get(key)]
    if not keys:
        parser.error("give the folder of at least one set")
    places = {text.partition("=")[0]: read_model(Path(text.partition("=")[2]).resolve()) for text in options.start}
    models = {info.name: info.folder for info in places.values()}
    arms, curve = planned(options, keys, {key: info.name for key, info in places.items()})
    cases = {key: all_cases(key, folders[key]) for key in keys}
    done: dict[Run, dict[str, Any]] = {}
    for run in dict.fromkeys([*arms, *curve]):
        result = None if options.fresh else run.find()
        if result is None and not options.report:
            result = perform(run, cases[run.key], options.device, models, options.fresh)
        if result is None:
            continue
        done[run] = result
        dice, cldice = (summary([result], figure)[0] for figure in ("dice", "cldice"))
        print(
            f"== {run.name}: Dice {dice:.4f}, clDice {cldice:.4f}, {result['processor_seconds'] / 60:.1f} min",
            flush=True,
        )
        # After every run: what is finished shows, whatever happens to the rest.
        write(parser, options, [done[r] for r in arms if r in done], [done[r] for r in curve if r in done], models)
    if not done:
        parser.error("there is no finished run to report")


def write(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    arms: list[dict[str, Any]],
    curve: list[dict[str, Any]],
    models: dict[str, Path],
) -> None:
    """Write the report of what is finished."""
    body = []
    if arms:
        body.append(arms_table(arms, partial(known_to, starts=models)))
    if curve:
        body.append(f"By the number of synthetic images, all else the same:\n\n{curve_table(curve)}")
    report = report_header(public_command(parser, options), PROTOCOL)
    report["results"] = {"arms": arms, "curve": curve, "univg": UNIVG}
    write_report(options.out, "Five labelled images", report, "\n\n".join(body))


if __name__ == "__main__":
    main()
