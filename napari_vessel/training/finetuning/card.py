"""The card of a fine-tuned model: what it learnt from, how it did beside the one it began with, what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_vessel.images.writing import replacing

_ROWS = (("Dice", "dice", 3), ("clDice", "cl_dice", 3), ("wrong components per image", "b0_error", 1))


def write_card(folder: Path, result: Mapping[str, Any]) -> None:
    """Write ``README.md`` beside a model's weights.

    Parameters
    ----------
    folder : Path
        The model's folder.
    result : mapping
        What :func:`napari_vessel.training.finetuning.running.finetune` returns.
    """
    with replacing(folder / "README.md") as temporary:
        temporary.write_text("\n".join([*_lines(result), ""]), encoding="utf-8")


def _lines(result: Mapping[str, Any]) -> list[str]:
    record, decision = result["record"], result["decision"]
    settings, start, base = record["settings"], record["start"], record["base"]
    learnt = [entry for entry in record["images"] if not entry["guard"]]
    guards = [entry["name"] for entry in record["images"] if entry["guard"]]
    pixels: dict[str, int] = {}
    for entry in learnt:
        for origin, count in entry["pixels"].items():
            pixels[origin] = pixels.get(origin, 0) + count
    told = ", ".join(f"{origin.replace('_', ' ')} {count:,}" for origin, count in pixels.items())
    names = ", ".join(entry["name"] + ("" if entry["done"] else " (not done)") for entry in learnt)
    rehearsed = (
        f"{settings['rehearsal']} synthetic {base['modality']} images"
        if base["kind"] == "synthetic"
        else f"{sum(not entry['guard'] for entry in base['images'])} images of a folder of the base domain"
    )
    lines = [
        f"# {settings['name']}",
        "",
        f"{start['name']} {start['version']}, fine-tuned on what an annotator corrected.",
        "",
        f"- Learnt from: {names}",
        f"- Pixels by who decided them: {told}",
        f"- Rehearsed: {rehearsed}, half of every batch",
        f"- Guards, to choose the weights and to judge by: {', '.join(guards) or 'none'}",
        f"- {result['steps']} of {settings['steps']} steps, {_kept(result)}; seed {settings['seed']}",
        f"- Made with napari-vessel {record['package']}",
        f"- Threshold {result['threshold']}, smallest piece {result['min_size']} px at the working scale",
        f"- Decision: {decision['sentence']}",
        "",
    ]
    for title, key in (("Guards", "guards"), ("Base domain", "base")):
        means = decision["figures"][key]
        if means["images"]:
            lines += [f"| {title}, {means['images']} images | {start['name']} | {settings['name']} |", "|---|---|---|"]
            lines += [
                f"| {name} | {means[figure]['old']:.{digits}f} | {means[figure]['new']:.{digits}f} |"
                for name, figure, digits in _ROWS
            ]
            lines.append("")
    if guards:
        lines.append("The weights were chosen by the guards, so on other images expect a little less.")
    return lines


def _kept(result: Mapping[str, Any]) -> str:
    best = result.get("validation") or {}
    kept = f"weights of step {best['step']}" if "step" in best else "the last weights"
    return f"{kept}, {result['memory']}" if result.get("memory") else kept
