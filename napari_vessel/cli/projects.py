"""Commands on project folders: project create, add, status, restore."""

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_vessel.cli.terminal import AsJson, Fov, count_of, fov_argument, give, run
from napari_vessel.errors import InputError
from napari_vessel.jobs import Job, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_vessel.images.inputs import ImageInput
    from napari_vessel.review.project import Project

app = typer.Typer(help="Make a project folder, add images to it, see how far it is.", no_args_is_help=True)


Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The project folder.")]
Masks = Annotated[
    Path | None, typer.Option(metavar="DIR|FILE", help="Masks to review: a folder with the images' names, or a file.")
]


@app.command()
def create(
    folder: Folder,
    paths: Annotated[list[Path] | None, typer.Argument(metavar="[PATH...]", help="Images to add.")] = None,
    masks: Masks = None,
    fov: Fov = "auto",
    name: Annotated[str, typer.Option(help="Name of the project; the folder's by default.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a new project, with images when some are given."""
    from napari_vessel.images.inputs import find_inputs

    inputs = find_inputs(paths, namesakes=_told_apart(masks, fov)) if paths else []
    place = folder.expanduser().absolute()
    _check_names(place, inputs)
    run(check_inputs(inputs, masks, fov))
    with new_project(place, name) as project:
        if inputs:
            run(project.add(inputs, masks, _fov(fov)))
        status_of = project.status()
    give(status_of, as_json, _table(status_of))


@app.command()
def add(
    folder: Folder,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images to add.")],
    masks: Masks = None,
    fov: Fov = "auto",
    as_json: AsJson = False,
) -> None:
    """Add images to a project. An image that is there already is not added again."""
    from napari_vessel.images.inputs import find_inputs
    from napari_vessel.review.project import Project

    inputs = find_inputs(paths, namesakes=_told_apart(masks, fov))
    _check_names(folder.expanduser(), inputs)
    with Project.open(folder) as project:
        run(project.add(inputs, masks, _fov(fov)))
        status_of = project.status()
    give(status_of, as_json, _table(status_of))


@app.command()
def restore(folder: Folder, as_json: AsJson = False) -> None:
    """Go back to the last good backup of a damaged project; the damaged file is kept under another name."""
    from napari_vessel.review.restoring import restore_project

    backup, kept = restore_project(folder)
    data = {"backup": str(backup), "kept": None if kept is None else str(kept)}
    text = f"{folder}: restored from {backup.name}" + ("" if kept is None else f"; what was there is now {kept.name}")
    give(data, as_json, text)


@app.command()
def status(folder: Folder, as_json: AsJson = False) -> None:
    """Show how many images are in which state, and what is left."""
    from napari_vessel.review.project import Project

    with Project.open(folder) as project:
        status_of = project.status()
    give(status_of, as_json, _table(status_of))


def _told_apart(masks: Path | None, fov: str) -> bool:
    """Return whether files of one name may be added together: not where a mask or a field is found by the name."""
    return masks is None and fov in ("auto", "none")


def _fov(fov: str) -> Any:
    return fov_argument(fov)


@contextmanager
def new_project(folder: Path, name: str = "") -> "Iterator[Project]":
    """Make a project, to be filled; it is gone again when that fails."""
    from napari_vessel.review.project import Project

    place = folder.expanduser().absolute()
    new = [one for one in (place / "masks", place / "images", place, *place.parents) if not one.exists()]
    empty = False
    try:
        with Project.create(place, name) as project:
            try:
                yield project
            except BaseException:
                empty = not project.images()
                raise
    finally:
        if empty:
            _take_back(place, new)


def _take_back(folder: Path, new: "Sequence[Path]") -> None:
    """Remove a project that was just made and has no images; of the folders made for it those that are empty."""
    from napari_vessel.review.backup import BACKUP_NAME
    from napari_vessel.review.lock import LOCK_NAME
    from napari_vessel.review.schema import DATABASE_NAME

    for name in (DATABASE_NAME, BACKUP_NAME, LOCK_NAME):
        (folder / name).unlink(missing_ok=True)
    for one in new:
        with suppress(OSError):
            one.rmdir()


def _check_names(folder: Path, inputs: "Sequence[ImageInput]") -> None:
    """Raise InputError for a file that a project cannot keep in mind, before a thousand others are read."""
    from napari_vessel.review.records import stored_path

    for item in inputs:
        stored_path(folder.resolve(), item.path)


def check_inputs(inputs: "Sequence[ImageInput]", masks: Path | None, fov: str) -> Job[None]:
    """Read everything once, so that a bad file leaves no half-made project behind."""
    from napari_vessel.cli.files import fov_of
    from napari_vessel.images.inputs import check_mask_file, match_file
    from napari_vessel.images.masks import read_mask
    from napari_vessel.images.reading import read_image

    if masks is not None and not masks.exists():
        raise InputError(f"{masks} does not exist; check the name.")
    if masks is not None:
        check_mask_file(masks, [item.path for item in inputs])
    owners: dict[Path, Path] = {}
    for number, item in enumerate(inputs):
        yield Progress(number, len(inputs), f"Checking {item.path.name}")
        image = read_image(item.path, plane=item.plane, fov=fov_of(item, fov_argument(fov)))
        file = None if masks is None else match_file(item.stem, masks, exclude=item.path)
        if file is None:
            continue
        if owners.setdefault(file, item.path) != item.path:
            raise InputError(
                f"{file.name} could be the mask of {item.stem} and of another image; name it after its image."
            )
        read_mask(file, image.shape, item.plane)


def _table(status_of: dict[str, Any]) -> str:
    states = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in status_of["states"].items() if count)
    verdicts = ", ".join(f"{count} {name}" for name, count in status_of["verdicts"].items() if count)
    unknown = status_of["gaps_unknown"]
    beside = f" ({count_of(unknown, 'image')} not looked at yet)" if unknown else ""
    lines = [
        f"{status_of['name']}  ({status_of['folder']})",
        f"images     {status_of['images']}" + (f": {states}" if states else ""),
        f"open gaps  {status_of['open_gaps']}{beside}",
        f"verdicts   {verdicts or 'none'}",
    ]
    if status_of["annotators"]:
        lines.append(f"annotators {', '.join(status_of['annotators'])}")
    return "\n".join(lines)
