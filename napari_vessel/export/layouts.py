"""The layouts there are."""

from __future__ import annotations

from napari_vessel.export.coco import CocoLayout
from napari_vessel.export.folder import FolderLayout
from napari_vessel.export.layout import Layout
from napari_vessel.export.monai import MonaiLayout
from napari_vessel.export.nnunet import NnunetLayout
from napari_vessel.export.ometiff import OmeTiffLayout
from napari_vessel.export.omezarr import OmeZarrLayout

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (FolderLayout(), NnunetLayout(), MonaiLayout(), CocoLayout(), OmeTiffLayout(), OmeZarrLayout())
}
"""By their names."""
