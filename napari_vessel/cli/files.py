"""Commands that go from files to files: segment, gaps, complete."""

import hashlib
import json
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_vessel.cli.terminal import AsJson, Fov, fov_argument, give, run
from napari_vessel.errors import InputError
from napari_vessel.jobs import Job, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_vessel.images.image import VesselImage, VesselMask
    from napari_vessel.images.inputs import ImageInput
    from napari_vessel.segmentation.segmenter import Segmenter


class Device(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files, and folders of images.")]
MaskFile = Annotated[Path, typer.Argument(metavar="MASK", help="The mask to complete: PNG or TIFF.")]
ImageFile = Annotated[Path, typer.Option("--image", help="The image the mask belongs to.")]
ProbabilityFile = Annotated[
    Path | None, typer.Option("--probability", help="Vessel probability, as written by segment.")
]


def segment(
    paths: Paths,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the results.")],
    model: Annotated[str | None, typer.Option(help="Model name; by default the one for the image's modality.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Probability from which on is vessel.")
    ] = None,
    min_size: Annotated[int | None, typer.Option(min=0, help="Remove components of fewer pixels.")] = None,
    fov: Fov = "auto",
    as_json: AsJson = False,
) -> None:
    """Segment images: writes STEM_probability.tif, STEM_mask.png and STEM.json for each."""
    from napari_vessel.images.inputs import find_inputs
    from napari_vessel.segmentation.registry import model_info

    inputs = find_inputs(paths)
    _check_out(out, inputs)
    if model is not None:
        model_info(model)  # a misspelt name shows before a thousand images are checked
    results = run(_segment_all(inputs, out, model, device.value, threshold, min_size, fov_argument(fov)))
    lines = "\n".join(f"{r['mask']}  ({r['model']}, {r['vessel_percent']} % vessel)" for r in results)
    give({"results": results}, as_json, lines)


def gaps(
    mask: MaskFile,
    image: ImageFile,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.json", help="Where to write the proposals.")],
    probability: ProbabilityFile = None,
    fov: Fov = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the breaks of a mask and propose a completion for each. The score is a heuristic, not yet a probability."""
    from napari_vessel.completion import find_gaps
    from napari_vessel.images.writing import write_json
    from napari_vessel.topology.components import label_components

    check_file(out, (".json",), (mask, image, probability))
    picture, labels, chance = _read(mask, image, probability, fov)
    found = run(find_gaps(labels.mask, picture, chance, fov=picture.fov))
    _, count = label_components(labels.mask)
    write_json(out, {"components": count, "gaps": [gap.to_json() for gap in found]})
    lines = f"{out}: {count} components, {len(found)} gaps"
    give({"output": str(out), "components": count, "gaps": len(found)}, as_json, lines)


def complete(
    mask: MaskFile,
    image: ImageFile,
    min_score: Annotated[float, typer.Option(min=0.0, max=1.0, help="Draw proposals from this score on.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.png", help="Where to write the completed mask.")],
    probability: ProbabilityFile = None,
    fov: Fov = "auto",
    as_json: AsJson = False,
) -> None:
    """Draw every proposed completion with a high enough score into a mask, without review."""
    from napari_vessel.images.writing import MASK_SUFFIXES, write_mask
    from napari_vessel.topology.components import label_components

    check_file(out, MASK_SUFFIXES, (mask, image, probability))
    picture, before, chance = _read(mask, image, probability, fov)
    after, accepted = run(_complete(before, picture, chance, min_score))
    write_mask(out, after, before.classes)
    counts = [label_components(array > 0)[1] for array in (before.labels, after)]
    lines = f"{out}: {len(accepted)} gaps completed, components {counts[0]} -> {counts[1]}"
    data = {
        "output": str(out),
        "accepted": [gap.id for gap in accepted],
        "components_before": counts[0],
        "components_after": counts[1],
    }
    give(data, as_json, lines)


def _complete(
    mask: "VesselMask", image: "VesselImage", probability: "NDArray[np.float32] | None", min_score: float
) -> Job[Any]:
    from napari_vessel.completion import complete_with_gaps
    from napari_vessel.completion.drawing import draw_gap_labels

    yield Progress(0, None, "Completing")
    _, accepted = complete_with_gaps(mask.mask, image, probability, min_score=min_score, fov=image.fov)
    labels = mask.labels.copy()
    for gap in accepted:
        (y, x), patch = draw_gap_labels(gap, labels)
        window = labels[y : y + patch.shape[0], x : x + patch.shape[1]]
        # Completions fill background only: an artery stays an artery where a vein's completion crosses it.
        window[(window == 0) & (patch > 0)] = patch[(window == 0) & (patch > 0)]
    return labels, accepted


def _segment_all(
    inputs: Sequence["ImageInput"],
    out: Path,
    model: str | None,
    device: str,
    threshold: float | None,
    min_size: int | None,
    fov: str | Path,
) -> Job[list[dict[str, Any]]]:
    from napari_vessel.images.reading import read_image

    # Everything is read once before anything is written: one bad file among a thousand shows now, not at noon.
    for number, item in enumerate(inputs):
        yield Progress(number, len(inputs), f"Checking {item.path.name}")
        read_image(item.path, plane=item.plane, fov=fov_of(item, fov))
    yield Progress(0, None, "Loading the model")
    from napari_vessel.segmentation.segmenter import Segmenter

    segmenter = Segmenter(model, device)
    results = []
    for number, item in enumerate(inputs):
        results.append((yield from _segment_one(item, number, len(inputs), segmenter, out, threshold, min_size, fov)))
    return results


def _segment_one(
    item: "ImageInput",
    number: int,
    count: int,
    segmenter: "Segmenter",
    out: Path,
    threshold: float | None,
    min_size: int | None,
    fov: str | Path,
) -> Job[dict[str, Any]]:
    from napari_vessel.images.reading import read_image
    from napari_vessel.images.writing import write_json, write_mask, write_probability
    from napari_vessel.version import __version__

    label = f"{item.path.name} ({number + 1} of {count})"
    yield Progress(number, count, label)
    image = read_image(item.path, plane=item.plane, fov=fov_of(item, fov))
    job = segmenter.predict(image, threshold=threshold, min_size=min_size)
    while True:
        try:
            progress = next(job)
        except StopIteration as stop:
            result = stop.value
            break
        yield Progress(number + (progress.fraction or 0.0), count, label)
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "probability": out / f"{item.stem}_probability.tif",
        "mask": out / f"{item.stem}_mask.png",
        "record": out / f"{item.stem}.json",
    }
    write_probability(files["probability"], result.probability)
    write_mask(files["mask"], result.mask)
    inside = result.mask if image.fov is None else result.mask[image.fov]
    record = {
        **result.to_json(),
        "mask_sha256": _sha256(files["mask"]),
        "program": f"napari-vessel {__version__}",
        "input": {
            "path": str(item.path.resolve()),
            "plane": item.plane,
            "sha256": image.content_hash.partition("#")[0],
            "shape": list(image.shape),
            "modality": image.modality.value,
            "fov": str(fov),
            "notes": list(image.notes),
        },
        "vessel_percent": round(100.0 * float(inside.mean()), 2) if inside.size else 0.0,
    }
    # Last, so that a record means that its two files are complete.
    write_json(files["record"], record)
    return {
        "input": str(item.path),
        "plane": item.plane,
        **{key: str(path) for key, path in files.items()},
        "model": record["model"],
        "vessel_percent": record["vessel_percent"],
    }


def fov_of(item: "ImageInput", fov: str | Path) -> str | Path:
    """Return ``"auto"``, ``"none"``, or the file in `fov` that belongs to the image."""
    from napari_vessel.images.inputs import match_file

    if isinstance(fov, str):
        return fov
    found = match_file(item.stem, fov, prefer=("fov", "mask"), exclude=item.path)
    if found is None:
        raise InputError(f"{fov} has no field-of-view file for {item.path.name}; add one or use --fov auto.")
    return found


def _read(
    mask: Path, image: Path, probability: Path | None, fov: str
) -> tuple["VesselImage", "VesselMask", "NDArray[np.float32] | None"]:
    from napari_vessel.images.inputs import find_inputs
    from napari_vessel.images.masks import read_mask
    from napari_vessel.images.probability import read_probability
    from napari_vessel.images.reading import count_planes, read_image

    if image.is_dir() or mask.is_dir():
        raise InputError(f"{image if image.is_dir() else mask} is a folder; give one file.")
    item = _page_of(mask, find_inputs([image]))
    if item.plane is None and count_planes(mask) > 1:
        raise InputError(
            f"{mask} has {count_planes(mask)} pages and {image} has one; give the mask of this image alone."
        )
    picture = read_image(image, plane=item.plane, fov=fov_of(item, fov_argument(fov)))
    labels = read_mask(mask, picture.shape, item.plane)
    chance = None if probability is None else read_probability(probability, picture.shape, item.plane)
    return picture, labels, chance


def _page_of(mask: Path, pages: Sequence["ImageInput"]) -> "ImageInput":
    """Return the page of an image that a mask named as ``segment`` names it (``STEM_p000_mask``) belongs to."""
    if len(pages) == 1:
        return pages[0]
    named = re.search(r"_p(\d{3,})(_mask)?$", mask.stem)
    found = [page for page in pages if named is not None and page.plane == int(named[1])]
    if not found:
        raise InputError(
            f"{pages[0].path} has {len(pages)} pages, and the name {mask.name} does not say which one it is of; "
            f"name it as segment does, {pages[0].stem}_mask{mask.suffix} for the first."
        )
    return found[0]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_out(out: Path, inputs: Sequence["ImageInput"]) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder after -o.")
    sources = {item.path.resolve() for item in inputs}
    for item in inputs:
        for ending in ("_probability.tif", "_mask.png", ".json"):
            target = out / f"{item.stem}{ending}"
            if target.resolve() in sources:
                raise InputError(
                    f"{target} is one of the inputs and would be overwritten; name another folder after -o."
                )
            if target.is_dir():
                raise InputError(f"{target} is a folder, but a result goes there; name another folder after -o.")
        mask = out / f"{item.stem}_mask.png"
        if mask.exists() and not _is_own(mask, out / f"{item.stem}.json"):
            raise InputError(
                f"{mask} is there and was not made by segment, or was changed since; name another folder after -o."
            )


def _is_own(mask: Path, record: Path) -> bool:
    """Return whether a mask is still what an earlier run wrote."""
    try:
        return bool(json.loads(record.read_text(encoding="utf-8"))["mask_sha256"] == _sha256(mask))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_file(out: Path, suffixes: Sequence[str], sources: Sequence[Path | None]) -> None:
    """Raise InputError unless a result can be written at `out` without harm to what it is made from."""
    if out.suffix.lower() not in suffixes:
        raise InputError(f"{out} cannot be written: its name must end in {' or '.join(suffixes)}.")
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file after -o.")
    if not out.parent.is_dir():
        raise InputError(f"The folder {out.parent} does not exist; make it first.")
    if any(source is not None and source.resolve() == out.resolve() for source in sources):
        raise InputError(f"{out} is one of the inputs and would be overwritten; name another file after -o.")
