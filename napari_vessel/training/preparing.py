"""What a few-shot run needs, checked and kept in its folder: images, what is held out, settings. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality
from napari_vessel.images.inputs import find_inputs
from napari_vessel.images.reading import read_image
from napari_vessel.jobs import Job, Progress
from napari_vessel.networks import SEGMENTERS
from napari_vessel.segmentation.registry import NAME, ModelInfo
from napari_vessel.training import runs
from napari_vessel.training.labelled import (
    TRAINABLE,
    Labelled,
    at_width,
    check_labelled,
    held_out,
    one_patient,
    pixels_digest,
    refuse_test_name,
    stem_of,
    store,
    working_width,
)
from napari_vessel.training.runs import keep_run, network_to_start
from napari_vessel.untrusted import shortened

RECORD = "fewshot.json"
LABELLED, UNLABELLED, SYNTHETIC = "labelled", "unlabelled", "synthetic"

_MOST_UNLABELLED = 50
"""Of more unlabelled images, so many are taken, evenly spaced."""


@dataclass(frozen=True, slots=True)
class FewShot:
    """How to make a model from a few labelled images.

    Attributes
    ----------
    name : str
        Of the model.
    modality : Modality
        How the images were taken.
    network : str
        A network that segments, with random weights.
    start : str
        Name of a model to begin with instead; empty for random weights.
    steps : int
        Batches to train for.
    synthetic : int
        Synthetic images; 0 for none.
    conditioned : bool
        Whether their trees follow the labelled masks.
    own_backgrounds : bool
        Whether they are drawn on the tissue of the images given; otherwise on tissue made up.
    seed : int
        Of weights, crops and synthetic images.
    """

    name: str
    modality: Modality
    network: str = "unet"
    start: str = ""
    steps: int = 1500
    synthetic: int = 200
    conditioned: bool = True
    own_backgrounds: bool = True
    seed: int = 0

    def check(self) -> None:
        """Raise InputError for what cannot be made."""
        check_name(self.name)
        if self.modality not in TRAINABLE:
            raise InputError(
                f"No model can be made for images of kind '{self.modality}'; choose one of {', '.join(TRAINABLE)}."
            )
        if not self.start and self.network not in SEGMENTERS:
            raise InputError(f"There is no network named '{self.network}'; choose one of {', '.join(SEGMENTERS)}.")
        if not 1 <= self.steps <= 1_000_000:
            raise InputError(f"{self.steps} steps cannot be trained for; choose 1 to 1,000,000.")
        if not 0 <= self.synthetic <= 10_000:
            raise InputError(f"{self.synthetic} synthetic images cannot be made; choose 0 to 10,000.")


def check_name(name: str) -> None:
    """Raise InputError for what a model cannot be called."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"A model cannot be called {shortened(name)}; use 1 to 64 lower-case letters, digits, '.', '_' and '-'."
        )


def prepare(
    labelled: Sequence[Labelled],
    settings: FewShot,
    out: Path,
    unlabelled: Sequence[Path | str] = (),
    models: Mapping[str, Path] | None = None,
) -> Job[None]:
    """Keep in a folder what :func:`napari_vessel.training.fewshot.fewshot` needs: images, which are held out, settings.

    A folder that holds the same already is left as it is.

    Parameters
    ----------
    labelled : sequence of Labelled
        At least two.
    settings : FewShot
        What to make of them.
    out : Path
        The run's folder.
    unlabelled : sequence of Path or str, optional
        More images of the same kind, or folders of them, whose tissue is drawn on. Labelled ones among them are left
        out: what is held out must not be known.
    models : mapping of str to Path, optional
        Folders of models that `settings.start` may name; they go before installed ones.

    Raises
    ------
    InputError
        If the images or settings cannot be used, a name is that of a known set's test image, or the folder is a file
        or holds another run.
    ModelError
        If there is no model of the name to start with.
    """
    settings.check()
    check_labelled(labelled)
    more = find_inputs(unlabelled) if unlabelled else []
    more = more[:: max(1, -(-len(more) // _MOST_UNLABELLED))]
    for item in more:
        refuse_test_name(item.path.stem)
    start = model_to_start(settings, models or {})
    digests = [entry.digest for entry in labelled]
    known = {pixels_digest(entry.image) for entry in labelled}
    held = held_out(labelled)
    # A network that has learnt to see at one size goes on at it.
    width = working_width(labelled, settings.modality) if start is None else float(start.working_scale["px"])
    record: dict[str, Any] = {
        "format": 1,
        "settings": {**asdict(settings), "modality": settings.modality.value},
        "working_width": width,
        "images": [
            {
                "name": entry.name,
                "stem": stem_of(n, entry.name),
                "shape": list(entry.image.shape),
                "sha256": digests[n],
                "held_out": n in held,
            }
            for n, entry in enumerate(labelled)
        ],
        "unlabelled": [item.path.name for item in more],
        "start_folder": str(models[settings.start]) if models and settings.start in models else "",
    }

    if one_patient(labelled):
        record["one_patient"] = True

    def fill(fresh: Path) -> Job[None]:
        for n, entry in enumerate(labelled):
            yield Progress(n, len(labelled) + len(more), f"Keeping {entry.name}")
            image = replace(entry.image, modality=settings.modality)
            store(fresh / LABELLED, stem_of(n, entry.name), image, entry.vessels)
        for n, item in enumerate(more):
            yield Progress(len(labelled) + n, len(labelled) + len(more), f"Keeping {item.path.name}")
            image = read_image(item.path, plane=item.plane, modality=settings.modality)
            # Of a labelled one the tissue is known by its mask, or held out.
            if pixels_digest(image) in known:
                continue
            small = at_width(Labelled(item.stem, image, np.zeros(image.shape, np.bool_)), width).image
            store(fresh / UNLABELLED, stem_of(n, item.stem), small, None)

    yield from keep_run(out, RECORD, record, (LABELLED, UNLABELLED, SYNTHETIC), read_record, fill)


def model_to_start(settings: FewShot, models: Mapping[str, Path]) -> ModelInfo | None:
    """Return the model to begin with, if any; raise InputError for one that no training can begin with."""
    if not settings.start:
        return None
    return network_to_start(settings.start, models)


def read_record(out: Path) -> dict[str, Any]:
    """Return what :func:`prepare` wrote; raise InputError when there is nothing, or it is damaged."""

    def check(found: Mapping[str, Any]) -> None:
        try:
            settings_of(found).check()
        except InputError as error:
            raise ValueError(str(error)) from error
        if found["format"] != 1 or not found["images"] or float(found["working_width"]) <= 0:
            raise ValueError("an entry is out of range")

    return runs.read_record(out, RECORD, check, "give images and masks")


def settings_of(record: Mapping[str, Any]) -> FewShot:
    """Return the settings in a record."""
    known = {field.name for field in fields(FewShot)}
    found = {key: value for key, value in record["settings"].items() if key in known}
    return FewShot(**{**found, "modality": Modality(found["modality"])})
