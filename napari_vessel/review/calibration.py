"""Accepting in bulk, calibrated on an annotator's own verdicts.

The score of a proposal puts the list in order; what share of the proposals above a score *this* annotator would refuse
is another question. Verdicts that were given one by one answer it::

    pairs = judged(decided for image in project.images() for decided in project.verdicts(image.id))
    calibration = Calibration.from_verdicts(pairs)
    calibration.expected_wrong(session.open_gaps, 0.8).text   # 12 gaps, about 0.4 wrong, at most 2 (...)
    calibration.suggest(0.05)                                 # .cut is None: .text says what is missing

For this purpose *right* means accepted as it was proposed; rejected and repainted are *wrong*; unsure and skipped say
nothing. All bounds are exact binomial ones (Clopper and Pearson, 1934). They hold for gaps like those that were judged.
What was accepted in bulk has not been looked at and teaches nothing; :mod:`napari_vessel.review.audit` finds out
whether it is like the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.review.edits import Verdict, VerdictRecord

LEVEL = 0.05
"""Share of wrong ones that a suggested score stays below."""
CONFIDENCE = 0.95

CUTS = tuple(step / 100 for step in range(50, 100, 5))
"""Scores that may be suggested. They are fixed beforehand and few: of many, some would look good by chance."""
ISOTONIC_FROM = 100
"""Verdicts from which on they shape the curve freely; fewer only shift and stretch the score."""

_PRIOR_SPREAD = (1.5, 0.5)  # of shift and stretch, in log-odds: how far verdicts are expected to be from the score
_PRIOR_VERDICTS = 10.0  # weight of the smooth curve beside the free one, in verdicts
_EDGE = 1e-3


@dataclass(frozen=True, slots=True)
class Judged:
    """A proposal's score, and whether the annotator took it as it was."""

    score: float
    right: bool


def judged(verdicts: Iterable[tuple[Gap, VerdictRecord]], annotator: str | None = None) -> list[Judged]:
    """Return what verdicts say about the scores of gaps.

    Parameters
    ----------
    verdicts : iterable of (Gap, VerdictRecord)
        Of any number of images. Those accepted in bulk (never on the screen: 0 seconds), unsure and skipped ones are
        left out, and so are cuts: their score answers another question, and they are never accepted in bulk.
    annotator : str, optional
        Whose; everybody's when left out.
    """
    told = {Verdict.ACCEPTED: True, Verdict.REPAINTED: False, Verdict.REJECTED: False}
    return [
        Judged(record.score, told[record.verdict])
        for gap, record in verdicts
        if record.verdict in told
        and gap.kind is not GapKind.CUT
        and annotator in (None, record.annotator)
        and (record.verdict is not Verdict.ACCEPTED or record.seconds > 0.0)
    ]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a bulk accept is expected to do.

    Attributes
    ----------
    cut : float
        The lowest score that is accepted.
    gaps : int
        How many open gaps that are.
    expected : float
        How many of them are wrong, as the calibrated scores have it.
    upper : int or None
        How many wrong ones there are at most, with :data:`CONFIDENCE`, from the verdicts at or above the cut alone;
        None without any.
    seen, seen_wrong : int
        Those verdicts, and how many of them were against the proposal.
    """

    cut: float
    gaps: int
    expected: float
    upper: int | None
    seen: int
    seen_wrong: int

    @property
    def text(self) -> str:
        """The forecast for a person: ``12 gaps, about 0.4 wrong, at most 2 (2 of 90 decided ones were)``."""
        about = f"{self.gaps} {'gap' if self.gaps == 1 else 'gaps'}, about {self.expected:.1f} wrong"
        if self.upper is None:
            return f"{about} (a guess: none above {self.cut:.2f} decided yet)"
        return f"{about}, at most {self.upper} ({self.seen_wrong} of {self.seen} decided ones were)"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A score to accept from, or why there is none.

    Attributes
    ----------
    cut : float or None
        The lowest of :data:`CUTS` whose upper bound of the wrong share is below the level.
    level : float
        That level.
    text : str
        One sentence for the annotator.
    """

    cut: float | None
    level: float
    text: str


