"""What an annotator prefers, from one start to the next: shown in napari's own preferences, which keep it.

The manifest's ``configurations`` describe every preference, and napari makes a page of them from 0.9. Before, napari
has neither the page nor the file: the same values are then kept in a file of ours, and only the widgets change them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject

from napari_vessel.errors import VesselError
from napari_vessel.images.writing import write_json

PLUGIN = "napari-vessel"
DEFAULTS: dict[str, dict[str, Any]] = {
    "review": {
        "annotator": "",
        "advance": True,
        "mask_colour": "light blue",
        "mask_opacity": 0.6,
        "mask_outline": False,
    },
    "segmentation": {"model": "", "device": "auto", "complete": False},
    "finetune": {"offer_after": 5},
}
"""By group and name, as in the manifest."""

_GROUP_OF = {name: group for group, names in DEFAULTS.items() for name in names}


def preferred(name: str) -> Any:
    """Return what is preferred; the default before anybody said anything."""
    group = _napari_group(name)
    if group is not None:
        return getattr(group, name)
    default = DEFAULTS[_GROUP_OF[name]][name]
    found = _stored().get(name, default)
    return found if type(found) is type(default) else default


def prefer(name: str, value: Any) -> None:
    """Keep a preference. One that cannot be written is not worth an error."""
    group = _napari_group(name)
    try:
        if group is not None:
            setattr(group, name, value)
        else:
            _file().parent.mkdir(parents=True, exist_ok=True)
            write_json(_file(), {**_stored(), name: value})
    except (OSError, VesselError):
        return


def watch(name: str, callback: Callable[[], None]) -> None:
    """Call a bound method whenever a preference changes: a widget's until Qt deletes it, else while it is alive."""
    group = _napari_group(name)
    if group is None:
        return
    event = getattr(group.events, name)
    event.connect(callback)
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, QObject):
        owner.destroyed.connect(lambda: event.disconnect(callback))


def _napari_group(name: str) -> Any:
    """Return napari's model of the group that a preference is in; None before 0.9."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return None
    try:
        return getattr(get_plugin_settings(PLUGIN), _GROUP_OF[name])
    except KeyError:  # the package is used without its manifest
        return None


def _file() -> Path:
    from platformdirs import user_config_dir

    return Path(user_config_dir(PLUGIN)) / "preferences.json"


def _stored() -> dict[str, Any]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
