"""The adapter around the peer, on a stand-in for its repository: its own code and weights are not ours to keep."""

from pathlib import Path

import numpy as np
import pytest
import torch
from contenders import Peer
from lwnet_peer import WEIGHTS, LittleWNet

from napari_vessel.errors import InputError
from napari_vessel.images.image import VesselImage

CODE = """
import torch

class Net(torch.nn.Module):
    n_classes = 1

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        # Not the same after a flip: brighter towards the right.
        ramp = torch.linspace(-1, 1, x.shape[-1])
        return (x[:, :1] - 0.5) * self.scale + ramp

def get_arch(name):
    return Net()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "get_model.py").write_text(CODE)
    (tmp_path / WEIGHTS).parent.mkdir(parents=True)
    torch.save({"model_state_dict": {"scale": torch.full((1,), 8.0)}}, tmp_path / WEIGHTS)
    return tmp_path


@pytest.fixture
def image() -> VesselImage:
    """A bright square, left of the middle of the field of view."""
    pixels = np.zeros((60, 80, 3), np.float32)
    pixels[20:30, 20:30] = 1
    fov = np.zeros((60, 80), bool)
    fov[10:50, 10:70] = True
    return VesselImage(pixels, fov=fov)


def test_flips_are_turned_back_and_averaged(checkout: Path, image: VesselImage) -> None:
    one = LittleWNet(checkout, flips=False).predict(image, 64)
    four = LittleWNet(checkout).predict(image, 64)
    assert four[25, 25] > 0.9
    assert four[25, 55] < 0.1
    # The ramp to the right is gone when the flips are averaged.
    assert one[40, 65] - one[40, 15] > 0.02
    assert four[40, 65] == pytest.approx(four[40, 14], abs=1e-3)
    assert not four[~image.fov].any()


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="agaldran/lwnet"):
        LittleWNet(tmp_path)


def test_other_weights_in_the_same_place_are_another_peer(checkout: Path) -> None:
    first = Peer(checkout).key()
    torch.save({"model_state_dict": {"scale": torch.full((1,), 9.0)}}, checkout / WEIGHTS)
    assert Peer(checkout).key() != first
    assert str(checkout) not in str(first)
    with pytest.raises(InputError, match="not a checkout"):
        Peer(checkout / "models").key()
