"""Where an export goes: a folder that is new, empty, or this project's own untouched export, and whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from napari_vessel.errors import InputError, ProjectError
from napari_vessel.images.writing import way_out
from napari_vessel.review.lock import FolderLock
from napari_vessel.untrusted import MALFORMED, read_json

MANIFEST = "manifest.json"
_KIND = re.compile(r"napari-vessel [\w -]+ export")
_LOCK, _NEW, _OLD = "export.lock", "new", "old"
_LITTER = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini", re.IGNORECASE)
"""What file managers leave in a folder that somebody looked at."""


def check_target(out: Path, project_id: str) -> None:
    """Refuse a folder that holds anything else than what an export of this project wrote, unchanged.

    Parameters
    ----------
    out : Path
        Where an export should go; it need not be there.
    project_id : str
        Of the project to be exported.

    Raises
    ------
    InputError
        With a sentence that names what is in the way.
    """
    if not out.name or os.path.ismount(out):
        raise InputError(f"{out} is a whole disk; choose a folder on it.")
    present = _files_in(out)
    if not present:
        return
    manifest = read_manifest(out)
    if manifest is None:
        raise InputError(f"{out} is not empty and not an earlier export; choose a new or empty folder.")
    owner, hashes = manifest
    if owner != project_id:
        raise InputError(f"{out} has the export of another project; choose a new or empty folder.")
    strangers = sorted(present - {MANIFEST, *hashes})
    if strangers:
        raise InputError(
            f"{out} has files that no export wrote ({strangers[0]}); move them away or choose another folder."
        )
    for file, expected in hashes.items():
        # A device has no end to be hashed.
        if file not in present or not (out / file).is_file() or sha256(out / file) != expected:
            change = "changed" if file in present else "removed"
            raise InputError(f"{file} in {out} was {change} after its export; choose another folder to keep that.")


def read_manifest(out: Path) -> tuple[str, dict[str, str]] | None:
    """Return the id of the project an export came from, and the hashes of its files; None when it is no export."""
    try:
        manifest = read_json(out / MANIFEST)
        if not _KIND.fullmatch(manifest["kind"]):
            return None
        files = {str(file): str(digest) for file, digest in manifest.get("files", {}).items()}
        for entry in manifest["images"]:
            for what in ("image", "mask"):
                # An export from before all files were listed has only these.
                if f"{what}_sha256" in entry:
                    files[str(entry[what])] = str(entry[f"{what}_sha256"])
        return str(manifest.get("project_id", "")), files
    except (OSError, *MALFORMED):
        return None


def _files_in(out: Path) -> set[str]:
    """Return what is in a folder but for further folders, by paths with ``/``; InputError if it cannot be told."""

    def refuse(error: OSError) -> NoReturn:
        raise InputError(f"{out} cannot be looked into ({error.strerror}); choose another folder.") from error

    try:
        if not out.exists():
            return set()
    except OSError as error:
        refuse(error)
    if not out.is_dir():
        raise InputError(f"{out} is a file; choose a folder to export to.")
    found = set()
    for folder, inner, files in os.walk(out, onerror=refuse):
        links = [name for name in inner if os.path.islink(os.path.join(folder, name))]
        kept = [name for name in files if not _LITTER.fullmatch(name)]
        found |= {Path(folder, name).relative_to(out).as_posix() for name in (*links, *kept)}
    return found


@contextlib.contextmanager
def building(out: Path, subfolders: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty folder beside `out` to build in, for :func:`put_in_place`; what is left of it in the end goes.

    What was left by somebody who was killed over the same goes first. A lock says that somebody lives.

    Parameters
    ----------
    out : Path
        What is to be built.
    subfolders : sequence of str, optional
        To be made in the folder.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    for left in _leftovers(out):
        if _is_dead(left):
            _clear(left, out)
    place = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    new_parents = [parent for parent in out.parents if not parent.exists()]
    lock: FolderLock | None = None
    try:
        place.mkdir(parents=True)
        lock = FolderLock(place, _LOCK, "export")
        for name in (".", *subfolders):
            (place / _NEW / name).mkdir(parents=True)
        yield place / _NEW
    except OSError as error:
        reason = error.strerror or "it could not be written"
        raise InputError(f"Cannot export to {out}: {reason}; {way_out(error)} or choose another folder.") from error
    finally:
        if lock is not None:
            lock.release()
        _clear(place, out)
        for parent in new_parents:
            # Stays when the export is in it now.
            with contextlib.suppress(OSError):
                parent.rmdir()


def put_in_place(folder: Path, out: Path) -> None:
    """Rename the finished `folder`, from :func:`building`, to `out`; an earlier export there goes with the rest."""
    if out.exists():
        out.rename(folder.with_name(_OLD))
    folder.rename(out)


def unfinished(out: Path) -> list[str]:
    """Return one sentence for each folder beside `out` in which somebody may be building it at this moment."""
    return [
        f"{left} is an export to {out.name} that is not finished: somebody is at it, or it was cut off on another "
        "computer; delete it if nobody is."
        for left in _leftovers(out)
        if not _is_dead(left)
    ]


def _leftovers(out: Path) -> list[Path]:
    name = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.tmp")
    try:
        found = sorted(path for path in out.parent.iterdir() if name.fullmatch(path.name))
    except OSError:
        return []  # there is nothing, or nothing can be put there either
    return [path for path in found if not path.is_symlink() and (path / _LOCK).is_file()]


def _is_dead(left: Path) -> bool:
    """Whether nobody builds in a folder any more: the system frees a lock when its owner dies."""
    try:
        FolderLock(left, _LOCK, "export").release()
    except ProjectError:
        return False  # alive, or perhaps alive on another computer
    return True


def _clear(place: Path, out: Path) -> None:
    """Remove a folder that was built in; an earlier export that has made way for a new one in vain is put back."""
    old = place / _OLD
    if (place / _NEW).is_dir() and old.is_dir() and not old.is_symlink() and not out.exists():
        try:
            old.rename(out)
        except OSError:
            return  # it is the only one
    shutil.rmtree(place, ignore_errors=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
