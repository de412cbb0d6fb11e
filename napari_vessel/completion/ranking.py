"""Which courses become proposals: each is judged, and of those that exclude each other the best is taken."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from math import log, log1p, prod

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.belief import Beliefs, Opinion, columns_of
from napari_vessel.completion.candidates import Network
from napari_vessel.completion.drafts import Draft
from napari_vessel.completion.drawing import draw_path, settle
from napari_vessel.completion.evidence import Evidence
from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind, Reason
from napari_vessel.completion.paths import length_of, pixels_of
from napari_vessel.completion.pieces import PieceCounts, observe_pieces
from napari_vessel.completion.places import Paired, Places
from napari_vessel.completion.scoring import (
    Scoring,
    chance,
    chances,
    log_odds,
    reasons_of,
    scoring,
    seen_in,
    short,
    sources_of,
    strongest,
    tip_reasons,
)
from napari_vessel.completion.search import Known, LookedAt

LEAST_SCORE = 0.15
"""Proposals below this score are not shown: a break that nothing but two facing ends speaks for reaches it, and most of
what is below would only be refused. The list begins with what is worth most, so the doubtful ones come last."""

LEAST_TIP = 0.5
"""The same for tips: of what could be drawn beyond the ends of vessels there is far more, and none of it is a break."""

_LESS_CERTAIN = "the less certain side is a vessel"
_YOURS = "what you accepted and refused so far"


@dataclass(frozen=True, eq=False, slots=True)
class Judged:
    """A draft with its two chances.

    Attributes
    ----------
    draft : Draft
        The course.
    link : float
        Chance that its two sides are one vessel, given that they are vessels.
    linked : float or None
        Log-odds of the same for annotators, before any decision of this one; None for a tip.
    fragment : float or None
        Chance that they are, of the less likely side; None where they are taken for vessels: there is nothing but the
        mask to go by, or whoever asks knows.
    score : float
        Chance that both hold, as annotators have decided on such pairs of chances.
    facts : dict of str to float
        What is known of that side.
    """

    draft: Draft
    link: float
    linked: float | None
    fragment: float | None
    score: float
    facts: dict[str, float]


def judge(
    drafts: Sequence[Draft],
    network: Network,
    evidence: Evidence | None,
    opinions: Sequence[Opinion] = (),
    known: Known | None = None,
    all_vessels: bool = False,
) -> list[Judged]:
    """Answer both questions for every draft.

    Parameters
    ----------
    drafts : sequence of Draft
        All courses.
    network : Network
        The mask.
    evidence : Evidence or None
        What there is to look at.
    opinions : sequence of Opinion
        What this annotator has decided before.
    known : Known, optional
        What has been worked out of courses and pieces already; what is worked out here is added to it.
    all_vessels : bool
        Whether every piece of the mask is known to be a vessel: then only the link is in question.
    """
    known = Known() if known is None else known
    sources = sources_of(evidence)
    model = scoring(sources)
    for draft in drafts:
        if draft not in known.links:
            known.links[draft] = model.link.logit(draft.seen)
    logits = np.asarray([known.links[draft] for draft in drafts], np.float64)
    beliefs = Beliefs(opinions)
    if all_vessels or not sources:
        # With nothing but the mask to go by there is nothing to say against a piece of it: what it shows is a vessel.
        moved = chances(beliefs.links(logits)).tolist()
        both = zip(drafts, logits.tolist(), moved, strict=True)
        return [Judged(draft, link, linked, None, link, {}) for draft, linked, link in both]
    pieces = piece_facts(drafts, logits, network, evidence, known.counts)
    belief = beliefs.about(sources)
    facts = {name: pieces[name] for name in belief.prior.terms}
    before, believed = belief.told_by(facts, len(network.lengths))
    vessels, (trusted, odds) = believed.tolist(), model.to_annotators(before, believed, chances(logits))
    yours = beliefs.links(odds)
    links = chances(logits) if yours is odds else model.links_of(yours)
    told: dict[int, dict[str, float]] = {}
    found = []
    each = zip(drafts, links.tolist(), odds.tolist(), chances(yours).tolist(), strict=True)
    for draft, link, linked, seen in each:
        sides = {draft.start.component, draft.goal_component}
        label = min(sides, key=lambda one: (vessels[one], one))
        if label not in told:
            of_it = {name: float(column[label]) for name, column in facts.items()}
            told[label] = {name: value for name, value in of_it.items() if not np.isnan(value)}
        score = seen * prod(trusted[one] for one in sides)
        found.append(Judged(draft, link, linked, vessels[label], score, told[label]))
    return found


def piece_facts(
    drafts: Sequence[Draft],
    links: NDArray[np.float64],
    network: Network,
    evidence: Evidence | None,
    counts: PieceCounts | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Return what is known of every piece, and how well it would link at best (log-odds), by label."""
    best = np.full(len(network.lengths), np.nan)
    for draft, logit in zip(drafts, links.tolist(), strict=True):
        if not draft.bridge.loop:
            for label in (draft.start.component, draft.goal_component):
                if not best[label] >= logit:
                    best[label] = logit
    return {**observe_pieces(network, evidence, counts), "links": best}


