"""The rules that nnU-Net v2 has for a raw data set, as one function that lists what breaks them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from skimage import io

READERS = {"NaturalImage2DIO": (".png", ".bmp", ".tif")}


def _channels(path: Path) -> np.ndarray:
    """Read a file as (C, Y, X), as nnU-Net's reader of natural images does: by scikit-image, colours in front."""
    values = io.imread(path)
    if values.ndim == 2:
        return values[None].astype(np.float32)
    if values.ndim != 3 or values.shape[2] not in (3, 4):
        raise ValueError(f"{path.name} has the shape {values.shape}")
    return np.moveaxis(values, 2, 0).astype(np.float32)


def nnunet_faults(folder: Path) -> list[str]:
    """Return what nnU-Net's integrity rules say against a data set; empty when they say nothing.

    The rules, from its documentation and its ``verify_dataset_integrity``: the folder is ``DatasetNNN_NAME``;
    dataset.json has labels, channel_names, numTraining and file_ending; labels are 0 (background), 1, 2... and
    ``ignore`` is the highest; an image file is CASE_CCCC and a label file CASE, with the one lossless ending; there
    are as many cases as numTraining says, each with a label file; every case has as many channels as there are
    names; images and labels have one shape; nothing is NaN; label files hold declared values only.
    """
    faults = []
    if not re.fullmatch(r"Dataset(?!000)\d{3}_.+", folder.name):
        faults.append(f"folder name {folder.name}")
    if not (folder / "dataset.json").is_file():
        return [*faults, "no dataset.json"]
    data = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    missing = {"labels", "channel_names", "numTraining", "file_ending"} - data.keys()
    if missing:
        return [*faults, f"dataset.json lacks {sorted(missing)}"]
    ending, labels = data["file_ending"], data["labels"]
    if ending not in READERS[data.get("overwrite_image_reader_writer", "NaturalImage2DIO")]:
        faults.append(f"file ending {ending}")
    channels = list(data["channel_names"])
    if channels != [str(number) for number in range(len(channels))]:
        faults.append(f"channels {channels}")
    if labels.get("background") != 0:
        faults.append("background is not 0")
    if sorted(labels.values()) != list(range(len(labels))):
        faults.append(f"labels {sorted(labels.values())} are not consecutive")
    if "ignore" in labels and labels["ignore"] != max(labels.values()):
        faults.append("ignore is not the highest label")

    cases: dict[str, list[Path]] = {}
    for path in sorted((folder / "imagesTr").iterdir()):
        found = re.fullmatch(rf"(.+)_\d{{4}}{re.escape(ending)}", path.name)
        if found is None:
            faults.append(f"imagesTr/{path.name}: name")
        else:
            cases.setdefault(found[1], []).append(path)
    if len(cases) != data["numTraining"]:
        faults.append(f"{len(cases)} cases, numTraining {data['numTraining']}")
    if {path.name for path in (folder / "labelsTr").iterdir()} != {f"{case}{ending}" for case in cases}:
        return [*faults, "label files and cases differ"]
    for case, files in cases.items():
        target = _channels(folder / "labelsTr" / f"{case}{ending}")
        images = [_channels(path) for path in files]
        if len({image.shape for image in images}) > 1 or images[0].shape[1:] != target.shape[1:]:
            faults.append(f"{case}: shapes {[image.shape for image in images]}, labels {target.shape}")
        if sum(len(image) for image in images) != len(channels):
            faults.append(f"{case}: {sum(len(image) for image in images)} channels")
        if len(target) != 1:
            faults.append(f"{case}: labels in colour")
        if any(np.isnan(values).any() for values in (*images, target)):
            faults.append(f"{case}: NaN")
        strangers = set(np.unique(target).tolist()) - set(labels.values())
        if strangers:
            faults.append(f"{case}: unexpected labels {sorted(strangers)}")
    return faults


@pytest.fixture
def faults() -> Callable[[Path], list[str]]:
    """The function itself."""
    return nnunet_faults
