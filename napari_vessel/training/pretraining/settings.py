"""What a pre-training is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality
from napari_vessel.networks import SEGMENTERS
from napari_vessel.training.recipe import (
    OWN,
    AugmentationRecipe,
    CropRecipe,
    DataRecipe,
    NetworkRecipe,
    Recipe,
    ScheduleRecipe,
)
from napari_vessel.untrusted import shortened

WORKING_DIAMETER = {
    Modality.FUNDUS: 640.0,
    Modality.OCTA: 320.0,
    Modality.XRAY: 512.0,
    Modality.TWOPHOTON: 512.0,
}
"""Width of the field of view that a network sees by default, px: that of the shipped models of each modality."""


@dataclass(frozen=True, slots=True)
class PreTrain:
    """How to pre-train.

    Attributes
    ----------
    modality : Modality
        How the images were taken.
    network : NetworkRecipe
        The network whose encoder is pre-trained, and the scale at which it sees images.
    steps : int
        Batches to train for.
    seed : int
        Of weights, crops and hidden patches.
    guided : bool
        Whether a growing share of the hidden patches is drawn where vessels are.
    consistency : float
        Weight of the anatomical consistency; with 0 there is no light segmenter.
    batch : int
        Crops in a batch.
    learning_rate : float
        Peak rate of AdamW.
    segmenter_steps : int
        Batches that the light segmenter is trained for.
    """

    modality: Modality
    network: NetworkRecipe = field(default_factory=lambda: NetworkRecipe("vit_unet"))
    steps: int = 5000
    seed: int = 0
    guided: bool = True
    consistency: float = 1.0
    batch: int = 8
    learning_rate: float = 1e-3
    segmenter_steps: int = 300

    def check(self) -> None:
        """Raise InputError for what cannot be."""
        if self.modality not in WORKING_DIAMETER:
            raise InputError("How the images were taken cannot be told from them; name it with --modality.")
        if self.network.name not in SEGMENTERS:
            raise InputError(
                f"There is no network named {shortened(self.network.name)} to pre-train; choose one of "
                f"{', '.join(SEGMENTERS)}."
            )
        if not 1 <= self.steps <= 10_000_000:
            raise InputError(f"{self.steps} steps cannot be trained for; choose 1 to 10,000,000.")
        if not 0 <= self.seed <= 1_000_000:
            raise InputError(f"{self.seed} cannot be a seed; choose 0 to 1,000,000.")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        found = {**asdict(self), "modality": self.modality.value, "network": self.network.settings}
        return {**found, "working_diameter": self.network.working_diameter}

    def crops(self, size: int) -> Recipe:
        """Return the recipe by which crops of this many px a side are cut: geometry changes, pixels do not."""
        plain = AugmentationRecipe(elastic=0, gamma=1, colour=0, grey=0, blur=0, noise=0)
        return Recipe(
            "pretraining",
            "Pre-training",
            (DataRecipe(OWN, folder="images"),),
            modality=self.modality.value,  # type: ignore[arg-type]
            seed=self.seed,
            network=self.network,
            schedule=ScheduleRecipe(steps=self.steps, learning_rate=self.learning_rate, weight_decay=0.05),
            crops=CropRecipe(size=size, batch=self.batch, vessel_share=0.0),
            augmentation=plain,
        )
