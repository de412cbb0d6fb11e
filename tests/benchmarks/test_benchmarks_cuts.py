"""What the audit of false bridges learns from: every connection, with what is known of it."""

import cut_rows
import numpy as np
import pytest
from common import code_hash
from cut_meshes import mesh, mesh_rows
from cut_rows import halved, joined, rows_in_prediction, rows_in_truth
from fit_cuts import FINDING, NAMES, SCRIPTS, applied, learn
from gap_image import Sample
from gap_statistics import auc, recall_at_precision

from napari_vessel.synthesis.samples import make_sample


@pytest.fixture(scope="module")
def sample() -> Sample:
    made = make_sample("fundus", 11)
    truth = made.truth.mask
    return Sample("s/11", made.image, truth, truth, np.where(truth, 0.8, 0.1).astype(np.float32), truth)


def test_planted_bridges_are_told_from_vessels(sample: Sample) -> None:
    work = joined(sample.first, sample, 0)
    rows = rows_in_truth(work, sample.image, sample.probability, sample.image.fov)
    assert len({row["bridge"] for row in rows} - {0}) >= 0.8 * len(work.bridges)
    assert all(row["false"] == (row["bridge"] > 0) for row in rows)
    assert sum(not row["false"] for row in rows) > 50
    assert set().union(*(row["seen"] for row in rows)) == set(NAMES["image+map"])
    # Nothing was drawn into the picture: its probability is low where a bridge was planted.
    likely = [np.mean([r["seen"]["likely"] for r in rows if r["false"] == false]) for false in (True, False)]
    assert likely[0] < likely[1] - 0.3


def test_a_planted_bridge_in_a_prediction_is_as_likely_as_a_vessel(sample: Sample) -> None:
    rows = rows_in_prediction(joined(sample.mask, sample, 0), sample)
    drawn = {row["seen"]["likely"] for row in rows if not row["false"]}
    planted = {row["seen"]["likely"] for row in rows if row["bridge"] > 0}
    assert planted
    assert planted <= drawn


def test_half_the_size_is_half_the_scale(sample: Sample) -> None:
    small = halved(sample)
    assert small.first.shape == tuple(side // 2 for side in sample.first.shape)
    assert small.scale == pytest.approx(sample.scale / 2, rel=0.02)


def test_what_is_learnt_tells_them_apart() -> None:
    images = [{"mesh": mesh_rows(number)} for number in (1, 2)]
    model = learn(images, "")
    assert auc(applied(model, mesh_rows(3))) > 0.9
    assert mesh(1)[0].any()


def test_recall_at_precision() -> None:
    rows = np.asarray([[0.9, 1], [0.8, 1], [0.7, 0], [0.6, 1], [0.5, 0], [0.4, 0]], float)
    assert recall_at_precision(0.9)(rows) == pytest.approx(2 / 3)
    assert recall_at_precision(0.7)(rows) == 1.0
    assert recall_at_precision(0.9)(rows[::-1]) == pytest.approx(2 / 3)
    # Two with one score are kept together or not at all.
    assert recall_at_precision(0.9)(np.asarray([[0.9, 1], [0.9, 0]], float)) == 0.0


def test_finished_rows_depend_on_files_that_are_there_and_on_all_that_the_rows_are_made_with() -> None:
    assert len(code_hash([f"completion/{name}" for name in FINDING], SCRIPTS)) == 64
    used = {getattr(value, "__module__", "").rpartition(".") for value in vars(cut_rows).values()}
    assert {name for room, _, name in used if room == "napari_vessel.completion"} <= set(FINDING)
    assert {name for room, _, name in used if name.startswith(("gap_", "cut_"))} <= set(SCRIPTS)
