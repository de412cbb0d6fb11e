"""What this annotator takes for a vessel: the fragment score, moved by each of their decisions.

People agree on few things less than on which faint piece is a vessel (two observers of DRIVE: kappa .22). So what is
learnt once from data is a starting point, and a Bayesian logistic model on the same facts learns the rest from one
annotator: its weights begin at nothing, with a normal prior, and are set to the most likely ones after every decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.scoring import Additive, chance

# Standard deviations of the weights before any decision, in log-odds: of the whole, and over the spread of a fact.
_BIAS = 1.0
_SLOPE = 0.7
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


@dataclass(eq=False, slots=True)
class Belief:
    """The fragment score of one annotator.

    Parameters
    ----------
    prior : Additive
        What is known without any decision.
    """

    prior: Additive
    _decisions: list[Opinion] = field(default_factory=list)
    _weights: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._weights = np.zeros(1 + len(self.prior.terms))

    def learn(self, decisions: Sequence[Opinion]) -> None:
        """Take decisions into account; a few milliseconds, however many there were before."""
        self._decisions += decisions
        if not self._decisions:
            return
        table = np.stack([self._spread(d.facts) for d in self._decisions])
        prior = np.asarray([self.prior.logit(d.facts) for d in self._decisions])
        right = np.asarray([d.vessel for d in self._decisions], np.float64)
        sure = np.asarray([d.weight for d in self._decisions])
        stiff = np.full(table.shape[1], 1.0 / _SLOPE**2)
        stiff[0] = 1.0 / _BIAS**2
        weights = self._weights
        for _ in range(_STEPS):
            likely = 1.0 / (1.0 + np.exp(-np.clip(prior + table @ weights, -30.0, 30.0)))
            slope = table.T @ (sure * (likely - right)) + stiff * weights
            bend = (table.T * (sure * likely * (1.0 - likely))) @ table + np.diag(stiff)
            weights = weights - np.linalg.solve(bend, slope)
        self._weights = weights

    def logit(self, facts: Facts) -> float:
        """Return the log-odds that a piece is a vessel to this annotator."""
        return self.prior.logit(facts) + float(self._spread(facts) @ self._weights)

    def chance(self, facts: Facts) -> float:
        """Return the probability that a piece is a vessel to this annotator."""
        return chance(self.logit(facts))

    def _spread(self, facts: Facts) -> NDArray[np.float64]:
        """Put facts on one scale: from -1 to 1 over what is usual; 0 where one is not known."""
        row = [1.0]
        for name, term in self.prior.terms.items():
            low, high = float(term.knots[0]), float(term.knots[-1])
            seen = facts.get(name, np.nan)
            known = high > low and not np.isnan(seen)
            row.append(float(np.clip(2.0 * (seen - low) / (high - low) - 1.0, -1.5, 1.5)) if known else 0.0)
        return np.asarray(row)
