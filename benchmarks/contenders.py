"""Who takes part in the comparison: our models, the peer and the second observer, each giving masks of one image."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lwnet_peer import SIDES, THRESHOLD, WEIGHTS, LittleWNet, weights_hash
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.binarise import binarise
from napari_vessel.segmentation.completer import Completer
from napari_vessel.segmentation.registry import ModelInfo, model_info, read_model, segmenter_of
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.topology.metrics import Comparison, score_row
from napari_vessel.training.cases import Case
from napari_vessel.training.datasets import DATA_SETS

Masks = dict[str, NDArray[np.bool_]]

FIGURES = {
    "dice": ("Dice", 3),
    "cldice": ("clDice", 3),
    "auc": ("AUC", 3),
    "sensitivity": ("sens.", 3),
    "specificity": ("spec.", 3),
    "mcc": ("MCC", 3),
    "betti0_error": ("b0 err", 1),
    "betti1_error": ("b1 err", 1),
    "betti0_error_64": ("b0 err, 64 px tiles", 3),
    "betti1_error_64": ("b1 err, 64 px tiles", 3),
    "cal": ("CAL", 3),
    "betti_matching0": ("Betti matching 0", 1),
    "betti_matching1": ("Betti matching 1", 1),
}
"""The figures shown in tables: their headings and decimals."""

PEER = "lwnet"
HYSTERESIS = 0.2
LOWER = 0.3
CLOSING = 2.0
CLEANED = "drive"
"""Rows of a model's probability cleaned up in ways that cost nothing stand beside its own where it was trained on this
set and is tested on it."""


class Contender(Protocol):
    """Anything that marks vessels on a test image."""

    name: str

    def seen(self, data_set: str) -> str:
        """Return ``in-set`` when the set's training images were trained on, ``cross`` when not, else what it is."""

    def takes(self, modality: Modality) -> bool:
        """Whether it is made for such images."""

    def key(self) -> dict[str, Any]:
        """Return what its results depend on, as plain values."""

    def predict(self, case: Case) -> tuple[NDArray[np.float32] | None, Masks]:
        """Return the probability, if it has one, and one mask for each row of the table."""


@dataclass
class OwnModel:
    """One of our models, by its name or its folder, with its own threshold and minimum size."""

    info: ModelInfo
    trained_on: frozenset[str]
    device: str = "cpu"
    _segmenter: Segmenter | None = field(default=None, repr=False)
    _completer: Completer | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.info.name

    def seen(self, data_set: str) -> str:
        """See :class:`Contender`."""
        if self.info.kind == "ridge":
            return "untrained"
        return "in-set" if data_set in self.trained_on else "cross"

    def takes(self, modality: Modality) -> bool:
        """See :class:`Contender`."""
        return modality in self.info.modalities

    def key(self) -> dict[str, Any]:
        """See :class:`Contender`."""
        segmenter = {"segmenter_sha256": segmenter_of(self.info).sha256} if self.info.kind == "completion" else {}
        return {**model_key(self.info), "trained_on": sorted(self.trained_on), **segmenter}

    def predict(self, case: Case) -> tuple[NDArray[np.float32] | None, Masks]:
        """See :class:`Contender`."""
        if self.info.kind == "completion":
            return self._complete(case)
        if self._segmenter is None:
            self._segmenter = Segmenter(self.info, self.device)
        result = run_job(self._segmenter.predict(case.image))
        masks = {self.name: result.mask}
        if case.data_set == CLEANED and CLEANED in self.trained_on:
            masks |= clean_ups(self.name, result.probability, self.info.threshold)
        return result.probability, masks

    def _complete(self, case: Case) -> tuple[NDArray[np.float32], Masks]:
        """Return the completed probability, and the mask cut from it as a segmenter's is."""
        if self._completer is None:
            self._completer = Completer(self.info, self.device)
        result = run_job(self._completer.predict(case.image))
        smallest = round(self.info.min_size / max(result.settings["scale"], 1e-6) ** 2)
        mask = binarise(result.probability, self.info.threshold, smallest, case.image.fov)
        return result.probability, {self.name: mask}


