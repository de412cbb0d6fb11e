"""What a proposal is: two ends, a path between them, how good it looks, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.untrusted import finite

_FARTHEST = 1e5
"""Beyond the edge of every image, px."""


class GapKind(StrEnum):
    """What accepting the proposal does to the network."""

    BRIDGE = "bridge"
    VIG = "vig"
    TIP = "tip"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class GapEnd:
    """One end of a gap.

    Attributes
    ----------
    component : int
        Label of the component the end lies on, at the time of the proposal.
    point : tuple of float
        (y, x) in pixels.
    tangent : tuple of float or None
        Unit vector (dy, dx) pointing out of the vessel into the gap; None at the middle of a branch.
    radius : float
        Vessel radius at the end, px.
    is_end_point : bool
        True at an end of the skeleton, False at the middle of a branch.
    """

    component: int
    point: tuple[float, float]
    tangent: tuple[float, float] | None
    radius: float
    is_end_point: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that speaks for (positive) or against (negative) a proposal, in words an annotator uses."""

    text: str
    contribution: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What accepting changes.

    Attributes
    ----------
    components_before, components_after : int
        8-connected components of the whole mask.
    centreline_px : float
        Length of the path, px.
    connected_px : float
        Centreline length of the smaller side, joined to the larger one by accepting (or, by a cut, parted), px.
    cycles : int
        Loops made (0 or 1; -1 where a cut opens one). A flag, not a refusal: capillary networks have true loops.
    """

    components_before: int
    components_after: int
    centreline_px: float
    connected_px: float
    cycles: int


@dataclass(frozen=True, eq=False, slots=True)
class Gap:
    """A place where the network is broken, and a proposed completion.

    Attributes
    ----------
    id : str
        Stable name, made from the rounded end points: the same gap found again has the same id.
    kind : GapKind
        Bridge (joins two components, or closes a loop), vig (the same, drawn by a completion network where no ends
        could be paired), tip, or cut.
    ends : tuple of GapEnd
        Two for a bridge, a vig and a cut, one for a tip.
    path : ndarray of float32, shape (N, 2)
        Centreline of the completion, (y, x) in pixels, from the first end to the second; of a cut, that of what is
        erased, from wall to wall.
    widths : ndarray of float32, shape (N,)
        Diameter to draw (of a cut: to erase) at each path point, px.
    score : float
        Chance that the proposal is right, 0 to 1: that both of the next hold. Of proposals made by earlier versions,
        whose `calibrated` is False, no more than an order.
    link, fragment : float or None
        Chance that both ends are one vessel, given that they are vessels, and that the less certain of them is a vessel
        at all, where known.
    completion : float or None
        Mean probability of a completion network along the path, 0 to 1, where one was asked.
    calibrated : bool
        Whether `score` is a probability.
    facts : mapping of str to float
        What is known of the less certain side; a decision teaches by it what this annotator takes for a vessel.
    linked : float or None
        Log-odds that both ends are one vessel, for annotators, before any decision of this one; a decision teaches by
        them what this annotator takes for one. None for tips and cuts, and for proposals made by earlier versions.
    reasons : tuple of Reason
        Strongest first.
    effect : Effect
        What accepting changes.
    """

    id: str
    kind: GapKind
    ends: tuple[GapEnd, ...]
    path: NDArray[np.float32]
    widths: NDArray[np.float32]
    score: float
    reasons: tuple[Reason, ...]
    effect: Effect
    link: float | None = None
    fragment: float | None = None
    calibrated: bool = False
    completion: float | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    linked: float | None = None

    @property
    def joins(self) -> tuple[int, ...]:
        """Labels of the components at the ends."""
        return tuple(end.component for end in self.ends)

    @property
    def length(self) -> float:
        """Length of the path, px."""
        return self.effect.centreline_px

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the path, (y, x) in pixels."""
        middle = self.path[len(self.path) // 2]
        return (float(middle[0]), float(middle[1]))

    def to_json(self) -> dict[str, Any]:
        """Return the proposal as plain JSON values; :meth:`from_json` is its inverse.

        Returns
        -------
        dict
            ``id, kind, score, link, fragment, completion, calibrated, path, joins, length_px, width_px, effect,
            reasons`` as on the command line, and ``facts``, ``linked``, ``ends`` and ``widths`` beside them.
        """
        return {
            "id": self.id,
            "kind": self.kind.value,
            "score": round(self.score, 6),
            "link": None if self.link is None else round(self.link, 6),
            "fragment": None if self.fragment is None else round(self.fragment, 6),
            "completion": None if self.completion is None else round(self.completion, 6),
            "calibrated": self.calibrated,
            "path": [[round(float(y), 2), round(float(x), 2)] for y, x in self.path],
            "joins": list(self.joins),
            "length_px": round(self.length, 2),
            "width_px": round(float(self.widths.mean()), 2),
            "effect": {
                "components_before": self.effect.components_before,
                "components_after": self.effect.components_after,
                "centreline_px": round(self.effect.centreline_px, 2),
                "connected_px": round(self.effect.connected_px, 2),
                "cycles": self.effect.cycles,
            },
            "reasons": [{"text": r.text, "contribution": round(r.contribution, 4)} for r in self.reasons],
            "widths": [round(float(w), 2) for w in self.widths],
            "facts": {name: round(float(value), 5) for name, value in self.facts.items()},
            "linked": None if self.linked is None else round(self.linked, 5),
            "ends": [
                {
                    "component": e.component,
                    "point": [round(e.point[0], 2), round(e.point[1], 2)],
                    "tangent": None if e.tangent is None else [round(e.tangent[0], 4), round(e.tangent[1], 4)],
                    "radius": round(e.radius, 2),
                    "is_end_point": e.is_end_point,
                }
                for e in self.ends
            ],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Gap:
        """Return the proposal that :meth:`to_json` described.

        Raises
        ------
        KeyError, ValueError, TypeError
            If `data` is not such a description.
        """
        effect = data["effect"]
        path = np.asarray(data["path"], np.float32).reshape(-1, 2)
        widths = np.asarray(data["widths"], np.float32)
        # What is drawn must have a place and a size: NaN is none, and compares as neither small nor large.
        if widths.shape != path.shape[:1] or not len(path) or not (np.abs(path) < _FARTHEST).all():
            raise ValueError("a path that no proposal has")
        if not ((widths >= 0) & (widths < _FARTHEST)).all():
            raise ValueError("widths that no vessel has")
        return cls(
            id=str(data["id"]),
            kind=GapKind(data["kind"]),
            ends=tuple(_end(one) for one in data["ends"]),
            path=path,
            widths=widths,
            score=finite(data["score"]),
            reasons=tuple(Reason(str(r["text"]), float(r["contribution"])) for r in data["reasons"]),
            effect=Effect(
                int(effect["components_before"]),
                int(effect["components_after"]),
                finite(effect["centreline_px"]),
                finite(effect["connected_px"]),
                int(effect["cycles"]),
            ),
            link=_optional(data.get("link")),
            fragment=_optional(data.get("fragment")),
            calibrated=bool(data.get("calibrated", False)),
            completion=_optional(data.get("completion")),
            facts={str(name): finite(value) for name, value in data.get("facts", {}).items()},
            linked=_optional(data.get("linked")),
        )


def _end(data: dict[str, Any]) -> GapEnd:
    tangent = data["tangent"]
    end = GapEnd(
        component=int(data["component"]),
        point=(finite(data["point"][0]), finite(data["point"][1])),
        tangent=None if tangent is None else (finite(tangent[0]), finite(tangent[1])),
        radius=finite(data["radius"]),
        is_end_point=bool(data["is_end_point"]),
    )
    if max(map(abs, (*end.point, end.radius))) >= _FARTHEST:
        raise ValueError("an end that no proposal has")
    return end


def _optional(value: Any) -> float | None:
    return None if value is None else finite(value)
