"""A real viewer with an image under review, and a check that no job outlives its test."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_vessel.gui.garbage import set_apart
from napari_vessel.gui.workers import running_jobs
from napari_vessel.gui.workspace import Workspace
from napari_vessel.images.image import VESSEL, Modality, VesselImage, VesselMask


@pytest.fixture(autouse=True)
def _quick_collections() -> None:
    """Set apart what is there before a test: napari collects garbage whenever layers go, and half the time of these
    tests went into looking through modules, and through what napari keeps of every viewer.
    """
    import napari._qt.qt_main_window  # noqa: F401  the window with all that it imports

    gc.collect()
    gc.freeze()
    # The program's own, once in a process, would keep a test's viewer, and napari looks whether it is gone.
    set_apart("an image is open")
    set_apart("networks are imported")


def settle(seconds: float = 120.0) -> None:
    """Let the event loop run until no job is left."""
    until = time.monotonic() + seconds
    QApplication.processEvents()
    while running_jobs():
        assert time.monotonic() < until, "a job does not end"
        QApplication.processEvents()
        time.sleep(0.005)
    for _ in range(3):
        QApplication.processEvents()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    # napari keeps what a plugin prefers beside its own settings, and reads it once in a process.
    monkeypatch.setattr("napari.settings._CFG_PATH", str(tmp_path / "home" / "settings.yaml"), raising=False)
    monkeypatch.setattr("napari.settings._PLUGIN_SETTINGS", {}, raising=False)


@pytest.fixture(autouse=True)
def _no_job_outlives_its_test() -> Iterator[None]:
    yield
    left = running_jobs()
    for handle in left:
        handle.cancel()
        handle.wait(10)
    QApplication.processEvents()
    assert not left, "a job was still running at the end of the test"


@pytest.fixture
def spin() -> Callable[[], None]:
    """Let the event loop run until no job is left."""
    return settle


@pytest.fixture
def workspace(make_napari_viewer) -> Iterator[Workspace]:
    """The workspace of a new viewer, closed afterwards."""
    found = Workspace.of(make_napari_viewer())
    yield found
    found.close()
    QApplication.processEvents()


@pytest.fixture
def shown_workspace(make_napari_viewer) -> Iterator[Workspace]:
    """The workspace of a new viewer on the screen, for what needs drawing, a mouse or the focus."""
    found = Workspace.of(make_napari_viewer(show=True))
    yield found
    found.close()
    QApplication.processEvents()


BREAKS = ((20, 30, 36), (44, 60, 67), (68, 80, 85), (92, 40, 46))
"""Row, first and last column of the stretch missing from each of the four vessels of `drawn_sample`."""


def drawn_sample() -> tuple[VesselImage, VesselMask]:
    """Four dark horizontal vessels, 3 px wide, on a bright field of 110 x 120 px, the mask of each with one break."""
    pixels = np.full((110, 120, 3), 0.7, np.float32)
    labels = np.zeros((110, 120), np.uint8)
    for row, first, last in BREAKS:
        pixels[row - 1 : row + 2, 8:112] = 0.3
        labels[row - 1 : row + 2, 8:112] = 1
        labels[row - 1 : row + 2, first : last + 1] = 0
    image = VesselImage(pixels, modality=Modality.FUNDUS, content_hash="5" * 64)
    return image, VesselMask(labels, (VESSEL,))


@pytest.fixture
def drawn() -> tuple[VesselImage, VesselMask]:
    """The image and mask of `drawn_sample`."""
    return drawn_sample()


def open_sample(workspace: Workspace) -> Workspace:
    """Open `drawn_sample` for review and find its gaps."""
    workspace.add_image(*drawn_sample())
    settle()
    assert workspace.session is not None
    assert len(workspace.session.open_gaps) >= 4
    return workspace


@pytest.fixture
def review(workspace: Workspace) -> Workspace:
    """A workspace with an image of four gaps under review."""
    return open_sample(workspace)


@pytest.fixture
def shown_review(shown_workspace: Workspace) -> Workspace:
    """The same, on the screen."""
    return open_sample(shown_workspace)
