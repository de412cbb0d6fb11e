"""Remembers, from one start to the next, what was ticked where no project keeps it."""

from __future__ import annotations

import json
from pathlib import Path

from napari_vessel.errors import VesselError
from napari_vessel.images.writing import write_json


def _file() -> Path:
    from platformdirs import user_config_dir

    return Path(user_config_dir("napari-vessel")) / "choices.json"


def _stored() -> dict[str, bool]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): value is True for name, value in found.items()} if isinstance(found, dict) else {}


def remembered(name: str) -> bool:
    """Return whether something was ticked last; it is not before anybody did."""
    return _stored().get(name, False)


def remember(name: str, ticked: bool) -> None:
    """Keep whether something is ticked. A choice that cannot be written is not worth an error."""
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(), {**_stored(), name: ticked})
    except (OSError, VesselError):
        return
