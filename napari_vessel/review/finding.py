"""Finding an image's file again by its content, after it was moved or renamed."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from napari_vessel.images.decoding import SUFFIXES
from napari_vessel.review.records import ImageRecord

MOST_ENTRIES = 20_000
"""Files and folders looked at in one search, so that it ends soon in a large archive."""
MOST_HASHED = 500
"""Files read in one search."""


def find_moved(record: ImageRecord, others: Iterable[ImageRecord], project: Path) -> Path | None:
    """Look for the file of an image where it may have gone: near where it was, near the others, near the project.

    Parameters
    ----------
    record : ImageRecord
        Its file is not there any more, or is another one.
    others : iterable of ImageRecord
        All images of the project: where one was found, the next is looked for first.
    project : Path
        The project's folder.

    Returns
    -------
    Path or None
        A file with exactly the content that the image had when it was added.
    """
    known = {other.path for other in others if not other.saved and other.path != record.path and other.path.is_file()}
    near = [*sorted({path.parent for path in known}), _standing(record.path.parent), project, project.parent]
    wanted = record.content_hash.partition("#")[0]
    for number, path in enumerate(_candidates(record.path, near, known)):
        if number == MOST_HASHED:
            break
        if _hash(path) == wanted:
            return path
    return None


def moved_along(companion: Path, before: Path, now: Path) -> Path | None:
    """Return where a file is that moved together with another one, from the way between the two; None if nowhere."""
    try:
        way = os.path.relpath(companion, before.parent)
    except ValueError:
        return None  # on another drive
    path = Path(os.path.normpath(now.parent / way))
    return path if path.is_file() else None


def _candidates(old: Path, near: list[Path], known: set[Path]) -> Iterator[Path]:
    """Yield files, the likeliest first: the same name, the same kind of file, and last what another image refers to."""
    tried = {old}
    for path in (folder / old.name for folder in near):
        if path not in tried and path.is_file():
            tried.add(path)
            yield path

    def rank(path: Path) -> int:
        return 0 if path.name.casefold() == old.name.casefold() else 2 if path in known else 1

    suffix = old.suffix.casefold()
    if suffix not in SUFFIXES:
        return
    for path in sorted((path for path in _walk(near) if path.suffix.casefold() == suffix), key=rank):
        if path not in tried:
            yield path


def _walk(roots: list[Path]) -> Iterator[Path]:
    """Yield the files under some folders, the nearest first; each folder once, hidden ones and exports not."""
    waiting, seen, left = deque(roots), set[Path](), MOST_ENTRIES
    while waiting and left > 0:
        folder = waiting.popleft()
        if folder in seen:
            continue
        seen.add(folder)
        try:
            with os.scandir(folder) as entries:
                found = [entry for entry in islice(entries, left) if not entry.name.startswith(".")]
            left -= len(found)
            # The copies in an export are replaced with it; a project must not come to live on them.
            if any(entry.name == "manifest.json" for entry in found):
                continue
            waiting.extend(Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False))
            yield from (Path(entry.path) for entry in found if entry.is_file())
        except OSError:
            continue  # not ours to read


def _standing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is still there."""
    return next((path for path in (folder, *folder.parents) if path.is_dir()), folder)


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
