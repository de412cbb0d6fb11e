"""What annotators do to a whole mask, worked out as edits; nothing is changed here."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.errors import VesselError
from napari_vessel.images.image import MaskClass
from napari_vessel.review.drawing import Box, Joiner, drawing, stands, union_box
from napari_vessel.review.edits import Edit, EditKind, MaskEdit, Verdict, VerdictChange, VerdictRecord
from napari_vessel.review.fragments import Fragment, FragmentChange, FragmentRecord, FragmentVerdict, is_there
from napari_vessel.review.journal import now
from napari_vessel.topology.components import main_component
from napari_vessel.untrusted import MALFORMED


def stage(
    labels: NDArray[np.uint8], masks: Sequence[MaskEdit], classes: Sequence[MaskClass]
) -> tuple[Box | None, NDArray[np.uint8]]:
    """Work out what mask changes lead to, in order, and refuse them when they do not fit.

    Parameters
    ----------
    labels : ndarray of uint8, shape (Y, X)
        The mask now.
    masks : sequence of MaskEdit
        The changes; each builds on those before it.
    classes : sequence of MaskClass
        Labels that may be painted.

    Returns
    -------
    box : tuple of int or None
        Around everything touched; None when there are no changes.
    patch : ndarray of uint8
        The labels inside the box afterwards.

    Raises
    ------
    VesselError
        If a change starts from other labels than there are, reaches outside, or brings an unknown label.
    """
    box = union_box([mask.box for mask in masks])
    if box is None:
        return None, np.empty((0, 0), np.uint8)
    if box[0] < 0 or box[1] < 0 or box[2] > labels.shape[0] or box[3] > labels.shape[1]:
        raise VesselError("The edit reaches outside the image, so it was not applied.")
    known = np.zeros(256, bool)
    known[[0, *(c.label for c in classes)]] = True
    patch = labels[box[0] : box[2], box[1] : box[3]].copy()
    for mask in masks:
        y, x = mask.box[0] - box[0], mask.box[1] - box[1]
        window = patch[y : y + mask.shape[0], x : x + mask.shape[1]]
        try:
            before, after = mask.labels_before(), mask.labels_after()
        except (*MALFORMED, zlib.error) as error:
            raise VesselError("The edit is damaged, so it was not applied.") from error
        if not np.array_equal(window, before):
            raise VesselError("The mask has changed since the edit was made, so it was not applied; do it again.")
        # A look at the largest label is enough, and much faster, when none is missing below it.
        if not known[: int(after.max(initial=0)) + 1].all() and not known[after].all():
            names = ", ".join(f"{c.label} ({c.name})" for c in classes)
            raise VesselError(f"Label {int(after[~known[after]][0])} is no class of this mask; paint with {names}.")
        window[...] = after
    return box, patch


def deletion(labels: NDArray[np.uint8], components: NDArray[np.int32], y: int, x: int) -> MaskEdit | None:
    """Describe the deletion of the component, of any class, under a pixel; None when there is none."""
    if not (0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]) or labels[y, x] == 0:
        return None
    import cv2

    number = int(components[y, x])
    inside = cv2.inRange(components, np.array(number), np.array(number))
    left, top, width, height = cv2.boundingRect(inside)
    window = np.s_[top : top + height, left : left + width]
    before = labels[window]
    after = np.where(inside[window] > 0, np.uint8(0), before)
    return MaskEdit.between(before, after, (int(top), int(left)))


def classified(
    vessels: NDArray[np.bool_], labels: NDArray[np.uint8], classes: Sequence[MaskClass]
) -> NDArray[np.uint8]:
    """Give the vessels of a mask that knows no classes those of the mask before.

    A pixel keeps the class it had; a new one gets the class of the nearest pixel that had one, and the first class
    when there was none.

    Parameters
    ----------
    vessels : ndarray of bool, shape (Y, X)
        The new mask.
    labels : ndarray of uint8, shape (Y, X)
        The mask before.
    classes : sequence of MaskClass
        Of the mask.
    """
    vessel = vessels.view(np.uint8)
    if len(classes) == 1 or not labels.any():
        return vessel * np.uint8(classes[0].label)
    import cv2

    # A copy, because a stroke may come in while a worker is in here.
    labels = labels.copy()
    background = (labels == 0).view(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(background, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    # The transform numbers the pixels of the mask before; this says which class each number has.
    table = np.zeros(int(nearest.max()) + 1, np.uint8)
    there = background == 0
    table[nearest[there]] = labels[there]
    return np.asarray(table[nearest] * vessel, np.uint8)


def segmentation(
    labels: NDArray[np.uint8],
    new: NDArray[np.generic],
    classes: Sequence[MaskClass],
    decided: Iterable[tuple[Gap, VerdictRecord]],
    text: str,
    reopened: Callable[[NDArray[np.uint8]], tuple[FragmentChange, ...]],
) -> Edit | None:
    """Build the edit that replaces a whole mask; None when nothing differs.

    Parameters
    ----------
    labels : ndarray of uint8, shape (Y, X)
        The mask now.
    new : ndarray of bool or uint8, shape (Y, X)
        The mask to be; booleans get their classes by :func:`classified`.
    classes : sequence of MaskClass
        Of the mask.
    decided : iterable of (Gap, VerdictRecord)
        Accepted and repainted ones that the new mask leaves broken (a cut: joined) are opened again by the same edit.
    text : str
        For the undo label.
    reopened : callable
        Given the new mask, returns the verdicts on fragments that it makes void.

    Raises
    ------
    VesselError
        If the shapes differ.
    """
    if new.shape != labels.shape:
        raise VesselError(f"The mask has shape {new.shape} and the image {labels.shape}; segment this image again.")
    if new.dtype == np.bool_:
        after = classified(new.astype(bool, copy=False), labels, classes)
    else:
        after = np.ascontiguousarray(new, np.uint8)
    change = MaskEdit.between(labels, after)
    if change is None:
        return None
    joined = (Verdict.ACCEPTED, Verdict.REPAINTED)
    verdicts = tuple(
        VerdictChange(gap, record, None)
        for gap, record in decided
        if record.verdict in joined and not stands(after, gap)
    )
    return Edit(EditKind.SEGMENT, text, (change,), verdicts, fragments=reopened(after))


def bulk(
    labels: NDArray[np.uint8],
    components: NDArray[np.int32],
    waiting: Iterable[Gap],
    classes: Sequence[MaskClass],
    annotator: str,
    score: float,
) -> Edit:
    """Build the edit that accepts every open gap with at least `score`; without verdicts when there is none.

    Best first; a gap whose ends are joined by then, or whose vessel is gone, is left open, and so is a cut. The edit
    has one mask change for each verdict, in the same order.

    Parameters
    ----------
    labels : ndarray of uint8, shape (Y, X)
        The mask now.
    components : ndarray of int32, shape (Y, X)
        Its components.
    waiting : iterable of Gap
        Open gaps, with the effect they were proposed with.
    classes : sequence of MaskClass
        Of the mask.
    annotator : str
        Who accepts.
    score : float
        The lowest one.
    """
    chosen = [gap for gap in waiting if gap.score >= score and gap.kind is not GapKind.CUT]
    masks: list[MaskEdit] = []
    verdicts: list[VerdictChange] = []
    if chosen:
        joiner, work, made = Joiner(components), labels.copy(), now()
        for gap in sorted(chosen, key=lambda gap: -gap.score):
            joins = gap.effect.components_after < gap.effect.components_before
            if joiner.is_stale(gap) or (joins and joiner.is_joined(gap)):
                continue
            change = drawing(work, gap, classes)
            if change is None:
                continue
            y0, x0, y1, x1 = change.box
            work[y0:y1, x0:x1] = change.labels_after()
            joiner.draw(change)
            masks.append(change)
            verdicts.append(VerdictChange(gap, None, VerdictRecord(Verdict.ACCEPTED, annotator, made, 0.0, gap.score)))
    noun = "gap" if len(verdicts) == 1 else "gaps"
    return Edit(EditKind.BULK, f"accepted {len(verdicts)} {noun} above {score:.2f}", tuple(masks), tuple(verdicts))


def discarding(
    labels: NDArray[np.uint8],
    components: NDArray[np.int32],
    fragments: Sequence[Fragment],
    verdicts: Mapping[str, FragmentRecord],
    annotator: str,
) -> Edit:
    """Build the edit that deletes several fragments at once; without changes when none of them is there any more.

    Parameters
    ----------
    labels : ndarray of uint8, shape (Y, X)
        The mask now.
    components : ndarray of int32, shape (Y, X)
        Its components.
    fragments : sequence of Fragment
        What to delete.
    verdicts : mapping of str to FragmentRecord
        Those there are.
    annotator : str
        Who deletes.
    """
    main, made = main_component(components), now()
    masks: list[MaskEdit] = []
    changes: list[FragmentChange] = []
    work = labels.copy()
    for fragment in fragments:
        if not is_there(fragment, components, main):
            continue
        change = deletion(work, components, *fragment.point)
        if change is not None:
            y0, x0, y1, x1 = change.box
            work[y0:y1, x0:x1] = change.labels_after()
            record = FragmentRecord(FragmentVerdict.DELETED, annotator, made, 0.0)
            masks.append(change)
            changes.append(FragmentChange(fragment, verdicts.get(fragment.id), record))
    noun = "fragment" if len(changes) == 1 else "fragments"
    text = f"deleted {len(changes)} {noun}"
    return Edit(EditKind.FRAGMENT, text, tuple(masks), fragments=tuple(changes))
