"""The few labelled images that a model is made from: read, checked, and kept beside the run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.images.inputs import ImageInput, find_inputs, match_file
from napari_vessel.images.masks import read_mask
from napari_vessel.images.reading import read_image
from napari_vessel.images.writing import replacing, write_mask
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.guard import patient_of
from napari_vessel.segmentation.preparation import field_diameter, resample, resample_fov
from napari_vessel.topology.calibre import median_calibre
from napari_vessel.training.augmentation import draw_target, whole_numbers
from napari_vessel.training.datasets import is_test_name

FEWEST = 2
"""One to learn from, and one held out."""

TRAINABLE = (Modality.FUNDUS, Modality.OCTA, Modality.XRAY, Modality.TWOPHOTON)

_LARGEST_FIELD = 640.0
"""Working width of a fundus photograph, px: that of the shipped models. A smaller one stays as it is."""

_CALIBRE = 4.0
"""Median calibre at the working scale of every other modality, px. Thinner vessels stay as they are."""

_LARGEST = 1024.0


@dataclass(frozen=True, eq=False, slots=True)
class Labelled:
    """One image and its vessels.

    Attributes
    ----------
    name : str
        For people, and for the names of files.
    image : VesselImage
        With its field of view.
    vessels : ndarray of bool, shape (Y, X)
        Every vessel of it.
    patient : str or None
        Images with the same key are of one patient; None for what :func:`napari_vessel.review.guard.patient_of` reads
        off the name.
    """

    name: str
    image: VesselImage
    vessels: NDArray[np.bool_]
    patient: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of pixels, field of view and vessels."""
        found = hashlib.sha256(f"{self.image.pixels.shape}".encode())
        fov = np.ones(self.image.shape, np.bool_) if self.image.fov is None else self.image.fov
        for part in (whole_numbers(self.image.pixels), np.packbits(fov), np.packbits(self.vessels)):
            found.update(np.ascontiguousarray(part).data)
        return found.hexdigest()


def read_labelled(
    images: Sequence[Path | str],
    masks: Sequence[Path | str],
    fovs: Sequence[Path | str] = (),
    modality: Modality | None = None,
) -> Job[list[Labelled]]:
    """Read images and their masks.

    Parameters
    ----------
    images : sequence of Path or str
        Files, or a folder of them.
    masks : sequence of Path or str
        A file for each image, in their order; or one folder, in which each is found by its name.
    fovs : sequence of Path or str, optional
        Fields of view, given as the masks are; by default they are found in the images.
    modality : Modality, optional
        How the images were taken; guessed by default.

    Raises
    ------
    InputError
        If a file cannot be read, or the numbers or sizes differ.
    """
    inputs = find_inputs(images)
    found = []
    for number, item in enumerate(inputs):
        yield Progress(number, len(inputs), f"Reading {item.path.name}")
        mask = _belonging(number, item, masks, len(inputs), "mask")
        fov = _belonging(number, item, fovs, len(inputs), "field of view") if fovs else "auto"
        found.append(_read(item, mask, fov, modality))
    return found


def read_beside(item: ImageInput, masks: Path, modality: Modality | None = None) -> Labelled:
    """Read an image, and its mask from a folder in which it is found by the image's name.

    Raises
    ------
    InputError
        If one cannot be read, or there is no such mask.
    """
    return _read(item, _belonging(0, item, [masks], 1, "mask"), "auto", modality)


def _read(item: ImageInput, mask: Path, fov: Path | str, modality: Modality | None) -> Labelled:
    image = read_image(item.path, plane=item.plane, fov=fov, modality=modality)
    return Labelled(item.stem, image, read_mask(mask, image.shape, item.plane).mask, patient_of(item.stem, item.plane))


def common_modality(labelled: Sequence[Labelled]) -> Modality:
    """Return how images were taken; raise InputError when nobody can tell."""
    kinds = {entry.image.modality for entry in labelled}
    if len(kinds) > 1 or not kinds <= set(TRAINABLE):
        raise InputError(
            f"How the images were taken cannot be told from them ({', '.join(sorted(kinds))}); "
            f"name one of {', '.join(TRAINABLE)} as the modality."
        )
    return kinds.pop()


def _belonging(number: int, item: ImageInput, given: Sequence[Path | str], count: int, what: str) -> Path:
    """Return the file that belongs to an image."""
    if len(given) == 1 and Path(given[0]).is_dir():
        prefer = ("fov", "mask") if what == "field of view" else ("mask", "fov")
        found = match_file(item.stem, given[0], prefer=prefer, exclude=item.path)
        if found is None:
            raise InputError(
                f"There is no {what} of '{item.path.name}' in '{given[0]}'; add one or leave the image out."
            )
        return found
    if len(given) != count:
        plural = f"{what}s" if what == "mask" else "fields of view"
        raise InputError(f"{count} images were given with {len(given)} {plural}; give one for each, in their order.")
    return Path(given[number])


def refuse_test_name(name: str) -> None:
    """Raise InputError for the name of a test image of a known public set."""
    if is_test_name(name):
        raise InputError(
            f"'{name}' is the name of a test image of a public data set and cannot be trained on; leave it out, or "
            "rename it if it is an image of your own."
        )


