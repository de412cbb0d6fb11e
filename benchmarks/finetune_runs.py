"""What the parts of the fine-tuning benchmark share: images and draws, corrected images, trainings, scores, results."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from common import files_hash, files_of
from contenders import model_key
from fewshot import SHOTS, TWO_PHOTON, all_cases, engine, modality_of
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.images.writing import write_json
from napari_vessel.jobs import Progress, run_job
from napari_vessel.review.guard import drawn
from napari_vessel.review.origins import Origin
from napari_vessel.review.training_sample import TrainingSample
from napari_vessel.segmentation.registry import ModelInfo, model_info, read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.topology.metrics import betti_numbers, cl_dice, dice_coefficient
from napari_vessel.training.cases import CaseFiles, find_own_cases, read_case
from napari_vessel.training.finetuning.preparing import prepare_finetune, read_record
from napari_vessel.training.finetuning.recipes import make_recipe
from napari_vessel.training.finetuning.running import finetune, judge_by_guards, make_rehearsal
from napari_vessel.training.finetuning.settings import CORRECTED, REHEARSAL, FineTune
from napari_vessel.training.labelled import Labelled, store, working_width
from napari_vessel.training.recipe import CropRecipe, NetworkRecipe, Recipe, ScheduleRecipe
from napari_vessel.training.train import train

RUNS = Path(__file__).parents[1] / "runs" / "finetune"
XRAY = "xray"
MOST = 10
"""Images that are set aside to learn from in every draw, however few are: the test images stay the same."""

XRAYS = MOST + 20
MODEL = "tuned"
FIGURES = ("dice", "cldice", "b0_error")

TUNED, NO_REHEARSAL, SCRATCH, AS_IT_IS = "fine-tuned", "no-rehearsal", "scratch", "as-it-is"
ARMS = (AS_IT_IS, TUNED, NO_REHEARSAL, SCRATCH)

_ROOMS = ("images", "networks", "segmentation", "synthesis", "topology", "training")
_WORKING = ("completion", "review")


@cache
def code(working: bool = False) -> str:
    """Return the hash of the code that decides what comes of a training; with that of reviewing, when asked."""
    # Once: the code may change on the disk while a run goes on with what was loaded.
    rooms = (*_ROOMS, *(_WORKING if working else ()))
    inside = [path for room in rooms for path in files_of(room)]
    return files_hash([*inside, Path(__file__)])[:12]


def kept(
    name: str, key: Mapping[str, Any], make: Callable[[], dict[str, Any]] | None, fresh: bool = False
) -> dict[str, Any] | None:
    """Return a result from runs/finetune/ that was made from the same; else make it, or None when it is not to be."""
    path = RUNS / f"{name}.json"
    wanted = json.loads(json.dumps(key))
    if path.is_file() and not fresh:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["made_from"] == wanted:
            return dict(found["result"])
    if make is None:
        return None
    result = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"made_from": wanted, "result": result})
    return result


# Images


def kind_of(key: str) -> Modality:
    """Return how a set's images were taken."""
    return Modality.XRAY if key == XRAY else modality_of(key)


def cases_of(key: str, folder: Path | None) -> list[CaseFiles]:
    """Return every image of a set; synthetic angiograms are made first."""
    if key != XRAY:
        assert folder is not None
        return all_cases(key, folder)
    from napari_vessel.synthesis.engine import synthesize

    home = RUNS / f"xray-{engine()}"
    for number in range(XRAYS):
        if not (home / "images" / f"{number:02d}.png").is_file():
            # Far from the seeds of what is rehearsed, and of the samples that people look at.
            made = synthesize(Modality.XRAY, 5_000_000 + number)
            store(home, f"{number:02d}", made.image, made.truth)
    return find_own_cases(home, ())


