"""How wide vessels are: the yardstick for every distance in the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def local_radius(mask: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return at every vessel pixel the radius of the largest disc around it inside the vessel.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel. Beyond the frame counts as vessel: a vessel that leaves the picture does not taper.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        Radius in px, so that a bar 1, 3, 5 px wide has .5, 1.5, 2.5 on its centreline; 0 outside vessels.
    """
    return radius_up_to(mask, radius_limit(mask.shape))


def radius_limit(shape: tuple[int, ...]) -> float:
    """Return the largest radius in an image, px: without one background pixel there is no distance to one."""
    return max(shape) / 2 + 0.5


def radius_up_to(mask: NDArray[np.generic], limit: float) -> NDArray[np.float32]:
    """Do as :func:`local_radius`, with another largest radius, px."""
    import cv2

    vessel = np.ascontiguousarray(mask != 0).view(np.uint8)
    if vessel.size == 0:
        return np.zeros(vessel.shape, np.float32)
    distance = cv2.distanceTransform(vessel, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Its last bit depends on where the array lies in memory; that of the root of a whole number does not.
    square = np.square(np.minimum(distance, np.float32(limit + 1.5)))
    return np.asarray(np.clip(np.sqrt(np.rint(square)) - np.float32(0.5), 0.0, limit), np.float32)


def median_calibre(mask: NDArray[np.generic]) -> float:
    """Return the median vessel width along the centrelines, px; 0 for an empty mask.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel.
    """
    from napari_vessel.topology.skeleton import centreline

    skeleton = centreline(mask)
    return typical_calibre(local_radius(mask)[skeleton], int(np.count_nonzero(mask)), float(skeleton.sum()))


def typical_calibre(radii: NDArray[np.floating], area: float, length: float) -> float:
    """Return the median width of vessels, px.

    Parameters
    ----------
    radii : ndarray, shape (P,)
        Local radius along the centrelines, px.
    area : float
        Vessel pixels in all.
    length : float
        Length of all centrelines, px.
    """
    if not radii.size:
        return 0.0
    width = 2.0 * float(np.median(radii))
    if width >= 4.0:
        return width
    # The distance to the background cannot tell a vessel one pixel wide from one of two; its area can.
    return float(np.clip(area / max(length, 1.0), width, width + 1.25))
