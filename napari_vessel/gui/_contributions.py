"""What napari.yaml points at besides the dock widgets: the project reader, the mask writer and the samples.

Everything heavier than a path is imported when it is used, so that napari's menus cost nothing. Annotations
stay real objects here (no ``from __future__ import annotations``): magicgui and napari read them at run time.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari

LayerTuple = tuple[Any, dict[str, Any], str]
PROJECT_FILE = "project.sqlite"


def get_project_reader(path: str | list[str]) -> Callable[[str | list[str]], list[tuple[None]]] | None:
    """Offer to read `path` when it is a project folder, or the ``project.sqlite`` in one; leave all else alone."""
    folder = _project_folder(path)
    return None if folder is None else _open_project


def _project_folder(path: str | list[str]) -> Path | None:
    if not isinstance(path, str | os.PathLike):
        if len(path) != 1:
            return None
        path = path[0]
    place = Path(path)
    if place.name == PROJECT_FILE and place.is_file():
        return place.parent
    return place if (place / PROJECT_FILE).is_file() else None


def _open_project(path: str | list[str]) -> list[tuple[None]]:
    """Open the project in the current viewer; it brings its own layers, so napari gets none from here."""
    from napari_vessel.errors import InputError
    from napari_vessel.gui.workspace import Workspace

    folder = _project_folder(path)
    viewer = napari.current_viewer()
    if folder is None or viewer is None:
        raise InputError(f"{path} cannot be opened as a vessel project here: open it from a napari window.")
    Workspace.of(viewer).open_project(folder)
    show_widget(viewer, "Vessel project")
    return [(None,)]


def show_widget(viewer: napari.Viewer, name: str) -> None:
    """Bring one of the plugin's dock widgets into the window; a viewer without a window is left as it is."""
    window = getattr(viewer, "window", None)
    if window is not None:
        window.add_plugin_dock_widget("napari-vessel", name)


def write_mask_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a Labels layer as PNG or TIFF.

    A layer under review is written with the values of the file it came from (0/255 when it came from none);
    any other layer with one kind of label is written 0/255, and one with several labels keeps its own values.
    """
    import numpy as np

    from napari_vessel.errors import InputError
    from napari_vessel.gui.workspace import Workspace
    from napari_vessel.images.image import VESSEL
    from napari_vessel.images.writing import write_mask

    classes = Workspace.classes_of_layer_data(data)
    labels = np.asarray(data)
    if labels.ndim > 2 and max(labels.shape[:-2]) == 1:
        labels = labels.reshape(labels.shape[-2:])
    if labels.ndim != 2:
        raise InputError(
            f"Layer {attributes.get('name', '')!r} has {labels.ndim} dimensions; show one plane and save that."
        )
    if classes is not None:
        write_mask(Path(path), labels.astype(np.uint8), classes)
        return [path]
    values = np.unique(labels)
    values = values[values != 0]
    if len(values) <= 1:
        write_mask(Path(path), (labels != 0).astype(np.uint8), (VESSEL,))
    else:
        _write_values(Path(path), labels)
    return [path]


def _write_values(path: Path, labels: Any) -> None:
    """Write labels with the values they have: nothing is known about them that could justify a change."""
    import numpy as np

    from napari_vessel.errors import InputError
    from napari_vessel.images.writing import replacing

    if labels.min() < 0 or labels.max() > np.iinfo(np.uint16).max:
        raise InputError(f"{path.name} was not written: a mask file holds label values from 0 to 65535.")
    values = labels.astype(np.uint8 if labels.max() <= np.iinfo(np.uint8).max else np.uint16)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".png":
            from PIL import Image

            Image.fromarray(values).save(temporary, format="PNG")
        else:
            import tifffile

            tifffile.imwrite(temporary, values, compression="zlib")


def sample_fundus() -> list[LayerTuple]:
    """Return a fundus-like image with its true vessels and a mask with known gaps."""
    return _sample("fundus", "Fundus-like")


def sample_octa() -> list[LayerTuple]:
    """Return an OCTA-like image with its true vessels and a mask with known gaps."""
    return _sample("octa", "OCTA-like")


def sample_xray() -> list[LayerTuple]:
    """Return an X-ray-like image with its true vessels and a mask with known gaps."""
    return _sample("xray", "X-ray-like")


def sample_twophoton() -> list[LayerTuple]:
    """Return a two-photon-like projection with its true vessels and a mask with known gaps."""
    # The first seed has capillaries alone; this one has surface vessels above them, as most projections do.
    return _sample("twophoton", "Two-photon-like", seed=1)


def _sample(kind: str, title: str, seed: int = 0) -> list[LayerTuple]:
    import numpy as np

    from napari_vessel.synthesis.samples import make_sample

    sample = make_sample(kind, seed)
    pixels = sample.image.pixels
    facts = {"napari-vessel": {"modality": str(sample.image.modality), "sample": kind}}
    limits = (0.0, 1.0)
    return [
        (
            pixels,
            {"name": f"{title} sample", "rgb": pixels.ndim == 3, "contrast_limits": limits, "metadata": facts},
            "image",
        ),
        (sample.truth.labels, {"name": f"{title} true vessels", "visible": False}, "labels"),
        (np.asarray(sample.broken, np.uint8), {"name": f"{title} mask with gaps"}, "labels"),
    ]
