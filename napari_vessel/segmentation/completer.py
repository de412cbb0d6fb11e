"""The Completer: what a segmenter lost, drawn by a completion model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError, ModelError
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import Job, Progress
from napari_vessel.segmentation.preparation import around_field, resample
from napari_vessel.segmentation.registry import (
    ModelInfo,
    completion_model_info,
    default_completion_model,
    segmenter_of,
)
from napari_vessel.segmentation.running import NetworkRunner
from napari_vessel.segmentation.segmenter import Segmenter, prepare


@dataclass(frozen=True, eq=False, slots=True)
class Completion:
    """A completed vessel probability, and what made it.

    Attributes
    ----------
    probability : ndarray of float32, shape (Y, X)
        Vessel probability in [0, 1] with the breaks filled in; 0 outside the field of view.
    segmented : ndarray of float32, shape (Y, X)
        The segmenter's probability it was made from.
    model, model_version : str
        Which completion model.
    device, precision : str
        Where it ran, and in which number format.
    settings : mapping
        Everything else needed to repeat it.
    """

    probability: NDArray[np.float32]
    segmented: NDArray[np.float32]
    model: str
    model_version: str
    device: str
    precision: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays, ready for ``json.dumps``."""
        return {
            "model": self.model,
            "model_version": self.model_version,
            "device": self.device,
            "precision": self.precision,
            "settings": dict(self.settings),
        }


class Completer:
    """Completes the probability of a segmenter with one model on one device.

    Making one costs nothing; weights are loaded when the first image needs them, and kept.

    Parameters
    ----------
    model : str or ModelInfo, optional
        Name of a completion model, or one read with
        :func:`~napari_vessel.segmentation.registry.read_model`; by default each image gets the one for its modality.
    device : str
        ``auto``, ``cuda``, ``mps`` or ``cpu``.
    segmenter : Segmenter, optional
        Makes the probability where none is given; by default the model's own.
    """

    def __init__(
        self, model: str | ModelInfo | None = None, device: str = "auto", segmenter: Segmenter | None = None
    ) -> None:
        self._asked = model
        self._device_asked = device
        self._segmenter = segmenter
        self._runner = NetworkRunner()

    def predict(self, image: VesselImage, probability: NDArray[np.float32] | None = None) -> Job[Completion]:
        """Complete one image.

        Parameters
        ----------
        image : VesselImage
            Of any size.
        probability : ndarray of float32, shape (Y, X), optional
            A segmenter's vessel probability in [0, 1]; by default the segmenter the model was trained with makes it.

        Returns
        -------
        Job of Completion
            Yields after every batch of tiles; closing it stops the work within one.

        Raises
        ------
        ModelError
            If the model is missing or damaged, or there is none for the image's modality.
        InputError
            If the probability does not fit the image.
        DeviceError
            If the device is not there or has too little memory.
        """
        info = self._info(image)
        if probability is None:
            segmenter = self._segmenter or Segmenter(segmenter_of(info), self._device_asked)
            probability = (yield from segmenter.predict(image)).probability
        probability = np.asarray(probability, np.float32)
        if probability.shape != image.shape:
            raise InputError(
                f"The probability is {' x '.join(map(str, probability.shape))} pixels and the image "
                f"{' x '.join(map(str, image.shape))}; give files of one size."
            )
        # A NaN fails both comparisons.
        if not bool(((probability >= 0) & (probability <= 1)).all()):
            raise InputError("The probability has values outside 0 to 1; divide 8-bit values by 255.")
        yield Progress(0, None, f"Loading {info.title}")
        colour = info.network["in_channels"] == 3
        seen, window = around_field(image)
        prepared, plan, inside = prepare(seen, info, colour)
        known = np.clip(resample(probability[window], plan.working_shape), 0, 1)
        if inside is not None:
            known = known * inside
        small, facts = yield from self._runner.run(
            info,
            np.concatenate([prepared, known[None]]),
            self._device_asked,
            outside=None if inside is None else ~inside,
            message="Completing",
        )
        yield Progress(1, 1, "Back to the image's own size")
        completed = np.zeros(image.shape, np.float32)
        completed[window] = np.clip(resample(small, plan.shape), 0, 1)
        if image.fov is not None:
            completed[~image.fov] = 0
        settings = {
            "working_scale": dict(info.working_scale),
            "working_shape": list(plan.working_shape),
            "scale": plan.factor,
            "segmenter": info.segmenter,
            **facts["settings"],
        }
        return Completion(
            probability=completed,
            segmented=probability,
            model=info.name,
            model_version=info.version,
            device=facts["device"],
            precision=facts["precision"],
            settings=settings,
        )

    def _info(self, image: VesselImage) -> ModelInfo:
        if isinstance(self._asked, ModelInfo):
            return self._asked
        name = self._asked or default_completion_model(image.modality)
        if name is None:
            raise ModelError(
                f"There is no completion model for images of kind '{image.modality.value}'; name one, or do without."
            )
        return completion_model_info(name)