def judge_tips(tips: Sequence[Draft], evidence: Evidence | None, known: Known | None = None) -> list[Judged]:
    """Say how likely it is that a vessel goes on, for every course beyond one's end or side."""
    model = scoring(sources_of(evidence)).tip
    if model is None:
        return []
    links = {} if known is None else known.links
    for draft in tips:
        if draft not in links:
            links[draft] = model.logit(draft.seen)
    return [Judged(draft, chance(links[draft]), None, None, chance(links[draft]), {}) for draft in tips]


def ranked(
    found: LookedAt, rejected: Collection[Gap] = (), opinions: Sequence[Opinion] = (), all_vessels: bool = False
) -> Iterator[Gap]:
    """Yield the proposals, best first.

    Parameters
    ----------
    found : LookedAt
        The mask, what there is to look at, and every course.
    rejected : collection of Gap
        Gaps an annotator has refused: what joins the same two places is left out.
    opinions : sequence of Opinion
        What this annotator has decided before.
    all_vessels : bool
        As for :func:`judge`.
    """
    network, evidence = found.network, found.evidence
    model = scoring(sources_of(evidence))
    judged = judge(found.drafts, network, evidence, opinions, found.known, all_vessels)
    likely = [one for one in judged if one.score >= LEAST_SCORE]
    paired = Paired([one.draft for one in likely if not one.draft.piece and len(one.draft.own_ends) == 2])
    likely = [one for one in likely if not (one.draft.piece and paired.joins(one.draft, network.calibre))]
    likely += [one for one in judge_tips(found.tips, evidence, found.known) if one.score >= LEAST_TIP]
    for one in sorted(_exclusive(likely, network, rejected), key=lambda one: -one.score):
        gap = _finished_once(one, network, model, found.known)
        if gap is not None:
            yield gap


def _exclusive(judged: list[Judged], network: Network, rejected: Collection[Gap]) -> Iterator[Judged]:
    """Best first, each end of a vessel once, and no two that cross or join the same two places."""
    used: dict[tuple[int, int], int] = {}
    spots: set[int] = set()
    height, width = network.mask.shape
    taken = np.zeros((height, width), np.int32)
    places = Places(len(rejected) + len(judged))
    for gap in rejected:
        if len(gap.path):
            places.add(gap.path)
    # Across another vessel first, where that is likelier than not: to join each side with it would take two proposals.
    order = sorted(judged, key=lambda j: (not _crosses(j), -j.score, j.draft.start.point, j.draft.goal))
    for one in order:
        draft = one.draft
        # One piece of a completion map may join three vessels, by two ways that share a stretch and an end.
        owner = draft.piece or -1
        spot = draft.start.end is None and not draft.piece and not draft.tip
        if any(used.get(end, draft.piece) != draft.piece for end in draft.own_ends):
            continue
        if spot and draft.start.component in spots:
            continue
        path = draft.bridge.path
        near = max(draft.bridge.width, network.calibre, 2.0)
        if places.joined(path, near):
            continue
        y, x = pixels_of(path, taken.shape).T
        owners = taken[y, x]
        if ((owners != 0) & (owners != draft.piece)).any():
            continue
        used.update(dict.fromkeys(draft.own_ends, owner))
        if spot:
            spots.add(draft.start.component)
        places.add(path)
        # Drawn 8-connected, two paths can cross without sharing a pixel; a cross at every step cannot be missed.
        for dy, dx in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
            taken[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)] = owner
        yield one


def _crosses(one: Judged) -> bool:
    return one.draft.crossed > 0 and one.score >= 0.5


