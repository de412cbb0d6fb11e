"""The command that compares two annotators' projects."""

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_vessel.cli.files import check_file
from napari_vessel.cli.terminal import AsJson, give, run
from napari_vessel.errors import InputError

_SHOWN = 10


def compare(
    first: Annotated[Path, typer.Argument(metavar="PROJECT_A", help="One annotator's project folder.")],
    second: Annotated[Path, typer.Argument(metavar="PROJECT_B", help="The other's, over the same images.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE.csv|FILE.json",
            help="Where to write: the disagreements as a table, or everything.",
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(min=0.0, help="How far the ends of one gap may lie apart in the two projects, in vessel widths."),
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Compare two projects over the same images: agreement per gap and per mask, and where the two disagree."""
    from napari_vessel.review.agreement import check_output, compare_projects, write_agreement
    from napari_vessel.review.project import Project

    if out is not None:
        check_file(out, (".csv", ".json"), ())
        check_output(out)
    if first.expanduser().resolve() == second.expanduser().resolve():
        raise InputError(f"{first} was given twice; name the projects of two annotators.")
    with Project.open(first) as one, Project.open(second) as other:
        found = run(compare_projects(one, other, tolerance))
    if out is not None:
        write_agreement(out, found)
    data = found.to_json()
    give({**data, "output": None if out is None else str(out)}, as_json, _table(data, out))


def _table(data: dict[str, Any], out: Path | None) -> str:
    """Return the figures, and the first disagreements under them."""
    gaps, pieces, rows = data["gaps"], data["fragments"], data["disagreements"]
    alike = pieces["both_keep"] + pieces["both_delete"]
    unlike = pieces["only_first_keeps"] + pieces["only_second_keeps"]
    agreed, against = gaps["both_join"] + gaps["both_leave"], gaps["only_first_joins"] + gaps["only_second_joins"]
    lines = [
        " and ".join(f"{p['name']} ({', '.join(p['annotators']) or 'nobody named'})" for p in data["projects"]),
        f"images in both  {data['images']}",
        f"gaps            {agreed + against} decided by both: {agreed} alike, {against} not",
        f"undecided       {gaps['undecided_by_one_or_both']} by one or both",
    ]
    cuts = data["cuts"]
    parted, unparted = cuts["both_part"] + cuts["both_leave"], cuts["only_first_parts"] + cuts["only_second_parts"]
    figures = [("agreement", "agreement"), ("kappa", "Cohen's kappa"), ("dice", "Dice"), ("cldice", "clDice")]
    if alike + unlike:
        lines.append(f"fragments       {alike + unlike} decided by both: {alike} alike, {unlike} not")
        figures[2:2] = [("fragment_agreement", "  of fragments"), ("fragment_kappa", "  their kappa")]
    if parted + unparted:
        lines.append(f"cuts            {parted + unparted} decided by both: {parted} alike, {unparted} not")
        figures[2:2] = [("cut_agreement", "  of cuts"), ("cut_kappa", "  their kappa")]
    for name, title in figures:
        lines.append(f"{title:<14}  {_figure(data['figures'][name])}")
    lines += [
        f"{row['rank']:>3}  {row['image']}  y {row['y']:g}, x {row['x']:g}  {row['first']} / {row['second']}"
        for row in rows[:_SHOWN]
    ]
    if len(rows) > _SHOWN:
        lines.append(f"     and {len(rows) - _SHOWN} more" + ("; -o FILE.csv lists them" if out is None else ""))
    if out is not None:
        lines.append(f"{out}: {len(rows)} disagreement{'' if len(rows) == 1 else 's'}")
    return "\n".join(lines)


def _figure(estimate: dict[str, float | None]) -> str:
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None:
        return "not defined: nothing to compare"
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f}  ({low:.3f} to {high:.3f}, 95 %, by drawing images)"
