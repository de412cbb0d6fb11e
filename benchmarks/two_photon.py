"""Makes a folder of 2-D images and masks from the two-photon volumes of vesselNN_dataset, for ``fewshot.py``.

    python benchmarks/two_photon.py CHECKOUT -o DIR

CHECKOUT is a copy of https://github.com/petteriTeikari/vesselNN_dataset (Teikari et al., arXiv:1606.02382). DIR
becomes a plain folder: ``images/VOLUME_slabNN.png``, ``masks/VOLUME_slabNN.png``, and ``slabs.json``, which says of
every slab what it was made from, what its label covers and why it was left out. The owner names no licence: measure
on it, pass nothing on.

A slab is the maximum of `SLICES` neighbouring slices of the denoised stack, or up to four more where the stack does
not divide; its mask is where any of their labels is vessel. The slices are 5 micrometres apart, so a slab is 25,
between the width of a capillary and that of an artery: thinner, capillaries fall into dots; at 50 and more, labels
cover up to two thirds of the picture.

Left out, whatever a model makes of it: slabs whose label covers more than `SOLID` of the picture, in which vessels
are no longer apart, or less than `EMPTY`, and those of `UNCLEAR`. These, and that the other labels can be used, were
decided by eye, with the outlines of the labels drawn into the slabs. Of those that are kept, the label of
burgess2014_tgMouse is ragged around dim tissue and runs through the glow at the lower left, that of
burgess2014_lowerRes_hiSNR goes on below large vessels where they are hardly seen, and that of poon2015_plaqueVessels,
under-segmented in its owner's words, does not look so here.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.writing import replacing, write_json

SLICES = 5
SOLID, EMPTY = 0.5, 0.01

VOLUMES = {
    "burgess2014_bbbDisruption": "burgess2014_bbbDisruption",
    "burgess2014_lowerRes_hiSNR": "burgess2014_lowerRes_hiSNR",
    "burgess2014_noisySparseVessels": "burgess2014_noisySparseVessels",
    "burgess2014_tgMouse": "burgess2014_tgMouse",
    "poon2015_BBB_Leakage": "poon2015_BBB",
    "poon2015_BBB_noLeakage": "poon2015_BBB",
    "poon2015_plaqueVessels": "poon2015_plaqueVessels",
    "santos2015_lowContrastVessels": "santos2015_tumor_1",
    "santos2015_mixedSizelowContrastVessels": "santos2015_tumor_1",
}
"""The volumes, and the recording each was cut from, by the owner's table (metadata/table.png).

The three others, poon2015_mixedSize1, poon2015_mixedSize2 and santos2015_tumor, have not been looked at.
"""

UNCLEAR = {
    "santos2015_mixedSizelowContrastVessels_slab00": "the label outlines haze: the vessels lie deeper",
}
"""Slabs with a label that cannot be seen in the picture, by eye."""


@dataclass(frozen=True, eq=False, slots=True)
class Slab:
    """Some slices of a volume as one picture.

    Attributes
    ----------
    name : str
        ``VOLUME_slabNN``.
    slices : tuple of int
        The first slice, and the one after the last.
    image : ndarray of uint8, shape (Y, X)
        Maximum over the slices.
    mask : ndarray of bool, shape (Y, X)
        Where any of the slices is labelled vessel.
    """

    name: str
    slices: tuple[int, int]
    image: NDArray[np.uint8] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)

    @property
    def cover(self) -> float:
        """Share of the picture that is labelled."""
        return float(self.mask.mean())

    @property
    def fault(self) -> str:
        """Why it is left out; empty when it is kept."""
        if self.cover > SOLID:
            return f"the label covers more than {SOLID:g} of the picture"
        if self.cover < EMPTY:
            return f"the label covers less than {EMPTY:g} of the picture"
        return UNCLEAR.get(self.name, "")


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a slab: a row of ``slabs.json``."""

    name: str
    recording: str
    slices: tuple[int, int]
    cover: float
    left_out: str


