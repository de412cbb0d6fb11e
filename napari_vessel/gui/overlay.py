"""Draws proposals over the mask: the one under review as the very pixels it would change, the others as thin lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.gui.layers import cover_layer, hand_over
from napari_vessel.gui.pixels import put_pixels
from napari_vessel.gui.theme import COMPLETION, CUT, CUT_BETWEEN, MARK
from napari_vessel.review.drawing import Box, union_box

Paths = Mapping[str, NDArray[np.float32]]
NAME = "Proposals"
ARROWS_NAME = "Proposal ends"
_COMPLETION, _OTHER, _MARK, _CUT, _CUT_BETWEEN, _OTHER_CUT = 1, 2, 3, 4, 5, 6
Patch = tuple[tuple[int, int], NDArray[np.bool_]]
_FEW = 4

_RING = 3
"""How far the ring around a fragment is from it, px."""

_LONG, _WIDE, _CLEAR = 20.0, 14.0, 7.0
"""Length and width of an arrow, and how far its tip stays from the vessel's edge, in pixels of the screen."""


class Aim(NamedTuple):
    """Where an arrow points: (y, x), which way it heads, and how far its tip stays off, px."""

    point: NDArray[np.float64]
    heading: NDArray[np.float64]
    clear: float


class Overlay:
    """Two layers over the mask, never part of it, that cannot be edited.

    A Labels layer has the pixels, because napari redraws only the part of one that changed: moving to the next gap
    costs a few milliseconds on 8 million pixels, where a path in a Shapes layer costs 60. A Vectors layer has the two
    arrows, which keep their size on the screen.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to draw.
    camera : napari.components.Camera
        The viewer's camera.
    shape : tuple of int
        Height and width of the image.
    transform : ndarray, shape (3, 3)
        From (y, x, 1) in pixels to the world.
    """

    def __init__(self, viewer: Any, camera: Any, shape: tuple[int, int], transform: NDArray[np.float64]) -> None:
        from napari.layers import Vectors

        self._layers, self._camera = viewer.layers, camera
        colours = {_COMPLETION: COMPLETION, _OTHER: COMPLETION + "99", _MARK: MARK, None: COMPLETION}
        colours |= {_CUT: CUT, _CUT_BETWEEN: CUT_BETWEEN, _OTHER_CUT: CUT + "99"}
        self.layer = cover_layer(np.zeros(shape, np.uint8), NAME, colours, transform, opacity=0.9)
        self.arrows = Vectors(
            np.zeros((2, 2, 2), np.float32),
            name=ARROWS_NAME,
            vector_style="triangle",
            edge_color=COMPLETION,
            opacity=1.0,
            affine=transform,
            visible=False,
        )
        viewer.add_layer(self.layer)
        viewer.add_layer(self.arrows)
        self.layer.editable = False
        self.arrows.editable = False
        self.layer.events.visible.connect(self._show_arrows)
        self._arrow_colour = COMPLETION
        self._begin(shape, transform)
        camera.events.zoom.connect(self._place_arrows)

    def _begin(self, shape: tuple[int, int], transform: NDArray[np.float64]) -> None:
        self._shape = shape
        self._pixel = float(np.sqrt(abs(np.linalg.det(transform[:2, :2]))))
        self._paths: dict[str, NDArray[np.float32]] = {}
        self._gap: Gap | None = None
        self._aims: list[Aim] = []
        self._drawn: Box | None = None
        self._picture = np.zeros(shape, np.uint8)
        self._traced: Box | None = None

    def enter(self, shape: tuple[int, int], transform: NDArray[np.float64]) -> None:
        """Begin with another image, with no proposals yet."""
        self._begin(shape, transform)
        hand_over(self.layer, np.zeros(shape, np.uint8), transform)
        self.layer.editable = False
        if self.arrows.visible:
            self.arrows.visible = False
        if not np.array_equal(self.arrows.affine.affine_matrix, transform):
            # As soon as their place is told, what they span is measured: not where they were in the other image.
            with self.arrows.events.blocker_all():
                self.arrows.data = np.zeros((2, 2, 2), np.float32)
                self.arrows.editable = False
            self.arrows.affine = transform

    @property
    def complete(self) -> bool:
        """Whether both layers are in the viewer."""
        return self.layer in self._layers and self.arrows in self._layers

    @property
    def gap(self) -> Gap | None:
        """The gap drawn as under review."""
        return self._gap

    def close(self) -> None:
        """Remove the layers."""
        self._camera.events.zoom.disconnect(self._place_arrows)
        for layer in (self.layer, self.arrows):
            if layer in self._layers:
                self._layers.remove(layer)

    @property
    def visible(self) -> bool:
        """Whether proposals are shown."""
        return bool(self.layer.visible)

    @visible.setter
    def visible(self, on: bool) -> None:
        self.layer.visible = on

    def show(self, gaps: Sequence[Gap], selected: Gap | None, fragment: Patch | None = None) -> None:
        """Draw `gaps` as thin lines, and what is under review between two arrows.

        Parameters
        ----------
        gaps : sequence of Gap
            Open ones.
        selected : Gap or None
            Drawn as the pixels it would add, or in stripes as those it would erase, with an arrow at each end.
        fragment : tuple or None
            Origin (y, x) and pixels of a fragment under review: a ring is drawn around them.
        """
        picture = np.zeros(self._shape, np.uint8)
        for gap in gaps:
            _draw_line(picture, gap)
        before, self._drawn = self._drawn, None
        if selected is not None:
            self._drawn = _draw_changed(picture, selected)
        self._aims = [] if selected is None else aims(selected)
        if fragment is not None:
            self._drawn = _draw_ring(picture, fragment)
            self._aims = sides(fragment)
        self._picture, self._traced = picture, None
        # napari redraws the box around what changed: the old and the new place apart, not the whole way between them.
        places = [part for part in (before, self._drawn) if part is not None]
        paths = {gap.id: gap.path for gap in gaps}
        changed = [*_differing(paths, self._paths), *_differing(self._paths, paths)]
        self._paths = paths
        if len(changed) > _FEW:
            places = [(0, 0, *self._shape)]
        else:
            places += [_box_of(path, self._shape) for path in changed]
        for place in places:
            self._put(picture, place)
        self._gap = selected
        self._place_arrows()

    def show_many(self, patches: Sequence[Patch], drawn: bool) -> None:
        """Draw what a bulk action would draw, or with `drawn` false delete, and nothing else."""
        picture = np.zeros(self._shape, np.uint8)
        for (y, x), patch in patches:
            picture[y : y + patch.shape[0], x : x + patch.shape[1]][patch] = _COMPLETION if drawn else _MARK
        self._picture, self._traced = picture, None
        # The next picture is compared with this one, all of it.
        self._paths, self._drawn, self._gap, self._aims = {}, (0, 0, *self._shape), None, []
        self._put(picture, (0, 0, *self._shape))
        self._place_arrows()

    def trace(self, path: NDArray[np.floating] | None) -> None:
        """Draw a line, (y, x) in pixels, shape (N, 2), over everything else in place of the last one; None for none."""
        import cv2

        before, self._traced = self._traced, None
        if path is not None:
            self._traced = _box_of(path, self._shape)
        box = union_box([part for part in (before, self._traced) if part is not None])
        if box is None:
            return
        picture = self._picture[box[0] : box[2], box[1] : box[3]].copy()
        if path is not None:
            line = np.rint(path[:, ::-1]).astype(np.int32) - np.array([box[1], box[0]], np.int32)
            cv2.polylines(picture, [line.reshape(-1, 1, 2)], False, _COMPLETION, 1)
        self._put(picture, box, box[:2])

    def _put(self, picture: NDArray[np.uint8], box: Box, origin: tuple[int, int] = (0, 0)) -> None:
        y0, x0, y1, x1 = box
        wanted = picture[y0 - origin[0] : y1 - origin[0], x0 - origin[1] : x1 - origin[1]]
        rows, columns = np.nonzero(self.layer.data[y0:y1, x0:x1] != wanted)
        if rows.size:
            put_pixels(self.layer, rows + y0, columns + x0, wanted[rows, columns])

    def _place_arrows(self, event: Any = None) -> None:
        if self._aims:
            on_screen = 1.0 / max(float(self._camera.zoom) * self._pixel, 1e-9)
            # Arrows are no part of what the viewer spans, and nobody looks at their thumbnail: told of all that, the
            # viewer would measure every layer anew. Only what is drawn has to be told.
            with self.arrows.events.blocker_all():
                self.arrows.data = arrows(self._aims, on_screen)
                self.arrows.editable = False
            self.arrows.refresh(extent=False, thumbnail=False, highlight=False)
            # White for what would go, a fragment or a cut.
            colour = MARK if self._gap is None or self._gap.kind is GapKind.CUT else COMPLETION
            if self._arrow_colour != colour:
                self._arrow_colour = colour
                self.arrows.edge_color = colour
            if not np.isclose(self.arrows.edge_width, _WIDE * on_screen, rtol=1e-3, atol=0.0):
                self.arrows.edge_width = _WIDE * on_screen
        self._show_arrows()

    def _show_arrows(self, event: Any = None) -> None:
        wanted = bool(self._aims) and self.visible
        if self.arrows.visible != wanted:
            self.arrows.visible = wanted


