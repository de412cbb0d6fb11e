"""Models of synthetic images: all are scored on the same images, and slabs of one recording count once."""

import numpy as np
import pytest
from contenders import own_model
from synthetic_only import FIRST_SEED, angiograms, measure, projections, table

from napari_vessel.images.image import Modality
from napari_vessel.images.writing import write_mask


@pytest.fixture(scope="module")
def results():
    return measure([own_model("xray-small"), own_model("ridge")], angiograms(2))


def test_models_are_scored_on_the_same_images_and_the_network_knows_them_better(results):
    stems = [[row["image"] for row in entry["images"]] for entry in results.values()]
    assert stems[0] == stems[1] == [str(FIRST_SEED), str(FIRST_SEED + 1)]
    network, ridge = (results[name]["summary"]["cldice"]["mean"] for name in ("xray-small", "ridge"))
    assert network > ridge


def test_the_table_has_a_line_for_each_model(results):
    lines = table({"angiograms": results}).splitlines()[2:]
    assert [line.split(" | ")[1] for line in lines] == ["xray-small", "ridge"]


def test_slabs_of_one_recording_count_once(tmp_path):
    for room in ("images", "masks"):
        (tmp_path / room).mkdir()
    for slab in ("poon_slab00", "poon_slab01", "santos_slab00"):
        vessel = np.zeros((140, 140), bool)
        vessel[60:68, 10:130] = True
        write_mask(tmp_path / "images" / f"{slab}.png", vessel)
        write_mask(tmp_path / "masks" / f"{slab}.png", vessel)
    found = measure([own_model("ridge")], projections(tmp_path))["ridge"]
    assert [row["image"] for row in found["images"]] == ["poon", "santos"]
    assert all(case.image.modality is Modality.TWOPHOTON for _, case in projections(tmp_path))