def _finished_once(judged: Judged, network: Network, model: Scoring, known: Known) -> Gap | None:
    """Make the proposal, or take the one that was made when the same course was judged alike."""
    draft = judged.draft
    said, gap = known.gaps.get(draft, (None, None))
    now = (judged.score, judged.link, judged.fragment, judged.facts)
    if said != now:
        gap = _finished(judged, network, model)
    elif gap is not None and gap.effect.components_before != network.count:
        apart = gap.effect.components_after - gap.effect.components_before
        effect = replace(gap.effect, components_before=network.count, components_after=network.count + apart)
        gap = replace(gap, effect=effect)
    known.gaps[draft] = (now, gap)
    return gap


def _finished(judged: Judged, network: Network, model: Scoring) -> Gap | None:
    """Make the proposal, thin enough to touch only the two vessels it joins; None when even a line touches a third."""
    draft, bridge = judged.draft, judged.draft.bridge
    near, far = bridge.radii if bridge.to_end else (bridge.radii[0], min(bridge.radii))
    course: NDArray[np.floating] = bridge.path
    widths: NDArray[np.floating] | None = draft.widths
    if widths is None:
        course, widths = settle(course, bridge.radii, network.mask, (draft.start.end is not None, bridge.to_end))
    path = course.astype(np.float32)
    joined = {draft.start.component, draft.goal_component, draft.crossed} - {0}
    for widest in (np.inf, 3.0, 1.0):
        drawn = np.minimum(widths, widest).astype(np.float32)
        if _touched(path, drawn, network.labels) <= joined:
            break
    else:
        return None
    ends = (
        GapEnd(draft.start.component, _point(path[0]), draft.start.tangent, near, draft.start.end is not None),
        GapEnd(draft.goal_component, _point(path[-1]), bridge.back, far, bridge.to_end),
    )
    effect = Effect(
        components_before=network.count,
        components_after=network.count - (len(joined) - 1),
        centreline_px=length_of(path),
        connected_px=0.0 if bridge.loop or draft.tip else bridge.smaller_px,
        cycles=0 if draft.tip else (2 if draft.crossed else 1) - (len(joined) - 1),
    )
    anchor = draft.goal if draft.goal_end is None else draft.goal_end.point
    own = draft.start.point if draft.start.end is None else draft.start.end.point
    kind = GapKind.TIP if draft.tip else GapKind.VIG if draft.piece else GapKind.BRIDGE
    return Gap(
        id=gap_id(own, anchor, kind),
        kind=kind,
        ends=ends[:1] if draft.tip else ends,
        path=path,
        widths=drawn,
        score=judged.score,
        reasons=tuple(_reasons(judged, model)),
        effect=effect,
        link=None if draft.tip else judged.link,
        linked=judged.linked,
        fragment=judged.fragment,
        calibrated=True,
        facts=judged.facts,
        completion=draft.seen.get("completion"),
    )


def _reasons(judged: Judged, model: Scoring) -> list[Reason]:
    """Say what makes the score, strongest first: what each observation adds to the link's log-odds, and both sides."""
    draft = judged.draft
    if draft.tip:
        assert model.tip is not None
        return tip_reasons(draft.seen, model.tip.contributions(draft.seen), draft.bridge)
    weight = 1.0 if judged.fragment is None else model.both[1]
    terms = {name: weight * value for name, value in model.link.contributions(draft.seen).items()}
    reasons = reasons_of(draft.seen, terms, draft.bridge)
    return strongest([*reasons, *_by_annotator(judged.link, judged.linked, judged.fragment, judged.score, model)])


def _by_annotator(
    link: float, linked: float | None, fragment: float | None, score: float, model: Scoring
) -> Iterator[Reason]:
    """Say what both scores make of what an annotator has decided."""
    yours = log_odds(link) if fragment is None else model.linked(link)
    if linked is not None:
        yield Reason(_YOURS, yours - linked)
    if fragment is not None:
        # What makes a chance of the link's: the logarithm of a factor, nothing for sides that are vessels for sure.
        yield Reason(f"{_LESS_CERTAIN}: {short(fragment)}", log(max(score, 1e-9) / chance(yours)))


