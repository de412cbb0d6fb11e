"""Remembers which projects were opened last, newest first."""

from __future__ import annotations

import json
from pathlib import Path

from napari_vessel.images.writing import write_json

_KEEP = 8


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
    return [folder for folder in folders if (folder / "project.sqlite").is_file()][:_KEEP]


def remember_project(folder: Path) -> None:
    """Put a folder first in the list. A list that cannot be written is not worth an error."""
    folder = Path(folder).resolve()
    folders = [folder, *(other for other in recent_projects() if other != folder)]
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(), [str(entry) for entry in folders[:_KEEP]])
    except OSError:
        return
