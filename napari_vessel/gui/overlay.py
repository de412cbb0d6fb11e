"""Draws proposals over the mask: the one under review as the very pixels it would add, the others as thin lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap
from napari_vessel.gui.theme import COMPLETION
from napari_vessel.review.drawing import Box

NAME = "Proposals"
_COMPLETION, _OTHER, _ARROW = 1, 2, 3


class Overlay:
    """One layer over the mask, never part of it, that cannot be edited.

    A Labels layer is used for it because napari redraws only the part of one that changed: moving to the next gap costs
    a few milliseconds on 8 million pixels, where a path in a Shapes layer costs 60.

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
        from napari.layers import Labels
        from napari.utils.colormaps import DirectLabelColormap

        self._layers, self._shape = viewer.layers, shape
        colours = {0: "transparent", _OTHER: COMPLETION + "99", None: COMPLETION}
        colours |= {_COMPLETION: COMPLETION, _ARROW: COMPLETION}
        self.layer = Labels(
            np.zeros(shape, np.uint8),
            name=NAME,
            colormap=DirectLabelColormap(color_dict=colours),
            opacity=0.9,
            affine=transform,
        )
        viewer.add_layer(self.layer)
        self.layer.editable = False
        self._ids: tuple[str, ...] = ()
        self._gap: Gap | None = None
        self._drawn: Box | None = None

    @property
    def gap(self) -> Gap | None:
        """The gap drawn as under review."""
        return self._gap

    def close(self) -> None:
        """Remove the layer."""
        if self.layer in self._layers:
            self._layers.remove(self.layer)

    @property
    def visible(self) -> bool:
        """Whether proposals are shown."""
        return bool(self.layer.visible)

    @visible.setter
    def visible(self, on: bool) -> None:
        self.layer.visible = on

    def show(self, gaps: Sequence[Gap], selected: Gap | None) -> None:
        """Draw `gaps` as thin lines, and `selected` as the pixels it would add, with an arrow at each end."""
        import cv2

        from napari_vessel.completion import draw_gap

        picture = np.zeros(self._shape, np.uint8)
        for gap in gaps:
            line = np.rint(gap.path[:, ::-1]).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(picture, [line], False, _OTHER, max(1, round(float(np.mean(gap.widths)) / 3)))
        before, self._drawn = self._drawn, None
        if selected is not None:
            box = _draw_arrows(picture, selected)
            (y, x), patch = draw_gap(selected, self._shape)
            picture[y : y + patch.shape[0], x : x + patch.shape[1]][patch] = _COMPLETION
            top, left, bottom, right = box
            self._drawn = (min(top, y), min(left, x), max(bottom, y + patch.shape[0]), max(right, x + patch.shape[1]))
        self._gap = selected
        # napari redraws the box around what changed: the old and the new place apart, not the whole way between them.
        for part in (before, self._drawn):
            if part is not None:
                self._put(picture, part)
        ids = tuple(gap.id for gap in gaps)
        if ids != self._ids:
            self._ids = ids
            self._put(picture, (0, 0, *self._shape))

    def _put(self, picture: NDArray[np.uint8], box: Box) -> None:
        y0, x0, y1, x1 = box
        wanted = picture[y0:y1, x0:x1]
        rows, columns = np.nonzero(self.layer.data[y0:y1, x0:x1] != wanted)
        if rows.size:
            self.layer.data_setitem((rows + y0, columns + x0), wanted[rows, columns])


def _draw_arrows(picture: NDArray[np.uint8], gap: Gap) -> Box:
    """Draw an arrow to each end from beside the vessel, so that what has to be judged stays free; return the box."""
    import cv2

    path = np.asarray(gap.path, np.float64)
    width = float(np.max(gap.widths))
    reach = max(6.0, 2.0 * width)
    thickness = max(1, round(width / 6))
    points = []
    # The two stand on opposite sides: on a short gap they would meet otherwise.
    for tip, inner in ((path[0], path[min(3, len(path) - 1)]), (path[-1], path[max(-4, -len(path))])):
        into = inner - tip
        length = float(np.hypot(*into))
        into = into / length if length else np.array([0.0, 1.0])
        across = np.array([-into[1], into[0]])
        head = tip + across * (width / 2 + 2.0)
        tail = head + across * reach
        ends = [(round(float(p[1])), round(float(p[0]))) for p in (tail, head)]
        cv2.arrowedLine(picture, ends[0], ends[1], _ARROW, thickness, cv2.LINE_8, 0, 0.45)
        points += [tail, head]
    margin = int(reach) + thickness + 2
    low = np.floor(np.min(points, axis=0)).astype(int) - margin
    high = np.ceil(np.max(points, axis=0)).astype(int) + margin
    limit_y, limit_x = picture.shape
    y0, x0 = (int(np.clip(v, 0, limit - 1)) for v, limit in zip(low, picture.shape, strict=True))
    return (y0, x0, int(np.clip(high[0], y0 + 1, limit_y)), int(np.clip(high[1], x0 + 1, limit_x)))
