"""The recipe of a fine-tuning, from the record of what it was prepared with. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from napari_vessel.images.image import Modality
from napari_vessel.segmentation.registry import ModelInfo
from napari_vessel.training.finetuning.folders import RECORD
from napari_vessel.training.finetuning.settings import CORRECTED, GUARD, REHEARSAL, settings_of
from napari_vessel.training.recipe import (
    OWN,
    AugmentationRecipe,
    CropRecipe,
    DataRecipe,
    NetworkRecipe,
    Recipe,
    ScheduleRecipe,
)
from napari_vessel.training.recipe_reading import parse_recipe
from napari_vessel.training.terms import FORMER, LossTerm

LEARNING_RATE = 3e-4
"""An eighth of that of a network that begins with random weights."""

_LOOKS = 6
"""How often a run looks at the guards after its beginning."""

_PATIENCE = 3
"""Looks without a better result after which it stops."""

_FAITH, _FORMER_SHARE = 8.0, 0.1
"""How much the former answers weigh beside the other terms, four times on each of the rehearsed images, which are half
of every batch; and how much of the former weights is kept: on images for development, from photographs to five
angiograms, they lose .007 of Dice on photographs instead of .018, for .012 less on angiograms; 16 instead of 8 changes
nothing, and .2 instead of .1 gives up .028 more there."""

_TUNED = ", fine-tuned"

_MOST_CUT = 6
"""Images that are done, evenly spaced, on which threshold and smallest piece are chosen, beside as many rehearsed."""

_MOST_LOOKED_AT = 8
"""Guards that a look looks at; the gate judges by all of them."""


def make_recipe(record: Mapping[str, Any], start: ModelInfo) -> Recipe:
    """Return the recipe of a prepared run."""
    settings = settings_of(record)
    guards = [entry["stem"] for entry in record["images"] if entry["guard"]]
    done = [entry["stem"] for entry in record["images"] if entry["done"] and not entry["guard"]]
    cut = done[:: max(1, -(-len(done) // _MOST_CUT))]
    if record["base"]["kind"] == "synthetic":
        rehearsed = [f"{n:05d}" for n in range(settings.rehearsal)]
    else:
        rehearsed = [entry["stem"] for entry in record["base"]["images"] if not entry["guard"]]
    network = NetworkRecipe.of(start)
    colour = record["base"]["modality"] == Modality.FUNDUS
    return Recipe(
        settings.name,
        f"{start.title.removesuffix(_TUNED)}{_TUNED}"[:200],
        (
            DataRecipe(
                OWN,
                folder=CORRECTED,
                validation=tuple(guards),
                weighted=True,
                cut=tuple(cut),
            ),
            # A cut that suits the corrected images alone can cost more of the base domain than the weights forget.
            DataRecipe(
                OWN,
                folder=REHEARSAL,
                validation=(GUARD,),
                one_size=True,
                watched=True,
                cut=tuple(rehearsed[: len(cut)]),
            ),
        ),
        modality=cast(Any, record["modality"]),
        seed=settings.seed,
        start=start.name,
        network=network,
        schedule=ScheduleRecipe(
            steps=settings.steps,
            learning_rate=LEARNING_RATE,
            # Over as many steps as lie between two looks.
            average_decay=0.98,
            former_share=_FORMER_SHARE,
            validate_every=max(1, -(-settings.steps // _LOOKS)),
            patience=_PATIENCE if guards else 0,
            validation_images=_MOST_LOOKED_AT,
            look_first=True,
            freeze_statistics=True,
            step_down=True,
        ),
        crops=CropRecipe(
            size=int(min(256, max(64, network.working_diameter // 32 * 32))),
            batch=4,
            even=True,
            correction_share=0.5,
        ),
        augmentation=AugmentationRecipe(grey=0.15 if colour else 0.0),
        # The prediction is no blank: its centrelines can be improved from the start.
        loss=(
            LossTerm("cross-entropy"),
            LossTerm("dice"),
            LossTerm("soft-cldice", weight=0.5),
            LossTerm(FORMER, weight=_FAITH),
        ),
    )


def recipe_of(record: Mapping[str, Any], start: ModelInfo) -> Recipe:
    """Return the recipe that a run was prepared with; of a run from before that was kept, the one made today."""
    told = record.get("recipe")
    return make_recipe(record, start) if told is None else parse_recipe(told, RECORD)
