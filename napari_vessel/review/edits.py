"""Edits: every change of a mask or a verdict, whoever made it, with its inverse."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap
from napari_vessel.errors import VesselError
from napari_vessel.review.fragments import FragmentChange, FragmentRecord
from napari_vessel.untrusted import finite

UNSEEN = "unseen"
"""Group of a mask that was made while its image was not open: the undo of the project passes it over."""

_Record = TypeVar("_Record", "VerdictRecord", FragmentRecord)


class Verdict(StrEnum):
    """What the annotator decided about a gap."""

    ACCEPTED = "accepted"
    REPAINTED = "repainted"
    REJECTED = "rejected"
    UNSURE = "unsure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """A verdict with who gave it, when, and what was on the screen.

    Attributes
    ----------
    verdict : Verdict
        The decision.
    annotator : str
        Who decided.
    when : str
        UTC time in ISO 8601.
    seconds : float
        Time from the gap being shown to the key.
    score : float
        The score shown.
    """

    verdict: Verdict
    annotator: str
    when: str
    seconds: float
    score: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "verdict": self.verdict.value,
            "annotator": self.annotator,
            "when": self.when,
            "seconds": self.seconds,
            "score": self.score,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> Self | None:
        """Return what was stored; None for an open gap. Raises ValueError, KeyError or TypeError when it is damaged."""
        if data is None:
            return None
        return cls(
            verdict=Verdict(data["verdict"]),
            annotator=str(data["annotator"]),
            when=str(data["when"]),
            seconds=finite(data["seconds"]),
            score=finite(data["score"]),
        )


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A gap's verdict before and after an edit; None means open."""

    gap: Gap
    before: VerdictRecord | None
    after: VerdictRecord | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        before, after = (None if record is None else record.to_json() for record in (self.before, self.after))
        return {"gap": self.gap.to_json(), "before": before, "after": after}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return what was stored. Raises ValueError, KeyError or TypeError when it is damaged."""
        return cls(
            Gap.from_json(data["gap"]), VerdictRecord.from_json(data["before"]), VerdictRecord.from_json(data["after"])
        )


@dataclass(frozen=True, slots=True)
class MaskEdit:
    """A changed rectangle of a label image.

    Attributes
    ----------
    box : tuple of int
        (y0, x0, y1, x1), half open, in pixels.
    before, after : bytes
        zlib-compressed C-order uint8 labels of the rectangle.
    """

    box: tuple[int, int, int, int]
    before: bytes
    after: bytes

    @classmethod
    def between(
        cls,
        before: NDArray[np.uint8],
        after: NDArray[np.uint8],
        origin: tuple[int, int] = (0, 0),
    ) -> MaskEdit | None:
        """Describe the difference of two label arrays of one shape.

        Parameters
        ----------
        before, after : ndarray of uint8, shape (Y, X)
            Labels before and after.
        origin : tuple of int
            (y, x) of the arrays' first pixel in the whole image.

        Returns
        -------
        MaskEdit or None
            None when nothing differs.
        """
        import cv2

        # cv2 finds the rectangle ten times faster than numpy: that counts when a whole image changes.
        changed = np.ascontiguousarray(before != after)
        x0, y0, width, height = (int(v) for v in cv2.boundingRect(changed.view(np.uint8)))
        if width == 0 or height == 0:
            return None
        y1, x1 = y0 + height, x0 + width
        box = (y0 + origin[0], x0 + origin[1], y1 + origin[0], x1 + origin[1])
        return cls(box, packed(before[y0:y1, x0:x1]), packed(after[y0:y1, x0:x1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the rectangle."""
        return (self.box[2] - self.box[0], self.box[3] - self.box[1])

    def labels_before(self) -> NDArray[np.uint8]:
        """Labels of the rectangle before the edit, uint8, shape (Y, X)."""
        return unpacked(self.before, self.shape)

    def labels_after(self) -> NDArray[np.uint8]:
        """Labels of the rectangle after the edit, uint8, shape (Y, X)."""
        return unpacked(self.after, self.shape)

    def inverse(self) -> MaskEdit:
        """Return the edit that takes this one back."""
        return MaskEdit(self.box, self.after, self.before)


class EditKind(StrEnum):
    """What the annotator did."""

    SEGMENT = "segment"
    STROKE = "stroke"
    DELETE = "delete"
    VERDICT = "verdict"
    BULK = "bulk"
    FRAGMENT = "fragment"


@dataclass(frozen=True, slots=True)
class Edit:
    """One entry of the history: any number of mask changes and verdicts that belong together.

    Attributes
    ----------
    kind : EditKind
        What the annotator did.
    text : str
        For the undo label: "accepted gap 1", "brush stroke".
    masks : tuple of MaskEdit
        Changes of the label image, in order.
    verdicts : tuple of VerdictChange
        Changes of verdicts.
    fragments : tuple of FragmentChange
        Changes of verdicts on fragments. Of several in one edit each that deletes has a mask change, in the same order.
    group : str
        Edits in a row with one non-empty group whose last is a verdict are undone and redone together: a repaint's
        strokes are one step once its verdict is given, and a step each until then. A new mask may have :data:`UNSEEN`.
    """

    kind: EditKind
    text: str
    masks: tuple[MaskEdit, ...] = ()
    verdicts: tuple[VerdictChange, ...] = field(default=())
    group: str = ""
    fragments: tuple[FragmentChange, ...] = ()

    def inverse(self) -> Edit:
        """Return the edit that takes this one back."""
        return replace(
            self,
            masks=tuple(m.inverse() for m in reversed(self.masks)),
            verdicts=tuple(VerdictChange(v.gap, v.after, v.before) for v in reversed(self.verdicts)),
            fragments=tuple(change.inverse() for change in reversed(self.fragments)),
        )


def packed(labels: NDArray[np.uint8]) -> bytes:
    """Return labels as zlib-compressed C-order bytes."""
    return zlib.compress(np.ascontiguousarray(labels).tobytes(), 1)


def unpacked(data: bytes, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the labels that were packed, uint8, read-only.

    Raises
    ------
    ValueError, zlib.error
        If the bytes are damaged or of another shape.
    """
    if not isinstance(data, bytes) or min(shape) < 0:
        raise ValueError("no packed labels")
    # No more than there should be is unpacked: a few bytes may stand for gigabytes.
    whole = zlib.decompressobj().decompress(data, shape[0] * shape[1] + 1)
    return np.frombuffer(whole, np.uint8).reshape(shape)


def merged(
    verdicts: Mapping[str, _Record], changes: Iterable[tuple[str, _Record | None, _Record | None]], noun: str
) -> dict[str, _Record]:
    """Return verdicts, by what they are on, after some changes, in order.

    Parameters
    ----------
    verdicts : mapping of str to VerdictRecord or FragmentRecord
        Those there are.
    changes : iterable of (str, record or None, record or None)
        What each is on, and the verdict before and after; None means open.
    noun : str
        What they are on, for the error.

    Raises
    ------
    VesselError
        If a change starts from another verdict than there is.
    """
    found = dict(verdicts)
    for name, before, after in changes:
        if found.get(name) != before:
            raise VesselError(f"The {noun}'s verdict has changed since the edit was made; decide again.")
        if after is None:
            found.pop(name, None)
        else:
            found[name] = after
    return found
