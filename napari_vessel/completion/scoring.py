"""How good a proposal looks: a heuristic, and its reasons in an annotator's words.

The score is the logistic of a sum, one term per observation, so that every reason is what it adds. The weights
were set, and rounded, on planted gaps and on the natural breaks of thresholded ridge maps (CHASE_DB1, training images
only), those of the completion map on planted gaps with stand-ins for such a map; they are a heuristic, not a
calibrated probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.evidence import Evidence
from napari_vessel.completion.gap import Reason
from napari_vessel.completion.paths import length_of, pixels_of


@dataclass(frozen=True, eq=False, slots=True)
class Bridge:
    """A course between two vessels, before it is judged.

    Attributes
    ----------
    path : ndarray of float64, shape (N, 2)
        (y, x), from the first vessel's last pixel to the second's first.
    out, back : tuple of float or None
        Directions out of the two vessels; None at a spot or in the middle of a branch.
    trust : tuple of float
        How well the two directions are known, 0 to 1.
    radii : tuple of float
        Radii of the two vessels, px.
    to_end : bool
        Whether the second vessel is met at its end.
    loop : bool
        Whether both ends lie on one component.
    smaller_px : float
        Centreline length of the smaller of the two components, px.
    calibre : float
        Median calibre of the mask, px.
    from_side : bool
        Whether the first vessel is left at its side and not at an end.
    drawn : float or None
        Calibre of the vessel that a completion map draws between the two, px, where the course follows one.
    """

    path: NDArray[np.float64]
    out: tuple[float, float] | None
    back: tuple[float, float] | None
    trust: tuple[float, float]
    radii: tuple[float, float]
    to_end: bool
    loop: bool
    smaller_px: float
    calibre: float
    from_side: bool = False
    drawn: float | None = None

    @property
    def width(self) -> float:
        """Calibre of the completion, px: as drawn, else both vessels' between two ends, the branch's at a trunk."""
        if self.drawn is not None:
            return self.drawn
        return sum(self.radii) if self.to_end else 2.0 * min(self.radii)


# Weight of each observation in log-odds, by shape alone and with an image or a probability to look at.
_SHAPE_WEIGHTS: dict[str, float] = {
    "base": 3.2,
    "length": -0.22,
    "turn": -2.5,
    "turn_far": -1.8,
    "facing": 1.0,
    "meets_branch": -2.4,
    "widths": -1.4,
    "bends": -1.0,
    "loop": -0.3,
    "spot": -1.0,
    "size": 0.05,
}
_EVIDENCE_WEIGHTS: dict[str, float] = {
    "base": 1.75,
    "length": -0.16,
    "turn": -1.6,
    "turn_far": -1.2,
    "facing": 1.4,
    "meets_branch": -1.0,
    "widths": -0.4,
    "bends": -0.5,
    "loop": -0.2,
    "spot": -0.8,
    "size": 0.3,
    "ridge": 0.8,
    "ridge_worst": 1.2,
    "contrast": 1.2,
    "likely": 1.2,
    "likely_worst": 0.8,
    "completion": 1.5,
    "completion_worst": 1.5,
    "completion_covers": 0.12,
}
# What speaks against a bridge as much as for it; these values, halfway between right and wrong ones, say nothing.
_MIDDLES = {
    "ridge": 0.4,
    "ridge_worst": 0.25,
    "contrast": 0.0,
    "size": 2.5,
    "likely": 0.4,
    "likely_worst": 0.2,
    "completion": 0.3,
    "completion_worst": 0.15,
}


def observe(bridge: Bridge, evidence: Evidence | None) -> dict[str, float]:
    """Measure what the score is made of.

    Returns
    -------
    dict of str to float
        By name: ``length`` in calibres, ``turn`` and ``turn_far`` as 1 - cosine at the two ends, ``widths`` as the log
        of their ratio, ``ridge``, ``likely``, ``completion`` and their ``_worst`` stretch from 0 to 1, and so on.
    """
    path = bridge.path
    length = max(length_of(path) - 1.0, 0.0)
    # A vessel far thinner than the usual one breaks more often and for longer.
    width = max(bridge.width, 0.5 * bridge.calibre, 1.0)
    chord = path[-1] - path[0]
    span = float(np.hypot(*chord))
    # Over less than a calibre a direction is mostly pixel steps.
    certain = min(1.0, span / (1.5 * width))
    seen = {"length": length / width}
    seen["turn"] = _turn(bridge.out, chord, span) * bridge.trust[0] * certain
    seen["turn_far"] = _turn(bridge.back, -chord, span) * bridge.trust[1] * certain
    seen["meets_branch"] = 0.0 if bridge.to_end else certain
    if bridge.from_side:
        # Two vessels side by side are near each other without being one: nearness excuses nothing here.
        seen["meets_branch"] = 1.0 if bridge.to_end else 2.0
    # Two ends that point at each other over a short way: more than the absence of turns.
    aim = max(0.0, 1.0 - 3.0 * seen["turn"]) * max(0.0, 1.0 - 3.0 * seen["turn_far"])
    seen["facing"] = bridge.to_end * bridge.trust[0] * bridge.trust[1] * aim * float(np.exp(-seen["length"] / 8.0))
    # A branch may be much thinner than its trunk, never much thicker.
    ratio = float(np.log((bridge.radii[0] + 0.5) / (bridge.radii[1] + 0.5)))
    seen["widths"] = abs(ratio) if bridge.to_end else max(ratio, 0.0)
    seen["bends"] = max(length / max(span, 1.0) - 1.05, 0.0) * certain
    seen["loop"] = float(bridge.loop)
    seen["spot"] = float(bridge.out is None and not bridge.from_side)
    seen["size"] = float(np.clip(np.log2((bridge.smaller_px + 1.0) / bridge.calibre), -3.0, 4.0))
    if evidence is not None:
        inner = path[1:-1] if len(path) > 2 else path
        if evidence.ridge is not None:
            along = _sample(evidence.ridge, inner)
            seen["ridge"] = float(along.mean())
            seen["ridge_worst"] = _worst(along, width)
            seen["ridge_share"] = float((along > 0.25).mean())
        if evidence.brightness is not None:
            seen["contrast"] = _contrast(evidence, inner, width)
        if evidence.probability is not None:
            along = _sample(evidence.probability, inner)
            likely = np.minimum(2.0 * along, 1.0)
            seen["likely"] = float(likely.mean())
            seen["likely_worst"] = _worst(likely, width)
            seen["likely_share"] = float(along.mean())
        if evidence.completion is not None:
            along = _sample(evidence.completion, inner)
            seen["completion"] = float(along.mean())
            seen["completion_worst"] = _worst(along, width)
            # A long way speaks against a bridge because nobody sees a vessel there: not so where the map draws one.
            seen["completion_covers"] = seen["length"] * seen["completion"]
    return seen


def judge(seen: Mapping[str, float], bridge: Bridge) -> tuple[float, tuple[Reason, ...]]:
    """Turn observations into a score and its reasons.

    Returns
    -------
    score : float
        0 to 1; a heuristic, not calibrated.
    reasons : tuple of Reason
        What moved it, in log-odds, strongest first; slight ones are left out.
    """
    weights = _EVIDENCE_WEIGHTS if seen.keys() & {"ridge", "likely", "completion"} else _SHAPE_WEIGHTS
    terms = {name: weight * (seen[name] - _MIDDLES.get(name, 0.0)) for name, weight in weights.items() if name in seen}
    total = weights["base"] + sum(terms.values())
    score = float(1.0 / (1.0 + np.exp(-np.clip(total, -30.0, 30.0))))
    return score, _reasons(terms, seen, bridge)


def _reasons(terms: dict[str, float], seen: Mapping[str, float], bridge: Bridge) -> tuple[Reason, ...]:
    near, far = (max(1.0, 2.0 * radius) for radius in bridge.radii)
    found = []
    if bridge.out is not None or bridge.back is not None:
        turn = max(seen["turn"], seen["turn_far"])
        found.append(_straightness(turn, terms["turn"] + terms["turn_far"]))
    if terms["facing"]:
        found.append(Reason("the two ends point at each other", terms["facing"]))
    if "ridge" in terms:
        ridge = terms["ridge"] + terms["ridge_worst"]
        share = round(100 * seen["ridge_share"])
        text = f"ridge along {share} % of the way" if seen["ridge"] > 0.6 else f"faint ridge along {share} % of the way"
        found.append(Reason(text if share else "no ridge in the image on the way", ridge))
    if "contrast" in terms:
        text = "stands out from both sides" if terms["contrast"] > 0 else "hardly stands out from its sides"
        found.append(Reason(text, terms["contrast"]))
    if "likely" in terms:
        mean = seen["likely_share"]
        found.append(Reason(f"mean probability {mean:.2f} on the way", terms["likely"] + terms["likely_worst"]))
    if "completion" in terms:
        text = f"completion {seen['completion']:.2f} along the way".replace(" 0.", " .")
        found.append(Reason(text, sum(term for name, term in terms.items() if name.startswith("completion"))))
    if bridge.to_end:
        found.append(Reason(f"widths {near:.1f} and {far:.1f} px", _near_best(terms["widths"], 0.3)))
    elif terms["widths"] < -0.1:
        found.append(Reason(f"width {near:.1f} px meets a vessel of {far:.1f} px", terms["widths"]))
    calibres = seen["length"]
    text = "long for its width" if calibres > 4 else ("short gap" if calibres < 1.5 else "length")
    found.append(Reason(f"{text} ({calibres:.1f} calibres)", _near_best(terms["length"], 0.5)))
    if terms["meets_branch"]:
        sides = "runs from side to side" if seen["meets_branch"] > 1.0 else "meets the side of a vessel"
        found.append(Reason(sides, terms["meets_branch"]))
    if terms["bends"] < -0.05:
        found.append(Reason("makes a detour", terms["bends"]))
    if bridge.loop:
        found.append(Reason("closes a loop", terms["loop"]))
    if seen["spot"]:
        found.append(Reason("a spot without a direction", terms["spot"]))
    small = bridge.smaller_px < 2.0 * bridge.calibre
    found.append(Reason("joins a small fragment" if small else "joins a long piece", terms["size"]))
    strong = [reason for reason in found if abs(reason.contribution) >= 0.05]
    return tuple(sorted(strong, key=lambda reason: -abs(reason.contribution)))


def _near_best(term: float, neutral: float) -> float:
    """Shift a penalty so that the best possible counts for a proposal and an ordinary one counts as nothing."""
    return term + neutral


def _straightness(turn: float, term: float) -> Reason:
    if turn < 0.07:
        return Reason("runs straight on", _near_best(term, 0.6))
    if turn < 0.3:
        return Reason("runs on with a slight bend", _near_best(term, 0.6))
    return Reason("turns sharply", _near_best(term, 0.6))


def _turn(tangent: tuple[float, float] | None, chord: NDArray[np.float64], span: float) -> float:
    if tangent is None or span == 0.0:
        return 0.0
    return 1.0 - float(np.dot(tangent, chord)) / span


def _sample(field: NDArray[np.float32], path: NDArray[np.float64]) -> NDArray[np.float32]:
    y, x = pixels_of(path, field.shape).T
    return np.asarray(field[y, x], np.float32)


def _worst(along: NDArray[np.float32], width: float) -> float:
    """Mean over the weakest stretch one calibre long."""
    reach = int(np.clip(round(width), 1, len(along)))
    return float(np.convolve(along, np.ones(reach) / reach, "valid").min())


def _contrast(evidence: Evidence, path: NDArray[np.float64], width: float) -> float:
    """How far the path stands out from both of its sides, as a share of what usual vessels do."""
    field = evidence.brightness
    assert field is not None
    if len(path) > 1:
        along = np.gradient(path, axis=0)
        norm = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
        across = np.stack([-along[:, 1] / norm, along[:, 0] / norm], axis=1)
    else:
        across = np.zeros_like(path)
    aside = 0.9 * width + 1.5
    middle = _sample(field, path)
    left = _sample(field, path + aside * across)
    right = _sample(field, path - aside * across)
    # The side it stands out from less: an edge of something large is no vessel.
    lesser = float(np.minimum(middle - left, middle - right).mean())
    return float(np.clip(lesser / evidence.contrast, -1.0, 1.5))
