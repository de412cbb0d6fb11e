"""Small real files and a way to run the command line in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_vessel.cli import main
from napari_vessel.images.writing import write_mask
from napari_vessel.synthesis.samples import Sample, make_sample


@dataclass
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path.parent / f"{tmp_path.name}-home"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line with the given words."""

    def run_words(*words: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run_words


@pytest.fixture(scope="session")
def sample() -> Sample:
    """A small fundus-like picture with its truth and a broken mask."""
    return make_sample("fundus", seed=3, shape=(220, 220))


@pytest.fixture
def photograph(tmp_path: Path, sample: Sample) -> Path:
    """The sample as a PNG file in a folder of its own."""
    path = tmp_path / "images" / "eye_7.png"
    path.parent.mkdir()
    Image.fromarray((sample.image.pixels * 255).round().astype(np.uint8)).save(path)
    return path


@pytest.fixture
def broken_mask(tmp_path: Path, sample: Sample) -> Path:
    """The sample's broken mask as a PNG file named after the picture."""
    path = tmp_path / "masks" / "eye_7_mask.png"
    path.parent.mkdir()
    write_mask(path, sample.broken)
    return path
