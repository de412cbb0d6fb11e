"""Recipes as they are read: from a file, or one that comes with the package, every entry checked."""

from __future__ import annotations

import math
import tomllib
from dataclasses import MISSING, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from napari_vessel.errors import InputError
from napari_vessel.networks import NETWORKS
from napari_vessel.segmentation.registry import NAME
from napari_vessel.training.datasets import DATA_SETS
from napari_vessel.training.recipe import OWN, SYNTHETIC, Recipe
from napari_vessel.training.terms import FORMER, check_loss, in_range
from napari_vessel.training.topomask import check_topomask
from napari_vessel.untrusted import MALFORMED, read_text, shortened


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files("napari_vessel.training") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    path : Path or str
        A TOML file, or the name of a recipe that comes with the package.

    Raises
    ------
    InputError
        If it cannot be read, or an entry is unknown, missing or out of range.
    """
    text = str(path)
    shipped = shipped_recipes()
    try:
        if text in shipped and not Path(text).is_file():
            content = (resources.files("napari_vessel.training") / "recipes" / f"{text}.toml").read_text("utf-8")
        else:
            content = read_text(Path(path), 1_000_000)
    except FileNotFoundError as error:
        raise InputError(f"There is no recipe '{text}'; give a TOML file or one of {', '.join(shipped)}.") from error
    except (OSError, *MALFORMED) as error:
        raise InputError(f"The recipe '{text}' cannot be read ({shortened(error)}); correct it.") from error
    return parse_recipe(content, text)


def parse_recipe(content: str, name: str) -> Recipe:
    """Return a recipe from its text.

    Parameters
    ----------
    content : str
        TOML.
    name : str
        Where it is from, for messages.

    Raises
    ------
    InputError
        If it cannot be read, or an entry is unknown, missing or out of range.
    """
    try:
        found = tomllib.loads(content)
    except MALFORMED as error:
        raise InputError(f"The recipe '{name}' cannot be read ({shortened(error)}); correct it.") from error
    try:
        recipe: Recipe = _build(Recipe, found, "")
        _check(recipe)
    except MALFORMED as error:
        raise InputError(f"The recipe '{name}' cannot be used: {shortened(error)}; correct it.") from error
    return recipe


def _build(kind: Any, found: Any, place: str) -> Any:
    """Turn what TOML holds into `kind`, checking every entry's type."""
    if is_dataclass(kind):
        if not isinstance(found, dict):
            raise ValueError(f"[{place}] is not a table")
        hints = get_type_hints(kind)
        unknown = sorted(set(found) - set(hints))
        if unknown:
            raise ValueError(f"'{place}{unknown[0][:80]}' is not known; known are {', '.join(hints)}")
        needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
        missing = [name for name in needed if name not in found]
        if missing:
            raise ValueError(f"'{place}{missing[0]}' is missing")
        return kind(**{name: _build(hints[name], value, f"{place}{name}.") for name, value in found.items()})  # type: ignore[operator]
    name = place.rstrip(".")
    if get_origin(kind) is tuple:
        if isinstance(found, dict):
            raise ValueError(f"'{name}' is one table; write a [[{name}]] for each entry, with its own keys")
        if not isinstance(found, list):
            raise ValueError(f"'{name}' is not a list")
        return tuple(_build(get_args(kind)[0], inner, f"{name}.") for inner in found)
    if get_origin(kind) is Literal:
        if found not in get_args(kind):
            raise ValueError(f"'{name}' is {shortened(found)} and not one of {', '.join(map(str, get_args(kind)))}")
        return found
    if kind is float and isinstance(found, int) and not isinstance(found, bool):
        return float(found)
    if type(found) is not kind or (kind is float and not math.isfinite(found)):
        words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        raise ValueError(f"'{name}' is {shortened(found)} and not {words[kind]}")
    return found


def _is_below(folder: str) -> bool:
    return not Path(folder).is_absolute() and ".." not in Path(folder).parts


