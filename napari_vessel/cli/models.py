"""Commands on models: list, info, verify."""

from typing import Annotated, Any

import typer

from napari_vessel.cli.terminal import AsJson, give

app = typer.Typer(
    help="See which models are here, what they were made from, and whether they are whole.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name from: napari-vessel models list.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the models in the package and in the user's folder."""
    from napari_vessel.segmentation.registry import list_models

    found = list_models()
    width = max((len(model.name) for model in found), default=0)
    lines = "\n".join(f"{model.name:<{width}}  {model.kind:<7}  {model.title}" for model in found)
    give({"models": [_facts(model) for model in found]}, as_json, lines or "No models.")


@app.command()
def info(name: Name, as_json: AsJson = False) -> None:
    """Show a model's facts and card."""
    from napari_vessel.segmentation.registry import model_info

    model = model_info(name)
    facts = _facts(model)
    lines = "\n".join(f"{key:<14} {value}" for key, value in facts.items())
    give({**facts, "card": model.card}, as_json, f"{lines}\n\n{model.card}".rstrip())


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One model; all of them by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a model's files against the checksums they were published with."""
    from napari_vessel.segmentation.registry import list_models, verify_model

    names = [model.name for model in list_models()] if name is None else [name]
    for each in names:
        verify_model(each)
    give({"verified": names}, as_json, "\n".join(f"{each}: ok" for each in names))


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
    }
