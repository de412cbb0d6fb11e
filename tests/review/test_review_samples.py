"""What an image of a project teaches, and the digest of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.review.origins import Origin
from napari_vessel.review.samples import TrainingSample

SHAPE = (24, 32)


def sample(**changes: object) -> TrainingSample:
    vessels = np.zeros(SHAPE, bool)
    vessels[10:13] = True
    origin = np.full(SHAPE, Origin.MODEL, np.uint8)
    image = VesselImage(np.full(SHAPE, 0.5, np.float32), modality=Modality.FUNDUS, content_hash="a" * 64)
    made = TrainingSample(
        image_id="1",
        name="eye_1",
        content_hash="a" * 64,
        patient="eye_1",
        image=image,
        vessels=vessels,
        origin=origin,
        counts=np.ones(SHAPE, bool),
        done=True,
        guard=False,
        model="fundus-small",
        edits=3,
    )
    return replace(made, **changes)


def changed(array: np.ndarray, at: tuple[int, int], value: int) -> np.ndarray:
    copy = array.copy()
    copy[at] = value
    return copy


def test_the_digest_is_of_what_is_learnt_and_of_nothing_else():
    first = sample()
    assert len(first.digest) == 64
    assert sample(name="other", edits=9, image_id="2", model="").digest == first.digest
    different = [
        sample(vessels=changed(first.vessels, (0, 0), True)),
        sample(origin=changed(first.origin, (0, 0), Origin.BRUSH)),
        sample(counts=changed(first.counts, (0, 0), False)),
        sample(content_hash="b" * 64),
        sample(done=False),
        sample(guard=True),
        sample(image=replace(first.image, fov=np.ones(SHAPE, bool))),
        sample(image=replace(first.image, modality=Modality.OCTA)),
    ]
    assert len({first.digest, *(other.digest for other in different)}) == len(different) + 1


def test_who_decided_what_does_not_count_is_not_in_the_digest():
    counts = np.ones(SHAPE, bool)
    counts[0] = False
    first = sample(counts=counts)
    assert sample(counts=counts, origin=changed(first.origin, (0, 5), Origin.UNSURE)).digest == first.digest


def test_a_sample_does_not_change_and_has_one_shape():
    with pytest.raises(ValueError, match="read-only"):
        sample().vessels[0, 0] = True
    with pytest.raises(ValueError, match="belongs to no image"):
        sample(origin=np.zeros((3, 3), np.uint8))
