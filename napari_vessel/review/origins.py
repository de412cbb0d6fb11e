"""Who decided each pixel of a mask: the model, or the annotator, and how.

The applied history is gone through from its newest edit to its oldest, so that the newest decision on a pixel is found
first. A verdict that was changed or taken back later has decided nothing, and the drawing that went with it neither.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.errors import ProjectError
from napari_vessel.images.image import UNCERTAIN, MaskClass, VesselMask
from napari_vessel.jobs import Job, Progress
from napari_vessel.review.edits import Edit, EditKind, Verdict, VerdictChange
from napari_vessel.review.fragments import Fragment, FragmentChange, FragmentVerdict
from napari_vessel.review.history import PAGE
from napari_vessel.untrusted import MALFORMED

if TYPE_CHECKING:
    from napari_vessel.review.journal import Journal
    from napari_vessel.review.records import ImageRecord

Box = tuple[int, int, int, int]


class Origin(IntEnum):
    """Who decided a pixel.

    Attributes
    ----------
    NEVER_REVIEWED
        Nobody: the image is not done, and nothing was decided here.
    MODEL
        The model (or the mask the image came with), and the annotator who called the image done agreed.
    ACCEPTED
        A gap or cut that was accepted, a cut that was rejected (the vessel is real), or a fragment that was kept.
    REPAINTED
        A stroke of a repaint.
    BRUSH
        Any other stroke, or a component that was deleted.
    REJECTED
        There is no vessel: the drawing of a gap that was rejected, or a fragment that was deleted.
    UNSURE
        The annotator does not know.
    """

    NEVER_REVIEWED = 0
    MODEL = 1
    ACCEPTED = 2
    REPAINTED = 3
    BRUSH = 4
    REJECTED = 5
    UNSURE = 6


@dataclass(frozen=True, eq=False, slots=True)
class Origins:
    """A mask and who decided each of its pixels, at one moment.

    Attributes
    ----------
    mask : VesselMask
        As it was.
    pixels : ndarray of uint8, shape (Y, X)
        Values of :class:`Origin`.
    done : bool
        Whether the image was done.
    edits : int
        How many edits of its history were applied.
    """

    mask: VesselMask
    pixels: NDArray[np.uint8]
    done: bool
    edits: int

    @property
    def vessels(self) -> NDArray[np.bool_]:
        """Vessels of any class but ``uncertain``, bool, shape (Y, X)."""
        return (self.mask.labels > 0) & ~uncertain_pixels(self.mask)


def uncertain_pixels(mask: VesselMask) -> NDArray[np.bool_]:
    """Return where a mask has the class ``uncertain``, white in artery and vein drawings, bool, shape (Y, X)."""
    return np.isin(mask.labels, [entry.label for entry in mask.classes if entry.name == UNCERTAIN])


def judged_pixels(gap: Gap, labels: NDArray[np.uint8]) -> tuple[Box, NDArray[np.bool_]]:
    """Return what a verdict on a gap is about: what would be drawn of a gap, what would be erased of a cut.

    Parameters
    ----------
    gap : Gap
        To join, or to cut.
    labels : ndarray of uint8, shape (Y, X)
        The mask.

    Returns
    -------
    box : tuple of int
        (y0, x0, y1, x1), half open.
    where : ndarray of bool, shape (y1 - y0, x1 - x0)
        Of a gap where there is no vessel, of a cut where there is one.
    """
    from napari_vessel.completion.drawing import cut_gap, draw_gap

    cut = gap.kind is GapKind.CUT
    (y, x), drawn = (cut_gap if cut else draw_gap)(gap, (int(labels.shape[0]), int(labels.shape[1])))
    box = (y, x, y + drawn.shape[0], x + drawn.shape[1])
    return box, drawn & ((labels[_window(box)] > 0) == cut)


def read_origins(journal: Journal, record: ImageRecord, base: Callable[[], NDArray[np.uint8]]) -> Job[Origins]:
    """Find who decided each pixel of an image's mask; others may go on editing the image meanwhile.

    Parameters
    ----------
    journal : Journal
        The image's.
    record : ImageRecord
        The image's.
    base : callable
        Reads the first mask.

    Raises
    ------
    ProjectError
        If the first mask or an edit is missing or damaged.
    """
    while True:
        position, done = journal.standing()
        mark = journal.mark(position)
        try:
            labels = journal.labels(base, record.shape, keep=False, position=position)
            pixels = yield from trace_origins(labels, record.classes, _pages(journal, position), done, position)
        except ProjectError:
            if journal.mark(position) == mark:
                raise
            continue
        except (*MALFORMED, zlib.error) as error:
            raise journal.damaged(error) from error
        # Edits that were taken back and replaced meanwhile are not those that the mask was made of.
        if journal.mark(position) == mark:
            return Origins(VesselMask(labels, record.classes, record.rule), pixels, done, position)


def trace_origins(
    labels: NDArray[np.uint8],
    classes: Sequence[MaskClass],
    applied: Iterable[Sequence[Edit]],
    done: bool,
    count: int | None = None,
) -> Job[NDArray[np.uint8]]:
    """Find who decided each pixel, from a mask and the edits that led to it.

    Parameters
    ----------
    labels : ndarray of uint8, shape (Y, X)
        The mask now.
    classes : sequence of MaskClass
        Of the mask.
    applied : iterable of sequence of Edit
        The applied history in stretches, the newest first; inside a stretch the oldest edit is first.
    done : bool
        Whether the annotator has finished the image.
    count : int, optional
        How many edits there are, for the progress.

    Returns
    -------
    ndarray of uint8, shape (Y, X)
        Values of :class:`Origin`.
    """
    trace, looked = _Trace(labels), 0
    for stretch in applied:
        yield Progress(looked, count, "Reading the history")
        for edit in reversed(stretch):
            trace.go_back(edit)
        looked += len(stretch)
    found = trace.origin
    # What was brought back under a refusal, by taking a deletion back, is as it was.
    found[(found == Origin.REJECTED) & (labels > 0)] = Origin.NEVER_REVIEWED
    if done:
        found[found == Origin.NEVER_REVIEWED] = Origin.MODEL
    found[uncertain_pixels(VesselMask(labels, tuple(classes)))] = Origin.UNSURE
    return found


class _Trace:
    """Goes back in a history from the mask of now, and gives each pixel to the newest decision on it.

    Parameters
    ----------
    labels : ndarray of uint8, shape (Y, X)
        The mask now.
    """

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self.origin = np.zeros(labels.shape, np.uint8)
        self._free = np.ones(labels.shape, np.bool_)
        self._now = labels
        self._labels = labels.copy()
        # The verdict on each gap and fragment that stands; False when the edits that are left decided otherwise.
        self._said: dict[str, object] = {}
        self._repaints: set[str] = set()

    def go_back(self, edit: Edit) -> None:
        """Take up an edit, the newest of those that are left, and go back to the mask before it."""
        stands = [self._stands(change.gap.id, change.after and change.after.verdict) for change in edit.verdicts]
        holds = [self._stands(change.fragment.id, change.after and change.after.verdict) for change in edit.fragments]
        if edit.kind is EditKind.VERDICT and any(_is(change, Verdict.REPAINTED) for change in edit.verdicts):
            self._repaints.add(edit.group)
        for change, stand in zip(edit.verdicts, stands, strict=True):
            if stand:
                self._judge(change)
        for decided, stand in zip(edit.fragments, holds, strict=True):
            if stand:
                self._judge_fragment(decided)
        for mask, value in zip(edit.masks, self._drawn(edit, stands, holds), strict=True):
            if value is not None:
                self._take(mask.box, mask.labels_before() != mask.labels_after(), value)
        for mask in reversed(edit.masks):
            self._labels[_window(mask.box)] = mask.labels_before()

    def _stands(self, name: str, verdict: object) -> bool:
        known = self._said.setdefault(name, verdict)
        if known is not verdict:
            self._said[name] = False
        return known is verdict

    def _judge(self, change: VerdictChange) -> None:
        """Give what a verdict is about, and did not draw, to it."""
        if _is(change, Verdict.REJECTED):
            value = Origin.ACCEPTED if change.gap.kind is GapKind.CUT else Origin.REJECTED
        elif _is(change, Verdict.UNSURE):
            value = Origin.UNSURE
        else:
            return
        self._take(*judged_pixels(change.gap, self._labels), value)

    def _judge_fragment(self, change: FragmentChange) -> None:
        verdict = None if change.after is None else change.after.verdict
        if verdict is FragmentVerdict.KEPT:
            found = _component(self._labels, change.fragment)
            value = Origin.ACCEPTED
        elif verdict is FragmentVerdict.UNSURE:
            # Of one that was joined or painted on since, more is known.
            found = _component(self._now, change.fragment)
            value = Origin.UNSURE
        else:
            return
        if found is not None:
            self._take(*found, value)

    def _drawn(self, edit: Edit, stands: Sequence[bool], holds: Sequence[bool]) -> list[Origin | None]:
        """Return whose the pixels are that each mask change of an edit changed; None for what was there before."""
        count = len(edit.masks)
        match edit.kind:
            case EditKind.SEGMENT:
                return [Origin.NEVER_REVIEWED] * count
            case EditKind.STROKE:
                return [Origin.REPAINTED if edit.group in self._repaints else Origin.BRUSH] * count
            case EditKind.DELETE:
                return [Origin.BRUSH] * count
            case EditKind.BULK:
                return [Origin.ACCEPTED if stand else None for stand in stands]
            case EditKind.VERDICT:
                return [_drawn_by(edit.verdicts[0], stands[0])] * count
            case EditKind.FRAGMENT:
                pairs = zip(edit.fragments, holds, strict=True)
                deleted = [Origin.REJECTED if hold else None for change, hold in pairs if change.deletes]
                # Without one that deletes, the change brings back what an older one had erased.
                return deleted or [None] * count

    def _take(self, box: Box, where: NDArray[np.bool_], value: Origin) -> None:
        window = _window(box)
        free = self._free[window] & where
        self.origin[window][free] = value
        self._free[window][free] = False


def _drawn_by(change: VerdictChange, stands: bool) -> Origin | None:
    if _is(change, Verdict.ACCEPTED):
        return Origin.ACCEPTED if stands else None
    repainted = change.before is not None and change.before.verdict is Verdict.REPAINTED
    # No verdict takes a repaint back: the mask is as the annotator left it, or took it from another one.
    return Origin.REPAINTED if repainted or _is(change, Verdict.REPAINTED) else None


def _is(change: VerdictChange, verdict: Verdict) -> bool:
    return change.after is not None and change.after.verdict is verdict


def _component(labels: NDArray[np.uint8], fragment: Fragment) -> tuple[Box, NDArray[np.bool_]] | None:
    """Return a fragment's box and pixels, bool; None when it is no component of its own, of that size, in a mask."""
    import cv2

    y0, x0, y1, x1 = fragment.box
    top, left = max(y0 - 1, 0), max(x0 - 1, 0)
    window = labels[top : y1 + 1, left : x1 + 1]
    _, components = cv2.connectedComponents((window > 0).view(np.uint8), connectivity=8)
    number = components[fragment.point[0] - top, fragment.point[1] - left]
    whole = components == number
    inside = whole[y0 - top : y1 - top, x0 - left : x1 - left]
    # One that has grown goes on just outside its box.
    if number == 0 or np.count_nonzero(inside) != fragment.area_px or np.count_nonzero(whole) != fragment.area_px:
        return None
    return fragment.box, inside


def _pages(journal: Journal, position: int) -> Iterable[Sequence[Edit]]:
    for stop in range(position, 0, -PAGE):
        yield journal.edits(max(stop - PAGE, 0), stop)


def _window(box: Box) -> tuple[slice, slice]:
    return slice(box[0], box[2]), slice(box[1], box[3])
