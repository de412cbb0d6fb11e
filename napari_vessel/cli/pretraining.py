"""The command that learns from images without labels: pretrain."""

from pathlib import Path
from typing import Annotated

import typer

from napari_vessel.cli.files import Device
from napari_vessel.cli.terminal import AsJson, give, run
from napari_vessel.errors import Cancelled, InputError


def pretrain(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Folders of images without labels; of a public data set, its training images alone."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="DIR",
            help="Folder of the run, runs/pretrained-NETWORK by default.",
        ),
    ] = None,
    network: Annotated[
        str, typer.Option(metavar="NAME", help="Network to pre-train, at its usual width: vit_unet, unet, ...")
    ] = "",
    recipe: Annotated[
        str, typer.Option(metavar="RECIPE", help="The recipe to begin with it: its network, scale and modality.")
    ] = "",
    modality: Annotated[
        str, typer.Option(metavar="M", help="fundus, octa, xray or twophoton; guessed from the first image by default.")
    ] = "",
    working_diameter: Annotated[
        float | None,
        typer.Option(min=64, max=4096, help="Width of the field of view that the network sees, px."),
    ] = None,
    guided: Annotated[
        bool,
        typer.Option(
            "--guided/--random",
            help="Hide patches with vessels more and more often, and keep the anatomy; or plain masked modelling.",
        ),
    ] = True,
    steps: Annotated[int, typer.Option(min=1, help="Batches to train for.")] = 5000,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives other weights, crops and hidden patches.")] = 0,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    as_json: AsJson = False,
) -> None:
    """Pre-train an encoder on images without labels (VasoMIM). Goes on where it stopped when it is started again."""
    from napari_vessel.images.image import Modality
    from napari_vessel.training.labelled import TRAINABLE
    from napari_vessel.training.pretraining.images import find_unlabelled, guess_modality_of
    from napari_vessel.training.pretraining.running import pretrain as pretrain_job
    from napari_vessel.training.pretraining.settings import WORKING_DIAMETER, PreTrain
    from napari_vessel.training.recipe import NetworkRecipe
    from napari_vessel.training.recipe_reading import read_recipe

    if modality and modality not in TRAINABLE:
        raise InputError(f"There is no modality '{modality}' to train for; choose one of {', '.join(TRAINABLE)}.")
    if recipe and (network or modality or working_diameter is not None):
        raise InputError("A recipe says which network, scale and modality; leave these options out.")
    files = find_unlabelled(folders)
    if recipe:
        found = read_recipe(recipe)
        kind, chosen = Modality(found.modality), found.network
    else:
        kind = Modality(modality) if modality else guess_modality_of(files)
        channels = 3 if kind is Modality.FUNDUS else 1
        scale = WORKING_DIAMETER.get(kind, 512.0) if working_diameter is None else working_diameter
        chosen = NetworkRecipe(network or "vit_unet", in_channels=channels, working_diameter=scale)
    target = Path("runs") / f"pretrained-{chosen.name}" if out is None else out
    settings = PreTrain(kind, chosen, steps, seed, guided=guided, consistency=float(guided))
    try:
        result = run(pretrain_job(files, settings, target, device.value))
    except Cancelled as error:
        raise Cancelled(
            f"Stopped; what was reached is in '{target}', and the same command goes on from there."
        ) from error
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in result["figures"].items())
    of = ", ".join(result["data_sets"])
    lines = f"{result['encoder']}: {result['steps']} steps on {result['images']} images ({of}); {figures}"
    give(result, as_json, lines)
