"""Centrelines as smooth curves: their length, and how tortuous they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

LEAST_PERIOD_PX = 20.0
"""Waves of a centreline shorter than this are steps of pixels, px."""

PERIOD_CALIBRES = 4.0
"""Waves shorter than this, in the vessel's calibres, are those of its walls."""

LEAST_TURN = np.radians(15.0)
"""A curve has turned the other way once its direction has come back by so much, radians."""


def smoothing_period(calibre: float) -> float:
    """Return the wavelength, px, that :func:`smooth` halves in a vessel of a calibre, px."""
    return max(LEAST_PERIOD_PX, PERIOD_CALIBRES * calibre)


def smooth(points: Points, period: float) -> tuple[Points, NDArray[np.float64]]:
    """Draw a smooth curve along the pixels of a centreline.

    The pixels are joined by straight lines, points are taken about a pixel apart along these, and each coordinate is
    smoothed by Whittaker's method with second differences (Whittaker 1923; Eilers, Anal. Chem. 75, 2003): the sum of
    squared distances to the points plus a multiple of the sum of squared second differences is made least. A wave as
    long as `period` keeps half of its height, one twice as long .94 of it, straight lines all.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 2)
        (y, x) along the centreline, px.
    period : float
        Wavelength that is halved, px.

    Returns
    -------
    curve : ndarray of float64, shape (M, 2)
        (y, x) along the smooth curve, px; its ends are free.
    along : ndarray of float64, shape (M,)
        Where on the line through the pixels each of them began, px from its first point.
    """
    from scipy.linalg import solveh_banded

    behind = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    count = max(round(float(behind[-1])), 1) + 1 if behind[-1] > 0 else 1
    along = np.linspace(0.0, behind[-1], count)
    curve = np.stack([np.interp(along, behind, points[:, axis]) for axis in (0, 1)], axis=1)
    if count < 4:
        return curve, along
    step = float(behind[-1]) / (count - 1)
    weight = (period / step / (2.0 * np.pi)) ** 4
    # The bands of the product of the second differences with themselves.
    middle = np.full(count, 6.0)
    middle[[0, -1]], middle[[1, -2]] = 1.0, 5.0
    beside = np.full(count - 1, -4.0)
    beside[[0, -1]] = -2.0
    if count == 4:
        middle[1:3], beside[1] = 5.0, -4.0
    bands = np.zeros((3, count))
    bands[2] = 1.0 + weight * middle
    bands[1, 1:] = weight * beside
    bands[0, 2:] = weight
    return np.asarray(solveh_banded(bands, curve), np.float64), along


@dataclass(frozen=True, slots=True)
class Tortuosity:
    """How tortuous a curve is.

    Attributes
    ----------
    distance : float
        Distance metric: length over the straight distance between its ends; 1 for a straight line.
    inflections : int
        How often it stops turning one way and turns the other.
    inflection : float
        Inflection count metric: inflections plus one, times the distance metric.
    angles : float
        Sum of angles metric: all that its direction turns, either way, over its length; radians per unit of length.
    """

    distance: float
    inflections: int
    inflection: float
    angles: float


def tortuosity(curve: Points) -> Tortuosity | None:
    """Measure how tortuous a smooth curve is.

    The three metrics are those of Bullitt et al., "Measuring tortuosity of the intracerebral vasculature from MRA
    images" (IEEE Trans. Med. Imaging 22, 2003), in a plane. An inflection counts when the direction turns by 15
    degrees or more on both sides of it, and what it turns back by less is no part of the sum of angles: what is left
    of the steps of pixels is neither.

    Parameters
    ----------
    curve : ndarray of float64, shape (N, 2)
        (y, x) along it, in any unit.

    Returns
    -------
    Tortuosity or None
        None for a single point, and where the ends are one point.
    """
    steps = np.diff(curve, axis=0)
    lengths = np.hypot(*steps.T)
    length, chord = float(lengths.sum()), float(np.hypot(*(curve[-1] - curve[0]))) if len(curve) else 0.0
    if length <= 0.0 or chord <= 1e-6 * length:
        return None
    steps = steps[lengths > 0]
    turns = turning_points(np.unwrap(np.arctan2(steps[:, 0], steps[:, 1])), LEAST_TURN)
    inflections = max(len(turns) - 2, 0)
    distance = max(length / chord, 1.0)
    angles = float(np.abs(np.diff(turns)).sum()) / length
    return Tortuosity(distance, inflections, (inflections + 1) * distance, angles)


def turning_points(values: NDArray[np.float64], least: float) -> list[float]:
    """Return the first value, those where a series turns back by `least` or more, and the last that it came to.

    Parameters
    ----------
    values : ndarray of float64, shape (N,)
        The series; not empty.
    least : float
        What comes back by less has not turned.
    """
    low = high = pivot = float(values[0])
    found: list[float] = []
    rising: bool | None = None
    for value in values.tolist():
        low, high = min(low, value), max(high, value)
        if rising is None and high - low >= least:
            rising = value == high
            found.append(low if rising else high)
            pivot = value
        elif rising is not None:
            if (value > pivot) == rising:
                pivot = value
            elif abs(value - pivot) >= least:
                found.append(pivot)
                rising, pivot = not rising, value
    # What never turned by so much has turned from its first direction to its last.
    return [*found, pivot] if found else [float(values[0]), float(values[-1])]
