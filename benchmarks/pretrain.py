"""What pre-training on images without labels is worth: guided against random masking, and both against none.

    python benchmarks/pretrain.py [--drive DIR] [--chase-db1 DIR] [--hrf DIR] [--rossa DIR] [--octa-500 DIR]
        [--networks vit_unet,unet] [--shots 1,5,20] [--draws 0,1,2] [--steps N] [--pre-steps N] [--masking-only]

First how much of the true vessels is hidden over a run, on training images. Then trainings: a network is pre-trained
once a set and way on its training images without their labels, and trained on so many labelled ones. Every run is kept
in runs/pretrain/ and goes on where it was stopped; ``--report`` makes the tables of what is there and lists the rest.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pretrain_masking as masking
from common import (
    RESULTS,
    files_hash,
    finished_run,
    interval,
    markdown_table,
    paired_interval,
    public_command,
    report_header,
    spread,
    write_report,
)
from fewshot import score

import napari_vessel
from napari_vessel.images.writing import write_json
from napari_vessel.jobs import Progress, run_job
from napari_vessel.training.cases import CaseFiles, find_cases, read_case
from napari_vessel.training.datasets import DATA_SETS
from napari_vessel.training.labelled import store
from napari_vessel.training.pretraining.images import UnlabelledFile
from napari_vessel.training.pretraining.running import pretrain
from napari_vessel.training.pretraining.settings import WORKING_DIAMETER, PreTrain
from napari_vessel.training.recipe import (
    OWN,
    AugmentationRecipe,
    CropRecipe,
    DataRecipe,
    NetworkRecipe,
    Recipe,
    ScheduleRecipe,
)
from napari_vessel.training.train import train

RUNS = Path(__file__).parents[1] / "runs" / "pretrain"
ARMS = {"scratch": "random weights", "random": "plain masked modelling", "guided": "VasoMIM"}
SETS = ("drive", "chase_db1", "hrf", "rossa", "octa-500")
FIGURES = ("dice", "cldice")

PUBLISHED = (
    "VasoMIM as published, on X-ray angiograms: at most 1 Dice point over plain masked modelling, 9 to 10 over random "
    "weights (Huang et al., 2025)."
)

PROTOCOL = (
    "Hidden: training images, at the shipped models' working scale, random crops of 256 px in patches of 16 px; a "
    "patch with vessel is one of which a tenth is; the mean over images, in brackets the 95 % interval from drawing "
    "images with replacement. Trainings: pre-trained on the set's training images without their labels; then so many "
    "labelled images, drawn from those for training and validation by Python's random.sample with the seed SET-DRAW, "
    "the same for every arm; the last averaged weights; threshold and smallest piece chosen on the images learnt from, "
    "for with one there is no other; scored on the set's test images inside the field of view, at their own "
    "resolution: the mean over draws, with the interval from drawing test images."
)


@dataclass(frozen=True, slots=True)
class Run:
    """One training on labelled images.

    Attributes
    ----------
    key, network, arm : str
        Of the data set and of the network; one of `ARMS`.
    shots, draw : int
        How many labelled images, and which.
    steps, pre_steps : int
        Batches of the training, and of the pre-training where there is one.
    tests : int
        Test images; 0 for all.
    """

    key: str
    network: str
    arm: str
    shots: int
    draw: int
    steps: int
    pre_steps: int
    tests: int = 0

    @property
    def name(self) -> str:
        """Of its folder and file."""
        before = "" if self.arm == "scratch" else f"-{self.pre_steps}"
        return f"{self.key}-{self.network}-{self.arm}{before}-{self.shots}shots-draw{self.draw}-{self.steps}steps"

    def find(self) -> dict[str, Any] | None:
        """Return its result; None when it has to be made, or was made by another code."""
        return finished_run(RUNS / f"{self.name}.json", made_by=code(), tests=self.tests)


@cache
def code() -> str:
    """Return the hash of the code that decides what pre-training makes."""
    # Once: the code may change on the disk while a run goes on with what was loaded.
    package = Path(napari_vessel.__file__).parent
    own = sorted((package / "training" / "pretraining").glob("*.py"))
    return files_hash([*own, package / "networks" / "vit.py", package / "networks" / "vit_unet.py"])[:12]


def network_of(key: str, name: str) -> NetworkRecipe:
    """Return a network for a set, at the shipped models' scale."""
    kind = DATA_SETS[key].modality
    return NetworkRecipe(name, in_channels=3 if kind == "fundus" else 1, working_diameter=WORKING_DIAMETER[kind])


