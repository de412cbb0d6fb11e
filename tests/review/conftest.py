"""A mask of two broken vessels and a speck, gaps across the breaks, and a project that holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind, Reason
from napari_vessel.images import MaskClass, VesselMask
from napari_vessel.images.inputs import ImageInput
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, ReviewSession

MakeGap = Callable[..., Gap]


@pytest.fixture
def broken() -> NDArray[np.uint8]:
    """Two horizontal vessels, rows 10-12 and 30-32, each broken at x = 25-30 and 50-55, and a speck at (45, 5)."""
    labels = np.zeros((50, 80), np.uint8)
    for row in (10, 30):
        labels[row : row + 3, 5:75] = 1
        labels[row : row + 3, 25:31] = 0
        labels[row : row + 3, 50:56] = 0
    labels[45:47, 5:7] = 1
    return labels


@pytest.fixture
def make_gap() -> MakeGap:
    def make(row: int, x0: int = 24, x1: int = 31, score: float = 0.9, merges: bool = True, name: str = "") -> Gap:
        xs = np.arange(x0, x1 + 1, dtype=np.float32)
        path = np.stack([np.full(len(xs), row, np.float32), xs], 1)
        ends = (
            GapEnd(1, (float(row), float(x0)), (0.0, 1.0), 1.5, True),
            GapEnd(2, (float(row), float(x1)), (0.0, -1.0), 1.5, True),
        )
        effect = Effect(7, 6, float(x1 - x0), 20.0, 0) if merges else Effect(7, 7, float(x1 - x0), 0.0, 1)
        widths = np.full(len(xs), 3, np.float32)
        reasons = (Reason("runs straight on", 0.5),)
        return Gap(name or f"g{row}-{x0}", GapKind.BRIDGE, ends, path, widths, score, reasons, effect)

    return make


@pytest.fixture
def gaps(make_gap: MakeGap) -> list[Gap]:
    """The four breaks, best first."""
    return [
        make_gap(11, 24, 31, 0.95, name="a"),
        make_gap(11, 49, 56, 0.85, name="b"),
        make_gap(31, 24, 31, 0.75, name="c"),
        make_gap(31, 49, 56, 0.65, name="d"),
    ]


@pytest.fixture
def session(broken: NDArray[np.uint8], gaps: list[Gap]) -> ReviewSession:
    """A session without a project."""
    fresh = ReviewSession(broken.copy(), annotator="ann")
    fresh.set_gaps(gaps)
    return fresh


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    path = folder / "eye.png"
    cv2.imwrite(str(path), np.random.default_rng(7).integers(0, 255, (50, 80), dtype=np.uint8))
    return path


@pytest.fixture
def project(tmp_path: Path, image_file: Path, broken: NDArray[np.uint8]) -> Iterator[Project]:
    """A project with one image, ``eye``, and its broken mask."""
    with Project.create(tmp_path / "project") as fresh:
        mask = VesselMask(broken, (MaskClass(1, 255, "vessel"),), "0/255")
        run_job(fresh.add([ImageInput(image_file, None)], masks=mask))
        yield fresh
