"""Which courses speak against each other: an end of a vessel goes on in one way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import hypot

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.drafts import Draft

# How far apart two places of one piece must be for courses to them to be two ways, in median calibres.
_APART = 3.0


def rivals_of(drafts: Sequence[Draft], calibre: float) -> list[list[int]]:
    """Return for each course the others that leave one of its ends for another place.

    Parameters
    ----------
    drafts : sequence of Draft
        All courses.
    calibre : float
        Median calibre, px.

    Returns
    -------
    list of list of int
        Indices into `drafts`, in order.
    """
    by_end: dict[tuple[int, int], list[int]] = {}
    for number, draft in enumerate(drafts):
        for key in _leaves(draft):
            by_end.setdefault(key, []).append(number)
    found: list[set[int]] = [set() for _ in drafts]
    for key, numbers in by_end.items():
        for one, other in permutations(numbers, 2):
            if not _same_way(drafts[one], drafts[other], key, _APART * calibre):
                found[one].add(other)
    return [sorted(numbers) for numbers in found]


def rivalry(logits: NDArray[np.float64], rivals: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Return how likely the rivals of each course are, all together: log(1 + sum of their odds), shape (N,)."""
    odds = np.exp(np.clip(logits, -30.0, 30.0))
    return np.asarray([np.log1p(odds[list(numbers)].sum()) for numbers in rivals], np.float64)


def _leaves(draft: Draft) -> list[tuple[int, int]]:
    """Name the ends, and the spots, that a course leaves: (kind, number)."""
    keys = [(0, end) for end in sorted(draft.own_ends)]
    if draft.start.end < 0 and not draft.piece:
        keys.append((1, draft.start.component))
    return keys


def _same_way(one: Draft, other: Draft, key: tuple[int, int], apart: float) -> bool:
    """Tell whether two courses that share an end lead to the same place, or are one piece of a completion map."""
    if one.piece and one.piece == other.piece:
        return True
    (first, a), (second, b) = _far(one, key), _far(other, key)
    return first == second and hypot(a[0] - b[0], a[1] - b[1]) <= apart


def _far(draft: Draft, key: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """Return the component and the place at a course's other side."""
    if key == (0, draft.goal_end):
        return draft.start.component, draft.start.point
    return draft.goal_component, draft.goal