def drawn(key: str, folder: Path, shots: int, draw: int) -> list[CaseFiles]:
    """Return the labelled images of a draw; all there are where there are fewer."""
    pool = [*find_cases(key, folder, "training"), *find_cases(key, folder, "validation")]
    pool.sort(key=lambda files: files.stem)
    return random.Random(f"{key}-{draw}").sample(pool, min(shots, len(pool)))


def settings_of(run: Run) -> PreTrain:
    """Return how to pre-train."""
    settings = PreTrain(DATA_SETS[run.key].modality, network_of(run.key, run.network), run.pre_steps)
    return settings if run.arm == "guided" else replace(settings, guided=False, consistency=0.0)


def encoder_of(run: Run, folder: Path, device: str) -> Path:
    """Pre-train, unless it is done, and return the folder of the weights."""
    cases = find_cases(run.key, folder, "training")
    files = [UnlabelledFile(one.name, one.image, None, one.fov, run.key) for one in cases]
    out = RUNS / f"pretrained-{run.key}-{run.network}-{run.arm}-{run.pre_steps}-{code()}"
    finished = out / "done.json"
    if not finished.is_file():
        job = pretrain(files, settings_of(run), out, device)
        write_json(finished, run_job(job, partial(_show, out.name, [0.0])))
    return Path(json.loads(finished.read_text(encoding="utf-8"))["encoder"])


