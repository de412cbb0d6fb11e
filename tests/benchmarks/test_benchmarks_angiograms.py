"""Synthetic angiograms: every model is scored on the same images, and what they show is not what was learnt from."""

import pytest
from angiograms import FIRST_SEED, measure, table


@pytest.fixture(scope="module")
def results():
    return measure(["xray-small", "ridge"], 2)


def test_models_are_scored_on_the_same_images_and_the_network_knows_them_better(results):
    stems = [[row["image"] for row in entry["images"]] for entry in results.values()]
    assert stems[0] == stems[1] == [str(FIRST_SEED), str(FIRST_SEED + 1)]
    network, ridge = (results[name]["summary"]["cldice"]["mean"] for name in ("xray-small", "ridge"))
    assert network > ridge


def test_the_table_has_a_line_for_each_model(results):
    assert [line.split(" | ")[0] for line in table(results).splitlines()[2:]] == ["| xray-small", "| ridge"]
