"""Everything that the gap engine reads off a mask, kept up to date from edit to edit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.calibre import local_radius, radius_limit, radius_up_to
from napari_vessel.topology.endings import Box, Endings, union_of
from napari_vessel.topology.labelling import Labelling, Pixel, changed_parts, is_better_anew, is_large
from napari_vessel.topology.skeleton import BRANCH_REACH_PX, EndPoint, branch_pixels
from napari_vessel.topology.thinning import Thinning


class MaskTable:
    """What the gap engine reads off a mask: components, Betti numbers, centrelines, calibre, branches and ends.

    All of it is what working it out from the whole mask gives, but for the numbers of components. After an edit only
    its surroundings are looked at; see :class:`~napari_vessel.topology.labelling.Labelling`,
    :class:`~napari_vessel.topology.thinning.Thinning` and :class:`~napari_vessel.topology.endings.Endings` for how far.
    Arrays are read-only views that follow every edit: copy what another thread is to read.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel. It is not kept. Building the table takes seconds for a large image.
    """

    def __init__(self, mask: NDArray[np.generic]) -> None:
        self._labelling = Labelling(mask)
        labels = self._labelling.labels
        self._thinning, self._radii = Thinning(labels), Radii(labels)
        self._endings = Endings(self._thinning.skeleton, self._radii.radius, labels)
        self._branches = Labelling(branch_pixels(self.centrelines))
        self._renumbered: tuple[list[tuple[Box, int]], list[tuple[Box, int]]] = ([], [])

    @property
    def labels(self) -> NDArray[np.int32]:
        """Components, int32, shape (Y, X); 0 is background, and not every number up to the largest need be in use."""
        return self._labelling.labels

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each component, indexed by label; 0 for numbers not in use."""
        return self._labelling.areas

    @property
    def betti(self) -> tuple[int, int]:
        """Numbers of 8-connected components and of loops."""
        return self._labelling.b0, self._labelling.b1

    @property
    def skeleton(self) -> NDArray[np.bool_]:
        """Centrelines with their spurs, bool, shape (Y, X)."""
        return self._thinning.skeleton

    @property
    def centrelines(self) -> NDArray[np.bool_]:
        """Centrelines without spurs, bool, shape (Y, X)."""
        return self._endings.centrelines

    @property
    def radius(self) -> NDArray[np.float32]:
        """Local radius, px, float32, shape (Y, X)."""
        return self._radii.radius

    @property
    def branches(self) -> NDArray[np.int32]:
        """Branches of the centrelines, int32, shape (Y, X): numbered like components; 0 where they meet, too."""
        return self._branches.labels

    @property
    def branch_lengths(self) -> NDArray[np.int64]:
        """Pixels of each branch, indexed by its number; 0 for numbers not in use."""
        return self._branches.areas

    @property
    def renumbered(self) -> tuple[list[tuple[Box, int]], list[tuple[Box, int]]]:
        """Where the last change gave components, and branches, other numbers beside its boxes, as in `Labelling`."""
        return self._renumbered

    def ends(self) -> list[EndPoint]:
        """Return where centrelines end, row by row from the top."""
        return self._endings.ends()

    def is_large(self, origin: Pixel, patch: NDArray[np.bool_]) -> bool:
        """Tell whether :meth:`change` would take so long that it is better done by a job."""
        return is_large(self._differs(origin, patch))

    def change(self, origin: Pixel, patch: NDArray[np.bool_]) -> list[Box]:
        """Put a patch of the new mask in place.

        Parameters
        ----------
        origin : tuple of int
            (y, x) of its first pixel.
        patch : ndarray of bool, shape (h, w)
            The mask there now; it lies inside the image.

        Returns
        -------
        list of tuple of int
            Boxes (y0, x0, y1, x1), half open, outside of which mask, calibre and centrelines are as before.
        """
        differs = self._differs(origin, patch)
        if is_better_anew(differs, self.labels.size):
            self._labelling.change(origin, patch)
            self._thinning.start_over(self.labels)
            self._radii.start_over(self.labels)
            self._endings.start_over(self._radii.largest)
            self._branches.start_over(branch_pixels(self.centrelines))
            self._renumbered = (self._labelling.renumbered, self._branches.renumbered)
            return [(0, 0, *self.labels.shape)]
        boxes = []
        self._renumbered = ([], [])
        for (y, x), part in changed_parts(differs):
            place = (origin[0] + y, origin[1] + x)
            now = patch[y : y + part.shape[0], x : x + part.shape[1]]
            self._labelling.change(place, now)
            box = self._radii.change((*place, place[0] + part.shape[0], place[1] + part.shape[1]), self.labels)
            thinned = self._thinning.change(place, now)
            box = box if thinned is None else union_of([box, thinned])
            boxes.append(self._endings.change(box, self._radii.largest))
            self._divide(boxes[-1])
            for found, of in zip(self._renumbered, (self._labelling, self._branches), strict=True):
                found += of.renumbered
        return boxes

    def _divide(self, box: Box) -> None:
        """Bring branches up to date where centrelines may have changed."""
        height, width = self.labels.shape
        (y0, x0, y1, x1), (top, left, bottom, right) = (
            (max(box[0] - reach, 0), max(box[1] - reach, 0), min(box[2] + reach, height), min(box[3] + reach, width))
            for reach in (BRANCH_REACH_PX, 2 * BRANCH_REACH_PX)
        )
        found = branch_pixels(self.centrelines[top:bottom, left:right])
        self._branches.change((y0, x0), found[y0 - top : y1 - top, x0 - left : x1 - left])

    def _differs(self, origin: Pixel, patch: NDArray[np.bool_]) -> NDArray[np.bool_]:
        (y, x), (height, width) = origin, patch.shape
        differs: NDArray[np.bool_] = (self.labels[y : y + height, x : x + width] > 0) != patch
        return differs


