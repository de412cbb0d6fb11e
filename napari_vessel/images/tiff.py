"""TIFF, OME-TIFF and ImageJ TIFF: pages, colours, pixel size."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.decoding import MAX_PIXELS, Decoded, check_size, choose_plane, grey_if_grey

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

MOST_PAGES = 100_000

_MICROMETRES = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
_MICROMETRES |= dict.fromkeys(("micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"), 1.0)


def decode_tiff(path: Path, plane: int | None, single_page_for_any: bool) -> Decoded:
    """Read one page of a TIFF; see :func:`napari_vessel.images.decoding.decode`."""
    with _opened(path) as tiff:
        pages = _pages(path, tiff)
        chosen = choose_plane(path, plane, len(pages), single_page_for_any)
        series, index = pages[chosen]
        notes: list[str] = []
        array = _read(path, tiff, series, index, notes)
        return Decoded(array, len(pages), chosen, _spacing(tiff, series), _is_lossy(series), tuple(notes))


def count_tiff_planes(path: Path) -> int:
    """Return how many 2-D pages a TIFF has."""
    with _opened(path) as tiff:
        return len(_pages(path, tiff))


@contextmanager
def _opened(path: Path) -> Iterator[TiffFile]:
    import tifffile

    try:
        check_pages_end(path)
        # An OME header may name other files; only the file asked for is ever opened.
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            yield tiff
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory; cut it into parts.") from error
    except Exception as error:
        raise InputError(f"{path} is damaged, cut short or not a TIFF; copy or export it again.") from error


def check_pages_end(path: Path) -> None:
    """Refuse a file whose directories, of which each names the next, never come to an end."""
    with path.open("rb") as file:
        head = file.read(16)
        order: Literal["little", "big"] = "big" if head[:2] == b"MM" else "little"
        big = int.from_bytes(head[2:4], order) == 43
        count_size, entry_size, place_size = (8, 20, 8) if big else (2, 12, 4)
        place = int.from_bytes(head[8:16] if big else head[4:8], order)
        seen: set[int] = set()
        while place:
            if place in seen or len(seen) == MOST_PAGES:
                raise InputError(f"{path} is damaged: its pages never come to an end; copy or export it again.")
            seen.add(place)
            try:
                file.seek(place)
                count = file.read(count_size)
                file.seek(place + count_size + entry_size * int.from_bytes(count, order))
            except (OSError, OverflowError):
                return  # beyond what any file has: that is seen when the page is read
            place = int.from_bytes(file.read(place_size), order)


def _pages(path: Path, tiff: TiffFile) -> list[tuple[TiffPageSeries, int]]:
    """List the 2-D pages of a file as (series, index along its one stack axis)."""
    pages: list[tuple[TiffPageSeries, int]] = []
    for series in tiff.series:
        shape = dict(zip(series.axes, series.shape, strict=True))
        if "Y" not in shape or "X" not in shape:
            raise InputError(f"{path} has the axes {series.axes}, not an image with Y and X; export it as a 2-D image.")
        check_size(path, shape["Y"], shape["X"])
        # Several axes may go by one letter (Q), so this looks at pairs.
        stacks = [n for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXSC" and n > 1]
        if len(stacks) > 1:
            sizes = " x ".join(str(n) for n in series.shape)
            raise InputError(
                f"{path} is a {len(series.shape)}-D volume ({series.axes} {sizes}); export one 2-D plane or one stack."
            )
        channels = shape.get("C", 1)
        if channels == 2 or channels > 4 or (channels > 1 and shape.get("S", 1) > 1):
            raise InputError(f"{path} has {channels} channels; export the channel that shows the vessels on its own.")
        pages += [(series, index) for index in range(stacks[0] if stacks else 1)]
    if not pages:
        raise InputError(f"{path} holds no image; export it again.")
    return pages


def _read(path: Path, tiff: TiffFile, series: TiffPageSeries, index: int, notes: list[str]) -> NDArray[Any]:
    page = series.keyframe
    _check_complete(path, tiff, series)
    axes, sizes = series.axes, list(series.shape)
    stack = [k for k, axis in enumerate(axes) if axis not in "YXSC" and sizes[k] > 1]
    if stack and stack[0] == 0 and len(series.pages) == sizes[0]:
        # One page on disk per plane: read that page, not the whole stack.
        array = tiff.asarray(key=index, series=tiff.series.index(series))
        axes, sizes = axes[1:], sizes[1:]
        stack = []
        array = np.asarray(array).reshape(sizes)
    else:
        if math.prod(sizes) > 4 * MAX_PIXELS:
            raise InputError(f"{path} is too large to read as a whole; export its planes as separate files.")
        array = np.asarray(series.asarray())
    if stack:
        array = np.take(array, index, axis=stack[0])
        axes = axes[: stack[0]] + axes[stack[0] + 1 :]
    order = [axis for axis in "YXSC" if axis in axes]
    keep = [axes.index(axis) for axis in order]
    spare = [k for k in range(len(axes)) if k not in keep]
    array = array.transpose(keep + spare).reshape([array.shape[k] for k in keep])
    # Colour is one trailing axis, whether the file calls it samples or channels.
    height, width = array.shape[:2]
    array = np.ascontiguousarray(array.reshape(height, width, -1))
    if "C" in axes and array.shape[2] > 1 and page.samplesperpixel == 1:
        notes.append(f"{array.shape[2]} channels read as red, green, blue" + (", alpha" * (array.shape[2] == 4)))
    return _resolve_colours(path, array, page, notes)


def _resolve_colours(path: Path, array: NDArray[Any], page: TiffPage, notes: list[str]) -> NDArray[Any]:
    import tifffile

    if array.dtype.kind == "c":
        raise InputError(f"{path} holds complex numbers; export it with whole or floating-point numbers.")
    photometric = page.photometric
    if photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None and array.shape[2] == 1:
        colours = np.asarray(page.colormap)
        # Some programs write 8 bits where the format asks for 16; libtiff reads them so, too.
        palette = (colours >> (8 if int(colours.max()) > 255 else 0)).astype(np.uint8)
        return grey_if_grey(np.ascontiguousarray(np.moveaxis(palette[:, array[..., 0]], 0, -1)))
    if photometric in (tifffile.PHOTOMETRIC.CIELAB, tifffile.PHOTOMETRIC.ICCLAB, tifffile.PHOTOMETRIC.SEPARATED):
        raise InputError(f"{path} stores {tifffile.PHOTOMETRIC(photometric).name} colours; export it as RGB or grey.")
    # tifffile marks every bool array as "white is 0", whatever it means; who saved one from Python meant True as 1.
    from_python = array.dtype.kind == "b" and page.software.startswith("tifffile")
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE and array.dtype.kind in "bu" and not from_python:
        # Within the bits of the file, which may be fewer than those of the array; alpha is no grey.
        inverted = np.full(array.shape[2], (1 << page.bitspersample) - 1).astype(array.dtype)
        if any(page.extrasamples):
            inverted[1:] = 0
        array = array ^ inverted
        notes.append("stored with white as 0, inverted")
    samples = array.shape[2]
    if samples == 2 and any(page.extrasamples) and bool((array[..., 1] != array[0, 0, 1]).any()):
        # Grey with alpha, as a PNG of that kind is read: a mask may be drawn in alpha.
        return array[..., [0, 0, 0, 1]]
    if samples in (1, 2):
        if samples == 2:
            notes.append("second sample ignored")
        return np.ascontiguousarray(array[..., 0])
    if samples > 4:
        raise InputError(f"{path} has {samples} channels; export the channel that shows the vessels on its own.")
    return array


def _check_complete(path: Path, tiff: TiffFile, series: TiffPageSeries) -> None:
    """Refuse a file whose pixel data end before they should: some codecs would fill the rest with zeros."""
    size = tiff.filehandle.size
    for page in series.pages:
        if page is None:
            continue
        offsets, counts = page.dataoffsets, page.databytecounts
        if any(offset + count > size for offset, count in zip(offsets, counts, strict=False)):
            raise InputError(f"{path} is cut short: its pixel data go beyond its end; copy or export it again.")


def _is_lossy(series: TiffPageSeries) -> bool:
    import tifffile

    return series.keyframe.compression in (tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.OJPEG)


def _spacing(tiff: TiffFile, series: TiffPageSeries) -> tuple[float, float] | None:
    """Return the pixel size (y, x) in micrometres where the file states one with a unit of length."""
    if tiff.is_ome and tiff.ome_metadata:
        # One for each image of the file, such as a slide and its label; a file of a set tells of those in others, too.
        told = re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", tiff.ome_metadata)
        own = told[tiff.series.index(series)] if len(told) == len(tiff.series) else tiff.ome_metadata
        sizes = [_ome_size(own, axis) for axis in "YX"]
    elif tiff.is_imagej and tiff.imagej_metadata:
        # ImageJ writes what is not ASCII as the escapes of Java, since 1.52 in capitals: \u00B5m.
        written = str(tiff.imagej_metadata.get("unit", ""))
        unit = _MICROMETRES.get(re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), written))
        tags = [tiff.pages.first.tags.get(name) for name in ("YResolution", "XResolution")]
        sizes = [
            unit * tag.value[1] / tag.value[0] if unit is not None and tag is not None and tag.value[0] else None
            for tag in tags
        ]
    else:
        return None
    y, x = sizes
    if y is None or x is None or not (0 < y < math.inf and 0 < x < math.inf):
        return None
    return (y, x)


def _ome_size(metadata: str, axis: str) -> float | None:
    size = re.search(rf"\bPhysicalSize{axis}\s*=\s*[\"']([0-9.eE+-]+)[\"']", metadata)
    unit = re.search(rf"\bPhysicalSize{axis}Unit\s*=\s*[\"']([^\"']*)[\"']", metadata)
    # A writer that keeps to ASCII, which a TIFF demands, has "&#181;m".
    factor = _MICROMETRES.get(html.unescape(unit.group(1))) if unit else 1.0
    if size is None or factor is None:
        return None
    try:
        return float(size.group(1)) * factor
    except ValueError:
        return None