def recipe_of(run: Run, stems: Sequence[str]) -> Recipe:
    """Return the recipe by which the labelled images are learnt."""
    kind = DATA_SETS[run.key].modality
    network = network_of(run.key, run.network)
    return Recipe(
        "trained",
        "Trained on a few labelled images",
        (DataRecipe(OWN, folder="labelled", cut=tuple(stems)),),
        modality=kind.value,  # type: ignore[arg-type]
        seed=run.draw,
        encoder="" if run.arm == "scratch" else "pretrained",
        network=network,
        schedule=ScheduleRecipe(steps=run.steps, learning_rate=1e-3, validate_every=run.steps),
        crops=CropRecipe(size=int(min(256, network.working_diameter // 32 * 32)), batch=4),
        augmentation=AugmentationRecipe(grey=0.15 if kind == "fundus" else 0.0),
    )


def perform(run: Run, folder: Path, device: str) -> dict[str, Any]:
    """Pre-train, train and score; goes on where it was stopped."""
    out = RUNS / f"{run.name}-{code()}"
    images = drawn(run.key, folder, run.shots, run.draw)
    began = time.process_time()
    models = {} if run.arm == "scratch" else {"pretrained": encoder_of(run, folder, device)}
    before = time.process_time() - began
    for files in images:
        # The image comes last: where it is, the others are too.
        if not (out / "labelled" / "images" / f"{files.stem}.png").is_file():
            case = read_case(files)
            store(out / "labelled", files.stem, case.image, case.vessels)
    recipe = recipe_of(run, [files.stem for files in images])
    made = run_job(train(recipe, out, out, device, models), partial(_show, run.name, [0.0]))
    shutil.rmtree(out / "labelled")
    tests = find_cases(run.key, folder, "test")
    tests = tests[:: max(1, -(-len(tests) // run.tests)) if run.tests else 1]
    result = {
        **{name: getattr(run, name) for name in Run.__slots__},
        "made_by": code(),
        "labelled": [files.stem for files in images],
        "threshold": made["threshold"],
        "min_size": made["min_size"],
        "processor_seconds": round(time.process_time() - began - before),
        "processor_seconds_pretraining": round(before),
        "images": [score(Path(made["model"]), files, device) for files in tests],
    }
    write_json(RUNS / f"{run.name}.json", result)
    return result


def _show(name: str, told: list[float], progress: Progress) -> None:
    if time.monotonic() - told[0] > 30:
        told[0] = time.monotonic()
        figures = " ".join(f"{key} {value:.3f}" for key, value in progress.figures.items())
        print(f"{name}: {progress.message} {progress.done:g} {figures}", flush=True)


def by_image(results: Sequence[dict[str, Any]], figure: str) -> list[float]:
    """Return each test image's mean over draws."""
    return [float(np.mean(rows)) for rows in zip(*([r[figure] for r in one["images"]] for one in results), strict=True)]


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return a line for each set, network, number of labelled images and arm."""
    lines: list[list[object]] = []
    groups: dict[tuple[str, str, int], dict[str, list[dict[str, Any]]]] = {}
    for one in results:
        groups.setdefault((one["key"], one["network"], one["shots"]), {}).setdefault(one["arm"], []).append(one)
    for (key, network, _), arms in groups.items():
        for arm in (name for name in ARMS if name in arms):
            cells: list[object] = []
            for figure in FIGURES:
                values = by_image(arms[arm], figure)
                cells.append(spread(float(np.mean(values)), *interval(values)))
                for other in ("scratch", "random"):
                    # Over the draws that both have.
                    draws = {one["draw"] for one in arms.get(other, [])} & {one["draw"] for one in arms[arm]}
                    if other == arm or not draws or list(ARMS).index(other) > list(ARMS).index(arm):
                        cells.append("")
                        continue
                    ours, theirs = ([r for r in arms[name] if r["draw"] in draws] for name in (arm, other))
                    cells.append(spread(*paired_interval(by_image(ours, figure), by_image(theirs, figure))))
            # Fewer than were asked for, where there are no more.
            count = len(arms[arm][0]["labelled"])
            lines.append([DATA_SETS[key].title, network, count, ARMS[arm], len(arms[arm]), *cells])
    header = ["set", "network", "labelled images", "begins with", "draws"]
    for figure in ("Dice", "clDice"):
        header += [figure, "less random weights'", "less plain masked modelling's"]
    return markdown_table(header, lines)


def planned(options: argparse.Namespace, keys: Sequence[str]) -> list[Run]:
    """Return every run; draw by draw, so that every arm has the same draws early."""
    return [
        Run(key, network, arm, int(shots), int(draw), options.steps, options.pre_steps, options.test_images)
        for draw in options.draws.split(",")
        for key in keys
        for network in options.networks.split(",")
        for shots in options.shots.split(",")
        for arm in ARMS
    ]


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for key in SETS:
        parser.add_argument(f"--{key.replace('_', '-')}", type=Path, metavar="DIR", help=DATA_SETS[key].title)
    parser.add_argument("--networks", default="vit_unet,unet", help="separated by commas")
    parser.add_argument("--shots", default="1,5,20", help="numbers of labelled images, separated by commas")
    parser.add_argument("--draws", default="0,1,2", help="separated by commas")
    parser.add_argument("--steps", type=int, default=1500, help="of every training on labelled images")
    parser.add_argument("--pre-steps", type=int, default=5000, help="of every pre-training")
    parser.add_argument("--test-images", type=int, default=0, help="at most so many, evenly spaced; 0 for all")
    parser.add_argument("--crops", type=int, default=8, help="crops per image, for what is hidden")
    parser.add_argument("--masking-only", action="store_true", help="train nothing")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", action="store_true", help="train nothing; make the tables of what is there")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "pretrain.json")
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    folders = {key: getattr(options, key.replace("-", "_")) for key in SETS}
    keys = [key for key in SETS if folders[key]]
    if not keys:
        parser.error("give the folder of at least one set")
    hidden: dict[str, Any] = {}
    for key in keys:
        hidden[key] = masking.measure(key, find_cases(key, folders[key], "training"), options.crops)
        print(masking.table({key: hidden[key]}).splitlines()[-2], flush=True)
    runs = planned(options, keys)
    done: dict[Run, dict[str, Any]] = {}
    for run in runs:
        result = run.find()
        if result is None and not (options.report or options.masking_only):
            result = perform(run, folders[run.key], options.device)
            print(f"== {run.name}: Dice {np.mean([row['dice'] for row in result['images']]):.4f}", flush=True)
        if result is not None:
            done[run] = result
            write(parser, options, hidden, done, runs)
    write(parser, options, hidden, done, runs)


def write(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    hidden: dict[str, Any],
    done: dict[Run, dict[str, Any]],
    runs: Sequence[Run],
) -> None:
    """Write the report of what is finished, and name what is not."""
    body = ["How much of the true vessels is hidden:", masking.table(hidden)]
    body += ["The vesselness maps that guide it, by pixels:", masking.maps_table(hidden)]
    if done:
        body += ["Trained on a few labelled images:", table(list(done.values()))]
    missing = [run for run in runs if run not in done]
    if missing:
        sets = ", ".join(dict.fromkeys(DATA_SETS[run.key].title for run in missing))
        body.append(
            f"**Not run yet**: {len(missing)} of {len(runs)} trainings on labelled images, with and without "
            f"pre-training (sets {sets}; networks {options.networks}; labelled images {options.shots}; draws "
            f"{options.draws})."
        )
    body.append(PUBLISHED)
    report = report_header(public_command(parser, options), PROTOCOL)
    report["results"] = {"hidden": hidden, "trainings": list(done.values()), "not_run": len(missing)}
    report["published"] = PUBLISHED
    write_report(options.out, "Pre-training without labels", report, "\n\n".join(body))


if __name__ == "__main__":
    main()
