"""One version of a project's model, as the database has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from napari_vessel.errors import ProjectError
from napari_vessel.images.image import Modality
from napari_vessel.review.backup import remedy
from napari_vessel.review.records import inside
from napari_vessel.untrusted import MALFORMED, shortened


class VersionState(StrEnum):
    """What became of a version."""

    BASE = "base"
    """It did not come from this project: a version began with it."""
    CANDIDATE = "candidate"
    PROMOTED = "promoted"
    REFUSED = "refused"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, eq=False, slots=True)
class Version:
    """One version of a model.

    Attributes
    ----------
    number : int
        From 1, in the order in which they were made.
    name : str
        Of the model, wherever one is chosen.
    parent : int or None
        Number of the version it was trained on from; None for one that a version began with.
    folder : Path or None
        Where it lies in the project; None for one that did not come from it.
    sha256 : str
        Of the weights; empty without a folder.
    modalities : tuple of Modality
        What it is meant for.
    made : str
        When it was added, UTC, ISO 8601.
    state : VersionState
        What became of it.
    sentence : str
        The gate's verdict.
    notes : str
        The annotator's.
    decided_by : str
        Who promoted it last, rolled it back or declined it: an annotator, or ``gate``.
    before : int or None
        Number of the version that was current until this one was promoted.
    current : bool
        Whether it is the project's model for one of its modalities.
    images : frozenset of str
        Content hashes of the images that it was made from and judged by.
    figures : mapping
        Old against new, as the gate saw them.
    record : mapping
        All that is needed to make it again.
    """

    number: int
    name: str
    parent: int | None
    folder: Path | None
    sha256: str
    modalities: tuple[Modality, ...]
    made: str
    state: VersionState
    sentence: str
    notes: str
    decided_by: str
    before: int | None
    current: bool
    images: frozenset[str] = frozenset()
    figures: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    def learnt(self, content_hash: str) -> tuple[bool, int] | None:
        """Return whether an image was done, and after how many edits, when it was learnt from; None if not recorded."""
        try:
            entries = self.record["record"]["images"]
            return next(
                (bool(one["done"]), int(one["edits"])) for one in entries if one["content_hash"] == content_hash
            )
        except (KeyError, TypeError, ValueError, StopIteration):
            return None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "number": self.number,
            "name": self.name,
            "state": self.state.value,
            "current": self.current,
            "parent": self.parent,
            "before": self.before,
            "modalities": [modality.value for modality in self.modalities],
            "made": self.made,
            "sentence": self.sentence,
            "notes": self.notes,
            "decided_by": self.decided_by,
            "folder": None if self.folder is None else str(self.folder),
            "sha256": self.sha256,
            "images": sorted(self.images),
            "figures": dict(self.figures),
            "record": dict(self.record),
        }


VERSION_COLUMNS = (
    "number, name, parent, folder, sha256, modalities, made, state, sentence, notes, decided_by, before, images, "
    "figures, record"
)


def version_from_row(row: tuple[Any, ...], current: bool, folder: Path) -> Version:
    """Return the version of a row of :data:`VERSION_COLUMNS`.

    Raises
    ------
    ProjectError
        If the row cannot be understood, or its folder lies outside the project.
    """
    try:
        return Version(
            number=int(row[0]),
            name=str(row[1]),
            parent=row[2],
            folder=inside(folder, row[3]) if row[3] else None,
            sha256=str(row[4]),
            modalities=tuple(Modality(value) for value in json.loads(row[5])),
            made=str(row[6]),
            state=VersionState(row[7]),
            sentence=str(row[8]),
            notes=str(row[9]),
            decided_by=str(row[10]),
            before=row[11],
            current=current,
            images=frozenset(json.loads(row[12])),
            figures=dict(json.loads(row[13])),
            record=dict(json.loads(row[14])),
        )
    except MALFORMED as error:
        raise ProjectError(
            f"The project {folder} has a damaged version ({shortened(error)}); {remedy(folder)}."
        ) from error
