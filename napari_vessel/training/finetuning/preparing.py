"""What fine-tuning needs, checked and kept in its run's folder: samples, how much each pixel counts, the model it
begins with, images of the base domain. Without torch, and without the project once it is done.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.images.writing import write_mask
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.origins import Origin
from napari_vessel.review.training_sample import PackedSample, TrainingSample
from napari_vessel.segmentation.registry import NAME, ModelInfo
from napari_vessel.synthesis.engine import MODALITIES
from napari_vessel.training import runs
from napari_vessel.training.cases import CaseFiles, find_own_cases, read_case
from napari_vessel.training.finetuning.folders import RECORD
from napari_vessel.training.finetuning.recipes import make_recipe
from napari_vessel.training.finetuning.settings import CORRECTED, GUARD, REHEARSAL, START, FineTune, settings_of
from napari_vessel.training.labelled import TRAINABLE, Labelled, at_width, refuse_test_name, stem_of, store
from napari_vessel.training.recipe_reading import parse_recipe
from napari_vessel.training.runs import keep_run, network_to_start
from napari_vessel.training.toml import to_toml
from napari_vessel.version import __version__

KNOWS = "knows"
"""In a fine-tuned model's settings: the modality that it knew before it saw any correction."""

WEIGHTS = {Origin.ACCEPTED: 3, Origin.REPAINTED: 3, Origin.BRUSH: 3, Origin.REJECTED: 5}
"""How much a pixel counts by its origin; 1 for every other that counts. Corrections are few among the pixels the model
had right, and what it took for a vessel and is none is what it will do again elsewhere."""

BASE_GUARDS = 6
"""Synthetic images that watch forgetting."""

_MOST_BASE, _MOST_BASE_GUARDS = 200, 8
"""Of more images of a base folder, so many are taken, evenly spaced; and so many of those are held out."""


def prepare_finetune(
    samples: Sequence[PackedSample],
    settings: FineTune,
    out: Path,
    base: Path | None = None,
    models: Mapping[str, Path] | None = None,
) -> Job[None]:
    """Keep in a folder what :func:`napari_vessel.training.finetuning.running.finetune` needs.

    A folder that holds the same already is left as it is.

    Parameters
    ----------
    samples : sequence of PackedSample
        What :func:`napari_vessel.review.samples.training_samples` returns, or some of it. One after the other is
        unpacked.
    settings : FineTune
        What to make of them.
    out : Path
        The run's folder.
    base : Path, optional
        A folder with ``images/`` and ``masks/`` (and ``fov/``) of what the model knows, to rehearse instead of
        synthetic images. One in five is held out and watches forgetting.
    models : mapping of str to Path, optional
        Folders of models that `settings.start` may name; they go before installed ones.

    Raises
    ------
    InputError
        If there is nothing to learn from, the settings or the folder cannot be used, or the folder holds another run.
    ModelError
        If there is no model of the name to begin with.
    """
    settings.check()
    start = network_to_start(settings.start, models or {})
    learnt = [sample for sample in samples if not sample.guard and sample.pixels]
    # A guard that was reopened is no judge, and is not learnt from either.
    guards = [sample for sample in samples if sample.guard and sample.done and sample.pixels]
    if not learnt:
        raise InputError(
            "There is nothing to learn from: no image but those kept as guards is done, or has a verdict or a stroke; "
            "review one and start again."
        )
    used = [*learnt, *guards]
    for sample in used:
        refuse_test_name(sample.name)
    known, held = yield from _find_base(base, {sample.content_hash.partition("#")[0] for sample in used})
    first = first_known(start)
    if base is None and first not in MODALITIES:
        raise InputError(
            f"No images can be made like those that the model '{start.name}' knows; give a folder of them as the base."
        )
    images = [_describe(n, sample) for n, sample in enumerate(used)]
    record: dict[str, Any] = {
        "format": 1,
        "package": __version__,
        "settings": asdict(settings),
        "modality": _modality_of(used, start).value,
        **({"other": True} if any(sample.modality is Modality.OTHER for sample in used) else {}),
        "start": {
            "name": start.name,
            "version": start.version,
            "sha256": start.sha256,
            "threshold": start.threshold,
            "min_size": start.min_size,
        },
        "weights": {origin.name.lower(): weight for origin, weight in WEIGHTS.items()},
        "images": images,
        "base": {
            "kind": "synthetic" if base is None else "images",
            "modality": first.value,
            "images": [
                {"name": files.stem, "stem": _base_stem(n, files, held), "sha256": digest, "guard": n in held}
                for n, (files, digest) in enumerate(known)
            ],
        },
    }

    # A later version of the package, which makes another recipe, goes on with this one.
    record["recipe"] = to_toml(make_recipe(record, start).to_json())

    def fill(fresh: Path) -> Job[None]:
        total = len(used) + len(known)
        colour = start.network["in_channels"] == 3
        for n, packed in enumerate(used):
            yield Progress(n, total, f"Keeping {packed.name}")
            sample, stem = packed.unpack(), stem_of(n, packed.name)
            (fresh / CORRECTED / "weights").mkdir(parents=True, exist_ok=True)
            _write_weights(fresh / CORRECTED / "weights" / f"{stem}.png", weigh(sample))
            store(fresh / CORRECTED, stem, as_seen(sample.image, colour), sample.vessels)
        width = float(start.working_scale["px"])
        for n, (files, _) in enumerate(known):
            yield Progress(len(used) + n, total, f"Keeping {files.stem}")
            case = read_case(files)
            image = replace(case.image, modality=first)
            small = at_width(Labelled(files.stem, image, case.vessels), width)
            store(fresh / REHEARSAL, _base_stem(n, files, held), as_seen(small.image, colour), small.vessels)
        folder = fresh / START / start.name
        folder.mkdir(parents=True)
        for part in (start.folder / "README.md", start.folder / "config.json", start.weights):
            if part.is_file():
                shutil.copyfile(part, folder / part.name)

    def kept(folder: Path) -> dict[str, Any]:
        # Another version of the package goes on with a run; how an image came to teach what it does is no matter.
        found = read_record(folder)
        told = {(entry["stem"], entry["sha256"]): entry for entry in record["images"]}
        images = [told.get((entry["stem"], entry["sha256"]), entry) for entry in found["images"]]
        return {**found, "package": __version__, "recipe": record["recipe"], "images": images}

    yield from keep_run(out, RECORD, record, (CORRECTED, REHEARSAL, START), kept, fill)


