"""Fitting an additive model: piecewise linear terms, each of which may only rise or only fall."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from napari_vessel.completion.scoring import Additive, Term

KNOTS = 7
TAILS = 0.01
PENALTY = 3.0
"""Of the squared slope between two knots, in log-odds, beside the sum over all rows."""


def fitted(
    rows: Sequence[Mapping[str, float]],
    right: NDArray[np.bool_],
    weights: NDArray[np.float64],
    names: Sequence[str],
    rises: Collection[str],
    falls: Collection[str],
    *,
    balanced: bool = False,
    count: int = KNOTS,
) -> Additive:
    """Fit an additive model.

    Parameters
    ----------
    rows : sequence of mapping of str to float
        Observations; a missing or unknown one (NaN) adds nothing.
    right : ndarray of bool, shape (N,)
        What is to be told.
    weights : ndarray of float, shape (N,)
        Of the rows.
    names : sequence of str
        Observations to use.
    rises, falls : collection of str
        Those of them that may only speak for, the more of it there is, and only against.
    balanced : bool
        Place knots as if there were as many rows that are right as wrong ones: for what is rare.
    count : int
        Knots of a term.

    Returns
    -------
    Additive
        Its terms are centred: over the rows, each adds nothing on the average.
    """
    table = np.asarray([[row.get(name, np.nan) for name in names] for row in rows], np.float64)
    # Each row of the rarer answer as often as it takes to be as many as the others.
    few, many = sorted((np.flatnonzero(right), np.flatnonzero(~right)), key=len)
    placed = np.concatenate([np.resize(few, len(many)), many]) if balanced else np.arange(len(table))
    knots = [_knots(table[placed, n], count) for n in range(len(names))]
    columns, owners, lows, highs = [], [], [], []
    for n, name in enumerate(names):
        for low, high in zip(knots[n][:-1], knots[n][1:], strict=True):
            column = np.clip((table[:, n] - low) / (high - low), 0.0, 1.0)
            columns.append(np.where(np.isnan(column), 0.0, column))
            owners.append(n)
            lows.append(-np.inf if name not in rises else 0.0)
            highs.append(np.inf if name not in falls else 0.0)
    basis = np.stack([np.ones(len(rows)), *columns], axis=1)
    sign = np.where(right, 1.0, -1.0)

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (basis @ x)
        value = float((weights * np.logaddexp(0.0, -margin)).sum() + PENALTY * (x[1:] ** 2).sum())
        pull = -weights * sign / (1.0 + np.exp(margin))
        slope = basis.T @ pull
        slope[1:] += 2.0 * PENALTY * x[1:]
        return value, slope

    bounds = [(-np.inf, np.inf), *zip(lows, highs, strict=True)]
    found = minimize(
        loss, np.zeros(basis.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 800}
    )
    intercept, steps = float(found.x[0]), found.x[1:]
    terms = {}
    for n, name in enumerate(names):
        rise = steps[np.asarray(owners) == n]
        values = np.concatenate([[0.0], np.cumsum(rise)])
        if not np.abs(values).max() > 0.01:
            continue
        known = ~np.isnan(table[:, n])
        centre = float(np.average(np.interp(table[known, n], knots[n], values), weights=weights[known]))
        # What is not known adds nothing, so it has to be taken for ordinary.
        intercept += centre * (float(weights[known].sum() / weights.sum()) if not known.all() else 1.0)
        terms[name] = Term(knots[n], values - centre)
    return Additive(intercept, terms)


def _knots(column: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    known = column[~np.isnan(column)]
    if not known.size:
        return np.zeros(1)
    return np.unique(np.quantile(known, np.linspace(TAILS, 1.0 - TAILS, count)).round(4))


def calibration_error(chance: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float:
    """Return the expected calibration error: mean over equal-width bins of the gap between chance and share right."""
    number = np.minimum((chance * bins).astype(np.intp), bins - 1)
    count = np.bincount(number, minlength=bins)
    apart = np.abs(np.bincount(number, chance, bins) - np.bincount(number, right.astype(np.float64), bins))
    return float(apart.sum() / max(count.sum(), 1))