def aims(gap: Gap) -> list[Aim]:
    """Return what the arrows of a gap point at: its two ends.

    They stand across the gap and on opposite sides of it: what has to be judged stays free, and on a short gap they do
    not meet.
    """
    path = np.asarray(gap.path, np.float64)
    clear = float(np.max(gap.widths)) / 2 + 1.0
    found = []
    for tip, inner in ((path[0], path[min(3, len(path) - 1)]), (path[-1], path[max(-4, -len(path))])):
        into = inner - tip
        length = float(np.hypot(*into))
        into = into / length if length else np.array([0.0, 1.0])
        found.append(Aim(tip, np.array([into[1], -into[0]]), clear))
    return found


def sides(fragment: Patch) -> list[Aim]:
    """Return what the arrows of a fragment point at: its left and its right side."""
    (y, x), pixels = fragment
    left, right = (np.flatnonzero(pixels[:, column]).mean() + y for column in (0, -1))
    width = pixels.shape[1]
    return [
        Aim(np.array([left, x]), np.array([0.0, 1.0]), _RING + 1.0),
        Aim(np.array([right, x + width - 1.0]), np.array([0.0, -1.0]), _RING + 1.0),
    ]


def arrows(at: Sequence[Aim], on_screen: float) -> NDArray[np.float32]:
    """Return arrows, as start and vector (y, x), shape (N, 2, 2).

    Parameters
    ----------
    at : sequence of Aim
        What they point at.
    on_screen : float
        What a pixel of the screen measures in pixels of the image.
    """
    found = []
    for aim in at:
        clear = aim.clear + _CLEAR * on_screen
        found.append([aim.point - aim.heading * (clear + _LONG * on_screen), aim.heading * _LONG * on_screen])
    return np.asarray(found, np.float32)


