"""Review: the session through whose one door a mask changes, and the project that remembers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_vessel.review.components import Components
    from napari_vessel.review.edits import Edit, EditKind, MaskEdit, Verdict, VerdictChange, VerdictRecord
    from napari_vessel.review.project import Project
    from napari_vessel.review.records import ImageRecord, ImageState
    from napari_vessel.review.restoring import restore_project
    from napari_vessel.review.session import ReviewSession

__all__ = [
    "Components",
    "Edit",
    "EditKind",
    "ImageRecord",
    "ImageState",
    "MaskEdit",
    "Project",
    "ReviewSession",
    "Verdict",
    "VerdictChange",
    "VerdictRecord",
    "open_project",
    "restore_project",
]

_HOMES = {
    "Components": "components",
    "Edit": "edits",
    "EditKind": "edits",
    "ImageRecord": "records",
    "ImageState": "records",
    "MaskEdit": "edits",
    "Project": "project",
    "ReviewSession": "session",
    "Verdict": "edits",
    "VerdictChange": "edits",
    "VerdictRecord": "edits",
    "restore_project": "restoring",
}


def open_project(folder: Path | str, *, create: bool = False) -> Project:
    """Open the project in a folder.

    Parameters
    ----------
    folder : Path or str
        The project folder.
    create : bool
        Make a project there when there is none.

    Returns
    -------
    Project
        A context manager; close it when done.

    Raises
    ------
    ProjectError
        If there is none, it is damaged, was made by a newer version, is open elsewhere, or cannot be written.
    """
    from napari_vessel.review.project import Project

    return Project.open_or_create(folder) if create else Project.open(folder)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"napari_vessel.review.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
