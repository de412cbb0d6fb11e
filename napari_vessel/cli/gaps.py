"""Commands that look for breaks in a mask: gaps, complete."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_vessel.cli.files import CompletionModel, Device, DeviceChoice, check_file, check_no_input, fov_of, page_of
from napari_vessel.cli.terminal import AsJson, Fov, count_of, fov_argument, give, run
from napari_vessel.errors import InputError
from napari_vessel.jobs import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_vessel.completion import Gap
    from napari_vessel.images.image import VesselImage, VesselMask
    from napari_vessel.segmentation.completer import Completion

MaskFile = Annotated[Path, typer.Argument(metavar="MASK", help="The mask to complete: PNG or TIFF.")]
ImageFile = Annotated[Path, typer.Option("--image", help="The image the mask belongs to.")]
ProbabilityFile = Annotated[
    Path | None, typer.Option("--probability", help="Vessel probability, as written by segment.")
]
AllVessels = Annotated[
    bool,
    typer.Option(
        "--all-vessels",
        help="Every piece of the mask is a vessel, as in one that a person has drawn: only the links are in question.",
    ),
]
NO_MODEL = "none"


def gaps(
    mask: MaskFile,
    image: ImageFile,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.json", help="Where to write the proposals.")],
    probability: ProbabilityFile = None,
    completion_model: CompletionModel = None,
    device: DeviceChoice = Device.AUTO,
    tips: Annotated[
        bool, typer.Option("--tips", help="Propose too where a vessel should go on, joining nothing.")
    ] = False,
    all_vessels: AllVessels = False,
    fov: Fov = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the breaks of a mask and propose a completion for each. The score is the chance that it is right.

    Where there is a completion model for the image's modality, the way and the score of a proposal read its map, and
    what it draws between vessels is proposed too.
    """
    from napari_vessel.images.writing import write_json
    from napari_vessel.topology.components import label_components

    check_file(out, (".json",), (mask, image, probability))
    _check_model(completion_model)
    picture, labels, chance = read_inputs(mask, image, probability, fov)
    found, completion = run(_find(labels, picture, chance, completion_model, device.value, all_vessels, tips))
    _, count = label_components(labels.mask)
    report = {
        "components": count,
        "all_vessels": all_vessels,
        "completion": None if completion is None else completion.to_json(),
        "gaps": [gap.to_json() for gap in found],
    }
    write_json(out, report)
    ends = sum(len(gap.ends) == 1 for gap in found)
    also = f", {ends} tips" if tips else ""
    lines = f"{out}: {count} components, {len(found) - ends} gaps{also}{_made_by(completion)}"
    data = {"output": str(out), "components": count, "gaps": len(found) - ends, "completion": _maker(completion)}
    if tips:
        data["tips"] = ends
    give(data, as_json, lines)


def complete(
    mask: MaskFile,
    image: ImageFile,
    min_score: Annotated[float, typer.Option(min=0.0, max=1.0, help="Draw proposals from this score on.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.png", help="Where to write the completed mask.")],
    probability: ProbabilityFile = None,
    completion_model: CompletionModel = None,
    device: DeviceChoice = Device.AUTO,
    all_vessels: AllVessels = False,
    fov: Fov = "auto",
    as_json: AsJson = False,
) -> None:
    """Draw every proposed completion with a high enough score into a mask, without review.

    Says how many of them are expected to be wrong: the score is the chance that a completion is right.
    """
    from napari_vessel.completion.drawing import draw_gap_labels
    from napari_vessel.images.writing import MASK_SUFFIXES, write_mask
    from napari_vessel.topology.components import label_components

    check_file(out, MASK_SUFFIXES, (mask, image, probability))
    _check_model(completion_model)
    picture, before, chance = read_inputs(mask, image, probability, fov, out)
    found, completion = run(_find(before, picture, chance, completion_model, device.value, all_vessels))
    accepted = [gap for gap in found if gap.score >= min_score]
    after = before.labels.copy()
    for gap in accepted:
        (y, x), patch = draw_gap_labels(gap, after)
        window = after[y : y + patch.shape[0], x : x + patch.shape[1]]
        # Completions fill background only: an artery stays an artery where a vein's completion crosses it.
        window[(window == 0) & (patch > 0)] = patch[(window == 0) & (patch > 0)]
    write_mask(out, after, before.classes)
    counts = [label_components(array > 0)[1] for array in (before.labels, after)]
    wrong = sum(1.0 - gap.score for gap in accepted)
    lines = f"{out}: {count_of(len(accepted), 'gap')} completed, about {wrong:.1f} of them wrong, "
    lines += f"components {counts[0]} -> {counts[1]}{_made_by(completion)}"
    data = {
        "output": str(out),
        "accepted": [gap.id for gap in accepted],
        "expected_wrong": round(wrong, 2),
        "components_before": counts[0],
        "components_after": counts[1],
        "completion": _maker(completion),
    }
    give(data, as_json, lines)


def _check_model(model: str | None) -> None:
    """Raise ModelError for a misspelt name, before anything is read."""
    if model is not None and model != NO_MODEL:
        from napari_vessel.segmentation.registry import completion_model_info

        completion_model_info(model)


def _find(
    mask: "VesselMask",
    image: "VesselImage",
    probability: "NDArray[np.float32] | None",
    model: str | None,
    device: str,
    all_vessels: bool,
    tips: bool = False,
) -> "Job[tuple[list[Gap], Completion | None]]":
    from napari_vessel.completion import find_gaps
    from napari_vessel.segmentation.registry import default_completion_model

    name = None if model == NO_MODEL else model or default_completion_model(image.modality)
    completion, drawn = None, None
    if name is not None:
        from napari_vessel.segmentation.completer import Completer

        completion = yield from Completer(name, device).predict(image, probability)
        drawn = completion.probability
        # Made anyway to complete it: what the segmenter says is evidence of its own.
        probability = completion.segmented
    found = yield from find_gaps(
        mask.mask, image, probability, completion=drawn, fov=image.fov, tips=tips, all_vessels=all_vessels
    )
    return found, completion


def _maker(completion: "Completion | None") -> dict[str, Any] | None:
    if completion is None:
        return None
    return {"model": completion.model, "model_version": completion.model_version}


def _made_by(completion: "Completion | None") -> str:
    return "" if completion is None else f" (completion by {completion.model} {completion.model_version})"


def read_inputs(
    mask: Path, image: Path, probability: Path | None, fov: str, out: Path | None = None
) -> tuple["VesselImage", "VesselMask", "NDArray[np.float32] | None"]:
    from napari_vessel.images.inputs import find_inputs
    from napari_vessel.images.masks import read_mask
    from napari_vessel.images.probability import read_probability
    from napari_vessel.images.reading import count_planes, read_image

    if image.is_dir() or mask.is_dir():
        raise InputError(f"{image if image.is_dir() else mask} is a folder; give one file.")
    item = page_of(mask, find_inputs([image]))
    if item.plane is None and count_planes(mask) > 1:
        raise InputError(
            f"{mask} has {count_planes(mask)} pages and {image} has one; give the mask of this image alone."
        )
    field = fov_of(item, fov_argument(fov))
    if out is not None and isinstance(field, Path):
        # Which file of a folder it is shows only now.
        check_no_input(out, (field,))
    picture = read_image(image, plane=item.plane, fov=field)
    labels = read_mask(mask, picture.shape, item.plane)
    chance = None if probability is None else read_probability(probability, picture.shape, item.plane)
    return picture, labels, chance
