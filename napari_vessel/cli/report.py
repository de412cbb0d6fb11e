"""The command that writes the report of a project."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from napari_vessel.cli.terminal import AsJson, give, run
from napari_vessel.errors import InputError


def report(
    folder: Annotated[Path, typer.Argument(metavar="PROJECT", help="The project folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.html", help="Where to write it.")],
    truth: Annotated[
        Path | None,
        typer.Option("--truth", metavar="DIR", help="Reference masks, named like the images, for metrics."),
    ] = None,
    agreement: Annotated[
        Path | None,
        typer.Option("--agreement", metavar="PROJECT", help="Another annotator's project over the same images."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML file on a project: images, what was changed and by whom, metrics, agreement."""
    from napari_vessel.export.report import check_report, write_report
    from napari_vessel.review.project import Project

    check_report(out)
    if agreement is not None and agreement.expanduser().resolve() == folder.expanduser().resolve():
        raise InputError(f"{folder} was given twice; name another annotator's project after --agreement.")
    with ExitStack() as opened:
        project = opened.enter_context(Project.open(folder))
        other = None if agreement is None else opened.enter_context(Project.open(agreement))
        written = run(write_report(project, out, truth=truth, other=other))
    size = written.stat().st_size
    give({"output": str(written), "bytes": size}, as_json, f"{written}: {size / 1e6:.1f} MB")
