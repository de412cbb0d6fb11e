"""Which images of a project an export takes, and what is to know about them first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from napari_vessel.errors import ProjectError
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord, ImageState


class Obstacle(str):
    """A problem with which nothing is exported; any other is for the annotator to judge."""

    __slots__ = ()


def check_export(project: Project, states: Sequence[ImageState] = (ImageState.DONE,)) -> list[str]:
    """Look for problems with the images that are chosen; no file is read.

    Parameters
    ----------
    project : Project
        What to export from.
    states : sequence of ImageState
        Images in these states are meant to be exported.

    Returns
    -------
    list of str
        One sentence per problem; empty when there is none.
    """
    problems: list[str] = []
    chosen, others = [], 0
    for record in project.images():
        if record.state in states:
            chosen.append(record)
        else:
            others += 1
    if not exportable(project, states):
        problems.append(Obstacle(_nothing(project, states)))
    for record in chosen:
        if record.state is ImageState.NEW or not project.has_mask(record.id):
            problems.append(f"{record.name}: it has no mask and is left out; segment it first.")
        if record.open_gaps:
            gaps = "1 gap is" if record.open_gaps == 1 else f"{record.open_gaps} gaps are"
            problems.append(f"{record.name}: {gaps} still open.")
        if "ungradable" in record.flags:
            problems.append(f"{record.name}: it is flagged as ungradable.")
    unknown = [record.name for record in exportable(project, states) if not record.gaps_known]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        problems.append(f"{unknown[0]}{more}: gaps were never looked for.")
    open_ = [record.name for record in chosen if record.state in (ImageState.SEGMENTED, ImageState.IN_REVIEW)]
    if open_:
        more = f" and {len(open_) - 1} more: their" if len(open_) > 1 else ": its"
        problems.append(f"{open_[0]}{more} review is not done.")
    if others and chosen:
        problems.append(
            f"{others} of {others + len(chosen)} images {'is' if others == 1 else 'are'} left out: in another state."
        )
    return problems


def exportable(project: Project, states: Sequence[ImageState]) -> list[ImageRecord]:
    """Return the images in these states that have, or had, a mask."""
    chosen = [r for r in project.images() if r.state in states and r.state is not ImageState.NEW]
    return [r for r in chosen if project.has_mask(r.id)]


def to_export(project: Project, states: Sequence[ImageState]) -> list[ImageRecord]:
    """Return :func:`exportable`, or raise ProjectError when there is nothing."""
    records = exportable(project, states)
    if not records:
        raise ProjectError(_nothing(project, states))
    return records


def _nothing(project: Project, states: Sequence[ImageState]) -> str:
    there = Counter(record.state for record in project.images())
    if any(there[state] for state in states):
        return "There is nothing to export: none of the images has a mask; segment one or include other states."
    wanted = " or ".join(state.value.replace("_", " ") for state in states) or "in no state"
    found = ", ".join(f"{count} {state.value.replace('_', ' ')}" for state, count in there.items()) or "there is none"
    return f"There is nothing to export: no image is {wanted} ({found}); finish one (key D) or include other states."
