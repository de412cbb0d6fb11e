"""The command line as a process of its own: start-up, Ctrl+C, no window."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COMMAND = [sys.executable, "-m", "napari_vessel.cli"]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from napari_vessel.cli import main; main(['--help']); main(['segment', '--help']);"
        "heavy = {'numpy', 'torch', 'cv2', 'scipy', 'skimage', 'napari', 'qtpy', 'PIL', 'tifffile'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    for verb in (
        "demo",
        "review",
        "segment",
        "gaps",
        "complete",
        "evaluate",
        "train",
        "pretrain",
        "fewshot",
        "project",
        "export",
        "compare",
        "models",
    ):
        assert verb in done.stdout


def test_errors_leave_standard_output_empty(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "segment", str(tmp_path / "missing.png"), "-o", str(tmp_path / "out"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_without_a_screen_review_says_so(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("other systems always have a screen")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(tmp_path / "a.png")
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}

    done = subprocess.run(
        [*COMMAND, "review", str(tmp_path / "a.png"), "--project", str(tmp_path / "project")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )

    assert done.returncode == 1
    assert "no screen" in done.stderr
    assert not (tmp_path / "project").exists()


def test_without_a_qt_binding_review_names_the_command_that_installs_one(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(tmp_path / "a.png")
    code = (
        "import sys\n"
        "import importlib.util as util\n"
        "real = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name[:4] in ('PyQt', 'PySi') else real(name, package)\n"
        "from napari_vessel.cli import main\n"
        f"sys.exit(main(['review', {str(tmp_path / 'a.png')!r}]))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert 'pip install "napari-vessel[pyqt5]"' in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C is sent differently there")
def test_interrupting_segment_leaves_whole_files_only(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        Image.fromarray(rng.integers(0, 255, (400, 400), np.uint8)).save(folder / f"{number:02}.png")
    with subprocess.Popen(
        [*COMMAND, "segment", str(folder), "-o", str(out), "--model", "ridge"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not list(out.glob("*.json")):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)

    finished = {path.stem for path in out.glob("*.json")}
    assert process.returncode == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert 0 < len(finished) < 30
    for path in out.iterdir():
        stem = path.stem.removesuffix("_mask").removesuffix("_probability")
        assert not path.name.startswith("."), path
        if path.suffix == ".png":
            assert np.asarray(Image.open(path)).shape == (400, 400), stem
