"""The page that tells what the demonstration did."""

from __future__ import annotations

import html
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; color: #1b1b1f }
table { border-collapse: collapse; width: 100% } th, td { padding: .35rem .6rem; text-align: right }
th { border-bottom: 2px solid #555 } td { border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
figure { margin: 2rem 0 } img { max-width: 100%; border: 1px solid #999 } figcaption { color: #444 }
"""


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

    rows = "".join(
        f"<tr><td>{html.escape(s['text'])}</td><td>{s['seconds']:.1f}</td><td>{s['components']}</td>"
        f"<td>{s['open']}</td><td>{s['dice']:.4f}</td><td>{s['cldice']:.4f}</td></tr>\n"
        for s in steps
    )
    figures = "".join(
        f'<figure><img src="{html.escape(s["picture"])}" alt="{html.escape(s["text"])}">'
        f"<figcaption>{html.escape(s['text'])}</figcaption></figure>\n"
        for s in steps
        if s["picture"]
    )
    wanted = ("model", "model_version", "device", "precision", "channel", "threshold", "min_size")
    made = ", ".join(f"{key.replace('_', ' ')} {info[key]}" for key in wanted if key in info)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<title>napari-vessel: the demonstration</title><style>{_STYLE}</style></head>
<body>
<h1>From an image to a curated mask</h1>
<p>A synthetic fundus picture with exact truth was segmented, its breaks were listed, and the first ones decided: one
accepted, one rejected, one repainted; then undone, done again, and exported. Everything happened in a real napari
window, with nobody at the keys, so the decisions are not a person's judgement and the figures are not a benchmark.</p>
<p>Segmentation: {html.escape(made)}.</p>
<table>
<tr><th>Step</th><th>seconds</th><th>components</th><th>open gaps</th><th>Dice</th><th>clDice</th></tr>
{rows}</table>
<p>Components are 8-connected; Dice and clDice are inside the field of view, against the truth the picture was
drawn from. Seconds include waiting for the window to redraw. Peak memory of the process: {peak_mib:.0f} MiB.</p>
{figures}
<p>{html.escape(_versions())}</p>
</body></html>
"""
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _versions() -> str:
    found = []
    for name in ("napari-vessel", "napari", "PyQt5", "PyQt6", "torch", "numpy", "opencv-python-headless"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"Python {platform.python_version()} on {platform.system()} {platform.machine()}; {', '.join(found)}."
