"""Where an export goes: a folder that is new, empty, or this project's own untouched export, and whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_vessel.errors import InputError
from napari_vessel.untrusted import MALFORMED, read_json

MANIFEST = "manifest.json"
_KIND = re.compile(r"napari-vessel [\w -]+ export")


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
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file; choose a folder to export to.")
    present = {p.relative_to(out).as_posix() for p in out.rglob("*") if not p.is_dir()}
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


@contextlib.contextmanager
def building(out: Path, subfolders: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder beside `out` with these folders in it, and remove whatever is left of it."""
    folder = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    new_parent = not out.parent.exists()
    try:
        folder.mkdir(parents=True)
        for name in subfolders:
            (folder / name).mkdir(parents=True)
        yield folder
    except OSError as error:
        reason = error.strerror or "it could not be written"
        raise InputError(f"Cannot export to {out}: {reason}; free some space or choose another folder.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if new_parent:
            # Stays when the export is in it now.
            with contextlib.suppress(OSError):
                out.parent.rmdir()


def recover(out: Path) -> None:
    """Put an earlier export back that :func:`put_in_place` was killed over, between its two renames."""
    if out.exists() or not out.parent.is_dir():
        return
    name = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.old")
    left = [path for path in out.parent.iterdir() if name.fullmatch(path.name) and (path / MANIFEST).is_file()]
    if left:
        try:
            left[0].rename(out)
        except OSError as error:
            raise InputError(f"An earlier export to {out} was left in {left[0]}; move it back first.") from error


def put_in_place(folder: Path, out: Path) -> None:
    """Rename the finished `folder` to `out`, in place of an earlier export."""
    if not out.exists():
        folder.rename(out)
        return
    old = folder.with_suffix(".old")
    out.rename(old)
    try:
        folder.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