def parted(cases: Sequence[CaseFiles], key: str, draw: int, tests: int) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """Return the ten images of a draw, of which the first N are learnt from, and those to test on.

    Raises
    ------
    InputError
        If too few images or recordings are there.
    """
    ordered = sorted(cases, key=lambda files: files.stem)
    chance = random.Random(f"{key}-{draw}")
    if key == TWO_PHOTON:
        # Slabs of one recording show the same vessels: none may be learnt from when another is tested on.
        recordings = sorted({files.patient for files in ordered})
        if len(recordings) <= SHOTS:
            raise InputError(f"There are images of {len(recordings)} recordings; give a folder with more than {SHOTS}.")
        chosen = chance.sample(recordings, SHOTS)
        slabs = [[files for files in ordered if files.patient == one] for one in chosen]
        for some in slabs:
            chance.shuffle(some)
        deepest = max(map(len, slabs))
        # One of each recording first, then another of each.
        shots = [some[n] for n in range(deepest) for some in slabs if n < len(some)][:MOST]
        rest = [files for files in ordered if files.patient not in chosen]
    else:
        if len(ordered) <= MOST:
            raise InputError(f"There are {len(ordered)} images; give a folder with more than {MOST}.")
        shots = chance.sample(ordered, MOST)
        rest = [files for files in ordered if files not in shots]
    step = max(1, -(-len(rest) // tests)) if tests else 1
    return shots, rest[::step]


def corrected(shots: Sequence[CaseFiles], key: str, device: str, start: ModelInfo) -> list[TrainingSample]:
    """Return images as an annotator leaves them who has corrected every pixel of a model's mask.

    The truth is the owner's, and where the model's mask differs from it somebody drew. Guards are drawn as a project
    draws them.
    """
    read = [read_case(files, allow_test=True) for files in shots]
    images = [replace(case.image, modality=kind_of(key)) for case in read]
    sides = drawn({}, {image.content_hash: files.patient for image, files in zip(images, shots, strict=True)})
    segmenter = Segmenter(start, device)
    found = []
    for files, case, image in zip(shots, read, images, strict=True):
        mask = _segmented(segmenter, image)
        side = sides[image.content_hash]
        origin = np.where(mask != case.vessels, Origin.BRUSH, Origin.MODEL).astype(np.uint8)
        found.append(sample_of(f"shot-{files.stem}", image, case.vessels, origin, side.patient, side.guard, start.name))
    return found


def sample_of(
    name: str,
    image: VesselImage,
    vessels: NDArray[np.bool_],
    origin: NDArray[np.uint8],
    patient: str,
    guard: bool,
    model: str,
) -> TrainingSample:
    """Return an image that is done, and counts whole."""
    counts = np.ones(image.shape, np.bool_) if image.fov is None else image.fov.copy()
    content = image.content_hash
    told = {"model": model, "edits": 0, "done": True, "guard": guard, "patient": patient}
    return TrainingSample(
        name, name, content, image=image, vessels=vessels.copy(), origin=origin, counts=counts, **told
    )


def _segmented(segmenter: Segmenter, image: VesselImage) -> NDArray[np.bool_]:
    return np.asarray(run_job(segmenter.predict(image)).mask > 0)


# Training


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train: batches of a fine-tuning, and of a network from nothing; synthetic images to rehearse."""

    steps: int
    scratch_steps: int
    rehearsal: int
    seed: int = 0


def trained(
    name: str,
    samples: Sequence[TrainingSample],
    arm: str,
    budget: Budget,
    device: str,
    start: ModelInfo,
    change: Callable[[Recipe], Recipe] = lambda recipe: recipe,
    judged: bool = False,
) -> dict[str, Any]:
    """Train one arm in a folder below runs/finetune/ and return what came of it; goes on where it was stopped."""
    folder = RUNS / f"{name}-{digest(model_key(start))}"
    finished = folder / "done.json"
    if finished.is_file():
        return dict(json.loads(finished.read_text(encoding="utf-8")))
    began, processor = time.monotonic(), time.process_time()
    settings = FineTune(MODEL, start.name, budget.steps, budget.rehearsal, budget.seed)
    run_job(prepare_finetune([one.pack() for one in samples], settings, folder, models={start.name: start.folder}))
    told = partial(_show, folder.name, [0.0])
    lend_rehearsal(folder, start, budget.seed)
    record = read_record(folder)
    if arm == TUNED:
        result = run_job(finetune(folder, device), told)
        decision = result["decision"]
    else:
        recipe = change(recipe_of(arm, record, start, samples, budget))
        result = run_job(train(recipe, folder, folder, device, {start.name: start.folder}), told)
        decision = None
        if arm == NO_REHEARSAL and judged:
            run_job(make_rehearsal(record, start, folder, device), told)
            guarded = make_recipe(record, start)
            new = read_model(Path(result["model"]))
            decision = run_job(judge_by_guards(start, new, guarded, folder, device), told).to_json()
    lend_rehearsal(folder, start, budget.seed, back=True)
    result = {
        **{key: result[key] for key in ("model", "steps", "seconds", "threshold", "min_size", "validation")},
        "decision": decision,
        "learnt": result.get("learnt", True),
        "processor_seconds": round(time.process_time() - processor),
        "wall_seconds": round(time.monotonic() - began),
    }
    write_json(finished, result)
    for room in (CORRECTED, REHEARSAL):
        shutil.rmtree(folder / room, ignore_errors=True)
    return result


def recipe_of(
    arm: str, record: Mapping[str, Any], start: ModelInfo, samples: Sequence[TrainingSample], budget: Budget
) -> Recipe:
    """Return the recipe of an arm that does not rehearse: the product's own without it, or from random weights."""
    recipe = make_recipe(record, start)
    data = (recipe.data[0],)
    if arm == NO_REHEARSAL:
        return replace(recipe, data=data)
    kind = Modality(record["modality"])
    known = [Labelled(sample.name, sample.image, sample.vessels) for sample in samples if not sample.guard]
    network = NetworkRecipe(
        in_channels=3 if kind is Modality.FUNDUS else 1, working_diameter=working_width(known, kind)
    )
    looks = max(1, -(-budget.scratch_steps // 12))
    return Recipe(
        MODEL,
        "From random weights",
        data,
        modality=recipe.modality,
        seed=budget.seed,
        network=network,
        schedule=ScheduleRecipe(steps=budget.scratch_steps, validate_every=looks, validation_images=MOST),
        crops=CropRecipe(size=int(min(256, max(64, network.working_diameter // 32 * 32))), batch=4, even=True),
        augmentation=recipe.augmentation,
    )


def lend_rehearsal(folder: Path, start: ModelInfo, seed: int, back: bool = False) -> None:
    """Copy the synthetic images of earlier runs, which the same seed makes again, into a run; or those of one back."""
    home = RUNS / f"rehearsal-{start.name}-{digest(model_key(start))}-{engine()}-seed{seed}"
    source, target = (folder / REHEARSAL, home) if back else (home, folder / REHEARSAL)
    # The image comes last, as when they were made: where it is, the others are too.
    for room in ("masks", "fov", "images"):
        for path in sorted((source / room).glob("*.png")):
            (target / room).mkdir(parents=True, exist_ok=True)
            if not (target / room / path.name).is_file():
                shutil.copyfile(path, target / room / path.name)


def _show(name: str, told: list[float], progress: Progress) -> None:
    if time.monotonic() - told[0] > 30:
        told[0] = time.monotonic()
        figures = " ".join(f"{key} {value:.3f}" for key, value in progress.figures.items())
        print(f"{name}: {progress.message} {figures}", flush=True)


# Scores


def score(info: ModelInfo, cases: Sequence[CaseFiles], device: str) -> list[dict[str, Any]]:
    """Return Dice, clDice and the error of b0 of test images at their own resolution, inside the field of view."""
    segmenter = Segmenter(info, device)
    rows = []
    for files in cases:
        case = read_case(files, allow_test=True)
        found = _segmented(segmenter, replace(case.image, modality=info.modalities[0]))
        rows.append({"image": files.stem, **figures_of(found, case.vessels, case.image.fov)})
    return rows


def figures_of(mask: NDArray[np.bool_], truth: NDArray[np.bool_], fov: NDArray[np.bool_] | None) -> dict[str, float]:
    """Return the figures of one mask."""
    inside = np.ones(mask.shape, np.bool_) if fov is None else fov
    mask, truth = mask & inside, truth & inside
    return {
        "dice": round(dice_coefficient(mask, truth), 5),
        "cldice": round(cl_dice(mask, truth), 5),
        "b0_error": float(abs(betti_numbers(mask)[0] - betti_numbers(truth)[0])),
    }


def mean_of(rows: Sequence[Mapping[str, Any]], figure: str) -> float:
    """Return the mean of a figure over images."""
    return float(np.mean([row[figure] for row in rows])) if rows else float("nan")


def started(name: str) -> ModelInfo:
    """Return the model to begin with, by its name or its folder."""
    return read_model(Path(name).resolve()) if "/" in name else model_info(name)


def digest(*parts: object) -> str:
    """Return a short hash of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:10]
