"""The effort benchmark: annotators who know the truth, on drawn vessels."""

import json
import sys
from pathlib import Path

import cv2
import effort
import numpy as np
import pytest
from effort_forecast import forecasts
from effort_work import ARMS, BRUSH, BULK, CURVE, QUEUE, Annotator, Truth, measure, work
from gap_image import Sample
from numpy.typing import NDArray
from PIL import Image

from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.topology import label_components

Mask = NDArray[np.bool_]
SHAPE = (200, 260)


def canvas(*lines: tuple[int, int, int, int, int]) -> Mask:
    """Draw lines (y, x, y, x, width)."""
    mask = np.zeros(SHAPE, np.uint8)
    for y0, x0, y1, x1, width in lines:
        cv2.line(mask, (x0, y0), (x1, y1), 1, (width + 1) // 2)
    return mask > 0


ROWS = tuple((y, 10, y, 250, 5) for y in (40, 100, 160))


def sample_with(mask: Mask, first: Mask, second: Mask | None = None, seen: Mask | None = None) -> Sample:
    """Return a sample at the scale of DRIVE whose image shows `seen`."""
    seen = first if seen is None else seen
    noise = np.random.default_rng(0).normal(0, 0.01, (*SHAPE, 3)).astype(np.float32)
    pixels = np.clip(0.6 - 0.25 * cv2.GaussianBlur(seen.astype(np.float32), (0, 0), 0.8)[..., None] + noise, 0, 1)
    image = VesselImage(pixels.astype(np.float32), np.ones(SHAPE, np.bool_), Modality.FUNDUS, name="drawn")
    probability = 0.9 * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)
    return Unscaled("drawn", image, first, first if second is None else second, probability, mask)


class Unscaled(Sample):
    """A sample whose pixels are those of DRIVE, however small its picture."""

    @property
    def scale(self) -> float:
        return 1.0


def broken(*gaps: tuple[int, int, int]) -> Mask:
    """Return the rows with stretches (y, x0, x1) missing."""
    mask = canvas(*ROWS)
    for y, x0, x1 in gaps:
        mask[y - 5 : y + 6, x0:x1] = False
    return mask


TWO = ((40, 100, 110), (100, 150, 156))


class TestTruth:
    def test_breaks_are_listed_longest_first_with_their_strokes(self) -> None:
        first, second = Truth(sample_with(broken(*TWO), canvas(*ROWS))).breaks(broken(*TWO))
        assert len(first.pixels) == pytest.approx(10, abs=1)
        assert len(second.pixels) == pytest.approx(6, abs=1)
        assert (first.strokes, second.strokes) == (1, 1)
        assert len(first.touches) == 2

    def test_what_one_observer_alone_drew_is_no_break_by_consensus(self) -> None:
        sample = sample_with(broken(*TWO), canvas(*ROWS), broken(TWO[0]))
        assert len(Truth(sample).breaks(sample.mask)) == 1
        assert len(Truth(sample, consensus=False).breaks(sample.mask)) == 2

    def test_a_break_in_a_loop_counts_and_a_missing_tip_does_not(self) -> None:
        ring = np.zeros(SHAPE, np.uint8)
        cv2.circle(ring, (130, 100), 50, 1, 3)
        cv2.line(ring, (180, 100), (240, 100), 1, 3)
        mask = ring > 0
        mask[140:160, 120:140] = False
        mask[:, 220:] = False
        (one,) = Truth(sample_with(mask, ring > 0)).breaks(mask)
        assert len(one.touches) == 1
        assert one.pixels[:, 0].min() > 140

    def test_a_mask_drawn_a_little_beside_the_truth_has_no_breaks(self) -> None:
        beside = np.roll(canvas(*((y, 10, y, 250, 3) for y in (40, 100, 160))), 2, axis=0)
        assert Truth(sample_with(beside, canvas(*ROWS))).breaks(beside) == []

    def test_a_long_curved_break_takes_more_strokes(self) -> None:
        arc = np.zeros(SHAPE, np.uint8)
        cv2.ellipse(arc, (130, 150), (90, 90), 0, 180, 360, 1, 3)
        mask = arc > 0
        mask[:120] = False
        (one,) = Truth(sample_with(mask, arc > 0)).breaks(mask)
        assert one.strokes == 1 + len(one.pixels) // 15

    def test_painting_closes_a_break_and_stays_on_the_vessel(self) -> None:
        sample = sample_with(broken(*TWO), canvas(*ROWS))
        truth, one = Truth(sample), Annotator(Truth(sample))
        for found in truth.breaks(sample.mask):
            one.paint(found)
        assert label_components(one.mask)[1] == 3
        assert truth.breaks(one.mask) == []
        assert not (one.mask & ~sample.first).any()

    def test_pieces_on_no_vessel_are_wrong(self) -> None:
        mask = canvas(*ROWS, (70, 30, 70, 60, 3))
        ((y, x),) = Truth(sample_with(mask, canvas(*ROWS))).wrong_pieces(mask)
        assert abs(y - 70) <= 2
        assert 28 <= x <= 62


