"""The peer: W-Net (Galdran et al., "The little W-Net that could", 2020), 68 k parameters, trained on DRIVE.

Its code and weights stay in its own repository, https://github.com/agaldran/lwnet (MIT): every function here takes
the folder of a checkout. What its ``predict_one_image.py`` does around the network is done again here, because that
needs torchvision: cut to the field of view, resize (Pillow, bilinear), four flips averaged, resize back (cubic).
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import InputError
from napari_vessel.images.image import VesselImage
from napari_vessel.segmentation.devices import processor_threads

if TYPE_CHECKING:
    from torch import nn

THRESHOLD = 0.4196
"""The default of its ``predict_one_image.py``."""

SIDES = {"hrf": 1024}
"""The side, in pixels, that its README asks images of a set to be resized to; 512 otherwise."""

WEIGHTS = Path("experiments/wnet_drive/model_checkpoint.pth")
_PACKAGE = "lwnet_checkout_models"


class LittleWNet:
    """Predicts vessels as the peer's own script does.

    Parameters
    ----------
    checkout : Path
        Folder of https://github.com/agaldran/lwnet.
    flips : bool
        Average the predictions of four flips, as its script does by default.
    """

    def __init__(self, checkout: Path, flips: bool = True) -> None:
        self.flips = flips
        self._network = load_network(checkout)

    def predict(self, image: VesselImage, side: int = 512) -> NDArray[np.float32]:
        """Return the probability of a fundus photograph, shape (Y, X), 0 outside the field of view.

        Parameters
        ----------
        image : VesselImage
            In colour.
        side : int
            Pixels of the square that the field of view is resized to.
        """
        import torch
        from PIL import Image
        from skimage.transform import resize

        fov = np.ones(image.shape, np.bool_) if image.fov is None else image.fov
        rows, columns = np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        crop = np.round(image.pixels[window] * 255).astype(np.uint8)
        small = np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.BILINEAR), np.float32)
        with processor_threads(), torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)) / np.float32(255))[None]
            turns: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2)) if self.flips else ((),)
            maps = [self._network(tensor.flip(turn)).sigmoid().flip(turn) for turn in turns]
            mean = torch.stack(maps).mean(dim=0)[0, 0].numpy()
        probability = np.zeros(image.shape, np.float32)
        probability[window] = resize(mean, output_shape=crop.shape[:2], order=3)
        return np.where(fov, probability, np.float32(0))


def load_network(checkout: Path) -> nn.Module:
    """Build the peer's network from its own code and load its weights, without unpickling any object.

    Raises
    ------
    InputError
        If the folder is not a checkout of the peer's repository.
    """
    import torch

    _check(checkout)
    network: Any = _peer_module(checkout / "models", "get_model").get_arch("wnet")
    content = torch.load(checkout / WEIGHTS, map_location="cpu", weights_only=True)
    network.load_state_dict(content["model_state_dict"])
    network.mode = "eval"
    ready: nn.Module = network.eval().requires_grad_(False)
    return ready


def weights_hash(checkout: Path) -> str:
    """Return the SHA-256 of the peer's weights.

    Raises
    ------
    InputError
        If the folder is not a checkout of the peer's repository.
    """
    _check(checkout)
    return hashlib.sha256((checkout / WEIGHTS).read_bytes()).hexdigest()


def _check(checkout: Path) -> None:
    if not (checkout / WEIGHTS).is_file() or not (checkout / "models" / "get_model.py").is_file():
        raise InputError(f"{checkout} is not a checkout of https://github.com/agaldran/lwnet; clone it and give that.")


def _peer_module(folder: Path, name: str) -> types.ModuleType:
    """Import one of the peer's modules under a name of ours: its package is called ``models``, as one of ours is."""
    package = types.ModuleType(_PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.{name}")