def _check(recipe: Recipe) -> None:
    """Raise ValueError for what cannot be trained."""
    # What no model may be called has to show before the training, not after it.
    if not NAME.fullmatch(recipe.name):
        raise ValueError(
            f"'name' is {shortened(recipe.name)} and not 1 to 64 lower-case letters, digits, '.', '_' and '-'"
        )
    for name, most in (("title", 200), ("version", 40)):
        if not 0 < len(getattr(recipe, name)) <= most:
            raise ValueError(f"'{name}' is not 1 to {most} letters long")
    if not recipe.data:
        raise ValueError("it names no [[data]]")
    for data in recipe.data:
        if data.set not in (*DATA_SETS, OWN, SYNTHETIC):
            known = ", ".join((*DATA_SETS, OWN, SYNTHETIC))
            raise ValueError(f"there is no data set '{data.set[:80]}'; known are {known}")
        if data.set == OWN and not data.folder:
            raise ValueError("data of set 'own' needs a folder")
        if not _is_below(data.folder):
            raise ValueError(f"the folder {shortened(data.folder)} is not below the data folder")
        in_range("data.weight", data.weight, 0.001, 1000)
        in_range("data.count", data.count, 1, 10_000)
    sources = [data.source for data in recipe.data]
    if twice := [source for source in sources if sources.count(source) > 1]:
        raise ValueError(f"it names {shortened(twice[0])} twice; join the two")
    if all(data.set == SYNTHETIC for data in recipe.data):
        raise ValueError("synthetic images alone leave nothing to validate on; add a set with labels")
    schedule, crops, network = recipe.schedule, recipe.crops, recipe.network
    in_range("schedule.steps", schedule.steps, 1, 10_000_000)
    in_range("schedule.learning_rate", schedule.learning_rate, 1e-7, 1.0)
    in_range("schedule.weight_decay", schedule.weight_decay, 0.0, 1.0)
    in_range("schedule.warm_up", schedule.warm_up, 0.0, 0.9)
    in_range("schedule.average_decay", schedule.average_decay, 0.0, 0.99999)
    in_range("schedule.former_share", schedule.former_share, 0.0, 0.9)
    if schedule.former_share and not recipe.start:
        raise ValueError("'schedule.former_share' needs a model to 'start' with")
    in_range("schedule.validate_every", schedule.validate_every, 1, 10_000_000)
    in_range("schedule.patience", schedule.patience, 0, 10_000)
    in_range("schedule.validation_images", schedule.validation_images, 1, 10_000)
    in_range("crops.size", crops.size, 32, 4096)
    in_range("crops.batch", crops.batch, 1, 1024)
    in_range("crops.vessel_share", crops.vessel_share, 0.0, 1.0)
    in_range("crops.correction_share", crops.correction_share, 0.0, 1.0)
    check_loss(recipe.loss)
    if any(term.name == FORMER for term in recipe.loss) and not (
        recipe.start and any(data.watched for data in recipe.data)
    ):
        raise ValueError(f"the loss '{FORMER}' needs a model to 'start' with and [[data]] that is 'watched'")
    if network.name not in NETWORKS:
        raise ValueError(f"there is no network {shortened(network.name)}; known are {', '.join(NETWORKS)}")
    kind = NETWORKS[network.name]
    completes = kind.completes
    if completes != bool(recipe.segmenter):
        raise ValueError(
            "'segmenter' is missing: name the model whose probability the network completes"
            if completes
            else f"'segmenter' is for completion networks, and {shortened(network.name)} is not one"
        )
    if recipe.encoder and recipe.start:
        raise ValueError("it begins both with 'start' and with 'encoder'; leave one out")
    if not _is_below(recipe.encoder):
        raise ValueError(f"the encoder {shortened(recipe.encoder)} is not a folder below the data folder")
    in_range("network.blocks", network.blocks, 0, kind.options.get("blocks", 0))
    in_range("network.working_diameter", network.working_diameter, 64, 4096)
    if network.in_channels not in (1, 3):
        raise ValueError("network.in_channels is neither 1 nor 3")
    if not 2 <= len(network.channels) <= 8 or not all(1 <= c <= 1024 for c in network.channels):
        raise ValueError("network.channels is not 2 to 8 numbers from 1 to 1024")
    augmentation = recipe.augmentation
    in_range("augmentation.scale", augmentation.scale, 1.0, 4.0)
    in_range("augmentation.resolution", augmentation.resolution, 1.0, 8.0)
    in_range("augmentation.gamma", augmentation.gamma, 1.0, 10.0)
    check_topomask(recipe.topomask)
    for name in ("elastic", "colour", "grey", "blur", "noise"):
        in_range(f"augmentation.{name}", getattr(augmentation, name), 0.0, 50.0)
