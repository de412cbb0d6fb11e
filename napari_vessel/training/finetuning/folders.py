"""The runs of fine-tuning in a project's folder, as they lie on the disk. Quick to import: a dock looks at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_vessel.images.image import Modality
from napari_vessel.segmentation.registry import list_models
from napari_vessel.untrusted import MALFORMED, read_json

if TYPE_CHECKING:
    from napari_vessel.review.project import Project

FOLDER = "finetuning"
"""Of the runs, in a project."""

RECORD, RESULT = "finetune.json", "result.json"
"""What a run was prepared with, and what came out of it."""


def project_runs(folder: Path) -> list[Path]:
    """Return the folders of the runs in a project's folder, the one worked on last first."""
    records = (folder / FOLDER).glob(f"*/{RECORD}")
    return [path.parent for path in sorted(records, key=lambda path: _worked_on(path.parent), reverse=True)]


def read_result(out: Path) -> dict[str, Any] | None:
    """Return what came out of a run, its model where it lies now; None before something has, or when it is damaged."""
    try:
        found = dict(read_json(out / RESULT))
        whole = isinstance(found["stopped"], bool) and {"promote", "sentence", "figures"} <= found["decision"].keys()
        whole = whole and bool(found["record"]["images"])
        folder = out / Path(found["model"]).name
        whole = whole and (folder / "config.json").is_file()
    except (OSError, *MALFORMED):
        return None
    return {**found, "model": str(folder)} if whole else None


def steps_of(out: Path) -> int:
    """Return for how many steps a run was prepared; 0 when nobody can tell."""
    try:
        return int(read_json(out / RECORD)["settings"]["steps"])
    except (OSError, *MALFORMED):
        return 0


def model_to_start(project: Project, segmented: Iterable[tuple[Modality, str]]) -> str:
    """Return the project's own model, before there is one the network that segmented most images, or would.

    Parameters
    ----------
    project : Project
        Whose.
    segmented : iterable of (Modality, str)
        Of each image that is learnt from how it was taken, and the model that segmented it.
    """
    images = list(segmented)
    kinds = Counter(kind for kind, _ in images).most_common(1)
    kind = kinds[0][0] if kinds else Modality.FUNDUS
    networks = {info.name for info in list_models() if info.kind == "network"}
    used = Counter(model for _, model in images if model in networks).most_common(1)
    if used and project.versions.current(kind) is None:
        return used[0][0]
    return project.default_model(kind)


def _worked_on(out: Path) -> float:
    there = [path.stat().st_mtime for path in (out / RECORD, out / "log.csv", out / RESULT) if path.is_file()]
    return max(there, default=0.0)
