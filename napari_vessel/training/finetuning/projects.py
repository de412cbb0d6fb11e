"""Fine-tuning and a project: a run prepared from what was decided in it, and what came out among its versions.

Without torch: the window does this itself, and only the training is a process of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_vessel.errors import InputError
from napari_vessel.jobs import Job
from napari_vessel.review.samples import training_samples
from napari_vessel.review.version_records import Version, VersionState
from napari_vessel.segmentation.registry import model_info
from napari_vessel.training.cases import find_own_cases
from napari_vessel.training.finetuning.folders import FOLDER, model_to_start
from napari_vessel.training.finetuning.preparing import prepare_finetune
from napari_vessel.training.finetuning.settings import FineTune, tuned_name

if TYPE_CHECKING:
    from napari_vessel.review.project import Project


def prepare_run(
    project: Project,
    numbers: Mapping[str, int],
    base: Path | None = None,
    start: str = "",
    out: Path | None = None,
) -> Job[Path]:
    """Keep what a project teaches in the folder of a run.

    Parameters
    ----------
    project : Project
        Whose decisions.
    numbers : mapping of str to int
        ``steps``, ``rehearsal`` and ``seed``, as :class:`FineTune` takes them.
    base : Path, optional
        As :func:`prepare_finetune`.
    start : str
        Model to begin with; by default the project's own.
    out : Path, optional
        The run's folder; by default one in the project. The same decisions, settings, model and images to rehearse are
        the same run then, and any other is another.

    Returns
    -------
    Path
        The run's folder.

    Raises
    ------
    InputError, ModelError
        As :func:`prepare_finetune`.
    ProjectError
        As :func:`training_samples`.
    """
    samples = yield from training_samples(project)
    if not start:
        start = model_to_start(project, ((sample.modality, sample.model) for sample in samples))
        if samples and model_info(start).kind != "network":
            raise InputError(
                f"The images were segmented by no network, and '{start}' cannot learn; segment an image with a network "
                "and review it, or name one to begin with (--start)."
            )
    settings = FineTune(tuned_name(start), start, **numbers)
    if out is None:
        known = [] if base is None else find_own_cases(base, ())
        # An update of the package brings other weights by the same name, and to a folder images are added.
        begun = (model_info(start).version, model_info(start).sha256)
        files = [(path.name, path.stat().st_size) for one in known for path in (one.image, one.mask)]
        told = [sorted(sample.digest for sample in samples), asdict(settings), str(base), begun, files]
        out = project.folder / FOLDER / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]
    yield from prepare_finetune(samples, settings, out, base)
    return out


def register(project: Project, result: Mapping[str, Any]) -> Version | None:
    """Add what came out of a run to a project's versions, and promote it when the gate says so. Again: nothing new.

    None, and no version, where nothing was learnt.

    Parameters
    ----------
    project : Project
        From whose decisions the run was prepared.
    result : mapping
        What :func:`napari_vessel.training.finetuning.running.finetune` returns.

    Raises
    ------
    ModelError, ProjectError
        As :meth:`napari_vessel.review.versions.Versions.add`.
    """
    decision, record = result["decision"], result["record"]
    if not result.get("learnt", True):
        return None
    version = project.versions.add(
        Path(result["model"]),
        parent=record["start"]["name"],
        promote=decision["promote"],
        sentence=decision["sentence"],
        figures=decision["figures"],
        record={key: value for key, value in result.items() if key not in ("decision", "model")},
        images=[entry["content_hash"] for entry in record["images"]],
    )
    if decision["promote"] and version.state is VersionState.CANDIDATE:
        version = project.versions.promote(version.number, by="gate")
    return version
