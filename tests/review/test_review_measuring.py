"""Measuring an image before and after its review, and what the unsure proposals leave open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_vessel.completion.gap import GapKind
from napari_vessel.images import MaskClass, VesselMask
from napari_vessel.images.image import VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, Verdict
from napari_vessel.review.measuring import (
    decided,
    least_and_most,
    measuring_image,
    measuring_project,
    measuring_review,
)
from napari_vessel.topology.measurement import measure, quadrants
from napari_vessel.topology.measurement.tables import WHOLE


def test_before_is_the_mask_that_came_and_after_the_mask_now(project, broken, gaps):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    session.set_gaps(gaps)
    session.decide("a", Verdict.ACCEPTED)
    session.decide("b", Verdict.ACCEPTED)
    found = run_job(measuring_image(project, image_id))
    assert found.before.figures == measure(broken, project.read_image(image_id).fov).figures
    assert (found.before.figures["components"], found.after.figures["components"]) == (7, 5)
    assert found.after.figures["vessel_area"] == (session.labels > 0).sum()
    assert (found.unsure, found.intervals()[WHOLE]["components"]) == (0, (5, 5))
    session.undo()
    assert run_job(measuring_image(project, image_id)).after.figures["components"] == 6


def test_before_is_the_newest_segmentation_that_stands(project, broken):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    whole = broken.copy()
    whole[10:13, 5:75] = 1
    session.set_segmentation(whole, "segmented with ridge")
    session.stroke(np.zeros((5, 70), np.uint8), (29, 5))
    np.testing.assert_array_equal(project.read_first_mask(image_id).labels, whole)
    session.undo()
    session.undo()
    np.testing.assert_array_equal(project.read_first_mask(image_id).labels, broken)


def test_unsure_gaps_make_the_interval(project, gaps):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    session.set_gaps(gaps)
    session.decide("a", Verdict.UNSURE)
    session.decide("c", Verdict.UNSURE)
    session.decide("b", Verdict.SKIPPED)
    found = run_job(measuring_image(project, image_id, quadrants))
    between = found.intervals()
    assert found.unsure == 2
    assert between[WHOLE]["components"] == (5, 7)
    low, high = between[WHOLE]["skeleton_length"]
    assert low == pytest.approx(found.after.figures["skeleton_length"])
    assert high > low + 10
    assert between["lower right"]["vessel_area"][0] == between["lower right"]["vessel_area"][1]
    before, after = found.rows("eye")
    assert (before.intervals, after.intervals, after.mask) == (None, between, "after")


def test_what_one_unsure_gap_adds_and_the_next_takes_away_is_in_the_interval(make_gap, monkeypatch):
    """One gap makes a wide vessel longer, the other a thin one: both together hide what each does to the calibre."""
    mask = np.zeros((90, 80), bool)
    for top, width in ((10, 9), (40, 3), (70, 1)):
        mask[top : top + width, 5:75] = True
    gaps = [replace(make_gap(y, 20, 50), widths=np.full(31, width, np.float32)) for y, width in ((14, 9), (70, 1))]
    mask[10:19, 21:50] = mask[70:71, 21:50] = False
    found = run_job(measuring_review(mask, mask, gaps))
    low, high = found.intervals()[WHOLE]["calibre_mean"]
    each = [measure(decided(mask, chosen)).figures["calibre_mean"] for chosen in ([], gaps[:1], gaps[1:], gaps)]
    assert each[2] < min(each[0], each[3]) <= max(each[0], each[3]) < each[1]
    assert (low, high) == (pytest.approx(each[2]), pytest.approx(each[1]))
    counts = found.intervals()[WHOLE]["components"]
    assert counts == (3, 5)
    monkeypatch.setattr("napari_vessel.review.measuring.MOST_ALONE", 1)
    assert len(run_job(measuring_review(mask, mask, gaps)).alone) == 1


def test_numbers_too_go_up_by_one_unsure_proposal_and_down_by_the_next(make_gap):
    """A bridge takes two ends away, a tip that leaves a vessel's side adds one and a bifurcation."""
    mask = np.zeros((90, 80), bool)
    mask[18:21, 10:70] = mask[48:51, 10:70] = True
    mask[18:21, 35:46] = False
    down = np.stack([np.arange(49, 75, dtype=np.float32), np.full(26, 40, np.float32)], axis=1)
    tip = replace(make_gap(49), kind=GapKind.TIP, path=down, widths=np.full(26, 3, np.float32))
    found = run_job(measuring_review(mask, mask, [make_gap(19, 34, 46), tip]))
    between = found.intervals()[WHOLE]
    assert [one.figures["ends"] for one in (found.after, *found.alone, found.most)] == [6, 4, 7, 5]
    assert between["ends"] == (4, 7)
    for one in (found.after, found.least, found.most, *found.alone):
        for name, bounds in between.items():
            assert bounds is None or bounds[0] <= one.figures[name] <= bounds[1], name


def test_two_ways_to_close_one_gap_leave_no_less_than_no_end(make_gap):
    """Each takes the same two ends away."""
    mask = np.zeros((90, 80), bool)
    mask[20:60, 20:60] = True
    mask[23:57, 23:57] = mask[20:23, 35:46] = False
    gaps = [make_gap(row, 34, 46) for row in (20, 22)]
    found = run_job(measuring_review(mask, mask, gaps))
    assert [one.figures["ends"] for one in (found.after, *found.alone)] == [2, 0, 0]
    assert found.intervals()[WHOLE]["ends"] == (0, 2)


def test_an_unsure_cut_is_made_in_the_least_and_not_in_the_most(broken, make_gap):
    mask = broken > 0
    cut = replace(make_gap(11, 35, 40), kind=GapKind.CUT)
    gap = make_gap(31, 24, 31)
    least, most = least_and_most(mask, [cut, gap])
    assert not least[11, 36:39].any()
    assert (least & ~mask).sum() == 0
    assert most[31, 25:31].all()
    assert (mask & ~most).sum() == 0
    assert mask[11, 37], "the mask itself is left alone"
    found = run_job(measuring_review(mask, mask, [cut, gap]))
    assert found.intervals()[WHOLE]["components"] == (6, 8)


def test_a_project_is_measured_in_micrometres_where_it_knows_them(tmp_path, broken):
    pixels = np.random.default_rng(1).random((50, 80)).astype(np.float32)
    mask = VesselMask(broken, (MaskClass(1, 255, "vessel"),))
    with Project.create(tmp_path / "p") as project:
        images = [VesselImage((pixels + n) / 2, spacing=s, name=f"scan_{n}") for n, s in enumerate([None, (2.0, 3.0)])]
        for image in images:
            run_job(project.add([image], masks=mask))
        run_job(project.add([VesselImage(pixels / 2, name="bare")]))
        found = run_job(measuring_project(project))
    assert [record.name for record, _ in found] == [image.name for image in images]
    assert [one.after.unit for _, one in found] == ["px", "um"]
    small, large = (one.after.figures for _, one in found)
    assert large["vessel_area"] == 6 * small["vessel_area"]
