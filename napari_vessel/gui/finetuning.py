"""The fine-tuning of one viewer: from what was decided in its project to a version, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_vessel.gui.process import ProcessRun
from napari_vessel.gui.training_runs import seconds_per_step
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.records import ImageRecord
from napari_vessel.review.samples import WhatToLearn, never_reviewed, what_to_learn
from napari_vessel.review.version_records import Version, VersionState
from napari_vessel.training.finetuning.folders import FOLDER, model_to_start, project_runs, read_result

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.review.project import Project

_LANE = "versions"
_ANSWERS = {
    VersionState.PROMOTED: "it takes over",
    VersionState.REFUSED: "the old model stays",
    VersionState.CANDIDATE: "you decide whether it is used",
}


class FineTuning(ProcessRun):
    """A project's model, led on by what was decided in the project. Versions are taken, promoted and left here.

    Parameters
    ----------
    workspace : Workspace
        Whose project.

    Attributes
    ----------
    folder : Path or None
        The run that goes on or ended last.
    """

    dock: ClassVar[str] = "Fine-tune"
    versions_changed = Signal()
    """A version was added, promoted or left, or notes were written."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.folder: Path | None = None
        workspace.project_changed.connect(self.settle)
        self.settle()

    def start(self, numbers: Mapping[str, int], base: Path | None, device: str) -> None:
        """Begin a run on what there is to learn from now.

        Parameters
        ----------
        numbers : mapping of str to int
            ``steps`` and ``rehearsal``.
        base : Path or None
            A folder of the images to rehearse; None for synthetic ones.
        device : str
            Where to compute.
        """
        workspace = self._workspace()
        if workspace is not None and workspace.project is not None and not self.running:
            workspace.flush()
            self.folder = None
            self._begin(workspace.project.name, self._new(workspace.project, numbers, base, device))

    def go_on(self, folder: Path, device: str) -> None:
        """Go on with a run that was stopped, or whose process was killed."""
        workspace = self._workspace()
        if workspace is not None and workspace.project is not None and not self.running:
            self.folder = folder
            self._begin(workspace.project.name, self._in_process("finetune", folder, device))

    def _new(self, project: Project, numbers: Mapping[str, int], base: Path | None, device: str) -> Job[dict[str, Any]]:
        from napari_vessel.training.finetuning.projects import prepare_run

        yield Progress(0, None, "Reading what was decided")
        self.folder = yield from prepare_run(project, numbers, base)
        return (yield from self._in_process("finetune", self.folder, device))

    def _ended(self, result: Mapping[str, Any]) -> str:
        if not result.get("learnt", True):
            self.versions_changed.emit()
            ended = "Stopped at step" if result["stopped"] else "Done, steps"
            return f"{ended} {result['steps']}. {result['decision']['sentence']}"
        workspace = self._workspace()
        home = None if workspace is None or workspace.project is None else workspace.project.folder
        if self.folder is None or home not in self.folder.parents:
            return f"{super()._ended(result)} It joins the versions of {self.name} when that is opened again."
        self.settle()
        return super()._ended(result)

    # Versions

    def settle(self) -> None:
        """Add to the project's versions what its runs have made, on a thread: also a run that outlived its window."""
        workspace = self._workspace()
        if workspace is None or workspace.project is None:
            self.versions_changed.emit()
            return
        self._start(settle_job(workspace.project), self._settled, "")

    def _settled(self, new: list[Version]) -> None:
        workspace = self._workspace()
        if workspace is not None and new:
            workspace.say(f"Version {new[-1].number} is there: {_ANSWERS[new[-1].state]}.")
            self._tell(new[-1])
        self.versions_changed.emit()

    def use(self, version: Version) -> None:
        """Make a version the project's model, on the annotator's word: promote it, or return to it."""
        workspace = self._workspace()
        if workspace is None or workspace.project is None:
            return
        self._start(use_job(workspace.project, version, workspace.annotator), self._used, "Taking the version")

    def _used(self, version: Version) -> None:
        workspace = self._workspace()
        if workspace is not None:
            workspace.say(f"{version.name} is the project's model now; Segment vessels takes it by itself.")
            self._tell(version)
        self.versions_changed.emit()

    def keep(self, version: Version) -> None:
        """Keep the old model, and leave a candidate."""
        workspace = self._workspace()
        if workspace is None or workspace.project is None:
            return
        workspace.project.versions.decline(version.number, workspace.annotator)
        workspace.say(f"The old model stays; version {version.number} is in the list all the same.")
        self.versions_changed.emit()

    def set_notes(self, number: int, notes: str) -> None:
        """Write the notes on a version."""
        workspace = self._workspace()
        if workspace is not None and workspace.project is not None:
            workspace.project.versions.set_notes(number, notes)
            self.versions_changed.emit()

    def segment_anew(self, images: Sequence[ImageRecord], device: str) -> None:
        """Segment images that nobody has reviewed with the project's own model, undoably, on a thread."""
        workspace = self._workspace()
        project = None if workspace is None else workspace.project
        current = None if project is None else project.versions.current()
        if workspace is not None and current is not None:
            ids = [record.id for record in images]
            workspace.segment(ids, model=current.name, device=device, unreviewed=True)

    def _tell(self, version: Version) -> None:
        workspace = self._workspace()
        if workspace is not None and version.current:
            workspace.models_changed.emit(version.name)

    def _start(self, job: Job[Any], done: Callable[[Any], None], title: str) -> None:
        workspace = self._workspace()
        if workspace is not None:
            workspace.tasks.start(_LANE, job, done, title)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a project stands with fine-tuning.

    Attributes
    ----------
    found : WhatToLearn or None
        What there is to learn from; None without a project.
    model : str
        The model that a run would begin with.
    run : Path or None
        The run that was worked on last.
    unfinished : bool
        Whether that can go on.
    pace : float or None
        Seconds for a step, by the runs before; None before there was one.
    versions : tuple of Version
        The newest first.
    outdated : tuple of ImageRecord
        Images that nobody has reviewed, and that the project's own model has not segmented.
    """

    found: WhatToLearn | None = None
    model: str = ""
    run: Path | None = None
    unfinished: bool = False
    pace: float | None = None
    versions: tuple[Version, ...] = ()
    outdated: tuple[ImageRecord, ...] = ()


def standing_job(project: Project) -> Job[Standing]:
    """Find out how a project stands, in its database and the folders of its runs."""
    yield Progress(0, None, "Counting")
    found = what_to_learn(project)
    teaching = found.images or project.images()
    model = model_to_start(project, [(record.modality, record.model) for record in teaching])
    run = next(iter(project_runs(project.folder)), None)
    result = None if run is None else read_result(run)
    yield Progress(0, None, "Counting")
    versions = project.versions.history()
    current = project.versions.current()
    outdated: tuple[ImageRecord, ...] = ()
    if current is not None:
        waiting = never_reviewed(project, current.modalities)
        outdated = tuple(record for record in waiting if record.model != current.name)
    yield Progress(0, None, "Counting")
    return Standing(
        found=found,
        model=model,
        run=run,
        unfinished=run is not None and (result is None or bool(result["stopped"])),
        pace=seconds_per_step(project.folder / FOLDER),
        versions=tuple(versions[::-1]),
        outdated=outdated,
    )


def settle_job(project: Project) -> Job[list[Version]]:
    """Add to a project's versions what its runs have made and nobody has added yet; return what is new."""
    yield Progress(0, None, "Looking for finished runs")
    from napari_vessel.segmentation.registry import read_model
    from napari_vessel.training.finetuning.projects import register

    # Weights that are there already may have come of a run that only changed where they are cut.
    known = {(version.sha256, version.sentence) for version in project.versions.history()}
    new: list[Version] = []
    for folder in reversed(project_runs(project.folder)):
        result = read_result(folder)
        if result is None or not result.get("learnt", True):
            continue
        if (read_model(Path(result["model"])).sha256, result["decision"]["sentence"]) not in known:
            yield Progress(0, None, "Adding the version")
            version = register(project, result)
            new += [] if version is None else [version]
    return new


def use_job(project: Project, version: Version, annotator: str) -> Job[Version]:
    """Promote a version, or return to one that was in use before the one that is."""
    yield Progress(0, None, "Copying the model")
    if version.state in (VersionState.BASE, VersionState.PROMOTED) and project.versions.successor(version) is not None:
        return project.versions.rollback(version.number, annotator)
    return project.versions.promote(version.number, annotator, anyway=True)
