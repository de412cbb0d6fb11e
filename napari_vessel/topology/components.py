"""Connected pieces of a vessel mask; vessel is 8-connected throughout the package."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Component:
    """One 8-connected piece of a vessel mask.

    Attributes
    ----------
    label : int
        Its value in the label image, 1 and up.
    area_px : int
        Number of pixels.
    bbox : tuple of int
        (y0, x0, y1, x1), half open.
    is_main : bool
        True for the largest piece.
    centre : tuple of float
        (y, x) of the centroid.
    """

    label: int
    area_px: int
    bbox: tuple[int, int, int, int]
    is_main: bool
    centre: tuple[float, float]


def label_components(mask: NDArray[np.generic]) -> tuple[NDArray[np.int32], int]:
    """Number the 8-connected components of a mask.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel.

    Returns
    -------
    labels : ndarray of int32, shape (Y, X)
        0 for background, 1 to `count` for the components.
    count : int
        Number of components.
    """
    import cv2

    vessel = np.ascontiguousarray(mask != 0).view(np.uint8)
    if vessel.size == 0:
        return np.zeros(vessel.shape, np.int32), 0
    count, labels = cv2.connectedComponents(vessel, connectivity=8, ltype=cv2.CV_32S)
    return np.asarray(labels, np.int32), int(count) - 1


def label_holes(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the 4-connected holes; 0 for vessel and for the background outside of every loop.

    Returns
    -------
    ndarray of int32, shape (Y + 2, X + 2)
        With a rim of background around the image.
    """
    import cv2

    background = np.pad(~mask, 1, constant_values=True).view(np.uint8)
    labels = np.asarray(cv2.connectedComponents(background, connectivity=4, ltype=cv2.CV_32S)[1], np.int32)
    labels[labels == labels[0, 0]] = 0
    return labels


def fill_holes(mask: NDArray[np.bool_], largest: int) -> NDArray[np.bool_]:
    """Return a mask, bool, shape (Y, X), with its 4-connected holes of up to so many pixels filled."""
    labels = label_holes(mask)[1:-1, 1:-1]
    small = np.bincount(labels.ravel()) <= largest
    return np.asarray(mask | (small[labels] & (labels > 0)))


def find_components(mask: NDArray[np.generic]) -> list[Component]:
    """Describe every 8-connected component of a mask, by ascending label.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel. Labels are those of :func:`label_components`.

    Returns
    -------
    list of Component
    """
    import cv2

    vessel = np.ascontiguousarray(mask != 0).view(np.uint8)
    if not vessel.any():
        return []
    count, _, stats, centres = cv2.connectedComponentsWithStats(vessel, connectivity=8, ltype=cv2.CV_32S)
    areas = stats[:, cv2.CC_STAT_AREA]
    main = int(np.argmax(areas[1:])) + 1
    found = []
    for label in range(1, count):
        x0, y0, width, height = (int(v) for v in stats[label, :4])
        centre = (float(centres[label][1]), float(centres[label][0]))
        found.append(Component(label, int(areas[label]), (y0, x0, y0 + height, x0 + width), label == main, centre))
    return found


def remove_small(mask: NDArray[np.generic], min_size: int) -> NDArray[np.bool_]:
    """Leave out the 8-connected components of fewer than `min_size` pixels.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel.
    min_size : int
        Smallest area kept, px.

    Returns
    -------
    ndarray of bool, shape (Y, X)
    """
    vessel: NDArray[np.bool_] = mask != 0
    if min_size <= 1 or not vessel.any():
        return vessel
    labels, count = label_components(vessel)
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= min_size
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


def main_component(components: NDArray[np.int32]) -> int:
    """Return the label of the largest component of a label image; 0 when it is empty."""
    # Far fewer than all pixels are vessel.
    counts = np.bincount(components[components > 0])
    return int(counts.argmax()) if counts.size else 0
