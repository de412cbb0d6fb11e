"""Large images in overlapping tiles whose seams cannot be seen."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import DeviceError
from napari_vessel.jobs import Job, Progress
from napari_vessel.segmentation.devices import is_out_of_memory

SMALLEST_TILE = 256
"""Tiles are not halved below this: their margins would outweigh them."""

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From images (N, C, Y, X) to maps (N, Y, X)."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Equal tiles that cover an image.

    Attributes
    ----------
    tile : tuple of int
        Height and width of every tile.
    rows, columns : tuple of int
        First row of every row of tiles, first column of every column of them.
    """

    tile: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Upper left corner (y, x) of every tile."""
        return [(y, x) for y in self.rows for x in self.columns]


def _cut(length: int, largest: int, overlap: int, stride: int) -> tuple[int, tuple[int, ...]]:
    """Cut one axis into the fewest equal tiles, each start a multiple of `stride`."""
    if length <= largest:
        return length, (0,)
    count = -(-(length - overlap) // (largest - overlap))
    tile = -(-(length + (count - 1) * overlap) // count)
    tile = min(-(-tile // stride) * stride, length)
    last = length - tile
    starts = [min(round(last * i / (count - 1) / stride) * stride, last) for i in range(count)]
    return tile, tuple(sorted(set(starts)))


def plan_tiles(shape: tuple[int, int], largest: int, overlap: int, stride: int) -> Tiling:
    """Cut an image into tiles.

    Parameters
    ----------
    shape : tuple of int
        Height and width, multiples of `stride`.
    largest : int
        Longest side of a tile, a multiple of `stride`.
    overlap : int
        Least overlap of two neighbours; never less than `stride`.
    stride : int
        Pooling stride of the network: a tile that starts elsewhere is pooled differently from the whole image.
    """
    largest = max(largest, overlap + 2 * stride)
    # Where corners are further apart than tiles overlap, rounding them to the stride could leave no overlap at all.
    overlap = max(overlap, stride)
    height, rows = _cut(shape[0], largest, overlap, stride)
    width, columns = _cut(shape[1], largest, overlap, stride)
    return Tiling((height, width), rows, columns)


def _ramp(length: int, overlap: int, at_start: bool, at_end: bool) -> NDArray[np.float32]:
    """Return weights along one axis: 0 near a cut edge, then a smooth rise to 1; 1 up to an edge of the image."""
    # What lies near a cut has not seen its whole surroundings, so a quarter of the overlap is not used at all.
    guard = overlap // 4
    rise = max(overlap - 2 * guard, 1)
    distance = np.arange(length, dtype=np.float32) + 0.5
    weight = np.ones(length, np.float32)
    for cut, away in ((not at_start, distance), (not at_end, distance[::-1])):
        if cut:
            share = np.clip((away - guard) / rise, 0.0, 1.0)
            weight *= share * share * (3 - 2 * share)
    return weight


def predict_tiled(
    image: NDArray[np.float32],
    forward: Forward,
    *,
    stride: int,
    overlap: int,
    largest: int,
    batch: int,
    skip: NDArray[np.bool_] | None = None,
    message: str = "Segmenting",
) -> Job[NDArray[np.float32]]:
    """Predict an image tile by tile.

    Parameters
    ----------
    image : ndarray of float32, shape (C, Y, X)
        Normalised as a whole: a tile normalised by itself would not fit its neighbours.
    forward : callable
        From images (N, C, Y, X) to probabilities (N, Y, X).
    stride : int
        Pooling stride of the network.
    overlap : int
        Least overlap of two neighbours.
    largest : int
        Longest side of a tile.
    batch : int
        Tiles per call; halved when memory runs out, then the tiles are.
    skip : ndarray of bool, shape (Y, X), optional
        Tiles that lie wholly where this is True stay 0.
    message : str
        What progress is called.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        Probability.

    Raises
    ------
    DeviceError
        If memory does not suffice for one small tile.
    """
    height, width = image.shape[1:]
    pad = (-height % stride, -width % stride)
    padded = np.pad(image, ((0, 0), (0, pad[0]), (0, pad[1])), mode="edge")
    shape = (height + pad[0], width + pad[1])
    tiling = plan_tiles(shape, max(largest // stride, 1) * stride, overlap, stride)
    while True:
        try:
            result = yield from _predict_tiling(padded, forward, tiling, overlap, max(batch, 1), skip, message)
        except _TileTooLargeError as error:
            half = max(SMALLEST_TILE, max(tiling.tile) // 2 // stride * stride)
            smaller = plan_tiles(shape, half, overlap, stride)
            # No smaller than they were: a network whose stride is coarse has a smallest tile of its own.
            if max(smaller.tile) >= max(tiling.tile):
                raise DeviceError(
                    "Memory does not suffice for even one small tile; close other programs, or use the device cpu."
                ) from error
            tiling, batch = smaller, 1
            continue
        return np.ascontiguousarray(result[:height, :width])


class _TileTooLargeError(Exception):
    """One tile alone does not fit into memory."""


def _predict_tiling(
    image: NDArray[np.float32],
    forward: Forward,
    tiling: Tiling,
    overlap: int,
    batch: int,
    skip: NDArray[np.bool_] | None,
    message: str,
) -> Generator[Progress, None, NDArray[np.float32]]:
    tile_y, tile_x = tiling.tile
    shape = image.shape[1:]
    total = np.zeros(shape, np.float32)
    weights = np.zeros(shape, np.float32)
    corners = tiling.corners
    if skip is not None:
        corners = [(y, x) for y, x in corners if not _all_true(skip, y, x, tile_y, tile_x)]
    done = 0
    yield Progress(0, len(corners), message)
    while done < len(corners):
        group = corners[done : done + batch]
        stack = np.stack([image[:, y : y + tile_y, x : x + tile_x] for y, x in group])
        try:
            maps = forward(stack)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(group) == 1:
                raise _TileTooLargeError from error
            batch = max(1, len(group) // 2)
            continue
        for (y, x), one in zip(group, maps, strict=True):
            along_y = _ramp(tile_y, overlap, y == 0, y + tile_y == shape[0])
            along_x = _ramp(tile_x, overlap, x == 0, x + tile_x == shape[1])
            weight = along_y[:, None] * along_x[None, :]
            total[y : y + tile_y, x : x + tile_x] += one * weight
            weights[y : y + tile_y, x : x + tile_x] += weight
        done += len(group)
        yield Progress(done, len(corners), message, {"tiles at once": float(batch)})
    return np.asarray(total / np.maximum(weights, 1e-6), np.float32)


def _all_true(skip: NDArray[np.bool_], y: int, x: int, tile_y: int, tile_x: int) -> bool:
    return bool(skip[y : y + tile_y, x : x + tile_x].all())
