"""Figures over many images: pooled, with intervals from drawing images, and a boosting ranker beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from common import decimal
from numpy.typing import NDArray

Table = NDArray[np.float64]
"""Rows of one image: columns are score and right (0 or 1), or whatever a statistic reads."""

DRAWS = 1000
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """A pooled figure, its 95 % interval over images, and how many rows it rests on."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if np.isnan(self.value):
            return ""
        return f"{decimal(self.value)} ({decimal(self.low)} to {decimal(self.high)})"

    def to_json(self) -> dict[str, Any]:
        """Return plain values; None where there is no figure."""
        return {name: None if np.isnan(v) else round(v, 4) for name, v in asdict(self).items()}


def pooled(images: Sequence[Table], statistic: Callable[[Table], float], seed: int = 0) -> Figure:
    """Return a statistic of all rows together, and its interval by drawing whole images with replacement.

    Parameters
    ----------
    images : sequence of ndarray, shape (N_i, K)
        The rows of each image; the rows of one image are not independent.
    statistic : callable
        Of all rows, shape (N, K); NaN where it is not defined.
    seed : int
        Of the draws.
    """
    filled = [rows for rows in images if len(rows)]
    if not filled:
        return Figure(float("nan"), float("nan"), float("nan"), 0)
    chosen = np.random.default_rng(seed).integers(len(filled), size=(DRAWS, len(filled)))
    if statistic in (mean, ratio):
        # Sums by image are enough, and a thousand times faster.
        sums = np.asarray([_sums(rows, statistic) for rows in filled])[chosen].sum(axis=1)
        drawn = np.divide(sums[:, 0], sums[:, 1], out=np.full(DRAWS, np.nan), where=sums[:, 1] > 0)
    else:
        drawn = np.asarray([statistic(np.concatenate([filled[n] for n in draw])) for draw in chosen])
    known = drawn[~np.isnan(drawn)]
    low, high = np.percentile(known, [2.5, 97.5]) if known.size else (np.nan, np.nan)
    everything = np.concatenate(filled)
    return Figure(float(statistic(everything)), float(low), float(high), len(everything))


def _sums(rows: Table, statistic: Callable[[Table], float]) -> tuple[float, float]:
    """Return the two sums of an image whose ratio over all images is the statistic."""
    return float(rows[:, 0].sum()), float(len(rows) if statistic is mean else rows[:, 1].sum())


def mean(rows: Table) -> float:
    """Mean of the first column."""
    return float(rows[:, 0].mean()) if len(rows) else float("nan")


def ratio(rows: Table) -> float:
    """Sum of the first column over that of the second."""
    below = float(rows[:, 1].sum())
    return float(rows[:, 0].sum()) / below if below else float("nan")


def auc(rows: Table) -> float:
    """Chance that a right row (second column) scores (first column) above a wrong one; ties count half."""
    from scipy.stats import rankdata

    right = rows[:, 1] > 0
    good, bad = int(right.sum()), int((~right).sum())
    if not good or not bad:
        return float("nan")
    ranks = rankdata(rows[:, 0])
    return float((ranks[right].sum() - good * (good + 1) / 2) / (good * bad))


def precision_at_recall(recall: float) -> Callable[[Table], float]:
    """Return the statistic: share of right rows among all that score at least as high as this recall needs."""

    def precision(rows: Table) -> float:
        right = rows[:, 1] > 0
        if not right.any():
            return float("nan")
        scores = np.sort(rows[right, 0])[::-1]
        cut = scores[min(int(np.ceil(recall * len(scores))), len(scores)) - 1]
        return float(right[rows[:, 0] >= cut].mean())

    return precision


def recall_at_precision(precision: float) -> Callable[[Table], float]:
    """Return the statistic: the largest share of the right rows that a cut with at least this precision keeps."""

    def recall(rows: Table) -> float:
        if not (rows[:, 1] > 0).any():
            return float("nan")
        ordered = rows[np.argsort(-rows[:, 0], kind="stable")]
        found = np.cumsum(ordered[:, 1] > 0)
        # Rows with one score are kept or left together.
        last = np.append(ordered[1:, 0] < ordered[:-1, 0], True)
        kept = last & (found >= precision * np.arange(1, len(ordered) + 1))
        return float(found[kept].max(initial=0) / found[-1])

    return recall


def kappa(rows: Table) -> float:
    """Cohen's kappa of two columns of 0 and 1."""
    a, b = rows[:, 0] > 0, rows[:, 1] > 0
    agree = float((a == b).mean())
    chance = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    return (agree - chance) / (1 - chance) if chance < 1 else float("nan")


def boosting_version() -> str | None:
    """Return the version of scikit-learn that boosts; None when it is not installed."""
    try:
        from sklearn import __version__, ensemble  # noqa: F401  the whole of it has to be importable
    except ImportError:
        return None
    return f"scikit-learn {__version__}"


def boosted(
    features: Sequence[Sequence[dict[str, float]]], right: Sequence[Sequence[bool]], used: Sequence[Sequence[bool]]
) -> list[NDArray[np.float64]] | None:
    """Score rows by gradient boosting, each by a model that saw other images only (five folds).

    Parameters
    ----------
    features : sequence, by image, of dict
        Hand features of each row; a missing one is NaN.
    right, used : sequence, by image, of bool
        What is to be predicted, and which rows may be learnt from.

    Returns
    -------
    list of ndarray, or None
        Scores by image; None when scikit-learn is not installed or there is nothing to learn.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        return None
    names = sorted({name for image in features for row in image for name in row})
    tables = [
        np.asarray([[row.get(name, np.nan) for name in names] for row in image]).reshape(-1, len(names))
        for image in features
    ]
    fold = np.random.default_rng(0).permutation(len(tables)) % FOLDS
    scores: list[NDArray[np.float64]] = [np.zeros(len(table)) for table in tables]
    for held in range(FOLDS):
        learnt = [n for n in range(len(tables)) if fold[n] != held]
        if not learnt or len(learnt) == len(tables):
            continue
        x = np.concatenate([tables[n][np.asarray(used[n], bool)] for n in learnt])
        y = np.concatenate([np.asarray(right[n], bool)[np.asarray(used[n], bool)] for n in learnt])
        if len(np.unique(y)) < 2:
            return None
        model = HistGradientBoostingClassifier(random_state=0).fit(x, y)
        for n in np.flatnonzero(fold == held):
            if len(tables[n]):
                scores[n] = model.predict_proba(tables[n])[:, 1]
    return scores
