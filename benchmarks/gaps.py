"""How fast gaps are found, and how many planted ones, by length; false bridges counted beside.

    python benchmarks/gaps.py [--chasedb1 DIR] [-o FILE.json]

Planted gaps are certain: stretches of the centreline are erased from a true mask and, in the rows "erased", the same
vessel from the image too (inpainted, with noise). A proposal is right when nine tenths of its path lie within 2 px of
the true mask and both its ends belong to one true component; one that joins two true components within that distance
closes a break of the truth itself, is counted apart and judged neither way. Of CHASE_DB1 only the training images (01L
to 10R) are used.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_vessel.completion import Gap, propose_gaps
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.topology import centreline, label_components, local_radius
from napari_vessel.topology.skeleton import _degrees  # the benchmark plants where branches are, as the finder sees them

LENGTHS = (2, 4, 8, 12, 16, 20, 30)
CUT = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class Planted:
    """An erased stretch: its length, the calibre there, its centreline (N, 2), and what was erased, grown by 2 px."""

    length: int
    calibre: float
    middle: NDArray[np.intp]
    origin: tuple[int, int]
    erased: NDArray[np.bool_]


def plant(
    truth: NDArray[np.bool_], rng: np.random.Generator, count: int
) -> tuple[NDArray[np.bool_], list[Planted], NDArray[np.bool_]]:
    """Erase `count` stretches from a mask; returns the broken mask, the stretches, and the erased pixels."""
    skeleton = centreline(truth)
    radius = local_radius(truth)
    pixels = np.argwhere(skeleton)
    degrees = _degrees(np.pad(skeleton, 1).astype(np.uint8), pixels)
    branches = skeleton.copy()
    for y, x in pixels[degrees >= 3]:
        reach = int(np.ceil(radius[y, x])) + 1
        branches[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = False
    _, indices = ndimage.distance_transform_edt(~skeleton, return_indices=True)
    labels, number = label_components(branches)
    order = [_ordered(np.argwhere(labels == label)) for label in range(1, number + 1)]
    order = [branch for branch in order if len(branch) > 12]
    erased = np.zeros_like(truth)
    planted: list[Planted] = []
    kept_clear = np.zeros_like(truth)
    for attempt in range(count * 8):
        if len(planted) >= count or not order:
            break
        length = LENGTHS[attempt % len(LENGTHS)]
        branch = order[rng.integers(len(order))]
        calibre = 2.0 * float(np.median(radius[branch[:, 0], branch[:, 1]]))
        room = int(np.ceil(2.0 * calibre)) + 4
        if len(branch) < length + 2 * room:
            continue
        first = int(rng.integers(room, len(branch) - length - room + 1))
        stretch = branch[first : first + length]
        around = branch[max(first - room, 0) : first + length + room]
        if kept_clear[around[:, 0], around[:, 1]].any():
            continue
        low = np.maximum(stretch.min(axis=0) - room, 0)
        high = stretch.max(axis=0) + room + 1
        box = (slice(low[0], high[0]), slice(low[1], high[1]))
        own = np.zeros_like(truth[box])
        own[stretch[:, 0] - low[0], stretch[:, 1] - low[1]] = True
        nearest_y = np.clip(indices[0][box] - low[0], -1, own.shape[0])
        nearest_x = np.clip(indices[1][box] - low[1], -1, own.shape[1])
        gone = truth[box] & np.pad(own, 1)[nearest_y + 1, nearest_x + 1]
        grown = cv2.dilate(np.pad(gone, 3).view(np.uint8), np.ones((5, 5), np.uint8)) > 0
        parts = label_components(np.pad(truth[box] & ~erased[box] & ~gone, 3))[0]
        if len(np.unique(parts[grown])) < 3:
            # A short stretch of a wide, slanting vessel may not cut it in two.
            continue
        kept_clear[box] |= cv2.dilate(gone.view(np.uint8), np.ones((9, 9), np.uint8)) > 0
        kept_clear[around[:, 0], around[:, 1]] = True
        erased[box] |= gone
        planted.append(Planted(length, calibre, stretch, (int(low[0]) - 3, int(low[1]) - 3), grown))
    return truth & ~erased, planted, erased


def _ordered(pixels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Sort the pixels of one branch along it."""
    left = {(int(y), int(x)) for y, x in pixels}
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]

    def near(p: tuple[int, int]) -> list[tuple[int, int]]:
        ways = [(p[0] + dy, p[1] + dx) for dy, dx in around if (p[0] + dy, p[1] + dx) in left]
        return sorted(ways, key=lambda q: abs(q[0] - p[0]) + abs(q[1] - p[1]))

    here = min(left, key=lambda p: len(near(p)))
    path = [here]
    left.discard(here)
    while ways := near(here):
        here = ways[0]
        for way in ways:
            left.discard(way)
        path.append(here)
    return np.asarray(path, np.intp)


