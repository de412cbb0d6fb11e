"""The page that tells what the demonstration did."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_vessel.export.html import Content, element, figure, page, paragraph, table


def write_report(path: Path, steps: Sequence[Mapping[str, Any]], info: Mapping[str, Any], peak_mib: float) -> Path:
    """Write the page.

    Parameters
    ----------
    path : Path
        Where to; the pictures lie beside it.
    steps : sequence of mapping
        ``text``, ``seconds``, ``picture``, ``open``, ``components``, ``dice`` and ``cldice`` of each step.
    info : mapping
        What made the segmentation.
    peak_mib : float
        Most memory the process held.

    Returns
    -------
    Path
        The same path.
    """
    from napari_vessel.images.writing import replacing

    rows: list[list[Content]] = [
        [
            *(s["text"], f"{s['seconds']:.1f}", s["components"], s["open"]),
            *(f"{s['dice']:.4f}", f"{s['cldice']:.4f}"),
        ]
        for s in steps
    ]
    wanted = ("model", "model_version", "device", "precision", "channel", "threshold", "min_size")
    made = ", ".join(f"{key.replace('_', ' ')} {info[key]}" for key in wanted if key in info)
    body = [
        element("h1", "From an image to a curated mask"),
        paragraph(
            "A synthetic OCT angiogram with exact truth was segmented, its breaks were listed, and some of them were "
            "decided as the steps below say: accepted, repainted, undone and done again, accepted in bulk; then the "
            "mask was exported. Everything happened in a real napari window, with nobody at the keys, so the decisions "
            "are not a person's judgement and the figures are not a benchmark."
        ),
        paragraph(f"Segmentation: {made}."),
        table(["Step", "seconds", "components", "open gaps", "Dice", "clDice"], rows),
        paragraph(
            "Components are 8-connected; Dice and clDice are inside the field of view, against the truth the picture "
            "was drawn from. Seconds include waiting for the window to redraw. Peak memory of the process: "
            f"{peak_mib:.0f} MiB."
        ),
        *(figure(s["picture"], s["text"]) for s in steps if s["picture"]),
        paragraph(_versions(), soft=True),
    ]
    with replacing(path) as temporary:
        temporary.write_text(page("napari-vessel: the demonstration", body, "napari-vessel demo"), encoding="utf-8")
    return path


def _versions() -> str:
    found = []
    for name in ("napari-vessel", "napari", "PyQt5", "PyQt6", "torch", "numpy", "opencv-python-headless"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"Python {platform.python_version()} on {platform.system()} {platform.machine()}; {', '.join(found)}."
