"""From a project to a data set on the disk, whole or not at all, in any layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vessel.errors import InputError, VesselError
from napari_vessel.export.cases import read_case
from napari_vessel.export.choice import Obstacle, check_export, exportable, to_export
from napari_vessel.export.layout import Layout
from napari_vessel.export.layouts import LAYOUTS
from napari_vessel.export.manifest import image_entry, write_manifest
from napari_vessel.export.options import ExportOptions
from napari_vessel.export.splits import problems_of
from napari_vessel.export.survey import Survey, common_notes, survey_project
from napari_vessel.export.target import building, check_target, put_in_place, unfinished
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
    notes: list[str] | None = None,
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
    notes : list of str, optional
        Takes what :func:`check_project` would have said.

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
    target = chosen.target(_whole(out), project, options)
    _check(target, project)
    records = to_export(project, options.states)
    survey = yield from survey_project(project, options, records, chosen.needs_pixels)
    with building(target) as folder:
        writer = chosen.writer(folder, survey, project.name)
        entries, looks = [], []
        for number, look in enumerate(survey.looks):
            yield Progress(number, len(records), f"Exporting {look.record.name}")
            record = project.record(look.record.id)
            case = yield from read_case(project, record, survey.places[record.id], options.ignore)
            looks.append(survey.met(look, case))
            entries.append(image_entry(project, case, writer.add(case)))
        yield Progress(len(records), len(records), "Writing the manifest")
        writer.finish()
        write_manifest(folder, project, entries, survey, chosen, agreement)
        _check(target, project)
        put_in_place(folder, target)
    if notes is not None:
        notes += check_export(project, options.states) + _notes(replace(survey, looks=tuple(looks)), chosen)
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
        One sentence per problem, or thing to know; empty when there is none. With any that is an
        :class:`~napari_vessel.export.choice.Obstacle` there would be no export.
    """
    chosen = LAYOUTS[layout]
    problems: list[str] = []
    if out is not None:
        try:
            target = chosen.target(_whole(out), project, options)
            _check(target, project)
            problems += unfinished(target)
        except VesselError as error:
            problems.append(Obstacle(error))
    problems += check_export(project, options.states)
    survey = yield from survey_project(project, options, exportable(project, options.states), problems=problems)
    return problems + _notes(survey, chosen)


def _whole(out: Path | str) -> Path:
    try:
        return Path(out).expanduser().resolve()
    except RuntimeError as error:
        raise InputError(f"{out} names a user whose folder is not known; give the whole path.") from error


def _check(target: Path, project: Project) -> None:
    """Raise InputError if an export cannot go to a folder, or would replace files that the project works on."""
    check_target(target, project.id)
    for record in project.images():
        if record.path.is_relative_to(target):
            raise InputError(f"{target} has the image file {record.path.name} of this project; choose another folder.")


def _notes(survey: Survey, layout: Layout) -> list[str]:
    return common_notes(survey) + problems_of(survey.places, survey.options.split) + layout.notes(survey)
