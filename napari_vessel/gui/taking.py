"""Takes layers that are in the viewer already: an image into the project, labels as the mask of the image they fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vessel.errors import InputError
from napari_vessel.gui.importing import image_job, mask_job, plane_index, plane_transform
from napari_vessel.images.image import VesselImage, VesselMask
from napari_vessel.jobs import Job

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace


class Taking:
    """Reads layers on a thread and hands them to the workspace.

    Parameters
    ----------
    workspace : Workspace
        Whose project and session they go to.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def take_image(self, layer: Any, mask: Any = None) -> None:
        """Add an Image layer to the project, with a Labels layer as its mask, and open it."""
        workspace = self._workspace
        index = plane_index(layer, workspace.viewer)
        mask_index = None if mask is None else plane_index(mask, workspace.viewer)

        def read() -> Job[tuple[VesselImage, VesselMask | None]]:
            image = yield from image_job(layer, index)
            found = None if mask is None else (yield from mask_job(mask, mask_index or ()))
            return image, found

        def done(result: tuple[VesselImage, VesselMask | None]) -> None:
            layer.visible = False
            if mask is not None:
                mask.visible = False
            workspace.add_image(*result, transform=plane_transform(layer))

        workspace.tasks.start("add", read(), done, f"Reading {layer.name}")

    def take_labels(self, layer: Any) -> None:
        """Make a Labels layer the mask of the open image, or take it with the Image layer that it fits."""
        from napari.layers import Image

        workspace = self._workspace
        shape = tuple(int(n) for n in (layer.data[0] if layer.multiscale else layer.data).shape[-2:])
        if workspace.session is None or workspace.session.shape != shape:
            for other in workspace.viewer.layers:
                if isinstance(other, Image) and not workspace.scene.owns(other):
                    data = other.data[0] if other.multiscale else other.data
                    if tuple(data.shape[:-1] if other.rgb else data.shape)[-2:] == shape:
                        self.take_image(other, layer)
                        return
            raise InputError(
                f"{layer.name} is {shape[0]} x {shape[1]} px and no open image is; open the image it belongs to first."
            )
        session = workspace.session

        def done(mask: VesselMask) -> None:
            if workspace.session is not session:
                return
            known = {c.label for c in session.classes}
            labels = mask.labels
            if not {c.label for c in mask.classes} <= known:
                labels = (labels > 0).view(np.uint8) * np.uint8(session.classes[0].label)
                workspace.say(f"{layer.name} has classes this image has not; all of them became vessel.", "warning")
            layer.visible = False
            workspace.set_mask(labels, f"mask from {layer.name}")

        workspace.tasks.start(
            "add", mask_job(layer, plane_index(layer, workspace.viewer)), done, f"Reading {layer.name}"
        )
