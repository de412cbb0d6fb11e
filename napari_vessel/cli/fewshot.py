"""The command that makes a model from a few labelled images: fewshot."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from napari_vessel.cli.files import Device
from napari_vessel.cli.stopping import JsonProgress, parent_if, run_for, run_or_keep_best, typed
from napari_vessel.cli.terminal import AsJson, give
from napari_vessel.errors import InputError


class SeveralPerOption(TyperCommand):
    """A command whose repeatable options take several values at once: ``--images A B`` is ``--images A --images B``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the option again before each further value."""
        repeatable = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        spelt: list[str] = []
        last = ""
        for word in args:
            if word.startswith("-"):
                name = word.partition("=")[0]
                last = name if name in repeatable else ""
            elif last and spelt[-1] != last:
                spelt.append(last)
            spelt.append(word)
        return list(super().parse_args(ctx, spelt))


def fewshot(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Folder of the run; the model is DIR/NAME, a folder too.")
    ],
    images: Annotated[
        list[Path] | None,
        typer.Option("--images", metavar="FILE...", help="The labelled images, or a folder of them."),
    ] = None,
    masks: Annotated[
        list[Path] | None,
        typer.Option("--masks", metavar="FILE...", help="Their masks in the same order, or a folder of them."),
    ] = None,
    fov: Annotated[
        list[Path] | None,
        typer.Option(
            "--fov", metavar="FILE...", help="Their fields of view, likewise; by default they are found in the images."
        ),
    ] = None,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(
            "--unlabelled", metavar="DIR...", help="More images of the same kind: synthetic vessels are drawn on them."
        ),
    ] = None,
    modality: Annotated[
        str | None, typer.Option(metavar="M", help="fundus, octa, xray or twophoton; guessed by default.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; by default that of DIR.")] = None,
    network: Annotated[str, typer.Option(help="A network that segments, with random weights.")] = "unet",
    start: Annotated[
        str, typer.Option(metavar="MODEL", help="A model to begin with instead: its name, or its folder.")
    ] = "",
    steps: Annotated[int, typer.Option(min=1, help="Batches to train for, half of each synthetic.")] = 1500,
    synthetic: Annotated[int, typer.Option(min=0, help="Synthetic images to make; 0 trains without.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives other weights, crops and synthetic images.")] = 0,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    as_json: AsJson = False,
    json_progress: JsonProgress = False,
) -> None:
    """Make a model from five labelled images. Goes on where it stopped; without --images, with the images in DIR.

    Ctrl+C stops and makes the model from the best weights so far.
    """
    from napari_vessel.segmentation.registry import read_model
    from napari_vessel.training.fewshot import fewshot as fewshot_job
    from napari_vessel.training.preparing import RECORD

    parent = parent_if(json_progress)
    models: dict[str, Path] = {}
    if start and Path(start).is_dir():
        info = read_model(Path(start).resolve())
        start, models = info.name, {info.name: info.folder}
    if images:
        from napari_vessel.training.labelled import common_modality, read_labelled
        from napari_vessel.training.preparing import FewShot, check_name, prepare

        kind = _modality(modality)
        named = _name(name or out.resolve().name, name is not None)
        # Before the images are read, which takes a while.
        check_name(named)
        found = run_for(parent, read_labelled(images, masks or [], fov or [], kind))
        settings = FewShot(
            name=named,
            modality=common_modality(found),
            network=network,
            start=start,
            steps=steps,
            synthetic=synthetic,
            seed=seed,
        )
        run_for(parent, prepare(found, settings, out, unlabelled or [], models))
    elif masks or fov or unlabelled or not (out / RECORD).is_file():
        raise InputError("No labelled images are named; give them with --images and their masks with --masks.")
    else:
        _check_as_prepared(context)
    again = f"napari-vessel fewshot -o {typed(out)}"
    result = run_or_keep_best(parent, lambda further: fewshot_job(out, device.value, models, further), out, again)
    if parent is not None:
        parent.tell({"result": result})
        return
    lines = (
        f"{result['model']}: {result['steps']} steps in {result['seconds'] / 60:.0f} min, threshold "
        f"{result['threshold']}, smallest piece {result['min_size']} px at the working scale"
    )
    if result["stopped"]:
        lines += f"\nStopped: these are the best weights so far, and {again} goes on from there."
    give(result, as_json, lines)


def _check_as_prepared(context: typer.Context) -> None:
    """Raise InputError for options that a run which goes on would not heed."""
    for option in ("modality", "name", "network", "steps", "synthetic", "seed"):
        source = context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(
                f"--{option} is for a new run, and this one goes on as it was prepared; leave it out, or give --images "
                "and another folder."
            )


def _modality(name: str | None) -> Any:
    from napari_vessel.images.image import Modality
    from napari_vessel.training.labelled import TRAINABLE

    if name is None:
        return None
    if name not in TRAINABLE:
        raise InputError(f"There is no modality '{name}' to train for; choose one of {', '.join(TRAINABLE)}.")
    return Modality(name)


def _name(wanted: str, typed: bool) -> str:
    """Return what was typed, or a folder's name as far as a model may be called so."""
    if typed:
        return wanted
    return re.sub(r"[^a-z0-9._-]+", "-", wanted.lower()).strip("._-")[:64] or "model"
