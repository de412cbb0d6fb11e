"""What can be asked of an export, whatever its layout."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from napari_vessel.export.splits import Split
from napari_vessel.review.records import ImageState

DEFAULT_ID = 100


class Ignore(StrEnum):
    """Which pixels a model should not learn from."""

    NONE = "none"
    """Everything counts."""
    UNSURE = "unsure"
    """Those that the annotator does not know: gaps and fragments with the verdict unsure, the class ``uncertain``."""
    UNREVIEWED = "unreviewed"
    """These, and in unfinished images all that is far from any decision."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export, and how.

    Attributes
    ----------
    states : tuple of ImageState
        Which images; those that never had a mask are left out.
    licence : str
        A note on what others may do with the data.
    ignore : Ignore
        Which pixels a model should not learn from.
    split : Split or None
        Into training, validation and test, or folds; None for all in training.
    dataset_id : int
        Of ``nnunet``: its number, 1 to 999.
    name : str
        Of ``nnunet``: its name, letters, digits, ``-`` and ``_``; by default made from the project's name.
    """

    states: tuple[ImageState, ...] = (ImageState.DONE,)
    licence: str = ""
    ignore: Ignore = Ignore.UNSURE
    split: Split | None = None
    dataset_id: int = DEFAULT_ID
    name: str = ""