def read_record(out: Path) -> dict[str, Any]:
    """Return what :func:`prepare_finetune` wrote; raise InputError when there is nothing, or it is damaged."""

    def check(found: Mapping[str, Any]) -> None:
        if not isinstance(found["settings"], dict):
            raise ValueError("the settings are none")
        settings_of(found).check()
        Modality(found["modality"])
        Modality(found["base"]["modality"])
        if "recipe" in found:
            parse_recipe(found["recipe"], RECORD)
        for entry in found["images"]:
            if not {"name", "stem", "content_hash", "sha256", "done", "guard", "pixels"} <= dict(entry).keys():
                raise ValueError("an image is not whole")
        if found["format"] != 1 or not found["images"] or not NAME.fullmatch(found["start"]["name"]):
            raise ValueError("an entry is out of range")

    return runs.read_record(out, RECORD, check, "prepare one first")


def weigh(sample: TrainingSample) -> NDArray[np.uint8]:
    """Return how much each pixel of a sample counts, uint8, shape (Y, X); 0 for not at all."""
    weights = sample.counts.astype(np.uint8)
    for origin, weight in WEIGHTS.items():
        weights[sample.counts & (sample.origin == origin)] = weight
    return weights


def as_seen(image: VesselImage, colour: bool) -> VesselImage:
    """Return an image with the channels that a network sees of it, so that nobody needs to know its modality again."""
    return image if colour else replace(image, pixels=image.vessel_channel())


def _describe(number: int, sample: PackedSample) -> dict[str, Any]:
    """Return what is recorded of a sample: enough to tell whether another teaches the same, and what it taught."""
    return {
        "name": sample.name,
        "stem": stem_of(number, sample.name),
        "id": sample.image_id,
        "content_hash": sample.content_hash,
        "sha256": sample.digest,
        "shape": list(sample.shape),
        "done": sample.done,
        "guard": sample.guard,
        "model": sample.model,
        "edits": sample.edits,
        "pixels": {origin.name.lower(): count for origin, count in sample.pixels.items()},
    }


def _modality_of(samples: Sequence[PackedSample], start: ModelInfo) -> Modality:
    """Return what the model that comes out is for: the images' modality, or its own where that is not one."""
    kinds = {sample.modality for sample in samples} - {Modality.OTHER}
    return kinds.pop() if len(kinds) == 1 and kinds <= set(TRAINABLE) else start.modalities[0]


def first_known(start: ModelInfo) -> Modality:
    """Return how the images were taken that a model has not learnt from corrections, and is not to forget.

    A model that was led on from one of another modality still has that one's: its corrected images are learnt from
    again in every run, and nothing but rehearsal keeps the others.
    """
    told = start.settings.get(KNOWS)
    if told in set(Modality):
        return Modality(told)
    return next((modality for modality in start.modalities if modality in MODALITIES), start.modalities[0])


def _find_base(base: Path | None, own: Collection[str]) -> Job[tuple[list[tuple[CaseFiles, str]], set[int]]]:
    """Find the images of a base folder with the SHA-256 of each, and the numbers of those held out: of the lowest.

    Files with the SHA-256 of the annotator's own images are left out: a guard that is rehearsed is no judge.
    """
    if base is None:
        return [], set()
    found = find_own_cases(base, ())
    found = found[:: max(1, -(-len(found) // _MOST_BASE))]
    known = []
    for n, files in enumerate(found):
        yield Progress(n, len(found), f"Looking at {files.stem}")
        pixels = files.image.read_bytes()
        if hashlib.sha256(pixels).hexdigest() not in own:
            known.append((files, hashlib.sha256(pixels + files.mask.read_bytes()).hexdigest()))
    if len(known) < 2:
        raise InputError(
            f"There are not two images in '{base}' but those that are learnt from or judge; give two or more: one is "
            "rehearsed and another tells what is forgotten."
        )
    ranked = sorted(range(len(known)), key=lambda n: known[n][1])
    return known, set(ranked[: min(max(1, len(known) // 5), _MOST_BASE_GUARDS)])


def _base_stem(number: int, files: CaseFiles, held: set[int]) -> str:
    stem = stem_of(number, files.stem)
    return f"{GUARD}_{stem}" if number in held else stem


def _write_weights(path: Path, weights: NDArray[np.uint8]) -> None:
    from napari_vessel.images.image import MaskClass

    classes = tuple(MaskClass(int(value), int(value), f"weight {value}") for value in np.unique(weights) if value)
    write_mask(path, weights, classes)
