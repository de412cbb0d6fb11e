"""What a fine-tuning is asked for, and the names in its run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from napari_vessel.errors import InputError
from napari_vessel.untrusted import shortened

CORRECTED, REHEARSAL, START = "corrected", "rehearsal", "start"
"""Rooms of a run's folder: the annotator's images, those of the base domain, the model it begins with."""

GUARD = "guard"
"""What the names of the base domain's guards begin with."""

IMAGES, STEPS = 40, 600
"""Synthetic images to rehearse, and batches to train for, unless somebody says otherwise: half of every batch is
rehearsed, and half as many batches show too little of what is new."""

_SUFFIX = "-tuned"


@dataclass(frozen=True, slots=True)
class FineTune:
    """How to fine-tune.

    Attributes
    ----------
    name : str
        Of the model that comes out.
    start : str
        Name of the model to begin with.
    steps : int
        Batches to train for, at most.
    rehearsal : int
        Synthetic images of the base domain to rehearse, where no folder of real ones is given.
    seed : int
        Of crops and synthetic images.
    """

    name: str
    start: str
    steps: int = STEPS
    rehearsal: int = IMAGES
    seed: int = 0

    def check(self) -> None:
        """Raise InputError for what cannot be."""
        # The command line shows the defaults at every start: reading models comes with numpy.
        from napari_vessel.segmentation.registry import NAME

        if not NAME.fullmatch(self.name) or self.name in (CORRECTED, REHEARSAL, START):
            raise InputError(
                f"A model cannot be called {shortened(self.name)}; use 1 to 64 lower-case letters, digits, "
                "'.', '_' and '-'."
            )
        if not 1 <= self.steps <= 1_000_000:
            raise InputError(f"{self.steps} steps cannot be trained for; choose 1 to 1,000,000.")
        if not 1 <= self.rehearsal <= 10_000:
            raise InputError(f"{self.rehearsal} images cannot be rehearsed; choose 1 to 10,000.")
        if not 0 <= self.seed <= 1_000_000:
            raise InputError(f"{self.seed} cannot be a seed; choose 0 to 1,000,000.")


def tuned_name(start: str) -> str:
    """Return what a run calls the model it makes from another; a project gives it a name of its own."""
    return f"{start.removesuffix(_SUFFIX)[: 64 - len(_SUFFIX)]}{_SUFFIX}"


def settings_of(record: Mapping[str, Any]) -> FineTune:
    """Return the settings in a record."""
    known = {field.name for field in fields(FineTune)}
    return FineTune(**{key: value for key, value in record["settings"].items() if key in known})
