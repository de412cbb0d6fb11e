"""How likely a proposal is right, and why: two questions, each answered by an additive model.

*Link*: given that both sides are vessels, are they one? *Fragment*: is the less certain side a vessel at all? Each is
the logistic of a sum with one term per observation (a generalised additive model with piecewise linear terms), so that
every reason is exactly what it adds. The terms were fitted by ``benchmarks/fit_scores.py`` and lie in ``scores.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.evidence import Evidence
from napari_vessel.completion.gap import Reason
from napari_vessel.completion.measures import Bridge

SOURCES = ("image", "probability", "completion")


@dataclass(frozen=True, eq=False, slots=True)
class Term:
    """What an observation adds: straight lines between knots, level beyond the outermost."""

    knots: NDArray[np.float64]
    values: NDArray[np.float64]

    def __call__(self, seen: float) -> float:
        """Return what a value adds, in log-odds; nothing for one that is not known (NaN)."""
        return 0.0 if np.isnan(seen) else float(np.interp(seen, self.knots, self.values))


@dataclass(frozen=True, eq=False, slots=True)
class Additive:
    """A generalised additive model.

    Attributes
    ----------
    intercept : float
        Log-odds of what is ordinary in every respect.
    terms : dict of str to Term
        By observation.
    """

    intercept: float
    terms: dict[str, Term]

    def contributions(self, seen: Mapping[str, float]) -> dict[str, float]:
        """Return what each observation adds, in log-odds."""
        return {name: term(seen[name]) for name, term in self.terms.items() if name in seen}

    def logit(self, seen: Mapping[str, float]) -> float:
        """Return the log-odds."""
        return self.intercept + sum(self.contributions(seen).values())

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Additive:
        """Return the model that :meth:`to_json` described."""
        terms = {
            name: Term(np.asarray(entry["knots"], np.float64), np.asarray(entry["values"], np.float64))
            for name, entry in data["terms"].items()
        }
        return cls(float(data["intercept"]), terms)

    def to_json(self) -> dict[str, Any]:
        """Return the model as plain JSON values."""
        return {
            "intercept": round(self.intercept, 5),
            "terms": {
                name: {"knots": [round(float(v), 5) for v in t.knots], "values": [round(float(v), 5) for v in t.values]}
                for name, t in self.terms.items()
            },
        }


def sources_of(evidence: Evidence | None) -> str:
    """Name what there is to look at beside the mask: ``"image+probability"``, for instance; empty for nothing."""
    if evidence is None:
        return ""
    there = (evidence.ridge, evidence.probability, evidence.completion)
    return "+".join(name for name, field in zip(SOURCES, there, strict=True) if field is not None)


def seen_in(facts: Mapping[str, float]) -> str:
    """Name what there was to look at when these facts of a piece were found, as :func:`sources_of` does."""
    told = ("piece_ridge", "piece_likely", "piece_completion")
    return "+".join(name for name, fact in zip(SOURCES, told, strict=True) if fact in facts)


@dataclass(frozen=True, eq=False, slots=True)
class Scoring:
    """How proposals are scored, given what there is to look at.

    Attributes
    ----------
    link, fragment : Additive
        The two questions, each course and each piece for itself.
    both : tuple of float
        Intercept and slope that turn the log-odds of a link, and intercept and slope that turn those of a piece being a
        vessel, into the chances that make the score: annotators agree on links and pieces less than the two questions
        alone would have it.
    tip : Additive or None
        Whether a vessel goes on as the evidence beyond its end says; None where there is nothing but the mask.
    """

    link: Additive
    fragment: Additive
    both: tuple[float, float, float, float]
    tip: Additive | None = None

    def linked(self, link: float) -> float:
        """Return the log-odds that a link holds, for an annotator, from the chance that it does."""
        return self.both[0] + self.both[1] * log_odds(link)

    def links_of(self, linked: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the chances of links of which :meth:`linked` makes these log-odds."""
        return chances((linked - self.both[0]) / max(self.both[1], 1e-6))

    def vessel(self, fragment: float, believed: float | None = None) -> float:
        """Return the chance that a piece is a vessel to an annotator, from the chance that it is one.

        Parameters
        ----------
        fragment : float
            The chance before any decision of this annotator.
        believed : float, optional
            The chance after those: what they taught counts in full, however little annotators go by the first.
        """
        moved = 0.0 if believed is None else log_odds(believed) - log_odds(fragment)
        return chance(self.both[2] + self.both[3] * log_odds(fragment) + moved)

    def to_annotators(
        self, fragments: NDArray[np.float64], believed: NDArray[np.float64], links: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return :meth:`vessel` of many pieces, and :meth:`linked` of many links."""
        a, b, c, d = self.both
        held = [np.clip(p, 6e-6, 1.0 - 6e-6) for p in (fragments, believed, links)]
        before, after, odds = (np.log(p / (1.0 - p)) for p in held)
        return chances(c + d * before + (after - before)), np.asarray(a + b * odds, np.float64)

    def score(self, link: float, fragments: Iterable[float]) -> float:
        """Return the chance that a proposal is right: that its link holds and that each of its sides is a vessel."""
        return chance(self.linked(link)) * prod(self.vessel(fragment) for fragment in fragments)


def read_scores(text: str) -> dict[str, Scoring]:
    """Return how proposals are scored, by what there is to look at, from the text of a ``scores.json``."""
    return {
        sources: Scoring(
            Additive.from_json(entry["link"]),
            Additive.from_json(entry["fragment"]),
            tuple(entry["both"]),
            None if entry["tip"] is None else Additive.from_json(entry["tip"]),
        )
        for sources, entry in json.loads(text)["looking_at"].items()
    }


@cache
def _scores() -> dict[str, Scoring]:
    return read_scores(files("napari_vessel.completion").joinpath("scores.json").read_text(encoding="utf-8"))


def scoring(sources: str) -> Scoring:
    """Return how proposals are scored, by what there is to look at: ``"image+probability"``, ``""`` for nothing."""
    return _scores()[sources]


def chance(logit: float) -> float:
    """Turn log-odds into a probability."""
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -30.0, 30.0))))


def chances(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn many log-odds into probabilities, as :func:`chance` does."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))), np.float64)


def log_odds(chance: float) -> float:
    """Turn a probability into log-odds, between -12 and 12."""
    held = min(max(chance, 6e-6), 1.0 - 6e-6)
    return float(np.log(held / (1.0 - held)))


def added(terms: Mapping[str, float], *names: str) -> float:
    """Return what some observations added together; nothing for those that there are not."""
    return sum(terms.get(name, 0.0) for name in names)


def short(value: float) -> str:
    """Write a share or a chance in three characters: ``.93``, and ``1.0`` for what is nearly certain."""
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else "1.0"


def reasons_of(seen: Mapping[str, float], terms: Mapping[str, float], bridge: Bridge) -> list[Reason]:
    """Say what speaks for a link and against it in an annotator's words, strongest first; slight ones are left out.

    Parameters
    ----------
    seen : mapping of str to float
        The observations.
    terms : mapping of str to float
        What each of them added, in log-odds.
    bridge : Bridge
        The course.
    """
    of = partial(added, terms)
    near, far = (max(1.0, 2.0 * radius) for radius in bridge.radii)
    turn = max(seen["turn"], seen["turn_far"])
    straight = "runs straight on" if turn < 0.07 else "runs on with a slight bend" if turn < 0.3 else "turns sharply"
    calibres = seen["length"]
    how = "short" if of("length", "reach") > 0.0 else "long"
    widths = f"widths {near:.1f} and {far:.1f} px"
    if not bridge.to_end:
        widths = f"width {near:.1f} px meets a vessel of {far:.1f} px"
    sides = "runs from side to side" if seen["meets_branch"] > 1.0 else "meets the side of a vessel"
    small = bridge.smaller_px < 2.0 * bridge.calibre
    found = [
        Reason(straight, of("turn", "turn_far")),
        Reason("the two ends point at each other" if of("facing") > 0.0 else "no two ends face", of("facing")),
        Reason(f"{how} for its width ({calibres:.1f} calibres)", of("length", "reach")),
        Reason(widths, of("widths")),
        Reason("ends while still wide" if seen["stump"] > 0.0 else "has thinned out before it ends", of("stump")),
        Reason("meets an end" if bridge.to_end else sides, of("meets_branch")),
        Reason("makes a detour" if seen["bends"] > 0.1 or seen["winding"] > 1.0 else "direct", of("bends", "winding")),
        Reason("closes a loop" if bridge.loop else "closes no loop", of("loop")),
        Reason("a spot without a direction", of("spot")),
        Reason("goes on beyond another vessel", of("crosses")),
        Reason("joins a small fragment" if small else "joins a long piece", of("size")),
    ]
    return strongest([*found, *_seen_reasons(seen, terms)])


def tip_reasons(seen: Mapping[str, float], terms: Mapping[str, float], bridge: Bridge) -> list[Reason]:
    """Say what speaks for a vessel going on and against it, as :func:`reasons_of` does for a link."""
    of = partial(added, terms)
    calibres = seen["length"]
    found = [
        Reason("runs straight on" if seen["turn"] < 0.1 else "turns where it begins", of("turn")),
        Reason(f"goes on for {calibres:.1f} calibres", of("length")),
        Reason("leaves the side of a vessel" if bridge.from_side else "goes on from an end", of("meets_branch")),
        Reason("direct" if seen["winding"] < 1.0 else "winds", of("bends", "winding")),
        Reason("about as wide as the vessel" if seen["widths"] < 0.4 else "of another width", of("widths")),
        Reason("beyond a small piece" if seen["size"] < 2.0 else "beyond a long vessel", of("size")),
    ]
    return strongest([*found, *_seen_reasons(seen, terms)])


def _seen_reasons(seen: Mapping[str, float], terms: Mapping[str, float]) -> list[Reason]:
    """Say what image, probability and completion map speak for."""
    of = partial(added, terms)
    found = []
    if "ridge" in seen:
        share = round(100 * seen["ridge_share"])
        clear = "ridge" if seen["ridge"] > 0.6 else "faint ridge"
        text = f"{clear} along {share} % of the way" if share else "no ridge in the image on the way"
        found.append(Reason(text, of("ridge", "ridge_worst", "ridge_share")))
        contrast = of("contrast", "contrast_worst", "steadiness")
        found.append(Reason("stands out from both sides" if contrast > 0 else "hardly stands out", contrast))
    stumps = of("stump_ridge", "stump_contrast", "stump_likely")
    if stumps:
        sharp = max(seen.get("stump_ridge", 0.0), seen.get("stump_likely", 0.0)) > 0.6
        found.append(Reason("clear up to where it ends" if sharp else "fades before it ends", stumps))
    if "likely" in seen:
        text = f"probability {short(seen['likely_mean'])}, {short(seen['likely_least'])} at the weakest"
        found.append(Reason(text, of("likely", "likely_worst", "likely_least")))
    if "completion" in seen:
        text = f"completion {short(seen['completion'])} along the way"
        found.append(Reason(text, of("completion", "completion_worst", "completion_least")))
    return found


def strongest(found: list[Reason]) -> list[Reason]:
    """Put reasons in order and leave slight ones out."""
    return sorted((r for r in found if abs(r.contribution) >= 0.05), key=lambda reason: -abs(reason.contribution))
