"""Annotators who know the truth, at work on one image: with a brush in plain napari, and with the queue of gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gap_image import CUT, Sample
from gap_judging import ALONG, AROUND, Judge, bridges_of
from gap_methods import of_gap
from gap_planting import Mask, Points, grown
from scipy import ndimage

from napari_vessel.completion import Gap, find_gaps
from napari_vessel.completion.refresh import effect_now
from napari_vessel.jobs import run_job
from napari_vessel.review import ReviewSession, Verdict
from napari_vessel.topology import label_components
from napari_vessel.topology.metrics import BettiError, CentrelineDice, Comparison, strokes

SHOWN = (0, 10, 30, 100)
CURVE = (*SHOWN, 5, 15, 20, 40, 50, 75, 150, 200, 300)
"""Numbers of actions after which the mask is measured."""

BRUSH, QUEUE, BULK = "brush", "queue", "queue, one bulk accept first"
ARMS = (BRUSH, QUEUE, BULK)

SEARCHES = 4
LOOP_PX = 3.0
"""A stretch with one piece around it is a break when it leads this far away from the mask, px of DRIVE."""


@dataclass(frozen=True, eq=False, slots=True)
class Break:
    """A stretch of vessel that was drawn and that the mask lacks, with mask at two or more places around it.

    Attributes
    ----------
    pixels : ndarray of int, shape (N, 2)
        Its centreline.
    touches : frozenset of int
        Labels of the pieces around it; one label when it closes a loop.
    strokes : int
        What painting it takes.
    """

    pixels: Points
    touches: frozenset[int]
    strokes: int


class Truth:
    """What the annotator knows about an image.

    Parameters
    ----------
    sample : Sample
        The image, the two observers' vessels and the mask to begin with.
    consensus : bool
        A break is one only when the second observer drew it too, and wrong is only what neither drew; otherwise the
        first observer alone knows.
    """

    def __init__(self, sample: Sample, consensus: bool = True) -> None:
        self.sample = sample
        self.observers = (sample.first, sample.second) if consensus else (sample.first,)
        self.radius = ndimage.distance_transform_edt(sample.first)

    def breaks(self, mask: Mask) -> list[Break]:
        """List the breaks of a mask, longest first."""
        scale = self.sample.scale
        labels, _ = label_components(mask)
        judges = self.judges(labels)
        away = ndimage.distance_transform_edt(~mask)
        found = []
        for gap in judges[0].natural_gaps(self.sample.image.fov, least=1):
            y, x = gap.pixels.T
            if any(float(judge.near[y, x].mean()) < ALONG for judge in judges):
                continue
            contacts = _contacts(gap.pixels, mask)
            if len(gap.touches) == 1:
                # Beside a vessel that is drawn a little too far to one side, the centreline never leads away from it.
                if float(away[y, x].max()) <= LOOP_PX * scale or len(contacts) < 2:
                    continue
            elif len(frozenset.intersection(*(frozenset(judge.pieces_on_vessel(gap)) for judge in judges))) < 2:
                continue
            apart = max((float(np.hypot(*(a - b))) for a in contacts for b in contacts), default=0.0)
            lines = strokes(gap.length / scale, apart / scale)
            found.append(Break(gap.pixels, gap.touches, max(lines, len(gap.touches) - 1)))
        return sorted(found, key=lambda one: -len(one.pixels))

    def judges(self, labels: np.ndarray) -> list[Judge]:
        """Return everybody who knows, the first observer first, as judges of the bridges between pieces."""
        return [Judge(vessels, labels, self.sample.scale) for vessels in self.observers]

    def wrong_pieces(self, mask: Mask) -> list[tuple[int, int]]:
        """Return a pixel of every piece of which less than half lies on anybody's vessel, largest first."""
        labels, count = label_components(mask)
        if not count:
            return []
        area = np.bincount(labels.ravel(), minlength=count + 1)
        shares = [np.bincount(labels[judge.near].ravel(), minlength=count + 1) / area for judge in self.judges(labels)]
        wrong = [label for label in range(1, count + 1) if max(share[label] for share in shares) < 0.5]
        places = []
        for label in sorted(wrong, key=lambda label: -area[label]):
            y, x = np.argwhere(labels == label)[0].tolist()
            places.append((y, x))
        return places

    def painted(self, one: Break, labels: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """Return what painting a break leaves: the labels of a window, and the window's first pixel (y, x)."""
        reach = float(self.radius[tuple(one.pixels.T)].max()) + 0.5
        margin = int(np.ceil(max(reach, 1.5))) + 1
        low = np.maximum(one.pixels.min(axis=0) - margin, 0)
        high = np.minimum(one.pixels.max(axis=0) + margin + 1, labels.shape)
        box = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
        line = np.zeros(labels[box].shape, np.bool_)
        line[tuple((one.pixels - low).T)] = True
        after = labels[box].copy()
        after[((self.sample.first[box] & grown(line, reach)) | grown(line, 1.5)) & (after == 0)] = 1
        return after, (int(low[0]), int(low[1]))

    def figures(self, mask: Mask) -> dict[str, float]:
        """Return clDice and the errors of b0 and b1 by the first observer, inside the field of view."""
        compared = Comparison(mask, self.sample.first, self.sample.image.fov)
        return {
            "cldice": round(CentrelineDice().compute(compared), 5),
            "b0_error": float(BettiError(0).compute(compared)),
            "b1_error": float(BettiError(1).compute(compared)),
        }


def _contacts(pixels: Points, mask: Mask) -> list[np.ndarray]:
    """Return the middles of the places where a mask meets a stretch."""
    low = np.maximum(pixels.min(axis=0) - 3, 0)
    high = pixels.max(axis=0) + 4
    part = mask[low[0] : high[0], low[1] : high[1]]
    line = np.zeros(part.shape, np.bool_)
    line[tuple((pixels - low).T)] = True
    places, count = label_components(part & grown(line, 1.5))
    return [np.argwhere(places == number).mean(axis=0) for number in range(1, count + 1)]


class Annotator:
    """Works on a real session and counts.

    Parameters
    ----------
    truth : Truth
        What the annotator knows.
    """

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.sample = truth.sample
        self.session = ReviewSession(self.sample.mask.astype(np.uint8))
        self.actions = self.mouse = self.moves = 0
        self.counts = dict.fromkeys(("deleted", "accepted", "rejected", "repainted", "painted", "taken_back"), 0)
        self.after_bulk: dict[str, Any] | None = None
        self.proposals: list[tuple[float, bool]] = []
        self._kept: dict[int, Mask] = {}

    @property
    def mask(self) -> Mask:
        """The mask as it is now."""
        return np.array(self.session.labels > 0)

    def act(self, actions: int, change: Callable[[], object] | None = None, mouse: int = 0, moves: int = 0) -> None:
        """Spend actions; what they change is there when the last of them is done."""
        for number in CURVE:
            if self.actions <= number < self.actions + actions:
                self._kept[number] = self.mask
        if change is not None:
            change()
        self.actions += actions
        self.mouse += mouse
        self.moves += moves

    def delete_wrong_pieces(self) -> None:
        """Delete every piece that lies on nobody's vessel: a click or a key each, with the cursor on it."""
        for y, x in self.truth.wrong_pieces(self.mask):
            self.act(1, lambda y=y, x=x: self.session.delete_component(y, x), mouse=1, moves=1)
            self.counts["deleted"] += 1

    def paint_breaks(self) -> None:
        """Paint every break that is left."""
        left = self.truth.breaks(self.mask)
        for _ in range(SEARCHES):
            if not left:
                return
            for one in left:
                self.paint(one)
                self.counts["painted"] += 1
            left = self.truth.breaks(self.mask)

    def paint(self, one: Break, keys: int = 0, group: str = "", moves: int = 1) -> None:
        """Paint one break: its strokes, and keys around them."""

        def change() -> None:
            self.session.stroke(*self.truth.painted(one, self.session.labels), group=group)

        self.act(one.strokes + keys, change, mouse=one.strokes, moves=moves)

    def search(self) -> list[Gap]:
        """Look for gaps as the program does after an edit; returns the open ones, best first."""
        seen = self.sample
        job = find_gaps(
            self.mask, seen.image, seen.probability, completion=seen.completion, rejected=self.session.rejected_gaps
        )
        found = {gap.id: gap for gap in run_job(job)}
        self.session.set_gaps(found.values())
        return [found[gap.id] for gap in self.session.open_gaps if gap.id in found]

    def judge(self, gaps: Sequence[Gap]) -> dict[str, tuple[bool, ...]]:
        """Return whether proposals on the mask as it is now are right, by everybody who knows, the first first."""
        judges = self.truth.judges(self.session.components.labels)
        bridges = {gap.id: of_gap(gap, self.session.shape) for gap in gaps}
        return {name: tuple(judge.right(bridge) for judge in judges) for name, bridge in bridges.items()}

    def decide_all(self, gaps: Sequence[Gap], right: dict[str, tuple[bool, ...]], breaks: Sequence[Break]) -> None:
        """Decide every open proposal, best first: a key each, or a repaint where it means a break and misses it."""
        waiting = list(breaks)
        for gap in gaps:
            if self.session.state_of(gap.id) != "open" or effect_now(gap, *self.session.components) is None:
                continue  # an earlier decision has closed it: it leaves the queue by itself
            if right[gap.id][0]:
                self.act(1, lambda gap=gap: self.session.decide(gap.id, Verdict.ACCEPTED, 1.0))
                self.counts["accepted"] += 1
                continue
            meant = next((one for one in waiting if self._means(gap, one)), None)
            if meant is None:
                self.act(1, lambda gap=gap: self.session.decide(gap.id, Verdict.REJECTED, 1.0))
                self.counts["rejected"] += 1
                continue
            waiting.remove(meant)
            self.paint(meant, keys=2, group=gap.id, moves=0)
            self.session.decide(gap.id, Verdict.REPAINTED, 1.0, group=gap.id)
            self.counts["repainted"] += 1

    def _means(self, gap: Gap, one: Break) -> bool:
        near = np.hypot(*(one.pixels - np.asarray(gap.centre)).T).min() <= AROUND * self.sample.scale
        open_now = set(np.unique(self.session.components.labels[tuple(one.pixels.T)]).tolist()) == {0}
        return bool(near) and set(gap.joins) <= one.touches and open_now

    def accept_in_bulk(self, gaps: Sequence[Gap], right: dict[str, tuple[bool, ...]]) -> None:
        """Accept all from the score fixed beforehand (setting it, Go), then take back what nobody drew."""
        self.act(2, lambda: self.session.accept_above(CUT), mouse=1)
        taken = [gap for gap in gaps if self.session.state_of(gap.id) == Verdict.ACCEPTED]
        wrong = [gap for gap in taken if not any(right[gap.id])]
        self.after_bulk = {
            "actions": self.actions,
            "accepted": len(taken),
            "wrong": len(wrong),
            "breaks_left": len(self.truth.breaks(self.mask)),
            **self.truth.figures(self.mask),
        }
        for gap in wrong:
            self.act(2, lambda gap=gap: self.session.decide(gap.id, Verdict.REJECTED, 1.0), mouse=1, moves=1)
            self.counts["taken_back"] += 1

    def record(self, before: Mask) -> dict[str, Any]:
        """Return what the work cost and what it led to; `before` is the mask when the first bridge was drawn."""
        final, truth = self.mask, self.truth
        known: dict[int, dict[str, float]] = {}
        curve = []
        for number in sorted(CURVE):
            mask = self._kept.get(number, final)
            if id(mask) not in known:
                known[id(mask)] = truth.figures(mask)
            curve.append({"actions": number, **known[id(mask)]})
        labels, _ = label_components(before)
        judges = truth.judges(labels)
        bridges = bridges_of(labels, final | before)
        return {
            "actions": self.actions,
            "mouse": self.mouse,
            "moves": self.moves,
            **self.counts,
            "breaks_left": len(truth.breaks(final)),
            "bridges": len(bridges),
            "wrong_bridges": sum(not any(judge.right(bridge) for judge in judges) for bridge in bridges),
            "curve": curve,
            "end": known.get(id(final)) or truth.figures(final),
            "after_bulk": self.after_bulk,
            "proposals": self.proposals,
        }


def work(truth: Truth, arm: str) -> dict[str, Any]:
    """Let one annotator work until no break is left, and return the record."""
    one = Annotator(truth)
    if arm == BRUSH:
        pieces = bool(truth.wrong_pieces(one.mask))
        one.act(int(pieces))  # the fill tool is chosen
        one.delete_wrong_pieces()
        before = one.mask
        one.act(int(bool(truth.breaks(before))))  # and then the brush
        one.paint_breaks()
        return one.record(before)
    one.delete_wrong_pieces()
    before = one.mask
    for number in range(SEARCHES):
        breaks = truth.breaks(one.mask)
        if number and not breaks:
            break
        gaps = one.search()
        right = one.judge(gaps)
        if not gaps:
            break
        one.proposals = one.proposals or [(round(gap.score, 5), right[gap.id][0]) for gap in gaps]
        if number == 0 and arm == BULK:
            one.accept_in_bulk(gaps, right)
        one.decide_all(gaps, right, breaks)
    one.act(int(bool(truth.breaks(one.mask))))  # the brush is chosen
    one.paint_breaks()
    return one.record(before)


def measure(sample: Sample, consensus: bool) -> dict[str, Any]:
    """Let every annotator work on one image."""
    truth = Truth(sample, consensus)
    breaks = truth.breaks(sample.mask)
    done = {arm: work(truth, arm) for arm in ARMS}
    offered = [record.pop("proposals") for record in done.values()]
    return {
        "image": sample.name,
        "scale": round(sample.scale, 4),
        "components": label_components(sample.mask)[1],
        "wrong_pieces": len(truth.wrong_pieces(sample.mask)),
        "breaks": len(breaks),
        "loop_breaks": sum(len(one.touches) == 1 for one in breaks),
        "break_px": sorted(round(len(one.pixels) / sample.scale, 1) for one in breaks),
        "proposals": offered[ARMS.index(QUEUE)],
        "arms": done,
    }
