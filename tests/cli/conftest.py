"""Small real files and a way to run the command line in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
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


@pytest.fixture
def training() -> Iterator[Callable[..., Training]]:
    """Start a command that trains; it is ended with the test, whatever becomes of that."""
    started: list[Training] = []

    def start(*words: str | Path) -> Training:
        started.append(Training(*words))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        for pipe in (one.process.stdin, one.process.stdout):
            if pipe is not None:
                pipe.close()


class Training:
    """A command that trains, as a program starts it: a process of its own, told of by lines of JSON."""

    def __init__(self, *words: str | Path) -> None:
        command = [sys.executable, "-m", "napari_vessel.cli", *map(str, words), "--device", "cpu", "--json-progress"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def until_step(self, step: int) -> dict[str, Any]:
        """Return what it tells of its progress when it has come to a step."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            progress = json.loads(line).get("progress", {})
            if progress.get("message", "").startswith("Training") and progress["done"] >= step:
                return progress
        raise AssertionError(f"it ended before step {step}")

    def stop(self) -> dict[str, Any]:
        """Tell it to stop, the pipe still open: only the word stops it. Return the last that it tells."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()
        last = [json.loads(line) for line in self.process.stdout][-1]
        assert self.process.wait(120) == 0
        self.process.stdin.close()
        return last


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
