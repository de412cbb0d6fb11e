"""What napari keeps in different places from 0.8 to today: the only module that has to know of its inside."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any


def camera_of(viewer: Any) -> Any:
    """Return a viewer's camera: 0.9 moved it to the scene, and warns of the old place."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def canvas_size(viewer: Any) -> tuple[float, float]:
    """Return the height and width of a viewer's canvas in pixels of the screen: public since 0.9."""
    canvas = getattr(viewer, "canvas", None)
    size = canvas.size if canvas is not None else viewer._canvas_size
    return (float(size[0]), float(size[1]))


def at_once(viewer: Any) -> AbstractContextManager[Any]:
    """Return a context in which layers come and go together: 0.9 then clears up once, and not after each of them."""
    together = getattr(viewer.layers, "batched_update", nullcontext)
    return together()
