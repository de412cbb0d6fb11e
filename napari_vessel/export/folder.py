"""Plain folders: images, masks and a manifest that says where each came from."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_vessel.errors import ProjectError
from napari_vessel.export.choice import to_export
from napari_vessel.export.manifest import image_entry, write_manifest
from napari_vessel.export.target import building, check_target, put_in_place, recover, sha256
from napari_vessel.images.image import VesselMask
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord, ImageState


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
    recover(out)
    check_target(out, project.id)
    records = to_export(project, states)
    with building(out, ("images", "masks")) as folder:
        entries = []
        for number, record in enumerate(records):
            yield Progress(number, len(records), f"Exporting {record.name}")
            entries.append(_export_image(project, record, folder))
        yield Progress(len(records), len(records), "Writing the manifest")
        write_manifest(folder, project, entries, states, licence)
        check_target(out, project.id)
        put_in_place(folder, out)
    return out


def _export_image(project: Project, record: ImageRecord, folder: Path) -> dict[str, Any]:
    image = _export_pixels(project, record, folder)
    mask = project.read_mask(record.id)
    return image_entry(project, record, mask, folder, image, _export_mask(mask, record, folder))


def _export_pixels(project: Project, record: ImageRecord, folder: Path) -> Path:
    if record.plane is not None and not record.saved:
        import tifffile

        pixels = project.read_image(record.id).pixels
        target = folder / "images" / f"{record.name}.tif"
        photometric = "minisblack" if pixels.ndim == 2 else "rgb"
        tifffile.imwrite(target, np.asarray(pixels, np.float32), compression="zlib", photometric=photometric)
        return target
    record = project.locate(record.id)
    target = folder / "images" / f"{record.name}{record.path.suffix.lower()}"
    shutil.copyfile(record.path, target)
    if not record.saved and sha256(target) != record.content_hash:
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
