"""From an image to a vessel probability and a mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import VesselImage

# Not on demand like the others: its module has the same name and would take its place here.
from napari_vessel.segmentation.binarise import binarise

if TYPE_CHECKING:
    from napari_vessel.segmentation.completer import Completer, Completion
    from napari_vessel.segmentation.loading import verify_model
    from napari_vessel.segmentation.registry import (
        ModelInfo,
        completion_models,
        default_completion_model,
        default_model,
        list_models,
        model_info,
    )
    from napari_vessel.segmentation.segmentation import Segmentation
    from napari_vessel.segmentation.segmenter import Segmenter

__all__ = [
    "Completer",
    "Completion",
    "ModelInfo",
    "Segmentation",
    "Segmenter",
    "binarise",
    "completion_models",
    "default_completion_model",
    "default_model",
    "list_models",
    "model_info",
    "segment",
    "verify_model",
]

_HOMES = {
    "Completer": "completer",
    "Completion": "completer",
    "ModelInfo": "registry",
    "Segmentation": "segmentation",
    "Segmenter": "segmenter",
    "completion_models": "registry",
    "default_completion_model": "registry",
    "default_model": "registry",
    "list_models": "registry",
    "model_info": "registry",
    "verify_model": "loading",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def segment(
    image: VesselImage | NDArray[Any] | Path | str,
    *,
    model: str | None = None,
    device: str = "auto",
    threshold: float | None = None,
    min_size: int | None = None,
    fov: str | Path = "auto",
) -> Segmentation:
    """Segment the vessels of one image.

    Parameters
    ----------
    image : VesselImage, ndarray, Path or str
        The image, or where it lies. An array is (Y, X) or (Y, X, 3).
    model : str, optional
        Name of a model; by default the one made for the image's modality.
    device : str
        ``auto``, ``cuda``, ``mps`` or ``cpu``.
    threshold : float, optional
        Where to cut the probability; by default the model's own.
    min_size : int, optional
        Smallest piece kept, px; by default the model's own.
    fov : {"auto", "none"} or Path
        Field of view; not used for a :class:`VesselImage`, which has its own.

    Returns
    -------
    Segmentation
        Probability, mask, and what made them.

    Raises
    ------
    VesselError
        If image, model or device cannot be used, in one sentence.
    """
    from napari_vessel.images.reading import count_planes, image_from_array, read_image
    from napari_vessel.jobs import run_job
    from napari_vessel.segmentation.segmenter import Segmenter

    if isinstance(image, VesselImage):
        ready = image
    elif isinstance(image, (str, Path)):
        pages = count_planes(Path(image))
        if pages > 1:
            raise InputError(
                f"{image} has {pages} pages; read one with napari_vessel.images.reading.read_image(path, plane=0) "
                "and segment that."
            )
        ready = read_image(Path(image), fov=fov)
    else:
        ready = image_from_array(np.asarray(image), fov=fov)
    return run_job(Segmenter(model, device).predict(ready, threshold=threshold, min_size=min_size))
