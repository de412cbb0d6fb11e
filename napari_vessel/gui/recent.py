"""Remembers which projects were opened last, and lets napari know them when they are dropped on it."""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path

from napari_vessel.images.writing import write_json
from napari_vessel.review.schema import is_project

_KEEP = 8
_READER = "napari-vessel"


def _file() -> Path:
    from platformdirs import user_config_dir

    return Path(user_config_dir("napari-vessel")) / "recent.json"


def recent_projects() -> list[Path]:
    """Return the project folders opened last that are still there."""
    try:
        stored = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    folders = [Path(entry) for entry in stored if isinstance(entry, str)] if isinstance(stored, list) else []
    return [folder for folder in folders if is_project(folder)][:_KEEP]


def remember_project(folder: Path) -> None:
    """Put a folder first in the list. A list that cannot be written is not worth an error."""
    folder = Path(folder).resolve()
    folders = [folder, *(other for other in recent_projects() if other != folder)]
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(), [str(entry) for entry in folders[:_KEEP]])
    except OSError:
        return
    prefer_reader(folders[:_KEEP])


def prefer_reader(folders: list[Path]) -> None:
    """Let napari open these project folders without asking which reader to use; no other folder is touched.

    It is the setting that napari itself writes when the annotator ticks *remember this choice*.
    """
    from napari.settings import get_settings

    plugins = get_settings().plugins
    wanted = {glob.escape(str(folder)) + os.sep: _READER for folder in folders}
    others = {
        pattern: reader
        for pattern, reader in plugins.extension2reader.items()
        if reader != _READER or not pattern.endswith(os.sep)
    }
    if plugins.extension2reader != {**others, **wanted}:
        plugins.extension2reader = {**others, **wanted}
