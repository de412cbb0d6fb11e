"""The command that looks for connections in a mask that join what is not one vessel: cuts."""

from pathlib import Path
from typing import Annotated

import typer

from napari_vessel.cli.files import check_file
from napari_vessel.cli.gaps import MaskFile, ProbabilityFile, read_inputs
from napari_vessel.cli.terminal import AsJson, Fov, give, run


def cuts(
    mask: MaskFile,
    image: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="The image the mask belongs to.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE.json", help="Where to write the proposals.")
    ] = None,
    probability: ProbabilityFile = None,
    fov: Fov = "auto",
    as_json: AsJson = False,
) -> None:
    """Find connections of a mask that join what is not one vessel. The score is the chance that one is a mistake."""
    from napari_vessel.completion import find_cuts
    from napari_vessel.images.masks import read_mask
    from napari_vessel.images.probability import read_probability
    from napari_vessel.images.writing import write_json

    if out is not None:
        check_file(out, (".json",), (mask, image, probability))
    if image is None:
        labels = read_mask(mask).mask
        chance = None if probability is None else read_probability(probability, labels.shape, None)
        found = run(find_cuts(labels, None, chance))
    else:
        picture, labelled, chance = read_inputs(mask, image, probability, fov)
        found = run(find_cuts(labelled.mask, picture, chance, fov=picture.fov))
    proposals = [gap.to_json() for gap in found]
    if out is not None:
        write_json(out, {"cuts": proposals})
    likely = sum(gap.score >= 0.5 for gap in found)
    lines = [f"{mask if out is None else out}: {len(found)} cuts, {likely} of them likelier than not"]
    for gap in found[:10] if out is None else ():
        y, x = gap.centre
        lines.append(f"{gap.score:.2f}  at ({y:.0f}, {x:.0f})  {gap.reasons[0].text}")
    data = {"output": None if out is None else str(out), "cuts": proposals if out is None else len(found)}
    give(data, as_json, "\n".join(lines))