@dataclass(frozen=True, eq=False, slots=True)
class Calibration:
    """How often this annotator takes a proposal of a given score. Make one with :meth:`from_verdicts`.

    Attributes
    ----------
    scores : ndarray of float64, shape (N,)
        Of the judged proposals, ascending.
    wrong : ndarray of bool, shape (N,)
        Which of them were refused.
    """

    scores: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    _knots: NDArray[np.float64]
    _values: NDArray[np.float64]

    @classmethod
    def from_verdicts(cls, pairs: Iterable[Judged]) -> Calibration:
        """Fit a curve that never falls: without verdicts the score itself.

        A logistic curve of the score's log-odds (Platt, 1999), drawn towards the score itself; from
        :data:`ISOTONIC_FROM` verdicts on an isotonic one, drawn a little towards the logistic.

        Parameters
        ----------
        pairs : iterable of Judged
            See :func:`judged`.
        """
        listed = sorted(pairs, key=lambda one: one.score)
        scores = np.asarray([one.score for one in listed], np.float64)
        right = np.asarray([one.right for one in listed], np.bool_)
        knots = np.linspace(0.0, 1.0, 201)
        values = _logistic(scores, right, knots)
        if len(scores) >= ISOTONIC_FROM:
            values = _isotonic(scores, right, knots, values)
        return cls(scores, ~right, knots, values)

    @property
    def count(self) -> int:
        """How many verdicts it rests on."""
        return len(self.scores)

    def probability(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Return the chance that this annotator accepts proposals of these scores, in their shape."""
        return np.asarray(np.interp(np.asarray(scores, np.float64), self._knots, self._values))

    def seen_above(self, cut: float) -> tuple[int, int]:
        """Return how many proposals that score at least `cut` were judged, and how many of them were wrong."""
        above = self.scores >= cut
        return int(above.sum()), int((self.wrong & above).sum())

    def wrong_share_bound(self, cut: float, confidence: float = CONFIDENCE) -> float:
        """Return the one-sided upper bound of the wrong share at or above a score; 1 when none was judged there."""
        seen, wrong = self.seen_above(cut)
        return upper_bound(wrong, seen, confidence)

    def expected_wrong(self, gaps: Iterable[Gap], cut: float) -> Forecast:
        """Say what accepting every one of `gaps` that scores at least `cut` would do; cuts are never accepted so."""
        scores = [gap.score for gap in gaps if gap.score >= cut and gap.kind is not GapKind.CUT]
        seen, wrong = self.seen_above(cut)
        upper = most_wrong(wrong, seen, len(scores)) if seen else None
        expected = float((1.0 - self.probability(scores)).sum())
        return Forecast(cut, len(scores), expected, upper, seen, wrong)

    def suggest(self, level: float = LEVEL, confidence: float = CONFIDENCE) -> Suggestion:
        """Suggest the lowest score of :data:`CUTS` from which on the wrong share is below a level, with confidence.

        Parameters
        ----------
        level : float
            The largest share of wrong ones to live with, 0 to 1.
        confidence : float
            Of the bound.
        """
        needed = verdicts_needed(level, confidence)
        enough = [cut for cut in CUTS if self.seen_above(cut)[0] >= needed]
        for cut in enough:
            if self.wrong_share_bound(cut, confidence) < level:
                seen, wrong = self.seen_above(cut)
                text = (
                    f"From {cut:.2f} on, {wrong} of {seen} decided gaps were wrong: below {level:.0%} with confidence."
                )
                return Suggestion(cut, level, text)
        seen = self.seen_above(CUTS[0])[0]
        if not enough:
            text = (
                f"Not enough verdicts yet: {seen} gaps above {CUTS[0]:.2f} were decided one by one, and at least "
                f"{needed} are needed to promise less than {level:.0%} wrong."
            )
        else:
            text = f"No score can promise less than {level:.0%} wrong: too many gaps with high scores were refused."
        return Suggestion(None, level, text)


def verdicts_needed(level: float = LEVEL, confidence: float = CONFIDENCE) -> int:
    """Return how many verdicts, none of them wrong, put the upper bound of the wrong share below a level.

    Raises
    ------
    ValueError
        If `level` or `confidence` is not between 0 and 1.
    """
    if not (0.0 < level < 1.0 and 0.0 < confidence < 1.0):
        raise ValueError(f"level {level} and confidence {confidence} must lie between 0 and 1")
    return ceil(log(1.0 - confidence) / log(1.0 - level))


def upper_bound(wrong: int, seen: int, confidence: float) -> float:
    """Return the one-sided upper bound of a share of which `wrong` of `seen` were found (Clopper and Pearson, 1934)."""
    if wrong >= seen:
        return 1.0
    from scipy.special import betaincinv

    return float(betaincinv(wrong + 1, seen - wrong, confidence))


def most_wrong(wrong: int, seen: int, count: int, confidence: float = CONFIDENCE) -> int:
    """Return how many of `count` further ones are wrong at most, when `wrong` of `seen` were.

    The share is as uncertain as in :func:`upper_bound`, and the count varies around it (beta-binomial).
    """
    if wrong >= seen:
        return count
    from scipy.special import betaln

    found = np.arange(count + 1)
    ways = -np.log(count + 1.0) - betaln(count - found + 1, found + 1)
    share = betaln(found + wrong + 1, count - found + seen - wrong) - betaln(wrong + 1, seen - wrong)
    return min(int(np.searchsorted(np.cumsum(np.exp(ways + share)), confidence)), count)


# Inside


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = scores.clip(_EDGE, 1.0 - _EDGE)
    return np.asarray(np.log(inside / (1.0 - inside)))


def _logistic(scores: NDArray[np.float64], right: NDArray[np.bool_], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit shift and stretch of the log-odds by the most likely values, given where they are expected to be."""
    from scipy.optimize import minimize
    from scipy.special import expit

    x = _log_odds(scores)
    signs = np.where(right, 1.0, -1.0)
    shift_spread, stretch_spread = _PRIOR_SPREAD

    def cost(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        shift, stretch = at
        margin = signs * (shift + stretch * x)
        pull = np.asarray([shift / shift_spread**2, (stretch - 1.0) / stretch_spread**2])
        slope = -signs * expit(-margin)
        value = np.logaddexp(0.0, -margin).sum() + 0.5 * (pull[0] * shift + pull[1] * (stretch - 1.0))
        return float(value), np.asarray([slope.sum(), (slope * x).sum()]) + pull

    # A falling curve would say that the score is upside down; a flat one that it says nothing.
    fit = minimize(cost, np.asarray([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=[(None, None), (0.0, None)])
    return np.asarray(expit(fit.x[0] + fit.x[1] * _log_odds(knots)))


def _isotonic(
    scores: NDArray[np.float64],
    right: NDArray[np.bool_],
    knots: NDArray[np.float64],
    smooth: NDArray[np.float64],
) -> NDArray[np.float64]:
    from scipy.optimize import isotonic_regression

    # Equal scores are one place. The smooth curve takes part with a few verdicts: no share is ever exactly 0 or 1.
    places = np.rint(scores * (len(knots) - 1)).astype(np.intp).clip(0, len(knots) - 1)
    prior = _PRIOR_VERDICTS / len(knots)
    weights = np.bincount(places, minlength=len(knots)) + prior
    values = (np.bincount(places, weights=right, minlength=len(knots)) + prior * smooth) / weights
    return np.asarray(isotonic_regression(values, weights=weights).x)
