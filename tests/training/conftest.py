"""Small data sets in the layout of the real ones."""

import cv2
import numpy as np
import pytest

from napari_vessel.synthesis.samples import make_sample


def write_set(folder, stems, suffix=".png"):
    """Write synthetic fundus images as a data set."""
    for name in ("images", "masks", "fov"):
        (folder / name).mkdir(parents=True)
    for seed, stem in enumerate(stems):
        sample = make_sample("fundus", seed=seed, shape=(200, 190))
        rgb = np.round(sample.image.pixels * 255).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{stem}{suffix}"), rgb[..., ::-1])
        cv2.imwrite(str(folder / "masks" / f"{stem}.png"), sample.truth.mask.astype(np.uint8) * 255)
        cv2.imwrite(str(folder / "fov" / f"{stem}.png"), sample.image.fov.astype(np.uint8) * 255)
    return folder


@pytest.fixture(scope="session")
def chasedb1(tmp_path_factory):
    """Two training images, one held out, one of the test split."""
    return write_set(tmp_path_factory.mktemp("chase"), ["Image_01L", "Image_02R", "Image_09L", "Image_11L"])


@pytest.fixture(scope="session")
def les_av(tmp_path_factory):
    """Five images without a test split."""
    return write_set(tmp_path_factory.mktemp("lesav"), ["11", "12", "13", "14", "15"])


@pytest.fixture(scope="session")
def hrf(tmp_path_factory):
    """Two training images, one held out, two of the test split."""
    return write_set(tmp_path_factory.mktemp("hrf"), ["01_dr", "02_g", "05_h", "06_h", "15_dr"])
