"""The Segmenter: any model, any image size, any device, one job per image."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import ModelError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.jobs import Job, Progress
from napari_vessel.segmentation.binarise import binarise
from napari_vessel.segmentation.devices import resolve_device
from napari_vessel.segmentation.preparation import (
    Resampling,
    around_field,
    field_diameter,
    normalise,
    plan_resampling,
    resample,
    resample_fov,
    working_diameter,
)
from napari_vessel.segmentation.registry import ModelInfo, default_model, model_info
from napari_vessel.segmentation.running import NetworkRunner
from napari_vessel.segmentation.segmentation import Segmentation

log = logging.getLogger(__name__)


class Segmenter:
    """Predicts vessels with one model on one device.

    Making one costs nothing; weights are loaded when the first image needs them, and kept.

    Parameters
    ----------
    model : str or ModelInfo, optional
        Name of a model, or one read with :func:`~napari_vessel.segmentation.registry.read_model`; by default
        each image gets the one made for its modality.
    device : str
        ``auto``, ``cuda``, ``mps`` or ``cpu``.
    """

    def __init__(self, model: str | ModelInfo | None = None, device: str = "auto") -> None:
        self._given = model if isinstance(model, ModelInfo) else None
        self._asked = model.name if isinstance(model, ModelInfo) else model
        self._device_asked = device
        self._used = self._asked or ""
        self._runner = NetworkRunner()

    @property
    def model(self) -> str:
        """Name of the model asked for, or else of the one used last."""
        return self._asked or self._used

    def predict(
        self, image: VesselImage, *, threshold: float | None = None, min_size: int | None = None
    ) -> Job[Segmentation]:
        """Segment one image.

        Parameters
        ----------
        image : VesselImage
            Of any size.
        threshold : float, optional
            Where to cut the probability; by default the model's own.
        min_size : int, optional
            Smallest piece kept, in pixels of the image; by default the model's own, converted to this image.

        Returns
        -------
        Job of Segmentation
            Yields after every batch of tiles; closing it stops the work within one.

        Raises
        ------
        ModelError
            If the model is missing or damaged.
        DeviceError
            If the device is not there or has too little memory.
        """
        info = self._given or model_info(self._asked or default_model(image.modality))
        if info.kind == "completion":
            raise ModelError(
                f"The model '{info.name}' completes what a segmenter found; segment with '{info.segmenter}' first."
            )
        self._used = info.name
        yield Progress(0, None, f"Loading {info.title}")
        if info.modalities and image.modality not in (*info.modalities, Modality.OTHER):
            log.warning("Model '%s' was not made for %s images.", info.name, image.modality.value)
        seen, window = around_field(image)
        if info.kind == "network":
            probability, facts = yield from self._run_network(info, seen)
        else:
            probability, facts = yield from self._run_ridge(info, seen)
        if seen.fov is not None:
            inside = np.where(seen.fov, probability, np.float32(0))
            probability = np.zeros(image.shape, np.float32)
            probability[window] = inside
        cut = info.threshold if threshold is None else float(threshold)
        if min_size is None:
            min_size = _smallest(info, image, facts["settings"]["scale"])
        yield Progress(1, 1, "Cutting the mask")
        return Segmentation(
            probability=probability,
            mask=binarise(probability, cut, min_size, image.fov),
            threshold=cut,
            min_size=min_size,
            model=info.name,
            model_version=info.version,
            **facts,
        )

    def _run_ridge(self, info: ModelInfo, image: VesselImage) -> Job[tuple[NDArray[np.float32], dict[str, Any]]]:
        from napari_vessel.segmentation.ridge import vesselness

        # Asking for a device that is not there is an error even for a model that would not use it.
        resolve_device("cpu" if self._device_asked == "auto" else self._device_asked)
        probability, settings = yield from vesselness(image)
        facts = {"device": "cpu", "precision": "float32", "channel": image.channel_name, "settings": settings}
        return probability, facts

    def _run_network(self, info: ModelInfo, image: VesselImage) -> Job[tuple[NDArray[np.float32], dict[str, Any]]]:
        # A device that is not there shows before any work is done.
        resolve_device(self._device_asked)
        yield Progress(0, None, "Preparing the image")
        colour = info.network["in_channels"] == 3
        prepared, plan, inside = prepare(image, info, colour)
        outside = None if inside is None else ~inside
        small, facts = yield from self._runner.run(info, prepared, self._device_asked, outside, "Segmenting")
        yield Progress(1, 1, "Back to the image's own size")
        probability = resample(small, plan.shape)
        settings: dict[str, Any] = {
            "working_scale": dict(info.working_scale),
            "working_shape": list(plan.working_shape),
            "scale": plan.factor,
            **facts["settings"],
        }
        channel = ("rgb" if image.pixels.ndim == 3 else "grey") if colour else image.channel_name
        return probability, {**facts, "channel": channel, "settings": settings}


def _smallest(info: ModelInfo, image: VesselImage, scale: float) -> int:
    """Return the smallest piece kept, in pixels of the image: the same share of the field of view in all of them."""
    if info.working_scale["kind"] == "field_of_view":
        scale = float(info.working_scale["px"]) / field_diameter(image.shape, image.fov)
    return round(info.min_size / max(scale, 1e-6) ** 2)


def prepare(
    image: VesselImage, info: ModelInfo, colour: bool
) -> tuple[NDArray[np.float32], Resampling, NDArray[np.bool_] | None]:
    """Bring an image to a model's working scale and normalise it.

    Returns
    -------
    prepared : ndarray of float32, shape (C, Y, X)
        The network's input.
    plan : Resampling
        How to get back.
    inside : ndarray of bool, shape (Y, X), or None
        Field of view at the working scale.
    """
    scale = info.working_scale
    if scale["kind"] == "field_of_view":
        diameter = field_diameter(image.shape, image.fov)
        plan = plan_resampling(image.shape, diameter, working_diameter(scale, diameter))
    else:
        plan = Resampling(image.shape, image.shape)
    pixels = image.pixels if colour else image.vessel_channel()
    reduced = resample(pixels, plan.working_shape)
    inside = resample_fov(image.fov, plan.working_shape)
    prepared = normalise(reduced, inside)
    if colour and prepared.shape[2] == 1:
        prepared = np.repeat(prepared, 3, axis=2)
    return np.ascontiguousarray(prepared.transpose(2, 0, 1)), plan, inside
