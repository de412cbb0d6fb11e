"""Make the pictures of docs/synthesis.md: what the data engine makes up, and what it makes of real images.

python docs/make_synthesis.py [--chase-db1 DIR --rossa DIR] [--out docs/images]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from napari_vessel.images.image import Modality
from napari_vessel.images.writing import replacing
from napari_vessel.synthesis.engine import MODALITIES, Background, Likeness, SyntheticImage, synthesize
from napari_vessel.training.cases import find_cases, read_case

SIDE, SEAM, HEAD, QUALITY = 300, 6, 26, 82
GREEN, PINK, RED = (60, 220, 90), (255, 60, 220), (255, 40, 40)
SEEDS = {Modality.FUNDUS: (4, 2), Modality.OCTA: (2, 4), Modality.XRAY: (0, 5), Modality.TWOPHOTON: (0, 4)}
Tile = NDArray[np.uint8]


def main() -> None:
    """Make the pictures from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chase-db1", type=Path, metavar="DIR")
    parser.add_argument("--rossa", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "images")
    options = parser.parse_args()
    rows = []
    for modality in MODALITIES:
        first, second = (synthesize(modality, seed) for seed in SEEDS[modality])
        follower = synthesize(modality, 3, like=Likeness.of([first.truth], [first.image.fov]))
        rows.append(
            [tile(first.image.pixels), tile(second.image.pixels), tile(marked(second)), tile(follower.image.pixels)]
        )
    titles = ("one image", "another", "its truth", "one that follows the first's mask")
    save(rows, titles, options.out / "synthesis.jpg")
    own = [(key, folder) for key, folder in (("chase_db1", options.chase_db1), ("rossa", options.rossa)) if folder]
    if own:
        titles = ("real image", "its vessels taken out", "vessels that follow its mask", "vessels grown freely")
        save([own_row(key, folder) for key, folder in own], titles, options.out / "synthesis-own.jpg")


def own_row(key: str, folder: Path) -> list[Tile]:
    """Return a real training image, the tissue under its vessels, and new vessels on it."""
    case = read_case(find_cases(key, folder, "training")[0])
    ground = Background.of(case.image, case.vessels)
    like = Likeness.of([case.vessels], [case.image.fov])
    modality = case.image.modality
    made = [synthesize(modality, 2, like=given, backgrounds=[ground]).image.pixels for given in (like, None)]
    return [tile(pixels) for pixels in (case.image.pixels, np.squeeze(ground.pixels), *made)]


def marked(one: SyntheticImage) -> NDArray[np.float32]:
    """Return the image with its truth outlined, what is hidden filled, and circles around true ends."""
    pixels = np.rint(255 * one.image.pixels).astype(np.uint8)
    picture = np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2))
    inner = cv2.erode(one.truth.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    picture[one.truth & ~inner] = GREEN
    picture[one.hidden] = PINK
    for y, x in one.ends:
        cv2.circle(picture, (round(x), round(y)), 6, RED, 2)
    return picture.astype(np.float32) / np.float32(255)


def tile(pixels: NDArray[np.float32]) -> Tile:
    """Return a picture as a square, as large as it goes in."""
    scale = SIDE / max(pixels.shape[:2])
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    small = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
    values = np.rint(255 * np.clip(small, 0, 1)).astype(np.uint8)
    values = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = values
    return square


def save(rows: list[list[Tile]], titles: tuple[str, ...], out: Path) -> None:
    """Write rows of tiles under their titles."""
    step = SIDE + SEAM
    sheet = Image.new("RGB", (len(titles) * step - SEAM, HEAD + len(rows) * step - SEAM), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((column * step + 2, 3), title, fill="black", font=ImageFont.load_default(16))
        for line, tiles in enumerate(rows):
            sheet.paste(Image.fromarray(tiles[column]), (column * step, HEAD + line * step))
    with replacing(out) as temporary:
        sheet.save(temporary, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
