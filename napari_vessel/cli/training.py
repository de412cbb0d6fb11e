"""The command that trains: train."""

from pathlib import Path
from typing import Annotated

import typer

from napari_vessel.cli.files import Device
from napari_vessel.cli.terminal import AsJson, give, run
from napari_vessel.errors import Cancelled


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE.toml", help="A recipe, or the name of one that comes with the package.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Folder that holds the data sets' folders; by default the recipe's own."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="Folder for checkpoint, log and model; runs/NAME by default."),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    as_json: AsJson = False,
) -> None:
    """Train a network. Goes on where it stopped when it is started again; test images are never read."""
    import logging

    from napari_vessel.training.recipe import read_recipe
    from napari_vessel.training.train import train as train_job

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    wanted = read_recipe(recipe)
    folder = (Path(recipe).parent if Path(recipe).is_file() else Path()) if data is None else data
    target = Path("runs") / wanted.name if out is None else out
    try:
        result = run(train_job(wanted, folder, target, device.value))
    except Cancelled as error:
        raise Cancelled(
            f"Stopped; what was reached is in '{target}', and the same command goes on from there."
        ) from error
    lines = (
        f"{result['model']}: {result['steps']} steps in {result['seconds'] / 60:.0f} min, "
        f"threshold {result['threshold']}, smallest component {result['min_size']} px at the working scale"
    )
    give(result, as_json, lines)
