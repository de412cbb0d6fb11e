"""From files to files: the command segment, and what others share with it."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_vessel.cli.terminal import AsJson, Fov, fov_argument, give, run
from napari_vessel.errors import Cancelled, InputError
from napari_vessel.jobs import Job, Progress, as_share
from napari_vessel.untrusted import MALFORMED, read_json

if TYPE_CHECKING:
    from napari_vessel.images.image import VesselImage
    from napari_vessel.images.inputs import ImageInput
    from napari_vessel.segmentation.completer import Completer, Completion
    from napari_vessel.segmentation.segmentation import Segmentation


class Device(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


DeviceChoice = Annotated[Device, typer.Option(help="Where to compute.")]
CompletionModel = Annotated[
    str | None,
    typer.Option(
        "--completion-model",
        metavar="NAME|none",
        help="Completion model, or none; by default the one for the image's modality, where there is one.",
    ),
]
Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files, and folders of images.")]


def segment(
    paths: Paths,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the results.")],
    model: Annotated[str | None, typer.Option(help="Model name; by default the one for the image's modality.")] = None,
    device: DeviceChoice = Device.AUTO,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Probability from which on is vessel.")
    ] = None,
    min_size: Annotated[int | None, typer.Option(min=0, help="Remove components of fewer pixels.")] = None,
    vig: Annotated[
        bool,
        typer.Option(
            "--vig/--no-vig",
            help="Write STEM_completion.tif too: a second network draws on across breaks. Takes about twice as long.",
        ),
    ] = False,
    completion_model: Annotated[
        str | None,
        typer.Option(
            "--completion-model", metavar="NAME", help="For --vig; by default the one for the image's modality."
        ),
    ] = None,
    fov: Fov = "auto",
    as_json: AsJson = False,
) -> None:
    """Segment images: writes STEM_probability.tif, STEM_mask.png and STEM.json for each."""
    from napari_vessel.images.inputs import find_inputs
    from napari_vessel.segmentation.registry import completion_model_info, model_info

    if completion_model is not None and not vig:
        raise InputError("--completion-model is for --vig; give both or neither.")
    inputs = find_inputs(paths)
    _check_out(out, inputs, vig)
    if model is not None:
        model_info(model)  # a misspelt name shows before a thousand images are checked
    if completion_model is not None:
        completion_model_info(completion_model)
    second = _Second(completion_model, device.value) if vig else None
    results: list[dict[str, Any]] = []
    try:
        run(_segment_all(inputs, out, model, device.value, threshold, min_size, fov_argument(fov), second, results))
    except Cancelled as error:
        if not results:
            raise
        raise Cancelled(f"Stopped; {len(results)} of {len(inputs)} images are finished in {out}.") from error
    lines = "\n".join(f"{r['mask']}  ({r['model']}, {r['vessel_percent']} % vessel)" for r in results)
    give({"results": results}, as_json, lines)


class _Second:
    """The completion models of one run: each is loaded once.

    Parameters
    ----------
    name : str or None
        The one to use; None for the one made for each image's modality.
    device : str
        Where to compute.
    """

    def __init__(self, name: str | None, device: str) -> None:
        self._name = name
        self._device = device
        self._completers: dict[str, Completer] = {}

    def check(self, item: "ImageInput", image: "VesselImage") -> None:
        """Raise InputError when there is no model for an image."""
        self._model(item, image)

    def complete(self, item: "ImageInput", image: "VesselImage", result: "Segmentation") -> "Job[Completion]":
        """Complete the probability of an image, or that of the segmenter the model was trained with."""
        from napari_vessel.segmentation.completer import Completer
        from napari_vessel.segmentation.registry import completion_model_info
        from napari_vessel.segmentation.segmenter import Segmenter

        info = completion_model_info(self._model(item, image))
        if info.name not in self._completers:
            self._completers[info.name] = Completer(info, self._device, Segmenter(info.segmenter, self._device))
        known = result.probability if result.model == info.segmenter else None
        return (yield from self._completers[info.name].predict(image, known))

    def _model(self, item: "ImageInput", image: "VesselImage") -> str:
        from napari_vessel.segmentation.registry import default_completion_model

        name = self._name or default_completion_model(image.modality)
        if name is None:
            raise InputError(
                f"{item.path}: there is no completion model for images of kind '{image.modality.value}'; "
                "name one with --completion-model, or give --no-vig."
            )
        return name


def _segment_all(
    inputs: Sequence["ImageInput"],
    out: Path,
    model: str | None,
    device: str,
    threshold: float | None,
    min_size: int | None,
    fov: str | Path,
    second: _Second | None,
    results: list[dict[str, Any]],
) -> Job[None]:
    from napari_vessel.images.reading import read_image

    # Everything is read once before anything is written: one bad file among a thousand shows now, not at noon.
    for number, item in enumerate(inputs):
        yield Progress(number, len(inputs), f"Checking {item.path.name}")
        image = read_image(item.path, plane=item.plane, fov=fov_of(item, fov))
        if second is not None:
            second.check(item, image)
    yield Progress(0, None, "Loading the model")
    from napari_vessel.segmentation.segmenter import Segmenter

    segmenter = Segmenter(model, device)
    for number, item in enumerate(inputs):
        label = f"{item.path.name} ({number + 1} of {len(inputs)})"
        yield Progress(number, len(inputs), label)
        image = read_image(item.path, plane=item.plane, fov=fov_of(item, fov))
        job = segmenter.predict(image, threshold=threshold, min_size=min_size)
        part = 1.0 if second is None else 0.5
        result = yield from as_share(job, number, part, len(inputs), label)
        completion = None
        if second is not None:
            completion = yield from as_share(
                second.complete(item, image, result), number + part, 1.0 - part, len(inputs), label
            )
        results.append(_write(item, image, result, completion, out, fov))


def _write(
    item: "ImageInput",
    image: "VesselImage",
    result: "Segmentation",
    completion: "Completion | None",
    out: Path,
    fov: str | Path,
) -> dict[str, Any]:
    from napari_vessel.images.writing import replacing

    out.mkdir(parents=True, exist_ok=True)
    files = {
        "record": out / f"{item.stem}.json",
        "probability": out / f"{item.stem}_probability.tif",
        "mask": out / f"{item.stem}_mask.png",
    }
    if completion is not None:
        files["completion"] = out / f"{item.stem}_completion.tif"
    begun = False
    try:
        with ExitStack() as stack:
            # They take their places when all are written: the first to come in, the record, is the last to do so.
            fresh = {what: stack.enter_context(replacing(path)) for what, path in files.items()}
            record = _write_files(item, image, result, completion, fresh, fov)
            begun = True
            files["record"].unlink(missing_ok=True)
    except BaseException:
        # Without its record a file is nobody's, and would be refused when the command is given again.
        for path in files.values() if begun else ():
            path.unlink(missing_ok=True)
        raise
    return {
        "input": str(item.path),
        "plane": item.plane,
        **{key: str(path) for key, path in files.items()},
        "model": record["model"],
        "completion_model": None if completion is None else completion.model,
        "vessel_percent": record["vessel_percent"],
    }


def _write_files(
    item: "ImageInput",
    image: "VesselImage",
    result: "Segmentation",
    completion: "Completion | None",
    files: Mapping[str, Path],
    fov: str | Path,
) -> dict[str, Any]:
    """Write what was found; returns what the record says."""
    from napari_vessel.images.writing import write_json, write_mask, write_probability
    from napari_vessel.version import __version__

    write_probability(files["probability"], result.probability)
    drawn = None
    if completion is not None:
        write_probability(files["completion"], completion.probability)
        drawn = {**completion.to_json(), "sha256": _sha256(files["completion"])}
    write_mask(files["mask"], result.mask)
    inside = result.mask if image.fov is None else result.mask[image.fov]
    record = {
        **result.to_json(),
        "completion": drawn,
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
    write_json(files["record"], record)
    return record


def fov_of(item: "ImageInput", fov: str | Path) -> str | Path:
    """Return ``"auto"``, ``"none"``, or the file in `fov` that belongs to the image."""
    from napari_vessel.images.inputs import match_file

    if isinstance(fov, str):
        return fov
    found = match_file(item.stem, fov, prefer=("fov", "mask"), exclude=item.path)
    if found is None:
        raise InputError(f"{fov} has no field-of-view file for {item.path.name}; add one or use --fov auto.")
    return found


def page_of(mask: Path, pages: Sequence["ImageInput"]) -> "ImageInput":
    """Return the page of a file that a mask named as ``segment`` names it (``STEM_p000_mask``) belongs to."""
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


def _check_out(out: Path, inputs: Sequence["ImageInput"], completed: bool) -> None:
    from napari_vessel.images.writing import check_folder

    place = next(one for one in (out.absolute(), *out.absolute().parents) if one.exists())
    if not place.is_dir():
        raise InputError(f"{place} is a file; name a folder after -o.")
    check_folder(place)
    sources = {item.path.resolve() for item in inputs}
    endings = ("_probability.tif", "_mask.png", ".json", *(("_completion.tif",) if completed else ()))
    for item in inputs:
        record = out / f"{item.stem}.json"
        earlier = _earlier_run(record)
        if earlier is not None and _is_of_another(earlier, item.path):
            raise InputError(
                f"{record} and its mask are of {earlier['input']['path']}, another image of this name; "
                "name another folder after -o."
            )
        for ending in endings:
            target = out / f"{item.stem}{ending}"
            if target.resolve() in sources:
                raise InputError(
                    f"{target} is one of the inputs and would be overwritten; name another folder after -o."
                )
            if target.is_dir():
                raise InputError(f"{target} is a folder, but a result goes there; name another folder after -o.")
            if target.exists() and (
                earlier is None or (ending == "_mask.png" and _sha256(target) != earlier["mask_sha256"])
            ):
                raise InputError(
                    f"{target} is there and was not made by segment, or was changed since; "
                    "name another folder after -o."
                )


def _earlier_run(record: Path) -> dict[str, Any] | None:
    """Return the record that an earlier run wrote, or None where there is none."""
    try:
        found = read_json(record)
        return found if isinstance(found["mask_sha256"], str) else None
    except (OSError, *MALFORMED):
        return None


def _is_of_another(earlier: Mapping[str, Any], image: Path) -> bool:
    """Whether a record is of another image: a file elsewhere that is still there, with other content."""
    try:
        path, digest = Path(earlier["input"]["path"]), earlier["input"]["sha256"]
        return path != image.resolve() and path.is_file() and _sha256(image) != digest
    except (OSError, *MALFORMED):
        return False


def check_file(out: Path, suffixes: Sequence[str], sources: Sequence[Path | None]) -> None:
    """Raise InputError unless a result can be written at `out` without harm to what it is made from."""
    from napari_vessel.images.writing import check_folder

    if out.suffix.lower() not in suffixes:
        raise InputError(f"{out} cannot be written: its name must end in {' or '.join(suffixes)}.")
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file after -o.")
    if not out.parent.is_dir():
        raise InputError(f"The folder {out.parent} does not exist; make it first.")
    check_folder(out.parent)
    check_no_input(out, sources)


def check_no_input(out: Path, sources: Sequence[Path | None]) -> None:
    """Raise InputError if a result at `out` would overwrite what it is made from."""
    if any(source is not None and source.resolve() == out.resolve() for source in sources):
        raise InputError(f"{out} is one of the inputs and would be overwritten; name another file after -o.")
