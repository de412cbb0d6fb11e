"""One image as it is exported: its pixels as they were stored, its mask, and what of it should not be learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.export.options import Ignore
from napari_vessel.export.splits import Place
from napari_vessel.images.image import VesselImage, VesselMask
from napari_vessel.jobs import Job
from napari_vessel.review.edits import Verdict
from napari_vessel.review.fragments import FragmentVerdict, standing
from napari_vessel.review.origins import judged_pixels, uncertain_pixels
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageRecord
from napari_vessel.review.samples import counted


@dataclass(frozen=True, eq=False)
class Case:
    """One image of an export.

    Attributes
    ----------
    record : ImageRecord
        The image in its project.
    image : VesselImage
        Pixels, field of view and pixel size.
    mask : VesselMask
        As it is in the project.
    ignored : ndarray of bool, shape (Y, X)
        What a model should not learn from, the field of view aside.
    place : Place
        Where it is in the split.
    """

    record: ImageRecord
    image: VesselImage
    mask: VesselMask
    ignored: NDArray[np.bool_]
    place: Place

    @cached_property
    def pixels(self) -> NDArray[Any]:
        """The pixels as the whole numbers they were read from (uint8 or uint16), else float32, (Y, X) or (Y, X, 3)."""
        return stored_values(self.image.pixels)

    @property
    def weights(self) -> NDArray[np.uint8]:
        """By what a loss is multiplied, uint8, shape (Y, X): 0 where ignored or outside the field of view, else 1."""
        counts = ~self.ignored if self.image.fov is None else ~self.ignored & self.image.fov
        return counts.astype(np.uint8)

    def numbered(self, numbers: Mapping[str, int]) -> NDArray[np.uint16]:
        """Return the mask with the numbers that its classes have in the whole data set, uint16, shape (Y, X)."""
        table = np.zeros(256, np.uint16)
        for entry in self.mask.classes:
            table[entry.label] = numbers.get(entry.name, 0)
        return np.asarray(table[self.mask.labels], np.uint16)


def read_case(project: Project, record: ImageRecord, place: Place, ignore: Ignore) -> Job[Case]:
    """Read one image of a project for export.

    Raises
    ------
    ProjectError
        If its file has moved or changed, or its mask is damaged.
    """
    image = project.read_image(record.id)
    mask, ignored = yield from read_decisions(project, record, ignore)
    return Case(record, image, mask, ignored, place)


def read_decisions(project: Project, record: ImageRecord, ignore: Ignore) -> Job[tuple[VesselMask, NDArray[np.bool_]]]:
    """Read the mask of an image, and what of it should not be learnt from, bool, shape (Y, X); not its pixels.

    Raises
    ------
    ProjectError
        If its mask or history is damaged.
    """
    if ignore is Ignore.UNREVIEWED:
        origins = yield from project.origins(record.id)
        return origins.mask, ~counted(origins, None)
    mask = project.read_mask(record.id)
    if ignore is Ignore.UNSURE:
        return mask, unsure_pixels(project, record, mask)
    return mask, np.zeros(record.shape, np.bool_)


def stored_values(pixels: NDArray[np.float32]) -> NDArray[Any]:
    """Return pixels in [0, 1] as the whole numbers they were read from (uint8 or uint16), or as they are."""
    for least, largest, dtype in ((0, 255, np.uint8), (256, 4095, np.uint16), (4096, 65535, np.uint16)):
        whole: NDArray[Any] = np.rint(pixels * np.float32(largest)).astype(dtype)
        # Reading takes the range of 16-bit values from their largest.
        if whole.max(initial=0) < least:
            break
        if np.array_equal(np.divide(whole, np.float32(largest), dtype=np.float32), pixels):
            return whole
    return pixels


def unsure_pixels(project: Project, record: ImageRecord, mask: VesselMask) -> NDArray[np.bool_]:
    """Return where nobody knows whether there is a vessel, bool, shape (Y, X)."""
    from napari_vessel.topology.components import label_components

    unsure = uncertain_pixels(mask)
    for gap, verdict in project.verdicts(record.id):
        if verdict.verdict is Verdict.UNSURE:
            (y0, x0, y1, x1), judged = judged_pixels(gap, mask.labels)
            unsure[y0:y1, x0:x1] |= judged
    decided = project.fragment_verdicts(record.id)
    if any(said.verdict is FragmentVerdict.UNSURE for _, said in decided):
        components, _ = label_components(mask.labels)
        for fragment, said in standing(decided, components):
            if said.verdict is FragmentVerdict.UNSURE:
                unsure |= components == components[fragment.point]
    return unsure


def present_classes(mask: VesselMask) -> dict[str, tuple[int, ...]]:
    """Return the values in their source of those classes that the mask has a pixel of."""
    present = set(np.flatnonzero(np.bincount(mask.labels.ravel(), minlength=1)).tolist())
    return {
        entry.name: entry.value if isinstance(entry.value, tuple) else (entry.value,)
        for entry in mask.classes
        if entry.label in present
    }


def write_pixels(path: Path, pixels: NDArray[Any]) -> None:
    """Write pixels as they are, (Y, X) or (Y, X, 3): as ``.png`` (uint8 and uint16), or as ``.tif``."""
    if path.suffix == ".png":
        import cv2

        # OpenCV takes colours as blue, green, red.
        turned = pixels[..., ::-1] if pixels.ndim == 3 else pixels
        path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(turned))[1].tobytes())
    else:
        import tifffile

        photometric = "minisblack" if pixels.ndim == 2 else "rgb"
        tifffile.imwrite(path, pixels, compression="zlib", photometric=photometric, metadata=None)
