"""What TopoMask leaves of the vessels it hides, whether its patches give themselves away, and how long it takes.

    python benchmarks/topomask.py [--chase-db1 DIR] [--hrf DIR] [--les-av DIR] [--rossa DIR]

Both forms at their full ratio, over the package's own synthetic samples and over training images of the sets given.
The sets also give the calibres at the published working sizes, from which the widths in multiples of calibre come.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import cv2
import numpy as np
from common import RESULTS, decimal, markdown_table, public_command, report_header, write_report
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.stats import rankdata

from napari_vessel.images.image import VesselImage
from napari_vessel.synthesis.samples import SAMPLES, make_sample
from napari_vessel.topology.calibre import median_calibre
from napari_vessel.training.augmentation import build_levels, draw_target, random_crop
from napari_vessel.training.cases import find_cases, read_case
from napari_vessel.training.datasets import DATA_SETS
from napari_vessel.training.recipe import AugmentationRecipe
from napari_vessel.training.topomask import Masking, Regions, TopoMaskRecipe, choose_regions, hide

PUBLISHED = {"chase_db1": (512,), "hrf": (512,), "les-av": (512,), "rossa": (304, 384)}
"""Side of the pictures the published widths are for, px."""

WORKING = {"fundus": 640.0, "octa": 384.0}
FORMS = (
    ("faithful", TopoMaskRecipe("faithful")),
    ("corrected", TopoMaskRecipe("corrected")),
    ("corrected, stretches of 3 to 45 px", TopoMaskRecipe("corrected", longest=45.0)),
)
PROTOCOL = (
    "Contrast left: mean difference between a hidden vessel's pixels and the untouched background nearest to each, "
    "at least 4 px from any vessel that was left, after over before. Told by grain and by edge: how often the local "
    "standard deviation (5 x 5 px) inside, and the gradient at the rim, rank a hidden pixel above one of an equally "
    "shaped piece of background (area under the ROC curve; .5: never told). The pieces compared with are the decoys; "
    "for the faithful form, which has none, the same shapes moved to untouched background. Time: processor time of one "
    "crop of 320 px with TopoMask over the same crop without."
)
Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """A picture with its vessels.

    Attributes
    ----------
    pixels : ndarray of float32, shape (Y, X, C)
        In [0, 1].
    vessel, fov : ndarray of bool, shape (Y, X)
        Vessels, and field of view.
    modality : str
        How it was taken.
    """

    pixels: Picture
    vessel: Mask
    fov: Mask
    modality: str


def synthetic(kind: str, count: int) -> Iterator[Scene]:
    """Yield the first samples of a kind."""
    for seed in range(count):
        sample = make_sample(kind, seed=seed)
        yield scene_of(sample.image, sample.truth.mask > 0, kind)


def real(key: str, folder: Path, count: int) -> Iterator[Scene]:
    """Yield the first training images of a set at the working scale."""
    modality = DATA_SETS[key].modality
    for files in find_cases(key, folder, "training")[:count]:
        case = read_case(files)
        level = build_levels(case.image, case.vessels, WORKING[modality], modality == "fundus", (1.0,))[0]
        target = level.target >= 128
        yield Scene(level.pixels.astype(np.float32) / 255, target[..., 0], target[..., 2], modality)


def scene_of(image: VesselImage, vessel: Mask, modality: str) -> Scene:
    """Return a picture at its own size."""
    pixels = image.pixels if image.pixels.ndim == 3 else image.pixels[..., None]
    fov = np.ones(vessel.shape, np.bool_) if image.fov is None else image.fov
    return Scene(np.ascontiguousarray(pixels, np.float32), vessel & fov, fov, modality)


def shown(pixels: Picture) -> Picture:
    """Return the channel that shows vessels best."""
    return np.ascontiguousarray(pixels[..., 1 if pixels.shape[2] == 3 else 0])


def widen(region: Mask, reach: int) -> Mask:
    """Return a region and what lies within `reach` px of it."""
    return np.asarray(cv2.dilate(region.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0)


def contrast(scene: Scene, out: Picture, regions: Regions) -> tuple[float, float]:
    """Return the contrast of the hidden vessels before and after, each times their pixels."""
    # The blurred edges of the vessels that were left are no background.
    untouched = scene.fov & ~regions.vessels & ~widen(scene.vessel & ~regions.hidden, 4)
    untouched &= ~regions.hidden & ~regions.decoys
    _, nearest = distance_transform_edt(~untouched, return_indices=True)
    level = shown(scene.pixels)[tuple(nearest)]
    inside = regions.hidden & scene.vessel
    before, after = (float((level - shown(pixels))[inside].sum()) for pixels in (scene.pixels, out))
    return before, after


def clues(scene: Scene, out: Picture, regions: Regions) -> list[list[Picture]]:
    """Return, for hidden pieces and the others, the local spread inside and the gradient at the rim."""
    plane = shown(out)
    middle = cv2.blur(plane, (5, 5))
    spread = np.sqrt(np.maximum(cv2.blur(plane * plane, (5, 5)) - middle * middle, 0))
    edge = np.hypot(cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1))
    # A vessel that was left or the border of the field next to a piece is no fault of the piece.
    clear = ~widen(scene.vessel & ~regions.hidden, 4) & ~widen(~scene.fov, 6)
    found = []
    for region in (regions.hidden, regions.decoys):
        inner = ~widen(~region, 1)
        found.append([spread[inner & clear], edge[region & ~inner & clear]])
    return found


def area_under_curve(one: Picture, other: Picture) -> float:
    """Return how often a value of `one` ranks above one of `other`."""
    ranks = rankdata(np.concatenate([one, other]))
    return float((ranks[: len(one)].sum() - len(one) * (len(one) + 1) / 2) / (len(one) * len(other)))


def judge(scenes: list[Scene], recipe: TopoMaskRecipe) -> dict[str, float]:
    """Return what one form leaves, and what gives it away, over some pictures."""
    before = after = 0.0
    found: list[list[list[Picture]]] = []
    hidden, branches = [], []
    for seed, scene in enumerate(scenes):
        calibre = median_calibre(scene.vessel)
        masking = Masking.at(recipe, scene.modality, 0.5)
        out, everywhere = hide(scene.pixels, scene.vessel, scene.fov, masking, calibre, np.random.default_rng(seed))
        shapes = replace(masking, style="corrected", decoys=1)
        regions = choose_regions(scene.vessel, scene.fov, shapes, calibre, np.random.default_rng(seed))
        # The same draws choose the same branches; only what was really destroyed counts.
        regions = replace(regions, hidden=regions.hidden & everywhere)
        one, two = contrast(scene, out, regions)
        before, after = before + one, after + two
        found.append(clues(scene, out, regions))
        hidden.append(float((everywhere & scene.vessel).sum() / scene.vessel.sum()))
        branches.append(regions.chosen)
    told = [
        area_under_curve(*(np.concatenate([pieces[side][clue] for pieces in found]) for side in (0, 1)))
        for clue in (0, 1)
    ]
    return {
        "images": len(scenes),
        "branches_hidden": mean(branches),
        "vessel_hidden": mean(hidden),
        "contrast_left": after / before,
        "told_by_grain": told[0],
        "told_by_edge": told[1],
    }


def timing(kind: str, recipe: TopoMaskRecipe, rounds: int) -> dict[str, float]:
    """Return the processor time of a crop with and without TopoMask, in turn on the same crops."""
    sample = make_sample(kind, seed=0)
    levels = build_levels(sample.image, sample.truth.mask > 0, float(max(sample.image.shape)), kind == "fundus")
    masking = Masking.at(recipe, kind, 0.5)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds + 2):
        for masked in (False, True):
            rng = np.random.default_rng(number)
            crop = partial_crop(levels, rng, masking if masked else None)
            started = time.process_time()
            crop()
            seconds[masked].append(time.process_time() - started)
    plain, masked_ = (median(seconds[key][2:]) for key in (False, True))
    return {"plain_ms": 1e3 * plain, "masked_ms": 1e3 * masked_, "ratio": masked_ / plain}


def partial_crop(levels: list[Any], rng: np.random.Generator, masking: Masking | None) -> Callable[[], Any]:
    """Return one crop, not cut yet."""
    return lambda: random_crop(levels, 320, rng, AugmentationRecipe(), True, masking=masking)


def calibres(key: str, folder: Path, side: int, count: int) -> list[float]:
    """Return the median calibre of training images drawn at a published size, px."""
    found = []
    for files in find_cases(key, folder, "training")[:count]:
        case = read_case(files)
        factor = side / max(case.image.shape)
        shape = (round(case.image.shape[0] * factor), round(case.image.shape[1] * factor))
        found.append(median_calibre(draw_target(case.vessels, case.image.fov, shape)[..., 0] >= 0.5))
    return found


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for key in PUBLISHED:
        parser.add_argument(f"--{key.replace('_', '-')}", type=Path, dest=key, metavar="DIR")
    parser.add_argument("--images", type=int, default=8, help="images of each set and kind")
    parser.add_argument("--rounds", type=int, default=20, help="crops timed")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "topomask.json")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    report = report_header(public_command(parser, options), PROTOCOL)
    given = {key: folder for key in PUBLISHED if (folder := getattr(options, key)) is not None}
    pictures = {f"synthetic {kind}": list(synthetic(kind, options.images)) for kind in SAMPLES}
    pictures |= {DATA_SETS[key].title: list(real(key, folder, options.images)) for key, folder in given.items()}
    report["left"] = {
        name: {form: judge(scenes, recipe) for form, recipe in FORMS} for name, scenes in pictures.items()
    }
    report["time"] = {kind: {form: timing(kind, recipe, options.rounds) for form, recipe in FORMS} for kind in SAMPLES}
    report["calibres"] = {
        f"{DATA_SETS[key].title} at {side} px": mean(calibres(key, folder, side, options.images))
        for key, folder in given.items()
        for side in PUBLISHED[key]
    }
    write_report(options.out, "TopoMask", report, tables(report))


def tables(report: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    left = markdown_table(
        ("pictures", "form", "images", "vessel pixels hidden", "contrast left", "told by grain", "told by edge"),
        [
            (
                name,
                form,
                row["images"],
                decimal(row["vessel_hidden"], 2),
                *(decimal(row[key], 2) for key in ("contrast_left", "told_by_grain", "told_by_edge")),
            )
            for name, forms in report["left"].items()
            for form, row in forms.items()
        ],
    )
    timed = markdown_table(
        ("sample", "form", "a crop's time, as a multiple of the plain one's"),
        [
            (kind, form, decimal(row["ratio"], 1))
            for kind, forms in report["time"].items()
            for form, row in forms.items()
        ],
    )
    widths = markdown_table(
        ("set, longer side", "median calibre, px"),
        [(name, decimal(value, 1)) for name, value in report["calibres"].items()],
    )
    return "\n\n".join([left, timed, widths] if report["calibres"] else [left, timed])


if __name__ == "__main__":
    main()