def _draw_ring(picture: NDArray[np.uint8], fragment: Patch) -> Box:
    import cv2

    (y, x), pixels = fragment
    # Room for the ring on all sides, and the frame cuts what is outside it.
    inside = np.pad(pixels, _RING).view(np.uint8)
    near = cv2.dilate(inside, np.ones((2 * _RING - 1, 2 * _RING - 1), np.uint8))
    ring = np.asarray(cv2.dilate(inside, np.ones((2 * _RING + 1, 2 * _RING + 1), np.uint8)) > near)
    y0, x0 = max(y - _RING, 0), max(x - _RING, 0)
    y1, x1 = min(y + pixels.shape[0] + _RING, picture.shape[0]), min(x + pixels.shape[1] + _RING, picture.shape[1])
    cut = ring[y0 - y + _RING : y1 - y + _RING, x0 - x + _RING : x1 - x + _RING]
    picture[y0:y1, x0:x1][cut] = _MARK
    return (y0, x0, y1, x1)


def _draw_changed(picture: NDArray[np.uint8], gap: Gap) -> Box:
    """Draw the pixels that accepting a proposal would change, and return the box around them."""
    from napari_vessel.completion import cut_gap, draw_gap

    cut = gap.kind is GapKind.CUT
    (y, x), patch = (cut_gap if cut else draw_gap)(gap, (picture.shape[0], picture.shape[1]))
    box = (y, x, y + patch.shape[0], x + patch.shape[1])
    values: Any = np.uint8(_COMPLETION)
    if cut:
        # Bands across the way, whichever way that runs.
        along = np.asarray(gap.path[-1] - gap.path[0], np.float64)
        along /= max(float(np.hypot(*along)), 1e-9) * max(1.5, float(np.max(gap.widths)) / 3)
        bands = np.floor(np.argwhere(patch) @ along).astype(np.intp)
        values = np.where(bands % 2 == 0, np.uint8(_CUT), np.uint8(_CUT_BETWEEN))
    picture[box[0] : box[2], box[1] : box[3]][patch] = values
    return box


def _draw_line(picture: NDArray[np.uint8], gap: Gap) -> None:
    import cv2

    line = np.rint(gap.path[:, ::-1]).astype(np.int32).reshape(-1, 1, 2)
    value = _OTHER_CUT if gap.kind is GapKind.CUT else _OTHER
    cv2.polylines(picture, [line], False, value, max(1, round(float(np.mean(gap.widths)) / 3)))


def _differing(these: Paths, those: Paths) -> list[NDArray[np.float32]]:
    """Return the paths in `these` that are not in `those` under the same id."""
    return [
        path
        for gap_id, path in these.items()
        if path is not those.get(gap_id) and not np.array_equal(path, those.get(gap_id, path[:0]))
    ]


def _box_of(path: NDArray[np.floating], shape: tuple[int, int]) -> Box:
    # Thin lines are a third of a vessel wide; nothing is lost by a generous box.
    margin = 16
    y0, x0 = np.maximum(np.floor(path.min(axis=0)).astype(int) - margin, 0)
    y1, x1 = np.ceil(path.max(axis=0)).astype(int) + margin
    return (int(y0), int(x0), min(int(y1), shape[0]), min(int(x1), shape[1]))