@dataclass
class Peer:
    """The peer network with its own threshold, and with the clean-ups that cost nothing."""

    checkout: Path
    name: str = PEER
    _network: LittleWNet | None = field(default=None, repr=False)

    def seen(self, data_set: str) -> str:
        """See :class:`Contender`."""
        return "in-set" if data_set == "drive" else "cross"

    def takes(self, modality: Modality) -> bool:
        """See :class:`Contender`."""
        return modality is Modality.FUNDUS

    def key(self) -> dict[str, Any]:
        """See :class:`Contender`."""
        weights = {"weights": str(WEIGHTS), "sha256": weights_hash(self.checkout)}
        return {"name": self.name, **weights, "threshold": THRESHOLD, "trained_on": ["drive"]}

    def predict(self, case: Case) -> tuple[NDArray[np.float32] | None, Masks]:
        """See :class:`Contender`."""
        if self._network is None:
            self._network = LittleWNet(self.checkout)
        probability = self._network.predict(case.image, SIDES.get(case.data_set, 512))
        return probability, {
            self.name: probability > THRESHOLD,
            **clean_ups(self.name, probability, THRESHOLD),
        }


@dataclass
class SecondObserver:
    """The second human observer, where there is one."""

    name: str = "second observer"

    def seen(self, data_set: str) -> str:
        """See :class:`Contender`."""
        return "human"

    def takes(self, modality: Modality) -> bool:
        """See :class:`Contender`."""
        return True

    def key(self) -> dict[str, Any]:
        """See :class:`Contender`."""
        return {"name": self.name}

    def predict(self, case: Case) -> tuple[NDArray[np.float32] | None, Masks]:
        """See :class:`Contender`."""
        return None, {} if case.second is None else {self.name: case.second}


def model_key(info: ModelInfo) -> dict[str, Any]:
    """Return what decides what a model marks: two versions may have the same weights, and cut them otherwise."""
    return {
        "name": info.name,
        "version": info.version,
        "sha256": info.sha256,
        "threshold": info.threshold,
        "min_size_at_working_scale": info.min_size,
        "working_scale": dict(info.working_scale),
        "parameters": info.parameters,
    }


def own_model(name: str, device: str = "cpu") -> OwnModel:
    """Return one of our models by its name, or by the folder it lies in."""
    info = read_model(Path(name)) if "/" in name or Path(name).is_dir() else model_info(name)
    config = json.loads((info.folder / "config.json").read_text(encoding="utf-8"))
    return OwnModel(info, trained_on(config), device)


def trained_on(config: dict[str, Any]) -> frozenset[str]:
    """Return the keys of the data sets whose images a model was trained or validated on.

    Raises
    ------
    InputError
        If a network does not say: then it cannot be said either which results are cross-data ones.
    """
    split = config.get("training", {}).get("split")
    if split is None:
        if config["kind"] == "ridge":
            return frozenset()
        raise InputError(f"Model '{config['name']}' does not say what it was trained on; add training.split.")
    keys = {known.title.lower(): key for key, known in DATA_SETS.items()} | {key: key for key in DATA_SETS}
    return frozenset(keys.get(name.lower(), name.lower()) for name in split)


def clean_ups(name: str, probability: NDArray[np.float32], threshold: float) -> Masks:
    """Return the masks of a probability that cost nothing to clean up, by their rows: ``NAME, WHAT WAS DONE``."""
    from skimage.filters import apply_hysteresis_threshold

    mask = binarise(probability, threshold)
    return {
        f"{name}, < 20 px removed": binarise(probability, threshold, 20),
        f"{name}, threshold .3, < 50 px removed": binarise(probability, LOWER, 50),
        f"{name}, hysteresis .2": apply_hysteresis_threshold(probability, HYSTERESIS, threshold),
        f"{name}, closing, disc 2": closing(mask, CLOSING),
    }


def closing(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Close a mask with a disc; nothing is taken away, at the frame neither."""
    import cv2
    from skimage.morphology import disk

    size = max(round(radius), 1)
    padded = np.pad(mask, 2 * size).view(np.uint8)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disk(size))
    return np.asarray(mask | (closed[2 * size : -2 * size, 2 * size : -2 * size] > 0))


def score(mask: NDArray[np.bool_], case: Case, probability: NDArray[np.float32] | None) -> dict[str, float | None]:
    """Return every figure of one mask, inside the field of view at the image's own resolution."""
    return score_row(Comparison(mask, case.vessels, case.image.fov, probability))
