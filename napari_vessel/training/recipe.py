"""A training recipe: one TOML file that decides everything about a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from napari_vessel.networks import NETWORKS
from napari_vessel.segmentation.registry import ModelInfo
from napari_vessel.training.terms import DEFAULT_LOSS, LossTerm
from napari_vessel.training.topomask import TopoMaskRecipe

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
    """Random changes of a crop; 0 switches one off, 1 where it is a factor or an exponent.

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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
