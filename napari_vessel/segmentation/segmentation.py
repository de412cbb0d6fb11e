"""What a model says about one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, slots=True)
class Segmentation:
    """A vessel probability, the mask cut from it, and what made them.

    Attributes
    ----------
    probability : ndarray of float32, shape (Y, X)
        Vessel probability in [0, 1] at the image's own resolution; 0 outside the field of view.
    mask : ndarray of bool, shape (Y, X)
        ``probability >= threshold`` without the pieces smaller than `min_size`.
    threshold : float
        Where the mask was cut.
    min_size : int
        Smallest 8-connected piece kept, in pixels of the image.
    model, model_version : str
        Which model.
    device, precision : str
        Where it ran, and in which number format.
    channel : str
        What it looked at: ``rgb``, ``green``, ``luminance`` or ``grey``.
    settings : mapping
        Everything else needed to repeat it: working shape, tile size and so on.
    """

    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    threshold: float
    min_size: int
    model: str
    model_version: str
    device: str
    precision: str
    channel: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays, ready for ``json.dumps``."""
        return {
            "model": self.model,
            "model_version": self.model_version,
            "threshold": self.threshold,
            "min_size": self.min_size,
            "device": self.device,
            "precision": self.precision,
            "channel": self.channel,
            "shape": list(self.mask.shape),
            "vessel_pixels": int(np.count_nonzero(self.mask)),
            "settings": dict(self.settings),
        }
