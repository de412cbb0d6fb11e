"""What a proposal is judged by: observations of its course, and of the two pieces that it joins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.evidence import Evidence
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
    crosses : bool
        Whether a third vessel lies between the two.
    stumps : tuple of tuple
        For each vessel that ends here its last few calibres, centreline pixels (y, x) from its end inwards, ndarray of
        int, shape (N, 2), and its radius, px.
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
    crosses: bool = False
    stumps: tuple[tuple[NDArray[np.intp], float], ...] = ()

    @property
    def width(self) -> float:
        """Calibre of the completion, px: as drawn, else both vessels' between two ends, the branch's at a trunk."""
        if self.drawn is not None:
            return self.drawn
        return sum(self.radii) if self.to_end else 2.0 * min(self.radii)


def observe(bridge: Bridge, evidence: Evidence | None) -> dict[str, float]:
    """Measure what the score of a course is made of.

    Returns
    -------
    dict of str to float
        By name: ``length`` in calibres, ``turn`` and ``turn_far`` as 1 - cosine at the two ends, ``widths`` as the log
        of their ratio, ``ridge``, ``likely``, ``completion`` from 0 to 1 as means along the course, with ``_worst`` as
        means over the weakest calibre of it and ``_least`` as the weakest pixel, and so on. ``likely`` is twice the
        probability, up to 1; ``likely_mean`` is what is told. ``stump`` is the width of the thinner vessel that ends
        here, in median calibres, and ``stump_ridge``, ``stump_contrast`` and ``stump_likely`` are what is seen of the
        fainter one just before its end: vessels taper and fade where they end by nature.
    """
    path = bridge.path
    length = max(length_of(path) - 1.0, 0.0)
    # A vessel far thinner than the usual one breaks more often and for longer.
    width = max(bridge.width, 0.5 * bridge.calibre, 1.0)
    chord = path[-1] - path[0]
    span = float(np.hypot(*chord))
    # Over less than a calibre a direction is mostly pixel steps.
    certain = min(1.0, span / (1.5 * width))
    seen = {"length": length / width, "reach": length / bridge.calibre}
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
    seen["winding"] = _winding(path)
    seen["loop"] = float(bridge.loop)
    seen["crosses"] = float(bridge.crosses)
    seen["spot"] = float(bridge.out is None and not bridge.from_side)
    ending = bridge.radii if bridge.to_end else bridge.radii[:1]
    seen["stump"] = float(min(np.log2((2.0 * min(ending) + 0.5) / bridge.calibre), 2.0))
    seen["size"] = size_of(bridge.smaller_px, bridge.calibre)
    if evidence is not None:
        inner = path[1:-1] if len(path) > 2 else path
        place = tuple(pixels_of(inner, evidence.support.shape).T)
        if evidence.ridge is not None:
            along = evidence.ridge[place]
            seen["ridge"] = float(along.mean())
            seen["ridge_worst"] = _worst(along, width)
            seen["ridge_share"] = float((along > 0.25).mean())
        if evidence.brightness is not None:
            stands_out = _contrast(evidence, inner, place, width)
            seen["contrast"] = float(np.clip(stands_out.min(axis=0).mean(), -1.0, 1.5))
            # Both sides together: one of them may be another vessel.
            between = stands_out.mean(axis=0)
            seen["contrast_worst"] = float(np.clip(_worst(between, width), -1.0, 1.5))
            seen["steadiness"] = float(between.mean() / (between.std() + 0.1))
        if evidence.probability is not None:
            along = evidence.probability[place]
            likely = np.minimum(2.0 * along, 1.0)
            seen["likely"] = float(likely.mean())
            seen["likely_worst"] = _worst(likely, width)
            seen["likely_least"] = float(along.min())
            seen["likely_mean"] = float(along.mean())
        if evidence.completion is not None:
            along = evidence.completion[place]
            seen["completion"] = float(along.mean())
            seen["completion_worst"] = _worst(along, width)
            seen["completion_least"] = float(along.min())
        seen.update(_at_stumps(bridge, evidence))
    return seen


def size_of(smaller_px: float, calibre: float) -> float:
    """Return the ``size`` of :func:`observe`: how long the smaller component is, as the log to base 2 of calibres."""
    return float(np.clip(np.log2((smaller_px + 1.0) / calibre), -3.0, 4.0))


def _at_stumps(bridge: Bridge, evidence: Evidence) -> dict[str, float]:
    """Observe the vessels just before they end; of several, what speaks least for a vessel."""
    seen: dict[str, list[float]] = {}
    for stump, radius in bridge.stumps:
        place = tuple(stump.T)
        if evidence.ridge is not None:
            seen.setdefault("stump_ridge", []).append(float(evidence.ridge[place].mean()))
        if evidence.brightness is not None:
            stands_out = _contrast(evidence, stump.astype(np.float64), place, max(2.0 * radius, 1.0)).mean()
            seen.setdefault("stump_contrast", []).append(min(max(float(stands_out), -1.0), 2.0))
        if evidence.probability is not None:
            seen.setdefault("stump_likely", []).append(float(evidence.probability[place].mean()))
    return {name: min(values) for name, values in seen.items()}


def _turn(tangent: tuple[float, float] | None, chord: NDArray[np.float64], span: float) -> float:
    if tangent is None or span == 0.0:
        return 0.0
    return 1.0 - float(np.dot(tangent, chord)) / span


def _winding(path: NDArray[np.float64]) -> float:
    """How far the direction swings along a course, radians: nothing on a line, half a turn around a half circle."""
    if len(path) < 5:
        return 0.0
    steps = np.diff(path[::2], axis=0)
    return float(np.ptp(np.unwrap(np.arctan2(steps[:, 0], steps[:, 1]))))


def _worst(along: NDArray[np.float32], width: float) -> float:
    """Mean over the weakest stretch one calibre long."""
    reach = int(np.clip(round(width), 1, len(along)))
    return float(np.convolve(along, np.ones(reach) / reach, "valid").min())


def _contrast(
    evidence: Evidence, path: NDArray[np.float64], place: tuple[NDArray[np.intp], ...], width: float
) -> NDArray[np.float32]:
    """How far a course stands out from its left and its right, as a share of what usual vessels do, shape (2, N).

    `place` are the pixels (y, x) of the course.
    """
    field = evidence.brightness
    assert field is not None
    across = np.zeros_like(path)
    if len(path) > 1:
        along = np.gradient(path, axis=0)
        norm = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
        across = np.stack([-along[:, 1] / norm, along[:, 0] / norm], axis=1)
    aside = (0.9 * width + 1.5) * across
    beside = pixels_of(np.concatenate([path + aside, path - aside]), field.shape)
    sides = field[beside[:, 0], beside[:, 1]].reshape(2, -1)
    return np.asarray((field[place] - sides) / evidence.contrast, np.float32)
