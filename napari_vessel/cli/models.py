"""Commands on models: list, info, verify, add; and on those of a project: history, promote, rollback."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_vessel.cli.terminal import AsJson, give
from napari_vessel.errors import InputError

if TYPE_CHECKING:
    from napari_vessel.review.version_records import Version

app = typer.Typer(
    help="See which models are here, what they were made from, and whether they are whole.", no_args_is_help=True
)

ProjectFolder = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project folder.")]
Note = Annotated[str, typer.Option(metavar="TEXT", help="A note, kept with the version.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; the user's name by default.")]
Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="One model; all of them by default.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the models in the package and in the user's folder."""
    from napari_vessel.segmentation.registry import usable_models

    found = usable_models()
    width = max((len(model.name) for model in found), default=0)
    lines = "\n".join(f"{model.name:<{width}}  {model.kind:<10}  {model.title}" for model in found)
    give({"models": [_facts(model) for model in found]}, as_json, lines or "No models.")


@app.command()
def info(name: Name = None, as_json: AsJson = False) -> None:
    """Show a model's facts and card."""
    from napari_vessel.segmentation.registry import model_info, model_names

    found = [model_info(each) for each in (model_names() if name is None else [name])]
    described = [{**_facts(model), "card": model.card} for model in found]
    texts = []
    for model in found:
        lines = "\n".join(f"{key:<14} {value}" for key, value in _facts(model).items())
        texts.append(f"{lines}\n\n{model.card}".rstrip())
    give({"models": described} if name is None else described[0], as_json, "\n\n".join(texts))


@app.command()
def verify(name: Name = None, as_json: AsJson = False) -> None:
    """Check a model's files against the checksums they were published with."""
    from napari_vessel.segmentation.loading import verify_model
    from napari_vessel.segmentation.registry import model_names

    names = model_names() if name is None else [name]
    for each in names:
        verify_model(each)
    give({"verified": names}, as_json, "\n".join(f"{each}: ok" for each in names))


@app.command()
def add(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The model's folder, one just trained for instance.")
    ],
    as_json: AsJson = False,
) -> None:
    """Copy a model into the user's folder, so that it is offered wherever a model is chosen."""
    from napari_vessel.segmentation.registry import install_model

    found = install_model(folder.resolve())
    give(_facts(found), as_json, f"{found.name}: in {found.folder}")


@app.command()
def history(folder: ProjectFolder, as_json: AsJson = False) -> None:
    """List the versions of a project's model: where each came from, what the gate said, which is in use (*)."""
    from napari_vessel.review.project import Project

    with Project.open(folder) as project:
        found = project.versions.history()
    lines = "\n".join(_line(version) for version in found)
    give({"versions": [version.to_json() for version in found]}, as_json, lines or "No model was trained here yet.")


@app.command()
def promote(
    folder: ProjectFolder,
    number: Annotated[
        int | None, typer.Argument(metavar="[NUMBER]", help="Of the version; the newest candidate by default.")
    ] = None,
    note: Note = "",
    by: By = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also when the gate has refused it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version the project's model, and offer it wherever a model is chosen."""
    from napari_vessel.review.project import Project
    from napari_vessel.review.version_records import VersionState

    with Project.open(folder) as project:
        if number is None:
            waiting = [one.number for one in project.versions.history() if one.state is VersionState.CANDIDATE]
            if not waiting:
                raise InputError(f"{folder} has no version that waits for a decision; give a number of its history.")
            number = waiting[-1]
        found = project.versions.promote(number, _person(by), note, anyway)
    give(found.to_json(), as_json, f"{folder}: its model is version {found.number}, {found.name}")


@app.command()
def rollback(
    folder: ProjectFolder,
    to: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Version to return to; the one before by default.")
    ] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="A note, kept with the version that is left.")] = "",
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Return to an older model of a project."""
    from napari_vessel.review.project import Project

    with Project.open(folder) as project:
        found = project.versions.rollback(to, _person(by), note)
    give(found.to_json(), as_json, f"{folder}: its model is version {found.number}, {found.name}, again")


def _person(by: str | None) -> str:
    from napari_vessel.review.lock import user_name

    return user_name() if by is None else by


def _line(version: "Version") -> str:
    parent = "" if version.parent is None else f"from {version.parent}"
    mark = "*" if version.current else " "
    head = (
        f"{mark}{version.number:>3}  {version.state.value:<11}  {version.made[:16].replace('T', ' ')}  {version.name}"
    )
    told = [f"{' ' * 6}{line}" for line in (version.sentence, *version.notes.splitlines()) if line]
    return "\n".join([f"{head}  {parent}".rstrip(), *told])


def _facts(model: Any) -> dict[str, Any]:
    return {
        "name": model.name,
        "title": model.title,
        "kind": model.kind,
        "version": model.version,
        "modalities": [str(modality) for modality in model.modalities],
        "licence": model.licence,
        "working_scale": dict(model.working_scale),
        "threshold": model.threshold,
        "min_size": model.min_size,
        "parameters": model.parameters,
        "sha256": model.sha256,
        "folder": str(model.folder) if model.folder else None,
        **({"segmenter": model.segmenter} if model.kind == "completion" else {}),
    }
