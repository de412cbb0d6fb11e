"""The adapter around the peer that reconnects, on a stand-in for its repository."""

from pathlib import Path

import numpy as np
import pytest
import torch
from creatis_peer import MODELS, ROUNDS, WEIGHTS, Reconnecter, make_network, weights_hashes
from numpy.typing import NDArray

from napari_vessel.errors import InputError

MODEL = next(iter(MODELS.values()))


def grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Return a mask with every pixel drawn on to the right."""
    larger = mask.copy()
    for n in range(1, pixels + 1):
        larger[:, n:] |= mask[:, :-n]
    return larger


# Several windows each way, the last of them pushed back into the image; one window; less than one.
@pytest.mark.parametrize("shape", [(150, 210), (96, 96), (41, 60)])
def test_every_round_starts_from_what_the_last_one_made(creatis: Path, shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.002
    mask[shape[0] // 2, : shape[1] // 2] = True
    done = Reconnecter(creatis, MODEL)(mask)
    np.testing.assert_array_equal(done, grown(mask, ROUNDS))


def test_short_gaps_are_closed_and_long_ones_not(creatis: Path) -> None:
    mask = np.zeros((100, 120), bool)
    mask[30:33, 10:100] = mask[60:63, 10:100] = True
    mask[30:33, 50:58] = mask[60:63, 50:65] = False
    done = Reconnecter(creatis, MODEL)(mask)
    assert done[31, 10:110].all()
    assert not done[61, 60:65].any()


def test_a_mask_with_nothing_in_it_stays_as_it_is(creatis: Path) -> None:
    assert not Reconnecter(creatis, MODEL)(np.zeros((100, 100), bool)).any()


def test_the_network_takes_the_names_and_shapes_of_the_peers_weights() -> None:
    shapes = {name: tuple(value.shape) for name, value in make_network().state_dict().items()}
    deepest = "model.1.submodule.1.submodule.1.submodule"
    assert len(shapes) == 114
    assert shapes["model.0.conv.unit0.conv.weight"] == (16, 1, 3, 3)
    assert shapes[f"{deepest}.residual.weight"] == (128, 64, 1, 1)
    assert shapes[f"{deepest}.conv.unit1.adn.A.weight"] == (1,)
    assert shapes["model.1.submodule.1.submodule.2.0.conv.weight"] == (192, 32, 3, 3)
    assert "model.2.1.conv.unit0.adn.N.weight" not in shapes


def test_what_was_used_is_told_by_its_hash(creatis: Path) -> None:
    before = weights_hashes(creatis)
    torch.save({}, creatis / MODEL / WEIGHTS)
    after = weights_hashes(creatis)
    assert [before[name] == after[name] for name in MODELS] == [False, True]


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="creatis-myriad/plug-and-play-reco-regularization"):
        Reconnecter(tmp_path, MODEL)
