"""From a project to a data set on the disk, whole or not at all, in any layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_vessel.errors import VesselError
from napari_vessel.export.cases import read_case
from napari_vessel.export.choice import check_export, to_export
from napari_vessel.export.layouts import LAYOUTS
from napari_vessel.export.manifest import image_entry, write_manifest
from napari_vessel.export.options import ExportOptions
from napari_vessel.export.splits import problems_of
from napari_vessel.export.survey import common_notes, survey_project
from napari_vessel.export.target import building, check_target, put_in_place, recover
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.project import Project

if TYPE_CHECKING:
    from napari_vessel.review.agreement import Agreement

_PLAIN = ExportOptions()


def export_project(
    project: Project,
    out: Path | str,
    layout: str = "folder",
    options: ExportOptions = _PLAIN,
    agreement: Agreement | None = None,
) -> Job[Path]:
    """Write images, masks and a manifest; the folder appears when it is complete.

    Parameters
    ----------
    project : Project
        What to export from.
    out : Path or str
        A new or empty folder, or one that an earlier export of this project wrote and nobody has changed since, which
        is replaced. Of ``nnunet`` the folder that holds the data sets, nnU-Net's ``nnUNet_raw``.
    layout : str
        One of :data:`~napari_vessel.export.layouts.LAYOUTS`.
    options : ExportOptions
        Which images, and how.
    agreement : Agreement, optional
        With a second annotator's project, for the manifest.

    Returns
    -------
    Path
        The folder that was written.

    Raises
    ------
    InputError
        If `out` holds anything else, or cannot be written, or an option cannot be used.
    ProjectError
        If there is nothing to export, or an image's file has moved or changed.
    """
    chosen = LAYOUTS[layout]
    target = chosen.target(Path(out).expanduser().resolve(), project, options)
    recover(target)
    check_target(target, project.id)
    records = to_export(project, options.states)
    survey = yield from survey_project(project, options)
    with building(target) as folder:
        writer = chosen.writer(folder, survey, project.name)
        entries = []
        for number, record in enumerate(records):
            yield Progress(number, len(records), f"Exporting {record.name}")
            case = yield from read_case(project, record, survey.places[record.id], options.ignore)
            entries.append(image_entry(project, case, writer.add(case)))
        yield Progress(len(records), len(records), "Writing the manifest")
        writer.finish()
        write_manifest(folder, project, entries, survey, chosen, agreement)
        check_target(target, project.id)
        put_in_place(folder, target)
    return target


def check_project(
    project: Project, out: Path | str | None = None, layout: str = "folder", options: ExportOptions = _PLAIN
) -> Job[list[str]]:
    """Look for problems before anything is written; every image and mask is read for it.

    Parameters
    ----------
    project : Project
        What to export from.
    out : Path or str, optional
        Where it would go, to be looked at too.
    layout, options
        As of :func:`export_project`.

    Returns
    -------
    list of str
        One sentence per problem, or thing to know; empty when there is none.
    """
    chosen = LAYOUTS[layout]
    problems: list[str] = []
    if out is not None:
        try:
            target = chosen.target(Path(out).expanduser().resolve(), project, options)
            check_target(target, project.id)
        except VesselError as error:
            problems.append(str(error))
    problems += check_export(project, options.states)
    survey = yield from survey_project(project, options, problems)
    return problems + common_notes(survey) + problems_of(survey.places, options.split) + chosen.notes(survey)
