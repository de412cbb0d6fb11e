"""A model from five labelled images: synthetic ones made like them, and training on both, half and half.

After UniVG: trees that follow the labelled masks (Likeness), drawn on the tissue of the user's own images (Background),
and one synthetic crop beside every real one. Of the labelled images one in five is held out: it decides which weights
are kept, where the probability is cut, and how small a piece may be. Folds would cost a training each, and crops of an
image that is trained on elsewhere flatter: its background and its vessels are known. A whole image that nothing was
learnt from is the simplest honest judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.images.reading import read_image
from napari_vessel.images.writing import replacing
from napari_vessel.jobs import Job, Progress
from napari_vessel.segmentation.preparation import field_diameter
from napari_vessel.training.labelled import Labelled, at_width, store
from napari_vessel.training.preparing import (
    LABELLED,
    SYNTHETIC,
    UNLABELLED,
    FewShot,
    model_to_start,
    read_record,
    settings_of,
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
from napari_vessel.training.train import told, train

if TYPE_CHECKING:
    from napari_vessel.synthesis.backgrounds import Background
    from napari_vessel.synthesis.likeness import Learnt, Likeness

_LOOKS = 12
"""How often a run looks at what is held out."""


def fewshot(
    out: Path, device: str = "auto", models: Mapping[str, Path] | None = None, further: bool = True
) -> Job[dict[str, Any]]:
    """Make the synthetic images of a prepared run, train, and write the model; goes on where it was stopped.

    Parameters
    ----------
    out : Path
        A folder that :func:`~napari_vessel.training.preparing.prepare` filled. Gets ``synthetic/``, the model's folder,
        named as the model, and all that :func:`napari_vessel.training.train.train` writes.
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
    record = read_record(out)
    settings = settings_of(record)
    given = dict(models or {})
    if record.get("start_folder"):
        given.setdefault(settings.start, Path(record["start_folder"]))
    recipe = make_recipe(record, given)
    if further:
        yield from _make_synthetic(record, settings, out)
    result = yield from told(train(recipe, out, out, device, given, further))
    _write_card(Path(result["model"]), record, settings, result)
    return result


def make_recipe(record: Mapping[str, Any], models: Mapping[str, Path]) -> Recipe:
    """Return the recipe of a prepared run."""
    settings = settings_of(record)
    start = model_to_start(settings, models)
    colour = settings.modality is Modality.FUNDUS
    if start is None:
        network = NetworkRecipe(
            settings.network, in_channels=3 if colour else 1, working_diameter=float(record["working_width"])
        )
    else:
        network = NetworkRecipe.of(start)
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
    from napari_vessel.synthesis.engine import LEAST_SIDE, synthesize

    folder = out / SYNTHETIC
    numbers = [n for n in range(settings.synthetic) if not (folder / "images" / f"{n:05d}.png").is_file()]
    if not numbers:
        return
    like, backgrounds, shape = yield from _learn(record, settings, out)
    shapes = [one.shape for one in backgrounds or (like.masks if like is not None else ())] or [shape]
    # What is smaller than the engine draws is drawn larger, and made as small as the others.
    larger = max(1.0, LEAST_SIDE / min(map(min, shapes)))
    own_shape = None
    if larger > 1.0 or not (like or backgrounds):
        own_shape = (ceil(shapes[0][0] * larger), ceil(shapes[0][1] * larger))
    for n in numbers:
        yield Progress(n, settings.synthetic, "Making synthetic images")
        # Far from the seeds of the samples that people and tests look at.
        seed = 1_000_000 + 20_000 * settings.seed + n
        made = synthesize(settings.modality, seed, shape=own_shape, like=like, backgrounds=backgrounds)
        one = Labelled(f"{n:05d}", made.image, made.truth)
        if larger > 1.0:
            one = at_width(one, field_diameter(made.image.shape, made.image.fov) / larger)
        store(folder, one.name, one.image, one.vessels)


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
        masks: list[Learnt] = []
        for entry in seen:
            # One that shows hardly a vessel is learnt from, and gives nothing to follow.
            with suppress(InputError):
                masks += Likeness.of([entry.vessels], [entry.image.fov]).masks
        if not masks:
            raise InputError(
                "The labelled masks show too little vessel for synthetic images to follow; label more, or begin "
                "another run without synthetic images."
            )
        like = Likeness(tuple(masks))
    if settings.own_backgrounds:
        for entry in seen:
            yield Progress(0, None, f"Taking the vessels out of {entry.name}")
            backgrounds.append(Background.of(entry.image, entry.vessels))
        for path in sorted((out / UNLABELLED / "images").glob("*.png")):
            yield Progress(0, None, f"Taking the vessels out of {path.stem}")
            backgrounds.append(Background.of(_read(out / UNLABELLED, path.stem, settings.modality)))
    return like, backgrounds, seen[0].image.shape


def _read(folder: Path, stem: str, modality: Modality) -> VesselImage:
    return read_image(folder / "images" / f"{stem}.png", fov=folder / "fov" / f"{stem}.png", modality=modality)


def _read_vessels(path: Path, image: VesselImage) -> Any:
    from napari_vessel.images.masks import read_mask

    return read_mask(path, image.shape).mask


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
    if record.get("one_patient"):
        lines.append("- All images are of one patient by their names, so what is held out is no other patient's.")
    if best:
        lines.append(
            f"- Mean of Dice and clDice on what is held out, at the working scale: {best['value']:.3f} (step "
            f"{best['step']}). The weights were chosen by it, so on new images expect less."
        )
    with replacing(folder / "README.md") as temporary:
        # On Linux the names of images may be any bytes.
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8", errors="backslashreplace")
