"""The figures of an image, and of a part of it, from its segments and bifurcations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from napari_vessel.topology.measurement.dimension import box_dimension
from napari_vessel.topology.measurement.network import Network, NodeKind, Segment

Figures = dict[str, float | None]
"""Each figure by its name; None where it is not defined."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name : str
        The column in a table.
    title : str
        For a person to read.
    dimension : int
        Power of the unit of length that it is measured in: 1 a length, 2 an area, -1 one over a length, 0 none.
    extra : str
        What it is measured in beside that: ``degrees``, ``rad``.
    """

    name: str
    title: str
    dimension: int = 0
    extra: str = ""

    @property
    def is_one_way(self) -> bool:
        """Whether all that is drawn moves it the same way; of all else one gap may make more and the next less."""
        return self.name.startswith(("field_", "vessel_", "skeleton_", "components", "longest_"))

    def unit(self, length: str) -> str:
        """Return what it is measured in where lengths are in `length` (``px`` or ``um``); empty for a plain number."""
        power = abs(self.dimension)
        of = length + (f"^{power}" if power > 1 else "")
        if self.dimension < 0:
            return f"{self.extra or '1'}/{of}"
        return of if self.dimension else self.extra

    def readable(self, length: str) -> tuple[str, float]:
        """Return the unit that a person reads it in, and what to multiply it by for that.

        Parameters
        ----------
        length : str
            What lengths are in: ``um`` or ``px``.
        """
        if length == "um":
            long = self.name in ("skeleton_length", "longest_component_length")
            by_power = {1: ("mm", 1e-3) if long else ("µm", 1.0), 2: ("mm²", 1e-6), -1: ("/mm", 1e3), -2: ("/mm²", 1e6)}
        else:
            by_power = {1: ("px", 1.0), 2: ("px", 1.0), -1: ("/100 px", 1e2), -2: ("/Mpx", 1e6)}
        word, factor = by_power.get(self.dimension, (self.extra.replace("degrees", "°"), 1.0))
        return f"{self.extra}{word}" if self.dimension < 0 else word, factor


FIGURES = (
    Figure("field_area", "area of the field", 2),
    Figure("vessel_area", "vessel area", 2),
    Figure("vessel_area_density", "vessel area density"),
    Figure("skeleton_length", "centreline length", 1),
    Figure("skeleton_length_density", "centreline length density", -1),
    Figure("components", "components"),
    Figure("longest_component_length", "centreline length of the longest component", 1),
    Figure("segments", "segments"),
    Figure("calibre_mean", "calibre, mean", 1),
    Figure("calibre_p10", "calibre, 10th percentile", 1),
    Figure("calibre_p25", "calibre, lower quartile", 1),
    Figure("calibre_median", "calibre, median", 1),
    Figure("calibre_p75", "calibre, upper quartile", 1),
    Figure("calibre_p90", "calibre, 90th percentile", 1),
    Figure("tortuosity_distance", "tortuosity, distance metric (mean)"),
    Figure("tortuosity_distance_median", "tortuosity, distance metric (median)"),
    Figure("tortuosity_inflection", "tortuosity, inflection count metric (mean)"),
    Figure("tortuosity_angles", "tortuosity, sum of angles metric (mean)", -1, "rad"),
    Figure("inflections_per_length", "inflections per length", -1),
    Figure("bifurcations", "bifurcations"),
    Figure("bifurcation_density", "bifurcations per area", -2),
    Figure("crossings", "crossings"),
    Figure("branching_angle_mean", "branching angle, mean", 0, "degrees"),
    Figure("branching_angle_median", "branching angle, median", 0, "degrees"),
    Figure("ends", "free ends"),
    Figure("ends_per_length", "free ends per length", -1),
    Figure("fractal_dimension", "fractal dimension of the vessels"),
    Figure("fractal_dimension_skeleton", "fractal dimension of the centrelines"),
)
"""All figures, in the order of the tables; new ones only at the end."""

_QUANTILES = {
    "calibre_p10": 0.1,
    "calibre_p25": 0.25,
    "calibre_median": 0.5,
    "calibre_p75": 0.75,
    "calibre_p90": 0.9,
}


def figures_of(
    network: Network,
    fov: NDArray[np.bool_] | None,
    spacing: tuple[float, float],
    region: NDArray[np.bool_] | None = None,
) -> Figures:
    """Return every figure of an image, or of a part of it.

    Lengths are divided among regions point by point; a segment's tortuosity counts where most of its length lies.

    Parameters
    ----------
    network : Network
        What was found in the mask.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view; None means everywhere.
    spacing : tuple of float
        Size of a pixel (y, x).
    region : ndarray of bool, shape (Y, X), optional
        The part; the whole field when left out.
    """
    pixel = spacing[0] * spacing[1]
    field = np.ones(network.mask.shape, np.bool_) if fov is None else fov
    field = field if region is None else field & region
    mask = network.mask if region is None else network.mask & region
    skeleton = network.skeleton if region is None else network.skeleton & region

    def here(y: float, x: float) -> bool:
        return bool(region is None or region[round(y), round(x)])

    shares = [_share(segment, region) for segment in network.segments]
    lengths = np.asarray([float(s.steps @ part) for s, part in zip(network.segments, shares, strict=True)])
    area, total = float(field.sum()) * pixel, float(lengths.sum())
    vessel = float(mask.sum()) * pixel
    of = np.asarray([segment.component for segment in network.segments], np.intp)
    nodes = [node for node in network.nodes if here(*node.point)]
    bifurcations = sum(node.kind is NodeKind.BIFURCATION for node in nodes)
    angles = [node.angle for node in nodes if node.angle is not None]
    ends = sum(here(*end) for segment in network.segments for end in segment.ends)
    present = np.unique(network.labels[mask])
    return {
        "field_area": area,
        "vessel_area": vessel,
        "vessel_area_density": _ratio(vessel, area),
        "skeleton_length": total,
        "skeleton_length_density": _ratio(total, area),
        "components": float(present.size),
        "longest_component_length": float(np.bincount(of, weights=lengths).max()) if of.size else 0.0,
        "segments": float((lengths > 0).sum()),
        **_calibres(network.segments, shares),
        **_tortuosities(network.segments, lengths),
        "bifurcations": float(bifurcations),
        "bifurcation_density": _ratio(bifurcations, area),
        "crossings": float(len(nodes) - bifurcations),
        "branching_angle_mean": float(np.mean(angles)) if angles else None,
        "branching_angle_median": float(np.median(angles)) if angles else None,
        "ends": float(ends),
        "ends_per_length": _ratio(ends, total),
        "fractal_dimension": box_dimension(mask, field),
        "fractal_dimension_skeleton": box_dimension(skeleton, field),
    }


def _share(segment: Segment, region: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Tell which steps of a segment lie in a region, by their middles."""
    if region is None or not len(segment.steps):
        return np.ones(len(segment.steps), np.bool_)
    middles = np.rint((segment.points[1:] + segment.points[:-1]) / 2.0).astype(np.intp)
    y, x = (np.clip(middles[:, axis], 0, region.shape[axis] - 1) for axis in (0, 1))
    return np.asarray(region[y, x])


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _calibres(segments: Sequence[Segment], shares: Sequence[NDArray[np.bool_]]) -> Figures:
    """Return mean and quantiles of the calibre, each place weighted by the length it stands for."""
    values, weights = [], []
    for segment, part in zip(segments, shares, strict=True):
        # A segment too short to have local calibres has one.
        local = segment.calibres if np.isfinite(segment.calibres).any() else np.full_like(segment.calibres, nan)
        between = np.full(len(segment.steps), segment.calibre)
        if len(segment.steps) and np.isfinite(local).any():
            between = (local[1:] + local[:-1]) / 2.0
        known = part & np.isfinite(between)
        values.append(between[known])
        weights.append(segment.steps[known])
    calibres, lengths = (np.concatenate(parts) if parts else np.zeros(0) for parts in (values, weights))
    if not lengths.sum() > 0:
        return {"calibre_mean": None, **dict.fromkeys(_QUANTILES)}
    found: Figures = {"calibre_mean": float(np.average(calibres, weights=lengths))}
    return found | {name: weighted_quantile(calibres, lengths, share) for name, share in _QUANTILES.items()}


def weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    """Return the value under which a share of the weight lies."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return float(values[order][min(int(np.searchsorted(below, share * below[-1])), len(values) - 1)])


def _tortuosities(segments: Sequence[Segment], lengths: NDArray[np.float64]) -> Figures:
    """Return the means of the metrics of the segments that mostly lie here.

    Ratios to a chord are weighted by it, so that their mean is the length of all over the chords of all, and one
    segment that almost closes does not outweigh the others; what is told per length is weighted by length.
    """
    here = [
        (segment.tortuosity, segment.length, segment.chord)
        for segment, length in zip(segments, lengths, strict=True)
        if segment.tortuosity is not None and 2.0 * length > segment.length
    ]
    names = ("tortuosity_distance", "tortuosity_distance_median", "tortuosity_inflection", "tortuosity_angles")
    if not here:
        return dict.fromkeys((*names, "inflections_per_length"))
    along, chords = (np.asarray([one[at] for one in here], np.float64) for at in (1, 2))
    distances, counts, each, turned = np.asarray(
        [(found.distance, found.inflections, found.inflection, found.angles) for found, *_ in here], np.float64
    ).T
    return {
        "tortuosity_distance": float(np.average(distances, weights=chords)),
        "tortuosity_distance_median": weighted_quantile(distances, along, 0.5),
        "tortuosity_inflection": float(np.average(each, weights=chords)),
        "tortuosity_angles": float(np.average(turned, weights=along)),
        "inflections_per_length": float(counts.sum() / along.sum()),
    }
