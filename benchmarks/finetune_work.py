"""What an annotator's actions are worth to the images that nobody has looked at: corrected in sessions, then learnt."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import decimal, files_hash, images_key, markdown_table
from contenders import model_key
from effort_work import SEARCHES, Annotator, Break, Truth
from finetune_runs import (
    FIGURES,
    RUNS,
    TUNED,
    Budget,
    code,
    figures_of,
    kept,
    kind_of,
    mean_of,
    score,
    trained,
)
from gap_image import Sample

from napari_vessel.images.inputs import find_inputs
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, ReviewSession
from napari_vessel.review.records import ImageRecord, ImageState
from napari_vessel.review.samples import training_samples
from napari_vessel.review.training_sample import TrainingSample
from napari_vessel.segmentation.registry import ModelInfo, read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.topology.metrics import strokes
from napari_vessel.training.cases import CaseFiles, read_case
from napari_vessel.training.datasets import is_test_name

LEAST = 10
"""A vessel that the mask lacks is painted when it is so many pixels long."""

PROTOCOL = (
    "*Work*: a project of images drawn at random; each is segmented with the model, worked on through its session by "
    "the simulated annotator of the effort benchmark, by the first observer alone, and marked done. Pieces on no "
    "vessel are deleted with a key each; every proposed gap is accepted, repainted or rejected, best first, until no "
    f"break is left or {SEARCHES} searches are over; breaks that are left are painted, and then, longest first, every "
    f"missing vessel of {LEAST} px or more. What is drawn too thick, too thin or beside a vessel stays. Nothing is "
    "copied from the owner's mask but what a stroke paints. Then the project's samples, the guards that it drew "
    "itself, the training, the gate and the project's versions are the product's own. Gain: of the new model over the "
    "old one on other images of the set, evenly spaced, that were in no project; whatever the gate said."
)


class Reviewer(Annotator):
    """The simulated annotator at the session of a project's image.

    Parameters
    ----------
    truth : Truth
        What the annotator knows.
    session : ReviewSession
        Of the image.
    """

    def __init__(self, truth: Truth, session: ReviewSession) -> None:
        super().__init__(truth)
        self.session = session
        self.counts["missing"] = 0

    def work(self) -> None:
        """Delete, decide, paint, until nothing is left to do."""
        self.delete_wrong_pieces()
        for number in range(SEARCHES):
            breaks = self.truth.breaks(self.mask)
            gaps = self.search() if breaks or not number else []
            if not gaps:
                break
            self.decide_all(gaps, self.judge(gaps), breaks)
        self.paint_breaks()
        for one in self.missing():
            self.paint(one)
            self.counts["missing"] += 1

    def missing(self) -> list[Break]:
        """List the vessels that the mask lacks, longest first."""
        labels = self.session.components.labels
        found = []
        for gap in self.truth.judges(labels)[0].natural_gaps(self.sample.image.fov, least=0):
            if gap.length < LEAST * self.sample.scale:
                continue
            apart = float(np.hypot(*np.ptp(gap.pixels, axis=0)))
            lines = strokes(gap.length / self.sample.scale, apart / self.sample.scale)
            found.append(Break(gap.pixels, gap.touches, max(lines, 1)))
        return sorted(found, key=lambda one: -len(one.pixels))


def parted(cases: Sequence[CaseFiles], key: str, count: int, tests: int) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """Return the images of the project, and those to test on."""
    # The names of test images are refused by the product, as they should be.
    ordered = sorted((files for files in cases if not is_test_name(files.stem)), key=lambda files: files.stem)
    chosen = random.Random(f"{key}-work").sample(ordered, count)
    patients = {files.patient for files in chosen}
    rest = [files for files in sorted(cases, key=lambda files: files.stem) if files.patient not in patients]
    return chosen, rest[:: max(1, -(-len(rest) // tests))]


def reviewed(
    project: Project, record: ImageRecord, files: CaseFiles, segmenter: Segmenter, start: ModelInfo
) -> dict[str, Any]:
    """Segment one image of a project, let the annotator work on it, mark it done, and return what that took."""
    image = project.read_image(record.id)
    vessels = read_case(files, allow_test=True).vessels
    found = run_job(segmenter.predict(image))
    project.store_probability(record.id, found.probability, found.to_json())
    session = project.open_session(record.id, "simulated")
    session.set_segmentation(found.mask > 0, f"segmentation by {start.name}")
    inside = np.ones(image.shape, np.bool_) if image.fov is None else image.fov
    truth = vessels & inside
    sample = Sample(record.name, image, truth, truth, found.probability, (found.mask > 0) & inside)
    one = Reviewer(Truth(sample, consensus=False), session)
    one.work()
    project.set_state(record.id, ImageState.DONE)
    return {
        "image": record.name,
        "actions": one.actions,
        "mouse": one.mouse,
        **one.counts,
        "before": figures_of(sample.mask, vessels, image.fov),
        "after": figures_of(one.mask, vessels, image.fov),
    }


def in_project(
    folder: Path, chosen: Sequence[CaseFiles], key: str, start: ModelInfo, device: str
) -> tuple[list[dict[str, Any]], list[TrainingSample]]:
    """Make a project, let the annotator work on every image of it, and return the work and what it teaches."""
    shutil.rmtree(folder, ignore_errors=True)
    segmenter = Segmenter(start, device)
    with Project.create(folder) as project:
        rows = []
        for files in chosen:
            inputs = find_inputs([files.image])
            fov = "auto" if files.fov is None else files.fov
            (record,) = run_job(project.add(inputs, fov=fov, modality=kind_of(key)))
            rows.append(reviewed(project, record, files, segmenter, start))
            print(f"work {key}/{files.stem}: {rows[-1]['actions']} actions", flush=True)
        return rows, [one.unpack() for one in run_job(training_samples(project))]


def work(
    key: str,
    cases: Sequence[CaseFiles],
    count: int,
    tests: int,
    budget: Budget,
    start: ModelInfo,
    device: str,
    make: bool = True,
    fresh: bool = False,
) -> dict[str, Any] | None:
    """Return what came of a project's work; None when it has to be made and is not to be."""
    chosen, rest = parted(cases, key, count, tests)
    name = f"work-{key}-{count}images-{budget.steps}steps-{budget.rehearsal}rehearsed"
    annotator = files_hash([Path(__file__), Path(__file__).with_name("effort_work.py")])[:6]
    run = f"{name}-{code(working=True)}-{annotator}"

    def perform() -> dict[str, Any]:
        project = RUNS / f"{run}-project"
        rows, samples = in_project(project, chosen, key, start, device)
        made = trained(run, samples, TUNED, budget, device, start)
        decision = made["decision"]
        with Project.open(project) as opened:
            add = partial(opened.versions.add, Path(made["model"]), parent=start.name, record={"steps": made["steps"]})
            version = add(**decision, images=[sample.content_hash for sample in samples]) if made["learnt"] else None
        new = read_model(Path(made.pop("model")))
        return {
            "key": key,
            "budget": asdict(budget),
            **made,
            "project": rows,
            "guards": [sample.name for sample in samples if sample.guard],
            "version": "none" if version is None else version.state.value,
            "old": score(start, rest, device),
            "new": score(new, rest, device),
        }

    made_from = {
        "key": key,
        **asdict(budget),
        "code": code(working=True),
        "annotator": annotator,
        "start": model_key(start),
        "images": images_key(chosen),
        "tests": images_key(rest),
    }
    return kept(name, made_from, perform if make else None, fresh)


