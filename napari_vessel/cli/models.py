"""Commands on models: list, info, verify, add."""

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_vessel.cli.terminal import AsJson, give

app = typer.Typer(
    help="See which models are here, what they were made from, and whether they are whole.", no_args_is_help=True
)

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
