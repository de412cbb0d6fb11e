"""The layers of one open image: the image, its mask, the proposals and what else is shown over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.binding import MaskBinding
from napari_vessel.gui.camera import Camera
from napari_vessel.gui.changes import Changes
from napari_vessel.gui.fragments import Change, Fragments
from napari_vessel.gui.layers import cover_layer, hand_over, is_cover
from napari_vessel.gui.outlines import Outlines
from napari_vessel.gui.overlay import Overlay
from napari_vessel.gui.preferences import preferred, watch
from napari_vessel.gui.theme import PREVIEW, THEIRS, class_colours
from napari_vessel.gui.versions import at_once
from napari_vessel.gui.views import Views
from napari_vessel.review.drawing import Box
from napari_vessel.review.records import ImageRecord
from napari_vessel.review.session import ReviewSession

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace

MASK_NAME = "Vessels"
THEIRS_NAME = "Other annotator"
PREVIEW_NAME = "Threshold preview"


class Scene:
    """Makes the layers, and removes only what it made.

    The layers of one image are given the next one's data: to the annotator they are the same, in their order, as bright
    and as large as they were made, shown or hidden. They go when an image is closed and no other opened.

    Attributes
    ----------
    image_layer, mask_layer : napari layers or None
        Those of the open image.
    binding : MaskBinding or None
        Mask layer and session, kept the same.
    overlay : Overlay or None
        The proposals.
    fragments : Fragments or None
        The pieces apart from the main tree.
    views : Views
        Other looks at the image.
    outlines : Outlines
        Other masks of the image.
    camera : Camera
        Over the image.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.image_layer: Any = None
        self.mask_layer: Any = None
        self.binding: MaskBinding | None = None
        self.overlay: Overlay | None = None
        self.views = Views(workspace)
        self._preview: Any = None
        self._mask_before = True
        self._colours: dict[int | None, str] = {}
        self.camera = Camera(workspace)
        self._clicked: tuple[int, int] | None = None
        self._contour, self._opacity = int(preferred("mask_outline")), float(preferred("mask_opacity"))
        self.fragments: Fragments | None = None
        self._fragments_on: bool | None = None
        self._fragments_wait = False
        self._fragments_due = self._changes_due = False
        self._before_raw: tuple[bool, bool] | None = None
        self._opened: NDArray[np.uint8] | None = None
        self._changes: Changes | None = None
        self.outlines = Outlines(workspace)
        self._viewer.layers.events.removing.connect(self._before_removal)
        self._viewer.layers.events.removed.connect(self._on_removed)
        workspace.mask_changed.connect(self._update_fragments)
        for name in ("mask_outline", "mask_opacity", "mask_colour"):
            watch(name, self._follow_preferences)

    @property
    def _viewer(self) -> Any:
        return self._workspace.viewer

    @property
    def _camera(self) -> Any:
        return self.camera.of_napari

    def owns(self, layer: Any) -> bool:
        """Whether the layer is one of this scene's."""
        mine = [self.image_layer, self.mask_layer, *self.views.layers]
        if self.overlay is not None:
            mine.append(self.overlay.arrows)
        return is_cover(layer) or any(layer is one for one in mine if one is not None)

    def show(
        self, record: ImageRecord, display: NDArray[Any], session: ReviewSession, transform: NDArray[np.float64]
    ) -> None:
        """Show an image, its mask and (empty) proposals."""
        if self.image_layer is not None and not self.complete:
            self.close()
        self._clicked = None
        self._opened = session.labels.copy()
        self._show_image(record.name, display, transform)
        self._show_mask(session, transform)
        self._show_fragments(session)
        if self.overlay is not None and self.overlay.complete:
            self.overlay.enter(session.shape, transform)
        else:
            if self.overlay is not None:
                self.overlay.close()
            self.overlay = Overlay(self._viewer, self._camera, session.shape, transform)
            self.overlay.layer.events.visible.connect(self._on_looks)
        self._changes_due = self._changes is None
        if self._changes is not None:
            self._changes.enter(self.mask_layer, self._opened, session.labels)
        workspace = self._workspace
        self.binding = MaskBinding(self.mask_layer, session, workspace.say, workspace.undo, workspace.redo)
        self.mask_layer.mouse_drag_callbacks += [self._on_click, workspace.review.repaint.wire.on_drag]
        self.mask_layer.mouse_move_callbacks.append(self._on_move)
        self.activate_mask()
        self.camera.enter(session.shape, transform)
        self.views.enter()
        self._update_fragments()

    def _show_image(self, name: str, display: NDArray[Any], transform: NDArray[np.float64]) -> None:
        from napari.layers import Image

        layer, rgb = self.image_layer, display.ndim == 3
        if layer is not None and layer.rgb == rgb:
            hand_over(layer, display, transform)
            layer.name = name
            return
        limits = None if rgb else (0.0, 1.0)
        self.image_layer = Image(display, name=name, rgb=rgb, affine=transform, contrast_limits=limits)
        layers = self._viewer.layers
        at = len(layers)
        if layer is not None:
            # A colour layer cannot become a grey one: another takes its place.
            at, self.image_layer.visible = layers.index(layer), layer.visible
            layers.remove(layer)
        layers.insert(at, self.image_layer)

    def _show_mask(self, session: ReviewSession, transform: NDArray[np.float64]) -> None:
        from napari.layers import Labels

        data = session.labels.copy()
        if self.mask_layer is None:
            self.mask_layer = Labels(data, name=MASK_NAME, opacity=self._opacity, affine=transform)
            self._colours = {}
            self._colour_mask(session)
            self.mask_layer.contour = self._contour
            for event in (self.mask_layer.events.visible, self.mask_layer.events.opacity):
                event.connect(self._on_looks)
            self._viewer.add_layer(self.mask_layer)
        else:
            hand_over(self.mask_layer, data, transform)
            self._colour_mask(session)
            if len(self.mask_layer.features.columns):
                self.mask_layer.features = {}
        self.mask_layer.selected_label = session.classes[0].label

    def _show_fragments(self, session: ReviewSession) -> None:
        # With arteries and veins the colours are taken, unless fragments are asked for.
        wanted = len(session.classes) == 1 if self._fragments_on is None else self._fragments_on
        if self.fragments is not None:
            self.fragments.enter(wanted)
        else:
            self._fragments_due = wanted

    def leave(self) -> None:
        """Let go of the open image; its layers stay, for the next one's data."""
        if self.binding is None:
            return
        self.raw(False)
        self.binding.close()
        self.binding = None
        self.end_preview()
        for callbacks in (self.mask_layer.mouse_drag_callbacks, self.mask_layer.mouse_move_callbacks):
            for own in (self._on_click, self._workspace.review.repaint.wire.on_drag, self._on_move):
                if own in callbacks:
                    callbacks.remove(own)
        # Its way to drop a tool and what napari would undo.
        self.mask_layer.editable = False
        self.mask_layer.editable = True
        self.views.leave()

    def close(self) -> None:
        """Remove the layers that this scene made."""
        if self.image_layer is None:
            return
        with at_once(self._viewer):
            self.leave()
            self.outlines.close()
            overlay, self.overlay = self.overlay, None
            fragments, self.fragments = self.fragments, None
            changes, self._changes, self._opened = self._changes, None, None
            self._fragments_due = self._changes_due = False
            self.views.close()
            for own in (overlay, fragments, changes):
                if own is not None:
                    own.close()
            layers = [self.image_layer, self.mask_layer]
            self.image_layer = self.mask_layer = None
            for layer in layers:
                if layer is not None and layer in self._viewer.layers:
                    self._viewer.layers.remove(layer)

    @property
    def complete(self) -> bool:
        """Whether the image and its mask are in the viewer."""
        return self.mask_layer in self._viewer.layers and self.image_layer in self._viewer.layers

    def flush(self) -> None:
        """Commit a stroke that waits for its event-loop turn."""
        if self.binding is not None:
            self.binding.flush()

    def activate_mask(self) -> None:
        """Make the mask the active layer, so that napari's tools and keys mean it."""
        if self.mask_layer is not None and self.mask_layer in self._viewer.layers:
            self._viewer.layers.selection.active = self.mask_layer

    # Looks

    def _on_looks(self, event: Any = None) -> None:
        """Tell of what was hidden or tuned in napari's list of layers; the raw image is only looked at for a moment."""
        if self._before_raw is None:
            self._workspace.view_changed.emit()

    def _follow_preferences(self) -> None:
        if self._contour != int(preferred("mask_outline")):
            self.contour = int(preferred("mask_outline"))
        if self._opacity != preferred("mask_opacity"):
            self.opacity = float(preferred("mask_opacity"))
        session = self._workspace.session
        if self.mask_layer is not None and session is not None:
            self._colour_mask(session)

    def _colour_mask(self, session: ReviewSession) -> None:
        from napari.utils.colormaps import DirectLabelColormap

        colours = class_colours(session.classes, preferred("mask_colour"))
        if colours != self._colours:
            self._colours = colours
            self.mask_layer.colormap = DirectLabelColormap(color_dict=colours)

    @property
    def contour(self) -> int:
        """Width of the mask's outline in pixels; 0 fills it."""
        return self._contour

    @contour.setter
    def contour(self, width: int) -> None:
        self._contour = width
        if self.mask_layer is not None:
            self.mask_layer.contour = width
        self._update_fragments()
        self._workspace.view_changed.emit()

    @property
    def opacity(self) -> float:
        """Opacity of the mask."""
        return self._opacity if self.mask_layer is None else float(self.mask_layer.opacity)

    @opacity.setter
    def opacity(self, value: float) -> None:
        self._opacity = value
        if self.mask_layer is not None:
            self.mask_layer.opacity = value
        self._workspace.view_changed.emit()

    @property
    def _mask_shown(self) -> Any:
        """The layer of the mask, or of what is previewed in its place."""
        return self.mask_layer if self._preview is None else self._preview

    @property
    def mask_visible(self) -> bool:
        """Whether the mask is shown, or what is previewed in its place."""
        return self.mask_layer is not None and bool(self._mask_shown.visible)

    @mask_visible.setter
    def mask_visible(self, on: bool) -> None:
        if self.mask_layer is not None:
            # napari draws all of a layer anew even when it is told what it knows.
            if self._mask_shown.visible != on:
                self._mask_shown.visible = on
            self._workspace.view_changed.emit()

    def raw(self, on: bool, mask: bool | None = None) -> None:
        """Hide mask and proposals, as long as a key is held, or show again what was shown before.

        Parameters
        ----------
        on : bool
            Whether the raw image is to be seen.
        mask : bool, optional
            Whether the mask is shown afterwards, when not as before: showing it only to hide it again would upload all
            of it to the graphics card.
        """
        if self.mask_layer is None or self.overlay is None:
            return
        if self._changes is not None:
            self._changes.hide(on)
        self.outlines.hide(on)
        if on and self._before_raw is None:
            self._before_raw = (self.mask_visible, self.overlay.visible)
            self._mask_shown.visible = self.overlay.visible = False
        elif not on and self._before_raw is not None:
            (before, self.overlay.visible), self._before_raw = self._before_raw, None
            mask = before if mask is None else mask
        if mask is not None:
            self.mask_visible = mask

    @property
    def proposals_visible(self) -> bool:
        """Whether proposals are shown."""
        return self.overlay is not None and self.overlay.visible

    @proposals_visible.setter
    def proposals_visible(self, on: bool) -> None:
        if self.overlay is not None:
            self.overlay.visible = on
            self._workspace.view_changed.emit()

    @property
    def fragments_shown(self) -> bool:
        """Whether pieces apart from the main tree have a colour of their own."""
        return self._fragments_due or (self.fragments is not None and self.fragments.shown)

    @fragments_shown.setter
    def fragments_shown(self, on: bool) -> None:
        self._fragments_on, self._fragments_due = on, False
        if self.fragments is not None:
            self.fragments.shown = on
        elif on and self.mask_layer is not None:
            self.fragments = Fragments(self._viewer, self.mask_layer)
            self.activate_mask()
        self._update_fragments()
        self._workspace.view_changed.emit()

    def _update_fragments(self) -> None:
        from qtpy.QtCore import QTimer

        # When the edit has been drawn: a thread that begins now would take its time from the drawing.
        if not self._fragments_wait:
            self._fragments_wait = True
            QTimer.singleShot(0, self._color_fragments)

    def _color_fragments(self) -> None:
        self._fragments_wait = False
        self._add_unseen()
        session, fragments = self._workspace.session, self.fragments
        if session is None or fragments is None or not fragments.shown:
            return

        def done(change: Change) -> None:
            if fragments is self.fragments:
                fragments.take(change)

        job = fragments.update_job(session.components_copy(), self._contour)
        self._workspace.tasks.start("fragments", job, done)

    def _add_unseen(self) -> None:
        """Add the layers that show nothing as an image is opened, one in a turn: each takes as long as a key may."""
        from qtpy.QtCore import QTimer

        session = self._workspace.session
        if session is None or self._opened is None or not self.complete:
            return
        active = self._viewer.layers.selection.active
        if self._fragments_due:
            self._fragments_due = False
            self.fragments = Fragments(self._viewer, self.mask_layer)
            if self._changes_due:
                QTimer.singleShot(0, self._add_unseen)
        elif self._changes_due:
            self._changes_due = False
            if self._changes is None:
                self._changes = Changes(self._viewer, self.mask_layer, self._opened, session.labels)
        else:
            return
        self._viewer.layers.selection.active = active

    @property
    def changes_shown(self) -> bool:
        """Whether it is shown what has changed since the image was opened."""
        return self._changes is not None and self._changes.shown

    @changes_shown.setter
    def changes_shown(self, on: bool) -> None:
        session = self._workspace.session
        if session is not None and self._opened is not None and on != self.changes_shown:
            self._workspace.flush()
            if self._changes is None:
                self._changes = Changes(self._viewer, self.mask_layer, self._opened, session.labels)
                self.activate_mask()
            self._changes.shown = on
            if on:
                self._workspace.say(self._changes.text)
        self._workspace.view_changed.emit()

    def note_change(self, box: Box | None) -> None:
        """Follow an edit inside a box (y0, x0, y1, x1); None for one that touched nothing."""
        if self._changes is not None and box is not None:
            self._changes.update(box)

    def preview(self, mask: NDArray[np.bool_]) -> None:
        """Show what a threshold would give in place of the mask."""
        data = mask.view(np.uint8)
        if self._preview is None:
            self._mask_before = self.mask_visible if self._before_raw is None else self._before_raw[0]
            self.mask_layer.visible = False
            self._preview = cover_layer(
                data, PREVIEW_NAME, {None: PREVIEW}, self.camera.transform, opacity=self._opacity
            )
            self._viewer.add_layer(self._preview)
            self._preview.editable = False
            self.activate_mask()
            self._workspace.view_changed.emit()
        else:
            self._preview.data = data

    def end_preview(self) -> None:
        """Show the mask again, if it was shown before."""
        layer, self._preview = self._preview, None
        if layer is not None:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
            self.mask_visible = self._mask_before
            self.activate_mask()

    def show_theirs(self, mask: NDArray[np.uint8] | None) -> None:
        """Show another annotator's mask, 0 and 1, uint8, shape (Y, X), as a line around it; None takes it away."""
        self.outlines.show(THEIRS_NAME, mask, THEIRS)

    # The mouse

    @property
    def canvas(self) -> Any:
        """The widget that the image is drawn on, or None for a viewer without a window."""
        found = getattr(getattr(getattr(self._viewer, "window", None), "_qt_viewer", None), "canvas", None)
        return getattr(found, "native", None)

    def pixel_at_cursor(self) -> tuple[int, int] | None:
        """Return the pixel (y, x) under the cursor, or None when that is outside the image."""
        return self.pixel_at(self._viewer.cursor.position)

    @property
    def pixel_clicked(self) -> tuple[int, int] | None:
        """The pixel (y, x) clicked last on the mask layer."""
        return self._clicked

    def pixel_at(self, position: Any) -> tuple[int, int] | None:
        """Return the pixel (y, x) at a place in the world, or None when that is outside the image."""
        return None if self.mask_layer is None else self.camera.to_pixel(position)

    def _on_click(self, layer: Any, event: Any) -> None:
        self._clicked = self.pixel_at(event.position)

    def _on_move(self, layer: Any, event: Any) -> None:
        wire = self._workspace.review.repaint.wire
        if wire.on:
            wire.moved(self.pixel_at(event.position))

    def _before_removal(self, event: Any = None) -> None:
        # napari frees a layer's textures and shaders in whatever OpenGL context is current: mostly Qt's own, that put
        # the last frame together. Mesa's software renderer then lets go of the shader that the canvas has bound, and
        # drawing without it ends the process.
        if self.canvas is not None:
            self.canvas.makeCurrent()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        mine = self.owns(layer)
        self.views.forget(layer)
        if self.fragments is not None and layer is self.fragments.layer:
            self.fragments = None
            self._fragments_on = False
        if self._changes is not None and layer is self._changes.layer:
            self._changes = None
        self.outlines.forget(layer)
        if layer is self._preview:
            self._preview = None
            self.mask_visible = self._mask_before
        if layer is self.mask_layer or layer is self.image_layer:
            self._workspace.layer_removed()
        if mine:
            self._workspace.view_changed.emit()
