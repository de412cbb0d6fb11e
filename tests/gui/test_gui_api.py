"""Only what napari and Qt offer is used, and nothing of it that is on its way out."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import napari_vessel

PACKAGE = Path(napari_vessel.__file__).parent
KNOWS_NAPARIS_INSIDE = "versions.py"
THEIRS = {"viewer", "_viewer", "window", "layer", "_layer", "mask_layer", "image_layer", "layers", "_layers", "camera",
          "_camera", "canvas", "events", "arrows", "dims", "cursor", "settings", "notification_manager"}  # fmt: skip


def private(source: str) -> list[str]:
    """Return where a private name of one of napari's objects, or a private module of napari's, is used."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            holder = node.value
            name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
            if name in THEIRS:
                found.append(f"{name}.{node.attr}, line {node.lineno}")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("napari.", "qtpy.", "vispy.")):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            if any(part.startswith("_") for part in parts):
                found.append(f"{node.module}, line {node.lineno}")
    return found


def test_the_check_finds_what_it_is_for() -> None:
    source = "from napari._qt import x\nself.viewer.window._qt_window\nlayer._slice\nself._own\nlayer.__class__\n"
    assert private(source) == ["napari._qt, line 1", "window._qt_window, line 2", "layer._slice, line 3"]


def test_nothing_private_of_napari_is_used() -> None:
    found = {str(path.relative_to(PACKAGE)): private(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    assert found.pop(f"gui/{KNOWS_NAPARIS_INSIDE}") == ["viewer._canvas_size, line 18"]
    assert {name: uses for name, uses in found.items() if uses} == {}


def test_a_warning_of_something_on_its_way_out_is_an_error_in_the_tests(tmp_path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import warnings, pytest\n"
        "@pytest.mark.parametrize('kind', [DeprecationWarning, PendingDeprecationWarning, FutureWarning])\n"
        "@pytest.mark.parametrize('module', ['napari_vessel.gui.scene', 'another_plugin'])\n"
        "def test_it(kind, module):\n"
        "    warnings.warn_explicit('old', kind, 'a.py', 1, module=module)\n"
    )
    settings = Path(__file__).parents[2] / "pyproject.toml"
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(settings), "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "3 failed, 3 passed" in done.stdout, done.stdout
