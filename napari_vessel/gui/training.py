"""The training of one viewer on labelled images: gathers what it learns from, and runs in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from napari_vessel.gui.process import ProcessRun
from napari_vessel.gui.training_runs import RECORD, runs_folder
from napari_vessel.gui.training_sources import Source, note_taught
from napari_vessel.jobs import Job, Progress

if TYPE_CHECKING:
    from napari_vessel.review.project import Project


class Training(ProcessRun):
    """A model from a few labelled images; the run and the model have one name."""

    dock: ClassVar[str] = "Vessel training"

    def start(self, name: str, sources: Sequence[Source], settings: Mapping[str, Any], device: str) -> None:
        """Begin a run, or go on with the one of that name; `sources` and `settings` are for a new one.

        Parameters
        ----------
        name : str
            Of the run and its model.
        sources : sequence of Source
            What to learn from.
        settings : mapping
            What :class:`napari_vessel.training.preparing.FewShot` takes, but for the name.
        device : str
            Where to compute.
        """
        workspace = self._workspace()
        if workspace is None:
            return
        workspace.flush()
        self._begin(
            name, self._whole(runs_folder() / name, sources, {**settings, "name": name}, device, workspace.project)
        )

    def _whole(
        self,
        folder: Path,
        sources: Sequence[Source],
        settings: Mapping[str, Any],
        device: str,
        project: Project | None,
    ) -> Job[dict[str, Any]]:
        yield Progress(0, None, "Reading the images")
        if not (folder / RECORD).is_file():
            yield from _prepare(folder, sources, settings, project)
        return (yield from self._in_process("fewshot", folder, device))


def _prepare(
    folder: Path, sources: Sequence[Source], settings: Mapping[str, Any], project: Project | None
) -> Job[None]:
    """Read what is to be learnt from, and keep it with the run."""
    from napari_vessel.training.labelled import check_labelled
    from napari_vessel.training.preparing import FewShot, prepare

    labelled = []
    for number, source in enumerate(sources):
        yield Progress(number, len(sources), f"Reading {source.name}")
        labelled.append(source.load(settings["modality"]))
    check_labelled(labelled)
    # Before anything is kept: a run that is there is gone on with, whatever became of its images meanwhile.
    own = {} if project is None else {record.content_hash: record for record in project.images()}
    for source, one in zip(sources, labelled, strict=True):
        if source.note_taught is not None:
            source.note_taught()
        elif project is not None and one.image.content_hash in own:
            # A file or layer, and an image of the project all the same.
            note_taught(project, own[one.image.content_hash])
    yield from prepare(labelled, FewShot(**settings), folder)
