"""A model from five labelled images: synthetic ones made like them, and training on both, half and half.

After UniVG: trees that follow the labelled masks (Likeness), drawn on the tissue of the user's own images (Background),
and one synthetic crop beside every real one. Of the labelled images one in five is held out: it decides which weights
are kept, where the probability is cut, and how small a piece may be. Folds would cost a training each, and crops of an
image that is trained on elsewhere flatter: its background and its vessels are known. A whole image that nothing was
learnt from is the simplest honest judge.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.images.inputs import find_inputs
from napari_vessel.images.reading import read_image
from napari_vessel.images.writing import replacing, write_json
from napari_vessel.jobs import Job, Progress
from napari_vessel.networks import COMPLETION_NETWORKS, NETWORKS
from napari_vessel.segmentation.registry import NAME, ModelInfo, model_info, read_model
from napari_vessel.training.labelled import (
    TRAINABLE,
    Labelled,
    at_width,
    check_labelled,
    held_out,
    stem_of,
    store,
    working_width,
)
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

if TYPE_CHECKING:
    from napari_vessel.synthesis.backgrounds import Background
    from napari_vessel.synthesis.likeness import Likeness

log = logging.getLogger(__name__)

RECORD = "fewshot.json"
LABELLED, UNLABELLED, SYNTHETIC = "labelled", "unlabelled", "synthetic"
SEGMENTERS = tuple(name for name in NETWORKS if name not in COMPLETION_NETWORKS)

_LOOKS = 12
"""How often a run looks at what is held out."""

_MOST_UNLABELLED = 50
"""Of more unlabelled images, so many are taken, evenly spaced."""


@dataclass(frozen=True, slots=True)
class FewShot:
    """How to make a model from a few labelled images.

    Attributes
    ----------
    name : str
        Of the model.
    modality : Modality
        How the images were taken.
    network : str
        A network that segments, with random weights.
    start : str
        Name of a model to begin with instead; empty for random weights.
    steps : int
        Batches to train for.
    synthetic : int
        Synthetic images; 0 for none.
    conditioned : bool
        Whether their trees follow the labelled masks.
    own_backgrounds : bool
        Whether they are drawn on the tissue of the images given; otherwise on tissue made up.
    seed : int
        Of weights, crops and synthetic images.
    """

    name: str
    modality: Modality
    network: str = "unet"
    start: str = ""
    steps: int = 1500
    synthetic: int = 200
    conditioned: bool = True
    own_backgrounds: bool = True
    seed: int = 0

    def check(self) -> None:
        """Raise InputError for what cannot be made."""
        if not NAME.fullmatch(self.name):
            raise InputError(
                f"A model cannot be called '{self.name}'; use 1 to 64 lower-case letters, digits, '.', '_' and '-'."
            )
        if self.modality not in TRAINABLE:
            raise InputError(
                f"No model can be made for images of kind '{self.modality}'; choose one of {', '.join(TRAINABLE)}."
            )
        if not self.start and self.network not in SEGMENTERS:
            raise InputError(f"There is no network named '{self.network}'; choose one of {', '.join(SEGMENTERS)}.")
        if not 1 <= self.steps <= 1_000_000:
            raise InputError(f"{self.steps} steps cannot be trained for; choose 1 to 1,000,000.")
        if not 0 <= self.synthetic <= 10_000:
            raise InputError(f"{self.synthetic} synthetic images cannot be made; choose 0 to 10,000.")


def prepare(
    labelled: Sequence[Labelled],
    settings: FewShot,
    out: Path,
    unlabelled: Sequence[Path | str] = (),
    models: Mapping[str, Path] | None = None,
) -> Job[None]:
    """Keep in a folder all that :func:`fewshot` needs: images, which are held out, settings.

    A folder that holds the same already is left as it is.

    Parameters
    ----------
    labelled : sequence of Labelled
        At least two.
    settings : FewShot
        What to make of them.
    out : Path
        The run's folder.
    unlabelled : sequence of Path or str, optional
        More images of the same kind, or folders of them, whose tissue is drawn on.
    models : mapping of str to Path, optional
        Folders of models that `settings.start` may name; they go before installed ones.

    Raises
    ------
    InputError
        If the images or settings cannot be used, or the folder holds another run.
    ModelError
        If there is no model of the name to start with.
    """
    settings.check()
    check_labelled(labelled)
    more = find_inputs(unlabelled) if unlabelled else []
    more = more[:: max(1, -(-len(more) // _MOST_UNLABELLED))]
    start = _start(settings, models or {})
    digests = [entry.digest for entry in labelled]
    held = held_out(labelled)
    # A network that has learnt to see at one size goes on at it.
    width = working_width(labelled, settings.modality) if start is None else float(start.working_scale["px"])
    record = {
        "format": 1,
        "settings": {**asdict(settings), "modality": settings.modality.value},
        "working_width": width,
        "images": [
            {"name": entry.name, "stem": stem_of(n, entry.name), "sha256": digests[n], "held_out": n in held}
            for n, entry in enumerate(labelled)
        ],
        "unlabelled": [str(item.path.name) for item in more],
    }
    if (out / RECORD).is_file():
        if _read_record(out) != record:
            raise InputError(f"'{out}' holds a run on other images or with other settings; name another folder.")
        return
    for n, entry in enumerate(labelled):
        yield Progress(n, len(labelled) + len(more), f"Keeping {entry.name}")
        store(out / LABELLED, stem_of(n, entry.name), replace(entry.image, modality=settings.modality), entry.vessels)
    for n, item in enumerate(more):
        yield Progress(len(labelled) + n, len(labelled) + len(more), f"Keeping {item.path.name}")
        image = read_image(item.path, plane=item.plane, modality=settings.modality)
        small = at_width(Labelled(item.stem, image, np.zeros(image.shape, np.bool_)), width).image
        store(out / UNLABELLED, stem_of(n, item.stem), small, None)
    write_json(out / RECORD, record)


def fewshot(
    out: Path, device: str = "auto", models: Mapping[str, Path] | None = None, further: bool = True
) -> Job[dict[str, Any]]:
    """Make the synthetic images of a prepared run, train, and write the model; goes on where it was stopped.

    Parameters
    ----------
    out : Path
        A folder that :func:`prepare` filled. Gets ``synthetic/``, the model's folder, named as the model, and all that
        :func:`napari_vessel.training.train.train` writes.
    device : str
        ``auto``, ``cuda``, ``cuda:N``, ``mps`` or ``cpu``.
    models : mapping of str to Path, optional
        Folders of models that the run may start with; they go before installed ones.
    further : bool
        False: do not go on, and make the model of the best weights that the run has reached.

    Returns
    -------
    Job of dict
        What ``train`` returns.

    Raises
    ------
    InputError
        If the folder was not prepared.
    ModelError
        As ``train``.
    """
    record = _read_record(out)
    settings = _settings(record)
    given = models or {}
    recipe = make_recipe(record, given)
    if further:
        yield from _make_synthetic(record, settings, out)
    result = yield from _told(train(recipe, out, out, device, given, further))
    _write_card(Path(result["model"]), record, settings, result)
    return result


def make_recipe(record: Mapping[str, Any], models: Mapping[str, Path]) -> Recipe:
    """Return the recipe of a prepared run."""
    settings = _settings(record)
    start = _start(settings, models)
    colour = settings.modality is Modality.FUNDUS
    if start is None:
        network = NetworkRecipe(
            settings.network, in_channels=3 if colour else 1, working_diameter=float(record["working_width"])
        )
    else:
        network = NetworkRecipe(
            start.network["name"],
            tuple(start.network["channels"]),
            start.network["in_channels"],
            float(start.working_scale["px"]),
        )
    held = tuple(entry["stem"] for entry in record["images"] if entry["held_out"])
    data = [DataRecipe(OWN, folder=LABELLED, validation=held)]
    if settings.synthetic:
        data.append(DataRecipe(OWN, folder=SYNTHETIC, one_size=True))
    # Never wider than the images: beyond their frame is nothing to learn from.
    size = int(min(256, max(64, network.working_diameter // 32 * 32)))
    return Recipe(
        settings.name,
        f"{settings.name}: from {len(record['images'])} labelled images",
        tuple(data),
        modality=cast(Any, settings.modality.value),
        seed=settings.seed,
        start=settings.start,
        network=network,
        schedule=ScheduleRecipe(
            steps=settings.steps,
            # Weights that know vessels already are led on, not overwritten.
            learning_rate=5e-4 if settings.start else 2e-3,
            validate_every=max(1, -(-settings.steps // _LOOKS)),
            validation_images=len(held),
        ),
        crops=CropRecipe(size=size, batch=4, even=True),
        augmentation=AugmentationRecipe(grey=0.15 if colour else 0.0),
    )


def _make_synthetic(record: Mapping[str, Any], settings: FewShot, out: Path) -> Job[None]:
    """Make the synthetic images that are not there yet."""
    from napari_vessel.synthesis.engine import synthesize

    folder = out / SYNTHETIC
    numbers = [n for n in range(settings.synthetic) if not (folder / "images" / f"{n:05d}.png").is_file()]
    if not numbers:
        return
    like, backgrounds, shape = yield from _learn(record, settings, out)
    for n in numbers:
        yield Progress(n, settings.synthetic, "Making synthetic images")
        # Far from the seeds of the samples that people and tests look at.
        seed = 1_000_000 + 20_000 * settings.seed + n
        own_shape = None if like or backgrounds else shape
        made = synthesize(settings.modality, seed, shape=own_shape, like=like, backgrounds=backgrounds)
        store(folder, f"{n:05d}", made.image, made.truth)


def _learn(
    record: Mapping[str, Any], settings: FewShot, out: Path
) -> Job[tuple[Likeness | None, list[Background], tuple[int, int]]]:
    """Learn from the images that are not held out what the synthetic ones are to be like, at the working scale."""
    from napari_vessel.synthesis.backgrounds import Background
    from napari_vessel.synthesis.likeness import Likeness

    width = float(record["working_width"])
    known = [entry for entry in record["images"] if not entry["held_out"]]
    seen: list[Labelled] = []
    for n, entry in enumerate(known):
        yield Progress(n, len(known), f"Looking at {entry['name']}")
        image = _read(out / LABELLED, entry["stem"], settings.modality)
        vessels = _read_vessels(out / LABELLED / "masks" / f"{entry['stem']}.png", image)
        seen.append(at_width(Labelled(entry["name"], image, vessels), width))
    like, backgrounds = None, []
    if settings.conditioned:
        like = Likeness.of([entry.vessels for entry in seen], [entry.image.fov for entry in seen])
    if settings.own_backgrounds:
        for entry in seen:
            yield Progress(0, None, f"Taking the vessels out of {entry.name}")
            backgrounds.append(Background.of(entry.image, entry.vessels))
        for path in sorted((out / UNLABELLED / "images").glob("*.png")):
            yield Progress(0, None, f"Taking the vessels out of {path.stem}")
            backgrounds.append(Background.of(_read(out / UNLABELLED, path.stem, settings.modality)))
    height, across = seen[0].image.shape
    return like, backgrounds, (max(height, 128), max(across, 128))


def _read(folder: Path, stem: str, modality: Modality) -> VesselImage:
    return read_image(folder / "images" / f"{stem}.png", fov=folder / "fov" / f"{stem}.png", modality=modality)


def _read_vessels(path: Path, image: VesselImage) -> Any:
    from napari_vessel.images.masks import read_mask

    return read_mask(path, image.shape).mask


def _told(job: Job[dict[str, Any]]) -> Job[dict[str, Any]]:
    """Run a training with progress that a person can follow: a look at what is held out is part of the training."""
    training: Progress | None = None
    while True:
        try:
            progress = next(job)
        except StopIteration as stop:
            result: dict[str, Any] = stop.value
            return result
        if progress.message == "Training":
            training = progress
            progress = replace(progress, message=f"Training, step {progress.done:.0f} of {progress.total:.0f}")
        elif progress.message.startswith("Validating") and training is not None:
            progress = replace(training, message="Training, looking at what is held out")
        try:
            yield progress
        except GeneratorExit:
            job.close()
            raise


def _start(settings: FewShot, models: Mapping[str, Path]) -> ModelInfo | None:
    """Return the model to begin with, if any."""
    if not settings.start:
        return None
    info = read_model(models[settings.start]) if settings.start in models else model_info(settings.start)
    if info.kind != "network" or info.working_scale.get("kind") != "field_of_view":
        raise InputError(f"No training can begin with the model '{info.name}'; choose a network that segments.")
    return info


def _read_record(out: Path) -> dict[str, Any]:
    try:
        found = json.loads((out / RECORD).read_text(encoding="utf-8"))
        _settings(found)
        if found["format"] != 1 or not found["images"] or float(found["working_width"]) <= 0:
            raise ValueError("an entry is out of range")
    except FileNotFoundError as error:
        raise InputError(f"There is no run to go on with in '{out}'; give images and masks.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{out / RECORD}' is damaged ({error}); delete the folder and start afresh.") from error
    result: dict[str, Any] = found
    return result


def _settings(record: Mapping[str, Any]) -> FewShot:
    known = {field.name for field in fields(FewShot)}
    found = {key: value for key, value in record["settings"].items() if key in known}
    return FewShot(**{**found, "modality": Modality(found["modality"])})


def _write_card(folder: Path, record: Mapping[str, Any], settings: FewShot, result: Mapping[str, Any]) -> None:
    """Write what the model was made from beside its weights."""
    learnt = [entry["name"] for entry in record["images"] if not entry["held_out"]]
    held = [entry["name"] for entry in record["images"] if entry["held_out"]]
    best = result.get("validation") or {}
    trees = "trees that follow the labelled masks" if settings.conditioned else "trees made up"
    tissue = "tissue of the images given" if settings.own_backgrounds else "tissue made up"
    made = f"{settings.synthetic} synthetic images: {trees}, on {tissue}" if settings.synthetic else "no synthetic ones"
    lines = [
        f"# {settings.name}",
        "",
        f"Made for {settings.modality} images from {len(record['images'])} labelled ones, with {made}.",
        "",
        f"- Learnt from: {', '.join(learnt)}",
        f"- Held out, to choose weights, threshold and smallest piece: {', '.join(held)}",
        f"- Began with: {settings.start or 'random weights'}; {result['steps']} of {settings.steps} steps",
        f"- Threshold {result['threshold']}, smallest piece {result['min_size']} px at the working scale",
    ]
    if best:
        lines.append(
            f"- Mean of Dice and clDice on what is held out, at the working scale: {best['value']:.3f} (step "
            f"{best['step']}). The weights were chosen by it, so on new images expect less."
        )
    with replacing(folder / "README.md") as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")
