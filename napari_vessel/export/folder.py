"""Plain folders: images, masks and a manifest that says where each came from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_vessel.errors import InputError, ProjectError
from napari_vessel.images.image import VesselMask
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.edits import Verdict
from napari_vessel.review.journal import now
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord, ImageState

MANIFEST = "manifest.json"
MARKER = "napari-vessel folder export"
FORMAT_VERSION = 1


def check_export(project: Project, states: Sequence[ImageState] = (ImageState.DONE,)) -> list[str]:
    """Look for problems before anything is written.

    Parameters
    ----------
    project : Project
        What to export from.
    states : sequence of ImageState
        Images in these states are meant to be exported.

    Returns
    -------
    list of str
        One sentence per problem; empty when there is none. Those about missing or damaged files will make the export
        fail; the others are for the annotator to judge.
    """
    problems = []
    chosen, others = [], 0
    for record in project.images():
        if record.state in states:
            chosen.append(record)
        else:
            others += 1
    if not chosen:
        problems.append(_nothing(states))
    elif not _exportable(project, states):
        problems.append(_no_masks())
    for record in chosen:
        if not record.path.is_file():
            problems.append(f"{record.name}: the image file {record.path} is missing; put it back.")
        try:
            empty = not project.read_mask(record.id).labels.any()
        except ProjectError as error:
            problems.append(f"{record.name}: {error}")
            continue
        if record.state is ImageState.NEW or not project.has_mask(record.id):
            problems.append(f"{record.name}: it has no mask and is left out; segment it first.")
        elif empty:
            problems.append(f"{record.name}: its mask is empty.")
        if record.open_gaps:
            gaps = "1 gap is" if record.open_gaps == 1 else f"{record.open_gaps} gaps are"
            problems.append(f"{record.name}: {gaps} still open.")
        if record.state in (ImageState.SEGMENTED, ImageState.IN_REVIEW):
            problems.append(f"{record.name}: its review is not done.")
        if "ungradable" in record.flags:
            problems.append(f"{record.name}: it is flagged as ungradable.")
    if others and chosen:
        problems.append(f"{others} of {others + len(chosen)} images are in other states and left out.")
    return problems


def export_folder(
    project: Project,
    out: Path | str,
    *,
    states: Sequence[ImageState] = (ImageState.DONE,),
    licence: str = "",
) -> Job[Path]:
    """Write ``images/``, ``masks/`` and ``manifest.json``; the folder appears when it is complete.

    Images are copies of the original files; a page of a many-page file, or an array, is a float32 TIFF. Masks are PNG
    with the values of their source (TIFF where PNG cannot hold them). Images that never had a mask are left out.

    Parameters
    ----------
    project : Project
        What to export from.
    out : Path or str
        A new or empty folder, or one that an earlier export of this project wrote and nobody has changed since,
        which is replaced.
    states : sequence of ImageState
        Which images.
    licence : str
        A note on what others may do with the data, for the manifest.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If `out` holds anything else, or cannot be written.
    ProjectError
        If there is nothing to export, or an image's file has moved or changed.
    """
    out = Path(out).expanduser().resolve()
    _recover(out)
    check_target(out, project.id)
    records = _exportable(project, states)
    if not records:
        raise ProjectError(_no_masks() if any(r.state in states for r in project.images()) else _nothing(states))
    with _building(out) as folder:
        entries = []
        for number, record in enumerate(records):
            yield Progress(number, len(records), f"Exporting {record.name}")
            entries.append(_export_image(project, record, folder))
        yield Progress(len(records), len(records), "Writing the manifest")
        _write_manifest(folder / MANIFEST, project, entries, states, licence)
        check_target(out, project.id)
        _put_in_place(folder, out)
    return out


def _nothing(states: Sequence[ImageState]) -> str:
    wanted = " or ".join(state.value.replace("_", " ") for state in states) or "in no state"
    return f"There is nothing to export: no image is {wanted}; finish one (key D) or include other states."


def _exportable(project: Project, states: Sequence[ImageState]) -> list[ImageRecord]:
    chosen = [r for r in project.images() if r.state in states and r.state is not ImageState.NEW]
    return [r for r in chosen if project.has_mask(r.id)]


def _no_masks() -> str:
    return "There is nothing to export: none of the images has a mask; segment one or include other states."


def check_target(out: Path, project_id: str) -> None:
    """Refuse a folder that holds anything else than what an export of this project wrote, unchanged.

    Parameters
    ----------
    out : Path
        Where an export should go; it need not be there.
    project_id : str
        Of the project to be exported.

    Raises
    ------
    InputError
        With a sentence that names what is in the way.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file; choose a folder to export to.")
    present = {p.relative_to(out).as_posix() for p in out.rglob("*") if not p.is_dir()}
    if not present:
        return
    manifest = _read_manifest(out)
    if manifest is None:
        raise InputError(f"{out} is not empty and not an earlier export; choose a new or empty folder.")
    owner, hashes = manifest
    if owner != project_id:
        raise InputError(f"{out} has the export of another project; choose a new or empty folder.")
    strangers = sorted(present - {MANIFEST, *hashes})
    if strangers:
        raise InputError(
            f"{out} has files that no export wrote ({strangers[0]}); move them away or choose another folder."
        )
    for file, expected in hashes.items():
        if file not in present or _sha256(out / file) != expected:
            change = "changed" if file in present else "removed"
            raise InputError(f"{file} in {out} was {change} after its export; choose another folder to keep that.")


