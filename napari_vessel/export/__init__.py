"""Curated samples out of a project."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_vessel.export.choice import check_export
    from napari_vessel.export.folder import export_folder
    from napari_vessel.export.nnunet import check_nnunet, export_nnunet

__all__ = ["check_export", "check_nnunet", "export_folder", "export_nnunet"]

_HOMES = {
    "check_export": "choice",
    "check_nnunet": "nnunet",
    "export_folder": "folder",
    "export_nnunet": "nnunet",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"napari_vessel.export.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
