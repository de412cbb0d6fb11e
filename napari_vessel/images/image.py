"""The image and the mask as every other package sees them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Modality(StrEnum):
    """How the image was taken. It decides polarity, channel and default model."""

    FUNDUS = "fundus"
    OCTA = "octa"
    XRAY = "xray"
    TWOPHOTON = "twophoton"
    OTHER = "other"

    @property
    def dark_vessels(self) -> bool:
        """Whether vessels are darker than their surroundings."""
        return self in (Modality.FUNDUS, Modality.XRAY)


@dataclass(frozen=True, eq=False, slots=True)
class VesselImage:
    """One 2-D image, ready to be segmented and reviewed.

    Attributes
    ----------
    pixels : ndarray of float32, shape (Y, X) or (Y, X, 3)
        Intensities in [0, 1]; never NaN.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view: True where the image shows tissue. None means everywhere.
    modality : Modality
        How the image was taken.
    spacing : tuple of float or None
        Pixel size (y, x) in micrometres, when known.
    source : Path or None
        File the image came from; None for an array.
    plane : int or None
        Page of a multi-page file, counted from 0; None for a file with one page.
    content_hash : str
        SHA-256 of the file's bytes (``#PLANE`` appended for a page of many), or of the array's dtype, shape and bytes.
    notes : tuple of str
        What reading did to the data ("16-bit values divided by 65535"), to be shown and recorded.
    name : str
        What an array is called, such as its layer in napari; a file has its own name.
    """

    pixels: NDArray[np.float32]
    fov: NDArray[np.bool_] | None = None
    modality: Modality = Modality.OTHER
    spacing: tuple[float, float] | None = None
    source: Path | None = None
    plane: int | None = None
    content_hash: str = ""
    notes: tuple[str, ...] = ()
    name: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (int(self.pixels.shape[0]), int(self.pixels.shape[1]))

    @property
    def stem(self) -> str:
        """Name for files made from this image: the file's stem, with ``_pNNN`` for a page of many.

        An array has its name, as far as that is fit for a file, and without one the beginning of its hash.
        """
        if self.source is not None:
            base = self.source.stem
        else:
            plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", self.name).strip("._-")[:100]
            base = plain or self.content_hash[:12] or "image"
        return base if self.plane is None else f"{base}_p{self.plane:03d}"

    @property
    def channel_name(self) -> str:
        """Which channel :meth:`vessel_channel` returns: ``green``, ``luminance`` or ``grey``."""
        if self.pixels.ndim == 2:
            return "grey"
        return "green" if self.modality is Modality.FUNDUS else "luminance"

    def vessel_channel(self) -> NDArray[np.float32]:
        """Return the one channel, shape (Y, X), in which vessels show best.

        Green for a colour fundus photograph, Rec. 601 luminance for other colour images.
        """
        if self.pixels.ndim == 2:
            return self.pixels
        if self.modality is Modality.FUNDUS:
            return np.ascontiguousarray(self.pixels[..., 1])
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        return np.asarray(self.pixels @ weights, np.float32)


@dataclass(frozen=True, slots=True)
class MaskClass:
    """One kind of vessel in a mask.

    Attributes
    ----------
    label : int
        Value in the label image in memory, 1 to 254.
    value : int or tuple of int
        Value (or RGB colour) in the file it came from, written back on export.
    name : str
        ``vessel``, ``artery``, ``vein`` or ``class N``.
    """

    label: int
    value: int | tuple[int, int, int]
    name: str


VESSEL = MaskClass(1, 255, "vessel")

UNCERTAIN = "uncertain"
"""Name of the class that means "not sure", white in artery and vein drawings."""


@dataclass(frozen=True, eq=False, slots=True)
class VesselMask:
    """A mask as labels, with the rule by which the file's values became them.

    Attributes
    ----------
    labels : ndarray of uint8, shape (Y, X)
        0 is background; every other value is a class of `classes`.
    classes : tuple of MaskClass
        The classes, by ascending label.
    rule : str
        How values were mapped, in one sentence, to be shown and recorded.
    """

    labels: NDArray[np.uint8]
    classes: tuple[MaskClass, ...] = field(default=(VESSEL,))
    rule: str = ""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Every vessel pixel of any class, bool, shape (Y, X)."""
        return self.labels > 0
