"""A model's place among the others, in the window and beside its card."""

from dataclasses import replace

import pytest

from napari_vessel.segmentation.registry import list_models, model_info, shipped_folder
from napari_vessel.segmentation.standing import FILE, place_among_others
from napari_vessel.untrusted import read_json


def rows(text):
    return [line for line in text.splitlines() if line.startswith("|")][2:]


def place_of(info):
    """The place as it is read."""
    return place_among_others(info).replace("\N{NO-BREAK SPACE}", " ").replace("\N{WORD JOINER}", "")


def test_its_own_rows_are_bold_and_the_best_come_first():
    info = model_info("fundus-small")
    place = place_of(info)
    own = [row for row in rows(place) if "**" in row]
    assert len(own) == 3
    assert all(f"**fundus-small {info.version}**" in row for row in own)
    assert "fundus 1" in place
    assert "octa" not in place
    assert "has not been measured" not in place
    for title in ("DRIVE", "CHASE_DB1", "HRF"):
        found = [float(row.split("|")[3].strip(" *").split()[0]) for row in rows(place) if title in row]
        assert len(found) > 2
        assert found == sorted(found, reverse=True)


def test_a_model_of_ones_own_is_said_not_to_be_measured():
    own = replace(model_info("octa-small"), version="9.0.0")
    place = place_of(own)
    assert "**" not in place
    assert place.endswith("version 9.0.0, has not been measured on these images.")


@pytest.mark.parametrize("name", [info.name for info in list_models() if info.shipped and info.kind != "completion"])
def test_every_shipped_model_was_measured_in_the_version_that_ships(name):
    assert "**" in place_among_others(model_info(name))


def test_figures_are_shares_inside_their_intervals():
    for one in read_json(shipped_folder() / FILE)["sets"]:
        for row in one["rows"]:
            for mean, low, high in (row["dice"], row["cldice"]):
                assert 0 < low <= mean <= high < 1
