"""PVBM's measurements of a mask: the retinal vasculature biomarkers of Fhima et al. (ECCV 2022 Workshops).

Without its branching angles and the other rotations of its fractal dimension, which take minutes an image.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import skeletonize

REPOSITORY = "https://github.com/aim-lab/PVBM"

PAIRS = {
    "vessel area": ("area", "vessel_area"),
    "length": ("arc", "skeleton_length"),
    "tortuosity, distance metric, median": ("tortuosity", "tortuosity_distance_median"),
    "ends": ("ends", "ends"),
    "meeting places": ("intersections", "meeting_places"),
    "fractal dimension": ("dimension", "fractal_dimension"),
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
    "fractal dimension": "PVBM: boxes of 5 px to .6 of the image, those filled by less than .01 or more than .98 left "
    "out, one rotation of its 25; ours: boxes of 2 px to an eighth of the image, the least of four grids",
}


@dataclass(frozen=True)
class PVBM:
    """PVBM from a folder that holds its package, ``pip download --no-deps PVBM`` unpacked for one."""

    folder: Path

    def measure(self, mask: NDArray[np.bool_]) -> dict[str, float]:
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
            dimensions = fractals.MultifractalVBMs(optimize=False).compute_multifractals(mask.astype(np.float64))
        return {
            "area": float(found.area(mask)),
            "arc": float(np.sum(arcs)),
            "tortuosity": float(tortuosity),
            "ends": float(ends),
            "intersections": float(intersections),
            "dimension": float(dimensions[0]),
        }
