"""Takes layers that are in the viewer already: an image into the project, labels as the mask of the image they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.gui.importing import image_job, mask_job, plane_index, plane_transform
from napari_vessel.images.image import MaskClass, VesselImage, VesselMask
from napari_vessel.jobs import Job, run_job
from napari_vessel.review.records import ImageRecord

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

        workspace.tasks.in_turn("add", read(), done, f"Reading {layer.name}")

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
                f"{layer.name} is {shape[1]} × {shape[0]} px and no open image is; open the image it belongs to first."
            )
        session = workspace.session

        def done(mask: VesselMask) -> None:
            if workspace.session is not session:
                return
            layer.visible = False
            if len(mask.classes) > 1 and self._becomes_first_mask(mask):
                return
            labels, strangers = in_classes(mask, session.classes)
            if strangers:
                values = ", ".join(str(value) for value in strangers)
                workspace.say(
                    f"{layer.name} has classes this image has not ({values}); they became {session.classes[0].name}.",
                    "warning",
                )
            workspace.set_mask(labels, f"mask from {layer.name}")

        workspace.tasks.in_turn(
            "add", mask_job(layer, plane_index(layer, workspace.viewer)), done, f"Reading {layer.name}"
        )

    def _becomes_first_mask(self, mask: VesselMask) -> bool:
        """Make a mask with classes the first one of an open image that has none; return whether it is now."""
        workspace = self._workspace
        project, session, image = workspace.project, workspace.session, workspace.image
        if project is None or session is None or image is None:
            return False
        workspace.flush()
        if session.can_undo or session.can_redo or session.labels.any():
            return False
        # On this thread, and the image is closed next: a stroke in between would be painted on what was there before.
        records: list[ImageRecord] = []
        workspace.review.attempt(lambda: records.extend(run_job(project.add([image], mask))))
        if not records or records[0].classes != mask.classes:
            return False
        workspace.close_image()
        workspace.open_image(records[0].id)
        return True


def in_classes(
    mask: VesselMask, classes: Sequence[MaskClass]
) -> tuple[NDArray[np.uint8], list[int | tuple[int, int, int]]]:
    """Return a mask in the labels of other classes, and its values that those have not: they get the first label.

    A class is the same when its value in the file is, and where the values cannot be the same (colours against
    numbers) when its name is. One class for one class is no question of values.
    """
    by_value = {c.value: c.label for c in classes}
    by_name = {c.name: c.label for c in classes if isinstance(c.value, tuple)}
    alone = len(classes) == 1 and len(mask.classes) == 1
    present = np.bincount(mask.labels.ravel(), minlength=256)
    table, strangers = np.zeros(256, np.uint8), []
    for entry in mask.classes:
        label = by_value.get(entry.value, by_name.get(entry.name))
        if label is None and present[entry.label] and not alone:
            strangers.append(entry.value)
        table[entry.label] = classes[0].label if label is None else label
    return np.asarray(table[mask.labels], np.uint8), strangers
