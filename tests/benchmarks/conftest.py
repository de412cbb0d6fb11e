"""The benchmarks are scripts, not a package: their folder is put where Python looks for modules."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def creatis(tmp_path: Path) -> Path:
    """A stand-in for the peer's repository, of its network with weights of our own: all grows 1 px to the right."""
    from creatis_peer import MODELS, WEIGHTS, make_network

    network = make_network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        weights = dict(network.named_parameters())
        for channel, (dy, dx) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            # Each of the four places in a pixel at half resolution has a channel, for it and its left neighbour.
            weights["model.0.residual.weight"][channel, 0, 1 + dy, dx : dx + 2] = 1.0
            weights["model.2.0.conv.weight"][channel, 0, 1 + dy, 1 + dx] = 1.0
        weights["model.2.0.adn.N.weight"].fill_(1.0)
        weights["model.2.0.adn.N.bias"].fill_(-0.5)
        weights["model.2.0.adn.A.weight"].fill_(0.5)
    for model in MODELS.values():
        (tmp_path / "creatis" / model).mkdir(parents=True)
        torch.save(network.state_dict(), tmp_path / "creatis" / model / WEIGHTS)
        (tmp_path / "creatis" / model / "config_training.json").write_text(json.dumps({"patch_size": [96, 96]}))
    return tmp_path / "creatis"
