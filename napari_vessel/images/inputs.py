"""From paths someone typed or dropped to a list of images, and from an image to its mask."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_vessel.errors import InputError
from napari_vessel.images.decoding import SUFFIXES, count_planes

_PAGED = (".tif", ".tiff", ".gif")
_SPLITS = r"(?:test|train|training)"
_ROLES = r"(?:manual|mask|fov|gt|truth|groundtruth|labels?|vessels?|seg|segmentation|annotations?)[0-9]*"
# 01_manual1, 01_test_mask: the number and what the file is for. 01_test alone is an image, 01_dr another one's mask.
_NUMBERED = re.compile(rf"([0-9]+)(?:[_\- .](?:{_SPLITS}|{_ROLES}))*[_\- .]{_ROLES}(?:[_\- .](?:{_SPLITS}|{_ROLES}))*")


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One image to work on: a file, or one page of a file.

    Attributes
    ----------
    path : Path
        The file.
    plane : int or None
        Page from 0; None for a file with one page.
    """

    path: Path
    plane: int | None = None

    @property
    def stem(self) -> str:
        """Name for files made from this image: the file's stem, with ``_pNNN`` for a page of many."""
        return self.path.stem if self.plane is None else f"{self.path.stem}_p{self.plane:03d}"


def find_inputs(paths: Sequence[Path | str], *, namesakes: bool = False) -> list[ImageInput]:
    """List the images that `paths` mean.

    Files as given; for a folder, the image files directly in it, in natural order (2 before 10). Every page of a
    multi-page TIFF or GIF is an image of its own. The same file given twice counts once.

    Parameters
    ----------
    paths : sequence of Path or str
        Files and folders.
    namesakes : bool, optional
        Whether files of one name in two folders may be together, as in a project, which tells them apart.

    Returns
    -------
    list of ImageInput
        At least one.

    Raises
    ------
    InputError
        If a path does not exist or is no image file, nothing is found, or two inputs have one stem (their results
        would overwrite each other).
    """
    files: dict[Path, Path] = {}
    for path in map(Path, paths):
        for file in files_of(path):
            files.setdefault(file.resolve(), file)
    if not files:
        listed = ", ".join(str(p) for p in paths) or "nothing"
        raise InputError(
            f"No images in {listed}; give image files ({', '.join(SUFFIXES)}) or folders that hold them themselves: "
            "sub-folders are not searched."
        )
    inputs: list[ImageInput] = []
    for file in files.values():
        planes = count_planes(file) if file.suffix.lower() in _PAGED else 1
        inputs += [ImageInput(file, plane if planes > 1 else None) for plane in range(planes)]
    seen: dict[str, Path] = {}
    for item in inputs:
        # Compared without case: on many disks A_mask.png and a_mask.png are one file.
        other = seen.setdefault(same_letters(item.stem), item.path)
        if other != item.path and not namesakes:
            raise InputError(
                f"{other} and {item.path} have the same name but for folder and suffix, so their results would "
                "overwrite each other; rename one or process them apart."
            )
    return inputs


def files_of(path: Path) -> list[Path]:
    """Return an image file alone, or the image files directly in a folder, in natural order.

    Raises
    ------
    InputError
        If `path` does not exist, cannot be opened or is no image file.
    """
    try:
        if path.is_dir():
            return natural_order(p for p in path.iterdir() if is_image_file(p))
        exists = path.exists()
    except PermissionError as error:
        raise InputError(f"{path} cannot be opened: permission denied; ask for read access to it.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be opened ({error}); check the name and the disk.") from error
    if not exists:
        raise InputError(f"{path} does not exist; check the name.")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is not an image file by its name; give one of {', '.join(SUFFIXES)}.")
    return [path]


def is_image_file(path: Path) -> bool:
    """Whether `path` is a visible file with an image's suffix."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def same_letters(name: str) -> str:
    """Return a name as it is compared: without case, and an accented letter as one, however a disk wrote it."""
    return unicodedata.normalize("NFC", name.casefold())


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort paths by name, numbers by value (2 before 10)."""

    def key(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"([0-9]+)", path.name.casefold())
        return [(0, int(p), "") if p.isdecimal() and p.isascii() else (1, 0, p) for p in parts if p]

    return sorted(paths, key=lambda p: (key(p), p.name))