class TestWork:
    def test_the_brush_pays_for_tools_clicks_and_strokes(self) -> None:
        mask = broken(*TWO) | canvas((70, 30, 70, 60, 3))
        done = work(Truth(sample_with(mask, canvas(*ROWS))), BRUSH)
        assert done["actions"] == 1 + 1 + 1 + 2
        assert (done["mouse"], done["moves"], done["deleted"], done["painted"]) == (3, 3, 1, 2)
        assert (done["breaks_left"], done["wrong_bridges"], done["bridges"]) == (0, 0, 2)
        assert done["end"] == {"cldice": 1.0, "b0_error": 0.0, "b1_error": 0.0}

    def test_the_queue_pays_a_key_for_each_proposal(self) -> None:
        done = work(Truth(sample_with(broken(*TWO), canvas(*ROWS))), QUEUE)
        assert done["accepted"] == 2
        assert done["actions"] == done["accepted"] + done["rejected"]
        assert done["mouse"] == done["moves"] == done["painted"] == 0
        assert (done["breaks_left"], done["wrong_bridges"]) == (0, 0)

    def test_a_break_that_is_never_proposed_is_painted(self) -> None:
        mask = broken((40, 60, 200))
        done = work(Truth(sample_with(mask, canvas(*ROWS))), QUEUE)
        assert done["painted"] == 1
        assert done["actions"] == done["rejected"] + 1 + 1
        assert done["breaks_left"] == 0

    def test_one_bulk_accept_does_many_breaks_at_once(self) -> None:
        mask = broken(*((y, x, x + 6) for y in (40, 100, 160) for x in (60, 110, 160, 210)))
        done = work(Truth(sample_with(mask, canvas(*ROWS))), BULK)
        assert done["after_bulk"]["accepted"] == 12
        assert done["actions"] == 2
        assert (done["breaks_left"], done["wrong_bridges"]) == (0, 0)

    def test_what_the_bulk_accept_did_wrong_is_taken_back_and_paid_for(self) -> None:
        """The picture shows a vessel that runs on, but nobody drew the middle of it."""
        mask = broken((40, 100, 108), (100, 150, 156))
        sample = sample_with(mask, broken((40, 100, 108)), seen=canvas(*ROWS))
        done = work(Truth(sample), BULK)
        assert (done["after_bulk"]["accepted"], done["after_bulk"]["wrong"]) == (2, 1)
        assert done["taken_back"] == 1
        assert done["actions"] == 2 + 2
        assert (done["breaks_left"], done["wrong_bridges"]) == (0, 0)

    def test_the_curve_is_the_mask_after_so_many_actions(self) -> None:
        mask = broken(*((y, x, x + 8) for y in (40, 100) for x in (40, 70, 100, 130, 160, 190)))
        sample = sample_with(mask, canvas(*ROWS))
        curve = {point["actions"]: point for point in work(Truth(sample), BRUSH)["curve"]}
        assert sorted(curve) == sorted(CURVE)
        assert curve[0] == {"actions": 0, **Truth(sample).figures(mask)}
        # Choosing the brush, and four strokes.
        assert curve[0]["b0_error"] == 12
        assert curve[5]["b0_error"] == 8
        assert curve[10]["b0_error"] == 3
        assert curve[15]["b0_error"] == curve[300]["b0_error"] == 0

    def test_a_wrong_bridge_in_the_final_mask_is_seen(self) -> None:
        sample = sample_with(broken(*TWO), canvas(*ROWS))
        one = Annotator(Truth(sample))
        after = np.ones((61, 6), np.uint8)
        one.session.stroke(after, (40, 30))
        found = one.record(sample.mask)
        assert found["wrong_bridges"] == 1