def work_tables(result: dict[str, Any]) -> str:
    """Return what was done, what it changed in those images, and what it gained on the others."""
    rows = result["project"]
    actions = sum(row["actions"] for row in rows)
    kinds = ("deleted", "accepted", "rejected", "repainted", "painted", "missing")
    done = ", ".join(f"{sum(row[kind] for row in rows)} {kind}" for kind in kinds)
    gained = []
    for figure, heading, digits in zip(FIGURES, ("Dice", "clDice", "b0 error"), (3, 3, 1), strict=True):
        before, after = (float(np.mean([row[when][figure] for row in rows])) for when in ("before", "after"))
        old, new = (mean_of(result[which], figure) for which in ("old", "new"))
        gained.append(
            [
                heading,
                f"{decimal(before, digits)} to {decimal(after, digits)}",
                decimal(old, digits),
                decimal(new, digits),
                f"{new - old:+.{digits + 1}f}",
                f"{100 * (new - old) / actions:+.{digits + 2}f}" if actions else "",
            ]
        )
    heads = ["", "of the images worked on", "others, old model", "others, new model", "gain", "gain per 100 actions"]
    return (
        f"{len(rows)} images, {len(result['guards'])} of them guards; {actions} actions "
        f"({sum(row['mouse'] for row in rows)} with the mouse): {done}. {result['steps']} steps; "
        f"{len(result['old'])} other images.\n\n{markdown_table(heads, gained)}\n\n"
        f"The gate: {result['decision']['sentence']} (version: {result['version']})"
    )
