"""Edges that nobody drew say nothing about a model; vessels, and what a person drew, do."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.registry import model_info, read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.topology.metrics import dice_coefficient
from napari_vessel.topology.skeleton import centreline
from napari_vessel.training.cases import Case
from napari_vessel.training.edges import GivenEdges, with_edges_of
from napari_vessel.training.finetuning.gate import Figures, judge
from napari_vessel.training.finetuning.running import measured
from napari_vessel.training.recipe import NetworkRecipe, Recipe
from napari_vessel.training.validation import THRESHOLDS, _score, prepare_validation

SHAPE = (120, 160)
BASE = [Figures(0.8, 0.85, 4.0)] * 6


def vessel(row, width, until=150):
    mask = np.zeros(SHAPE, np.uint8)
    points = np.array([[x, row + round(6 * np.sin(x / 15 + row))] for x in range(10, until)], np.int32)
    cv2.polylines(mask, [points], False, 1, width)
    return mask > 0


def moved(mask, down=0, right=0):
    return np.roll(mask, (down, right), (0, 1))


WIDE, TWO, THIN = vessel(20, 5), vessel(50, 2), vessel(80, 1)
DRAWN = vessel(105, 3, until=120)
"""A vessel that the model had missed, and the annotator painted."""

OLD = WIDE | TWO | THIN
TRUTH = OLD | DRAWN
WEIGHTS = np.where(DRAWN, 3, 1).astype(np.uint8)
CASE = Case("own/guard", VesselImage(np.zeros(SHAPE, np.float32)), TRUTH, weights=WEIGHTS)


def figures(mask, case=CASE):
    return measured(mask, case, {"kind": "field_of_view", "px": float(SHAPE[1])})


@pytest.mark.parametrize(
    "mask",
    [
        cv2.dilate(OLD.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0,
        OLD & moved(OLD, down=1) | (THIN | TWO),
        moved(OLD, down=1),
        moved(OLD, right=-1),
    ],
    ids=["dilated", "eroded", "down", "left"],
)
def test_half_a_pixel_more_or_less_is_no_matter(mask):
    """Edges of the model, a pixel thicker or thinner in all, or beside: as good as the model's own."""
    assert dice_coefficient(mask, TRUTH) < dice_coefficient(OLD, TRUTH) - 0.02
    assert figures(mask).dice == pytest.approx(figures(OLD).dice, abs=1e-9)
    assert figures(mask).cl_dice == pytest.approx(figures(OLD).cl_dice, abs=1e-9)


@pytest.mark.parametrize("lost", [WIDE, TWO, THIN], ids=["wide", "two pixels", "one pixel"])
def test_a_vessel_that_is_missing_is_missing_however_thin(lost):
    """All of a thin vessel lies within a pixel of its edge."""
    mask = OLD & ~lost
    expected = dice_coefficient(mask, TRUTH)
    assert figures(mask).dice == pytest.approx(expected, abs=0.003)
    assert figures(mask).dice < figures(OLD).dice - 0.02
    assert figures(mask).cl_dice < figures(OLD).cl_dice - 0.05


