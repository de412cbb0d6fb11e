"""One image as a model learns from it, and the same packed while others are read."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.review.origins import Origin


@dataclass(frozen=True, eq=False, slots=True)
class TrainingSample:
    """One image as a model learns from it. Nothing in it changes afterwards: its arrays are read-only.

    Attributes
    ----------
    image_id : str
        Id of the image in its project.
    name : str
        Its name, for people and for file names.
    content_hash : str
        As :attr:`VesselImage.content_hash`.
    patient : str
        Images with the same key are of one patient: see :func:`napari_vessel.review.guard.patient_of`.
    image : VesselImage
        Pixels and field of view.
    vessels : ndarray of bool, shape (Y, X)
        Where the annotator's mask has a vessel of any class but ``uncertain``.
    origin : ndarray of uint8, shape (Y, X)
        Who decided each pixel, as values of :class:`~napari_vessel.review.origins.Origin`.
    counts : ndarray of bool, shape (Y, X)
        What may be learnt from. Of an image that is done everything inside the field of view but what is unsure;
        before that only what lies within two calibres of a verdict or a stroke.
    done : bool
        Whether the annotator has finished the image.
    guard : bool
        Whether the image is one of those by which a new model is judged: it is never learnt from.
    model : str
        What segmented it; empty for none.
    edits : int
        How many edits of its history were applied.
    """

    image_id: str
    name: str
    content_hash: str
    patient: str
    image: VesselImage
    vessels: NDArray[np.bool_]
    origin: NDArray[np.uint8]
    counts: NDArray[np.bool_]
    done: bool
    guard: bool
    model: str
    edits: int

    def __post_init__(self) -> None:
        """Make the arrays read-only, and refuse those of different shapes."""
        shape = self.image.shape
        for array in (self.vessels, self.origin, self.counts):
            if array.shape != shape:
                raise ValueError(f"an array of shape {array.shape} belongs to no image of shape {shape}")
            array.flags.writeable = False

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal, of all that decides what is learnt: two samples that teach the same have the same."""
        found = hashlib.sha256()
        fov = self.image.fov
        told = (self.content_hash, self.image.modality.value, self.image.shape, fov is not None, self.done, self.guard)
        found.update(repr(told).encode())
        arrays = (self.vessels, self.counts) if fov is None else (self.vessels, self.counts, fov)
        for array in arrays:
            found.update(np.packbits(array).tobytes())
        # Who decided what teaches nothing has no say in what is learnt.
        found.update(np.where(self.counts, self.origin, np.uint8(0)).tobytes())
        return found.hexdigest()

    def pack(self, read: Callable[[], VesselImage] | None = None) -> PackedSample:
        """Return the sample as it is kept while others are read.

        Parameters
        ----------
        read : callable, optional
            Reads the image again; by default it is held.
        """
        held = self.image
        origins, counts = np.unique(self.origin[self.counts], return_counts=True)
        return PackedSample(
            **{name: getattr(self, name) for name in _FACTS},
            modality=held.modality,
            shape=held.shape,
            pixels={Origin(int(one)): int(count) for one, count in zip(origins, counts, strict=True)},
            digest=self.digest,
            packed=tuple(zlib.compress(array.tobytes(), 1) for array in (self.vessels, self.origin, self.counts)),
            read_image=read or (lambda: held),
        )


_FACTS = ("image_id", "name", "content_hash", "patient", "done", "guard", "model", "edits")


@dataclass(frozen=True, eq=False, slots=True)
class PackedSample:
    """A :class:`TrainingSample` that waits: what decides about it is at hand, its arrays are packed, its image unread.

    Of a photograph of 3504 x 2336 px a sample takes 120 MB, and a packed one less than a hundredth of that.

    Attributes
    ----------
    image_id, name, content_hash, patient : str
        As of :class:`TrainingSample`.
    done, guard, model, edits
        The same.
    modality, shape
        Of the image.
    pixels : mapping of Origin to int
        How many pixels that count each origin has.
    digest : str
        As :attr:`TrainingSample.digest`.
    """

    image_id: str
    name: str
    content_hash: str
    patient: str
    done: bool
    guard: bool
    model: str
    edits: int
    modality: Modality
    shape: tuple[int, int]
    pixels: Mapping[Origin, int]
    digest: str
    packed: tuple[bytes, ...] = field(repr=False)
    read_image: Callable[[], VesselImage] = field(repr=False)

    def unpack(self) -> TrainingSample:
        """Return the sample as it was packed, its image read.

        Raises
        ------
        ProjectError
            If the image's file is gone or has changed.
        """
        vessels, origin, counts = (np.frombuffer(zlib.decompress(part), np.uint8) for part in self.packed)
        facts = {name: getattr(self, name) for name in _FACTS}
        return TrainingSample(
            image=self.read_image(),
            vessels=vessels.view(np.bool_).reshape(self.shape),
            origin=origin.reshape(self.shape),
            counts=counts.view(np.bool_).reshape(self.shape),
            **facts,
        )
