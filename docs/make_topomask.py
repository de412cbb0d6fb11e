"""Make the picture of docs/topomask.md: both forms of TopoMask on the package's own samples.

python docs/make_topomask.py [--out docs/images/topomask.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from napari_vessel.images.writing import replacing
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.topology.calibre import median_calibre
from napari_vessel.training.topomask import Masking, TopoMaskRecipe, choose_regions, hide

# Kind, seed, and top left corner of the part that is shown.
PARTS = (("fundus", 3, (120, 190)), ("octa", 1, (40, 40)))
TITLES = ("image", "faithful", "corrected", "hidden (cyan), decoys (yellow)")
SIDE, ZOOM, SEAM, HEAD = 200, 1.6, 6, 26
CYAN, YELLOW = (0, 255, 255), (255, 230, 0)
COLOURS = 128


def main() -> None:
    """Make the picture from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "images" / "topomask.png")
    out = parser.parse_args().out
    rows = [row(kind, seed, corner) for kind, seed, corner in PARTS]
    tile = rows[0][0].shape[0]
    width = len(TITLES) * (tile + SEAM) - SEAM
    sheet = Image.new("RGB", (width, HEAD + len(rows) * (tile + SEAM) - SEAM), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(16)
    for column, title in enumerate(TITLES):
        draw.text((column * (tile + SEAM) + 2, 3), title, fill="black", font=font)
        for line, tiles in enumerate(rows):
            sheet.paste(Image.fromarray(tiles[column]), (column * (tile + SEAM), HEAD + line * (tile + SEAM)))
    with replacing(out) as temporary:
        sheet.quantize(COLOURS).save(temporary, format="PNG", optimize=True)


def row(kind: str, seed: int, corner: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Return one line of tiles: the image, both forms, and where the corrected one destroyed."""
    sample = make_sample(kind, seed=seed)
    pixels = np.atleast_3d(sample.image.pixels).astype(np.float32)
    vessel = sample.truth.mask > 0
    fov = np.ones(vessel.shape, np.bool_) if sample.image.fov is None else sample.image.fov
    calibre = median_calibre(vessel)

    def masked(style: str) -> NDArray[np.float32]:
        masking = Masking.at(TopoMaskRecipe(style), kind, 0.5)  # type: ignore[arg-type]
        return hide(pixels, vessel, fov, masking, calibre, np.random.default_rng(seed))[0]

    corrected = Masking.at(TopoMaskRecipe("corrected"), kind, 0.5)
    # The same random numbers choose the same regions.
    regions = choose_regions(vessel, fov, corrected, calibre, np.random.default_rng(seed))
    marked = enlarge(pixels, corner)
    for region, colour in ((regions.hidden, CYAN), (regions.decoys, YELLOW)):
        shape = enlarge(region.astype(np.float32)[..., None], corner)[..., 0]
        outlines, _ = cv2.findContours((shape > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(marked, outlines, -1, colour, 1)
    return [*(enlarge(picture, corner) for picture in (pixels, masked("faithful"), masked("corrected"))), marked]


def enlarge(pixels: NDArray[np.float32], corner: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the part that is shown, larger, as red, green and blue."""
    part = pixels[corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE]
    size = round(SIDE * ZOOM)
    large = np.atleast_3d(cv2.resize(np.ascontiguousarray(part), (size, size), interpolation=cv2.INTER_CUBIC))
    colour = np.repeat(large, 3, axis=2) if large.shape[2] == 1 else large
    return np.ascontiguousarray(np.rint(np.clip(colour, 0, 1) * 255), np.uint8)


if __name__ == "__main__":
    main()
