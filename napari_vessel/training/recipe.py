"""A training recipe: one TOML file that decides everything about a training run."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from napari_vessel.errors import InputError
from napari_vessel.networks import NETWORKS
from napari_vessel.segmentation.registry import NAME, ModelInfo
from napari_vessel.training.datasets import DATA_SETS
from napari_vessel.training.terms import DEFAULT_LOSS, FORMER, LossTerm, check_loss, in_range
from napari_vessel.training.topomask import TopoMaskRecipe, check_topomask
from napari_vessel.untrusted import MALFORMED, read_text, shortened

OWN, SYNTHETIC = "own", "synthetic"

FORGOTTEN = 0.01
"""How much Dice may be lost on images that are watched: what new images teach is not worth more of the old ones."""


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """Images of one source.

    Attributes
    ----------
    set : str
        A key of :data:`napari_vessel.training.datasets.DATA_SETS`; ``own`` for a folder with ``images/`` and
        ``masks/``; ``synthetic`` for images made on the spot.
    weight : float
        How often its images are drawn, relative to the other sources.
    folder : str
        Its folder below the data folder; by default the key in capitals.
    validation : tuple of str
        For ``own``: beginnings of the names of the images (one patient's, say) that are for validation.
    kind : str
        For ``synthetic``: fundus, octa or xray.
    count : int
        For ``synthetic``: how many images.
    one_size : bool
        Keep its images at the working scale alone, in a third of the memory: for many that were made at that scale.
    weighted : bool
        For ``own``: the folder also holds ``weights/``, how much each pixel counts, see :class:`Case`.
    watched : bool
        For ``own``: its images for validation tell what is forgotten. They do not say which weights are best, but
        weights that lose more than :data:`FORGOTTEN` on them are not kept. The loss ``former-answers`` holds the
        network to what it answered before the run on the others.
    cut : tuple of str
        For ``own``: beginnings of the names of images that are learnt from and on which threshold and smallest
        component are chosen. Where no source names any, they are chosen on the images for validation; with `start` and
        images that are watched, those of `start` are kept.
    """

    set: str
    weight: float = 1.0
    folder: str = ""
    validation: tuple[str, ...] = ()
    kind: str = "fundus"
    count: int = 16
    one_size: bool = False
    weighted: bool = False
    watched: bool = False
    cut: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Its name in logs and model cards."""
        if self.set == OWN:
            return f"{OWN}/{self.folder}"
        return f"{SYNTHETIC}/{self.kind}" if self.set == SYNTHETIC else self.set


@dataclass(frozen=True, slots=True)
class NetworkRecipe:
    """The network.

    Attributes
    ----------
    name : str
        A name of :data:`napari_vessel.networks.NETWORKS`.
    channels : tuple of int
        Feature channels per level; by default as many as the network can be trained with on a processor, where
        multiples of 32 are several times faster in bfloat16.
    in_channels : int
        3 for colour, 1 for the channel that shows vessels best.
    working_diameter : float
        Width of the field of view (of the image, where there is none) in pixels that the network sees.
    blocks : int
        For a network made of like blocks, such as those of a graph: how many; 0 for as many as it has by default.
    """

    name: str = "unet"
    channels: tuple[int, ...] = ()
    in_channels: int = 3
    working_diameter: float = 640.0
    blocks: int = 0

    def __post_init__(self) -> None:
        # Stored in full, so that a model is the same whatever the default becomes.
        if not self.channels and self.name in NETWORKS:
            object.__setattr__(self, "channels", NETWORKS[self.name].channels)

    @classmethod
    def of(cls, model: ModelInfo) -> NetworkRecipe:
        """Return the network of a model with a working scale, to begin with its weights."""
        told = model.network
        return cls(
            told["name"],
            tuple(told["channels"]),
            told["in_channels"],
            float(model.working_scale["px"]),
            told.get("blocks", 0),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What :func:`napari_vessel.networks.build_network` takes."""
        found = {"name": self.name, "in_channels": self.in_channels, "channels": list(self.channels)}
        return {**found, "blocks": self.blocks} if self.blocks else found


@dataclass(frozen=True, slots=True)
class ScheduleRecipe:
    """How long to train and how fast to learn.

    Attributes
    ----------
    steps : int
        Batches to train for.
    policy : {"cosine", "one-cycle"}
        Cosine: a short linear rise, then a cosine fall. One-cycle: a cosine rise over three tenths, then a cosine fall
        (Smith & Topin, 2019).
    learning_rate, weight_decay : float
        Peak rate of AdamW, and its decay.
    warm_up : float
        Share of the steps over which a cosine policy's rate rises.
    average_decay : float
        Per-step decay of the exponential moving average of the weights; the averaged weights are the ones used.
    former_share : float
        Share that the weights of `start` keep in the averaged ones: a little of what was learnt is given up for more of
        what was known (Wortsman et al., CVPR 2022).
    validate_every : int
        Steps between two looks at the validation images.
    patience : int
        Looks without a better result after which training stops early; 0 never does.
    validation_images : int
        Images of each set looked at while training; all of them decide the threshold at the end.
    look_first : bool
        Whether to look before the first step, too: what the run begins with is then the first that may be kept.
    freeze_statistics : bool
        Whether batch normalisation keeps the means and variances that the run begins with: those of a few images would
        replace what was learnt from many.
    step_down : bool
        Whether to take a step in smaller parts, and then on smaller crops, when memory runs out; otherwise the run
        ends.
    """

    steps: int = 4000
    policy: Literal["cosine", "one-cycle"] = "cosine"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warm_up: float = 0.05
    average_decay: float = 0.995
    former_share: float = 0.0
    validate_every: int = 250
    patience: int = 0
    validation_images: int = 8
    look_first: bool = False
    freeze_statistics: bool = False
    step_down: bool = False

    def rate_at(self, fraction: float) -> float:
        """Return the learning rate after this share of the steps."""
        rise = self.warm_up if self.policy == "cosine" else 0.3
        if fraction < rise:
            done = fraction / rise
            grown = done if self.policy == "cosine" else (1 - math.cos(math.pi * done)) / 2
            return self.learning_rate * max(grown, 0.02)
        rest = min((fraction - rise) / (1 - rise), 1.0)
        return self.learning_rate * (1 + math.cos(math.pi * rest)) / 2


@dataclass(frozen=True, slots=True)
class CropRecipe:
    """The crops a batch is made of.

    Attributes
    ----------
    size, batch : int
        Side in pixels, and crops in a batch.
    vessel_share : float
        Share of the crops whose middle lies on a centreline, thin vessels as likely as thick ones; the others lie
        anywhere in the field of view.
    even : bool
        Whether every batch holds its sources in the shares of their weights, as near as its size allows (of two sources
        that weigh the same, as many crops of each); otherwise they do so on average.
    correction_share : float
        Of images with weights: share of the crops whose middle lies on a pixel that weighs more than 1.
    """

    size: int = 320
    batch: int = 3
    vessel_share: float = 0.7
    even: bool = False
    correction_share: float = 0.0


@dataclass(frozen=True, slots=True)
class AugmentationRecipe:
    """Random changes of a crop; 0 switches one off.

    Attributes
    ----------
    flip, rotate : bool
        Mirror, and turn by any angle.
    scale : float
        Largest factor by which a crop is enlarged or reduced.
    elastic : float
        Largest displacement in pixels at the working scale, varying over a few vessel widths.
    gamma : float
        Largest exponent applied to the intensities, and the reciprocal of the smallest.
    colour : float
        Standard deviation of each channel's gain, as a share.
    grey : float
        Share of colour crops turned grey: red-free photographs, scans of prints.
    blur : float
        Largest standard deviation of a Gaussian blur, px.
    noise : float
        Largest standard deviation of Gaussian noise, as a share of the intensity range.
    resolution : float
        Largest factor by which half of the crops lose resolution, as from a coarser camera; 1 switches it off.
    """

    flip: bool = True
    rotate: bool = True
    scale: float = 1.4
    elastic: float = 5.0
    gamma: float = 1.65
    colour: float = 0.15
    grey: float = 0.15
    blur: float = 1.3
    noise: float = 0.03
    resolution: float = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training run.

    Attributes
    ----------
    name, title, version : str
        Of the model that comes out; the name is also its folder's.
    data : tuple of DataRecipe
        Where the images come from.
    modality : str
        What the model is for.
    seed : int
        Seed of the weights and of every crop.
    start : str
        Name of a model with the same network whose weights the run begins with; by default random ones.
    encoder : str
        Folder of pre-trained weights (`napari_vessel.training.pretraining`) below the data folder that the run begins
        with, instead of `start`; what they do not have is random.
    segmenter : str
        For a completion network: name of the model, frozen, whose probability it learns to complete.
    network, schedule, crops, augmentation, topomask, loss
        See their classes.
    """

    name: str
    title: str
    data: tuple[DataRecipe, ...]
    version: str = "1.0.0"
    modality: Literal["fundus", "octa", "xray", "twophoton"] = "fundus"
    seed: int = 0
    start: str = ""
    encoder: str = ""
    segmenter: str = ""
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    crops: CropRecipe = field(default_factory=CropRecipe)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    topomask: TopoMaskRecipe = field(default_factory=TopoMaskRecipe)
    loss: tuple[LossTerm, ...] = DEFAULT_LOSS

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as it would be read."""
        plain: dict[str, Any] = _plain(asdict(self))
        # Written only where it is used: what was stored before there was such a thing stays the same, to the byte.
        if not self.encoder:
            del plain["encoder"]
        return plain

    def is_of(self, stored: Any) -> bool:
        """Tell whether this recipe was stored by :meth:`to_json`; what did not exist then had its default."""
        usual = Recipe("", "", data=(DataRecipe(""),), loss=(LossTerm(""),)).to_json()
        return _agree(self.to_json(), stored, {**usual, "encoder": ""})


def _agree(ours: Any, stored: Any, usual: Any) -> bool:
    """Compare plain values; what `stored` lacks is as in `usual`, of whose lists the first item stands for all."""
    if isinstance(ours, dict):
        if not isinstance(stored, dict) or stored.keys() - ours.keys():
            return False
        return all(_agree(ours[key], stored.get(key, usual[key]), usual[key]) for key in ours)
    if isinstance(ours, list):
        if not isinstance(stored, list) or len(stored) != len(ours):
            return False
        return all(_agree(one, other, usual[0] if usual else None) for one, other in zip(ours, stored, strict=True))
    return bool(ours == stored)


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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


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
    in_range("schedule.former_share", schedule.former_share, 0.0, 0.9 if recipe.start else 0.0)
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
