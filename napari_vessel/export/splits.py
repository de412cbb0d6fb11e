"""Which images of a data set are trained on, and which are kept for validation and test: by patient, from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from napari_vessel.errors import InputError
from napari_vessel.review.guard import Side, given_name, patient_of
from napari_vessel.review.records import ImageRecord

T = TypeVar("T")

MAX_FOLDS = 20


class Part(StrEnum):
    """What an image is for."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Split:
    """How images are to be split.

    Attributes
    ----------
    shares : tuple of 3 floats
        Of the images, for training, validation and test; their sum is 1.
    folds : int
        Parts of a cross-validation; 0 for none. With folds every share but that of training is 0.
    seed : int
        The same images and seed give the same split.
    """

    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    folds: int = 0
    seed: int = 0

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Split:
        """Return the split that ``0.7,0.15,0.15`` (shares) or ``5`` (folds) means.

        Raises
        ------
        InputError
            If it means none.
        """
        wrong = InputError(
            f"{text!r} is no split; give the shares of training, validation and test, such as 0.7,0.15,0.15, or a "
            f"number of folds from 2 to {MAX_FOLDS}."
        )
        try:
            if text.strip().isdecimal():
                folds = int(text)
                if not 2 <= folds <= MAX_FOLDS:
                    raise wrong
                return cls((1.0, 0.0, 0.0), folds, seed)
            shares = [float(word) for word in text.split(",")]
        except ValueError as error:
            raise wrong from error
        shares += [0.0] * (3 - len(shares))
        total = sum(shares)
        if len(shares) != 3 or not all(0 <= share <= 1 for share in shares) or not shares[0] or abs(total - 1) > 0.011:
            raise wrong
        return cls((shares[0] / total, shares[1] / total, shares[2] / total), 0, seed)

    @property
    def keeps_guards(self) -> Part:
        """Where the images go by which the project judges its own models, so that nothing is trained on them."""
        return Part.VALIDATION if self.shares[1] and not self.shares[2] else Part.TEST


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image is in a split."""

    patient: str
    part: Part = Part.TRAINING
    fold: int | None = None


def place_images(
    records: Sequence[ImageRecord], split: Split | None, sides: Mapping[str, Side] | None = None
) -> dict[str, Place]:
    """Split images so that no patient is on two sides.

    The patients of a modality are gone through in an order that the seed decides; each goes where most images are
    missing, and what rounding leaves over is carried on to the next modality. So each modality is split like the whole.

    Parameters
    ----------
    records : sequence of ImageRecord
        The images; their order has no say.
    split : Split or None
        None for all of them in training.
    sides : mapping of str to Side, optional
        The project's guards by content hash, as it has drawn them. None of their patients is trained on.

    Returns
    -------
    dict of str to Place
        By the images' ids.
    """
    known = sides or {}
    patients: dict[str, list[ImageRecord]] = {}
    guarded: set[str] = set()
    for record in records:
        side = known.get(record.content_hash)
        name = given_name(record)
        known_as = side.patient if side and name == record.name else patient_of(name, record.plane)
        # A name that is nothing but marks is no patient's.
        patient = known_as or record.name.casefold()
        patients.setdefault(patient, []).append(record)
        if side is not None and side.guard:
            guarded.add(patient)
    if split is None:
        return {record.id: Place(patient) for patient, images in patients.items() for record in images}
    placed = dict.fromkeys(guarded, split.keeps_guards)
    strata: dict[str, list[str]] = {}
    for patient, images in patients.items():
        strata.setdefault("+".join(sorted({record.modality.value for record in images})), []).append(patient)
    order = [sorted(strata[stratum], key=lambda one: _luck(one, split.seed)) for stratum in sorted(strata)]
    sizes = {patient: len(images) for patient, images in patients.items()}
    if split.folds:
        shares = dict.fromkeys(range(split.folds), 1 / split.folds)
        folds = _dealt([[one for one in group if one not in guarded] for group in order], sizes, shares, {})
    else:
        folds = {}
        wanted = {part: share for part, share in zip(Part, split.shares, strict=True) if share}
        if guarded:
            # Where the guards are is a part too, even when nobody asked for it.
            wanted.setdefault(split.keeps_guards, 0.0)
        placed = _dealt(order, sizes, wanted, placed)
    return {
        record.id: Place(patient, placed.get(patient, Part.TRAINING), folds.get(patient))
        for patient, images in patients.items()
        for record in images
    }


def _dealt(
    order: Sequence[Sequence[str]], sizes: Mapping[str, int], shares: Mapping[T, float], placed: Mapping[str, T]
) -> dict[str, T]:
    """Deal patients out by shares, given where some are already; every share gets one as long as there are enough."""
    dealt = dict(placed)
    missing = dict.fromkeys(shares, 0.0)
    for group in order:
        total = sum(sizes[patient] for patient in group)
        for place, share in shares.items():
            missing[place] += share * total
        for patient in group:
            if patient in placed:
                missing[placed[patient]] -= sizes[patient]
        for patient in group:
            if patient not in placed:
                place = max(missing, key=lambda one: missing[one])
                dealt[patient] = place
                missing[place] -= sizes[patient]
    everybody = [patient for group in order for patient in group if patient not in placed]
    for place, share in shares.items():
        if not share or place in dealt.values():
            continue
        counts = {other: [patient for patient in everybody if dealt[patient] == other] for other in shares}
        richest = max(counts, key=lambda other: len(counts[other]))
        if len(counts[richest]) > 1:
            dealt[counts[richest][-1]] = place
    return dealt


def _luck(patient: str, seed: int) -> str:
    # A hash, so that an image that is added later leaves the order of the others as it was.
    return hashlib.sha256(f"{seed} {patient}".encode()).hexdigest()


def describe(split: Split | None) -> dict[str, object] | None:
    """Return what the manifest says about a split."""
    if split is None:
        return None
    shares = {part.value: round(share, 6) for part, share in zip(Part, split.shares, strict=True)}
    how = {"folds": split.folds} if split.folds else {"shares": shares}
    return {**how, "seed": split.seed, "by": "patient", "stratified_by": "modality"}


def problems_of(places: Mapping[str, Place], split: Split | None) -> list[str]:
    """Return one sentence for each thing to know about a split."""
    if split is None:
        return []
    notes = []
    if split.folds:
        empty = sorted({*range(split.folds)} - {place.fold for place in places.values()})
        if empty:
            notes.append(f"Fold {empty[0]} has no image: there are fewer patients than folds; ask for fewer.")
    else:
        found = {place.part for place in places.values()}
        for part, share in zip(Part, split.shares, strict=True):
            if share and part not in found:
                notes.append(f"No image is for {part.value}: there are too few patients for this split.")
    return notes


def counts_of(places: Mapping[str, Place]) -> dict[str, int]:
    """Return how many images each part has, those without any left out."""
    found = {part.value: sum(place.part is part for place in places.values()) for part in Part}
    return {part: count for part, count in found.items() if count}