def test_a_model_that_is_two_pixels_off_is_wrong():
    thick = cv2.dilate(OLD.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert figures(thick).dice < figures(OLD).dice - 0.1


def test_edges_of_what_a_person_drew_count():
    right, beside = OLD | DRAWN, OLD | moved(DRAWN, down=1)
    assert figures(right).dice == 1.0
    raw = dice_coefficient(beside, TRUTH)
    assert figures(beside).dice == pytest.approx(raw, abs=1e-9)
    # So do those of what a person erased from a vessel's side.
    bulge = np.zeros(SHAPE, bool)
    bulge[26:29, 60:90] = True
    bulge &= ~TRUTH
    case = replace(CASE, weights=np.where(bulge, 5, WEIGHTS).astype(np.uint8))
    assert figures(right | bulge, case).dice == pytest.approx(dice_coefficient(right | bulge, TRUTH), abs=1e-9)


def test_two_models_are_forgiven_the_same_whatever_each_sees():
    """Of an image of 160 px one sees 120, and could be half a pixel off; the other 40, and could be two."""
    fine, coarse = ({"kind": "field_of_view", "px": px} for px in (120.0, 40.0))
    beside = moved(OLD, down=2)
    assert measured(beside, CASE, fine).dice < measured(beside, CASE, coarse).dice - 0.05
    for scales in ((fine, coarse), (coarse, fine)):
        assert measured(beside, CASE, *scales) == measured(beside, CASE, coarse)


def test_the_old_model_is_not_right_for_free():
    """The one that finds what the old one missed is better, whatever its own edges look like."""
    new = moved(OLD, down=1) | DRAWN
    assert dice_coefficient(new, TRUTH) < dice_coefficient(OLD, TRUTH), "counted pixel by pixel the old one wins"
    assert figures(OLD).dice < figures(new).dice == 1.0
    decision = judge([figures(OLD)] * 5, [figures(new)] * 5, BASE, BASE)
    assert decision.promote is True
    worse = judge([figures(OLD)] * 5, [figures(moved(OLD & ~THIN, down=1))] * 5, BASE, BASE)
    assert worse.promote is False


def test_without_weights_every_edge_counts():
    plain = replace(CASE, weights=None)
    assert figures(moved(TRUTH, down=1), plain).dice == dice_coefficient(moved(TRUTH, down=1), TRUTH)


def test_what_does_not_count_and_nothing_at_all():
    blank = GivenEdges.of(np.zeros(SHAPE, bool), np.ones(SHAPE, np.uint8))
    np.testing.assert_array_equal(blank.settle(OLD), OLD)
    unsure = replace(CASE, weights=np.where(DRAWN, 0, 1).astype(np.uint8))
    assert figures(moved(OLD, down=1), unsure).dice == 1.0


def test_the_looks_while_training_forgive_the_same_edges():
    """At the working scale; a look is at a probability, and at three thresholds."""
    recipe = Recipe("a", "A", (), network=NetworkRecipe(in_channels=1, working_diameter=float(SHAPE[1])))
    looked = prepare_validation(CASE, recipe)
    assert prepare_validation(replace(CASE, weights=None), recipe).edges is None

    def look(mask):
        return list(_score(mask.astype(np.float32), looked))[THRESHOLDS.index(0.5)]

    for mask in (moved(OLD, down=1), cv2.dilate(OLD.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0):
        assert look(mask)[:2] == pytest.approx(look(OLD)[:2], abs=1e-9)
    assert look(OLD & ~THIN)[0] < look(OLD)[0] - 0.01
    assert look(OLD | DRAWN)[0] > look(OLD)[0] + 0.01


def test_a_real_model_that_cuts_elsewhere_is_as_good(tmp_path):
    """An image called done as the model segmented it: another threshold is another edge, and no worse a model."""
    octa = model_info("octa-small")
    sample = make_sample("octa", seed=3, shape=(200, 200))
    image = replace(sample.image, modality=octa.modalities[0])
    folder = tmp_path / "octa-small"
    shutil.copytree(octa.folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "threshold": octa.threshold - 0.1}))
    old, new = (run_job(Segmenter(info, "cpu").predict(image)).mask > 0 for info in (octa, read_model(folder)))
    case = Case("own/guard", image, old, weights=np.ones(old.shape, np.uint8))
    assert dice_coefficient(new, old) < 0.98
    assert measured(new, case, octa.working_scale).dice > 0.99
    assert measured(old, case, octa.working_scale).dice == 1.0


def test_a_rehearsed_vessel_has_the_models_edges_and_the_truths_breaks():
    truth = WIDE | DRAWN
    # What the model finds is thinner, has a hole in one vessel and a piece that is none, and lacks the other.
    mask = vessel(20, 3) | vessel(60, 3, until=40)
    mask[:, 60:90] = False
    made = with_edges_of(truth, mask)
    line = centreline(truth)
    np.testing.assert_array_equal(made[:90, 12:55], ((mask & WIDE) | line)[:90, 12:55])
    np.testing.assert_array_equal(made[:, 65:85], truth[:, 65:85])
    np.testing.assert_array_equal(made[90:], truth[90:])
    assert cv2.connectedComponents(made.astype(np.uint8), connectivity=8)[0] - 1 == 2
    np.testing.assert_array_equal(with_edges_of(truth, np.zeros_like(truth)), truth)
