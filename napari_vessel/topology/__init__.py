"""Components, skeleton graph and calibre of a vessel mask."""

from napari_vessel.topology.calibre import local_radius, median_calibre
from napari_vessel.topology.components import Component, find_components, label_components, remove_small
from napari_vessel.topology.skeleton import EndPoint, centreline, find_end_points, prune_spurs
from napari_vessel.topology.table import MaskTable

__all__ = [
    "Component",
    "EndPoint",
    "MaskTable",
    "centreline",
    "find_components",
    "find_end_points",
    "label_components",
    "local_radius",
    "median_calibre",
    "prune_spurs",
    "remove_small",
]
