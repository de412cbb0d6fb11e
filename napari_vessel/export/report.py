"""The report of a project: one HTML file, for a clinician and for who reviews a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_vessel.errors import InputError
from napari_vessel.images.writing import check_folder, replacing
from napari_vessel.jobs import Job, Progress
from napari_vessel.untrusted import MALFORMED, read_text

if TYPE_CHECKING:
    from napari_vessel.review.project import Project

SUFFIXES = (".html", ".htm")


def check_report(out: Path) -> None:
    """Raise InputError if a report cannot be written at `out`, or would replace a file that is none."""
    from napari_vessel.export.report_page import GENERATOR

    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{out} cannot be written: its name must end in .html.")
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file.")
    if not out.parent.is_dir():
        raise InputError(f"The folder {out.parent} does not exist; make it first.")
    check_folder(out.parent)
    if not out.exists():
        return
    try:
        own = f'<meta name="generator" content="{GENERATOR}">' in read_text(out)[:500]
    except (OSError, *MALFORMED):
        own = False
    if not own:
        raise InputError(f"{out} is there and is no report; name another file.")


def write_report(
    project: Project, out: Path | str, *, truth: Path | None = None, other: Project | None = None
) -> Job[Path]:
    """Write the report of a project; the file appears when it is complete.

    Parameters
    ----------
    project : Project
        What to report on: its images that have a mask.
    out : Path or str
        An ``.html`` file; an earlier report is replaced.
    truth : Path, optional
        Folder of reference masks, found by the images' names.
    other : Project, optional
        Another annotator's project over the same images, for the agreement.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If `out` cannot be written or is no report, or a reference mask does not fit.
    ProjectError
        If no image has a mask, or an image's file has moved.
    """
    from napari_vessel.export.report_data import gather
    from napari_vessel.export.report_page import report_page

    out = Path(out).expanduser()
    check_report(out)
    found = yield from gather(project, truth, other)
    yield Progress(1, 1, "Writing the report")
    with replacing(out) as temporary:
        temporary.write_text(report_page(found), encoding="utf-8")
    return out
