"""Curated samples out of a project."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_vessel.export.folder import check_export, export_folder

__all__ = ["check_export", "export_folder"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("napari_vessel.export.folder"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
