"""Drawn networks of capillaries, in which vessels meet as in a honeycomb: fundus images have next to none of these."""

from __future__ import annotations

import cv2
import numpy as np
from cut_rows import Joined, Rows, rows_in_truth
from gap_planting import Mask, plant_false_bridges
from scipy.spatial import Voronoi

SIDE = 480
CALIBRE = 2.5
"""Of DRIVE's vessels, px: a pixel of DRIVE is as many calibres here as there."""


def mesh(number: int) -> tuple[Mask, float]:
    """Draw one network; returns it and its calibre, px."""
    rng = np.random.default_rng([20, number])
    calibre = float(rng.uniform(2.0, 6.0))
    step = calibre * float(rng.uniform(7.0, 12.0))
    grid = np.mgrid[-step : SIDE + step : step, -step : SIDE + step : step].reshape(2, -1).T
    around = Voronoi(grid + rng.normal(0.0, float(rng.uniform(0.15, 0.4)) * step, grid.shape))
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    for a, b in around.ridge_vertices:
        if a >= 0 and b >= 0:
            ends = [tuple(np.rint(around.vertices[n][::-1] * 16).astype(int).tolist()) for n in (a, b)]
            if np.abs(ends).max() < 2**20:
                width = max(round(calibre * float(rng.uniform(0.7, 1.3))), 1)
                cv2.line(drawn, ends[0], ends[1], 1, width, cv2.LINE_8, 4)
    return drawn > 0, calibre


def mesh_rows(number: int) -> Rows:
    """Return the connections of a drawn network with bridges planted."""
    mask, calibre = mesh(number)
    scale = calibre / CALIBRE
    bridges = plant_false_bridges(mask, scale, np.random.default_rng([21, number]))
    whole = mask.copy()
    for bridge in bridges:
        whole |= bridge.pixels
    return rows_in_truth(Joined(whole, bridges, scale), None, None, None)
