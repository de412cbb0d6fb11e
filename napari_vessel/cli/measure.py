"""The command that measures masks, and the images of a project before and after review."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_vessel.cli.files import check_file, page_of
from napari_vessel.cli.terminal import AsJson, count_of, give, run
from napari_vessel.errors import InputError
from napari_vessel.jobs import Job, as_share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_vessel.images.inputs import ImageInput
    from napari_vessel.topology.measurement import Regions
    from napari_vessel.topology.measurement.tables import Measured

QUADRANTS = "quadrants"

_SHOWN = (
    "vessel_area_density", "skeleton_length", "calibre_median", "tortuosity_distance", "bifurcations", "ends",
)  # fmt: skip


def measure(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="MASK...|PROJECT", help="Mask files and folders of masks, or one project folder."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.csv", help="Where to write the table.")],
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", metavar="DIR|FILE", help="Images of the masks: for the field of view and the size of a pixel."
        ),
    ] = None,
    fov: Annotated[
        Path | None,
        typer.Option("--fov", metavar="DIR|FILE", help="Fields of view; without these and images, all counts."),
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(metavar="Y,X", help="Size of a pixel in micrometres, one number or two; lengths are then in um."),
    ] = None,
    segments: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write a table of the segments, too.")
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(
            metavar="quadrants|FILE", help="Measure parts, too: quarters, or each value of an image of whole numbers."
        ),
    ] = None,
    disc: Annotated[
        str | None,
        typer.Option(metavar="Y,X,RADIUS", help="Measure zones A, B and C around an optic disc, too; in px."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure masks: density, length, calibre, tortuosity, branching, ends and fractal dimension.

    Of a project each image is measured before its review and after, with the interval that its unsure proposals leave.
    """
    from napari_vessel.review.schema import DATABASE_NAME
    from napari_vessel.topology.measurement.tables import figure_rows, write_tables

    place = None if regions in (None, QUADRANTS) else Path(str(regions))
    for file in (out, segments):
        if file is not None:
            check_file(file, (".csv",), (*paths, image, fov, place))
    if segments is not None and segments.resolve() == out.resolve():
        raise InputError("The two tables have one name; give --segments another one.")
    parts = None if regions is None and disc is None else _regions_of(regions, _numbers(disc, "--disc", (3,)))
    size = _numbers(spacing, "--spacing", (1, 2))
    if len(paths) == 1 and (paths[0] / DATABASE_NAME).exists():
        if image is not None or fov is not None or size is not None:
            raise InputError("A project knows its images, fields of view and pixel sizes; leave these options out.")
        measured, fieldless = run(_of_project(paths[0], parts)), 0
    else:
        measured, fieldless = run(_of_files(paths, image, fov, None if size is None else (size[0], size[-1]), parts))
    write_tables(out, measured, segments)
    rows = figure_rows(measured)
    data = {
        "output": str(out),
        "segments": None if segments is None else str(segments),
        "without_field_of_view": fieldless,
        "measurements": rows,
    }
    notes = []
    if size is not None and size[0] != size[-1]:
        # 12,5 is one number in many languages, and two here.
        notes.append(f"size of a pixel: {size[0]:g} um down (Y), {size[-1]:g} um across (X)")
    if fieldless and image is None:
        notes.append("field of view: none given: the whole image counts; give --image or --fov")
    elif fieldless:
        notes.append(f"field of view: none found for {fieldless} of {len(measured)}: there the whole image counts")
    give(data, as_json, "\n".join([_table(out, rows), *notes]))


def _of_project(folder: Path, regions: "Callable[[tuple[int, int]], Regions] | None") -> "Job[list[Measured]]":
    from napari_vessel.review.measuring import measuring_project
    from napari_vessel.review.project import Project

    with Project.open(folder) as project:
        found = yield from measuring_project(project, regions)
    if not found:
        raise InputError(f"No image of {folder} has a mask yet; segment them first.")
    return [row for record, reviewed in found for row in reviewed.rows(record.name)]