def match_file(
    stem: str, place: Path | str, *, prefer: Sequence[str] = ("mask", "fov"), exclude: Path | None = None
) -> Path | None:
    """Find the mask or field of view that belongs to an image.

    Tried in order: the same stem; the stem with ``_mask`` or ``_fov``; the only file whose name starts with the
    stem and an underscore; the only file that is the same leading number and words for its use, as in DRIVE
    (``01_manual1`` for ``01_test``, but never ``01_dr`` for ``01_g``). A page ``STEM_pNNN`` also matches the
    multi-page file ``STEM``. By its number it gets no mask of one page, which cannot be that of every page; a field of
    view can.

    Parameters
    ----------
    stem : str
        Stem of the image.
    place : Path or str
        Folder to search, or the file itself, which is returned as it is.
    prefer : sequence of str, optional
        Endings tried first, best first; give ``("fov", "mask")`` for a field of view.
    exclude : Path, optional
        A file that is not the answer: the image itself, where masks and images share a folder.

    Returns
    -------
    Path or None
        None when nothing matches.

    Raises
    ------
    InputError
        If `place` does not exist, or two files match equally well.
    """
    place = Path(place)
    if not place.is_dir():
        if not place.exists():
            raise InputError(f"{place} does not exist; check the name.")
        return place
    hidden = exclude.resolve() if exclude is not None else None
    return match_among(stem, [p for p in files_of(place) if p.resolve() != hidden], prefer)


def match_among(stem: str, files: Sequence[Path], prefer: Sequence[str] = ("mask", "fov")) -> Path | None:
    """Find which of the files of one folder belongs to an image, as :func:`match_file` does.

    Parameters
    ----------
    stem : str
        Stem of the image.
    files : sequence of Path
        What :func:`files_of` returned, without the image itself: many images need not list the folder each.
    prefer : sequence of str, optional
        Endings tried first.

    Returns
    -------
    Path or None
        None when nothing matches.

    Raises
    ------
    InputError
        If two files match equally well.
    """
    wanted = same_letters(stem)
    names = {p: same_letters(p.stem) for p in files}
    for name in (wanted, *(f"{wanted}_{ending}" for ending in prefer)):
        if found := _only(stem, [p for p in files if names[p] == name]):
            return found
    if page := re.fullmatch(r"(.+)_p[0-9]{3,}", wanted):
        for name in (page.group(1), *(f"{page.group(1)}_{ending}" for ending in prefer)):
            if found := _only(stem, [p for p in files if names[p] == name and _is_stack(p)]):
                return found
    if found := _only(stem, [p for p in files if names[p].startswith(f"{wanted}_")]):
        return found
    number = re.match(r"[0-9]+", wanted)
    if number is None:
        return None
    same = [p for p in files if (m := _NUMBERED.fullmatch(names[p])) and int(m.group(1)) == int(number.group())]
    return _only(stem, [p for p in same if _is_stack(p)] if page and "fov" not in prefer[:1] else same)


def _is_stack(path: Path) -> bool:
    return path.suffix.lower() in _PAGED and count_planes(path) > 1


def check_mask_file(masks: Path, images: Sequence[Path | None]) -> None:
    """Refuse one mask file for several images, unless both are stacks of as many pages.

    Parameters
    ----------
    masks : Path
        Folder of masks, which is always fine, or a mask file.
    images : sequence of Path or None
        The file of every image, once for each of its pages; None for an image without a file.

    Raises
    ------
    InputError
        If the file would be the mask of more than one image.
    """
    if len(images) < 2 or not masks.is_file():
        return
    first = images[0]
    if first is not None and all(path == first for path in images) and count_planes(masks) == count_planes(first):
        return
    raise InputError(f"One mask, {masks}, was given for {len(images)} images; give a folder of masks with their names.")


def _only(stem: str, found: list[Path]) -> Path | None:
    if len(found) > 1:
        raise InputError(
            f"Both {found[0].name} and {found[1].name} in {found[0].parent} could belong to {stem}; "
            "keep one of them there."
        )
    return found[0] if found else None
