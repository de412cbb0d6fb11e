"""What this annotator takes for a vessel, and for one and the same: both scores, moved by each of their decisions.

People agree on few things less than on which faint piece is a vessel (two observers of DRIVE: kappa .22). So what is
learnt once from data is a starting point, and a Bayesian logistic model on the same facts learns the rest from one
annotator: its weights begin at nothing, with a normal prior, and are set to the most likely ones after every decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.scoring import Additive, Term, chance, chances, scoring

# Standard deviations of the weights before any decision, in log-odds: of the whole, and over the spread of a fact. With
# wider ones, fifty decisions of observers in training images made more noise than they told.
_BIAS = 0.7
_SLOPE = 0.4
_STEPS, _SMALLEST = 50, 1e-9
"""Newton's steps at most, and the smallest change of a weight that matters."""

LINKED = "linked"
"""What is known of a link: the log-odds that it holds, for annotators, before any decision of this one."""

_LINK = Additive(0.0, {LINKED: Term(np.asarray([-12.0, 12.0]), np.asarray([-12.0, 12.0]))})
"""The link score without any decision: those log-odds as they are. What is learnt is a shift of them, and a slope."""

Facts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody has decided on a piece, or on a link.

    Attributes
    ----------
    facts : mapping of str to float
        What was known of it; of a link, `LINKED` alone.
    right : bool
        Whether the piece is a vessel, or the link holds.
    weight : float
        How sure that is, 0 to 1: who refuses a bridge to a piece may have meant the bridge or the piece.
    """

    facts: Facts
    right: bool
    weight: float = 1.0

    @property
    def of_link(self) -> bool:
        """Whether it was decided on a link."""
        return LINKED in self.facts


class Belief:
    """One of the scores of one annotator.

    Parameters
    ----------
    prior : Additive
        What is known without any decision.
    """

    def __init__(self, prior: Additive) -> None:
        self.prior = prior
        width = 1 + len(prior.terms)
        self._weights = np.zeros(width)
        self._spread = np.empty((0, width))
        self._known = np.empty((0, 3))

    def learn(self, decisions: Sequence[Opinion]) -> None:
        """Take decisions into account; a few milliseconds, however many there were before."""
        if not decisions:
            return
        spread, prior = self._read(columns_of(self.prior, [d.facts for d in decisions]), len(decisions))
        said = np.asarray([(d.right, d.weight) for d in decisions], np.float64)
        table = self._spread = np.concatenate([self._spread, spread])
        self._known = np.concatenate([self._known, np.column_stack([prior, said])])
        prior, right, sure = self._known.T
        stiff = np.full(table.shape[1], 1.0 / _SLOPE**2)
        stiff[0] = 1.0 / _BIAS**2

        def cost(weights: NDArray[np.float64]) -> float:
            odds = prior + table @ weights
            return float((sure * (np.logaddexp(0.0, odds) - right * odds)).sum() + 0.5 * (stiff * weights**2).sum())

        weights, now = self._weights, cost(self._weights)
        for _ in range(_STEPS):
            likely = 1.0 / (1.0 + np.exp(-np.clip(prior + table @ weights, -30.0, 30.0)))
            slope = table.T @ (sure * (likely - right)) + stiff * weights
            bend = (table.T * (sure * likely * (1.0 - likely))) @ table + np.diag(stiff)
            step = np.linalg.solve(bend, slope)
            # Many decisions against what was expected make the full step far too long.
            while (after := cost(weights - step)) > now and np.abs(step).max() > _SMALLEST:
                step = step / 2.0
            if not after < now:
                break
            weights, now = weights - step, after
        self._weights = weights

    def after(self, decisions: Sequence[Opinion]) -> Belief:
        """Return the belief after further decisions; this one stays as it is."""
        found = Belief(self.prior)
        # What is learnt makes new arrays and changes none.
        found._weights, found._spread, found._known = self._weights, self._spread, self._known
        found.learn(decisions)
        return found

    def logit(self, facts: Facts) -> float:
        """Return the log-odds that a piece is a vessel to this annotator, or that a link holds."""
        return float(self.logits_by(columns_of(self.prior, [facts]), 1)[0])

    def chance(self, facts: Facts) -> float:
        """Return the probability of the same."""
        return chance(self.logit(facts))

    def told_by(
        self, facts: Mapping[str, NDArray[np.float64]], count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the same of `count` pieces, shape (N,), before any decision and after those that were taken in.

        Each fact is an array of that shape, NaN where not known.
        """
        spread, prior = self._read(facts, count)
        return chances(prior), chances(prior + (spread * self._weights).sum(axis=1))

    @property
    def decided(self) -> int:
        """Number of decisions that were taken into account."""
        return len(self._known)

    def logits_by(self, facts: Mapping[str, NDArray[np.float64]], count: int) -> NDArray[np.float64]:
        """Return the log-odds of the same."""
        spread, prior = self._read(facts, count)
        # Added up row by row: the result of a piece must not depend on the others, or on their order.
        return np.asarray(prior + (spread * self._weights).sum(axis=1))

    def _read(
        self, facts: Mapping[str, NDArray[np.float64]], count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Put facts on one scale: from -1 to 1 over what is usual, 0 where one is not known; and what the prior says.

        Returns
        -------
        ndarray of float64, shape (N, 1 + terms); ndarray of float64, shape (N,)
        """
        spread = np.zeros((count, 1 + len(self.prior.terms)))
        spread[:, 0] = 1.0
        prior = np.full(count, self.prior.intercept)
        for column, (name, term) in enumerate(self.prior.terms.items(), 1):
            seen = facts[name]
            known = ~np.isnan(seen)
            prior[known] += np.interp(seen[known], term.knots, term.values)
            low, high = float(term.knots[0]), float(term.knots[-1])
            if high > low:
                spread[known, column] = np.clip(2.0 * (seen[known] - low) / (high - low) - 1.0, -1.5, 1.5)
        return spread, prior


def columns_of(prior: Additive, pieces: Sequence[Facts]) -> dict[str, NDArray[np.float64]]:
    """Return what is known of some pieces, by fact: arrays of shape (N,), NaN where one is not known."""
    return {name: np.asarray([facts.get(name, np.nan) for facts in pieces], np.float64) for name in prior.terms}


class Beliefs:
    """What one annotator takes for a vessel, a belief for each combination of what there is to look at, and for a link.

    Parameters
    ----------
    opinions : sequence of Opinion
        What they have decided.
    """

    def __init__(self, opinions: Sequence[Opinion] = ()) -> None:
        self._opinions = tuple(opinions)
        self._before: Beliefs | None = None
        self._made: dict[str, Belief] = {}
        self._link: Belief | None = None

    def after(self, opinions: Sequence[Opinion]) -> Beliefs:
        """Return what they believe after further decisions; this one stays as it is."""
        found = Beliefs(opinions)
        found._before = self
        return found

    def about(self, sources: str) -> Belief:
        """Return the belief for what there is to look at, as ``sources_of`` of the scores names it; made once."""
        if sources not in self._made:
            before = Belief(scoring(sources).fragment) if self._before is None else self._before.about(sources)
            self._made[sources] = before.after([one for one in self._opinions if not one.of_link])
        return self._made[sources]

    def links(self, linked: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log-odds that links hold to this annotator from those for annotators, both of shape (N,)."""
        belief = self._about_links()
        # Nothing decided moves nothing, to the last digit.
        return belief.logits_by({LINKED: linked}, len(linked)) if belief.decided else linked

    def _about_links(self) -> Belief:
        if self._link is None:
            before = Belief(_LINK) if self._before is None else self._before._about_links()
            self._link = before.after([one for one in self._opinions if one.of_link])
        return self._link