def _of_files(
    paths: Sequence[Path],
    image: Path | None,
    fov: Path | None,
    spacing: tuple[float, float] | None,
    regions: "Callable[[tuple[int, int]], Regions] | None",
) -> "Job[tuple[list[Measured], int]]":
    """Measure masks in files; return the figures, and for how many no field of view is known."""
    from napari_vessel.images.inputs import find_inputs
    from napari_vessel.images.masks import read_mask
    from napari_vessel.topology.evaluation.pairs import find_beside, image_name
    from napari_vessel.topology.measurement import measuring
    from napari_vessel.topology.measurement.tables import Measured

    inputs = [item for item in find_inputs(paths) if not item.stem.casefold().endswith(("_probability", "_completion"))]
    if not inputs:
        raise InputError(f"{paths[0]} holds probabilities only; give the masks, STEM_mask.png.")
    masks = [item.path for item in inputs]
    absent = [None] * len(masks)
    images = absent if image is None else find_beside(masks, image, ("", "_image"), "image")
    fields = absent if fov is None else find_beside(masks, fov, ("_fov", "_mask", ""), "field of view")
    if image is not None and image.is_file() and len(set(masks)) > 1:
        raise InputError(f"One image, {image}, was given for {len(set(masks))} masks; give a folder.")
    found, fieldless = [], 0
    for number, item in enumerate(inputs):
        mask = read_mask(item.path, plane=item.plane)
        shape = (int(mask.labels.shape[0]), int(mask.labels.shape[1]))
        field, size = _field_and_size(item, shape, images[number], fields[number])
        fieldless += field is None
        parts = None if regions is None else regions(shape)
        # A file's name need not be text; a table is.
        name = (image_name(item.path) if item.plane is None else item.stem).encode("utf-8", "backslashreplace").decode()
        label = f"{name} ({number + 1} of {len(inputs)})"
        job = measuring(mask.mask, field, spacing or size, parts)
        measurements = yield from as_share(job, number, 1, len(inputs), label)
        found.append(Measured(name, "mask", measurements))
    return found, fieldless


def _field_and_size(
    mask: "ImageInput", shape: tuple[int, int], image: Path | None, fov: Path | None
) -> "tuple[NDArray[np.bool_] | None, tuple[float, float] | None]":
    """Return the field of view of a mask, and the size of a pixel, where they are known."""
    from napari_vessel.images.fov import read_fov
    from napari_vessel.images.reading import read_image

    field = None if fov is None else read_fov(fov, shape, _page_in(fov, mask))
    if image is None:
        return field, None
    picture = read_image(image, plane=_page_in(image, mask), fov="none" if fov is not None else "auto")
    if picture.shape != shape:
        height, width = picture.shape
        raise InputError(
            f"The image {image} is {height} x {width} px and its mask {shape[0]} x {shape[1]} px (height x width); "
            "give the image that belongs to the mask."
        )
    return (picture.fov if field is None else field), picture.spacing


def _page_in(file: Path, mask: "ImageInput") -> int | None:
    """Return the page of a file that a mask belongs to: its own number, or the one in its name."""
    from napari_vessel.images.inputs import find_inputs

    return page_of(mask.path, find_inputs([file])).plane if mask.plane is None else mask.plane


def _regions_of(regions: str | None, disc: Sequence[float] | None) -> "Callable[[tuple[int, int]], Regions]":
    from napari_vessel.topology.measurement import quadrants, read_regions, zones

    def of(shape: tuple[int, int]) -> "Regions":
        found: dict[str, NDArray[np.bool_]] = {}
        if regions == QUADRANTS:
            found |= quadrants(shape)
        elif regions is not None:
            found |= read_regions(Path(regions), shape)
        if disc is not None:
            found |= zones(shape, (disc[0], disc[1]), disc[2])
        return found

    return of


def _numbers(text: str | None, option: str, counts: Sequence[int]) -> list[float] | None:
    if text is None:
        return None
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in counts:
        wanted = " or ".join(str(count) for count in counts)
        raise InputError(f"{option} is '{text}'; give {wanted} numbers, separated by commas.")
    return found


def _table(out: Path, rows: Sequence[dict[str, Any]]) -> str:
    """Return the first figures of the whole images as lines for a person."""
    from napari_vessel.topology.measurement import FIGURES
    from napari_vessel.topology.measurement.tables import WHOLE

    whole = [row for row in rows if row["region"] == WHOLE]
    named = {figure.name: figure for figure in FIGURES}
    width = max(len(row["image"]) for row in whole)
    lines = []
    for row in whole:
        told = []
        for name in _SHOWN:
            value, unit = row[name], named[name].unit(row["unit"])
            # Four digits tell enough, and no powers of ten.
            number = "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
            told.append(f"{named[name].title}: {number}" + (f" {unit}" if unit and value is not None else ""))
        lines.append(f"{row['image']:<{width}}  {row['mask']:<6}  " + "; ".join(told))
    if whole[0]["mask"] == "before":
        return "\n".join([*lines, f"{out}: {count_of(len(whole) // 2, 'image')} measured, before and after"])
    return "\n".join([*lines, f"{out}: {count_of(len(whole), 'mask')} measured"])
