"""Measuring a mask: the whole, its regions and its segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.jobs import Job, Progress, run_job
from napari_vessel.topology.measurement.figures import FIGURES, Figures, figures_of
from napari_vessel.topology.measurement.network import Node, Segment, read_network
from napari_vessel.topology.measurement.regions import Regions

Interval = tuple[float, float]

MICROMETRE = "um"
PIXEL = "px"


@dataclass(frozen=True, eq=False, slots=True)
class Measurements:
    """What was measured of a mask.

    Attributes
    ----------
    unit : str
        Of every length: ``um`` where the size of a pixel is known, ``px`` elsewhere.
    figures : dict
        By their names (:data:`FIGURES`); None where one is not defined.
    regions : dict
        The same of each region.
    segments : tuple of Segment
        Stretches of vessel between meeting places and ends.
    region_of : tuple of str
        For each of these the first region that holds the middle of its course; empty without one.
    nodes : tuple of Node
        Bifurcations and crossings.
    """

    unit: str
    figures: Figures
    segments: tuple[Segment, ...]
    nodes: tuple[Node, ...]
    regions: dict[str, Figures] = field(default_factory=dict)
    region_of: tuple[str, ...] = ()


def measure(
    mask: NDArray[np.generic],
    fov: NDArray[np.bool_] | None = None,
    spacing: tuple[float, float] | None = None,
    regions: Regions | None = None,
) -> Measurements:
    """Measure a vessel mask.

    Of an empty mask, numbers, lengths and densities are 0, and what has nothing to be told of (calibre, tortuosity,
    angles, dimension, ends per length) is None.

    Parameters
    ----------
    mask : ndarray, shape (Y, X)
        Anything but 0 is vessel.
    fov : ndarray of bool, shape (Y, X), optional
        Field of view: only what is inside counts, and an end at its edge is none. Everywhere when left out.
    spacing : tuple of float, optional
        Size of a pixel (y, x), micrometres; lengths are in px without.
    regions : mapping of str to ndarray of bool, shape (Y, X), optional
        Parts to measure beside the whole.

    Returns
    -------
    Measurements

    Raises
    ------
    InputError
        If the shapes differ, the mask has not two axes or no pixel, or the spacing is not above 0.
    """
    return run_job(measuring(mask, fov, spacing, regions))


def measuring(
    mask: NDArray[np.generic],
    fov: NDArray[np.bool_] | None = None,
    spacing: tuple[float, float] | None = None,
    regions: Regions | None = None,
) -> Job[Measurements]:
    """Do as :func:`measure`, as a job that shows its progress and can be stopped."""
    parts = dict(regions or {})
    _check(mask, fov, spacing, parts)
    size = (1.0, 1.0) if spacing is None else spacing
    network = yield from read_network(np.asarray(mask != 0), fov, size)
    figures = figures_of(network, fov, size)
    found: dict[str, Figures] = {}
    for name, region in parts.items():
        yield Progress(2.5, 3, f"Measuring {name}")
        found[name] = figures_of(network, fov, size, region)
    return Measurements(
        unit=PIXEL if spacing is None else MICROMETRE,
        figures=figures,
        segments=network.segments,
        nodes=network.nodes,
        regions=found,
        region_of=tuple(_region_of(segment, parts) for segment in network.segments),
    )


def intervals(
    found: Sequence[Measurements], region: str = "", alone: Sequence[Measurements] = ()
) -> dict[str, Interval | None]:
    """Return between what each figure lies in several measurements of one image.

    Parameters
    ----------
    found : sequence of Measurements
        At least one.
    region : str
        One of their regions; the whole image when left out.
    alone : sequence of Measurements
        Each with another single thing changed since the first of `found`; the interval holds them. What these make a
        figure larger is added up, and what they make it smaller, and the interval holds both: means, and numbers such
        as that of bifurcations, may go up by one and down by the next, so that having all at once hides what each does.
        Areas, lengths and components are not in need of it.

    Returns
    -------
    dict of str to (float, float) or None
        Least and largest by name; None where it is not defined in all of them.
    """
    each, single = ([one.regions[region] if region else one.figures for one in some] for some in (found, alone))
    result: dict[str, Interval | None] = {}
    for figure in FIGURES:
        values = [value for figures in each if (value := figures[figure.name]) is not None]
        if len(values) < len(each):
            result[figure.name] = None
            continue
        first, others = values[0], [value for figures in single if (value := figures[figure.name]) is not None]
        low, high = min(values + others), max(values + others)
        if not figure.is_one_way:
            # No figure is below 0, but two that take away the same end would take it twice.
            low = min(low, max(first + sum(value - first for value in others if value < first), 0.0))
            high = max(high, first + sum(value - first for value in others if value > first))
        result[figure.name] = (low, high)
    return result


def _region_of(segment: Segment, regions: Regions) -> str:
    y, x = (round(value) for value in segment.centre)

    def holds(region: NDArray[np.bool_]) -> bool:
        # A smooth course may run a little beside its pixels, and so outside the picture.
        return bool(region[min(max(y, 0), region.shape[0] - 1), min(max(x, 0), region.shape[1] - 1)])

    return next((name for name, region in regions.items() if holds(region)), "")


def _check(
    mask: NDArray[np.generic],
    fov: NDArray[np.bool_] | None,
    spacing: tuple[float, float] | None,
    regions: Regions,
) -> None:
    if mask.ndim != 2:
        raise InputError(f"A mask has two axes, this one has {mask.ndim}; give one plane at a time.")
    if not mask.size:
        raise InputError(f"The mask is {mask.shape[0]} x {mask.shape[1]} px (height x width); give one with pixels.")
    others = {"field of view": fov, **{f"region '{name}'": region for name, region in regions.items()}}
    for name, array in others.items():
        if array is not None and array.shape != mask.shape:
            raise InputError(
                f"The {name} is {' x '.join(map(str, array.shape))} px and the mask "
                f"{' x '.join(map(str, mask.shape))}; give files of one size."
            )
    if spacing is not None and not all(0.0 < value < np.inf for value in spacing):
        raise InputError(f"The size of a pixel is {spacing[0]} x {spacing[1]} micrometres; give two above 0.")
