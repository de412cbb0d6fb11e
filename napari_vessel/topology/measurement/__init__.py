"""What is measured of a vessel mask: density, length, calibre, tortuosity, branching, ends and fractal dimension."""

from napari_vessel.topology.measurement.curves import Tortuosity
from napari_vessel.topology.measurement.figures import FIGURES, Figure, Figures
from napari_vessel.topology.measurement.measure import Measurements, intervals, measure, measuring
from napari_vessel.topology.measurement.network import Node, NodeKind, Segment
from napari_vessel.topology.measurement.regions import Regions, quadrants, read_regions, zones

__all__ = [
    "FIGURES",
    "Figure",
    "Figures",
    "Measurements",
    "Node",
    "NodeKind",
    "Regions",
    "Segment",
    "Tortuosity",
    "intervals",
    "measure",
    "measuring",
    "quadrants",
    "read_regions",
    "zones",
]
