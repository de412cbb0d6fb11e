"""Small data sets in the layouts of the real ones."""

import cv2
import numpy as np
import pytest

from napari_vessel.synthesis.samples import make_sample

SHAPE = (200, 190)


def draw(seed, kind="fundus"):
    """Return a synthetic image in 8 bits, its vessels and its field of view (0/255)."""
    sample = make_sample(kind, seed=seed, shape=SHAPE)
    pixels = np.round(sample.image.pixels * 255).astype(np.uint8)
    fov = sample.image.fov
    fov = np.full(SHAPE, 255, np.uint8) if fov is None else fov.astype(np.uint8) * 255
    return pixels if pixels.ndim == 2 else pixels[..., ::-1], sample.truth.mask.astype(np.uint8) * 255, fov


def save(path, array):
    """Write an image, GIF too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gif":
        from PIL import Image

        Image.fromarray(array).save(path)
    else:
        cv2.imwrite(str(path), array)


def write_set(folder, stems, kind="fundus"):
    """Write synthetic images as a data set in the plain layout."""
    for seed, stem in enumerate(stems):
        image, vessels, fov = draw(seed, kind)
        save(folder / "images" / f"{stem}.png", image)
        save(folder / "masks" / f"{stem}.png", vessels)
        if kind == "fundus":
            save(folder / "fov" / f"{stem}.png", fov)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A data folder: CHASE_DB1 and HRF with images of every split, LES-AV, ROSSA, DRIVE as its owner lays it out."""
    root = tmp_path_factory.mktemp("data")
    write_set(root / "CHASEDB1", ["Image_01L", "Image_02R", "Image_09L", "Image_11L"])
    write_set(root / "HRF", ["01_dr", "02_g", "05_h", "06_h", "15_dr"])
    write_set(root / "LES-AV", ["11", "12", "13", "14", "15"])
    write_set(root / "ROSSA", ["1", "2", "101", "102", "201"], kind="octa")
    for seed, number in enumerate((21, 22, 23, 24, 25, 26, 1, 2)):
        half = "training" if number > 20 else "test"
        image, vessels, fov = draw(seed)
        drive = root / "DRIVE" / half
        save(drive / "images" / f"{number:02d}_{half}.tif", image)
        save(drive / "1st_manual" / f"{number:02d}_manual1.gif", vessels)
        save(drive / "mask" / f"{number:02d}_{half}_mask.gif", fov)
        if half == "test":
            save(drive / "2nd_manual" / f"{number:02d}_manual2.gif", np.roll(vessels, 1, axis=0))
    return root