def erase_from_image(
    pixels: NDArray[np.float32], erased: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Fill erased vessels with their surroundings and the image's own grain."""
    wide = cv2.dilate(erased.view(np.uint8), np.ones((5, 5), np.uint8))
    bytes_ = np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)
    filled = cv2.inpaint(bytes_, wide, 5, cv2.INPAINT_TELEA).astype(np.float32) / 255
    grain = float(np.std(pixels - cv2.GaussianBlur(pixels, (0, 0), 1.0)))
    filled += rng.normal(0, grain, filled.shape).astype(np.float32) * (wide > 0).reshape(
        wide.shape + (1,) * (pixels.ndim - 2)
    )
    return np.asarray(np.clip(filled, 0, 1), np.float32)


class Truth:
    """A true mask, ready to judge proposals."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.near = cv2.dilate(mask.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
        self.labels, _ = label_components(mask)

    def _component(self, point: NDArray[np.floating]) -> int:
        y, x = (round(float(v)) for v in point)
        around = self.labels[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        values = around[around > 0]
        return int(np.bincount(values).argmax()) if values.size else 0

    def right(self, path: NDArray[np.floating]) -> bool | None:
        """Tell whether a path follows one true vessel; None where it closes a break of the truth itself."""
        y, x = np.rint(path).astype(int).T
        first, last = self._component(path[0]), self._component(path[-1])
        if self.near[y, x].mean() < 0.9 or first == 0 or last == 0:
            return False
        return True if first == last else None


def score_auc(right: list[bool], scores: list[float]) -> float | None:
    """Chance that a right proposal scores above a wrong one; None when one kind is missing."""
    good = np.asarray([s for s, r in zip(scores, right, strict=True) if r])
    bad = np.asarray([s for s, r in zip(scores, right, strict=True) if not r])
    if not good.size or not bad.size:
        return None
    return float(((good[:, None] > bad).mean() + 0.5 * (good[:, None] == bad).mean()).round(4))


def curves(shape: tuple[int, int], number: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw smooth curves 3 to 15 px wide."""
    mask = np.zeros(shape, np.uint8)
    for _ in range(number):
        heading = rng.uniform(0, 2 * np.pi)
        bend = rng.normal(0, 0.004)
        point = np.asarray([rng.uniform(0.1, 0.9) * shape[0], rng.uniform(0.1, 0.9) * shape[1]])
        points = [point]
        for _ in range(int(rng.uniform(60, 160))):
            bend = 0.95 * bend + rng.normal(0, 0.003)
            heading += 3 * bend
            point = point + 3 * np.asarray([np.sin(heading), np.cos(heading)])
            points.append(point)
        line = np.rint(np.asarray(points)[:, ::-1] * 16).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(mask, [line], False, 1, int(rng.integers(3, 16)), cv2.LINE_8, 4)
    return mask > 0


def rendered(mask: NDArray[np.bool_], rng: np.random.Generator) -> VesselImage:
    """A plain picture of a mask: dark vessels, a sloping background, noise."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)
    slope = np.linspace(0.5, 0.7, mask.shape[1], dtype=np.float32)[None, :]
    noisy = slope - 0.15 * soft + rng.normal(0, 0.03, mask.shape).astype(np.float32)
    return VesselImage(np.clip(noisy, 0, 1).astype(np.float32), modality=Modality.FUNDUS)


Case = tuple[NDArray[np.bool_], VesselImage]


def synthetic_cases(seed: int = 0) -> Iterator[Case]:
    """Yield ten synthetic masks and their pictures."""
    rng = np.random.default_rng(seed)
    for _ in range(10):
        mask = curves((584, 565), 14, rng)
        yield mask, rendered(mask, rng)


def chase_cases(folder: Path) -> Iterator[Case]:
    """Yield CHASE_DB1's training masks and images."""
    for path in sorted((folder / "masks").glob("Image_*.png")):
        if int(path.stem[6:8]) > 10:
            continue
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0
        image = cv2.imread(str(folder / "images" / f"{path.stem}.jpg"))[..., ::-1].astype(np.float32) / 255
        fov_path = next((folder / "fov").glob(f"{path.stem}*"), None)
        fov = cv2.imread(str(fov_path), cv2.IMREAD_GRAYSCALE) > 0 if fov_path else None
        yield mask, VesselImage(np.ascontiguousarray(image), fov, Modality.FUNDUS)


