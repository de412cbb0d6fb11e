"""The manifest of an export: where every file in it came from, who decided what, and who may use it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_vessel.completion.gap import GapKind
from napari_vessel.export.target import KINDS, MANIFEST, sha256
from napari_vessel.images.image import VesselMask
from napari_vessel.review.edits import Verdict
from napari_vessel.review.fragments import FragmentVerdict, standing
from napari_vessel.review.journal import now
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord, ImageState

FORMAT_VERSION = 1


def image_entry(
    project: Project, record: ImageRecord, mask: VesselMask, folder: Path, image_file: Path, mask_file: Path
) -> dict[str, Any]:
    """Return what the manifest says about one image.

    Parameters
    ----------
    project : Project
        What is exported from.
    record : ImageRecord
        The image.
    mask : VesselMask
        Its mask, as it is in the project.
    folder, image_file, mask_file : Path
        The export, and the two files that were written into it.
    """
    from napari_vessel.topology.components import label_components

    components, b0 = label_components(mask.labels)
    fragments = standing(project.fragment_verdicts(record.id), components)
    on_fragments = Counter(said.verdict.value for _, said in fragments)
    model, threshold = _made_by(project, record)
    verdicts = project.verdicts(record.id)
    counts = Counter(verdict.verdict.value for gap, verdict in verdicts if gap.kind is not GapKind.CUT)
    on_cuts = Counter(verdict.verdict.value for gap, verdict in verdicts if gap.kind is GapKind.CUT)
    named = {verdict.annotator for _, verdict in verdicts} | {said.annotator for _, said in fragments}
    annotators = {*project.annotators(record.id), *named} - {""}
    return {
        "name": record.name,
        "image": image_file.relative_to(folder).as_posix(),
        "mask": mask_file.relative_to(folder).as_posix(),
        "source": None if record.saved else record.path.name,
        "plane": record.plane,
        "source_hash": record.content_hash,
        "image_sha256": sha256(image_file),
        "mask_sha256": sha256(mask_file),
        "shape": list(record.shape),
        "modality": record.modality.value,
        "state": record.state.value,
        "flags": sorted(record.flags),
        "comment": record.comment,
        "model": model,
        "threshold": threshold,
        "classes": [{"name": c.name, "value": c.value} for c in mask.classes],
        "verdicts": {verdict.value: counts.get(verdict.value, 0) for verdict in Verdict},
        "cuts": {verdict.value: on_cuts.get(verdict.value, 0) for verdict in Verdict},
        "fragments": {verdict.value: on_fragments.get(verdict.value, 0) for verdict in FragmentVerdict},
        "open_gaps": record.open_gaps,
        "annotators": sorted(annotators),
        "changed": record.changed,
        "b0": b0,
    }


def _made_by(project: Project, record: ImageRecord) -> tuple[str | None, float | None]:
    """Return the model and the threshold behind the mask as it is now; None for what no model made, or is not known.

    The stored probability map says what ran last, which may have been undone. The texts of the edits that are applied
    say what the mask came from: ``segmentation by MODEL`` or ``threshold 0.42``; any other is a mask from elsewhere.
    """
    model: str | None = None
    threshold: float | None = None
    stored, info = record.model or None, project.segmentation_info(record.id)
    for text, of_stored_map in project.whole_masks(record.id):
        if found := re.fullmatch(r"segmentation by (.+)", text):
            model = found[1]
            threshold = info.get("threshold") if of_stored_map and model == stored else None
        elif found := re.fullmatch(r"threshold (\d+(?:\.\d+)?)", text):
            # A threshold cuts the map, whatever the mask was before; after a newer map only the texts are left.
            model, threshold = stored if of_stored_map else model, float(found[1])
        else:
            model = threshold = None
    return model, threshold


def write_manifest(
    folder: Path,
    project: Project,
    entries: list[dict[str, Any]],
    states: Sequence[ImageState],
    licence: str,
    *,
    layout: str = "folder",
    files: Mapping[str, str] | None = None,
) -> None:
    """Write the manifest of an export.

    Parameters
    ----------
    folder : Path
        The export.
    project : Project
        What it came from.
    entries : list of dict
        From :func:`image_entry`, one per image.
    states : sequence of ImageState
        Which images were asked for.
    licence : str
        What others may do with the data.
    layout : {"folder", "nnunet"}
        What kind of export it is.
    files : mapping of str to str, optional
        SHA-256 of the files beside images and masks, by their paths in the export.
    """
    from napari_vessel.images.writing import write_json
    from napari_vessel.version import __version__

    verdicts, cuts, fragments = Counter[str](), Counter[str](), Counter[str]()
    for entry in entries:
        verdicts.update(entry["verdicts"])
        cuts.update(entry["cuts"])
        fragments.update(entry["fragments"])
    data = {
        "kind": KINDS[layout],
        "format": FORMAT_VERSION,
        "program": "napari-vessel",
        "version": __version__,
        "date": now(),
        "project": project.name,
        "project_id": project.id,
        "licence": licence,
        "connectivity": "vessel 8-connected",
        "states": [state.value for state in states],
        "counts": {
            "images": len(entries),
            "open_gaps": sum(entry["open_gaps"] for entry in entries),
            "verdicts": dict(verdicts),
            "cuts": dict(cuts),
            "fragments": dict(fragments),
        },
        "images": entries,
    }
    if files:
        data["files"] = dict(files)
    write_json(folder / MANIFEST, data)
