"""What an import costs, checked in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import napari_vessel

ROOT = Path(napari_vessel.__file__).parent
QT = {"napari", "qtpy", "magicgui", "superqt", "PyQt5", "PyQt6", "PySide2", "PySide6", "vispy"}
NO_TORCH = {"images", "topology", "synthesis", "completion", "review", "export", "cli", "jobs", "errors"}


def _modules() -> list[str]:
    names = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] == "gui" or parts[-1] == "__main__":
            continue
        names.append(".".join(["napari_vessel", *(part for part in parts if part != "__init__")]))
    return names


def _loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "room", sorted({".".join(name.split(".")[:2]) for name in _modules() if name != "napari_vessel"})
)
def test_no_room_below_the_window_loads_qt_or_an_unneeded_torch(room: str) -> None:
    modules = [name for name in _modules() if name == room or name.startswith(f"{room}.")]

    loaded = _loaded("\n".join(f"import {name}" for name in modules))

    assert not loaded & QT
    if room.partition(".")[2] in NO_TORCH:
        assert "torch" not in loaded


def test_importing_the_package_loads_no_library() -> None:
    loaded = _loaded("import napari_vessel")

    assert not loaded & (QT | {"torch", "numpy", "scipy", "cv2", "skimage", "dask", "typer", "rich"})


def test_the_verbs_are_functions_of_the_package() -> None:
    code = (
        "import napari_vessel as nv\n"
        "assert all(callable(getattr(nv, name)) for name in ('segment', 'propose_gaps', 'complete', 'open_project'))"
    )

    assert not _loaded(code) & QT


def test_listing_models_and_opening_a_project_load_no_torch(tmp_path: Path) -> None:
    loaded = _loaded(
        "from napari_vessel.segmentation.registry import list_models\n"
        "from napari_vessel.review.project import Project\n"
        f"list_models(); Project.create({str(tmp_path / 'p')!r}).close()"
    )

    assert "torch" not in loaded


@pytest.mark.skipif(sys.platform != "linux", reason="X11 only")
def test_a_window_still_opens_after_opencv_was_imported() -> None:
    # The full OpenCV wheel, which another plugin may bring, points Qt at plugins of its own; a QApplication made after
    # that aborts the process.
    script = (
        "import cv2, os\n"
        "from napari_vessel.topology.components import label_components\n"
        "import numpy as np; label_components(np.eye(8, dtype=bool))\n"
        "from qtpy.QtWidgets import QApplication, QLabel\n"
        "app = QApplication([]); label = QLabel('vessel'); label.show(); app.processEvents()\n"
        "print('shown', app.platformName())"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("shown")