def _read_manifest(out: Path) -> tuple[str, dict[str, str]] | None:
    """Return the id of the project an export came from, and the hashes of its files; None when it is no export."""
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        if manifest["kind"] != MARKER:
            return None
        files = {
            str(entry[what]): str(entry[f"{what}_sha256"]) for entry in manifest["images"] for what in ("image", "mask")
        }
        return str(manifest.get("project_id", "")), files
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _building(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `out`, and remove whatever is left of it."""
    folder = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        yield folder
    except OSError as error:
        reason = error.strerror or "it could not be written"
        raise InputError(f"Cannot export to {out}: {reason}; free some space or choose another folder.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _recover(out: Path) -> None:
    """Put an earlier export back that :func:`_put_in_place` was killed over, between its two renames."""
    if out.exists() or not out.parent.is_dir():
        return
    name = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.old")
    left = [path for path in out.parent.iterdir() if name.fullmatch(path.name) and (path / MANIFEST).is_file()]
    if left:
        try:
            left[0].rename(out)
        except OSError as error:
            raise InputError(f"An earlier export to {out} was left in {left[0]}; move it back first.") from error


def _put_in_place(folder: Path, out: Path) -> None:
    if not out.exists():
        folder.rename(out)
        return
    old = folder.with_suffix(".old")
    out.rename(old)
    try:
        folder.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _export_image(project: Project, record: ImageRecord, folder: Path) -> dict[str, Any]:
    from napari_vessel.topology.components import label_components

    image = _export_pixels(project, record, folder)
    mask = project.read_mask(record.id)
    file = _export_mask(mask, record, folder)
    model, threshold = _made_by(project, record)
    verdicts = project.verdicts(record.id)
    counts = Counter(verdict.verdict.value for _, verdict in verdicts)
    annotators = {*project.annotators(record.id), *(verdict.annotator for _, verdict in verdicts)} - {""}
    return {
        "name": record.name,
        "image": image.relative_to(folder).as_posix(),
        "mask": file.relative_to(folder).as_posix(),
        "source": None if record.saved else record.path.name,
        "plane": record.plane,
        "source_hash": record.content_hash,
        "image_sha256": _sha256(image),
        "mask_sha256": _sha256(file),
        "shape": list(record.shape),
        "modality": record.modality.value,
        "state": record.state.value,
        "flags": sorted(record.flags),
        "comment": record.comment,
        "model": model,
        "threshold": threshold,
        "classes": [{"name": c.name, "value": c.value} for c in mask.classes],
        "verdicts": {verdict.value: counts.get(verdict.value, 0) for verdict in Verdict},
        "open_gaps": record.open_gaps,
        "annotators": sorted(annotators),
        "changed": record.changed,
        "b0": label_components(mask.labels)[1],
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


def _export_pixels(project: Project, record: ImageRecord, folder: Path) -> Path:
    if record.plane is not None and not record.saved:
        import tifffile

        pixels = project.read_image(record.id).pixels
        target = folder / "images" / f"{record.name}.tif"
        photometric = "minisblack" if pixels.ndim == 2 else "rgb"
        tifffile.imwrite(target, np.asarray(pixels, np.float32), compression="zlib", photometric=photometric)
        return target
    target = folder / "images" / f"{record.name}{record.path.suffix.lower()}"
    if not record.path.is_file():
        raise ProjectError(
            f"The image file {record.path} of {record.name} has moved, so nothing was exported; put it back."
        )
    shutil.copyfile(record.path, target)
    if not record.saved and _sha256(target) != record.content_hash:
        raise ProjectError(
            f"The image file {record.path} has changed since it was added, so nothing was exported; "
            "put the original back."
        )
    return target


def _export_mask(mask: VesselMask, record: ImageRecord, folder: Path) -> Path:
    from napari_vessel.images.writing import write_mask

    beyond_png = any(isinstance(c.value, int) and c.value > 65535 for c in mask.classes)
    target = folder / "masks" / f"{record.name}{'.tif' if beyond_png else '.png'}"
    write_mask(target, mask.labels, mask.classes)
    return target


def _write_manifest(
    path: Path, project: Project, entries: list[dict[str, Any]], states: Sequence[ImageState], licence: str
) -> None:
    from napari_vessel.images.writing import write_json
    from napari_vessel.version import __version__

    total = Counter[str]()
    for entry in entries:
        total.update(entry["verdicts"])
    write_json(
        path,
        {
            "kind": MARKER,
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
                "verdicts": dict(total),
            },
            "images": entries,
        },
    )


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
