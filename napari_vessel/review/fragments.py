"""Fragments: the components of a mask beside the main one, what is known of them, and what was decided about each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.jobs import Job, Progress
from napari_vessel.topology.components import main_component
from napari_vessel.untrusted import finite

Box = tuple[int, int, int, int]


def is_inside(box: Box, shape: tuple[int, int]) -> bool:
    """Whether a box (y0, x0, y1, x1), half open, has a size and is all in an image of a height and width."""
    return 0 <= box[0] < box[2] <= shape[0] and 0 <= box[1] < box[3] <= shape[1]


class FragmentVerdict(StrEnum):
    """What the annotator decided about a fragment."""

    KEPT = "kept"
    DELETED = "deleted"
    UNSURE = "unsure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class FragmentRecord:
    """A verdict on a fragment, who gave it, and when.

    Attributes
    ----------
    verdict : FragmentVerdict
        The decision.
    annotator : str
        Who decided.
    when : str
        UTC time in ISO 8601.
    seconds : float
        Time from the fragment being shown to the key.
    facts : mapping of str to float
        What the gap engine knew of it, where a proposal would have joined it: the verdict teaches by it.
    """

    verdict: FragmentVerdict
    annotator: str
    when: str
    seconds: float
    facts: Mapping[str, float] = field(default_factory=dict, hash=False)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        told = {
            "verdict": self.verdict.value,
            "annotator": self.annotator,
            "when": self.when,
            "seconds": self.seconds,
        }
        return told | ({"facts": dict(self.facts)} if self.facts else {})

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> FragmentRecord | None:
        """Return the record that :meth:`to_json` described, or None for none."""
        if data is None:
            return None
        verdict = FragmentVerdict(data["verdict"])
        facts = {str(name): finite(value) for name, value in data.get("facts", {}).items()}
        return cls(verdict, str(data["annotator"]), str(data["when"]), finite(data["seconds"]), facts)


@dataclass(frozen=True, slots=True)
class Fragment:
    """One component beside the main one.

    Attributes
    ----------
    point : tuple of int
        (y, x) of its first pixel, row by row from the top.
    area_px : int
        Number of pixels.
    box : tuple of int
        (y0, x0, y1, x1), half open.
    length_px : int
        Pixels of its centreline.
    distance_px : float
        From its nearest pixel to the main component.
    """

    point: tuple[int, int]
    area_px: int
    box: Box
    length_px: int
    distance_px: float

    @property
    def id(self) -> str:
        """Name that stays while the fragment is as it is: one that grew or lost a pixel is another, not yet decided."""
        return f"f{self.point[0]}_{self.point[1]}_{self.area_px}"

    def lies_in(self, shape: tuple[int, int]) -> bool:
        """Whether it can be in an image of a height and width."""
        return is_inside(self.box, shape)

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of its box, (y, x) in pixels."""
        y0, x0, y1, x1 = self.box
        return ((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2)

    def to_json(self) -> dict[str, Any]:
        """Return the fragment as plain JSON values."""
        return {
            "point": list(self.point),
            "area_px": self.area_px,
            "box": list(self.box),
            "length_px": self.length_px,
            "distance_px": round(self.distance_px, 1),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fragment:
        """Return the fragment that :meth:`to_json` described.

        Raises
        ------
        KeyError, ValueError, TypeError
            If `data` is not such a description, or of what no mask has.
        """
        y, x = map(int, data["point"])
        y0, x0, y1, x1 = map(int, data["box"])
        fragment = cls(
            (y, x), int(data["area_px"]), (y0, x0, y1, x1), int(data["length_px"]), finite(data["distance_px"])
        )
        there = 0 <= y0 <= y < y1 and 0 <= x0 <= x < x1 and 0 < fragment.area_px <= (y1 - y0) * (x1 - x0)
        if not there or min(fragment.length_px, fragment.distance_px) < 0:
            raise ValueError("a fragment that no mask has")
        return fragment


@dataclass(frozen=True, slots=True)
class FragmentChange:
    """The verdict on a fragment before and after an edit; None means open."""

    fragment: Fragment
    before: FragmentRecord | None
    after: FragmentRecord | None

    @property
    def leaves_deleted(self) -> bool:
        """Whether the fragment is deleted after it."""
        return self.after is not None and self.after.verdict is FragmentVerdict.DELETED

    @property
    def deletes(self) -> bool:
        """Whether it deletes the fragment; one that was deleted before is said to be once more, and erased no more."""
        gone = self.before is not None and self.before.verdict is FragmentVerdict.DELETED
        return self.leaves_deleted and not gone

    def inverse(self) -> FragmentChange:
        """Return the change that takes this one back."""
        return FragmentChange(self.fragment, self.after, self.before)

    def to_json(self) -> dict[str, Any]:
        """Return the change as plain JSON values."""
        before, after = (None if record is None else record.to_json() for record in (self.before, self.after))
        return {"fragment": self.fragment.to_json(), "before": before, "after": after}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> FragmentChange:
        """Return the change that :meth:`to_json` described."""
        return cls(
            Fragment.from_json(data["fragment"]),
            FragmentRecord.from_json(data["before"]),
            FragmentRecord.from_json(data["after"]),
        )


def find_fragments(
    components: NDArray[np.int32], known: Mapping[str, Fragment] | None = None
) -> Job[tuple[Fragment, ...]]:
    """Describe the fragments of a mask, those that look least like a vessel first. Slow on a large image; on a worker.

    The order is by length over distance from the main component: short and far away are specks, long and near are
    vessels that a gap parts from the tree.

    Parameters
    ----------
    components : ndarray of int32, shape (Y, X)
        8-connected components; 0 is background.
    known : mapping of str to Fragment
        Fragments by their ids, as an earlier search found them: their length need not be measured again.
    """
    yield Progress(0, None, "")
    import cv2
    from scipy.ndimage import find_objects

    from napari_vessel.topology.skeleton import centreline

    main = main_component(components)
    boxes = find_objects(components)
    if sum(box is not None for box in boxes) < 2:
        return ()
    away = cv2.distanceTransform((components != main).view(np.uint8), cv2.DIST_L2, 5)
    found = []
    for label, window in enumerate(boxes, start=1):
        if label == main or window is None:
            continue
        inside = components[window] == label
        rows, columns = window
        fragment = Fragment(
            point=(int(rows.start), int(columns.start + inside[0].argmax())),
            area_px=int(np.count_nonzero(inside)),
            box=(int(rows.start), int(columns.start), int(rows.stop), int(columns.stop)),
            length_px=0,
            distance_px=float(away[window][inside].min()),
        )
        before = (known or {}).get(fragment.id)
        length = int(np.count_nonzero(centreline(inside))) if before is None else before.length_px
        found.append(replace(fragment, length_px=max(length, 1)))
        if len(found) % 50 == 0:
            yield Progress(label, len(boxes), "")
    return ranked(found)


def ranked(fragments: Iterable[Fragment]) -> tuple[Fragment, ...]:
    """Return fragments in the order of :func:`find_fragments`."""
    return tuple(sorted(fragments, key=lambda f: (f.length_px / (1.0 + f.distance_px), f.point)))


def is_there(fragment: Fragment, components: NDArray[np.int32], main: int) -> bool:
    """Return whether a fragment is still a component of its own, pixel for pixel of the size and place it had.

    Parameters
    ----------
    fragment : Fragment
        As it was found.
    components : ndarray of int32, shape (Y, X)
        Components now.
    main : int
        Label of the main one.
    """
    y0, x0, y1, x1 = fragment.box
    label = int(components[fragment.point])
    if label in (0, main) or np.count_nonzero(components[y0:y1, x0:x1] == label) != fragment.area_px:
        return False
    # Nothing of it may lie just outside its box.
    top, left = max(y0 - 1, 0), max(x0 - 1, 0)
    return int(np.count_nonzero(components[top : y1 + 1, left : x1 + 1] == label)) == fragment.area_px


def standing(
    decided: Iterable[tuple[Fragment, FragmentRecord]], components: NDArray[np.int32]
) -> list[tuple[Fragment, FragmentRecord]]:
    """Return the verdicts that hold for a mask: on what was deleted, and on what is there as it was looked at.

    Parameters
    ----------
    decided : iterable of (Fragment, FragmentRecord)
        The verdicts of an image.
    components : ndarray of int32, shape (Y, X)
        8-connected components of its mask; 0 is background.
    """
    main = main_component(components)
    return [
        (fragment, record)
        for fragment, record in decided
        if record.verdict is FragmentVerdict.DELETED or is_there(fragment, components, main)
    ]
