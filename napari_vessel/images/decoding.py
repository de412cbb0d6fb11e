"""From a file's bytes to one 2-D array, in whatever format; the only place that knows file formats.

Files are data from strangers: formats are told by their first bytes, only a few decoders are allowed, sizes are
checked before memory is taken, and whatever a decoder raises becomes one sentence.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm")
MAX_SIDE = 20_000
MAX_PIXELS = MAX_SIDE * MAX_SIDE
MIN_SIDE = 16

_PILLOW_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PILLOW_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False, slots=True)
class Decoded:
    """One page of a file, as stored.

    Attributes
    ----------
    array : ndarray, shape (Y, X), (Y, X, 3) or (Y, X, 4)
        Values as in the file; palettes are resolved, and grey is never stored as colour by a palette.
    planes : int
        Pages in the file.
    plane : int
        The page this is.
    spacing : tuple of float or None
        Pixel size (y, x) in micrometres.
    lossy : bool
        Whether the file format changes values (JPEG).
    notes : tuple of str
        What decoding did.
    """

    array: NDArray[Any]
    planes: int = 1
    plane: int = 0
    spacing: tuple[float, float] | None = None
    lossy: bool = False
    notes: tuple[str, ...] = ()


def decode(path: Path | str, plane: int | None = None, *, single_page_for_any: bool = False) -> Decoded:
    """Read one page of an image file.

    Parameters
    ----------
    path : Path or str
        PNG, JPEG, TIFF, OME-TIFF, GIF, BMP or PPM/PGM.
    plane : int, optional
        Page, from 0; by default the first.
    single_page_for_any : bool, optional
        A file with one page answers for any `plane` (a mask saved per page).

    Returns
    -------
    Decoded
        The page as stored.

    Raises
    ------
    InputError
        If the file cannot be read as one image of a usable size.
    """
    path = Path(path)
    if _is_tiff(path, check_readable(path)):
        from napari_vessel.images.tiff import decode_tiff

        decoded = decode_tiff(path, plane, single_page_for_any)
    else:
        decoded = _decode_other(path, plane, single_page_for_any)
    check_array_shape(decoded.array.shape, str(path))
    return decoded


def count_planes(path: Path | str) -> int:
    """Return how many pages a file has, from its headers alone.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    path = Path(path)
    if _is_tiff(path, check_readable(path)):
        from napari_vessel.images.tiff import count_tiff_planes

        return count_tiff_planes(path)
    with _opened(path) as image:
        return _frames(image)


def choose_plane(path: Path, plane: int | None, planes: int, single_page_for_any: bool) -> int:
    """Return the page to read, or raise InputError when the file does not have it."""
    if plane is None or (planes == 1 and single_page_for_any):
        return 0
    if not 0 <= plane < planes:
        raise InputError(f"{path} has {planes} page{'s' if planes > 1 else ''}, so there is no page {plane + 1}.")
    return plane


def check_size(path: Path | str, height: int, width: int) -> None:
    """Raise InputError for a picture too large to hold or too small to show a vessel."""
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{path} has {width:,} x {height:,} pixels, more than {MAX_SIDE:,} x {MAX_SIDE:,}; cut it into parts."
        )
    if min(height, width) < MIN_SIDE:
        raise InputError(
            f"{path} is {width} x {height} pixels; an image needs at least {MIN_SIDE} on each side to show vessels."
        )


def check_array_shape(shape: Sequence[int], name: str) -> None:
    """Raise InputError unless `shape` is (Y, X), (Y, X, 3) or (Y, X, 4) of a usable size."""
    text = " x ".join(str(n) for n in shape) or "single number"
    if len(shape) == 3 and shape[2] not in (3, 4):
        hint = "move the channels last" if shape[0] in (2, 3, 4) else "give one plane at a time"
        raise InputError(f"{name} has the shape {text}; an image is (Y, X) or (Y, X, 3), so {hint}.")
    if len(shape) not in (2, 3):
        raise InputError(f"{name} has {len(shape)} dimensions ({text}); give one 2-D plane at a time.")
    check_size(name, int(shape[0]), int(shape[1]))


