from pathlib import Path

import common
import numpy as np
import pytest
from contenders import FIGURES, SecondObserver, clean_ups, own_model, trained_on
from scales import compare, rescale
from segmentation import differences, kept_with, made_before, run, summarise, tables
from speed import FLIPS, generate
from speed import summarise as summarise_rounds
from speed import table as speed_table

from napari_vessel.errors import InputError
from napari_vessel.images.image import VesselImage


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images in the plain layout under DRIVE's names, and no finished parts."""
    monkeypatch.setattr(common, "PARTS", tmp_path / "parts")
    folder = tmp_path / "data"
    folder.mkdir()
    generate(folder, count=2)
    (folder / "masks_2nd").symlink_to(folder / "masks")
    return folder


def test_the_whole_table_on_generated_images(generated: Path) -> None:
    contenders = [own_model("ridge"), SecondObserver()]
    results = run(contenders, {"drive": generated}, 1, False)
    drive = results["drive"]
    assert set(drive) == {"ridge", "second observer"}
    assert [row["image"] for row in drive["ridge"]["images"]] == ["01_test", "02_test"]
    # The second observer is the first one here, and perfect.
    assert drive["second observer"]["summary"]["dice"]["mean"] == 1
    assert 0.1 < drive["ridge"]["summary"]["dice"]["mean"] < 1
    (pair,) = differences(drive, "second observer")
    assert pair["dice"]["mean"] == pytest.approx(drive["ridge"]["summary"]["dice"]["mean"] - 1)
    text = tables(results, {"drive": [pair]})
    assert "| DRIVE | ridge | untrained | 2 |" in text
    assert all(title in text for title, _ in FIGURES.values())

    # A finished part is not computed again: without the images' masks it could not be.
    part = next((generated.parent / "parts").glob("*ridge*"))
    part.write_text(part.read_text().replace('"sensitivity"', '"marked"'))
    assert "marked" in run(contenders, {"drive": generated}, 1, False)["drive"]["ridge"]["images"][0]
    assert "marked" not in run(contenders, {"drive": generated}, 1, True)["drive"]["ridge"]["images"][0]


def test_contenders_that_are_not_given_stay_in_the_report_and_those_that_are_take_their_place() -> None:
    def rows(dice: float, *stems: str) -> dict:
        return {"seen": "cross", "images": [{"image": stem, "dice": dice} for stem in stems]}

    old = {
        "drive": {"a": rows(0.1, "1"), "a, cleaned": rows(0.2, "1"), "b": rows(0.3, "1")},
        "hrf": {"b": rows(0.4, "2")},
    }
    report = {"contenders": [{"name": "a", "version": "1"}, {"name": "b", "version": "1"}], "results": old}
    new = {"drive": {"a": rows(0.5, "1"), "c": rows(0.6, "1")}}
    results, contenders = kept_with(new, [{"name": "a", "version": "2"}, {"name": "c", "version": "1"}], report)
    assert [(one["name"], one["version"]) for one in contenders] == [("a", "2"), ("b", "1"), ("c", "1")]
    # What was made from the older version of `a` went with it.
    assert {who: row["images"][0]["dice"] for who, row in results["drive"].items()} == {"a": 0.5, "b": 0.3, "c": 0.6}
    assert results["hrf"] == old["hrf"]
    # On a set that was not measured now, whoever is as before stays.
    assert "b" in kept_with({"drive": {}}, [{"name": "b", "version": "1"}], report)[0]["drive"]
    with pytest.raises(InputError, match="measured on other images"):
        kept_with({"drive": {"a": rows(0.5, "1", "2")}}, [{"name": "a"}], report)


def test_rows_that_another_command_made_say_so() -> None:
    entries = {"a": {"command": "now"}, "b": {"command": "once"}, "c": {}}
    told = made_before({"drive": entries, "hrf": {"b": {"command": "once"}}}, "now")
    assert told.splitlines()[0] == "Made before, by `once`: b on DRIVE; b on HRF."
    assert told.endswith("by a command that the report did not keep: c on DRIVE.")
    assert made_before({"drive": {"a": {"command": "now"}}}, "now") == ""


def test_a_model_that_saw_a_set_says_so_by_key_and_by_title() -> None:
    config = {"name": "x", "kind": "network", "training": {"split": {"CHASE_DB1": {}, "les-av": {}}}}
    assert trained_on(config) == {"chase_db1", "les-av"}
    assert trained_on({"name": "ridge", "kind": "ridge"}) == frozenset()
    with pytest.raises(InputError, match="trained on"):
        trained_on({"name": "x", "kind": "network"})


def test_one_image_has_a_mean_and_no_interval() -> None:
    assert summarise([{"dice": 0.5}])["dice"] == {"mean": 0.5, "low": None, "high": None}


def test_scales_are_compared_with_the_image_as_it_is() -> None:
    found = compare([{"1x": 0.8, "0.5x": 0.79, "2x": 0.82}, {"1x": 0.7, "0.5x": 0.69, "2x": 0.72}])
    assert found["0.5x"]["difference"] == pytest.approx(-0.01)
    assert found["2x"]["difference_low"] == pytest.approx(0.02)


def test_a_rescaled_image_keeps_its_field_of_view() -> None:
    image = VesselImage(np.zeros((20, 30, 3), np.float32), fov=np.pad(np.ones((10, 10), bool), ((4, 6), (10, 10))))
    half = rescale(image, 0.5)
    assert half.pixels.shape == (10, 15, 3)
    assert half.fov is not None
    assert half.fov.sum() == 25
    assert rescale(image, 1.0) is image


def test_ratios_are_taken_round_by_round() -> None:
    def rounds(*seconds: float) -> list[dict[str, float]]:
        return [{"seconds": one, "peak_mib": 100.0} for one in seconds]

    # The machine was twice as slow in the second round: the ratio is not.
    summary = summarise_rounds({FLIPS: rounds(1.0, 2.0, 1.0), "ours": rounds(0.3, 0.6, 0.3)})
    assert summary["ours"]["ratio"] == {"median": 0.3, "least": 0.3, "most": 0.3}
    assert "| ours | 0.300 (0.300 to 0.300) |" in speed_table(summary)


def test_clean_ups_stand_beside_the_model_they_are_made_from() -> None:
    probability = np.zeros((40, 60), np.float32)
    probability[8:13, 5:30] = 0.9
    probability[8:13, 33:36] = 0.9
    probability[20, 5:55] = 0.35
    masks = clean_ups("ours", probability, 0.5)
    # The line at .35 is no part of anything sure.
    assert {name: int(mask.sum()) for name, mask in list(masks.items())[:3]} == {
        "ours, < 20 px removed": 5 * 25,
        "ours, threshold .3, < 50 px removed": 5 * 25 + 50,
        "ours, hysteresis .2": 5 * 28,
    }
    closed = masks["ours, closing, disc 2"]
    assert closed[8:13, 5:36].sum() == closed.sum() > 5 * 28
    assert closed[10, 5:36].all()
