"""Keeping open proposals true while the mask is edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.completion.paths import pixels_of


def refresh_effects(gaps: Sequence[Gap], components: NDArray[np.int32], count: int) -> list[Gap]:
    """Bring proposals up to date after an edit of the mask, without looking for new ones.

    Parameters
    ----------
    gaps : sequence of Gap
        Open proposals.
    components : ndarray of int32, shape (Y, X)
        The mask's components now, `count` of them.
    count : int
        Number of components now.

    Returns
    -------
    list of Gap
        In the same order. Proposals that lost a vessel at an end, or whose way is now mostly vessel, are left out; one
        whose ends have become one component now makes a loop. A tip is left out when its vessel is gone or its way is
        mostly vessel, a cut when its way is mostly gone.
    """
    if not gaps:
        return []
    sizes = np.asarray([len(gap.path) for gap in gaps])
    y, x = pixels_of(np.concatenate([gap.path for gap in gaps]), components.shape).T
    under = components[y, x]
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    lasts = np.cumsum(sizes) - 1
    covered = np.add.reduceat((under > 0).astype(np.int64), firsts)
    kept = []
    for gap, start, size, inner, first, last in zip(
        gaps,
        firsts.tolist(),
        sizes.tolist(),
        covered.tolist(),
        under[firsts].tolist(),
        under[lasts].tolist(),
        strict=True,
    ):
        if gap.kind is GapKind.CUT:
            if 2 * inner > size and max(first, last) > 0:
                kept.append(_cut_updated(gap, max(first, last), count))
            continue
        if gap.kind is GapKind.TIP:
            if first > 0 and 2 * (inner - 1) <= size - 1:
                kept.append(_tip_updated(gap, first, count))
            continue
        if first == 0 or last == 0 or (size > 2 and 2 * (inner - 2) > size - 2):
            continue
        kept.append(_updated(gap, under[start : start + size], count))
    return kept


def effect_now(gap: Gap, components: NDArray[np.int32], count: int) -> Gap | None:
    """Bring one proposal up to date, as :func:`refresh_effects` does; None when there is nothing left to join."""
    kept = refresh_effects([gap], components, count)
    return kept[0] if kept else None


def _cut_updated(gap: Gap, component: int, count: int) -> Gap:
    """Bring a cut up to date; whether its two sides are joined elsewhere is taken to be as it was."""
    ends = tuple(replace(end, component=component) for end in gap.ends)
    effect = replace(gap.effect, components_before=count, components_after=count + 1 + gap.effect.cycles)
    return replace(gap, ends=ends, effect=effect)


def _tip_updated(gap: Gap, component: int, count: int) -> Gap:
    effect = replace(gap.effect, components_before=count, components_after=count)
    return replace(gap, ends=(replace(gap.ends[0], component=component),), effect=effect)


def _updated(gap: Gap, under: NDArray[np.int32], count: int) -> Gap:
    """Bring a bridge up to date; `under` is the component under each point of its path, shape (N,)."""
    components = (int(under[0]), int(under[-1]))
    apart = len(set(under.tolist()) - {0}) - 1
    # One that leads across a third vessel closes two ways at once.
    closed = max(int(((under[1:] == 0) & (under[:-1] > 0)).sum()), 1)
    effect = gap.effect
    now = (count, count - apart, closed - apart)
    if gap.joins == components and (effect.components_before, effect.components_after, effect.cycles) == now:
        return gap
    connected = effect.connected_px if apart else 0.0
    effect = replace(effect, components_before=now[0], components_after=now[1], cycles=now[2], connected_px=connected)
    if gap.joins == components:
        # What most edits leave most proposals with: nothing but the count is new.
        return replace(gap, effect=effect)
    ends = tuple(replace(end, component=label) for end, label in zip(gap.ends, components, strict=False))
    return replace(gap, ends=ends, effect=effect)
