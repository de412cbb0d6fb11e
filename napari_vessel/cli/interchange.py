"""The commands that take data sets out of a project, and into one: export and import."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_vessel.cli.projects import new_project
from napari_vessel.cli.terminal import AsJson, give, run
from napari_vessel.errors import InputError

if TYPE_CHECKING:
    from napari_vessel.review.agreement import Agreement
    from napari_vessel.review.project import Project


class Format(StrEnum):
    """What the export is for."""

    FOLDER = "folder"
    NNUNET = "nnunet"
    MONAI = "monai"
    COCO = "coco"
    OME_TIFF = "ome-tiff"
    OME_ZARR = "ome-zarr"


class Source(StrEnum):
    """How a data set lies."""

    AUTO = "auto"
    FOLDER = "folder"
    NNUNET = "nnunet"
    MONAI = "monai"
    COCO = "coco"
    OME_TIFF = "ome-tiff"
    OME_ZARR = "ome-zarr"


class Choice(StrEnum):
    """Which images to export, by state."""

    DONE = "done"
    IN_REVIEW = "in_review"
    SEGMENTED = "segmented"


class Ignored(StrEnum):
    """Which pixels not to learn from."""

    NONE = "none"
    UNSURE = "unsure"
    UNREVIEWED = "unreviewed"


class Taken(StrEnum):
    """How images were taken."""

    FUNDUS = "fundus"
    OCTA = "octa"
    XRAY = "xray"
    TWOPHOTON = "twophoton"
    OTHER = "other"


def export(
    folder: Annotated[Path, typer.Argument(metavar="PROJECT", help="The project folder.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="A new folder for the files; of nnunet, nnUNet_raw.")
    ],
    format_: Annotated[Format, typer.Option("--format", help="Layout of the files.")] = Format.FOLDER,
    states: Annotated[
        list[Choice] | None, typer.Option("--state", help="Images in this state; may be repeated.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES|FOLDS",
            help="By patient: shares of training, validation and test, such as 0.7,0.15,0.15, or a number of folds.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same images and seed give the same split.")] = 0,
    ignore: Annotated[
        Ignored, typer.Option(help="Pixels not to learn from: none, unsure ones, or unreviewed ones too.")
    ] = Ignored.UNSURE,
    licence: Annotated[str, typer.Option(help="What others may do with the data, for the manifest.")] = "",
    agreement: Annotated[
        Path | None,
        typer.Option(metavar="PROJECT", help="A second annotator's project: how far they agree, for the manifest."),
    ] = None,
    dataset_id: Annotated[
        int | None, typer.Option("--dataset-id", metavar="N", help="nnunet: number of the data set, 1 to 999.")
    ] = None,
    name: Annotated[str, typer.Option(help="nnunet: name of the data set; the project's by default.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the problems and write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write curated images, masks and a manifest, in a layout that others read."""
    from napari_vessel.export import check_project, export_project
    from napari_vessel.export.choice import exportable
    from napari_vessel.export.options import DEFAULT_ID, ExportOptions, Ignore
    from napari_vessel.export.splits import Split
    from napari_vessel.export.target import MANIFEST
    from napari_vessel.review.project import Project
    from napari_vessel.review.records import ImageState

    if format_ is not Format.NNUNET and (dataset_id is not None or name):
        raise InputError("--dataset-id and --name are of nnU-Net data sets; add --format nnunet, or leave them out.")
    if seed and split is None:
        raise InputError("--seed is of a split; add --split, or leave it out.")
    options = ExportOptions(
        states=tuple(ImageState(state.value) for state in states or [Choice.DONE]),
        licence=licence,
        ignore=Ignore(ignore.value),
        split=None if split is None else Split.parse(split, seed),
        dataset_id=DEFAULT_ID if dataset_id is None else dataset_id,
        name=name,
    )
    with Project.open(folder) as project:
        compared = None if agreement is None else _agreement(project, agreement)
        if dry_run:
            _tell_problems(run(check_project(project, out, format_.value, options)), format_.value, as_json)
            return
        notes: list[str] = []
        written = run(export_project(project, out, format_.value, options, compared, notes))
        count = len(exportable(project, options.states))
    data = {"output": str(written), "format": format_.value, "images": count, "notes": notes}
    done = f"{written}: {_images(count)} with masks and {MANIFEST}"
    give(data, as_json, "\n".join([*(f"note: {note}" for note in notes), done]))


def _tell_problems(problems: list[str], layout: str, as_json: bool) -> None:
    """Print what a dry run found; the exit code is 1 when there would be no export."""
    from napari_vessel.export.choice import Obstacle

    possible = not any(isinstance(problem, Obstacle) for problem in problems)
    lines = [f"{'error' if isinstance(problem, Obstacle) else 'note'}: {problem}" for problem in problems]
    found = "Nothing was written." if problems else "No problems found; nothing was written."
    refused = "Nothing was written, and an export would be refused: mend what is marked as error first."
    last = found if possible else refused
    give({"format": layout, "possible": possible, "notes": problems}, as_json, "\n".join([*lines, last]))
    if not possible:
        raise typer.Exit(1)


def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder of a data set.")],
    folder: Annotated[
        Path,
        typer.Option("--project", metavar="DIR", help="The project folder; one is made where there is none."),
    ],
    format_: Annotated[Source, typer.Option("--format", help="Layout of the files.")] = Source.AUTO,
    modality: Annotated[
        Taken | None, typer.Option(help="How the images were taken; as the manifest says, or guessed, by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, say what there is, change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take a data set into a project: this program's exports as they were, images and masks of others."""
    from napari_vessel.export import check_data, import_data
    from napari_vessel.images.image import Modality
    from napari_vessel.review.project import Project
    from napari_vessel.review.schema import DATABASE_NAME, is_project

    if is_project(path):
        raise InputError(f"{path} is a project already; open it with review.")
    arrived = run(check_data(path, format_.value, None if modality is None else Modality(modality.value)))
    data = {"format": arrived.layout, "images": len(arrived.images), "notes": list(arrived.notes)}
    notes = [f"note: {note}" for note in arrived.notes]
    if dry_run:
        found = f"{path}: {_images(len(arrived.images))} in the layout {arrived.layout}; nothing was changed."
        give(data, as_json, "\n".join([*notes, found]))
        return
    there = (folder.expanduser() / DATABASE_NAME).exists()
    with Project.open(folder) if there else new_project(folder) as project:
        before = len(project.images())
        run(import_data(project, arrived))
        added = len(project.images()) - before
    known = len(arrived.images) - added
    said = f"{folder}: {_images(added)} added" + (f", {known} there already" if known else "")
    give({**data, "project": str(folder), "added": added}, as_json, "\n".join([*notes, said]))


def _agreement(project: "Project", folder: Path) -> "Agreement":
    from napari_vessel.review.agreement import compare_projects
    from napari_vessel.review.project import Project

    if folder.expanduser().resolve() == project.folder:
        raise InputError(f"{folder} is the project itself; name a second annotator's.")
    with Project.open(folder) as other:
        return run(compare_projects(project, other))


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"
