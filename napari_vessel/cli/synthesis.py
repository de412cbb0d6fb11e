"""The command that makes images with exact truth: synthesize."""

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_vessel.cli.terminal import AsJson, give, run
from napari_vessel.errors import InputError
from napari_vessel.jobs import Job, Progress

if TYPE_CHECKING:
    from napari_vessel.images.image import Modality
    from napari_vessel.synthesis.engine import Background, Likeness, SyntheticImage

FOLDERS = ("images", "masks", "fov", "hidden")


class Kind(StrEnum):
    """What can be imitated."""

    FUNDUS = "fundus"
    OCTA = "octa"
    XRAY = "xray"
    TWOPHOTON = "twophoton"


def synthesize(
    modality: Annotated[Kind, typer.Option(help="What to imitate.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="A new or empty folder for the images.")],
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many images.")] = 10,
    like: Annotated[
        Path | None,
        typer.Option(metavar="MASKS_DIR", help="Real masks, which the vessels follow; fields of view in ../fov count."),
    ] = None,
    backgrounds: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Real images to draw on, vessels taken out of them: by their mask in --like, or as seen.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first image; each further one has the next.")] = 0,
    size: Annotated[
        str | None, typer.Option(metavar="HEIGHTxWIDTH", help="In pixels; by default as the masks or backgrounds.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make images with exact truth: writes images/, masks/, fov/, hidden/ and manifest.json, whole or not at all."""
    from napari_vessel.images.image import Modality

    shape = None
    if size is not None:
        given = re.fullmatch(r"([0-9]{1,5})\s*[xX×]\s*([0-9]{1,5})", size.strip())
        if given is None:
            raise typer.BadParameter(f"'{size}' is no size; give height and width as in 512x512")
        shape = (int(given[1]), int(given[2]))
    target = out.expanduser().resolve()
    _check_target(out, target, (like, backgrounds))
    manifest = run(_make(Modality(modality.value), count, seed, shape, like, backgrounds, target))
    words = f"{count} image{'' if count == 1 else 's'}, seeds {seed} to {seed + count - 1}"
    data = {"output": str(out), "manifest": str(out / "manifest.json"), "images": len(manifest["images"])}
    give(data, as_json, f"{out}: {words}; how they were made: {out / 'manifest.json'}")


def _check_target(out: Path, target: Path, sources: tuple[Path | None, ...]) -> None:
    if target.exists() and not target.is_dir():
        raise InputError(f"{out} is a file; name a folder after -o.")
    for source in sources:
        # Before the folder is found not to be empty: this says why.
        if source is not None and source.exists() and target in (source.resolve(), *source.resolve().parents):
            raise InputError(f"{out} holds the input {source}; name another folder after -o.")
    if target.is_dir() and any(target.iterdir()):
        raise InputError(f"{out} is not empty; name a new or empty folder after -o.")


def _make(
    modality: "Modality",
    count: int,
    seed: int,
    shape: tuple[int, int] | None,
    like: Path | None,
    backgrounds: Path | None,
    out: Path,
) -> Job[dict[str, Any]]:
    from napari_vessel.export.target import building, put_in_place
    from napari_vessel.images.writing import write_json
    from napari_vessel.synthesis.engine import synthesize
    from napari_vessel.version import __version__

    likeness = yield from _read_masks(like)
    grounds = yield from _read_backgrounds(backgrounds, like, modality)
    entries = []
    with building(out, FOLDERS) as folder:
        for number in range(count):
            yield Progress(number, count, f"Image {number + 1} of {count}")
            made = synthesize(modality, seed + number, shape=shape, like=likeness, backgrounds=grounds)
            entries.append(_write(folder, f"{modality.value}_{seed + number:05d}", seed + number, made))
        if not any((folder / "fov").iterdir()):
            (folder / "fov").rmdir()
        manifest = {
            "kind": "napari-vessel synthetic images",
            "program": f"napari-vessel {__version__}",
            "arguments": {
                "modality": modality.value,
                "count": count,
                "seed": seed,
                "size": None if shape is None else list(shape),
                "like": None if like is None else str(like),
                "backgrounds": None if backgrounds is None else str(backgrounds),
            },
            "masks": "255 is vessel: every one that is there, also where it cannot be seen",
            "hidden": "255 is vessel that is there but cannot be seen",
            "ends": "(y, x) px where a vessel really ends and goes on beyond",
            "images": entries,
        }
        write_json(folder / "manifest.json", manifest)
        yield Progress(count, count, "Putting the folder in place")
        put_in_place(folder, out)
    return manifest


def _read_masks(like: Path | None) -> Job["Likeness | None"]:
    if like is None:
        return None
    from napari_vessel.images.fov import read_fov
    from napari_vessel.images.inputs import find_inputs, match_file
    from napari_vessel.images.masks import read_mask
    from napari_vessel.synthesis.engine import Likeness

    inputs = find_inputs([like])
    fields = like.parent / "fov" if like.is_dir() else like.parent.parent / "fov"
    masks, fovs = [], []
    for number, item in enumerate(inputs):
        yield Progress(number, len(inputs), f"Reading {item.path.name}")
        mask = read_mask(item.path, plane=item.plane).mask
        if not mask.any():
            raise InputError(f"{item.path} shows no vessel; take it out of {like}, or draw its vessels.")
        found = match_file(item.stem, fields, prefer=("fov", "mask")) if fields.is_dir() else None
        masks.append(mask)
        fovs.append(None if found is None else read_fov(found, (mask.shape[0], mask.shape[1]), item.plane))
    return Likeness.of(masks, fovs)


def _read_backgrounds(folder: Path | None, like: Path | None, modality: "Modality") -> Job[list["Background"]]:
    if folder is None:
        return []
    from napari_vessel.images.inputs import find_inputs, match_file
    from napari_vessel.images.masks import read_mask
    from napari_vessel.images.reading import read_image
    from napari_vessel.synthesis.engine import Background

    grounds = []
    inputs = find_inputs([folder])
    for number, item in enumerate(inputs):
        yield Progress(number, len(inputs), f"Taking the vessels out of {item.path.name}")
        image = read_image(item.path, plane=item.plane, modality=modality)
        own = match_file(item.stem, like, exclude=item.path) if like is not None and like.is_dir() else None
        vessels = None if own is None else read_mask(own, image.shape, plane=item.plane).mask
        grounds.append(Background.of(image, vessels))
    return grounds


def _write(folder: Path, stem: str, seed: int, made: "SyntheticImage") -> dict[str, Any]:
    import cv2
    import numpy as np

    from napari_vessel.images.writing import replacing, write_mask

    name = f"{stem}.png"
    values = np.rint(made.image.pixels * 255).astype(np.uint8)
    if values.ndim == 3:
        values = np.ascontiguousarray(values[..., ::-1])  # OpenCV takes colours as blue, green, red
    with replacing(folder / "images" / name) as temporary:
        temporary.write_bytes(cv2.imencode(".png", values)[1].tobytes())
    write_mask(folder / "masks" / name, made.truth)
    write_mask(folder / "hidden" / name, made.hidden)
    if made.image.fov is not None:
        write_mask(folder / "fov" / name, made.image.fov)
    return {
        "image": f"images/{name}",
        "mask": f"masks/{name}",
        "hidden": f"hidden/{name}",
        "fov": None if made.image.fov is None else f"fov/{name}",
        "seed": seed,
        "content_hash": made.image.content_hash,
        "ends": np.round(made.ends, 2).tolist(),
    }
