"""Where the annotator looks: the camera over an image that has its place in the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.gui.versions import camera_of, canvas_size
from napari_vessel.review.drawing import Box

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace


class Camera:
    """Moves the canvas to places of the open image.

    Parameters
    ----------
    workspace : Workspace
        Whose viewer it is.

    Attributes
    ----------
    transform : ndarray, shape (3, 3)
        From (y, x, 1) in pixels to the world.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.transform: NDArray[np.float64] = np.eye(3)
        self._shape = (1, 1)
        self._zoomed = False
        self._before: tuple[Any, float, float] | None = None

    def enter(self, shape: tuple[int, int], transform: NDArray[np.float64]) -> None:
        """Show the whole of another image."""
        self.transform, self._shape, self._zoomed, self._before = transform, shape, False, None
        self.show_all()

    @property
    def of_napari(self) -> Any:
        """The viewer's own."""
        return camera_of(self._workspace.viewer)

    @property
    def pixel_size(self) -> float:
        """How large a pixel of the image is in the world: the root of its area."""
        return float(np.sqrt(abs(np.linalg.det(self.transform[:2, :2]))))

    def to_world(self, point: tuple[float, float]) -> tuple[float, float]:
        """Return where a pixel (y, x) is in the world."""
        y, x = self.transform[:2, :2] @ np.asarray(point, float) + self.transform[:2, 2]
        return (float(y), float(x))

    def to_pixel(self, position: Any) -> tuple[int, int] | None:
        """Return the pixel (y, x) at a place in the world, or None when that is outside the image."""
        point = np.asarray(position, float)[-2:]
        y, x = np.linalg.solve(self.transform[:2, :2], point - self.transform[:2, 2])
        height, width = self._shape
        pixel = (round(float(y)), round(float(x)))
        return pixel if 0 <= pixel[0] < height and 0 <= pixel[1] < width else None

    def show_all(self) -> None:
        """Show the whole of the image."""
        height, width = self._shape
        low, high = self._extent(((0, 0), (0, width), (height, 0), (height, width)))
        self._look_at(tuple((low + high) / 2))
        self.of_napari.zoom = float(0.95 * np.min(self._canvas / np.maximum(high - low, 1e-9)))

    def overlook(self) -> None:
        """Show the whole of the image for a while, until :meth:`look_back`."""
        centre, zoom = self.of_napari.center, self.of_napari.zoom
        self.show_all()
        self._before = (centre, zoom, self.of_napari.zoom)

    def look_back(self) -> None:
        """Look again where it was before :meth:`overlook`, unless the annotator has chosen another zoom since."""
        before, self._before = self._before, None
        if before is not None and np.isclose(self.of_napari.zoom, before[2]):
            self.of_napari.center, self.of_napari.zoom = before[:2]

    def fly_to(self, centre: tuple[float, float], length: float, width: float) -> None:
        """Put a place in the middle of the canvas at once; the zoom is the annotator's, but for the image's first one.

        Parameters
        ----------
        centre : tuple of float
            (y, x) in pixels.
        length, width : float
            Extent of what is there, and the calibre of its vessel, px.
        """
        self._look_at(self.to_world(centre))
        if self._zoomed:
            return
        self._zoomed = True
        # Near enough to see a break of a pixel or two, with enough around to judge where the vessel comes from.
        around = max(30.0 * width, 6.0 * length, 160.0) * self.pixel_size
        self.of_napari.zoom = max(self.of_napari.zoom, float(np.min(self._canvas)) / around)

    def bring_into_view(self, box: Box) -> None:
        """Put the middle of a box (y0, x0, y1, x1) in pixels into that of the canvas, unless some of it is seen."""
        y0, x0, y1, x1 = box
        low, high = self._extent(((y0, x0), (y0, x1), (y1, x0), (y1, x1)))
        half = self._canvas / (2 * self.of_napari.zoom)
        centre = np.asarray(self.of_napari.center[-2:])
        if ((high < centre - half) | (low > centre + half)).any():
            self._look_at((low + high) / 2)

    @property
    def _canvas(self) -> NDArray[np.float64]:
        return np.asarray(canvas_size(self._workspace.viewer))

    def _extent(self, corners: tuple[tuple[int, int], ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the least and the largest coordinates of some pixels in the world."""
        places = np.array([self.to_world(corner) for corner in corners])
        return places.min(axis=0), places.max(axis=0)

    def _look_at(self, point: Any) -> None:
        self.of_napari.center = (0.0, float(point[0]), float(point[1]))
