"""Whether a folder lies on a disk of this computer or on the network."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

from napari_vessel.errors import ProjectError

_LOCAL = {
    *("apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfs", "hfsplus", "jfs"),
    *("msdos", "nilfs2", "ntfs", "ntfs3", "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "ubifs", "vfat"),
    *("xfs", "zfs"),
}
"""File systems of disks in the same computer; any other may be shared."""


def check_own_file(path: Path) -> None:
    """Refuse what is about to be written in a project's folder when it is a link, which may lead out of it, or no file.

    Parameters
    ----------
    path : Path
        It need not be there.

    Raises
    ------
    ProjectError
        If it is there and no plain file.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return  # nothing there, or whoever opens it says why not
    if not stat.S_ISREG(mode):
        what = "link" if stat.S_ISLNK(mode) else "folder" if stat.S_ISDIR(mode) else "pipe or a device"
        raise ProjectError(f"{path} is a {what} and no file; put a copy of the project's own file there.")


def mounts_of_linux(text: str) -> dict[str, bool]:
    """Return what ``/proc/mounts`` lists: for each mount point whether it is local; later ones hide earlier ones."""
    mounts = {}
    for line in text.splitlines():
        _, point, kind, *_ = line.split(" ")
        # Spaces and the like are written as three octal digits.
        plain = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)
        mounts[plain] = kind in _LOCAL
    return mounts


def mounts_of_macos(text: str) -> dict[str, bool]:
    """Return what ``mount`` lists: for each mount point whether the system calls it local."""
    found = re.findall(r"^.* on (/.*?) \(([^()]*)\)$", text, re.MULTILINE)
    return {point: "local" in options.split(", ") for point, options in found}


def is_local_mount(folder: Path, mounts: dict[str, bool]) -> bool:
    """Return whether the innermost mount point above a folder is local; False when there is none."""
    for path in (folder, *folder.parents):
        if str(path) in mounts:
            return mounts[str(path)]
    return False


def is_local(folder: Path) -> bool:
    """Return whether a folder is on a disk of this computer; False when that cannot be told.

    SQLite's write-ahead log needs memory that all its readers share, and file locks that work. Neither is sure on a
    network folder.

    Parameters
    ----------
    folder : Path
        An existing folder, resolved.
    """
    return _is_local(folder)


if sys.platform == "win32":

    def _is_local(folder: Path) -> bool:
        import ctypes

        removable, fixed, memory = 2, 3, 6
        return ctypes.windll.kernel32.GetDriveTypeW(f"{folder.drive}\\") in (removable, fixed, memory)

elif sys.platform == "darwin":

    def _is_local(folder: Path) -> bool:
        try:
            listed = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=5, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return False
        return is_local_mount(folder, mounts_of_macos(listed))

else:

    def _is_local(folder: Path) -> bool:
        try:
            listed = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return False
        return is_local_mount(folder, mounts_of_linux(listed))