def check_labelled(labelled: Sequence[Labelled]) -> None:
    """Raise InputError for images that nothing can be learnt from, or nothing may: test images of known sets."""
    if len(labelled) < FEWEST:
        raise InputError(
            f"{len(labelled)} labelled image{'s are' if len(labelled) != 1 else ' is'} too few; give {FEWEST} or more: "
            "one is held out to tell when to stop and where to cut."
        )
    seen: dict[str, str] = {}
    for entry in labelled:
        refuse_test_name(entry.name)
        if entry.vessels.shape != entry.image.shape:
            raise InputError(f"The mask of '{entry.name}' and its image differ in size; use matching ones.")
        inside = entry.vessels if entry.image.fov is None else entry.vessels & entry.image.fov
        if not inside.any():
            raise InputError(f"The mask of '{entry.name}' shows no vessel; label it or leave the image out.")
        if inside.all() or (entry.image.fov is not None and inside[entry.image.fov].all()):
            raise InputError(f"The mask of '{entry.name}' is vessel everywhere; label its vessels alone.")
        pixels = pixels_digest(entry.image)
        if pixels in seen:
            raise InputError(f"'{entry.name}' and '{seen[pixels]}' are the same image; leave one out.")
        seen[pixels] = entry.name


def pixels_digest(image: VesselImage) -> str:
    """Return the SHA-256 of the pixels as they are kept: the same for an image in another file."""
    return hashlib.sha256(whole_numbers(image.pixels).tobytes()).hexdigest()


def held_out(labelled: Sequence[Labelled]) -> set[int]:
    """Return the numbers of the images that are held out: all of some patients, those of the lowest SHA-256.

    As many as go into a fifth of the images, at least one. Of a single patient a fifth of the images is held out. What
    an image shows has no part in it, and the same images are parted in the same way on every machine.
    """
    keys = _patients(labelled)
    single = one_patient(labelled)
    patients: dict[str | int, list[int]] = {}
    for n in sorted(range(len(labelled)), key=lambda n: labelled[n].digest):
        patients.setdefault(n if single else keys[n], []).append(n)
    # Of patients with more images each than a fifth, one with the fewest, so that most is learnt from.
    room = max(len(labelled) // 5, min(map(len, patients.values())))
    held: set[int] = set()
    for images in patients.values():
        if len(held) + len(images) <= room:
            held.update(images)
    return held


def one_patient(labelled: Sequence[Labelled]) -> bool:
    """Whether all images are of one patient, as far as their names tell."""
    return len(set(_patients(labelled))) == 1


def _patients(labelled: Sequence[Labelled]) -> list[str]:
    return [patient_of(entry.name) if entry.patient is None else entry.patient for entry in labelled]


def working_width(labelled: Sequence[Labelled], modality: Modality) -> float:
    """Return the width at which a network is to see the images, px.

    Fundus photographs: that of the field of view, as far as the shipped models see it. Others: the width at which the
    median calibre of the labelled vessels is 4 px. No image is enlarged.
    """
    widths = [field_diameter(entry.image.shape, entry.image.fov) for entry in labelled]
    width = float(np.median(widths))
    if modality is Modality.FUNDUS:
        wanted = min(width, _LARGEST_FIELD)
    else:
        shares = [median_calibre(entry.vessels) / own for entry, own in zip(labelled, widths, strict=True)]
        wanted = min(width, _CALIBRE / max(float(np.median(shares)), 1e-6), _LARGEST)
    return float(max(64, round(wanted)))


def at_width(entry: Labelled, width: float) -> Labelled:
    """Return an image at the size at which its field of view is `width` px wide; never enlarged."""
    image = entry.image
    factor = min(1.0, width / field_diameter(image.shape, image.fov))
    shape = (max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor)))
    target = draw_target(entry.vessels, image.fov, shape)
    pixels = np.clip(resample(image.pixels, shape), 0, 1)
    return Labelled(
        entry.name,
        replace(image, pixels=pixels, fov=resample_fov(image.fov, shape)),
        (target[..., 0] >= 0.5) & (target[..., 2] > 0),
    )


def store(folder: Path, stem: str, image: VesselImage, vessels: NDArray[np.bool_] | None) -> None:
    """Write an image, its field of view and its vessels into a folder in the plain layout.

    The image comes last: where it is, the others are too.
    """
    import cv2

    rooms = [folder / name for name in ("images", "masks", "fov")]
    for room in rooms:
        room.mkdir(parents=True, exist_ok=True)
    if vessels is not None:
        write_mask(rooms[1] / f"{stem}.png", vessels)
    # Of an image that is tissue throughout, too: one that is missing would be looked for.
    write_mask(rooms[2] / f"{stem}.png", np.ones(image.shape, np.bool_) if image.fov is None else image.fov)
    with replacing(rooms[0] / f"{stem}.png") as temporary:
        pixels: NDArray[Any] = whole_numbers(image.pixels)
        # OpenCV, which unlike Pillow writes colours of 16 bits, takes them as blue, green, red.
        turned = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
        temporary.write_bytes(cv2.imencode(".png", turned, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())


def stem_of(number: int, name: str) -> str:
    """Return a name for the files of an image that is the beginning of no other's."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:60]
    return f"{number:05d}_{plain}" if plain else f"{number:05d}"
