"""Curated samples out of a project, in the layouts that others read, and back into one."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_vessel.export.exporting import check_project, export_project
    from napari_vessel.export.importing import check_data, import_data
    from napari_vessel.export.options import ExportOptions, Ignore
    from napari_vessel.export.splits import Split

__all__ = ["ExportOptions", "Ignore", "Split", "check_data", "check_project", "export_project", "import_data"]

_HOMES = {
    "ExportOptions": "options",
    "Ignore": "options",
    "Split": "splits",
    "check_data": "importing",
    "check_project": "exporting",
    "export_project": "exporting",
    "import_data": "importing",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"napari_vessel.export.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
