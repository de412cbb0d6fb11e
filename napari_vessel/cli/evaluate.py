"""The command that scores masks against the truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_vessel.cli.files import check_file
from napari_vessel.cli.terminal import AsJson, give, run, say

if TYPE_CHECKING:
    from collections.abc import Mapping


def evaluate(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.csv", help="Where to write the table.")],
    prediction: Annotated[
        Path | None, typer.Argument(metavar="PRED", help="Masks to score: a file or a folder.", show_default=False)
    ] = None,
    truth: Annotated[
        Path | None, typer.Argument(metavar="TRUTH", help="True masks: a file or a folder.", show_default=False)
    ] = None,
    fov: Annotated[
        Path | None, typer.Option("--fov", metavar="DIR|FILE", help="Fields of view; without, the whole image counts.")
    ] = None,
    probability: Annotated[
        Path | None, typer.Option("--probability", metavar="DIR|FILE", help="Vessel probabilities, for the AUC.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            metavar="CSV",
            help="List of files: columns prediction,truth[,fov][,probability], relative to its folder.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score masks against the truth: writes one row per image, and prints the means."""
    from napari_vessel.topology.evaluation import add_fields, check_output, find_pairs, read_pairs, report
    from napari_vessel.topology.evaluation import evaluate as compare
    from napari_vessel.topology.evaluation import write_evaluation as write

    check_file(out, (".csv",), (prediction, truth, fov, probability, pairs))
    check_output(out)
    unused: list[Path] = []
    if pairs is not None:
        found = read_pairs(pairs, prediction, truth, (fov, probability))
    elif prediction is not None and truth is not None:
        found, unused = find_pairs(prediction, truth)
    else:
        raise typer.BadParameter("Give PRED and TRUTH, or a list of both with --pairs")
    rows = run(compare(add_fields(found, fov, probability)))
    write(out, rows, unused)
    summary = report(rows, unused)
    if unused:
        names = ", ".join(path.name for path in unused[:8]) + (", …" if len(unused) > 8 else "")
        say(f"note: {len(unused)} of the truths have no prediction and are left out: {names}")
    for how, words in (("number", "leading number"), ("beginning", "beginning of the name")):
        matched = [f"{pair.prediction.name} with {pair.truth.name}" for pair in found if pair.matched_by == how]
        if matched:
            say(f"note: matched by the {words}: {matched[0]}" + (", …" if len(matched) > 1 else ""))
    give({"output": str(out), **summary}, as_json, _table(out, summary))


def _table(out: Path, summary: "Mapping[str, Any]") -> str:
    """Return the means as a table, and under it how they were computed."""
    lines = [f"{'':<16}  {'mean':>9}  95 % interval of the mean"]
    for name, entry in summary["mean"].items():
        digits = 2 if "error" in name else 5 if name == "cal_c" else 3  # C hardly moves
        between = entry["interval_95"]
        spread = "one image" if between is None else f"{between[0]:.{digits}f} to {between[1]:.{digits}f}"
        few = "" if entry["images"] == summary["images"] else f"  ({entry['images']} images)"
        lines.append(f"{name:<16}  {entry['mean']:>9.{digits}f}  {spread}{few}")
    if "auc" not in summary["mean"]:
        lines.append(f"{'auc':<16}  {'':>9}  no probability, or not both vessel and background")
    lines += ["", *(f"{about}: {words}" for about, words in summary["settings"].items())]
    count = summary["images"]
    lines += ["", f"{out}: {count} image{'' if count == 1 else 's'}; how it was made: {out.with_suffix('.json')}"]
    return "\n".join(lines)
