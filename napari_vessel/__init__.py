"""Connected vessel masks: segment, find every break, review each with one key, export."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_vessel.version import __version__

if TYPE_CHECKING:
    from napari_vessel.completion import complete, propose_gaps
    from napari_vessel.review import open_project
    from napari_vessel.segmentation import segment

__all__ = ["__version__", "complete", "open_project", "propose_gaps", "segment"]

_HOMES = {
    "segment": "napari_vessel.segmentation",
    "propose_gaps": "napari_vessel.completion",
    "complete": "napari_vessel.completion",
    "open_project": "napari_vessel.review",
}


def __getattr__(name: str) -> Any:
    # Each verb loads its own libraries on first use, so that importing the package stays instant.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