def test_the_tables_compare_everyone_with_the_brush() -> None:
    few = measure(sample_with(broken(*TWO), canvas(*ROWS)), consensus=True)
    many = measure(
        sample_with(broken(*((y, x, x + 6) for y in (40, 100, 160) for x in (60, 160))), canvas(*ROWS)), True
    )
    figures, text = effort.summarise([few, {**many, "image": "other"}])
    brush, bulk = (figures["arms"][arm] for arm in (BRUSH, BULK))
    assert brush["times_fewer"]["value"] == 1.0
    assert brush["actions"]["value"] == pytest.approx((3 + 7) / 2)
    spent = sum(image["arms"][BULK]["actions"] for image in (few, many))
    assert bulk["times_fewer"]["value"] == pytest.approx(10 / spent, abs=1e-3)
    assert bulk["actions"]["value"] == spent / 2
    assert set(figures["curves"][QUEUE]) == {*(str(n) for n in CURVE), "end"}
    assert all(arm in text for arm in ARMS)
    assert "**not reached**" in effort.verdict([few, many])


def test_forecasts_follow_the_annotator_and_not_the_score() -> None:
    """Whoever takes nine in ten of proposals that score .6 is known after a few images."""
    rng = np.random.default_rng(0)
    images = [{"proposals": [(0.6, bool(right)) for right in rng.random(20) < 0.9]} for _ in range(20)]
    figures, text = forecasts(images)
    at = figures["by_score"]["0.5"]
    assert (at["verdicts"], at["gaps"]) == (200, 200)
    assert abs(at["forecast"] - at["wrong"]) < 4
    assert at["score_alone"] == pytest.approx(80)
    assert at["wrong"] < at["bound"] < 40
    assert figures["by_score"]["0.7"]["gaps"] == 0
    assert "| 0.5 | 200.0 |" in text
    assert forecasts(images[:3]) == ({}, "")


def test_one_command_on_drive_as_it_is_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("images", "1st_manual", "2nd_manual", "mask"):
        (tmp_path / "drive" / "test" / name).mkdir(parents=True)
    for number in (1, 2):
        vessels = np.roll(canvas(*ROWS), 3 * number, axis=0)
        noise = np.random.default_rng(number).normal(0, 3, (*SHAPE, 3))
        picture = 150 - 60 * cv2.GaussianBlur(vessels.astype(np.float32), (0, 0), 0.8)[..., None] + noise
        picture[:, 120:128] = 150
        folder, stem = tmp_path / "drive" / "test", f"{number:02d}"
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / f"images/{stem}_test.tif")
        for name in ("1st_manual", "2nd_manual"):
            end = "manual1" if name == "1st_manual" else "manual2"
            Image.fromarray(vessels.astype(np.uint8) * 255).save(folder / f"{name}/{stem}_{end}.gif")
        Image.fromarray(np.full(SHAPE, 255, np.uint8)).save(folder / f"mask/{stem}_test_mask.gif")
    monkeypatch.setattr("common.PARTS", tmp_path / "parts")
    out, picture = tmp_path / "effort.json", tmp_path / "effort.png"
    words = ["--drive", tmp_path / "drive", "--model", "ridge", "--completion-model", "none", "-o", out]
    monkeypatch.setattr(sys, "argv", ["effort.py", *map(str, words), "--picture", str(picture)])

    effort.main()

    report = json.loads(out.read_text())
    assert set(report["results"]["DRIVE"]) == {"consensus", "first"}
    assert len(report["by_image"]["first"]) == 2
    assert picture.stat().st_size > 1000
    text = out.with_suffix(".md").read_text()
    assert "The first observer alone" in text
    assert str(tmp_path) not in text + out.read_text()
    assert len(list((tmp_path / "parts").iterdir())) == 2
    before = out.read_text()
    monkeypatch.setattr(effort, "measure_image", lambda *given: pytest.fail("a finished image was measured again"))
    effort.main()
    assert json.loads(out.read_text())["results"] == json.loads(before)["results"]
