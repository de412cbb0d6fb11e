"""The images that are pre-trained on: found, kept apart from those for testing, read at the working scale."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality
from napari_vessel.images.inputs import find_inputs, match_file
from napari_vessel.images.reading import read_image
from napari_vessel.jobs import Job, Progress
from napari_vessel.networks.vit import WINDOW
from napari_vessel.segmentation.preparation import field_diameter, normalise, resample, resample_fov
from napari_vessel.training.augmentation import Level, as_channels, whole_numbers
from napari_vessel.training.cases import find_cases
from napari_vessel.training.datasets import DATA_SETS, PLAIN
from napari_vessel.training.labelled import refuse_test_name
from napari_vessel.training.pretraining.settings import PreTrain
from napari_vessel.training.pretraining.vesselness import vessel_map
from napari_vessel.training.recipe import OWN

log = logging.getLogger(__name__)

LARGEST_CROP = 256
"""Side of the crops, px, where images are large enough; never more patches than a transformer sees at once."""

FEWEST_PATCHES = 4
"""Patches along the side of the smallest crop: with fewer there is nothing around what is hidden."""


@dataclass(frozen=True, slots=True)
class UnlabelledFile:
    """One image to learn from.

    Attributes
    ----------
    name : str
        For records and messages: folder and stem, numbered where another has the same.
    path : Path
        The file.
    plane : int or None
        Page of a file of many.
    fov : Path or None
        Its field of view; found in the image by default.
    data_set : str
        Key of the public set it is of.
    """

    name: str
    path: Path
    plane: int | None = None
    fov: Path | None = None
    data_set: str = OWN


@dataclass(frozen=True, eq=False, slots=True)
class UnlabelledImages:
    """Every image at the working scale.

    Attributes
    ----------
    levels : list of list of Level
        As :class:`~napari_vessel.training.crops.CropSource` takes them; their target's vessels are the vesselness map.
    size : int
        Side of the crops, px.
    hashes : dict of str to str
        SHA-256 of every image's file, by name.
    """

    levels: list[list[Level]]
    size: int
    hashes: dict[str, str]


def known_set(folder: Path) -> str | None:
    """Return the key of the public data set that a folder holds, if any.

    It is known by its owner's layout; in the plain one, where images may be called 1, 2, 3, by the folder's name.
    """
    name = re.sub(r"[^a-z0-9]", "", folder.resolve().name.lower())
    for key, known in DATA_SETS.items():
        named = name.startswith(re.sub(r"[^a-z0-9]", "", key))
        for layout in (*known.layouts, *((PLAIN,) if named else ())):
            pattern = folder / layout.image.format("*")
            for path in pattern.parent.glob(pattern.name):
                mask = folder / layout.mask.format(path.stem, number=path.stem[:2])
                if known.split_of(path.stem) is not None and (named or any(mask.parent.glob(mask.name))):
                    return key
    return None


def find_unlabelled(folders: Sequence[Path]) -> list[UnlabelledFile]:
    """List the images to learn from; labels are never read.

    Parameters
    ----------
    folders : sequence of Path
        Of a public data set (see :func:`known_set`), its training images alone; of any other folder, the image files
        in it or, where it has one, in ``images/`` below it, with their fields of view in ``fov/``.

    Raises
    ------
    InputError
        If there is none, one has the name of a known set's test image, or a folder is a part of a known set.
    """
    found: list[UnlabelledFile] = []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        key = known_set(folder)
        if key is not None:
            cases = find_cases(key, folder, "training")
            found += [UnlabelledFile(case.name, case.image, None, case.fov, key) for case in cases]
            log.info("%s: %d training images; its others are not read", DATA_SETS[key].title, len(cases))
            continue
        if within := next((above for above in folder.parents[:2] if known_set(above)), None):
            raise InputError(
                f"'{folder}' lies in a public data set; give '{within}', of which the training images alone are read."
            )
        rooms = folder / "images", folder / "fov"
        place = rooms[0] if rooms[0].is_dir() else folder
        for item in find_inputs([place]):
            refuse_test_name(item.path.stem)
            fov = match_file(item.stem, rooms[1], prefer=("fov", "mask")) if rooms[1].is_dir() else None
            found.append(UnlabelledFile(f"{folder.name}/{item.stem}", item.path, item.plane, fov))
    return _named_apart(found)


def _named_apart(files: Sequence[UnlabelledFile]) -> list[UnlabelledFile]:
    """Number names that come more than once: two folders may have one name, and the record is by name."""
    named: dict[str, UnlabelledFile] = {}
    for file in files:
        name, number = file.name, 2
        while name in named:
            name, number = f"{file.name} ({number})", number + 1
        named[name] = replace(file, name=name)
    return list(named.values())


def check_modality(files: Sequence[UnlabelledFile], modality: Modality) -> None:
    """Raise InputError if one is of a public set whose images were taken in another way: where vessels are dark."""
    for file in files:
        known = DATA_SETS.get(file.data_set)
        if known is not None and known.modality is not modality:
            raise InputError(
                f"{known.title} has {known.modality.value} images and cannot be pre-trained on as {modality.value}; "
                "pre-train on each kind of image apart."
            )


def load_images(files: Sequence[UnlabelledFile], settings: PreTrain, patch: int) -> Job[UnlabelledImages]:
    """Read every image and find the vessels that stand out.

    Parameters
    ----------
    files : sequence of UnlabelledFile
        At least one.
    settings : PreTrain
        Modality, channels, working scale, and whether a vesselness map is asked for.
    patch : int
        Side of a patch, px.

    Raises
    ------
    InputError
        If one cannot be read, or is too small to hide a part of it.
    """
    network = settings.network
    levels, hashes, sides = [], {}, []
    for number, file in enumerate(files):
        yield Progress(number, len(files), f"Reading {file.name}")
        fov = "auto" if file.fov is None else file.fov
        image = read_image(file.path, plane=file.plane, fov=fov, modality=settings.modality)
        hashes[file.name] = image.content_hash
        factor = network.working_diameter / field_diameter(image.shape, image.fov)
        shape = (max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor)))
        if min(shape) < FEWEST_PATCHES * patch:
            raise InputError(
                f"'{file.path}' is {shape[0]} x {shape[1]} px (height x width) at the working scale, and patches of "
                f"{patch} px need {FEWEST_PATCHES * patch}; leave it out or give a larger --working-diameter."
            )
        sides.append(min(shape))
        inside = resample_fov(image.fov, shape)
        vessels = np.zeros(shape, np.bool_)
        if settings.guided or settings.consistency:
            channel = normalise(resample(image.vessel_channel(), shape), inside)[..., 0]
            vessels = vessel_map(channel, inside, settings.modality)
        pixels = resample(as_channels(image, network.in_channels == 3), shape)
        levels.append([_level(np.atleast_3d(pixels), vessels, inside, network.working_diameter)])
    return UnlabelledImages(levels, min(LARGEST_CROP, WINDOW * patch, *sides) // patch * patch, hashes)


def _level(
    pixels: NDArray[np.float32], vessels: NDArray[np.bool_], fov: NDArray[np.bool_] | None, diameter: float
) -> Level:
    inside = np.ones(vessels.shape, np.bool_) if fov is None else fov
    target = np.stack([vessels, np.zeros_like(vessels), inside], axis=-1).astype(np.uint8) * 255
    nowhere = np.empty((0, 2), np.int32)
    # Nothing is hidden here by calibre: that is for TopoMask.
    return Level(whole_numbers(pixels), target, nowhere, diameter, calibre=0.0)


def guess_modality_of(files: Sequence[UnlabelledFile]) -> Modality:
    """Return how images were taken, judged by the first."""
    first = files[0]
    if first.data_set in DATA_SETS:
        return DATA_SETS[first.data_set].modality
    return read_image(first.path, plane=first.plane, fov="none").modality