def rescored(gaps: Sequence[Gap], beliefs: Beliefs) -> list[Gap]:
    """Score proposals by what an annotator takes for a vessel, and for one; microseconds each, without the image.

    The score changes by what the chances of the link and of the less certain side do, so it makes no difference how
    often, or by what other beliefs, a proposal was scored before.

    Parameters
    ----------
    gaps : sequence of Gap
        Open proposals.
    beliefs : Beliefs
        What this annotator takes for a vessel, and for one and the same, by now.

    Returns
    -------
    list of Gap
        In the same order. Those of which nothing is known, tips and cuts are as they were.
    """
    found = list(gaps)
    by_sources: dict[str, list[int]] = {}
    for number, gap in enumerate(gaps):
        if gap.link is not None and gap.linked is not None and (gap.facts or gap.fragment is None):
            by_sources.setdefault(seen_in(gap.facts), []).append(number)
    for sources, numbers in by_sources.items():
        some, model = [gaps[number] for number in numbers], scoring(sources)
        belief, told = beliefs.about(sources), [gap.facts for gap in some]
        befores, vessels = belief.told_by(columns_of(belief.prior, told), len(told))
        linked = beliefs.links(np.asarray([gap.linked for gap in some], np.float64))
        links = model.links_of(linked) if sources else chances(linked)
        each = zip(numbers, befores.tolist(), vessels.tolist(), links.tolist(), chances(linked).tolist(), strict=True)
        for number, before, vessel, link, held in each:
            found[number] = _rescored(gaps[number], (before, vessel), link, held, model)
    return found


def _rescored(gap: Gap, vessel: tuple[float, float], link: float, held: float, model: Scoring) -> Gap:
    """Score a proposal anew.

    By the chances that its less certain side is a vessel, before and after what this annotator decided, and that its
    link holds to annotators.
    """
    assert gap.link is not None
    fragment, score = None, held
    if gap.fragment is not None:
        # What the other side is thought to be stays.
        sides = model.vessel(*vessel) / model.vessel(vessel[0], gap.fragment)
        fragment, score = vessel[1], gap.score * sides * held / chance(model.linked(gap.link))
    if (link, fragment, score) == (gap.link, gap.fragment, gap.score):
        return gap
    reasons = [reason for reason in gap.reasons if not reason.text.startswith((_LESS_CERTAIN, _YOURS))]
    reasons += _by_annotator(link, gap.linked, fragment, score, model)
    return replace(gap, link=link, fragment=fragment, score=score, reasons=tuple(strongest(reasons)))


def expected_gain(gap: Gap) -> float:
    """Return what deciding a proposal is expected to bring: its chance times what hangs on it.

    That is one for the break itself, and more, as the logarithm, for the centreline that is joined, in calibres: a long
    branch is worth more than a speck, but not as many times as it is longer. Of a cut it is the chance alone: a false
    loop is as wrong as a false join.

    Parameters
    ----------
    gap : Gap
        The proposal; its effect as it is now.
    """
    if gap.kind is GapKind.CUT:
        return gap.score
    calibre = max(2.0 * max((end.radius for end in gap.ends), default=0.0), 1.0)
    return gap.score * (1.0 + log1p(gap.effect.connected_px / calibre))


def gap_id(first: tuple[int, int], second: tuple[int, int], kind: GapKind = GapKind.BRIDGE) -> str:
    """Name the gap between two centreline pixels (y, x), the same from either side."""
    (a, b), (c, d) = sorted([first, second])
    return kind.value[0] + hashlib.blake2b(f"{a},{b},{c},{d}".encode(), digest_size=6).hexdigest()


def _point(point: NDArray[np.float32]) -> tuple[float, float]:
    return (float(point[0]), float(point[1]))


def _touched(path: NDArray[np.float32], widths: NDArray[np.float32], labels: NDArray[np.int32]) -> set[int]:
    """Return the components that a drawing would merge: those under it and 8-adjacent to it."""
    import cv2

    (y, x), patch = draw_path(path, widths, (labels.shape[0], labels.shape[1]))
    top, left = min(y, 1), min(x, 1)
    view = labels[y - top : y + patch.shape[0] + 1, x - left : x + patch.shape[1] + 1]
    bottom, right = view.shape[0] - patch.shape[0] - top, view.shape[1] - patch.shape[1] - left
    grown = cv2.dilate(np.pad(patch, ((top, bottom), (left, right))).view(np.uint8), np.ones((3, 3), np.uint8))
    return set(np.unique(view[grown > 0]).tolist()) - {0}
