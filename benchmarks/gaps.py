"""Gaps: planted ones, links, false bridges, fragments, and bridges on real predictions, beside simple methods.

    python benchmarks/gaps.py --drive DIR --chase-db1 DIR [--rossa DIR] [--octa-500 DIR] [--creatis DIR] \
        [--model NAME|FOLDER] [--completion-model NAME|FOLDER|none] -o benchmarks/results/gaps.json

Each truth has its own row, because they answer different questions: planted gaps are certain; links and fragments are
judged where two observers agree; end to end, one observer is the judge and the other stands beside. The folders are
the data sets as their owners give them out. With a completion model every row of ours is there without it and with it;
by default it is the one for the modality, when there is one. Nothing is fitted or chosen on test images; boosting,
which is, says so in its row. ``--split training`` measures the training images of the same sets, for whoever wants to
choose something.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from common import public_command, report_header, write_report
from contenders import Contender, Peer, own_model
from creatis_peer import MODELS, REPOSITORY, Reconnecter, weights_hashes
from gap_completion import NONE, CompletionModel, completion_model
from gap_image import Reconnecters, measure_cuts, measure_natural, measure_planted, plant_in, sample_of
from gap_natural import effort_rows, end_to_end_rows, fragment_rows, link_rows, tip_rows
from gap_statistics import boosting_version
from gap_tables import Records, cut_rows, plain, planted_rows

from napari_vessel.completion import scoring
from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.training.cases import Case, CaseFiles, find_cases, read_case
from napari_vessel.training.datasets import DATA_SETS

SETS = ("drive", "chase_db1")
PLANTED_ONLY = ("rossa", "octa-500")
"""Sets of OCT angiograms with one observer: their first images, for what was planted."""

FIRST = 20
QUICK = 3
ROUNDS = 1
EACH = 1

PROTOCOL = (
    "Inside the field of view at each image's own resolution; px are those of DRIVE, scaled by the field of view's "
    "diameter (540 there). The prediction is cut at the model's threshold; no piece is removed. A bridge is right when "
    "the observer's vessel joins the same two pieces within a tube of 2 px around it, and nine tenths of it lie within "
    "2 px of that vessel. A natural gap is a missing stretch of the observer's centreline that touches two or more "
    "pieces; it is closed when two of them are joined within 3 px of it. Pieces that become one count as one bridge "
    "fewer than they were; loops within one piece are not counted there. A link is a candidate whose two pieces lie on "
    "vessels of both observers (seven tenths of their pixels within 8 px of its ends are within 2 px of them) and on "
    "which the two agree. A planted gap is closed when its two sides are joined within 2 px of what was erased; false "
    "additions are pixels more than 2 px from the true vessels, as a share of the erased ones. With completion model: "
    "the finder is given the completed probability too; where an image was erased, the segmenter and the completion "
    "model have seen the erased one only. Completion model alone: what it completes from .5 on is added. CREATIS: what "
    "its own post-processing makes of the mask alone, in ten rounds at the image's own resolution, is added; what it "
    "takes away stays. Accepted is a score of .5, chosen beforehand. OCT angiograms: the first 20 test images of a "
    "set, px are those of the image, predictions by octa-small. Intervals: 95 %, by drawing whole images."
)


@dataclass(frozen=True)
class Predictor:
    """Where probabilities come from: one of our models, the peer's checkout, or a folder of saved ones."""

    model: str = ""
    peer: Path | None = None
    folder: Path | None = None
    threshold: float | None = None
    completion: CompletionModel | None = None
    creatis: Path | None = None

    def predict(self, case: Case) -> tuple[np.ndarray, float]:
        """Return the probability of an image and where to cut it."""
        if self.folder is not None and self.threshold is not None:
            return read_probability(self.folder, case), self.threshold
        contender, threshold = _contender(self.model, self.peer)
        probability, _ = contender.predict(case)
        assert probability is not None
        return probability, threshold if self.threshold is None else self.threshold

    def again(self, case: Case, pixels: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return probability and completion of a changed image; no probability when only saved ones are there."""
        changed = VesselImage(pixels, case.image.fov, case.image.modality, name=f"{case.name}, changed")
        probability = None if self.folder is not None else self.predict(replace(case, image=changed))[0]
        return probability, self.completed(changed, probability)

    def completed(self, image: VesselImage, probability: np.ndarray | None) -> np.ndarray | None:
        """Return what the completion model makes of an image; None without one."""
        if self.completion is None:
            return None
        made_by = "" if self.folder is not None else _contender(self.model, self.peer)[0].name
        return self.completion.predict(image, probability, made_by)

    def describe(self) -> dict[str, Any]:
        """Return what the report says about it."""
        completion = None if self.completion is None else self.completion.key()
        if self.folder is not None:
            return {"saved_probabilities": True, "threshold": self.threshold, "completion_model": completion}
        contender, threshold = _contender(self.model, self.peer)
        used = threshold if self.threshold is None else self.threshold
        return {**contender.key(), "threshold": used, "completion_model": completion}


@cache
def _contender(model: str, peer: Path | None) -> tuple[Contender, float]:
    if peer is not None:
        from lwnet_peer import THRESHOLD

        return Peer(peer), THRESHOLD
    own = own_model(model)
    return own, own.info.threshold


@cache
def _reconnecters(checkout: Path | None) -> Reconnecters:
    # One of each for each process: weights are loaded once.
    return {} if checkout is None else {name: Reconnecter(checkout, model) for name, model in MODELS.items()}


def read_probability(folder: Path, case: Case) -> np.ndarray:
    """Read a saved probability, float32, named as the image.

    Raises
    ------
    InputError
        If there is none, or it is not as large as the image.
    """
    import tifffile

    stem = case.name.split("/", 1)[1]
    path = next(iter(sorted(folder.glob(f"{stem}.tif*"))), None)
    if path is None:
        raise InputError(f"There is no {stem}.tif in '{folder}'; save one probability for each image.")
    probability = np.asarray(tifffile.imread(path), np.float32)
    if probability.shape != case.vessels.shape:
        raise InputError(f"'{path}' and its image differ in size; save probabilities at the image's own resolution.")
    return probability


def measure(files: CaseFiles, predictor: Predictor) -> dict[str, Any]:
    """Measure everything on one image."""
    case = read_case(files, allow_test=True)
    probability, threshold = predictor.predict(case)
    sample = sample_of(case, probability, threshold, predictor.completed(case.image, probability))
    reconnecters = _reconnecters(predictor.creatis)
    planted = []
    for number in range(ROUNDS):
        gaps, pixels = plant_in(sample, EACH, number)
        planted.append(measure_planted(sample, gaps, pixels, *predictor.again(case, pixels), reconnecters))
    return {
        "image": case.name,
        "two_observers": case.second is not None,
        "scale": round(sample.scale, 4),
        "planted": planted,
        "cuts": measure_cuts(sample),
        "natural": measure_natural(sample, reconnecters) if case.second is not None else None,
    }


def summarise(images: Records) -> tuple[dict[str, Any], str]:
    """Return all figures of some images, and their tables."""
    judged = [image for image in images if image["two_observers"]]
    figures: dict[str, Any] = {"images": [image["image"] for image in images]}
    text = ""
    for name, title, rows, used in (
        ("planted", "Planted gaps", planted_rows, images),
        ("links", "Links between pieces that both observers drew", link_rows, judged),
        ("tips", "Missing tips", tip_rows, judged),
        ("cuts", "Planted false bridges", cut_rows, images),
        ("fragments", "Fragments", fragment_rows, judged),
        ("end_to_end", "End to end, by the first observer and by the second", end_to_end_rows, judged),
        ("effort", "Order and effort", effort_rows, judged),
    ):
        if not used:
            continue
        found, table = rows(used)
        figures[name] = plain(found)
        text += f"### {title}\n\n{table.rstrip()}\n\n"
    return figures, text


def completion_text(made_from: dict[str, Any] | None) -> str:
    """Return what the report says about the completion model."""
    if made_from is None:
        return "Completion model: none."
    seen = ", ".join(made_from["trained_on"]) or "no data set that is known here"
    return f"Completion model: {made_from['name']}, for the probability of {made_from['segmenter']}, trained on {seen}."


def use_scores(path: Path | None) -> None:
    """Score with another ``scores.json`` than the one that is shipped, in this process."""
    if path is not None:
        found = scoring.read_scores(path.read_text(encoding="utf-8"))
        scoring._scores = lambda: found  # type: ignore[assignment]


def measure_all(
    cases: Sequence[CaseFiles], predictors: Sequence[Predictor], workers: int, scores: Path | None
) -> list[dict[str, Any]]:
    """Measure images side by side, in order."""
    begun = time.perf_counter()
    results = []
    # Not forked: a process with threads, torch's for one, may leave a lock behind in its children.
    spawn = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=use_scores, initargs=(scores,)) as pool:
        for result in pool.map(measure, cases, predictors):
            results.append(result)
            print(f"{result['image']}: {time.perf_counter() - begun:.0f} s", flush=True)
    return results


def parse() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for key in (*SETS, *PLANTED_ONLY):
        title = DATA_SETS[key].title
        parser.add_argument(f"--{key.replace('_', '-')}", type=Path, help=f"{title}, as its owner gives it out")
    parser.add_argument("--model", default="fundus-small", help="name or folder of the model that predicts")
    parser.add_argument("--octa-model", default="octa-small", help="the one that predicts OCT angiograms")
    parser.add_argument("--lwnet", type=Path, help="checkout of agaldran/lwnet, to judge its predictions instead")
    parser.add_argument("--creatis", type=Path, metavar="DIR", help=f"checkout of {REPOSITORY}, to stand beside ours")
    parser.add_argument("--probability", type=Path, help="folder of saved probabilities (STEM.tif, float32) instead")
    parser.add_argument("--threshold", type=float, help="where to cut; by default the model's own")
    parser.add_argument(
        "--completion-model",
        metavar="NAME|FOLDER|none",
        help="the model that completes; by default the one for the modality, when there is one",
    )
    parser.add_argument("--scores", type=Path, help="another scores.json, fitted without a set that is measured, say")
    parser.add_argument("--split", choices=("test", "training"), default="test")
    parser.add_argument("--quick", action="store_true", help=f"the first {QUICK} images of each set only")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    if all(folder_of(options, key) is None for key in (*SETS, *PLANTED_ONLY)):
        parser.error("give the folder of a data set, --drive DIR for one")
    if options.probability is not None and options.threshold is None:
        parser.error("--probability needs --threshold")
    return parser, options


def folder_of(options: argparse.Namespace, key: str) -> Path | None:
    """Return the folder given for a data set."""
    folder: Path | None = getattr(options, key.replace("-", "_"))
    return folder


def main() -> None:
    """Run the benchmark."""
    parser, options = parse()
    completion = completion_model(options.completion_model)
    shared = {"threshold": options.threshold, "completion": completion, "creatis": options.creatis}
    if options.probability is not None:
        predictor = Predictor(folder=options.probability, **shared)
    else:
        predictor = Predictor(options.model, options.lwnet, **shared)
    cases: list[CaseFiles] = []
    predictors: list[Predictor] = []
    # A completion model that was named is for the first sets.
    of_octa = completion_model(None if options.completion_model is None else NONE, Modality.OCTA)
    octa = Predictor(options.octa_model, completion=of_octa, creatis=options.creatis)
    for key in (*SETS, *PLANTED_ONLY):
        folder = folder_of(options, key)
        if folder is not None:
            most = QUICK if options.quick else FIRST if key in PLANTED_ONLY else None
            cases += find_cases(key, folder, options.split)[:most]
            predictors += [octa if key in PLANTED_ONLY else predictor] * (len(cases) - len(predictors))
    use_scores(options.scores)
    images = measure_all(cases, predictors, options.workers, options.scores)
    report = report_header(public_command(parser, options), PROTOCOL, [options.scores] if options.scores else [])
    report["predictor"] = predictor.describe()
    if options.creatis is not None:
        report["creatis"] = weights_hashes(options.creatis)
    report["results"] = {}
    body = f"Predictions: {report['predictor'].get('name', 'saved probabilities')}, {options.split} images.\n\n"
    body += f"{completion_text(report['predictor']['completion_model'])}\n\n"
    report["boosting"] = boosting_version()
    if report["boosting"] is None:
        body += "Boosting was not run: it needs scikit-learn (the extra `benchmarks`).\n\n"
    by_set = {key: [i for i in images if i["image"].startswith(f"{key}/")] for key in (*SETS, *PLANTED_ONLY)}
    groups = {DATA_SETS[key].title: found for key, found in by_set.items() if found}
    pooled = [key for key in SETS if by_set[key]]
    if len(pooled) > 1:
        title = " and ".join(DATA_SETS[key].title for key in pooled)
        groups = {title: [image for key in pooled for image in by_set[key]], **groups}
    for title, found in groups.items():
        report["results"][title], text = summarise(found)
        body += f"## {title}: {len(found)} images\n\n{text}"
    write_report(options.out, "Gaps", report, body.rstrip())
    print(body)


if __name__ == "__main__":
    main()
