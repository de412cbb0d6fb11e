"""The wheel, as a stranger gets it: built, installed into a fresh environment, used away from the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import napari_vessel

ROOT = Path(napari_vessel.__file__).parent.parent
pytestmark = pytest.mark.wheel

USE = """
import json, os, socket, sys, time
from pathlib import Path

def refuse(*_):
    raise OSError("the network was asked for")

# Offline from here on. X11's socket is a local one, so only the internet families are shut.
real_connect = socket.socket.connect
def connect(self, address):
    return refuse() if self.family in (socket.AF_INET, socket.AF_INET6) else real_connect(self, address)
socket.socket.connect = connect
socket.getaddrinfo = refuse

import napari, napari_vessel
assert "site-packages" in napari_vessel.__file__, napari_vessel.__file__
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
names = "Vessel project,Segment vessels,Vessel gaps,Measurements,Export vessels,Vessel training,Fine-tune"
for name in names.split(","):
    start = time.perf_counter()
    viewer.window.add_plugin_dock_widget("napari-vessel", name)
    QApplication.processEvents()
    print(f"{name}: {time.perf_counter() - start:.2f} s")
for kind in ("fundus", "octa", "xray", "twophoton"):
    layers = viewer.open_sample("napari-vessel", kind)
    assert layers, kind
from napari_vessel.synthesis.samples import make_sample
image = make_sample("fundus", shape=(256, 256)).image
from napari_vessel.segmentation.registry import list_models
for model in list_models():
    result = napari_vessel.segment(image, model=model.name, device="cpu")
    assert result.mask.any(), model.name
    print(model.name, float(result.mask.mean()))
from napari_vessel.gui.workspace import Workspace
Workspace.of(viewer).close()
viewer.close()
QApplication.processEvents()  # as the event loop would, which this script has none of
print("used")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the working tree."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_manifest_models_and_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    assert {"napari_vessel/napari.yaml", "napari_vessel/py.typed", "napari_vessel/models/ridge/config.json"} <= names
    shipped = {path.relative_to(ROOT / "models").as_posix() for path in (ROOT / "models").glob("*/config.json")}
    shipped |= {path.relative_to(ROOT / "models").as_posix() for path in (ROOT / "models").glob("*/model.safetensors")}
    assert {f"napari_vessel/models/{name}" for name in shipped} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/", "models/"))]


def test_twine_finds_nothing_wrong(wheel: Path) -> None:
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", str(wheel)], check=True)


def test_a_fresh_environment_opens_every_widget_and_segments_offline(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "env"
    venv.create(environment, with_pip=True)
    folder = "Scripts" if sys.platform == "win32" else "bin"
    python = environment / folder / "python"
    extra_index = ["--extra-index-url", os.environ["INDEX"]] if os.environ.get("INDEX") else []
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *extra_index, f"{wheel}[pyqt5]"],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "use.py").write_text(USE, encoding="utf-8")
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "NAPARI_VESSEL_MODELS")}
    variables |= {"QT_API": "pyqt5", "NAPARI_CONFIG": "", "XDG_DATA_HOME": str(tmp_path / "data")}

    done = subprocess.run([python, "use.py"], cwd=elsewhere, env=variables, capture_output=True, text=True, check=False)
    help_text = subprocess.run(
        [environment / folder / "napari-vessel", "--help"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("used")
    assert "segment" in help_text.stdout
