"""Open napari with the plugin's widgets docked, from the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vessel.errors import InputError

if TYPE_CHECKING:
    import napari

PLUGIN = "napari-vessel"
SCREEN = "1366x768x24"


def has_screen() -> bool:
    """Whether a window can be shown. Only an X11 or Wayland system can be without a screen."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def need_screen() -> None:
    """Refuse politely where Qt would abort the process.

    Raises
    ------
    InputError
        If there is no screen.
    """
    if not has_screen():
        raise InputError(
            "There is no screen (DISPLAY and WAYLAND_DISPLAY are not set), so no window can open; work on the "
            "machine's own desktop, or connect with ssh -X."
        )


def open_window(project: Path) -> napari.Viewer:
    """Return a viewer with the project open: gaps on the right, project and segmentation in tabs behind."""
    import napari
    from qtpy.QtCore import QTimer

    from napari_vessel.gui.workspace import Workspace

    viewer = napari.Viewer(title="napari-vessel")
    gaps, _ = viewer.window.add_plugin_dock_widget(PLUGIN, "Vessel gaps")
    viewer.window.add_plugin_dock_widget(PLUGIN, "Segment vessels", tabify=True)
    viewer.window.add_plugin_dock_widget(PLUGIN, "Vessel project", tabify=True)
    # Tabs are made when the event loop lays the window out; only then can one be brought to the front.
    QTimer.singleShot(0, gaps.raise_)
    Workspace.of(viewer).open_project(project)
    return viewer


def review(project: Path) -> None:
    """Open a project and stay until the window is closed."""
    _run(open_window(project))


def demo(out: Path | None = None) -> None:
    """Open the fundus sample, segmented, with its gaps listed.

    Parameters
    ----------
    out : Path, optional
        Folder for the demo's project; a folder of its own under the user's data by default. Without a screen the
        report goes there too, by default to ``demo-output``.

    Raises
    ------
    InputError
        If there is neither a screen nor Xvfb.
    """
    if not has_screen():
        _demo_under_xvfb(out or Path("demo-output"))
        return
    from platformdirs import user_data_path

    from napari_vessel.gui.demo import start

    folder = out if out is not None else user_data_path(PLUGIN) / "demo"
    viewer = open_window(folder / "project")
    start(viewer)
    _run(viewer)


def _demo_under_xvfb(out: Path) -> None:
    runner = shutil.which("xvfb-run")
    if runner is None:
        raise InputError(
            "There is no screen, and no Xvfb to stand in for one; install it (on Debian and "
            "Ubuntu: apt-get install xvfb)."
        )
    command = [runner, "-a", "-s", f"-screen 0 {SCREEN}", sys.executable, "-m", "napari_vessel.gui.demo", str(out)]
    if subprocess.run(command, check=False).returncode != 0:
        raise InputError(f"The demo did not finish; what went wrong is said above. Its files so far are in {out}.")


def _run(viewer: napari.Viewer) -> None:
    import napari

    from napari_vessel.gui.workspace import Workspace

    workspace = Workspace.of(viewer)
    try:
        napari.run()
    finally:
        workspace.close()
