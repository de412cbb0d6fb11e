"""The command that looks for connections in a mask that join what is not one vessel: cuts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_vessel.cli.files import check_file, page_of
from napari_vessel.cli.gaps import MaskFile, ProbabilityFile, read_inputs
from napari_vessel.cli.terminal import AsJson, Fov, count_of, fov_argument, give, run
from napari_vessel.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    from napari_vessel.images.decoding import count_planes
    from napari_vessel.images.masks import read_mask
    from napari_vessel.images.probability import read_probability
    from napari_vessel.images.writing import write_json

    if out is not None:
        check_file(out, (".json",), (mask, image, probability))
    if image is None:
        if (pages := count_planes(mask)) > 1:
            raise InputError(f"{mask} has {pages} pages; save the one to look at as a file of its own.")
        labels = read_mask(mask).mask
        chance = None if probability is None else read_probability(probability, labels.shape, None)
        found = run(find_cuts(labels, None, chance, fov=_field(mask, labels.shape, fov)))
    else:
        picture, labelled, chance = read_inputs(mask, image, probability, fov)
        found = run(find_cuts(labelled.mask, picture, chance, fov=picture.fov))
    proposals = [gap.to_json() for gap in found]
    if out is not None:
        write_json(out, {"cuts": proposals})
    likely = sum(gap.score >= 0.5 for gap in found)
    lines = [f"{mask if out is None else out}: {count_of(len(found), 'cut')}, {likely} of them likelier than not"]
    for gap in found[:10] if out is None else ():
        y, x = gap.centre
        lines.append(f"{gap.score:.2f}  at ({y:.0f}, {x:.0f})  {gap.reasons[0].text}")
    data = {"output": None if out is None else str(out), "cuts": proposals if out is None else len(found)}
    give(data, as_json, "\n".join(lines))


def _field(mask: Path, shape: tuple[int, ...], fov: str) -> "NDArray[np.bool_] | None":
    """Return the field of view that was named; without an image there is none to be found by itself."""
    from napari_vessel.images.fov import read_fov
    from napari_vessel.images.inputs import find_inputs
    from napari_vessel.topology.evaluation.pairs import find_beside

    place = fov_argument(fov)
    if isinstance(place, str):
        return None
    [file] = find_beside([mask], place, ("_fov", "_mask", ""), "field of view")
    return read_fov(file, (shape[0], shape[1]), page_of(mask, find_inputs([file])).plane)
