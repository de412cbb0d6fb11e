"""Turns a layer that someone dragged into napari into an image or a mask, or says why it cannot be one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage, VesselMask
from napari_vessel.jobs import Job, Progress

_MICROMETRES = {"um", "µm", "micrometer", "micron"}


def plane_transform(layer: Any) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix that takes (y, x, 1) of a layer's last two axes to the world's.

    Scale, translate, rotate, shear and affine are all in it.
    """
    zero = np.zeros(layer.ndim)
    origin = np.asarray(layer.data_to_world(zero), float)[-2:]
    matrix = np.eye(3)
    matrix[:2, 2] = origin
    for axis in (0, 1):
        step = zero.copy()
        step[layer.ndim - 2 + axis] = 1.0
        matrix[:2, axis] = np.asarray(layer.data_to_world(step), float)[-2:] - origin
    return matrix


def plane_index(layer: Any, viewer: Any) -> tuple[int, ...]:
    """Return the index, into all axes but the last two, of the plane that the viewer shows now.

    Raises
    ------
    InputError
        If the viewer shows other axes than the layer's last two.
    """
    extra = layer.ndim - 2
    if extra == 0:
        return ()
    shown = list(viewer.dims.displayed)
    if viewer.dims.ndisplay != 2 or shown != [viewer.dims.ndim - 2, viewer.dims.ndim - 1]:
        raise InputError(
            f"The viewer does not show the last two axes of {layer.name}; go back to the 2-D view in the usual order "
            "and show the plane to review."
        )
    point = np.asarray(viewer.dims.point, float)
    index = np.rint(np.asarray(layer.world_to_data(point), float)).astype(int)[:extra]
    limits = np.asarray(_full_resolution(layer).shape[:extra])
    if (index < 0).any() or (index >= limits).any():
        raise InputError(f"The viewer stands outside {layer.name}; move the slider to the plane to review.")
    return tuple(int(i) for i in index)


def _full_resolution(layer: Any) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def _spacing(layer: Any) -> tuple[float, float] | None:
    units = [str(unit) for unit in getattr(layer, "units", ())][-2:]
    if len(units) == 2 and all(unit in _MICROMETRES for unit in units):
        scale = [abs(float(s)) for s in layer.scale[-2:]]
        return (scale[0], scale[1])
    return None


def _stated_modality(layer: Any) -> Modality | None:
    """Return the modality that a layer of ours, such as a sample, says it has."""
    facts = layer.metadata.get("napari-vessel")
    stated = facts.get("modality") if isinstance(facts, Mapping) else None
    known = {str(modality): modality for modality in Modality}
    return known.get(str(stated))


def image_job(layer: Any, index: Sequence[int]) -> Job[VesselImage]:
    """Read one plane of an Image layer, which may be lazy, as an image."""
    from napari_vessel.images.reading import image_from_array

    data, rgb, name = _full_resolution(layer), bool(layer.rgb), str(layer.name)
    spacing = _spacing(layer)
    yield Progress(0, None, f"Reading {name}")
    plane = data[tuple(index)] if index else data
    number = int(index[-1]) if len(index) == 1 else None
    return image_from_array(
        np.asarray(plane), rgb=rgb, name=name, spacing=spacing, plane=number, modality=_stated_modality(layer)
    )


def mask_job(layer: Any, index: Sequence[int]) -> Job[VesselMask]:
    """Read one plane of a Labels layer, which may be lazy, as a mask."""
    from napari_vessel.images.masks import mask_from_array

    data, name = _full_resolution(layer), str(layer.name)
    yield Progress(0, None, f"Reading {name}")
    return mask_from_array(np.asarray(data[tuple(index)] if index else data))