class Radii:
    """The local radius of vessels, the same as :func:`~napari_vessel.topology.calibre.local_radius` gives.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel.
    """

    def __init__(self, mask: NDArray[np.generic]) -> None:
        self._radius: NDArray[np.float32] = np.zeros(mask.shape, np.float32)
        self._view = self._radius.view()
        self._view.flags.writeable = False
        self.largest = 0.0
        """At least that of every vessel, px."""
        self.start_over(mask)

    @property
    def radius(self) -> NDArray[np.float32]:
        """Local radius, px, float32, shape (Y, X): a read-only view, never replaced, that follows every edit."""
        return self._view

    def start_over(self, mask: NDArray[np.generic]) -> None:
        """Take a whole new mask, of the same shape."""
        self._radius[...] = local_radius(mask)
        self.largest = float(self._radius.max(initial=0.0))

    def change(self, box: Box, mask: NDArray[np.generic]) -> Box:
        """Take note that a mask has changed.

        Parameters
        ----------
        box : tuple of int
            (y0, x0, y1, x1), half open: where it has.
        mask : ndarray, shape (Y, X)
            The mask now.

        Returns
        -------
        tuple of int
            The box around all pixels whose radius may have changed; at least `box`.
        """
        y0, x0, y1, x1 = self._reached(box)
        height, width = mask.shape
        farthest = radius_limit(mask.shape)
        here = self._radius[y0:y1, x0:x1]
        margin = int(here.max(initial=0.0)) + 2
        while True:
            top, left = max(y0 - margin, 0), max(x0 - margin, 0)
            bottom, right = min(y1 + margin, height), min(x1 + margin, width)
            found = radius_up_to(mask[top:bottom, left:right], farthest)
            found = found[y0 - top : y1 - top, x0 - left : x1 - left]
            whole = (top, left, bottom, right) == (0, 0, height, width)
            # Background beyond the window is further away than its margin.
            if whole or float(found.max(initial=0.0)) + 0.5 <= margin:
                break
            margin *= 2
        here[...] = found
        self.largest = max(self.largest, float(found.max(initial=0.0)))
        return (y0, x0, y1, x1)

    def _reached(self, box: Box) -> Box:
        """Return the box of the pixels that are no nearer to the background than to another box, and of that box."""
        height, width = self._radius.shape
        reach = int(self.largest) + 2
        top, left = max(box[0] - reach, 0), max(box[1] - reach, 0)
        bottom, right = min(box[2] + reach, height), min(box[3] + reach, width)
        if self.largest >= radius_limit(self._radius.shape):
            top, left, bottom, right = 0, 0, height, width
        window = self._radius[top:bottom, left:right]
        rows, columns = np.arange(top, bottom), np.arange(left, right)
        down = np.maximum(np.maximum(box[0] - rows, rows - box[2] + 1), 0)
        across = np.maximum(np.maximum(box[1] - columns, columns - box[3] + 1), 0)
        reached = window + 0.51 >= np.hypot(down[:, None], across[None, :])
        reached |= window >= radius_limit(self._radius.shape)
        y, x = np.flatnonzero(reached.any(axis=1)), np.flatnonzero(reached.any(axis=0))
        return (top + int(y[0]), left + int(x[0]), top + int(y[-1]) + 1, left + int(x[-1]) + 1)
