"""The command that trains: train."""

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_vessel.cli.files import Device
from napari_vessel.cli.terminal import AsJson, give, run
from napari_vessel.errors import Cancelled


def train(
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE.toml...",
            help="Recipes, or names of those that come with the package; a later one may build on an earlier one.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Folder that holds the data sets' folders; by default the recipe's own."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="DIR",
            help="Folder for checkpoint, log and model, runs/NAME by default; of several recipes each gets DIR/NAME.",
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    as_json: AsJson = False,
) -> None:
    """Train a network. Goes on where it stopped when it is started again; test images are never read."""
    import logging

    from napari_vessel.training.recipe_reading import read_recipe
    from napari_vessel.training.train import train as train_job

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # A mistake in the last recipe shows before the first is trained.
    wanted = [(text, read_recipe(text)) for text in recipes]
    results: list[dict[str, Any]] = []
    models: dict[str, Path] = {}
    for text, recipe in wanted:
        folder = (Path(text).parent if Path(text).is_file() else Path()) if data is None else data
        target = Path("runs") if out is None else out
        if out is None or len(wanted) > 1:
            target = target / recipe.name
        try:
            result = run(train_job(recipe, folder, target, device.value, models))
        except Cancelled as error:
            raise Cancelled(
                f"Stopped; what was reached is in '{target}', and the same command goes on from there."
            ) from error
        models[recipe.name] = Path(result["model"])
        results.append(result)
    lines = "\n".join(
        f"{result['model']}: {result['steps']} steps in {result['seconds'] / 60:.0f} min, "
        f"threshold {result['threshold']}, smallest component {result['min_size']} px at the working scale"
        for result in results
    )
    give({"results": results}, as_json, lines)
