"""Arrays in the Zarr format: written in its version 2, read in versions 2 and 3.

Only plain numbers and common compressions are read. Zarr libraries also know filters that unpickle objects, which a
stranger's file could use to run code; here a file is only ever numbers.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.export.outside import inside, read_object
from napari_vessel.images.decoding import MAX_PIXELS
from napari_vessel.images.writing import write_json
from napari_vessel.untrusted import MALFORMED

CHUNK = 1024
"""Side of the chunks that are written, px."""

MAX_CHUNKS = 100_000
_MAX_CHUNK_BYTES = 1 << 30
_NUMBERS = {
    "bool": "|b1",
    "uint8": "|u1",
    "int8": "|i1",
    **{f"{kind}{8 * size}": f"<{kind[0]}{size}" for kind in ("uint", "int") for size in (2, 4, 8)},
    "float32": "<f4",
    "float64": "<f8",
}


def write_array(folder: Path, array: NDArray[Any]) -> None:
    """Write an array as Zarr 2: zlib-compressed chunks of up to 1024 px along the last two axes.

    Parameters
    ----------
    folder : Path
        Where; it is made.
    array : ndarray
        Of bool, whole numbers or floats.
    """
    chunks = (*(1,) * (array.ndim - 2), *(min(CHUNK, side) for side in array.shape[-2:]))
    folder.mkdir(parents=True)
    dtype = array.dtype.newbyteorder("<")
    write_json(
        folder / ".zarray",
        {
            "zarr_format": 2,
            "shape": list(array.shape),
            "chunks": list(chunks),
            "dtype": dtype.str,
            "compressor": {"id": "zlib", "level": 4},
            "fill_value": 0,
            "order": "C",
            "filters": None,
            "dimension_separator": "/",
        },
    )
    for index in itertools.product(
        *(range(-(-side // chunk)) for side, chunk in zip(array.shape, chunks, strict=True))
    ):
        window = tuple(slice(i * chunk, (i + 1) * chunk) for i, chunk in zip(index, chunks, strict=True))
        part = array[window]
        # Every chunk is whole on the disk, those at the rim too.
        whole = np.zeros(chunks, dtype)
        whole[tuple(slice(side) for side in part.shape)] = part
        file = folder.joinpath(*map(str, index))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(zlib.compress(whole.tobytes(), 4))


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Make a Zarr 2 group with these attributes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ".zgroup", {"zarr_format": 2})
    write_json(folder / ".zattrs", dict(attributes))


def read_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a group of either version; in NGFF 0.5 what is under ``ome``.

    Raises
    ------
    InputError
        If the folder is no group, or damaged.
    """
    if (folder / "zarr.json").is_file():
        found = read_object(folder / "zarr.json").get("attributes")
        within = found.get("ome", found) if isinstance(found, dict) else None
        if not isinstance(within, dict):
            raise InputError(f"{folder} has no attributes of an OME-Zarr image; export it again.")
        return within
    return read_object(folder / ".zattrs")


def read_array(folder: Path, root: Path) -> NDArray[Any]:
    """Read an array of Zarr 2 or 3.

    Parameters
    ----------
    folder : Path
        The array's.
    root : Path
        Of the data set: nothing outside is read.

    Raises
    ------
    InputError
        If it is damaged, too large, or of a kind that is not read: objects, filters, shards.
    """
    try:
        layout = _version_3(folder) if (folder / "zarr.json").is_file() else _version_2(folder)
        return layout.read(folder, root)
    except MALFORMED as error:
        raise InputError(f"{folder} is damaged or of a kind of Zarr that is not read; export it again.") from error


