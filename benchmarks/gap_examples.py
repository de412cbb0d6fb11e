"""Draw hits and misses of the gap finder, chosen by chance: ``docs/gap-examples.md`` and its pictures.

    python benchmarks/gap_examples.py --chase-db1 DIR [--model NAME|FOLDER] [--completion-model NAME|FOLDER|none]

Of all proposals and all missing stretches in the test images of CHASE_DB1 as many of each sort as there is room for
are drawn by a fixed seed; nothing is picked by hand. Run it again whenever the finder or the weights change.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from common import public_command
from gap_completion import completion_model
from gap_image import CUT, Sample, accepted, sample_of
from gap_judging import Judge
from gap_methods import looked, of_gap
from gaps import Predictor
from numpy.typing import NDArray

from napari_vessel.completion import Gap, GapKind
from napari_vessel.completion.ranking import ranked
from napari_vessel.images.writing import replacing
from napari_vessel.topology import label_components
from napari_vessel.training.cases import find_cases, read_case

DOCS = Path(__file__).parents[1] / "docs"
SEED = 0
EACH = 8
HALF = 40
"""Half the side of a crop, px of the image."""

SIDE = 160
GROUPS = {
    "right": f"Proposals from {CUT} on that the first observer's vessels confirm",
    "wrong": f"Proposals from {CUT} on that they do not",
    "missed": f"Stretches of the observer's vessels between two pieces that no proposal from {CUT} on closes",
    "refused": f"Proposals below {CUT} that are shown, right or wrong",
}
WHAT = (
    "masks of CHASE_DB1's eight test images (Fraz et al., IEEE TBME 59(9):2538-2548, 2012; Kingston University; CC BY "
    "4.0 to the best of our knowledge). Nothing was picked. Above: the green channel, stretched. Below: the mask "
    "in blue, the proposal in orange, and the outline of what the first observer drew in white. The four strongest "
    "reasons are told, + for and − against."
)
MASK, PATH, TRUTH = (86, 180, 233), (230, 159, 0), (255, 255, 255)
"""Colours of the mask, of a proposal and of what the observer drew: told apart by the colour-blind too."""


@dataclass(frozen=True, eq=False)
class Example:
    """A place in an image, with the proposal there, if any, and whether the observer confirms it."""

    sample: Sample
    centre: tuple[float, float]
    gap: Gap | None = None
    right: bool = False


def examples_of(sample: Sample) -> dict[str, list[Example]]:
    """Sort the proposals and the missing stretches of one image."""
    found: dict[str, list[Example]] = {name: [] for name in GROUPS}
    labels, _ = label_components(sample.mask)
    judge = Judge(sample.first, labels, sample.scale)
    look = looked(sample.mask, sample.image, sample.probability, sample.completion)
    shown = [] if look is None else [gap for gap in ranked(look) if gap.kind is not GapKind.TIP]
    for gap in shown:
        right = judge.right(of_gap(gap, sample.mask.shape))
        name = "refused" if gap.score < CUT else "right" if right else "wrong"
        found[name].append(Example(sample, gap.centre, gap, right))
    completed = accepted(sample.mask, shown, CUT)
    for missing in judge.natural_gaps(sample.image.fov):
        if not judge.closed(missing, completed):
            y, x = missing.pixels[len(missing.pixels) // 2]
            found["missed"].append(Example(sample, (float(y), float(x))))
    return found


def tile(example: Example) -> NDArray[np.uint8]:
    """Draw one place twice: the image, and below it with the mask, the proposal and the observer's outline."""
    sample, scale = example.sample, SIDE / (2 * HALF)
    low = np.rint(np.asarray(example.centre)).astype(int) - HALF
    # The channel in which annotators look for vessels; in the others photographs are mostly compressed away.
    pixels = np.pad(sample.image.vessel_channel(), HALF, mode="edge")
    window = (slice(low[0] + HALF, low[0] + 3 * HALF), slice(low[1] + HALF, low[1] + 3 * HALF))
    crop = pixels[window]
    # Stretched to what this place holds, as an annotator would.
    dark, bright = np.percentile(crop, (1, 99))
    plain = np.clip((crop - dark) / max(float(bright - dark), 1e-3), 0, 1)
    grey = cv2.resize((plain * 255).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    picture = np.repeat(grey[..., None], 3, axis=2)
    drawn = picture.copy()
    mask, truth = (np.pad(array, HALF)[window].astype(np.uint8) for array in (sample.mask, sample.first))
    area = cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0
    drawn[area] = (0.45 * drawn[area] + 0.55 * np.asarray(MASK)).astype(np.uint8)
    outline, _ = cv2.findContours(
        cv2.resize(truth, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(drawn, outline, -1, TRUTH, 1)
    if example.gap is not None:
        line = np.rint((example.gap.path - low + 0.5)[:, ::-1] * scale).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(drawn, [line], False, PATH, 3, cv2.LINE_AA)
    return np.concatenate([picture, drawn])


def sheet(examples: list[Example]) -> NDArray[np.uint8]:
    """Put the tiles of a group side by side, numbered from 1."""
    tiles = []
    for number, example in enumerate(examples, start=1):
        one = np.pad(tile(example), ((0, 0), (0, 4), (0, 0)), constant_values=255)
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(one, str(number), (5, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA)
        tiles.append(one)
    return np.concatenate(tiles, axis=1)


def described(number: int, example: Example) -> str:
    """Say what is on a tile."""
    if example.gap is None:
        return f"{number}. {example.sample.name}"
    gap = example.gap
    reasons = ", ".join(f"{'+' if r.contribution >= 0 else '−'} {r.text}" for r in gap.reasons[:4])
    confirmed = "" if gap.score >= CUT else ", right" if example.right else ", wrong"
    return f"{number}. {example.sample.name}, score {gap.score:.2f}{confirmed}: {reasons}"


def main() -> None:
    """Find, choose by chance, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chase-db1", type=Path, required=True, help="the data set, as its owner gives it out")
    parser.add_argument("--model", default="fundus-small", help="name or folder of the model that predicts")
    parser.add_argument("--completion-model", metavar="NAME|FOLDER|none", help="the model that completes")
    options = parser.parse_args()
    predictor = Predictor(options.model, completion=completion_model(options.completion_model))
    found: dict[str, list[Example]] = {name: [] for name in GROUPS}
    for files in find_cases("chase_db1", options.chase_db1, "test"):
        case = read_case(files, allow_test=True)
        probability, threshold = predictor.predict(case)
        sample = sample_of(case, probability, threshold, predictor.completed(case.image, probability))
        for name, examples in examples_of(sample).items():
            found[name] += examples
    rng = np.random.default_rng(SEED)
    made_by = f"`{public_command(parser, options)}` draws {EACH} of each sort by a fixed seed from the {options.model}"
    text = ["# Hits and misses, chosen by chance", f"{made_by} {WHAT}"]
    for name, title in GROUPS.items():
        chosen = [found[name][n] for n in sorted(rng.permutation(len(found[name]))[:EACH])]
        if not chosen:
            continue
        picture = sheet(chosen)
        path = DOCS / "images" / f"gaps-{name}.jpg"
        with replacing(path) as temporary:
            written, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
            assert written
            temporary.write_bytes(data.tobytes())
        text += [f"## {title}: {len(chosen)} of {len(found[name])}", f"![{title}](images/{path.name})"]
        text.append("\n".join(described(number, example) for number, example in enumerate(chosen, start=1)))
    with replacing(DOCS / "gap-examples.md") as temporary:
        temporary.write_text("\n\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
