"""Commands that open a window: demo and review."""

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from napari_vessel.cli.files import Paths
from napari_vessel.cli.projects import Masks, check_inputs
from napari_vessel.cli.terminal import run, say
from napari_vessel.errors import InputError


def demo(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the demo's project, pictures and report.")
    ] = None,
) -> None:
    """Open napari on a segmented sample with its gaps listed.

    Without a screen the whole job is done under Xvfb, and DIR/report.html shows it.
    """
    _need_qt()
    from napari_vessel.gui.launch import demo as open_demo

    open_demo(out)


def review(
    paths: Paths,
    masks: Masks = None,
    project: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Project folder; by default one that belongs to these paths.")
    ] = None,
) -> None:
    """Open images, or a project folder, in napari and go on where the last session ended."""
    from napari_vessel.images.inputs import find_inputs
    from napari_vessel.review.project import Project
    from napari_vessel.review.schema import DATABASE_NAME

    _need_qt()
    from napari_vessel.gui.launch import need_screen
    from napari_vessel.gui.launch import review as open_review

    need_screen()
    if len(paths) == 1 and (paths[0] / DATABASE_NAME).is_file():
        if project is not None or masks is not None:
            raise InputError(f"{paths[0]} is a project itself; leave out --project and --masks.")
        open_review(paths[0])
        return
    inputs = find_inputs(paths, namesakes=masks is None)
    folder = project or _default_project(paths)
    if not (folder / DATABASE_NAME).exists():
        run(check_inputs(inputs, masks, "auto"))
    with Project.open_or_create(folder, _name(paths)) as opened:
        run(opened.add(inputs, masks))
    say(f"Project: {folder}")
    open_review(folder)


def _need_qt() -> None:
    if not any(find_spec(binding) for binding in ("PyQt5", "PyQt6", "PySide6", "PySide2")):
        raise InputError('No Qt binding is installed, so no window can open; type: pip install "napari-vessel[pyqt5]"')


def _default_project(paths: list[Path]) -> Path:
    """Return a folder that depends on the paths alone: the same command goes on with the same project."""
    from platformdirs import user_data_path

    text = "\n".join(sorted({str(path.resolve()) for path in paths}))
    return user_data_path("napari-vessel") / "projects" / hashlib.sha256(os.fsencode(text)).hexdigest()[:12]


def _name(paths: list[Path]) -> str:
    return paths[0].resolve().name if len(paths) == 1 else f"{paths[0].resolve().parent.name} ({len(paths)} paths)"
