"""What counts as filled, bridged and false when vessels were taken out of an image."""

import math

import common
import numpy as np
import pytest
from ablation import ARMS, COMPLETED, VIG, recipe_of
from completion import bridges, grown, hiding_hash, judge, kept_with, summarise, take_out

from napari_vessel.synthesis.samples import make_sample


def broken_line():
    """A vessel of 60 px, 3 px wide, that the segmenter lost over 10 px."""
    truth = np.zeros((40, 80), np.bool_)
    truth[18:21, 10:70] = True
    changed = np.zeros_like(truth)
    changed[16:23, 35:45] = True
    before = truth & ~changed
    return truth, changed, before


def test_a_whole_vessel_is_filled_bridged_and_nothing_false():
    truth, changed, before = broken_line()
    found = judge(truth, before, truth, truth, changed)
    nothing = {"false": 0, "false_2": 0, "by_observer": 0, "anywhere": 0}
    assert found == {"taken": 30, "recovered": 30, "lost": 30, "filled": 30, "broken": 1, "bridged": 1, **nothing}


def test_what_the_segmenter_never_saw_is_not_lost_and_what_it_sees_is_not_false():
    truth, changed, before = broken_line()
    whole = truth.copy()
    whole[18:21, 35:40] = False
    whole[22:25, 35:45] = True
    drawn = truth.copy()
    drawn[23, 35:45] = True
    found = judge(drawn, before, whole, truth, changed)
    assert (found["taken"], found["lost"], found["filled"]) == (15, 15, 15)
    assert (found["false"], found["by_observer"]) == (0, 10)


def test_half_of_it_is_half_filled_and_not_bridged():
    truth, changed, before = broken_line()
    drawn = before.copy()
    drawn[18:21, 35:40] = True
    found = judge(drawn, before, truth, truth, changed)
    assert (found["filled"], found["broken"], found["bridged"]) == (15, 1, 0)


def test_what_lies_beside_every_vessel_is_false_where_something_was_changed():
    truth, changed, before = broken_line()
    drawn = truth.copy()
    drawn[17, 35:45] = True
    assert judge(drawn, before, truth, truth, changed)["false"] == 0
    drawn[16, 35:45] = True
    drawn[15, 35:40] = True
    drawn[35, 10:15] = True
    found = judge(drawn, before, truth, truth, changed)
    assert (found["false"], found["false_2"], found["by_observer"], found["anywhere"]) == (15, 5, 15, 20)


def test_a_stretch_at_a_vessels_end_breaks_nothing():
    truth, changed, _ = broken_line()
    changed[:] = False
    changed[16:23, 60:75] = True
    before = truth & ~changed
    assert bridges(before, before, truth & changed) == (0, 0)


def test_shares_are_of_all_pixels_and_without_any_there_is_none():
    row = dict.fromkeys(("broken", "bridged", "false_2", "by_observer", "anywhere"), 0.0)
    row |= {"taken": 10.0, "recovered": 5.0, "lost": 10.0, "filled": 5.0, "false": 1.0}
    found = summarise([row, {**row, "lost": 30.0, "filled": 25.0, "recovered": 25.0}])
    assert found["filled"]["value"] == 0.75
    assert found["false"]["value"] == pytest.approx(2 / 30)
    assert found["bridged"]["value"] is None
    low, high = (found["filled"][side] for side in ("low", "high"))
    assert low == 0.5
    assert high == pytest.approx(5 / 6)


def test_vessels_are_taken_out_and_nothing_else_is_changed():
    sample = make_sample("fundus", seed=2)
    broken, changed = take_out(sample.image, sample.truth.mask, 15, seed=0)
    assert np.array_equal(broken.pixels[~changed], sample.image.pixels[~changed])
    gone = changed & sample.truth.mask
    assert gone.sum() > 100
    beside = grown(gone, 8) & ~grown(sample.truth.mask, 3)
    contrasts = []
    for image in (sample.image, broken):
        vessels, background = (image.vessel_channel()[where].mean() for where in (gone, beside))
        contrasts.append(abs(vessels - background))
    assert contrasts[1] < 0.3 * contrasts[0]
    again, _ = take_out(sample.image, sample.truth.mask, 15, seed=0)
    assert np.array_equal(again.pixels, broken.pixels)


def test_the_arms_differ_in_one_thing_and_the_vig_builds_on_the_last():
    base = recipe_of("base", 10, 1)
    assert (base.seed, base.schedule.steps, base.topomask.style) == (1, 10, "none")
    for arm in ARMS:
        recipe = recipe_of(arm, 10, 1)
        assert (recipe.network, recipe.crops, recipe.augmentation) == (base.network, base.crops, base.augmentation)
        assert math.isclose(recipe.topomask.ratio_at(0.5), float(arm.split("-")[1]) / 100 if "-" in arm else 0.0)
    vig = recipe_of(VIG, 10, 1)
    assert vig.segmenter == f"{COMPLETED}-1"
    assert vig.network.working_diameter == base.network.working_diameter


def test_what_was_not_measured_again_is_kept_and_named():
    before = {"drive": {"fundus-small-vig": 1}, "rossa": {"octa-small-vig": 2}}
    merged, kept = kept_with({"hrf": {"fundus-small-vig": 4}, "drive": {"fundus-small-vig": 3}}, before)
    assert list(merged) == ["drive", "rossa", "hrf"]
    assert [merged["drive"], merged["rossa"]] == [{"fundus-small-vig": 3}, {"octa-small-vig": 2}]
    assert kept == ["octa-small-vig on ROSSA"]


def test_finished_parts_depend_on_how_vessels_are_hidden(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(common, "PACKAGE", tmp_path)
    (tmp_path / "training").mkdir()
    seen = []
    for topomask, erasing in (("one", "one"), ("two", "one"), ("two", "two")):
        (tmp_path / "training" / "topomask.py").write_text(topomask)
        (tmp_path / "training" / "erasing.py").write_text(erasing)
        seen.append(hiding_hash())
    assert len(set(seen)) == 3
