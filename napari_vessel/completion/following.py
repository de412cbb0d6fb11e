"""Courses between vessels that follow a mask from edit to edit, without searching the whole of it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.beyond import Beyond
from napari_vessel.completion.candidates import (
    REACH_FACING,
    Network,
    Start,
    belongs_within,
    divide,
    end_reach,
    facing,
    starts,
    trust_of,
)
from napari_vessel.completion.drafts import Draft, smaller_of
from napari_vessel.completion.drawn import drafts_of_piece, drawn_by
from napari_vessel.completion.measures import size_of
from napari_vessel.completion.paths import in_blocks
from napari_vessel.completion.pieces import TILE_PX, PieceCounts
from napari_vessel.completion.reads import Box
from napari_vessel.completion.search import Kept, Known, LookedAt, looked_from
from napari_vessel.completion.tips import beyond, draft_of_tip
from napari_vessel.jobs import Job, Progress
from napari_vessel.topology import EndPoint
from napari_vessel.topology.endings import union_of
from napari_vessel.topology.labelling import is_large
from napari_vessel.topology.table import MaskTable

RENEWED_AFTER = 0.1
"""Share of the vessels that may change before calibre and evidence are taken from the mask anew."""

_YIELD_SECONDS = 0.1


class Following:
    """A search for gaps that is kept, and brought up to date after edits.

    What it finds is what :func:`~napari_vessel.completion.search.look_at` finds in the mask as it is then, ``like`` the
    search that it began with: with that one's calibre and evidence. Of every start, and of every piece of a map, it is
    remembered which box was read; only those whose box has changed are looked at again. To what belongs to a whole
    component, its size and its centreline length, every course is brought up to date each time.

    Parameters
    ----------
    found : LookedAt
        The search to begin with; its arrays are used up.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view, as it was for that search.
    """

    def __init__(self, found: LookedAt, fov: NDArray[np.bool_] | None) -> None:
        network, evidence = found.network, found.evidence
        self._evidence, self._fov, self._inside = evidence, fov, found.inside
        self._calibre = network.calibre
        self._mask = network.mask.copy()
        self._changed, self._vessel = 0, int(np.count_nonzero(self._mask))
        self._table = MaskTable(self._mask)
        self._branches = network.branches
        self._field = found.field
        self._ends = {end.point: end for end in network.ends}
        self._counts = found.known.counts or PieceCounts(network, evidence)
        self._known = Known(self._counts, found.known.links, found.known.gaps)
        self._kept = {_place(one.start): one for one in found.kept}
        self._drawn: Beyond | None = None
        self._beyond: Beyond | None = None

    @classmethod
    def begin(cls, found: LookedAt, fov: NDArray[np.bool_] | None, tips: bool) -> Job[Following]:
        """Begin with a search; parameters as for the class, and whether missing tips are looked for."""
        yield Progress(0.0, None, "Getting ready to follow edits")
        self = cls(found, fov)
        evidence = found.evidence
        if evidence is not None and evidence.completion is not None:
            yield Progress(0.0, None, "Getting ready to follow edits")
            self._drawn = Beyond(self._mask, drawn_by(evidence, fov))
        if evidence is not None and tips:
            yield Progress(0.0, None, "Getting ready to follow edits")
            self._beyond = Beyond(self._mask, beyond(evidence, fov))
        return self

    def is_large(self, mask: NDArray[np.bool_]) -> bool:
        """Tell whether so much has changed that a whole search is due, with calibre and evidence of its own."""
        return is_due(mask, self._mask, self._changed, self._vessel)

    def change(self, mask: NDArray[np.bool_]) -> Job[LookedAt | None]:
        """Take a new mask, bool, shape (Y, X); returns all courses now, None for a mask without vessels.

        A job that is closed before its end leaves everything as it was, or ready to be brought up to date next time.
        """
        yield Progress(0.0, None, "Looking at the mask")
        self._take(mask)
        network = self._network()
        if network is None:
            return None
        begun = starts(network, self._inside, self._counts.firsts(len(network.lengths)))
        drafts: list[Draft] = []
        kept: dict[tuple[int, int, bool], Kept] = {}
        last = perf_counter()
        for number, start in enumerate(begun):
            one = self._kept.get(_place(start))
            if one is None or not _same(one.start, start):
                one = looked_from(start, network, self._evidence, self._field, self._fov)
            _bring_up_to_date(one.drafts, network)
            kept[_place(start)] = self._kept[_place(start)] = one
            drafts.extend(one.drafts)
            if perf_counter() - last > _YIELD_SECONDS:
                yield Progress(number + 1, len(begun), "Looking for gaps", {"candidates": float(len(drafts))})
                last = perf_counter()
        self._kept = kept
        tips: list[Draft] = []
        for found, layer in ((drafts, self._drawn), (tips, self._beyond)):
            if layer is not None:
                for piece in layer.unread():
                    layer.keep(piece, *self._along(piece, layer, network))
                    if perf_counter() - last > _YIELD_SECONDS:
                        yield Progress(len(begun), len(begun), "Looking for gaps", {"candidates": float(len(drafts))})
                        last = perf_counter()
                for of_piece in layer.drafts():
                    _bring_up_to_date(of_piece, network)
                    found.extend(of_piece)
        there = {*drafts, *tips}
        for told in (self._known.links, self._known.gaps):
            for draft in [one for one in told if one not in there]:
                del told[draft]
        return LookedAt(
            network, self._evidence, drafts, tips, self._field, self._inside, list(kept.values()), self._known
        )

    def _along(self, piece: int, layer: Beyond, network: Network) -> tuple[list[Draft], Box]:
        assert self._evidence is not None
        pixels = layer.pixels(piece)
        network.reads.take()
        if layer is self._drawn:
            found = list(drafts_of_piece(pixels, piece, network, self._evidence, layer.radius))
        else:
            tip = draft_of_tip(pixels, network, self._evidence, layer.radius)
            found = [] if tip is None else [tip]
        return found, network.reads.take()

    def _network(self) -> Network | None:
        table = self._table
        size = len(table.areas)
        lengths = self._counts.lengths(size)
        count = int(np.count_nonzero(table.areas))
        if count == 0:
            return None
        return Network(
            mask=self._mask,
            labels=table.labels,
            count=count,
            skeleton=table.centrelines,
            radius=table.radius,
            lengths=lengths,
            calibre=self._calibre,
            ends=tuple(self._ends.values()),
            branches=self._branches,
        )

    def _take(self, mask: NDArray[np.bool_]) -> None:
        """Take a new mask, and forget what was read from anything that has changed."""
        differs = mask != self._mask
        rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
        if not rows.size:
            return
        origin = (int(rows[0]), int(columns[0]))
        here = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        self._changed += int(np.count_nonzero(differs))
        self._mask[here] = mask[here]
        touched = Touched(mask.shape)
        boxes = self._table.change(origin, mask[here])
        for box in boxes:
            touched.box(box)
        components, branches = self._table.renumbered
        for box, number in components:
            y0, x0, y1, x1 = box
            labels = self._table.labels[y0:y1, x0:x1]
            touched.pixels((y0, x0), labels > 0 if number == 0 else labels == number)
        # A component without branches goes by its own number.
        alone = [box for box, _ in components if (self._branches[box[0] : box[2], box[1] : box[3]] < 0).any()]
        self._divide(merged([*boxes, *(box for box, _ in branches), *alone]), touched)
        moved = self._follow_ends(touched)
        # A count looks a little further than its tile.
        self._counts.count(self._table.labels, self._table.centrelines, touched.tiles(TILE_PX, self._counts.reach))
        for place, one in zip(list(self._kept), touched.hit([one.box for one in self._kept.values()]), strict=True):
            if one:
                del self._kept[place]
        self._face(moved)
        edited = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        for layer in (self._drawn, self._beyond):
            if layer is not None:
                layer.change(edited, self._mask, touched)

    def _divide(self, boxes: Iterable[Box], touched: Touched) -> None:
        """Bring up to date which branch each pixel belongs to."""
        within = belongs_within(self._calibre)
        reach, factor = int(within) + 3, 1 if self._field is None else self._field.factor
        height, width = self._mask.shape
        for y0, x0, y1, x1 in boxes:
            # Whole blocks of the field.
            top, left = max(y0 - reach, 0) // factor * factor, max(x0 - reach, 0) // factor * factor
            bottom = min(-(-(y1 + reach) // factor) * factor, height)
            right = min(-(-(x1 + reach) // factor) * factor, width)
            far_top, far_left = max(top - reach, 0), max(left - reach, 0)
            window = np.s_[far_top : bottom + reach, far_left : right + reach]
            found = divide(self._table.branches[window], self._table.labels[window], within)
            found = found[top - far_top : bottom - far_top, left - far_left : right - far_left]
            here = self._branches[top:bottom, left:right]
            touched.pixels((top, left), here != found)
            here[...] = found
            if self._field is not None and factor > 1:
                coarse = in_blocks(found, factor)
                rows, columns = coarse.shape
                self._field.branches[top // factor :, left // factor :][:rows, :columns] = coarse

    def _follow_ends(self, touched: Touched) -> list[EndPoint]:
        """Bring the ends up to date; returns those that have come, gone or changed, as they were and as they are."""
        now = {end.point: end for end in self._table.ends()}
        moved = [
            end
            for these, others in ((self._ends, now), (now, self._ends))
            for point, end in these.items()
            if not _same_end(others.get(point), end)
        ]
        for end in moved:
            (y, x), reach = end.point, int(end_reach(end.radius)) + 1
            touched.box((y - reach, x - reach, y + reach + 1, x + reach + 1))
        self._ends = now
        return moved

    def _face(self, moved: list[EndPoint]) -> None:
        """Forget what was found from starts that face one of some ends, however far away."""
        known = list(self._kept)
        points = np.asarray([self._kept[place].start.point for place in known]).reshape(-1, 2)
        for end in moved:
            if trust_of(end) <= 0.5:
                continue
            away = np.hypot(*(points - end.point).T)
            for n in np.flatnonzero(away <= REACH_FACING * self._calibre + 1.0).tolist():
                one = self._kept.get(known[n])
                if one is not None and facing(one.start, end) is not None:
                    del self._kept[known[n]]


def is_due(mask: NDArray[np.bool_], before: NDArray[np.bool_], changed: int, vessel: int) -> bool:
    """Tell whether a whole search is due, as :meth:`Following.is_large` does.

    Parameters
    ----------
    mask, before : ndarray of bool, shape (Y, X)
        The mask now, and as it was searched last.
    changed : int
        Pixels that had changed since the last whole search.
    vessel : int
        Pixels of vessel then.
    """
    differs = mask != before
    return changed + int(np.count_nonzero(differs)) > RENEWED_AFTER * vessel or is_large(differs)


class Touched:
    """Where something has changed, in cells of some pixels.

    Parameters
    ----------
    shape : tuple of int
        Of the image.
    """

    CELL_PX = 8

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._cells = np.zeros([-(-size // self.CELL_PX) for size in shape[:2]], np.bool_)

    def box(self, box: Box) -> None:
        """Take note of a box (y0, x0, y1, x1), half open; it may lie partly beyond the image."""
        self._cells[self._inside(box)] = True

    def pixels(self, origin: tuple[int, int], changed: NDArray[np.bool_]) -> None:
        """Take note of the pixels of a window, shape (h, w), that have changed; `origin` is its first (y, x)."""
        y, x = np.nonzero(changed)
        self._cells[(y + origin[0]) // self.CELL_PX, (x + origin[1]) // self.CELL_PX] = True

    def hit(self, boxes: list[Box] | NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell in which of some boxes, shape (N, 4), something has changed, shape (N,)."""
        total = np.pad(self._cells.astype(np.int32).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        of = np.asarray(boxes, np.int64).reshape(-1, 4)
        limits = np.asarray([*self._cells.shape, *self._cells.shape])
        low = np.clip(of[:, :2] // self.CELL_PX, 0, limits[:2])
        high = np.clip(-(-of[:, 2:] // self.CELL_PX), low, limits[2:])
        count = total[high[:, 0], high[:, 1]] - total[low[:, 0], high[:, 1]]
        return np.asarray(count - total[high[:, 0], low[:, 1]] + total[low[:, 0], low[:, 1]] > 0)

    def tiles(self, side: int, reach: int) -> Iterator[tuple[int, int]]:
        """Yield the tiles, (row, column), of so many pixels a side, in which or near which something has changed."""
        rows, columns = (-(-size * self.CELL_PX // side) for size in self._cells.shape)
        found = [(row, column) for row in range(rows) for column in range(columns)]
        boxes = [
            (row * side - reach, column * side - reach, (row + 1) * side + reach, (column + 1) * side + reach)
            for row, column in found
        ]
        return (tile for tile, hit in zip(found, self.hit(boxes).tolist(), strict=True) if hit)

    def _inside(self, box: Box) -> tuple[slice, slice]:
        y0, x0, y1, x1 = box
        cell = self.CELL_PX
        return slice(max(y0, 0) // cell, max(-(-y1 // cell), 0)), slice(max(x0, 0) // cell, max(-(-x1 // cell), 0))


def merged(boxes: list[Box]) -> list[Box]:
    """Return boxes (y0, x0, y1, x1) that hold some others, with those that overlap taken together."""
    found: list[Box] = []
    for box in boxes:
        apart = []
        for other in found:
            if box[0] <= other[2] and other[0] <= box[2] and box[1] <= other[3] and other[1] <= box[3]:
                box = union_of([box, other])
            else:
                apart.append(other)
        found = [*apart, box]
    return found


def _place(start: Start) -> tuple[int, int, bool]:
    """Return what a start is known by: two ends may have one root."""
    return (*(start.point if start.end is None else start.end.point), start.end is None)


def _same(one: Start, other: Start) -> bool:
    return (one.point, one.tangent, one.radius, one.component) == (
        other.point,
        other.tangent,
        other.radius,
        other.component,
    ) and (one.end is None or _same_end(other.end, one.end))


def _same_end(one: EndPoint | None, other: EndPoint) -> bool:
    return one is not None and (
        one is other
        or (
            (one.point, one.component, one.tangent, one.radius)
            == (other.point, other.component, other.tangent, other.radius)
            and (one.branch is other.branch or np.array_equal(one.branch, other.branch))
        )
    )


def _bring_up_to_date(drafts: list[Draft], network: Network) -> None:
    """Take the lengths of components as they are now."""
    for n, draft in enumerate(drafts):
        smaller = smaller_of(network, draft.start.component, draft.goal_component)
        if smaller != draft.bridge.smaller_px:
            seen = {**draft.seen, "size": size_of(smaller, network.calibre)}
            drafts[n] = replace(draft, bridge=replace(draft.bridge, smaller_px=smaller), seen=seen)
