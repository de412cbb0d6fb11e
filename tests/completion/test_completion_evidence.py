"""What an image says of a mask: of one whose vessels it does not show nothing, and of each end by its own vessel."""

import cv2
import numpy as np
import pytest

from napari_vessel.completion import propose_cuts
from napari_vessel.completion.candidates import starts
from napari_vessel.completion.drafts import Draft, drafts_from
from napari_vessel.completion.evidence import Evidence
from napari_vessel.completion.search import gather, take_apart
from napari_vessel.images import Modality, VesselImage
from napari_vessel.jobs import run_job

NOISE = np.random.default_rng(0).normal(100.0, 8.0, (120, 200)).astype(np.float32)


def bar() -> np.ndarray:
    mask = np.zeros(NOISE.shape, bool)
    mask[58:63, 20:90] = mask[58:63, 110:180] = True
    return mask


def seen(mask: np.ndarray, image: VesselImage | np.ndarray) -> tuple[Evidence, list[Draft]]:
    network = run_job(take_apart(mask))
    evidence = run_job(gather(network, image, None, None, None))
    drafts = [draft for start in starts(network, None) for draft in drafts_from(start, network, evidence, None, None)]
    return evidence, drafts


def test_a_ridge_that_the_masks_own_vessels_lack_is_none():
    # Bright vessels, told to be dark.
    evidence, _ = seen(bar(), VesselImage(0.1 * NOISE + np.float32(80.0) * bar(), modality=Modality.FUNDUS))
    assert evidence.ridge is not None
    assert not evidence.ridge.any()


@pytest.mark.parametrize("seed", range(4))
def test_noise_does_not_stand_out_from_noise(seed):
    noise = np.random.default_rng(seed).normal(100.0, 8.0, NOISE.shape).astype(np.float32)
    evidence, _ = seen(bar(), noise)
    assert evidence.brightness is not None
    assert evidence.contrast > 0.3 * evidence.brightness[~bar()].std()


def test_how_a_vessel_stands_out_before_its_end_is_told_by_its_own_width():
    mask = np.zeros(NOISE.shape, np.uint8)
    mask[59:62, 60:190] = 1
    cv2.circle(mask, (36, 60), 14, 1, -1)
    image = (200.0 * mask).astype(np.float32)
    # As far from its middle as the spot is wide something else is as bright.
    image[30:38, 50:190] = image[83:91, 50:190] = 200.0
    _, drafts = seen(mask > 0, image)
    from_spot = [draft for draft in drafts if draft.start.end is None and draft.goal_end is not None]
    to_spot = [draft for draft in drafts if draft.start.end is not None]
    assert from_spot
    assert to_spot
    assert from_spot[0].seen["stump_contrast"] == pytest.approx(to_spot[0].seen["stump_contrast"], abs=0.05)


def test_beyond_the_field_of_view_nothing_is_cut():
    mask = np.zeros((200, 260), np.uint8)
    mask[67:73, 20:240] = mask[85:91, 20:240] = mask[70:88, 128:133] = 1
    assert len(propose_cuts(mask)) == 1
    beyond = np.ones(mask.shape, bool)
    beyond[:, 100:160] = False
    assert not propose_cuts(mask, fov=beyond)