def recording_of(stem: str) -> str:
    """Return the recording that an image of these comes from; an image of another name is its own.

    Slabs of one volume show one tissue, and so do two volumes cut from one recording.
    """
    volume = re.sub(r"_slab\d+$", "", stem)
    return VOLUMES.get(volume, volume)


def slabs(volume: str, stack: NDArray[np.uint8], label: NDArray[np.generic]) -> Iterator[Slab]:
    """Cut a volume into slabs.

    Parameters
    ----------
    volume : str
        Its name.
    stack : ndarray of uint8, shape (Z, Y, X)
        The denoised slices.
    label : ndarray, shape (Z, Y, X)
        Anything but 0 is vessel.
    """
    parts = np.array_split(np.arange(len(stack)), max(1, len(stack) // SLICES))
    for number, part in enumerate(parts):
        first, end = int(part[0]), int(part[-1]) + 1
        yield Slab(
            f"{volume}_slab{number:02d}",
            (first, end),
            stack[first:end].max(axis=0),
            (label[first:end] != 0).any(axis=0),
        )


def read_volume(checkout: Path, volume: str) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return the denoised stack of a volume and its label, both of shape (Z, Y, X).

    Raises
    ------
    InputError
        If one is missing, is no stack of 8-bit slices, or they differ in shape.
    """
    found = []
    for room, ending in (("denoised", "_BM4D_denoised.tif"), ("labels", "_*.tif")):
        paths = sorted((checkout / room).glob(volume + ending))
        if len(paths) != 1:
            raise InputError(
                f"There are {len(paths)} files '{volume}{ending}' in '{checkout / room}' instead of one; "
                "give the folder of a complete copy of vesselNN_dataset."
            )
        found.append((paths[0], tifffile.imread(paths[0])))
    (path, stack), (_, label) = found
    if stack.dtype != np.uint8 or stack.ndim != 3 or stack.shape != label.shape:
        raise InputError(f"'{path}' and its label are no 8-bit stacks of one shape; get the data set anew.")
    return stack, label


def make(checkout: Path, out: Path) -> list[Made]:
    """Write the images and masks of all volumes, in place of those of an earlier run.

    Parameters
    ----------
    checkout, out : Path
        The owner's folder, and the one to be made.

    Returns
    -------
    list of Made
        Every slab, also those left out.

    Raises
    ------
    InputError
        If a volume is missing or `out` holds something else.
    """
    listed = out / "slabs.json"
    if out.exists() and any(out.iterdir()) and not listed.is_file():
        raise InputError(f"'{out}' holds something else; give a new folder.")
    made: list[Made] = []
    kept: list[Slab] = []
    for volume in VOLUMES:
        for slab in slabs(volume, *read_volume(checkout, volume)):
            fault = slab.fault
            made.append(Made(slab.name, recording_of(slab.name), slab.slices, round(slab.cover, 4), fault))
            if not fault:
                kept.append(slab)
    out.mkdir(parents=True, exist_ok=True)
    write_json(listed, [asdict(row) for row in made])
    for room in ("images", "masks"):
        shutil.rmtree(out / room, ignore_errors=True)
        (out / room).mkdir()
        for slab in kept:
            pixels = slab.image if room == "images" else slab.mask.astype(np.uint8) * 255
            with replacing(out / room / f"{slab.name}.png") as temporary:
                temporary.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return made


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT", help="a copy of vesselNN_dataset")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder to be made")
    return parser


def main() -> None:
    """Make the folder."""
    parser = make_parser()
    options = parser.parse_args()
    try:
        made = make(options.checkout, options.out)
    except InputError as error:
        parser.error(str(error))
    for row in made:
        print(f"{row.name}  slices {row.slices[0]}-{row.slices[1] - 1}  label {row.cover:.3f}  {row.left_out}")
    kept = [row for row in made if not row.left_out]
    print(f"{len(kept)} of {len(made)} slabs kept, of {len({row.recording for row in kept})} recordings")


if __name__ == "__main__":
    main()
