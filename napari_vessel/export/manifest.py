"""The manifest of an export: where every file in it came from, who decided what, and who may use it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vessel.completion.gap import GapKind
from napari_vessel.export.cases import Case
from napari_vessel.export.layout import Layout, Paths
from napari_vessel.export.splits import counts_of, describe
from napari_vessel.export.survey import Survey
from napari_vessel.export.target import MANIFEST, sha256
from napari_vessel.review.edits import Verdict
from napari_vessel.review.fragments import FragmentVerdict, standing
from napari_vessel.review.journal import now
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord

if TYPE_CHECKING:
    from napari_vessel.review.agreement import Agreement

FORMAT_VERSION = 2


def image_entry(project: Project, case: Case, paths: Paths) -> dict[str, Any]:
    """Return what the manifest says about one image.

    Parameters
    ----------
    project : Project
        What is exported from.
    case : Case
        The image and its mask, as they were exported.
    paths : Paths
        Where they were written.
    """
    from napari_vessel.topology.components import label_components

    record, mask, spacing = case.record, case.mask, case.image.spacing
    components, b0 = label_components(mask.labels)
    fragments = standing(project.fragment_verdicts(record.id), components)
    on_fragments = Counter(said.verdict.value for _, said in fragments)
    model, threshold = made_by(project, record)
    verdicts = project.verdicts(record.id)
    counts = Counter(verdict.verdict.value for gap, verdict in verdicts if gap.kind is not GapKind.CUT)
    on_cuts = Counter(verdict.verdict.value for gap, verdict in verdicts if gap.kind is GapKind.CUT)
    named = {verdict.annotator for _, verdict in verdicts} | {said.annotator for _, said in fragments}
    annotators = {*project.annotators(record.id), *named} - {""}
    return {
        "name": record.name,
        "image": paths.image,
        "mask": paths.mask,
        "weights": paths.weights,
        "fov": paths.fov,
        "source": None if record.saved else record.path.name,
        "plane": record.plane,
        "source_hash": record.content_hash,
        "shape": list(record.shape),
        "spacing_um": None if spacing is None else list(spacing),
        "modality": record.modality.value,
        "patient": case.place.patient,
        "part": case.place.part.value,
        "fold": case.place.fold,
        "state": record.state.value,
        "flags": sorted(record.flags),
        "comment": record.comment,
        "model": model,
        "model_version": _version_of(project, record, model),
        "threshold": threshold,
        "classes": [{"label": c.label, "name": c.name, "value": c.value} for c in mask.classes],
        "verdicts": {verdict.value: counts.get(verdict.value, 0) for verdict in Verdict},
        "cuts": {verdict.value: on_cuts.get(verdict.value, 0) for verdict in Verdict},
        "fragments": {verdict.value: on_fragments.get(verdict.value, 0) for verdict in FragmentVerdict},
        "unsure": {
            "gaps": [gap.to_json() for gap, verdict in verdicts if verdict.verdict is Verdict.UNSURE],
            "fragments": [one.to_json() for one, said in fragments if said.verdict is FragmentVerdict.UNSURE],
        },
        "open_gaps": record.open_gaps if record.gaps_known else None,
        "beneath": paths.beneath,
        "ignored_px": int(np.count_nonzero(case.ignored)),
        "annotators": sorted(annotators),
        "changed": record.changed,
        "b0": b0,
    }


def made_by(project: Project, record: ImageRecord) -> tuple[str | None, float | None]:
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


def _version_of(project: Project, record: ImageRecord, model: str | None) -> dict[str, Any] | None:
    """Return the model's version and the SHA-256 of its weights, as far as they are known; None without a model."""
    if model is None:
        return None
    from napari_vessel.segmentation.registry import list_models

    info = project.segmentation_info(record.id)
    version = info.get("model_version") if info.get("model") == model else None
    own = next((one for one in project.versions.history() if one.name == model), None)
    # The weights here are those that were used only if they are of the same version.
    here = next((one for one in list_models() if one.name == model and one.version == version), None)
    digest = own.sha256 if own is not None and own.sha256 else "" if here is None else here.sha256
    return {"version": version, "number": None if own is None else own.number, "sha256": digest or None}


def write_manifest(
    folder: Path,
    project: Project,
    entries: list[dict[str, Any]],
    survey: Survey,
    layout: Layout,
    agreement: Agreement | None = None,
) -> None:
    """Write the manifest of an export that is complete but for it.

    Parameters
    ----------
    folder : Path
        The export.
    project : Project
        What it came from.
    entries : list of dict
        From :func:`image_entry`, one per image.
    survey : Survey
        What was asked for, and what all images have in common.
    layout : Layout
        How the files lie.
    agreement : Agreement, optional
        With a second annotator's project.
    """
    from napari_vessel.images.writing import write_json
    from napari_vessel.version import __version__

    verdicts, cuts, fragments = Counter[str](), Counter[str](), Counter[str]()
    for entry in entries:
        verdicts.update(entry["verdicts"])
        cuts.update(entry["cuts"])
        fragments.update(entry["fragments"])
    options = survey.options
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {name: sha256(folder / name) for name in written}
    for entry in entries:
        entry.update({f"{what}_sha256": files[entry[what]] for what in ("image", "mask") if entry[what] in files})
    data = {
        "kind": layout.kind,
        "format": FORMAT_VERSION,
        "program": "napari-vessel",
        "version": __version__,
        "date": now(),
        "project": project.name,
        "project_id": project.id,
        "licence": options.licence,
        "connectivity": "vessel 8-connected",
        "states": [state.value for state in options.states],
        "labels": survey.numbers,
        "ignore": options.ignore.value,
        "split": describe(options.split),
        "agreement": None if agreement is None else _agreed(agreement),
        "counts": {
            "images": len(entries),
            "parts": counts_of(survey.places),
            "open_gaps": sum(entry["open_gaps"] or 0 for entry in entries),
            "gaps_unknown": sum(entry["open_gaps"] is None for entry in entries),
            "verdicts": dict(verdicts),
            "cuts": dict(cuts),
            "fragments": dict(fragments),
        },
        "images": entries,
        "files": files,
    }
    write_json(folder / MANIFEST, data)


def _agreed(agreement: Agreement) -> dict[str, Any]:
    """Return figures and counts over all images and of each; where the two disagree is in the projects."""
    told = agreement.to_json()
    return {name: value for name, value in told.items() if name not in ("kind", "disagreements")}
