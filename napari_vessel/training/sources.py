"""What a recipe trains on and is looked at with: found, kept apart, and read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality
from napari_vessel.jobs import Job, Progress
from napari_vessel.training.augmentation import LEVELS, ONE_LEVEL, Level, build_levels
from napari_vessel.training.cases import Case, CaseFiles, find_cases, find_own_cases, read_case
from napari_vessel.training.crops import CropSource
from napari_vessel.training.datasets import DATA_SETS
from napari_vessel.training.losses import check_thinning
from napari_vessel.training.recipe import OWN, SYNTHETIC, DataRecipe, Recipe
from napari_vessel.training.validation import ValidationImage, prepare_validation

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingFiles:
    """What a recipe's data came to.

    Attributes
    ----------
    training, validation : dict of str to list of CaseFiles
        Per source; nothing of a test split is in either.
    """

    training: dict[str, list[CaseFiles]]
    validation: dict[str, list[CaseFiles]]

    def to_json(self) -> dict[str, dict[str, list[str]]]:
        """Return the stems per source."""
        return {
            name: {
                "training": [files.stem for files in self.training[name]],
                "validation": [files.stem for files in self.validation[name]],
            }
            for name in self.training
        }


def find_training_files(recipe: Recipe, data: Path) -> TrainingFiles:
    """Find every image a recipe names, and say which are left for testing.

    Parameters
    ----------
    recipe : Recipe
        What to train on.
    data : Path
        The folder that holds the sets' folders.

    Raises
    ------
    InputError
        If a folder, a mask or an image named in `cut` is missing, or nothing is held out for validation.
    """
    training: dict[str, list[CaseFiles]] = {}
    validation: dict[str, list[CaseFiles]] = {}
    for source in recipe.data:
        if source.set == SYNTHETIC:
            continue
        if source.set == OWN:
            found = find_own_cases(data / source.folder, source.validation, source.weighted)
            name = source.source
            training[name] = [files for files in found if files.split == "training"]
            validation[name] = [files for files in found if files.split == "validation"]
            for beginning in source.cut:
                if not any(files.stem.startswith(beginning) for files in training[name]):
                    raise InputError(
                        f"No image to train on in '{data / source.folder}' begins with '{beginning}', listed for cut."
                    )
            continue
        folder = data / (source.folder or source.set.upper())
        training[source.set] = find_cases(source.set, folder, "training")
        try:
            validation[source.set] = find_cases(source.set, folder, "validation")
        except InputError:
            validation[source.set] = []
        held = ", ".join(files.stem for files in validation[source.set][:8])
        log.info(
            "%s: %d images to train on; validation: %s%s; its test images are not read",
            DATA_SETS[source.set].title,
            len(training[source.set]),
            held,
            " ..." if len(validation[source.set]) > 8 else "",
        )
    if not any(validation.values()) and not any(source.cut for source in recipe.data):
        raise InputError("Nothing is held out for validation; name some images in 'validation' of the recipe's data.")
    return TrainingFiles(training, validation)


def load_crops(recipe: Recipe, files: TrainingFiles) -> Job[CropSource]:
    """Read and resample every training image."""
    images: dict[str, list[list[Level]]] = {}
    weights: dict[str, float] = {}
    total = sum(len(group) for group in files.training.values())
    total += sum(source.count for source in recipe.data if source.set == SYNTHETIC)
    done = 0
    for source in recipe.data:
        name = source.source
        images[name], weights[name] = [], source.weight
        entries: Sequence[CaseFiles | int] = range(source.count) if source.set == SYNTHETIC else files.training[name]
        for entry in entries:
            yield Progress(done, total, f"Reading {name}")
            case = _synthesise(source, entry, recipe.seed) if isinstance(entry, int) else _read(entry, recipe)
            images[name].append(
                build_levels(
                    case.image,
                    case.vessels,
                    recipe.network.working_diameter,
                    recipe.network.in_channels == 3,
                    ONE_LEVEL if source.one_size else LEVELS,
                    case.weights,
                )
            )
            done += 1
    size = recipe.network.working_diameter
    at_scale = (min(levels, key=lambda one: abs(one.diameter - size)) for group in images.values() for levels in group)
    check_thinning(recipe.loss, (level.target[..., 0] >= 128 for level in at_scale))
    return CropSource(images, weights, recipe)


def cut_files(recipe: Recipe, files: TrainingFiles) -> list[CaseFiles]:
    """Return the images on which threshold and smallest component are chosen; none to keep those of `recipe.start`."""
    named = [
        entry
        for source in recipe.data
        for entry in files.training.get(source.source, [])
        if any(entry.stem.startswith(beginning) for beginning in source.cut)
    ]
    if named:
        return named
    if recipe.start and any(source.watched for source in recipe.data):
        # What has come of the model is judged by the images for validation: they have no say in where it cuts.
        return []
    return [entry for group in files.validation.values() for entry in group]


def load_validation(recipe: Recipe, files: TrainingFiles, watched: bool = False) -> Job[list[ValidationImage]]:
    """Read the images that are looked at while training, whole, broken or both, as the recipe asks.

    Parameters
    ----------
    recipe : Recipe
        What is trained.
    files : TrainingFiles
        What :func:`find_training_files` found.
    watched : bool
        Those that tell what is forgotten, instead of those that say which weights are best.
    """
    names = {source.source for source in recipe.data if source.watched == watched}
    prepared: list[ValidationImage] = []
    # A completion network is judged by breaks alone; a segmenter that has met breaks by whole images and broken ones:
    # whole ones alone would pick the weights from before it had met any.
    looks = (True,) if recipe.segmenter else (False, True) if recipe.topomask.style != "none" else (False,)
    for name, group in files.validation.items():
        if name not in names:
            continue
        # Spread over the set rather than its first ones, which may be one patient's.
        step = max(1, len(group) // recipe.schedule.validation_images)
        for entry in group[::step][: recipe.schedule.validation_images]:
            yield Progress(0, None, f"Reading {name} for validation")
            case = _read(entry, recipe)
            for broken in looks:
                seed = len(prepared) if broken else None
                as_set = f"{name}, broken" if broken and len(looks) > 1 else name
                prepared.append(replace(prepare_validation(case, recipe, seed), data_set=as_set))
    return prepared


def _read(entry: CaseFiles, recipe: Recipe) -> Case:
    case = read_case(entry)
    return replace(case, image=replace(case.image, modality=Modality(recipe.modality)))


def _synthesise(source: DataRecipe, number: int, seed: int) -> Case:
    from napari_vessel.synthesis.samples import make_sample

    # Far from the seeds of the samples that people and tests look at.
    sample = make_sample(source.kind, seed=100_000 + 10_000 * seed + number)
    return Case(f"{SYNTHETIC}/{number}", sample.image, sample.truth.mask)
