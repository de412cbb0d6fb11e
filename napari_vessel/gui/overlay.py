"""Draws proposals over the mask: the one under review as the very pixels it would add, the others as thin lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap
from napari_vessel.gui.theme import COMPLETION

_EMPTY = np.zeros((0, 2, 2), np.float32)


class Overlay:
    """Two layers that are never part of the mask, and cannot be edited.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to draw.
    shape : tuple of int
        Height and width of the image.
    transform : ndarray, shape (3, 3)
        From (y, x, 1) in pixels to the world.
    """

    def __init__(self, viewer: Any, shape: tuple[int, int], transform: NDArray[np.float64]) -> None:
        from napari.layers import Labels, Vectors
        from napari.utils.colormaps import DirectLabelColormap

        self._viewer, self._shape, self._transform = viewer, shape, transform
        self._lines = _EMPTY
        colours = DirectLabelColormap(color_dict={0: "transparent", 1: COMPLETION, None: COMPLETION})
        self.ghost = Labels(
            np.zeros((1, 1), np.uint8),
            name="Completion",
            colormap=colours,
            opacity=0.85,
            affine=transform,
            visible=False,
        )
        self.lines = Vectors(
            _EMPTY,
            name="Proposals",
            edge_color=COMPLETION,
            vector_style="line",
            edge_width=1.0,
            affine=transform,
            opacity=0.9,
        )
        for layer in (self.ghost, self.lines):
            viewer.add_layer(layer)
            layer.editable = False
            layer.mouse_pan = True
        self._wanted = True
        self._gap: Gap | None = None

    @property
    def gap(self) -> Gap | None:
        """The gap drawn as under review."""
        return self._gap

    def close(self) -> None:
        """Remove the layers."""
        for layer in (self.ghost, self.lines):
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    @property
    def visible(self) -> bool:
        """Whether proposals are shown."""
        return self._wanted

    @visible.setter
    def visible(self, on: bool) -> None:
        self._wanted = on
        self.lines.visible = on
        self.ghost.visible = on and self._gap is not None

    def set_gaps(self, gaps: Sequence[Gap]) -> None:
        """Draw these as thin lines."""
        pieces = [_segments(gap.path) for gap in gaps]
        self._lines = np.concatenate(pieces) if pieces else _EMPTY
        self._draw_lines()

    def select(self, gap: Gap | None) -> None:
        """Draw this one as the pixels it would add, with an arrow at each end."""
        from napari_vessel.completion import draw_gap

        self._gap = gap
        if gap is None:
            self.ghost.visible = False
        else:
            (y, x), patch = draw_gap(gap, self._shape)
            # A frame of one pixel keeps napari from reading a patch of one row as something else.
            framed = np.pad(patch, 1).astype(np.uint8)
            offset = np.eye(3)
            offset[:2, 2] = (y - 1, x - 1)
            self.ghost.data = framed
            self.ghost.affine = self._transform @ offset
            self.ghost.visible = self._wanted
        self._draw_lines()

    def _draw_lines(self) -> None:
        arrows = _EMPTY if self._gap is None else _arrows(self._gap)
        data = np.concatenate([arrows, self._lines])
        if data.shape == self.lines.data.shape and np.array_equal(data, self.lines.data):
            return
        self.lines.data = data
        if self._gap is not None:
            # About a fifth of the vessel, but never thinner than can be seen.
            self.lines.edge_width = max(0.6, float(np.mean(self._gap.widths)) / 5)


def _segments(path: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(path) < 2:
        return _EMPTY
    step = max(1, len(path) // 12)
    points = np.asarray(path[::step], np.float32)
    if (len(path) - 1) % step:
        points = np.concatenate([points, np.asarray(path[-1:], np.float32)])
    return np.stack([points[:-1], np.diff(points, axis=0)], axis=1)


def _arrows(gap: Gap) -> NDArray[np.float32]:
    """Return an arrow head beside each end, pointing along the completion towards it, clear of the vessel."""
    path = np.asarray(gap.path, np.float32)
    reach = max(4.0, 1.5 * float(np.max(gap.widths)))
    heads = []
    for tip, inner in ((path[0], path[min(3, len(path) - 1)]), (path[-1], path[max(-4, -len(path))])):
        into = inner - tip
        length = float(np.hypot(*into))
        into = into / length if length else np.array([0.0, 1.0], np.float32)
        across = np.array([-into[1], into[0]], np.float32)
        # Beside the vessel, so that what has to be judged stays free; the two on opposite sides, never to meet.
        outward = across
        apex = tip + outward * (float(np.max(gap.widths)) / 2 + 1.5)
        heads.append([apex, outward * reach])
        heads.append([apex, (outward + into) / np.sqrt(2) * reach * 0.4])
        heads.append([apex, (outward - into) / np.sqrt(2) * reach * 0.4])
    return np.asarray(heads, np.float32)