class _Layout:
    """How the chunks of an array lie."""

    def __init__(
        self,
        shape: Sequence[Any],
        chunks: Sequence[Any],
        dtype: str,
        codec: str | None,
        names: tuple[str, str],
        fill: Any,
        order: str,
    ) -> None:
        self.shape, self.chunks = tuple(map(int, shape)), tuple(map(int, chunks))
        self.dtype = np.dtype(dtype)
        self.codec, self.names, self.order = codec, names, order
        self.fill = 0 if fill is None else self.dtype.type(fill)
        ok = len(self.shape) == len(self.chunks) <= 5 and min((*self.shape, *self.chunks), default=0) > 0
        ok = ok and names[1] in (".", "/")
        if not ok or self.dtype.kind not in "buif" or order not in ("C", "F"):
            raise ValueError("an array that is not read")

    def read(self, folder: Path, root: Path) -> NDArray[Any]:
        counts = [-(-side // chunk) for side, chunk in zip(self.shape, self.chunks, strict=True)]
        if math.prod(self.shape) > 4 * MAX_PIXELS or math.prod(self.chunks) * self.dtype.itemsize > _MAX_CHUNK_BYTES:
            raise InputError(f"{folder} is too large to read; export a smaller image.")
        if math.prod(counts) > MAX_CHUNKS:
            raise InputError(f"{folder} has more than {MAX_CHUNKS:,} chunks; export it with larger ones.")
        array = np.full(self.shape, self.fill, self.dtype.newbyteorder("="))
        prefix, separator = self.names
        for index in itertools.product(*map(range, counts)):
            # Each name is made of numbers; what it is a link to is looked at all the same.
            file = inside(
                root, (folder / (prefix + separator.join(map(str, index)))).relative_to(root).as_posix(), "It"
            )
            if not file.is_file():
                continue
            window = tuple(slice(i * chunk, (i + 1) * chunk) for i, chunk in zip(index, self.chunks, strict=True))
            part = array[window]
            part[...] = self._chunk(file)[tuple(slice(side) for side in part.shape)]
        return array

    def _chunk(self, file: Path) -> NDArray[Any]:
        size = math.prod(self.chunks) * self.dtype.itemsize
        try:
            if file.stat().st_size > 2 * size + 65536:
                raise ValueError("a chunk that is longer than what it holds")
            data = file.read_bytes()
            if self.codec is not None:
                data = _decompressed(data, self.codec, size)
            return np.frombuffer(data, self.dtype).reshape(self.chunks, order=self.order)  # type: ignore[call-overload, no-any-return]
        except MemoryError as error:
            raise InputError(f"{file} does not fit into memory; export the image with smaller chunks.") from error
        except (OSError, ValueError, RuntimeError, zlib.error) as error:
            raise InputError(f"{file} is damaged or cut short; copy or export the image again.") from error


def _decompressed(data: bytes, name: str, size: int) -> bytes:
    """Return a chunk's bytes; never more than it should have."""
    if name in ("zlib", "gzip"):
        # 32 more: either kind of header.
        return zlib.decompressobj(wbits=15 + 32).decompress(data, size)
    import imagecodecs

    if name == "zstd":
        return bytes(imagecodecs.zstd_decode(data, out=size))
    if name == "blosc":
        return bytes(imagecodecs.blosc_decode(data, out=size))
    raise ValueError(f"the compression {name}")


def _version_2(folder: Path) -> _Layout:
    about = read_object(folder / ".zarray")
    if about.get("filters"):
        raise ValueError("filters")
    compressor = about["compressor"]
    return _Layout(
        about["shape"],
        about["chunks"],
        str(about["dtype"]),
        None if compressor is None else str(compressor["id"]),
        ("", str(about.get("dimension_separator", "."))),
        about.get("fill_value"),
        str(about.get("order", "C")),
    )


def _version_3(folder: Path) -> _Layout:
    about = read_object(folder / "zarr.json")
    codec: str | None = None
    endian = "<"
    for one in about["codecs"]:
        name, settings = str(one["name"]), one.get("configuration", {})
        if name == "bytes":
            endian = ">" if settings.get("endian") == "big" else "<"
        elif name in ("gzip", "zstd", "blosc") and codec is None:
            codec = name
        else:
            raise ValueError(f"the codec {name}")
    encoding = about["chunk_key_encoding"]
    default = encoding["name"] == "default"
    separator = str(encoding.get("configuration", {}).get("separator", "/" if default else "."))
    return _Layout(
        about["shape"],
        about["chunk_grid"]["configuration"]["chunk_shape"],
        _NUMBERS[about["data_type"]].replace("<", endian),
        codec,
        (f"c{separator}" if default else "", separator),
        about.get("fill_value"),
        "C",
    )