def quality(cases: Iterator[Case], evidence: str, per_image: int = 14, seed: int = 1) -> dict[str, Any]:
    """Plant gaps, propose, and count: `evidence` is "none", "image" (vessel still visible) or "erased"."""
    rng = np.random.default_rng(seed)
    hits: dict[int, list[bool]] = {length: [] for length in LENGTHS}
    right: list[bool] = []
    scores: list[float] = []
    own = 0
    for truth_mask, image in cases:
        broken, planted, erased = plant(truth_mask, rng, per_image)
        shown: VesselImage | None = image
        if evidence == "erased":
            shown = VesselImage(erase_from_image(image.pixels, erased, rng), image.fov, image.modality)
        elif evidence == "none":
            shown = None
        gaps = propose_gaps(broken, shown, fov=image.fov)
        truth = Truth(truth_mask)
        verdicts = [truth.right(gap.path) for gap in gaps]
        own += sum(1 for gap, ok in zip(gaps, verdicts, strict=True) if ok is None and gap.score >= CUT)
        right += [ok for ok in verdicts if ok is not None]
        scores += [gap.score for gap, ok in zip(gaps, verdicts, strict=True) if ok is not None]
        good = [gap for gap, ok in zip(gaps, verdicts, strict=True) if ok and gap.score >= CUT]
        for stretch in planted:
            hits[stretch.length].append(any(_bridges(gap, stretch) for gap in good))
    kept = [r for r, s in zip(right, scores, strict=True) if s >= CUT]
    found = [hit for row in hits.values() for hit in row]
    return {
        "planted": len(found),
        "recall": round(float(np.mean(found)), 4),
        "recall_up_to_16_px": round(float(np.mean([h for n, row in hits.items() if n <= 16 for h in row])), 4),
        "recall_by_length": {str(n): round(float(np.mean(row)), 4) if row else None for n, row in hits.items()},
        "proposals": len(kept),
        "precision": round(float(np.mean(kept)), 4) if kept else None,
        "truths_own": own,
        "shown": len(right),
        "auc": score_auc(right, scores),
    }


def _bridges(gap: Gap, stretch: Planted) -> bool:
    """Tell whether a path runs where the stretch was erased, from one side of it to the other."""
    y, x = np.rint(gap.path).astype(int).T - np.asarray(stretch.origin)[:, None]
    here = stretch.erased
    inside = (y >= 0) & (x >= 0) & (y < here.shape[0]) & (x < here.shape[1])
    on_it = np.zeros(len(y), np.bool_)
    on_it[inside] = here[y[inside], x[inside]]
    return bool(on_it.mean() >= 0.6)


def timed(work: Callable[[], object], repeats: int = 5) -> float:
    """Median time after a warm-up, s."""
    work()
    took = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return float(np.median(took))


def speed(shape: tuple[int, int], number: int, gaps: int, repeats: int) -> dict[str, Any]:
    """Time one synthetic mask beside labelling it once."""
    rng = np.random.default_rng(5)
    truth = curves(shape, number, rng)
    image = rendered(truth, rng)
    broken, planted, _ = plant(truth, rng, gaps)
    label = timed(lambda: cv2.connectedComponents(broken.view(np.uint8), connectivity=8), repeats)
    alone = timed(lambda: propose_gaps(broken), repeats)
    seen = timed(lambda: propose_gaps(broken, image), repeats)
    return {
        "shape": list(shape),
        "components": label_components(broken)[1],
        "planted": len(planted),
        "label_s": round(label, 5),
        "mask_only_s": round(alone, 4),
        "with_image_s": round(seen, 4),
        "mask_only_ratio": round(alone / label, 1),
        "with_image_ratio": round(seen / label, 1),
    }


def main() -> None:
    """Run everything and write one JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chasedb1", type=Path, help="folder with images/, masks/ and fov/")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
    }
    report["speed"] = [speed((584, 565), 14, 20, 5), speed((2336, 3504), 300, 300, 3)]
    report["planted"] = {}
    for evidence in ("none", "image", "erased"):
        report["planted"][f"synthetic, {evidence}"] = quality(synthetic_cases(), evidence)
        if options.chasedb1:
            report["planted"][f"CHASE_DB1 training, {evidence}"] = quality(chase_cases(options.chasedb1), evidence)
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
