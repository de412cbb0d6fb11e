"""What this annotator takes for a vessel: the fragment score, moved by each of their decisions.

People agree on few things less than on which faint piece is a vessel (two observers of DRIVE: kappa .22). So what is
learnt once from data is a starting point, and a Bayesian logistic model on the same facts learns the rest from one
annotator: its weights begin at nothing, with a normal prior, and are set to the most likely ones after every decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.scoring import Additive, chance, chances, scoring

# Standard deviations of the weights before any decision, in log-odds: of the whole, and over the spread of a fact. With
# wider ones, fifty decisions of observers in training images made more noise than they told.
_BIAS = 0.7
_SLOPE = 0.4
_STEPS = 8

Facts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody has decided on a piece.

    Attributes
    ----------
    facts : mapping of str to float
        What was known of it.
    vessel : bool
        Whether it is one.
    weight : float
        How sure that is, 0 to 1: who refuses a bridge to a piece may have meant the bridge.
    """

    facts: Facts
    vessel: bool
    weight: float = 1.0


class Belief:
    """The fragment score of one annotator.

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
        said = np.asarray([(d.vessel, d.weight) for d in decisions], np.float64)
        table = self._spread = np.concatenate([self._spread, spread])
        self._known = np.concatenate([self._known, np.column_stack([prior, said])])
        prior, right, sure = self._known.T
        stiff = np.full(table.shape[1], 1.0 / _SLOPE**2)
        stiff[0] = 1.0 / _BIAS**2
        weights = self._weights
        for _ in range(_STEPS):
            likely = 1.0 / (1.0 + np.exp(-np.clip(prior + table @ weights, -30.0, 30.0)))
            slope = table.T @ (sure * (likely - right)) + stiff * weights
            bend = (table.T * (sure * likely * (1.0 - likely))) @ table + np.diag(stiff)
            weights = weights - np.linalg.solve(bend, slope)
        self._weights = weights

    def after(self, decisions: Sequence[Opinion]) -> Belief:
        """Return the belief after further decisions; this one stays as it is."""
        found = Belief(self.prior)
        # What is learnt makes new arrays and changes none.
        found._weights, found._spread, found._known = self._weights, self._spread, self._known
        found.learn(decisions)
        return found

    def logit(self, facts: Facts) -> float:
        """Return the log-odds that a piece is a vessel to this annotator."""
        return float(self._logits(columns_of(self.prior, [facts]), 1)[0])

    def chance(self, facts: Facts) -> float:
        """Return the probability that a piece is a vessel to this annotator."""
        return chance(self.logit(facts))

    def chances(self, pieces: Sequence[Facts]) -> NDArray[np.float64]:
        """Return the same of several pieces at once, shape (N,)."""
        return chances(self._logits(columns_of(self.prior, pieces), len(pieces)))

    def chances_by(self, facts: Mapping[str, NDArray[np.float64]], count: int) -> NDArray[np.float64]:
        """Return the same of `count` pieces, shape (N,); each fact is an array of that shape, NaN where not known."""
        return chances(self._logits(facts, count))

    def _logits(self, facts: Mapping[str, NDArray[np.float64]], count: int) -> NDArray[np.float64]:
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
    """What one annotator takes for a vessel: a belief for each combination of what there is to look at.

    Parameters
    ----------
    opinions : sequence of Opinion
        What they have decided.
    """

    def __init__(self, opinions: Sequence[Opinion] = ()) -> None:
        self._opinions = tuple(opinions)
        self._before: Beliefs | None = None
        self._made: dict[str, Belief] = {}

    def after(self, opinions: Sequence[Opinion]) -> Beliefs:
        """Return what they believe after further decisions; this one stays as it is."""
        found = Beliefs(opinions)
        found._before = self
        return found

    def about(self, sources: str) -> Belief:
        """Return the belief for what there is to look at, as ``sources_of`` of the scores names it; made once."""
        if sources not in self._made:
            before = Belief(scoring(sources).fragment) if self._before is None else self._before.about(sources)
            self._made[sources] = before.after(self._opinions)
        return self._made[sources]
