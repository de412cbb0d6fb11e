"""Reading, describing and writing images and masks."""

from napari_vessel.images.image import VESSEL, MaskClass, Modality, VesselImage, VesselMask

__all__ = ["VESSEL", "MaskClass", "Modality", "VesselImage", "VesselMask"]
