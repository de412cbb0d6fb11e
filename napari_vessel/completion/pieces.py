"""What is known of each piece of a mask that bears on whether it is a vessel at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network
from napari_vessel.completion.evidence import Evidence
from napari_vessel.topology.skeleton import centreline_steps

TILE_PX = 128
"""Side of the tiles in which pieces are counted, px."""

Tile = tuple[int, int]


def observe_pieces(
    network: Network, evidence: Evidence | None, counts: PieceCounts | None = None
) -> dict[str, NDArray[np.float64]]:
    """Measure every component of a mask.

    Parameters
    ----------
    network : Network
        The mask.
    evidence : Evidence or None
        Image, probability and completion map, as far as there are any.
    counts : PieceCounts, optional
        What was counted of the mask, if it has been.

    Returns
    -------
    dict of str to ndarray of float64, shape (L + 1,)
        By name, indexed by label: ``size`` and ``area`` as logs to base 2 of calibres and square calibres, ``slender``
        as length over width, ``piece_ridge``, ``piece_likely``, ``piece_completion`` as means over its pixels,
        ``piece_contrast`` against the background beside it.
    """
    counts = PieceCounts(network, evidence) if counts is None else counts
    size = len(network.lengths)
    area = np.maximum(counts.total("area", size), 1.0)
    length = np.maximum(network.lengths, 1.0)
    seen = {
        "size": np.clip(np.log2((network.lengths + 1.0) / network.calibre), -3.0, 6.0),
        "area": np.log2(area / network.calibre**2),
        "slender": np.log2(np.maximum(length**2 / area, 1.0)),
    }
    if evidence is None:
        return seen
    if evidence.ridge is not None and evidence.brightness is not None:
        seen["piece_ridge"] = counts.total("ridge", size) / area
        seen["piece_contrast"] = np.clip(counts.total("contrast", size) / area / evidence.contrast, -1.0, 3.0)
    if evidence.probability is not None:
        seen["piece_likely"] = counts.total("likely", size) / area
        seen["piece_surest"] = counts.most("likely_most", size)
    if evidence.completion is not None:
        seen["piece_completion"] = counts.total("completion", size) / area
    return seen


class PieceCounts:
    """What is counted of each component of a mask, tile by tile, so that an edit changes the count of some tiles only.

    Parameters
    ----------
    network : Network
        The mask; later ones, of :meth:`count`, have its shape and calibre.
    evidence : Evidence or None
        What there is to look at.
    """

    def __init__(self, network: Network, evidence: Evidence | None) -> None:
        self._shape, self._evidence = network.mask.shape, evidence
        # Against the background around, a calibre or two away.
        self._margin = round(2.0 * network.calibre) + 1
        self._counted: dict[Tile, dict[str, NDArray[np.float64]]] = {}
        self._columns: dict[str, NDArray[np.float64]] = {}
        self.count(network.labels, network.skeleton, self.tiles())

    @property
    def reach(self) -> int:
        """How far from a tile a change of the mask changes its count, px."""
        return self._margin + 1

    def tiles(self) -> Iterator[Tile]:
        """Yield all tiles, (row, column), in order."""
        height, width = self._shape
        return ((row, column) for row in range(-(-height // TILE_PX)) for column in range(-(-width // TILE_PX)))

    def count(self, labels: NDArray[np.int32], skeleton: NDArray[np.bool_], tiles: Iterable[Tile]) -> None:
        """Count some tiles of a mask: `labels` are its components and `skeleton` its centrelines, shape (Y, X)."""
        self._columns = {}
        for tile in tiles:
            self._counted[tile] = self._count(labels, skeleton, tile)

    def total(self, name: str, size: int) -> NDArray[np.float64]:
        """Return the sum of a count by label, shape (size,)."""
        return np.asarray(np.bincount(self._labels(), weights=self._column(name), minlength=size), np.float64)

    def most(self, name: str, size: int) -> NDArray[np.float64]:
        """Return the largest of a count by label, at least 0, shape (size,)."""
        found = np.zeros(size)
        np.maximum.at(found, self._labels(), self._column(name))
        return found

    def lengths(self, size: int) -> NDArray[np.float64]:
        """Return the centreline lengths by label, shape (size,), px."""
        long = self.total("straight", size) + np.sqrt(2.0) * self.total("diagonal", size)
        return np.asarray(np.maximum(long, self.total("line", size) > 0), np.float64)

    def firsts(self, size: int) -> NDArray[np.int64]:
        """Return the first centreline pixel by label, shape (size,), row by row, as an index; -1 for none."""
        found = np.full(size, np.inf)
        np.minimum.at(found, self._labels(), self._column("first"))
        found[np.isinf(found)] = -1
        return found.astype(np.int64)

    def _labels(self) -> NDArray[np.intp]:
        return self._column("label").astype(np.intp)

    def _column(self, name: str) -> NDArray[np.float64]:
        if name not in self._columns:
            # In the order of the tiles, whichever was counted last: sums must not depend on that.
            self._columns[name] = np.concatenate([self._counted[tile][name] for tile in sorted(self._counted)])
        return self._columns[name]

    def _count(
        self, labels: NDArray[np.int32], skeleton: NDArray[np.bool_], tile: Tile
    ) -> dict[str, NDArray[np.float64]]:
        import cv2

        height, width = self._shape
        top, left = tile[0] * TILE_PX, tile[1] * TILE_PX
        bottom, right = min(top + TILE_PX, height), min(left + TILE_PX, width)
        here = np.s_[top:bottom, left:right]
        own = labels[here]
        y, x = np.nonzero(own)
        owners = own[y, x]
        area = np.bincount(owners).astype(np.float64)
        there = np.flatnonzero(area)

        def total(values: NDArray[Any], of: NDArray[np.int32] = owners) -> NDArray[np.float64]:
            return np.asarray(np.bincount(of, weights=values, minlength=len(area))[there], np.float64)

        lines = np.argwhere(skeleton[here])
        of = own[lines[:, 0], lines[:, 1]]
        places = lines + np.asarray([top, left])
        straight, diagonal = centreline_steps(skeleton, places)
        first = np.full(len(area), np.inf)
        np.minimum.at(first, of, places @ np.asarray([width, 1]))
        found = {
            "label": there.astype(np.float64),
            "area": area[there],
            "straight": total(straight, of),
            "diagonal": total(diagonal, of),
            "line": total(np.ones(len(of)), of),
            "first": first[there],
        }
        evidence = self._evidence
        if evidence is None:
            return found
        if evidence.ridge is not None and evidence.brightness is not None:
            found["ridge"] = total(evidence.ridge[here][y, x])
            y0, x0 = max(top - self._margin, 0), max(left - self._margin, 0)
            around = np.s_[y0 : bottom + self._margin, x0 : right + self._margin]
            size = 2 * self._margin + 1
            outside = (labels[around] == 0).astype(np.float32)
            weight = cv2.blur(outside, (size, size))
            local = cv2.blur(evidence.brightness[around] * outside, (size, size)) / np.maximum(weight, 1e-3)
            apart = evidence.brightness[here][y, x] - local[y + top - y0, x + left - x0]
            found["contrast"] = total(apart)
        if evidence.probability is not None:
            likely = evidence.probability[here][y, x]
            most = np.zeros(len(area))
            np.maximum.at(most, owners, likely)
            found["likely"], found["likely_most"] = total(likely), most[there]
        if evidence.completion is not None:
            found["completion"] = total(evidence.completion[here][y, x])
        return found
