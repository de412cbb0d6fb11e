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
        whose ends have become one component now makes a loop. A cut is left out when its way is mostly gone.
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
    for gap, size, inner, first, last in zip(
        gaps, sizes.tolist(), covered.tolist(), under[firsts].tolist(), under[lasts].tolist(), strict=True
    ):
        if gap.kind is GapKind.CUT:
            if 2 * inner > size and max(first, last) > 0:
                kept.append(_cut_updated(gap, max(first, last), count))
            continue
        if first == 0 or last == 0 or (size > 2 and 2 * (inner - 2) > size - 2):
            continue
        kept.append(_updated(gap, (first, last), count))
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


def _updated(gap: Gap, components: tuple[int, int], count: int) -> Gap:
    loop = components[0] == components[-1]
    after = count if loop else count - 1
    effect = gap.effect
    if gap.joins == components and (effect.components_before, effect.components_after) == (count, after):
        return gap
    now = replace(
        effect,
        components_before=count,
        components_after=after,
        connected_px=0.0 if loop else effect.connected_px,
        cycles=int(loop),
    )
    if gap.joins == components:
        # What most edits leave most proposals with: nothing but the count is new.
        return replace(gap, effect=now)
    ends = tuple(replace(end, component=label) for end, label in zip(gap.ends, components, strict=False))
    return replace(gap, ends=ends, effect=now)
