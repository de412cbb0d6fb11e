"""PVBM's measurements of a mask: the retinal vasculature biomarkers of Fhima et al. (ECCV 2022 Workshops).

Without its branching angles and the other rotations of its fractal dimension, which take minutes an image.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize

from napari_vessel.topology.measurement.dimension import box_parts

REPOSITORY = "https://github.com/aim-lab/PVBM"

PAIRS = {
    "vessel area": ("area", "vessel_area"),
    "length": ("arc", "skeleton_length"),
    "tortuosity, distance metric, median": ("tortuosity", "tortuosity_distance_median"),
    "ends": ("ends", "ends"),
    "meeting places": ("intersections", "meeting_places"),
    "fractal dimension": ("dimension", "fractal_dimension"),
    "fractal dimension, our sizes of boxes": ("dimension_our_boxes", "fractal_dimension"),
    "fractal dimension of centrelines, our sizes of boxes": ("dimension_centrelines", "fractal_dimension_skeleton"),
}
"""Figures that both have: PVBM's and ours, by the row's name."""

DIFFERENCES = {
    "vessel area": "the same number of pixels",
    "length": "PVBM adds up the steps, 1 and the root of 2, of arcs over 10 px between meeting pixels; ours is "
    "along smooth centrelines, spurs removed, of all segments",
    "tortuosity, distance metric, median": "PVBM: of pixel steps over the chord, arcs over 10 px, each counting once; "
    "ours along smooth centrelines and weighted by length. Steps alone make a slanting line up to 1.08",
    "ends": "PVBM: centreline pixels with one neighbour; ours without spurs, and not at the edge of the field",
    "meeting places": "PVBM: every centreline pixel with three or more neighbours, so several for one place; ours: "
    "bifurcations and crossings, one each",
    "fractal dimension": "PVBM: 20 sizes of boxes in even steps from 5 px to .6 of the image, 16 of them more than a "
    "tenth, boxes filled by less than .01 or more than .98 left out, one rotation of its 25; ours: a quarter to a "
    "128th of the field, each half of the one before, the least of four grids",
    "fractal dimension, our sizes of boxes": "counted as PVBM does, with our sizes in whole px and every box that is "
    "met",
    "fractal dimension of centrelines, our sizes of boxes": "the same; PVBM's with spurs, ours without",
}


@dataclass(frozen=True)
class PVBM:
    """PVBM from a folder that holds its package, ``pip download --no-deps PVBM`` unpacked for one."""

    folder: Path

    def measure(self, mask: NDArray[np.bool_], field: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Return its figures of a mask, px and degrees."""
        sys.path.insert(0, str(self.folder))
        try:
            geometry = importlib.import_module("PVBM.GeometricalAnalysis")
            fractals = importlib.import_module("PVBM.FractalAnalysis")
        finally:
            sys.path.remove(str(self.folder))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = geometry.GeometricalVBMs()
            skeleton = np.ascontiguousarray(skeletonize(mask)).astype(np.float64)
            ends, intersections, _, _ = found.compute_particular_points(skeleton)
            tortuosity, _, _, arcs, _ = found.compute_tortuosity_length(skeleton)
            boxes = fractals.MultifractalVBMs(optimize=False)
            dimensions = boxes.compute_multifractals(mask.astype(np.float64))
            window = _window(np.ones(mask.shape, np.bool_) if field is None else field)
            ours = [_dimension(boxes, one[window]) for one in (mask.astype(np.float64), skeleton)]
        return {
            "area": float(found.area(mask)),
            "arc": float(np.sum(arcs)),
            "tortuosity": float(tortuosity),
            "ends": float(ends),
            "intersections": float(intersections),
            "dimension": float(dimensions[0]),
            "dimension_our_boxes": ours[0],
            "dimension_centrelines": ours[1],
        }


def _window(field: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the bounding box of a field of view."""
    rows, columns = (np.flatnonzero(field.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _dimension(boxes: Any, mask: NDArray[np.float64]) -> float:
    """Return D0 with PVBM's way to count boxes and our sizes of them."""
    extent = max(mask.shape)
    sizes = [round(extent / parts) for parts in box_parts(extent)]
    counts = [np.count_nonzero(boxes._probability_per_pixel(mask, size, [0.0, 1.0])) for size in sizes]
    return float(-np.polyfit(np.log(sizes), np.log(counts), 1)[0])
