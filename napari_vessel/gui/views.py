"""Views of the image to look at: its green channel, its local contrast, what a completion model has drawn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.layers import hand_over
from napari_vessel.gui.opening import view_job

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace

NAMES = {"green": "Green channel", "contrast": "Local contrast", "completion": "Completion map"}


class Views:
    """A layer over the image for each view that was asked for; no data is altered.

    Parameters
    ----------
    workspace : Workspace
        Whose image is looked at.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._layers: dict[str, Any] = {}
        self._waiting: set[str] = set()

    @property
    def layers(self) -> list[Any]:
        """The layers of all views, shown or hidden."""
        return list(self._layers.values())

    def shown(self, kind: str) -> bool:
        """Whether a view is there and shown."""
        return kind in self._layers and bool(self._layers[kind].visible)

    def is_made(self, kind: str) -> bool:
        """Whether a view is being made right now."""
        return self._workspace.tasks.is_running(_lane(kind))

    def show(self, kind: str, on: bool) -> None:
        """Show or hide a view (see :func:`view_job`)."""
        workspace = self._workspace
        if kind in self._layers and kind not in self._waiting:
            self._layers[kind].visible = on
        elif on and workspace.image is not None and workspace.record is not None:
            job = view_job(workspace.image, kind, workspace.project, workspace.record.id)
            workspace.tasks.start(_lane(kind), job, partial(self._made, kind), on_end=partial(self._ended, kind))
        else:
            workspace.tasks.drop(_lane(kind))
            self._ended(kind)

    def renew(self, kind: str) -> None:
        """Take away a view whose data have changed, and make it anew if it was shown or on its way."""
        shown = self.shown(kind) or self.is_made(kind)
        self._remove(kind)
        self.show(kind, shown)

    def leave(self) -> None:
        """Let go of the image: what is shown of it waits, hidden, for the next one's data; the rest goes."""
        for kind in NAMES:
            if self.shown(kind):
                self._layers[kind].visible = False
                self._waiting.add(kind)
            elif self.is_made(kind):
                self._waiting.add(kind)
            elif kind not in self._waiting:
                self._remove(kind)
            self._workspace.tasks.drop(_lane(kind))

    def enter(self) -> None:
        """Show of the next image what was shown of the one before."""
        for kind in sorted(self._waiting):
            self.show(kind, True)

    def close(self) -> None:
        """Remove all views."""
        for kind in NAMES:
            self._workspace.tasks.drop(_lane(kind))
            self._remove(kind)

    def forget(self, layer: Any) -> None:
        """Follow the removal of a layer by whomever."""
        for kind, view in list(self._layers.items()):
            if view is layer:
                del self._layers[kind]
                self._waiting.discard(kind)

    def _remove(self, kind: str) -> None:
        self._waiting.discard(kind)
        layer = self._layers.pop(kind, None)
        if layer is not None and layer in self._workspace.viewer.layers:
            self._workspace.viewer.layers.remove(layer)

    def _made(self, kind: str, grey: NDArray[np.float32] | None) -> None:
        from napari.layers import Image

        scene = self._workspace.scene
        if scene.image_layer is None or grey is None:
            return
        self._waiting.discard(kind)
        if kind in self._layers:
            hand_over(self._layers[kind], grey, scene.camera.transform)
            self._layers[kind].visible = True
            return
        layer = Image(grey, name=NAMES[kind], contrast_limits=(0.0, 1.0), affine=scene.camera.transform)
        layers = self._workspace.viewer.layers
        self._layers[kind] = layer
        layers.insert(layers.index(scene.image_layer) + len(self._layers), layer)
        scene.activate_mask()

    def _ended(self, kind: str) -> None:
        if kind in self._waiting:
            # There is no such view of this image.
            self._remove(kind)
        # Whatever came of it, the box that was ticked shows what there is.
        self._workspace.view_changed.emit()


def _lane(kind: str) -> str:
    return f"view {kind}"
