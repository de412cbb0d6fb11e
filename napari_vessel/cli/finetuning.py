"""The command that fine-tunes a model on the decisions of a project: finetune."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_vessel.cli.files import Device
from napari_vessel.cli.stopping import JsonProgress, parent_if, run_for, run_or_keep_best, typed
from napari_vessel.cli.terminal import AsJson, give
from napari_vessel.errors import InputError, ProjectError
from napari_vessel.training.finetuning.settings import IMAGES, STEPS

if TYPE_CHECKING:
    from napari_vessel.cli.parent import Parent


def finetune(
    project: Annotated[
        Path | None,
        typer.Argument(metavar="[PROJECT]", help="The project folder; without it, the run in --out goes on, alone."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            metavar="DIR",
            help="images/ and masks/ of what the model knows, to rehearse instead of synthetic images.",
        ),
    ] = None,
    start: Annotated[
        str, typer.Option(metavar="MODEL", help="The model to begin with; by default the project's own.")
    ] = "",
    steps: Annotated[int, typer.Option(min=1, help="Batches to train for at most, half of each rehearsal.")] = STEPS,
    rehearsal: Annotated[int, typer.Option(min=1, help="Synthetic images to rehearse.")] = IMAGES,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives other crops and synthetic images.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="RUN", help="Folder of the run; one that is there goes on as it was prepared."
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    as_json: AsJson = False,
    json_progress: JsonProgress = False,
) -> None:
    """Fine-tune a project's model on what was decided in it, and let the guard images say whether it takes over.

    Goes on where it stopped. Ctrl+C stops and judges the best weights so far.
    """
    from napari_vessel.training.finetuning.folders import RECORD

    parent = parent_if(json_progress)
    if out is None or not (out / RECORD).is_file():
        if project is None:
            raise InputError("No project is named; give its folder, or with --out a run that was prepared.")
        out = _prepare(parent, project, base, out, start, {"steps": steps, "rehearsal": rehearsal, "seed": seed})
    elif project is not None:
        _check_project(project, out)
    from napari_vessel.training.finetuning.running import finetune as finetune_job

    run_folder = out
    again = f"napari-vessel finetune {'' if project is None else f'{typed(project)} '}-o {typed(out)}"
    result = run_or_keep_best(
        parent, lambda further: finetune_job(run_folder, device.value, further), run_folder, again
    )
    told = {**result, "run": str(out)}
    lines = result["decision"]["sentence"]
    if project is not None:
        version = _register(project, result, again)
        told["version"] = version
        if version is not None:
            lines = f"Version {version['number']}, {version['name']}: {version['state']}. {lines}"
    if parent is not None:
        parent.tell({"result": told})
        return
    if result["stopped"]:
        best = ": these are the best weights so far" if result.get("learnt", True) else ""
        lines += f"\nStopped{best}, and {again} goes on from there."
    give(told, as_json, lines)


def _check_project(folder: Path, out: Path) -> None:
    """Raise an error before the training, not after it, when its model could not be added to a project."""
    from napari_vessel.review.project import Project
    from napari_vessel.training.finetuning.preparing import read_record

    told = {entry["content_hash"]: entry["guard"] for entry in read_record(out)["images"]}
    with Project.open(folder) as project:
        sides = project.guards.sides()
    if any(content not in sides or sides[content].guard != guard for content, guard in told.items()):
        raise InputError(
            f"The run in '{out}' learns from images of another project than '{folder}', or from its guards; name that "
            "project, or another folder for the run."
        )


def _prepare(
    parent: "Parent | None", folder: Path, base: Path | None, out: Path | None, start: str, numbers: dict[str, int]
) -> Path:
    """Keep what a project teaches in the folder of a run, and return that."""
    from napari_vessel.review.project import Project
    from napari_vessel.training.finetuning.projects import prepare_run

    with Project.open(folder) as project:
        return run_for(parent, prepare_run(project, numbers, base, start, out))


def _register(folder: Path, result: dict[str, Any], again: str) -> dict[str, Any] | None:
    """Add the version to the project, and promote it when the gate says so; none where nothing was learnt."""
    from napari_vessel.review.project import Project
    from napari_vessel.training.finetuning.projects import register

    try:
        with Project.open(folder) as project:
            version = register(project, result)
            if version is None:
                return None
            return {"number": version.number, "name": version.name, "state": version.state.value}
    except ProjectError as error:
        raise ProjectError(f"{error} The model is made, and {again} adds it to the project later.") from error
