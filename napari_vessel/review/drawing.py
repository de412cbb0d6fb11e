"""What a verdict does to the mask: drawing a gap, taking a drawing back, and what a bulk accept makes redundant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.images.image import MaskClass
from napari_vessel.review.edits import Edit, EditKind, MaskEdit, Verdict

Box = tuple[int, int, int, int]
Scalar = TypeVar("Scalar", np.uint8, np.int32)


def union_box(boxes: Sequence[Box]) -> Box | None:
    """Return the smallest box around `boxes`, or None when there are none."""
    if not boxes:
        return None
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )


def drawing(labels: NDArray[np.uint8], gap: Gap, classes: Sequence[MaskClass]) -> MaskEdit | None:
    """Describe the drawing of a gap on a mask; pixels that already are vessel keep their class.

    Parameters
    ----------
    labels : ndarray of uint8, shape (Y, X)
        The mask now.
    gap : Gap
        What to draw; a cut is erased instead.
    classes : sequence of MaskClass
        The first one is used where the ends say nothing.

    Returns
    -------
    MaskEdit or None
        None when there is nothing to change.
    """
    from napari_vessel.completion.drawing import completion_class, cut_gap, draw_gap

    draw = cut_gap if gap.kind is GapKind.CUT else draw_gap
    (y, x), patch = draw(gap, (int(labels.shape[0]), int(labels.shape[1])))
    before = labels[y : y + patch.shape[0], x : x + patch.shape[1]]
    after = before.copy()
    if gap.kind is GapKind.CUT:
        after[patch] = 0
    else:
        drawn = completion_class(gap, labels)
        known = any(c.label == drawn for c in classes)
        after[patch & (before == 0)] = drawn if known else classes[0].label
    return MaskEdit.between(before, after, (int(y), int(x)))


def taking_back(labels: NDArray[np.uint8], gap_id: str, applied: Iterable[Edit]) -> MaskEdit | None:
    """Describe how an accepted gap's drawing, or a fragment's deletion, is taken back.

    Only its own pixels change, and of these only those that nothing has touched since.

    Parameters
    ----------
    labels : ndarray of uint8, shape (Y, X)
        The mask now.
    gap_id : str
        The gap or fragment.
    applied : iterable of Edit
        The history up to now, newest first; read as far back as the drawing goes.

    Returns
    -------
    MaskEdit or None
        None when nothing of the drawing is left.
    """
    parts: list[tuple[Box, NDArray[np.bool_], NDArray[np.uint8]]] = []
    for edit in _since_drawn(gap_id, applied):
        drawn = _drawn_by(edit, gap_id)
        # What others draw over is theirs from then on; a new segmentation replaces every drawing.
        if edit.kind is EditKind.SEGMENT:
            parts = []
        else:
            for mask in edit.masks:
                if mask not in drawn:
                    _disown(parts, mask)
        for change in edit.verdicts:
            if change.gap.id == gap_id and (change.after is None or change.after.verdict is not Verdict.ACCEPTED):
                parts = []
        for deleted in edit.fragments:
            if deleted.fragment.id == gap_id and not deleted.leaves_deleted:
                parts = []
        for mask in drawn:
            before = mask.labels_before()
            parts.append((mask.box, before != mask.labels_after(), before))
    box = union_box([part[0] for part in parts])
    if box is None:
        return None
    now = labels[box[0] : box[2], box[1] : box[3]]
    after = now.copy()
    for (y0, x0, y1, x1), owned, before in parts:
        after[y0 - box[0] : y1 - box[0], x0 - box[1] : x1 - box[1]][owned] = before[owned]
    return MaskEdit.between(now, after, (box[0], box[1]))


def _since_drawn(gap_id: str, applied: Iterable[Edit]) -> list[Edit]:
    """Return the edits, oldest first, from the one on that accepted the gap or deleted the fragment."""
    found: list[Edit] = []
    for edit in applied:
        found.append(edit)
        begins = any(
            change.gap.id == gap_id and (change.before is None or change.before.verdict is not Verdict.ACCEPTED)
            for change in edit.verdicts
        )
        begins = begins or any(c.fragment.id == gap_id and c.deletes for c in edit.fragments)
        if begins or edit.kind is EditKind.SEGMENT:
            break
    return found[::-1]


def _drawn_by(edit: Edit, gap_id: str) -> tuple[MaskEdit, ...]:
    """Mask changes by which an edit drew a gap or deleted a fragment; of many at once each has one, in their order."""
    for n, change in enumerate(edit.verdicts):
        if change.gap.id == gap_id and change.after is not None and change.after.verdict is Verdict.ACCEPTED:
            return (edit.masks[n],) if edit.kind is EditKind.BULK else edit.masks
    for n, deleted in enumerate(edit.fragments):
        if deleted.fragment.id == gap_id and deleted.deletes:
            return (edit.masks[n],) if len(edit.fragments) > 1 else edit.masks
    return ()


def _disown(parts: Sequence[tuple[Box, NDArray[np.bool_], NDArray[np.uint8]]], mask: MaskEdit) -> None:
    changed: NDArray[np.bool_] | None = None
    for (y0, x0, y1, x1), owned, _ in parts:
        top, left = max(y0, mask.box[0]), max(x0, mask.box[1])
        bottom, right = min(y1, mask.box[2]), min(x1, mask.box[3])
        if top >= bottom or left >= right:
            continue
        if changed is None:
            changed = mask.labels_before() != mask.labels_after()
        touched = changed[top - mask.box[0] : bottom - mask.box[0], left - mask.box[1] : right - mask.box[1]]
        owned[top - y0 : bottom - y0, left - x0 : right - x0] &= ~touched


def stands(labels: NDArray[np.uint8], gap: Gap) -> bool:
    """Return whether a mask shows what accepting did: the whole centreline of a gap is vessel, that of a cut is not."""
    points = np.rint(gap.path).astype(np.intp)
    y = points[:, 0].clip(0, labels.shape[0] - 1)
    x = points[:, 1].clip(0, labels.shape[1] - 1)
    return bool((labels[y, x] > 0).all()) is (gap.kind is not GapKind.CUT)


def begins_at(gap: Gap, cut: Gap) -> bool:
    """Return whether an end of a gap lies where a cut has erased a connection, or on a stump that it left."""
    reach = max(float(cut.widths.max(initial=0.0)) / 2.0, 1.0) + 1.0
    return any(bool((np.hypot(*(cut.path - np.asarray(end.point)).T) <= reach).any()) for end in gap.ends)


class Joiner:
    """Follows which components a series of drawings has joined, without labelling the image again.

    Parameters
    ----------
    components : ndarray of int32, shape (Y, X)
        Components of the mask before the first drawing; 0 is background.
    """

    def __init__(self, components: NDArray[np.int32]) -> None:
        self._components = components
        self._parents: dict[int, int] = {}

    def is_joined(self, gap: Gap) -> bool:
        """Return whether all ends of a gap lie on one component by now."""
        roots = {self._root(end) for end in self._ends(gap)}
        return len(gap.ends) > 1 and len(roots) == 1 and 0 not in roots

    def is_stale(self, gap: Gap) -> bool:
        """Return whether the vessel at an end of the gap is gone."""
        return 0 in self._ends(gap)

    def draw(self, mask: MaskEdit) -> None:
        """Take note of a drawing: whatever it touches (8 neighbours) is one component from now on."""
        import cv2

        y0, x0, y1, x1 = mask.box
        top, left = max(y0 - 1, 0), max(x0 - 1, 0)
        window = self._components[top : y1 + 1, left : x1 + 1]
        added = np.zeros(window.shape, np.uint8)
        added[y0 - top : y1 - top, x0 - left : x1 - left] = mask.labels_after() > 0
        touched = np.unique(window[cv2.dilate(added, np.ones((3, 3), np.uint8)) > 0])
        roots = {self._root(int(label)) for label in touched if label}
        for root in roots:
            self._parents[root] = min(roots)

    def _ends(self, gap: Gap) -> list[int]:
        found = []
        for end in gap.ends:
            near = _around(self._components, end.point, max(end.radius, 1.0) + 1)
            near = near[near > 0]
            y, x = (round(v) for v in end.point)
            inside = 0 <= y < self._components.shape[0] and 0 <= x < self._components.shape[1]
            exact = int(self._components[y, x]) if inside else 0
            found.append(exact or (int(np.bincount(near).argmax()) if near.size else 0))
        return found

    def _root(self, label: int) -> int:
        while self._parents.get(label, label) != label:
            label = self._parents[label]
        return label


def _around(array: NDArray[Scalar], point: tuple[float, float], radius: float) -> NDArray[Scalar]:
    reach = max(1, int(np.ceil(radius)))
    y, x = round(point[0]), round(point[1])
    return array[max(y - reach, 0) : max(y + reach + 1, 0), max(x - reach, 0) : max(x + reach + 1, 0)]
