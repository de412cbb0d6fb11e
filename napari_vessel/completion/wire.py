"""Live wire: the way along a vessel between two places that somebody pointed at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.evidence import gather_evidence
from napari_vessel.completion.paths import CHEAPEST, smooth
from napari_vessel.images.image import VesselImage
from napari_vessel.topology.skeleton import centreline

Box = tuple[int, int, int, int]
_MARGIN = 4.0
"""How far a way may swing beyond its two ends, in calibres."""


@dataclass(frozen=True, eq=False, slots=True)
class WireField:
    """What image and maps say about vessels inside a box of an image.

    Attributes
    ----------
    origin : tuple of int
        (y, x) of the box's first pixel.
    support : ndarray of float32, shape (h, w)
        0 to 1.
    calibre : float
        Of the vessel that is followed, px.
    """

    origin: tuple[int, int]
    support: NDArray[np.float32]
    calibre: float

    def way(self, start: tuple[int, int], goal: tuple[int, int]) -> NDArray[np.float64]:
        """Return the cheapest way between two pixels (y, x), shape (N, 2); straight where one lies outside the box."""
        ends = np.asarray([start, goal])
        local = ends - np.asarray(self.origin)
        if start == goal or (local < 0).any() or (local >= np.asarray(self.support.shape)).any():
            steps = max(int(np.abs(ends[1] - ends[0]).max()), 1)
            return np.linspace(ends[0], ends[1], steps + 1)
        first, last = ((int(y), int(x)) for y, x in local)
        from skimage.graph import MCP_Geometric

        margin = int(_MARGIN * self.calibre) + 5
        low = np.maximum(local.min(axis=0) - margin, 0)
        window = tuple(slice(int(a), int(b) + margin + 1) for a, b in zip(low, local.max(axis=0), strict=True))
        # What is drawn already is as cheap as what only shows: the way may follow it.
        graph = MCP_Geometric(1.0 - (1.0 - CHEAPEST) * self.support[window].astype(np.float64))
        begin, end = (tuple((np.asarray(place) - low).tolist()) for place in (first, last))
        graph.find_costs([begin], [end])
        return smooth(np.asarray(graph.traceback(end), np.float64) + low + self.origin)


def wire_field(
    image: VesselImage,
    labels: NDArray[np.uint8],
    probability: NDArray[np.float32] | None,
    completion: NDArray[np.float32] | None,
    box: Box,
    calibre: float,
) -> WireField:
    """Look at the image inside a box.

    Parameters
    ----------
    image : VesselImage
        The picture.
    labels : ndarray of uint8, shape (Y, X)
        The mask.
    probability, completion : ndarray of float32, shape (Y, X), or None
        The segmenter's and the completion network's probability of vessel.
    box : tuple of int
        (y0, x0, y1, x1), half open, px.
    calibre : float
        Width of the vessel that is to be followed, px.
    """
    y0, x0, y1, x1 = box
    window = np.s_[y0:y1, x0:x1]
    fov = None if image.fov is None else image.fov[window]
    part = replace(image, pixels=np.ascontiguousarray(image.pixels[window]), fov=fov)
    mask = labels[window] > 0
    maps = [None if found is None else found[window] for found in (probability, completion)]
    steps = gather_evidence(part, maps[0], mask, centreline(mask), max(calibre, 1.0), fov, maps[1])
    found = [evidence for evidence in steps if evidence is not None]
    support = found[-1].support if found else np.zeros(mask.shape, np.float32)
    return WireField((y0, x0), support, max(calibre, 1.0))
