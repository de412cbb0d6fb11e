"""The completion model whose map stands beside the mask, the image and the probability."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from contenders import trained_on
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.segmentation import Completer, default_completion_model
from napari_vessel.segmentation.registry import completion_model_info, read_model

NONE = "none"
CUT = 0.5
"""Completion probability from which on is vessel, where the map is taken as it is: chosen beforehand."""


@dataclass(frozen=True)
class CompletionModel:
    """A completion model by its folder."""

    folder: Path

    def key(self) -> dict[str, Any]:
        """Return what its results depend on, as plain values."""
        info = read_model(self.folder)
        config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        return {
            "name": info.name,
            "version": info.version,
            "sha256": info.sha256,
            "working_scale": dict(info.working_scale),
            "parameters": info.parameters,
            "segmenter": info.segmenter,
            "trained_on": sorted(trained_on(config)),
        }

    def predict(
        self, image: VesselImage, probability: NDArray[np.float32] | None, made_by: str = ""
    ) -> NDArray[np.float32]:
        """Return the completed probability of an image, shape (Y, X).

        Parameters
        ----------
        image : VesselImage
            With gaps erased or as it is.
        probability : ndarray of float32, shape (Y, X), or None
            A segmenter's, of the same pixels.
        made_by : str
            That segmenter's name. Any other than the one the model was trained with is not completed: its own runs.
        """
        completer = _completer(self.folder)
        given = probability if made_by == read_model(self.folder).segmenter else None
        return run_job(completer.predict(image, given)).probability


@cache
def _completer(folder: Path) -> Completer:
    # One for each process: weights are loaded once.
    return Completer(read_model(folder), "cpu")


def completion_model(name: str | None, modality: Modality = Modality.FUNDUS) -> CompletionModel | None:
    """Return a completion model by its name or its folder; the one for a modality when not named; None for ``none``.

    Raises
    ------
    InputError
        If the folder holds a model that segments.
    ModelError
        If there is no completion model of that name.
    """
    if name == NONE:
        return None
    name = name or default_completion_model(modality)
    if name is None:
        return None
    if "/" not in name and not Path(name).is_dir():
        return CompletionModel(completion_model_info(name).folder)
    info = read_model(Path(name))
    if info.kind != "completion":
        raise InputError(f"'{name}' holds a model that segments; give the folder of one that completes.")
    return CompletionModel(info.folder)