def check_readable(path: Path) -> bytes:
    """Return the first bytes of a file, or raise InputError saying why it cannot be read."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give an image file.")
        if path.exists() and not path.is_file():
            # To open a pipe is to wait for whoever writes to it.
            raise InputError(f"{path} is a pipe or a device; give an image file.")
        with path.open("rb") as stream:
            head = stream.read(16)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the name.") from error
    except PermissionError as error:
        raise InputError(f"{path} cannot be opened: permission denied; ask for read access to it.") from error
    except (OSError, ValueError) as error:
        # ValueError: a null byte in the name.
        raise InputError(f"{path} cannot be opened ({error}); check the name and the disk.") from error
    if not head:
        raise InputError(f"{path} is empty (0 bytes); copy or export it again.")
    return head


def _is_tiff(path: Path, head: bytes) -> bool:
    return head[:4] in _TIFF_MAGIC or path.suffix.lower() in (".tif", ".tiff")


def _frames(image: Image) -> int:
    # Only GIF pages are pages; the second frame of a camera's JPEG is a preview.
    return int(getattr(image, "n_frames", 1)) if image.format == "GIF" else 1


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Open a file with Pillow's few safe decoders; whatever goes wrong while it is open becomes an InputError."""
    from PIL import Image, ImageFile

    # Two process-wide settings are ours while we read: other code may have asked Pillow to accept truncated files,
    # and its size limit is below ours (check_size, before any pixel is decoded).
    with _PILLOW_LOCK:
        limit, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            with Image.open(path, formats=_PILLOW_FORMATS) as image:
                check_size(path, image.height, image.width)
                yield image
        except InputError:
            raise
        except MemoryError as error:
            raise InputError(f"{path} does not fit into memory; cut it into parts.") from error
        except Exception as error:
            raise _damaged(path, error) from error
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, truncated


def _damaged(path: Path, error: Exception) -> InputError:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return InputError(
            f"{path} is not an image that can be read (PNG, JPEG, TIFF, GIF, BMP or PPM/PGM), whatever its name says; "
            "export it again."
        )
    return InputError(f"{path} is damaged or cut short; copy or export it again.")


def _decode_other(path: Path, plane: int | None, single_page_for_any: bool) -> Decoded:
    notes: list[str] = []
    with _opened(path) as image:
        planes = _frames(image)
        chosen = choose_plane(path, plane, planes, single_page_for_any)
        if planes > 1:
            image.seek(chosen)
        lossy = image.format in ("JPEG", "MPO")
        if lossy:
            orientation = image.getexif().get(0x0112, 1)
            if orientation not in (0, 1):
                notes.append(
                    f"EXIF orientation {orientation} was not applied, so that masks stay aligned with the stored pixels"
                )
        if image.format == "PNG" and image.mode in ("RGB", "RGBA") and _png_depth(path) == 16:
            array = _decode_deep_png(path)
        else:
            array = _as_array(image, notes)
    return Decoded(array, planes, chosen, None, lossy, tuple(notes))


def _as_array(image: Image, notes: list[str]) -> NDArray[Any]:
    mode = image.mode
    if mode in ("P", "PA"):
        image = image.convert("RGBA" if mode == "PA" or "transparency" in image.info else "RGB")
        return grey_if_grey(np.asarray(image))
    if mode == "LA":
        image = image.convert("RGBA")
    elif mode not in ("1", "L", "RGB", "RGBA", "I", "F") and not mode.startswith("I;16"):
        notes.append(f"{mode} colours converted to RGB")
        image = image.convert("RGB")
    if image.format == "GIF":
        return grey_if_grey(np.asarray(image))
    array = np.asarray(image)
    if mode == "I" and array.size and int(array.min()) >= 0 and int(array.max()) <= 65535:
        # Pillow widens 16-bit grey to 32 bits in some formats.
        array = array.astype(np.uint16)
    return array


def grey_if_grey(colours: NDArray[Any]) -> NDArray[Any]:
    """Return (Y, X) when every colour of an RGB(A) array is an opaque grey, the array itself otherwise."""
    if colours.ndim != 3:
        return colours
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    if not (np.array_equal(red, green) and np.array_equal(green, blue)):
        return colours
    if colours.shape[2] == 4 and bool((colours[..., 3] != colours[0, 0, 3]).any()):
        return colours
    return np.ascontiguousarray(red)


def _png_depth(path: Path) -> int:
    with path.open("rb") as stream:
        head = stream.read(25)
    return head[24]


def _decode_deep_png(path: Path) -> NDArray[Any]:
    """Decode a 16-bit colour PNG, which Pillow would silently reduce to 8 bits."""
    import cv2

    array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise InputError(f"{path} is damaged or cut short; copy or export it again.")
    order = [2, 1, 0] + ([3] if array.shape[2] == 4 else [])
    return np.ascontiguousarray(array[..., order])
